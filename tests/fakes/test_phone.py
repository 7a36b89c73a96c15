"""The emulator's page plays the phones of a resident and an officer."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes.conftest import Bot, Caller
from tests.fakes.wechat import FakeWeChat
from tests.fakes.wechat.chat import FAULT_NOTICE
from tests.fakes.wechat.wecom.corp import Corp
from tests.support.browser import People, launched

pytestmark = pytest.mark.browser

WANG = "o-wang"  # whom the page plays at first


@pytest.fixture
async def people() -> AsyncIterator[People]:
    async with launched() as browser:
        people = People(browser)
        yield people
        people.check()


async def test_a_resident_follows_taps_and_reads(wechat: FakeWeChat, bot: Bot, caller: Caller, people: People) -> None:
    await caller.post("menu/create", {"button": [{"type": "click", "name": "找民警", "key": "officer"}]})
    page = await people.open("phone", base_url=wechat.url)
    page.once("dialog", lambda dialog: dialog.accept("beat:7"))
    await page.goto("/")
    await page.click("text=关注")
    await page.click("text=找民警")
    link = '请选：<a href="weixin://bizmsgmenu?msgmenucontent=%E8%A1%A5%E5%8A%9E&msgmenuid=7">补办</a> <b>不是标签</b>'
    assert await caller.send(WANG, link) == 0
    await page.click("a:text('补办')")
    assert await page.text_content(".row.account .bubble") == "请选：补办 <b>不是标签</b>"
    bot.answer = b'{"not": "an answer"}'
    await page.fill("#words", "在吗")
    await page.press("#words", "Enter")
    assert await page.text_content(".row.notice") == FAULT_NOTICE
    seen = [(one.get("EventKey"), one.get("Content"), one.get("bizmsgmenuid")) for one in bot.got]
    assert seen == [
        ("qrscene_beat:7", None, None),
        ("officer", None, None),
        (None, "补办", "7"),
        (None, "在吗", None),
    ]


async def test_an_officer_confirms_a_mass_message(
    wechat: FakeWeChat, corp: Corp, office: Caller, people: People
) -> None:
    await corp.contacts.add("zhang", "wmWang")
    await office.post("externalcontact/add_msg_template", {"sender": "zhang", "text": {"content": "谨防诈骗"}})
    page = await people.open("desk", base_url=wechat.url)
    await page.goto("/")
    await page.click("text=民警手机")
    await page.click("text=确认发送")
    await page.click("text=企业微信联系人")
    await page.wait_for_selector(".row.account .bubble:text('谨防诈骗')")


async def test_time_and_faults_are_set_on_the_bench(wechat: FakeWeChat, caller: Caller, people: People) -> None:
    wechat.inbound(WANG)
    page = await people.open("desk", base_url=wechat.url)
    await page.goto("/")
    await page.click("text=设置")
    await page.wait_for_selector("#faults span")
    assert await caller.send(WANG) == 45047
    await page.click("text=清除")
    await page.wait_for_selector("#faults span", state="detached")
    assert await caller.send(WANG) == 0
    before = wechat.now()
    await page.click("text=+48 小时")
    await page.wait_for_selector("#note span:text('0 条')")
    assert wechat.now() >= before + 48 * 3600

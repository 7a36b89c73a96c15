"""An officer's evening: a call for help reaches his open page, he takes it, speaks, and gives it back to the bot."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from argon2 import PasswordHasher
from playwright.async_api import FilePayload, Page, Route, expect

from bot.actions import officers, tickets
from bot.actions.audit import Actor
from bot.channels.base import Failure, SendError
from bot.console.app import ConsoleDesk, add_console
from bot.reach import Rules
from bot.store.access import access_ticket
from bot.store.models import AuditEvent, Officer
from tests.support import browser as browsers
from tests.support.station import CHANNEL, House

PASSWORD = "plum blossom 47"
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)  # cheap on purpose
HELP = "骗子让我正在转账"


@asynccontextmanager
async def station(url: str, people: browsers.People) -> AsyncIterator[tuple[House, str]]:
    """A whole station with its console on a port; the platform is the one that remembers."""
    async with House.opened(url) as house:
        await house.add_people()
        async with house.store.write() as session:
            for username in ("zhang", "li"):
                officer = await session.get_one(Officer, (await house.officer(username)).id)
                await officers.set_password(session, officer, PASSWORD_HASH, actor=Actor(house.station.id, officer.id))
        app = web.Application(client_max_size=3 * 1024 * 1024)
        add_console(
            app, ConsoleDesk(runtime=house.runtime, channels={CHANNEL: "official_account"}, rules={CHANNEL: Rules()})
        )
        server = TestServer(app)
        await server.start_server()
        try:
            yield house, f"http://127.0.0.1:{server.port}"
        finally:
            for context in people.browser.contexts:  # a page whose server is gone complains
                await context.close()
            await server.close()


async def log_in(page: Page, username: str) -> None:
    await page.goto("/console")
    await page.get_by_label("用户名").fill(username)
    await page.get_by_label("密码").fill(PASSWORD)
    await page.get_by_role("button", name="登录").click()
    await expect(page.get_by_role("navigation", name="工单分类")).to_be_visible()


@pytest.mark.slow
async def test_a_resident_being_swindled_reaches_an_officer_who_stays_with_him(
    people: browsers.People, sqlite_url: str
) -> None:
    async with station(sqlite_url, people) as (house, root):
        zhang = await people.open("phone", base_url=root)
        await log_in(zhang, "zhang")
        await expect(zhang.get_by_text("现在没有等待的居民")).to_be_visible()

        # The call comes in; nobody touches the page.
        card = await house.hear(HELP)
        assert card is not None
        assert "110" in card
        await expect(zhang.locator("#alarm").get_by_text("紧急求助 · 正在转账给骗子")).to_be_visible()
        await expect(zhang.locator("#queue")).to_contain_text(HELP)
        await expect(zhang).to_have_title(re.compile(r"^\(1\) 紧急"))

        # He takes it; from now on the bot is silent.
        await zhang.locator("#alarm a").first.click()
        await zhang.get_by_role("button", name="接手").click()
        await expect(zhang.get_by_text("现在由您与居民对话")).to_be_visible()
        await expect(zhang.locator("#alarm a")).to_have_count(0)
        assert await house.hear("我已经转了三千") is None
        await expect(zhang.locator("#timeline")).to_contain_text("我已经转了三千")

        # A colleague looks in: the two see each other, and only the owner can speak.
        li = await people.open("desk", base_url=root)
        await log_in(li, "li")
        await li.goto(zhang.url)
        await expect(li.get_by_text("张伟也在看")).to_be_visible()
        await expect(zhang.get_by_text("李娜也在看")).to_be_visible()
        await expect(li.get_by_text("由张伟处理中，只有接手的人能回复")).to_be_visible()
        await expect(li.get_by_role("button", name="发送")).to_have_count(0)
        await li.close()
        await expect(zhang.get_by_text("李娜也在看")).to_have_count(0)

        # The reply leaves by the outbox; first the platform fails, then it is sent again.
        words = zhang.get_by_label("回复居民")
        await words.fill("您好，我是张警官。请马上停止转账。")
        await zhang.get_by_role("button", name="发送").click()
        await expect(zhang.locator("#timeline")).to_contain_text("等待发送")
        house.channel.script.append(SendError(Failure.REFUSED, "45015", "超过48小时没有来消息"))
        await house.work()
        await expect(zhang.locator("#timeline")).to_contain_text("发送失败：超过48小时没有来消息")
        await zhang.get_by_role("button", name="重发").click()
        await expect(zhang.get_by_text("已重新提交发送")).to_be_visible()
        await house.work()
        await expect(zhang.locator("#timeline .delivery.sent").last).to_be_visible()
        assert house.channel.texts == ["您好，我是张警官。请马上停止转账。"]

        # What he is typing stays while new messages come in; his note stays inside.
        await words.fill("我马上给您打电")
        await house.hear("好的，我等您")
        await expect(zhang.locator("#timeline")).to_contain_text("好的，我等您")
        await expect(words).to_have_value("我马上给您打电")
        await words.fill("")
        await zhang.get_by_label("内部备注").fill("已联系反诈中心止付")
        await zhang.get_by_role("button", name="保存备注").click()
        await expect(zhang.locator("#timeline .note")).to_contain_text("已联系反诈中心止付")

        # A second call for help while he holds the ticket: it stands over his reply box until he reacts.
        await house.hear(HELP)
        await expect(zhang.locator("#calling")).to_contain_text("还没有人回应")
        await expect(zhang).to_have_title(re.compile(r"^\(1\) 紧急"))
        await zhang.get_by_role("button", name="我已看到").click()
        await expect(zhang.locator("#calling form")).to_have_count(0)
        await expect(zhang.locator("#alarm a")).to_have_count(0)

        # He closes it, and the bot speaks again.
        await zhang.locator("summary", has_text="办结").click()
        await zhang.get_by_label("办理结果").select_option("fraud_stopped")
        await zhang.get_by_label("挽回金额").fill("3000")
        await zhang.get_by_label("结束语").fill("以后接到这类电话先问我们。")
        await zhang.get_by_role("button", name="办结").click()
        await expect(zhang.locator("#ticket-head")).to_contain_text("劝阻诈骗成功，挽回 3,000 元")
        await house.work()
        assert house.channel.texts[-1] == "以后接到这类电话先问我们。"
        assert await house.hear("身份证丢了怎么办") is not None
        assert not any("反诈中心" in said for said in await house.said())


@pytest.mark.slow
async def test_a_reply_refused_because_a_colleague_was_faster_is_not_lost(
    people: browsers.People, sqlite_url: str
) -> None:
    async with station(sqlite_url, people) as (house, root):
        await house.hear(HELP)
        ticket = await house.take("zhang")
        page = await people.open("desk", base_url=root, expected_errors=("403", "409"))
        await log_in(page, "zhang")
        await page.goto(f"/console/tickets/{ticket}")
        await page.get_by_label("回复居民").fill("写了很久的一段话")
        async with house.store.write() as session:  # handed over elsewhere, on his phone
            row = (await house.tickets())[0]
            row = await session.merge(row)
            row.assignee_id = (await house.officer("li")).id
        await page.get_by_role("button", name="发送").click()
        await expect(page.get_by_text("请先接手这条求助")).to_be_visible()
        await expect(page.get_by_label("您刚才写的内容")).to_have_value("写了很久的一段话")
        assert house.channel.texts == []


@pytest.mark.slow
async def test_the_first_press_of_the_sound_button_turns_it_on(people: browsers.People, sqlite_url: str) -> None:
    async with station(sqlite_url, people) as (_, root):
        page = await people.open("desk", base_url=root)
        await log_in(page, "zhang")
        await page.goto("/console/me")
        sound = page.get_by_role("button", name="提示音")
        await sound.click()
        await expect(sound).to_have_attribute("aria-pressed", "true")
        assert await page.evaluate("localStorage.getItem('console-sound')") == "on"
        await sound.click()
        await expect(sound).to_have_attribute("aria-pressed", "false")


@pytest.mark.slow
async def test_the_sound_is_on_on_the_next_page_before_anybody_touches_it(
    people: browsers.People, sqlite_url: str
) -> None:
    async with station(sqlite_url, people) as (_, root):
        page = await people.open("desk", base_url=root)
        await log_in(page, "zhang")
        sound = page.get_by_role("button", name="提示音")
        await page.get_by_role("link", name="工单").first.click()
        await expect(sound).to_have_attribute("aria-pressed", "true")
        await sound.click()
        await page.reload()
        await expect(sound).to_be_visible()
        await expect(sound).to_have_attribute("aria-pressed", "false")


@pytest.mark.slow
async def test_a_reply_that_the_network_cut_off_does_not_stand_as_sent(
    people: browsers.People, sqlite_url: str
) -> None:
    async with station(sqlite_url, people) as (house, root):
        await house.hear(HELP)
        ticket = await house.take("zhang")
        page = await people.open("phone", base_url=root, expected_errors=("ERR_INTERNET", "htmx:"))
        await log_in(page, "zhang")
        await page.goto(f"/console/tickets/{ticket}")
        words, send = page.get_by_label("回复居民"), page.get_by_role("button", name="发送")
        await words.fill("您好，我是张警官。")
        await send.click()
        await expect(page.locator("#flash")).to_contain_text("回复已提交")

        # The second one does not get through, and nothing says that it did.
        await page.route("**/reply", lambda route: route.abort("internetdisconnected"))
        await words.fill("请马上停止转账。")
        await send.click()
        await expect(page.locator("#offline")).to_contain_text("网络不通")
        await expect(page.locator("#flash")).to_be_empty()
        await expect(words).to_have_value("请马上停止转账。")

        # Sent again it gets through, and nothing says that it did not.
        await page.unroute("**/reply")
        await send.click()
        await expect(page.locator("#timeline")).to_contain_text("请马上停止转账。")
        await expect(page.locator("#offline")).to_be_hidden()


@pytest.mark.slow
async def test_a_topic_put_right_on_the_phone_stands_at_the_top_at_once(
    people: browsers.People, sqlite_url: str
) -> None:
    async with station(sqlite_url, people) as (house, root):
        page = await waiting_call(people, house, root)
        heading = page.locator(".top .where")
        await expect(heading).to_have_text("正在转账给骗子")
        await page.locator("summary", has_text="改主题").click()
        await page.get_by_label("实际是问").select_option("dispute.noise")
        await page.get_by_role("button", name="保存主题").click()
        await expect(page.get_by_text("主题已改")).to_be_visible()
        await expect(heading).to_have_text("邻里噪声")
        await expect(heading).to_be_in_viewport()


@pytest.mark.slow
async def test_a_resident_s_data_are_hidden_again_when_his_card_is_reloaded(
    people: browsers.People, sqlite_url: str
) -> None:
    async with station(sqlite_url, people) as (house, root):
        number = await house.add_resident(name="王小明", phone="13812345678")
        page = await people.open("desk", base_url=root, expected_errors=("422", "htmx:"))
        await log_in(page, "zhang")
        await page.goto(f"/console/residents/{number}")
        why, look = page.get_by_label("查看原因"), page.get_by_role("button", name="查看")
        await page.locator("summary", has_text="查看完整信息").click()
        await why.fill(" ")
        await look.click()
        await expect(page.locator("#flash")).to_contain_text("请写明查看完整信息的原因")
        await why.fill("电话核实被骗情况")
        await look.click()
        await expect(page.get_by_text("13812345678")).to_be_visible()
        await expect(page.locator("#flash")).to_be_empty()
        await page.reload()
        await expect(page.get_by_text("查看完整信息")).to_be_visible()
        await expect(page.get_by_text("13812345678")).to_have_count(0)
        assert await house.count(AuditEvent, AuditEvent.action == "resident.revealed") == 1


@pytest.mark.slow
async def test_who_still_writes_on_a_ticket_that_was_handed_over_is_told(
    people: browsers.People, sqlite_url: str
) -> None:
    async with station(sqlite_url, people) as (house, root):
        page = await waiting_call(people, house, root)
        await page.get_by_role("button", name="接手").click()
        words, lost = page.get_by_label("回复居民"), page.locator("#lost")
        await expect(page.locator("#flash")).to_contain_text("现在由您与居民对话")
        await words.fill("写到一半的话")
        async with house.store.write() as session:  # handed over in another tab
            zhang, li = await house.officer("zhang"), await house.officer("li")
            ticket = await access_ticket(session, house.station.id, (await house.tickets())[0].id, lock=True)
            await tickets.hand_over(session, ticket, zhang, li, actor=Actor(house.station.id, zhang.id))
        await expect(lost).to_contain_text("这条求助已转由李娜处理")
        await expect(lost.locator("p")).to_be_visible()
        await expect(page.locator("#flash")).to_be_empty()
        await expect(words).to_have_value("写到一半的话")

        # Who only looks in has no box to be warned of.
        await page.reload()
        await expect(page.get_by_text("由李娜处理中，只有接手的人能回复")).to_be_visible()
        await expect(lost.locator("p")).to_be_hidden()


async def waiting_call(people: browsers.People, house: House, root: str) -> Page:
    """The page of a call for help that nobody has taken, on an officer's phone."""
    await house.hear(HELP)
    page = await people.open("phone", base_url=root)
    await log_in(page, "zhang")
    await page.goto(f"/console/tickets/{(await house.tickets())[0].id}")
    return page


@pytest.mark.slow
async def test_what_the_resident_says_while_a_page_is_on_its_way_is_on_it(
    people: browsers.People, sqlite_url: str
) -> None:
    async with station(sqlite_url, people) as (house, root):
        page = await waiting_call(people, house, root)

        async def slowly(route: Route) -> None:
            made = await route.fetch()  # the page after taking, as it was made
            async with page.expect_response(re.compile("/timeline|/console/tickets/")):
                await house.hear("他又打电话来了")  # the page that is open shows it
            await route.fulfill(response=made)

        await page.route("**/take", slowly)
        await page.get_by_role("button", name="接手").click()
        await expect(page.get_by_label("回复居民")).to_be_visible()
        await expect(page.get_by_text("他又打电话来了")).to_be_visible()


@pytest.mark.slow
async def test_a_form_that_is_replaced_while_it_is_on_its_way_still_brings_its_page(
    people: browsers.People, sqlite_url: str
) -> None:
    async with station(sqlite_url, people) as (house, root):
        page = await waiting_call(people, house, root)

        async def late(route: Route) -> None:
            made = await route.fetch()
            await expect(page.get_by_role("button", name="接手")).to_have_count(0)  # the live update was faster
            await route.fulfill(response=made)

        await page.route("**/take", late)
        async with page.expect_response(re.compile("/take")):
            await page.get_by_role("button", name="接手").click()
        await page.get_by_label("回复居民").fill("我在，您说")
        await page.get_by_role("button", name="发送").click()
        await expect(page.locator("#timeline .out.officer")).to_contain_text("我在，您说")
        assert page.url.endswith("/console/tickets/1")


async def test_pictures_and_canned_replies(people: browsers.People, sqlite_url: str) -> None:
    png = bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c63606060600000000500"
        "01a5f645400000000049454e44ae426082"
    )
    async with station(sqlite_url, people) as (house, root):
        await house.hear(HELP)
        ticket = await house.take("zhang")
        page = await people.open("phone", base_url=root)
        await log_in(page, "zhang")
        await page.goto("/console/canned")
        await page.get_by_label("标题").fill("请稍等")
        await page.get_by_label("内容").fill("您好，我正在核实，请稍等。")
        await page.get_by_role("button", name="保存").click()
        await expect(page.get_by_text("常用语已保存")).to_be_visible()

        await page.goto(f"/console/tickets/{ticket}")
        await page.locator("summary", has_text="常用语").click()
        await page.get_by_role("button", name="请稍等").click()
        await expect(page.get_by_label("回复居民")).to_have_value("您好，我正在核实，请稍等。")
        chosen = FilePayload(name="地图.png", mimeType="image/png", buffer=png)
        await page.set_input_files("input[type=file]", files=[chosen])
        await page.get_by_role("button", name="发送").click()
        await expect(page.locator("#timeline .out.officer img")).to_be_visible()
        while await house.work():
            pass
        assert house.channel.texts == ["", "您好，我正在核实，请稍等。"]
        assert house.channel.given[0].reply.picture is not None


@pytest.mark.slow
async def test_the_queue_and_a_ticket_can_be_read_and_answered_without_scripts(
    people: browsers.People, sqlite_url: str
) -> None:
    async with station(sqlite_url, people) as (house, root):
        await house.hear(HELP)
        page = await people.open("phone", base_url=root, javascript=False)
        await log_in(page, "zhang")
        await page.get_by_text(HELP).click()
        await page.get_by_role("button", name="接手").click()
        await page.get_by_label("回复居民").fill("请马上停止转账。")
        await page.get_by_role("button", name="发送").click()
        await expect(page.locator("#timeline")).to_contain_text("请马上停止转账。")
        await house.work()
        assert house.channel.texts == ["请马上停止转账。"]

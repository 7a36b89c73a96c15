"""A resident's day on the web chat: the whole program, real knowledge, a real browser."""

import asyncio
import io
import json
import re
import shutil
import struct
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import Page, expect
from sqlalchemy import func, select

from bot import clock
from bot.actions import conversations, tickets
from bot.actions.audit import Actor
from bot.actions.conversations import Address
from bot.app import PROGRAM, create_app, load_keys
from bot.channels.webchat.channel import HEARTBEAT_SECONDS
from bot.config import Config
from bot.demo.fill import fill
from bot.demo.settings import demo_config
from bot.message import Reply
from bot.store import migrations, search
from bot.store.engine import Store
from bot.store.models import (
    Author,
    Conversation,
    Delivery,
    DeliveryRoute,
    DeliveryState,
    Media,
    Officer,
    Outcome,
    StoredMessage,
    Ticket,
)
from knowledge import Knowledge
from tests.support.browser import People
from tests.support.station import SOON_SECONDS

WEB = "web"
AWAY = ("ERR_INTERNET_DISCONNECTED", "ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_EMPTY_RESPONSE")


# -- the station ------------------------------------------------------------------------------------------------------


@dataclass
class Station:
    """The demo station, running on a port of its own; it can be stopped and started again."""

    config: Config
    knowledge: Knowledge
    runner: web.AppRunner | None = None
    port: int = 0

    async def start(self) -> None:
        app = await create_app(self.config, self.knowledge)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()
        self.port = int(self.runner.addresses[0][1])

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def store(self) -> Store:
        assert self.runner is not None
        return self.runner.app[PROGRAM].runtime.store

    async def newest_conversation(self) -> Conversation:
        async with self.store.read() as session:
            number = (await session.execute(select(func.max(Conversation.id)))).scalar_one()
            where = (await session.get_one(Conversation, number)).address_id
            address = (
                await session.execute(select(StoredMessage.address).where(StoredMessage.conversation_id == number))
            ).scalars()
            found = await conversations.find(session, 1, Address(WEB, next(iter(address))))
        assert found is not None
        assert found.address_id == where
        return found

    async def officer_answers(self, username: str, words: str, *, close: bool = False) -> Officer:
        """The officer takes the newest ticket, if nobody did, and answers; or says farewell."""
        async with self.store.write() as session:
            officer = (await session.execute(select(Officer).where(Officer.username == username))).scalar_one()
            ticket = (await session.execute(select(Ticket).order_by(Ticket.id.desc()).limit(1))).scalar_one()
            actor = Actor(officer.station_id, officer.id)
            await tickets.take(session, ticket, officer, actor=actor)
            if close:
                await tickets.close(session, ticket, officer, Outcome.ANSWERED, farewell=words, actor=actor)
            else:
                await tickets.reply(session, ticket, officer, Reply(words), actor=actor)
            return officer

    async def station_warns(self, words: str) -> None:
        conversation = await self.newest_conversation()
        async with self.store.write() as session:
            here = await session.merge(conversation, load=False)
            await conversations.say(session, here, Reply(words), author=Author.STATION, now=clock.now())

    async def said(self) -> list[str]:
        """All words of the newest conversation."""
        conversation = await self.newest_conversation()
        async with self.store.read() as session:
            rows = await session.execute(
                select(StoredMessage).where(StoredMessage.conversation_id == conversation.id).order_by(StoredMessage.id)
            )
            return [row.body for row in rows.scalars()]


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory, knowledge: Knowledge) -> Path:
    """The demo's data, made once."""
    folder = tmp_path_factory.mktemp("demo")

    async def make() -> None:
        config = demo_config(folder, 0)
        load_keys(config)
        store = Store.open(config.database.url)
        await migrations.migrate(store)
        await fill(store, knowledge)
        indexed = 1
        while indexed:  # now, and not beside each test
            async with store.write() as session:
                indexed = await search.index_pending(session, 1, knowledge.words)
        await store.close()

    asyncio.run(make())
    return folder


@pytest.fixture
async def station(filled: Path, tmp_path: Path, knowledge: Knowledge) -> AsyncIterator[Station]:
    folder = tmp_path / "station"
    shutil.copytree(filled, folder)
    station = Station(demo_config(folder, 0), knowledge)
    await station.start()
    yield station
    await station.stop()


# -- a resident -------------------------------------------------------------------------------------------------------


async def arrive(page: Page, station: Station, path: str = "/chat") -> None:
    """Come for the first time, and agree."""
    await page.goto(station.url + path)
    await page.get_by_role("button", name="同意，开始咨询").click()
    await expect(page.locator("#lines li[data-id]")).to_have_count(1)


async def ask(page: Page, words: str) -> None:
    await page.get_by_label("请输入您想问的事").fill(words)
    await page.get_by_role("button", name="发送", exact=True).click()


async def newest(page: Page, words: str) -> None:
    """The newest line on the page says this."""
    await expect(page.locator("#lines li").last).to_contain_text(words)


async def test_a_resident_asks_and_is_answered(people: People, station: Station) -> None:
    phone = await people.open("phone")
    await phone.goto(f"{station.url}/chat?c=fengxi")
    await expect(phone.locator("main")).to_contain_text("您扫描的是枫溪社区的二维码")
    await phone.get_by_role("button", name="同意，开始咨询").tap()
    await newest(phone, "社区民警是张卫民")
    await ask(phone, "谁是我的民警")
    await newest(phone, "警号031207")
    await expect(phone.locator("#lines li.resident .state.sent")).to_have_count(1)
    await phone.reload()
    await newest(phone, "警号031207")
    await expect(phone.locator("#lines li[data-id]")).to_have_count(3)
    await phone.get_by_role("button", name="找民警").last.tap()
    await newest(phone, "已转给民警")


async def test_each_answer_is_there_at_once_and_ends_as_sent(station: Station) -> None:
    """Over HTTP: what the page does, without the page."""
    jar, headers = aiohttp.CookieJar(unsafe=True), {"Origin": station.url}
    async with aiohttp.ClientSession(station.url, cookie_jar=jar, headers=headers) as resident:
        await resident.post("/chat/consent", data={"agree": "yes"})
        async with resident.get("/chat/live") as live, asyncio.timeout(SOON_SECONDS):
            await live.content.readuntil(b"event: state")
            sent = asyncio.get_running_loop().time()
            async with resident.post("/chat/messages", json={"id": "my-own-id", "text": "谁是我的民警"}) as response:
                assert await response.json() == {"id": "my-own-id", "state": "sent"}
            told: list[dict[str, str]] = []
            while not told or told[-1]["author"] != "bot":
                await live.content.readuntil(b"event: line")
                await live.content.readuntil(b"data: ")
                told.append(json.loads(await live.content.readline()))
            assert asyncio.get_running_loop().time() - sent < HEARTBEAT_SECONDS / 2, "it came by itself"
            assert "还不知道您住在哪个社区" in told[-1]["html"]
    async with station.store.live.listen() as changes, asyncio.timeout(SOON_SECONDS):
        while await undelivered(station):
            await changes.get()


async def undelivered(station: Station) -> int:
    """What the outbox still owes; each of its deliveries that ends is announced."""
    async with station.store.read() as session:
        query = select(func.count()).where(
            Delivery.channel == WEB,
            Delivery.route == DeliveryRoute.OUTBOX,
            Delivery.state.in_((DeliveryState.QUEUED, DeliveryState.SENDING)),
        )
        return int((await session.execute(query)).scalar_one())


async def test_a_resident_is_not_understood_and_an_officer_answers(people: People, station: Station) -> None:
    phone = await people.open("phone")
    await arrive(phone, station)
    await ask(phone, "找民警")
    await newest(phone, "已转给民警")
    await expect(phone.locator("#owner")).to_be_hidden()
    await station.officer_answers("zhangwei", "您好，我是张卫民，请讲。")
    await newest(phone, "您好，我是张卫民，请讲。")
    await newest(phone, "民警 张卫民 · 警号031207")
    await expect(phone.locator("#owner")).to_have_text("民警 张卫民（警号031207）正在为您服务")
    await ask(phone, "身份证丢了怎么办")
    await newest(phone, "身份证丢了怎么办")
    await expect(phone.locator("#lines li.resident .state.sent")).to_have_count(2)
    await expect(phone.locator("#typing")).to_be_hidden()  # the bot is silent
    await station.officer_answers("zhangwei", "都办好了，再见。", close=True)
    await newest(phone, "都办好了，再见。")
    await expect(phone.locator("#owner")).to_be_hidden()
    await ask(phone, "帮助")
    await newest(phone, "您可以直接打字提问")


async def test_an_emergency_is_red_and_calls_with_one_tap(people: People, station: Station) -> None:
    phone = await people.open("phone")
    await arrive(phone, station)
    await ask(phone, "骗子让我正在转账")
    card = phone.locator("#lines li.urgent")
    await expect(card).to_have_count(1)
    await expect(card.locator(".who")).to_have_css("background-color", "rgb(183, 28, 28)")
    call = card.get_by_role("link", name="拨打110")
    await expect(call).to_have_attribute("href", "tel:110")
    await expect(phone.get_by_role("link", name="紧急拨打110")).to_be_in_viewport()
    await expect(call).to_be_in_viewport()


async def test_large_type_is_for_all_pages_and_remembered(page: Page, station: Station) -> None:
    await arrive(page, station)
    await ask(page, "帮助")
    await newest(page, "您可以直接打字提问")
    size = page.get_by_role("button", name="大字显示")
    await expect(size).to_have_attribute("aria-pressed", "false")
    await size.click()
    await expect(size).to_have_attribute("aria-pressed", "true")
    words = "parseFloat(getComputedStyle(document.querySelector('#lines .words')).fontSize)"
    assert await page.evaluate(words) >= 22
    await page.reload()
    assert await page.evaluate(words) >= 22
    assert await sideways(page) == 0
    await page.get_by_role("button", name="大字显示").click()
    await page.reload()
    assert await page.evaluate(words) < 20


async def test_a_resident_sends_a_picture(people: People, station: Station, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(png(3000, 2000, secret=b"GPS 30.1N 120.2E"))
    phone = await people.open("phone")
    await arrive(phone, station)
    await phone.locator("#picture").set_input_files(photo)
    await expect(phone.locator("#preview img")).to_be_visible()
    await phone.get_by_role("button", name="取消").tap()
    await expect(phone.locator("#preview")).to_be_hidden()
    await phone.locator("#picture").set_input_files(photo)
    await phone.get_by_role("button", name="发送图片").tap()
    await newest(phone, "图片收到了")
    image = phone.locator("#lines li.resident img")
    await expect(image).to_have_attribute("src", re.compile(r"^/chat/media/\d+$"))
    await expect(image).not_to_have_js_property("naturalWidth", 0)
    async with station.store.read() as session:
        media = (await session.execute(select(Media).order_by(Media.id.desc()).limit(1))).scalar_one()
    assert media.content_type == "image/jpeg"
    assert b"GPS" not in media.data


async def test_what_is_no_picture_is_explained(people: People, station: Station, tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    file.write_bytes(b"no picture at all")
    phone = await people.open("phone")
    await arrive(phone, station)
    await phone.locator("#picture").set_input_files(file)
    await expect(phone.locator("#note")).to_contain_text("这张图片打不开")


async def test_what_is_written_without_network_is_sent_later_and_once(people: People, station: Station) -> None:
    phone = await people.open("phone", expected_errors=AWAY)
    await arrive(phone, station)
    await phone.context.set_offline(True)
    await ask(phone, "谁是我的民警")
    await ask(phone, "帮助")
    await expect(phone.locator("#offline")).to_be_visible()
    await expect(phone.get_by_role("button", name="等网络恢复后自动发送").first).to_be_visible()
    await phone.context.set_offline(False)
    await newest(phone, "您可以直接打字提问")
    await expect(phone.locator("#offline")).to_be_hidden()
    await expect(phone.locator("#lines li.pending")).to_have_count(0)
    said = await station.said()
    assert [said.count("谁是我的民警"), said.count("帮助")] == [1, 1]
    assert said.index("谁是我的民警") < said.index("帮助")


async def test_what_was_not_sent_outlives_the_page(people: People, station: Station) -> None:
    phone = await people.open("phone", expected_errors=("ERR_FAILED",))
    await arrive(phone, station)
    await phone.route("**/chat/messages", lambda route: route.abort())
    await ask(phone, "谁是我的民警")
    await expect(phone.get_by_role("button", name="没发出去，点这里重试")).to_be_visible()
    await phone.reload()
    await expect(phone.locator("#lines li.pending")).to_contain_text("谁是我的民警")
    await phone.unroute("**/chat/messages")
    await phone.evaluate("document.querySelector('#lines li.pending button')?.click()")  # if it has not tried itself
    await newest(phone, "还不知道您住在哪个社区")
    await expect(phone.locator("#lines li.pending")).to_have_count(0)
    assert (await station.said()).count("谁是我的民警") == 1


async def test_what_is_too_long_comes_back_to_be_shortened(people: People, station: Station) -> None:
    phone = await people.open("phone", expected_errors=("422",))
    await arrive(phone, station)
    field = phone.get_by_label("请输入您想问的事")
    await field.evaluate("field => field.removeAttribute('maxlength')")
    await ask(phone, "长" * 2001)
    await expect(phone.locator("#note")).to_contain_text("一次最多2000个字，现在是2001个字")
    await expect(field).to_have_value("长" * 2001)
    await expect(phone.locator("#lines li.resident")).to_have_count(0)


async def test_the_page_comes_back_by_itself_after_a_restart(people: People, station: Station) -> None:
    phone = await people.open("phone", expected_errors=(*AWAY, "ERR_"))
    await arrive(phone, station)
    await station.stop()
    await ask(phone, "帮助")
    await expect(phone.locator("#offline")).to_be_visible()
    await station.start()
    await newest(phone, "您可以直接打字提问")
    await expect(phone.locator("#offline")).to_be_hidden()
    assert (await station.said()).count("帮助") == 1


async def test_everything_can_be_done_by_keyboard(people: People, station: Station) -> None:
    desk = await people.open("desk")
    await desk.goto(f"{station.url}/chat")
    seen = await tab_through(desk, 6)
    wanted = ["紧急拨打110", "大字显示", "English", "同意，开始咨询", "暂不同意"]
    assert [name for name in seen if name in wanted] == wanted
    await desk.get_by_role("button", name="同意，开始咨询").press("Enter")
    field = desk.get_by_label("请输入您想问的事")
    await field.focus()
    await desk.keyboard.type("第一行")
    await desk.keyboard.press("Shift+Enter")
    await desk.keyboard.type("第二行")
    await desk.keyboard.press("Enter")
    await expect(desk.locator("#lines li.resident .words")).to_have_text("第一行\n第二行")
    await expect(field).to_have_value("")
    await expect(field).to_be_focused()
    await desk.locator("#menu summary").press("Enter")
    await expect(desk.get_by_role("button", name="谁是我的民警")).to_be_visible()
    await desk.keyboard.press("Escape")
    await expect(desk.get_by_role("button", name="谁是我的民警")).to_be_hidden()
    assert await desk.locator("ol[role=log][aria-live=polite]").count() == 1


async def tab_through(page: Page, steps: int) -> list[str]:
    """What the tab key visits, by the name a screen reader says."""
    names = []
    for _ in range(steps):
        await page.keyboard.press("Tab")
        names.append(
            await page.evaluate(
                "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent.trim()"
            )
        )
    return names


async def test_nothing_is_too_small_too_pale_or_too_wide(page: Page, station: Station) -> None:
    await page.goto(f"{station.url}/chat?c=fengxi")
    assert (await pale(page), await small(page), await sideways(page)) == ([], [], 0)
    await page.get_by_role("button", name="同意，开始咨询").click()
    await ask(page, "身份证丢了怎么办")
    await ask(page, "骗子让我正在转账")
    await expect(page.locator("#lines li.urgent")).to_have_count(1)
    await station.station_warns("【谨防诈骗】\n陌生人让您转账，先打96110问一问。" + "不要点陌生链接" * 30)
    await station.officer_answers("fujing1", "W" * 300)
    await newest(page, "辅警 郑小龙")
    await ask(page, "http://" + "very-long-address" * 20)
    await page.locator("#menu summary").click()
    assert (await pale(page), await small(page), await sideways(page)) == ([], [], 0)
    await page.locator("#menu summary").click()
    await page.set_viewport_size({"width": 320, "height": 568})
    await page.get_by_role("button", name="大字显示").click()
    assert await sideways(page) == 0
    await expect(page.get_by_role("link", name="紧急拨打110")).to_be_in_viewport(ratio=1)
    await expect(page.get_by_role("button", name="发送", exact=True)).to_be_in_viewport(ratio=1)


async def test_a_long_answer_is_read_from_its_beginning_after_coming_back_too(page: Page, station: Station) -> None:
    await page.set_viewport_size({"width": 320, "height": 568})
    await arrive(page, station)
    await page.get_by_role("button", name="大字显示").click()
    await station.station_warns("【谨防诈骗】\n" + "陌生人让您转账，先打96110问一问。\n" * 40)
    await expect(page.locator("#lines li.station")).to_have_count(1)
    await expect(page.locator("#lines li.station .who")).to_be_in_viewport(ratio=1)
    await page.reload()
    await expect(page.locator("#lines li.station .who")).to_be_in_viewport(ratio=1)
    await expect(page.locator("#jump")).to_be_visible()
    covered = """() => document.getElementById('jump').getBoundingClientRect().top
        < document.getElementById('scroller').getBoundingClientRect().bottom"""
    assert not await page.evaluate(covered)
    await page.locator("#jump").click()
    await expect(page.locator("#jump")).to_be_hidden()


async def sideways(page: Page) -> int:
    """How many pixels something sticks out of the screen."""
    return int(
        await page.evaluate(
            """() => Math.max(0, ...Array.from(document.querySelectorAll('html, body, .scroller'),
                (element) => element.scrollWidth - element.clientWidth))"""
        )
    )


async def small(page: Page) -> list[str]:
    """What is to be tapped and lower than 36 pixels; a number inside a sentence is as high as the sentence."""
    found: list[str] = await page.evaluate(
        """() => Array.from(document.querySelectorAll('button, a, summary, textarea, .attach label'))
            .filter((element) => element.offsetParent && !element.closest('.words'))
            .filter((element) => element.getBoundingClientRect().height < 36)
            .map((element) => element.outerHTML.slice(0, 120))"""
    )
    return found


async def pale(page: Page) -> list[str]:
    """Words whose contrast with what is behind them is below 4.5 to 1 (WCAG AA)."""
    found: list[str] = await page.evaluate(
        """() => {
          const parse = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
          const light = (colour) => colour.slice(0, 3).map((c) => c / 255)
            .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
            .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
          const behind = (element) => {
            for (; element; element = element.parentElement) {
              const colour = parse(getComputedStyle(element).backgroundColor);
              if (colour.length === 3 || colour[3] > 0.99) return colour;
            }
            return [255, 255, 255];
          };
          const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          const bad = [];
          while (words.nextNode()) {
            const element = words.currentNode.parentElement;
            if (!words.currentNode.data.trim() || !element.offsetParent || element.closest('.quiet')) continue;
            const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
            const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (ratio < 4.5) bad.push(words.currentNode.data.trim().slice(0, 30) + ' ' + ratio.toFixed(2));
          }
          return bad;
        }"""
    )
    return found


async def test_a_long_answer_is_read_from_its_beginning(people: People, station: Station) -> None:
    phone = await people.open("phone")
    await arrive(phone, station)
    await station.station_warns("开头\n" + "很长的提醒\n" * 80 + "结尾")
    line = phone.locator("#lines li.station")
    await expect(line.locator(".who")).to_be_in_viewport()
    jump = phone.get_by_role("button", name="回到最新消息")
    await jump.tap()
    await expect(line.locator("time")).to_be_in_viewport()
    await expect(jump).to_be_hidden()


async def test_who_reads_above_is_told_of_new_lines_and_not_pulled_away(people: People, station: Station) -> None:
    phone = await people.open("phone")
    await arrive(phone, station)
    for number in range(12):
        await station.station_warns(f"第{number}条提醒\n" * 4)
    await newest(phone, "第11条提醒")
    await phone.evaluate("document.querySelector('#scroller').scrollTop = -800")
    await expect(phone.get_by_role("button", name="回到最新消息")).to_be_visible()
    before = await phone.evaluate(
        "document.querySelector('#m' + document.querySelector('li[data-id]').dataset.id).getBoundingClientRect().top"
    )
    await station.station_warns("新来的提醒")
    jump = phone.get_by_role("button", name="1条新消息")
    await expect(jump).to_be_visible()
    after = await phone.evaluate(
        "document.querySelector('#m' + document.querySelector('li[data-id]').dataset.id).getBoundingClientRect().top"
    )
    assert abs(after - before) < 2
    await jump.tap()
    await expect(phone.locator("#lines li").last).to_be_in_viewport()


async def test_earlier_lines_are_fetched_in_place(people: People, station: Station) -> None:
    desk = await people.open("desk")
    await arrive(desk, station)
    for number in range(60):
        await station.station_warns(f"第{number}条。")
    await desk.reload()
    await expect(desk.locator("#lines li[data-id]")).to_have_count(50)
    await desk.get_by_role("link", name="查看更早的消息").click()
    await expect(desk.locator("#lines li[data-id]")).to_have_count(61)
    await expect(desk.locator("#earlier")).to_have_count(0)
    numbers = await desk.evaluate(
        "Array.from(document.querySelectorAll('li[data-id]'), (line) => Number(line.dataset.id))"
    )
    assert numbers == sorted(numbers)


async def test_a_resident_deletes_everything_from_the_menu(people: People, station: Station) -> None:
    phone = await people.open("phone")
    await arrive(phone, station)
    await ask(phone, "帮助")
    await newest(phone, "您可以直接打字提问")
    await phone.locator("#menu summary").tap()
    await phone.get_by_role("button", name="删除我的记录").tap()
    await newest(phone, "确定请回复")
    await phone.get_by_role("button", name="确认删除").tap()
    await expect(phone.locator("main")).to_contain_text("您的信息和聊天内容已经删除")
    await expect(phone.get_by_role("button", name="同意，开始咨询")).to_be_visible()
    assert await phone.context.cookies() == [] or all(
        not cookie.get("name", "").endswith("_visitor") for cookie in await phone.context.cookies()
    )


async def test_reading_and_writing_work_without_script(people: People, station: Station) -> None:
    phone = await people.open("phone", javascript=False)
    await arrive(phone, station)
    await ask(phone, "谁是我的民警")
    await newest(phone, "还不知道您住在哪个社区")
    await expect(phone.locator("#lines li").last).to_be_in_viewport()
    await phone.get_by_role("button", name="找民警").last.tap()
    await newest(phone, "已转给民警")
    await station.officer_answers("lihong", "我是李红梅。")
    await phone.get_by_role("link", name="刷新").tap()
    await newest(phone, "民警 李红梅 · 警号031215")
    assert await sideways(phone) == 0
    await expect(phone.get_by_role("button", name="发送图片")).to_be_in_viewport(ratio=1)
    await phone.get_by_role("button", name="大字显示").tap()
    await expect(phone.locator("html")).to_have_class("large")


async def test_two_windows_of_one_resident_show_the_same(people: People, station: Station) -> None:
    first = await people.open("desk")
    await arrive(first, station)
    second = await first.context.new_page()
    await second.goto(f"{station.url}/chat")
    await ask(first, "帮助")
    for page in (first, second):
        await newest(page, "您可以直接打字提问")
        await expect(page.locator("#lines li.resident")).to_have_count(1)


def png(width: int, height: int, *, secret: bytes) -> bytes:
    """A picture with a comment in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = io.BytesIO()
    for y in range(height):
        rows.write(b"\0" + bytes((y % 256, 80, 160)) * width)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [
        chunk(b"IHDR", header),
        chunk(b"tEXt", b"Comment\0" + secret),
        chunk(b"IDAT", zlib.compress(rows.getvalue(), 1)),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")

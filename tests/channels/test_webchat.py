"""The web chat over HTTP: consent, messages, pictures, what is new, and who may see what."""

import asyncio
import html
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from types import TracebackType
from typing import Any, Self

import aiohttp
import pytest
from aiohttp import web
from sqlalchemy import select
from yarl import URL

from bot.actions import conversations, tickets
from bot.actions.audit import Actor
from bot.actions.conversations import Address
from bot.channels.base import Failure, SendError
from bot.channels.webchat import channel as webchat
from bot.channels.webchat import phones
from bot.channels.webchat.channel import WebChat
from bot.channels.webchat.cookie import VisitorCookie
from bot.channels.webchat.limits import Limit
from bot.config import WebChatSettings, parse_config
from bot.message import Choice, Message, Reply
from bot.runtime import Runtime
from bot.store.live import Change, Kind, announce
from bot.store.models import (
    AuditEvent,
    Author,
    DeliveryState,
    Direction,
    Media,
    Resident,
    ResidentAddress,
    StoredMessage,
    Ticket,
)
from bot.visitors import Visitors
from scheduler.outbox import Outbox
from tests.support.small_pictures import jpeg, png
from tests.support.station import CHANNEL, DATA_KEY, NAME, SOON_SECONDS, FrozenClock, House, frozen_clock, until

KEY = b"k" * 32
PNG = png(b"picture" * 20)
JPEG = jpeg(b"picture" * 20)
WORDS = "居民的话"  # the fixtures of the channels look for it in every log
PROXY = "127.0.0.1"


# -- a visitor's browser ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Happened:
    """One server-sent event."""

    name: str
    id: int  # 0 for what is no line
    data: dict[str, Any]

    @property
    def words(self) -> str:
        return readable(self.data["html"])


def readable(markup: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup))).strip()


class Live:
    """The stream of one open page."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> Happened | None:
        """The next event; None for a heartbeat, EOFError at the end."""
        block: list[str] = []
        async with asyncio.timeout(SOON_SECONDS):
            while True:
                line = (await self.response.content.readline()).decode()
                if not line:
                    raise EOFError
                if line == "\n" and block:
                    break
                block.append(line.rstrip("\n"))
        if block[0].startswith(":"):
            return None
        fields = dict(part.split(": ", 1) for part in block)
        if "data" not in fields:
            return await self.next()  # how soon to come back
        return Happened(fields["event"], int(fields.get("id", "0")), json.loads(fields["data"]))

    async def until(self, name: str, **data: Any) -> Happened:
        while True:
            happened = await self.next()
            if happened and happened.name == name and data.items() <= happened.data.items():
                return happened

    async def lines(self, count: int) -> list[Happened]:
        return [await self.until("line") for _ in range(count)]


class Browser:
    """Somebody with a browser: cookies of his own, and the headers browsers send."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = aiohttp.ClientSession(
            url,
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            headers={"Origin": url},
            timeout=aiohttp.ClientTimeout(SOON_SECONDS),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.session.close()

    @property
    def cookie(self) -> str:
        return next((cookie.value for cookie in self.session.cookie_jar if cookie.key.endswith("_visitor")), "")

    @property
    def visitor(self) -> str:
        return self.cookie.partition(".")[0]

    def set_cookie(self, name: str, value: str) -> None:
        cookies = SimpleCookie({name: value})
        cookies[name]["path"] = "/chat"
        self.session.cookie_jar.update_cookies(cookies, URL(self.url))

    async def page(self, path: str = "/chat") -> str:
        async with self.session.get(path) as response:
            assert response.status == 200, response.status
            return await response.text()

    async def form(self, path: str, **fields: str) -> tuple[int, str]:
        """Send a form as a browser without script does, and see what it leads to."""
        async with self.session.post(path, data=fields) as response:
            return response.status, await response.text()

    async def consent(self, code: str = "") -> str:
        status, page = await self.form("/chat/consent", agree="yes", c=code)
        assert status == 200
        return page

    async def post(self, path: str, payload: object, **headers: str) -> tuple[int, dict[str, Any], str]:
        """A script's POST: status, JSON and Retry-After."""
        async with self.session.post(path, json=payload, headers=headers) as response:
            return response.status, await response.json(), response.headers.get("Retry-After", "")

    async def say(self, text: str, key: str = "") -> tuple[int, dict[str, Any]]:
        payload = {"id": key or f"key-{next(_keys):08d}", "text": text}
        status, answer, _ = await self.post("/chat/messages", payload)
        return status, answer

    async def upload(
        self, data: bytes, key: str = "picture-0001", name: str = "picture", script: bool = True
    ) -> tuple[int, str]:
        form = aiohttp.FormData()
        form.add_field("id", key)
        form.add_field(name, data, filename="photo.jpg", content_type="image/jpeg")
        headers = {"Accept": "application/json"} if script else {}
        async with self.session.post("/chat/pictures", data=form, headers=headers) as response:
            return response.status, await response.text()

    async def history(self, **query: int) -> dict[str, Any]:
        async with self.session.get("/chat/history", params=query) as response:
            assert response.status == 200
            found: dict[str, Any] = await response.json()
            return found

    async def said(self) -> list[str]:
        return [readable(line["html"]) for line in (await self.history())["lines"]]

    @asynccontextmanager
    async def live(self, after: int | None = None, last_event: int | None = None) -> AsyncIterator[Live]:
        query = {} if after is None else {"after": after}
        headers = {} if last_event is None else {"Last-Event-ID": str(last_event)}
        async with self.session.get("/chat/live", params=query, headers=headers, timeout=None) as response:
            assert response.status == 200
            assert response.content_type == "text/event-stream"
            yield Live(response)


def _count() -> Iterator[int]:
    number = 0
    while True:
        yield (number := number + 1)


_keys = _count()


# -- the station ------------------------------------------------------------------------------------------------------


@dataclass
class Chat:
    """A station whose residents come by browser."""

    house: House
    time: FrozenClock
    channel: WebChat
    outbox: Outbox
    runner: web.AppRunner
    url: str
    stack: AsyncExitStack
    fail: list[Exception] = field(default_factory=list)  # what the next message meets instead of being stored

    async def browser(self) -> Browser:
        return await self.stack.enter_async_context(Browser(self.url))

    async def visitor(self, code: str = "") -> Browser:
        """Somebody who has consented."""
        browser = await self.browser()
        await browser.consent(code)
        return browser

    async def settled(self) -> None:
        """All that was said is answered."""
        await self.house.dispatcher.close()

    async def officer_says(self, username: str, visitor: str, text: str) -> None:
        officer = await self.house.officer(username)
        number = await self.house.take(username, visitor)
        async with self.house.store.write() as session:
            ticket = await session.get_one(Ticket, number)
            await tickets.reply(session, ticket, officer, Reply(text), actor=Actor(self.house.station.id, officer.id))

    async def bot_says(self, visitor: str, reply: Reply, author: Author = Author.BOT) -> None:
        async with self.house.store.write() as session:
            where = Address(CHANNEL, visitor)
            conversation = await conversations.find(session, self.house.station.id, where)
            assert conversation is not None
            await conversations.say(session, conversation, reply, author=author, now=self.time.now)

    async def change(self, visitor: str, what: str) -> None:
        conversation = await self.house.conversation(visitor)
        async with self.house.store.write() as session:
            announce(session, Change(self.house.station.id, Kind.CONVERSATION, conversation.id, what))


Start = Callable[..., Awaitable[Chat]]


@pytest.fixture
def time() -> Iterator[FrozenClock]:
    with frozen_clock() as frozen:
        yield frozen


@pytest.fixture
async def start(furnished_sqlite_url: str, time: FrozenClock) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def start(url: str = furnished_sqlite_url, *, heartbeat_seconds: float = 20.0, **server: object) -> Chat:
            house = await stack.enter_async_context(House.opened(url))
            config = parse_config({"station": {"name": NAME}, "security": {"data_key": DATA_KEY}, "server": server}, {})
            runtime = Runtime(config, house.store, house.station, house.knowledge)
            fail: list[Exception] = []

            async def feed(message: Message, *, wait_seconds: float) -> Any:
                if fail:
                    raise fail.pop()
                return await house.dispatcher.feed(message, wait_seconds=wait_seconds)

            channel = WebChat(
                WebChatSettings(kind="webchat", name=CHANNEL),
                feed=feed,
                visitors=Visitors(runtime, CHANNEL),
                signing_key=KEY,
                heartbeat_seconds=heartbeat_seconds,
            )
            app = web.Application(client_max_size=3 * 1024 * 1024)
            app.add_routes(channel.routes())
            app.on_shutdown.append(channel.end_streams)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=5 * SOON_SECONDS)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            root = f"http://127.0.0.1:{runner.addresses[0][1]}"
            outbox = Outbox(house.store, house.station.id, {CHANNEL: channel})
            return Chat(house, time, channel, outbox, runner, root, stack, fail)

        yield start


@pytest.fixture
async def chat(start: Start) -> Chat:
    return await start()


# -- the first visit --------------------------------------------------------------------------------------------------


async def test_a_first_visit_says_what_is_kept_and_keeps_nothing(chat: Chat) -> None:
    browser = await chat.browser()
    page = readable(await browser.page())
    for words in (
        "加密保存3年",
        "180天",
        "删除我的记录",
        "同意，开始咨询",
        "暂不同意",
        "110 报警",
        "96110 反诈专线",
        NAME,
    ):
        assert words in page
    assert browser.cookie == ""
    assert await chat.house.count(Resident) == await chat.house.count(StoredMessage) == 0


async def test_who_does_not_agree_still_gets_the_numbers(chat: Chat) -> None:
    browser = await chat.browser()
    page = await browser.page("/chat?declined=1")
    assert "没有保存任何内容" in page
    assert 'href="tel:110"' in page
    assert 'href="tel:057186001100"' in page
    assert await chat.house.count(Resident) == 0


async def test_consent_is_recorded_and_the_bot_says_welcome(chat: Chat) -> None:
    visitor = await chat.visitor()
    assert "您好，这里是枫林派出所" in (await visitor.said())[0]
    conversation = await chat.house.conversation(visitor.visitor)
    assert conversation.address.consented_at == chat.time.now
    event: AuditEvent = await chat.house.one(select(AuditEvent).where(AuditEvent.action == "address.consented"))
    assert (event.subject, event.details) == (f"address:{conversation.address_id}", {"kept_days": 1095})


async def test_agreeing_twice_is_agreeing_once(chat: Chat) -> None:
    visitor = await chat.visitor()
    before = visitor.visitor
    await visitor.consent()
    assert visitor.visitor == before
    assert len(await visitor.said()) == 1
    assert await chat.house.count(Resident) == 1


async def test_a_form_without_the_yes_is_no_consent(chat: Chat) -> None:
    browser = await chat.browser()
    status, page = await browser.form("/chat/consent", agree="maybe")
    assert status == 400
    assert "请先阅读并同意保存说明" in page
    assert await chat.house.count(Resident) == 0


async def test_who_reads_english_is_welcomed_in_english(chat: Chat) -> None:
    browser = await chat.browser()
    assert "What is kept" in await browser.page("/chat?lang=en")
    await browser.consent()
    assert "Hello, this is the neighbourhood officer" in (await browser.said())[0]
    assert (await chat.house.resident(browser.visitor)).language == "en"


# -- the code of a community ------------------------------------------------------------------------------------------


async def test_the_code_of_a_community_binds_at_consent(chat: Chat) -> None:
    browser = await chat.browser()
    page = await browser.page("/chat?c=liuhe")
    assert "您扫描的是柳河村的二维码" in page
    assert 'name="c" value="liuhe"' in page
    assert "柳河村，社区民警是张伟" in await browser.consent("liuhe")
    assert (await chat.house.resident(browser.visitor)).community_id == await chat.house.community("柳河村")


async def test_a_code_nobody_made_binds_nowhere(chat: Chat) -> None:
    browser = await chat.browser()
    assert "二维码" not in await browser.page("/chat?c=%22%3E%3Cscript%3E")
    await browser.consent("nowhere")
    assert (await chat.house.resident(browser.visitor)).community_id is None


async def test_who_is_known_is_asked_before_another_code_moves_him(chat: Chat) -> None:
    visitor = await chat.visitor("liuhe")
    assert "关联到柳河村" not in await visitor.page("/chat?c=liuhe")
    assert "关联到湖滨社区" in await visitor.page("/chat?c=hubin")
    assert (await chat.house.resident(visitor.visitor)).community_id == await chat.house.community("柳河村")
    await visitor.consent("hubin")
    assert (await chat.house.resident(visitor.visitor)).community_id == await chat.house.community("湖滨社区")


# -- the cookie -------------------------------------------------------------------------------------------------------


async def test_the_cookie_is_for_this_browser_alone(chat: Chat) -> None:
    browser = await chat.browser()
    async with browser.session.post("/chat/consent", data={"agree": "yes"}, allow_redirects=False) as response:
        cookie = response.headers["Set-Cookie"]
    assert response.status == 303
    for part in ("HttpOnly", "SameSite=Lax", "Max-Age=31536000", "Path=/chat"):
        assert part in cookie
    assert "Secure" not in cookie


@pytest.mark.parametrize(("proxies", "secure"), [((PROXY,), True), ((), False)])
async def test_the_cookie_is_secure_when_a_proxy_of_ours_says_https(
    start: Start, proxies: tuple[str, ...], secure: bool
) -> None:
    chat = await start(trusted_proxies=proxies)
    browser = await chat.browser()
    headers = {"X-Forwarded-Proto": "https"}
    async with browser.session.post(
        "/chat/consent", data={"agree": "yes"}, headers=headers, allow_redirects=False
    ) as response:
        assert ("Secure" in response.headers["Set-Cookie"]) is secure


def test_only_what_we_signed_for_this_channel_is_a_visitor() -> None:
    ours = VisitorCookie("web", KEY)
    visitor = ours.new_visitor()
    value = ours.value(visitor)
    assert ours.visitor(value) == visitor
    name, signature = value.split(".")
    forged = [
        "",
        name,
        f"{name}.",
        f"{name}.{'A' * 43}",
        f"{'A' * 22}.{signature}",
        f"{value}x",
        f"{value}\n",
        value.upper(),
        VisitorCookie("web", b"x" * 32).value(visitor),
        VisitorCookie("other", KEY).value(visitor),
    ]
    assert [ours.visitor(value) for value in forged] == [None] * len(forged)
    with pytest.raises(ValueError, match="32 bytes"):
        VisitorCookie("web", b"short")


async def test_a_forged_cookie_is_a_new_visitor(chat: Chat) -> None:
    known = await chat.visitor()
    await known.say(WORDS)
    forger = await chat.browser()
    forger.set_cookie(f"{CHANNEL}_visitor", f"{known.visitor}.{'A' * 43}")
    page = await forger.page()
    assert WORDS not in page
    assert "同意，开始咨询" in page
    assert forger.cookie == ""  # taken away
    forger.set_cookie(f"{CHANNEL}_visitor", f"{known.visitor}.{'A' * 43}")
    assert (await forger.say("骗人"))[0] == 403
    for path in ("/chat/history", "/chat/live", "/chat/media/1"):
        async with forger.session.get(path) as response:
            assert response.status == 403


# -- asking and being answered ----------------------------------------------------------------------------------------


async def test_a_resident_asks_and_finds_the_answer_again_after_a_reload(chat: Chat) -> None:
    visitor = await chat.visitor()
    assert await visitor.say("身份证丢了怎么办", "my-own-id-1") == (200, {"id": "my-own-id-1", "state": "sent"})
    await chat.settled()
    page = readable(await visitor.page())
    assert page.index("身份证丢了怎么办") < page.index("带户口簿到任一派出所补办")
    again = await chat.browser()
    again.set_cookie(f"{CHANNEL}_visitor", visitor.cookie)
    assert "带户口簿到任一派出所补办" in await again.page()


async def test_the_same_message_three_times_is_one_message_and_one_answer(chat: Chat) -> None:
    visitor = await chat.visitor()
    answers = await asyncio.gather(*(visitor.say("身份证丢了怎么办", "same-id-0001") for _ in range(3)))
    await chat.settled()
    await visitor.say("身份证丢了怎么办", "same-id-0001")
    await chat.settled()
    assert {status for status, _ in answers} == {200}
    assert len(await visitor.said()) == 3  # welcome, question, answer


async def test_two_visitors_may_use_the_same_id(chat: Chat) -> None:
    one, other = await chat.visitor(), await chat.visitor()
    await one.say("身份证丢了怎么办", "same-id-0001")
    await other.say("你好", "same-id-0001")
    await chat.settled()
    assert "您好，请讲。" in (await other.said())[-1]


async def test_every_answer_is_a_delivery_that_ends_as_sent(chat: Chat) -> None:
    visitor = await chat.visitor()
    await visitor.say("身份证丢了怎么办")
    await chat.settled()
    await chat.outbox.work()
    states = [delivery.state for delivery in await chat.house.deliveries()]
    assert states == [DeliveryState.SENT, DeliveryState.SENT]


async def test_nothing_is_delivered_to_an_address_nobody_has(chat: Chat) -> None:
    with pytest.raises(SendError) as refused:
        await chat.channel.send("A" * 22, Reply("您好"), delivery_id=1)
    assert refused.value.failure is Failure.REFUSED


async def test_what_residents_write_is_shown_as_text(chat: Chat) -> None:
    visitor = await chat.visitor()
    await visitor.say("<script>alert(1)</script><b>&amp;</b> http://evil.example/ javascript:alert(1)")
    await chat.settled()
    page = await visitor.page()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&lt;b&gt;&amp;amp;&lt;/b&gt;" in page
    assert "evil.example/" in page
    assert 'href="http' not in page


async def test_quick_replies_are_buttons_that_send_their_words(chat: Chat) -> None:
    visitor = await chat.visitor()
    await visitor.say("身份证")
    await chat.settled()
    last = (await visitor.history())["lines"][-1]["html"]
    assert re.findall(r'name="choice" value="([^"]+)"', last) == ["1", "2", "3", "0"]
    await visitor.say("2")
    await chat.settled()
    assert "带旧证到任一派出所换领" in (await visitor.said())[-1]


async def test_an_emergency_is_red_and_has_numbers_to_tap(chat: Chat) -> None:
    visitor = await chat.visitor()
    await visitor.say("骗子让我正在转账")
    await chat.settled()
    line = (await visitor.history())["lines"][-1]["html"]
    assert 'class="line bot urgent"' in line
    assert '<a href="tel:96110">拨打96110</a>' in line
    assert "line bot urgent" not in (await visitor.history())["lines"][0]["html"]


async def test_a_warning_has_a_look_of_its_own(chat: Chat) -> None:
    visitor = await chat.visitor()
    await chat.bot_says(visitor.visitor, Reply("【谨防诈骗】\n不要转账。"), Author.STATION)
    line = (await visitor.history())["lines"][-1]["html"]
    assert 'class="line station"' in line
    assert "派出所提醒" in line


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_what_cannot_be_sent_is_refused_with_a_sentence(chat: Chat, language: str) -> None:
    visitor = await chat.visitor()
    visitor.set_cookie("chat_language", language)
    rows = await chat.house.count(StoredMessage)
    long, empty = ("2000个字，现在是2001", "请先写下") if language == "zh" else ("2000 characters", "write something")
    status, answer = await visitor.say("长" * 2001)
    assert status == 422
    assert long in answer["error"]
    status, answer = await visitor.say(" \n\t ")
    assert status == 422
    assert empty in answer["error"]
    assert await chat.house.count(StoredMessage) == rows


async def test_two_thousand_characters_and_odd_ones_arrive(chat: Chat) -> None:
    visitor = await chat.visitor()
    for text in ("长" * 2000, "笑脸😀和换行\n第二行", "半个字符\ud83d结束", "零\0字节"):
        assert (await visitor.say(text))[0] == 200
    await chat.settled()
    bodies = [row.body for row in await chat.house.heard()][1:]
    assert bodies == ["长" * 2000, "笑脸😀和换行\n第二行", "半个字符?结束", "零字节"]


BAD = [
    (b"", "application/json", 400),
    (b"{", "application/json", 400),
    (b"[]", "application/json", 400),
    (b"\xff\xfe", "application/json", 400),
    (b"[" * 5000, "application/json", 400),
    (b'{"text": "x"}', "application/json", 400),
    (b'{"id": "short", "text": "x"}', "application/json", 400),
    (b'{"id": "consent:12345678", "text": "x"}', "application/json", 400),
    (b'{"id": "good-id-1", "text": 5}', "application/json", 422),
    (b'{"id": "good-id-1", "text": null}', "application/json", 422),
    (b"id=good-id-1&text=x", "text/plain", 415),
    (b'{"id": "good-id-1", "text": "x"}', "text/plain", 415),
    (b"text=x", "application/x-www-form-urlencoded", 400),
]


async def test_a_broken_request_is_refused_and_nothing_breaks(chat: Chat) -> None:
    visitor = await chat.visitor()
    rows = await chat.house.count(StoredMessage)
    for body, content_type, status in BAD:
        headers = {"Content-Type": content_type}
        async with visitor.session.post("/chat/messages", data=body, headers=headers) as response:
            assert response.status == status, body
    assert await chat.house.count(StoredMessage) == rows


async def test_a_message_that_could_not_be_stored_is_not_called_sent(chat: Chat) -> None:
    visitor = await chat.visitor()
    chat.fail.append(OSError("disk full"))
    status, answer, after = await visitor.post("/chat/messages", {"id": "good-id-1", "text": WORDS})
    assert (status, after) == (503, "5")
    assert "请稍后重试" in answer["error"]
    assert "110" in answer["error"]
    assert (await visitor.say(WORDS, "good-id-1"))[0] == 200


# -- how often --------------------------------------------------------------------------------------------------------


async def test_who_writes_too_fast_is_told_when_to_go_on(chat: Chat) -> None:
    visitor, other = await chat.visitor(), await chat.visitor()
    for number in range(webchat.MESSAGES_PER_MINUTE):
        assert (await visitor.say(f"第{number}句"))[0] == 200
    status, answer, after = await visitor.post("/chat/messages", {"id": "good-id-1", "text": "还有"})
    assert (status, after) == (429, "2")
    assert "请2秒后再发" in answer["error"]
    assert "110" in answer["error"]
    assert (await other.say("你好"))[0] == 200
    chat.time.forward(seconds=2)
    assert (await visitor.say("还有"))[0] == 200
    await chat.settled()


async def test_who_is_in_danger_is_heard_however_much_he_wrote_before(chat: Chat) -> None:
    visitor = await chat.visitor()
    for number in range(webchat.MESSAGES_PER_MINUTE):
        await visitor.say(f"第{number}句")
    assert (await visitor.say("再说一句"))[0] == 429
    assert (await visitor.say("骗子让我正在转账"))[0] == 200
    await chat.settled()
    assert "马上停止转账" in (await visitor.said())[-1]


async def test_one_address_cannot_flood_the_station(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat.channel, "_consents", Limit(2))
    for _ in range(2):
        await chat.visitor()
    browser = await chat.browser()
    status, page = await browser.form("/chat/consent", agree="yes")
    assert status == 429
    assert "现在访问的人太多" in page
    assert await chat.house.count(Resident) == 2


@pytest.mark.parametrize(("proxies", "statuses"), [((PROXY,), [200, 200]), ((), [200, 429])])
async def test_an_address_counts_only_when_a_proxy_of_ours_names_it(
    start: Start, monkeypatch: pytest.MonkeyPatch, proxies: tuple[str, ...], statuses: list[int]
) -> None:
    chat = await start(trusted_proxies=proxies)
    monkeypatch.setattr(chat.channel, "_consents", Limit(1))
    seen = []
    for number in (1, 2):
        browser = await chat.browser()
        headers = {"X-Forwarded-For": f"203.0.113.{number}"}
        async with browser.session.post("/chat/consent", data={"agree": "yes"}, headers=headers) as response:
            seen.append(response.status)
    assert seen == statuses


def test_a_limit_forgets_who_is_quiet(time: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.channels.webchat.limits._KEYS_MOST", 3)
    limit = Limit(1)
    assert [limit.take(key, time.now) for key in "aab"] == [0, 60, 0]
    time.forward(minutes=1)
    assert limit.take("c", time.now) == 0
    assert [limit.take(key, time.now) for key in "dd"] == [0, 60]
    assert len(limit._buckets) <= 3


# -- from our own page only -------------------------------------------------------------------------------------------

ORIGINS = [
    ({"Origin": "https://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": ""}, 403),
    ({"Origin": "", "Referer": "https://evil.example/chat"}, 403),
    ({"Origin": "", "Referer": "{url}/chat"}, 200),
    ({"Origin": "{url}", "Sec-Fetch-Site": "cross-site"}, 403),
    ({"Origin": "{url}", "Sec-Fetch-Site": "same-site"}, 403),
    ({"Origin": "{url}", "Sec-Fetch-Site": "none"}, 403),
    ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, 200),
    ({"Origin": "https://chat.station.example"}, 200),  # server.public_url
]


async def test_another_site_cannot_speak_for_a_resident(start: Start) -> None:
    chat = await start(public_url="https://chat.station.example")
    visitor = await chat.visitor()
    for headers, status in ORIGINS:
        sent = {name: value.format(url=chat.url) for name, value in headers.items()}
        form = aiohttp.FormData({"id": "good-id-1"})
        form.add_field("picture", PNG, filename="a.png")
        requests: tuple[tuple[str, dict[str, Any]], ...] = (
            ("/chat/messages", {"json": {"id": "good-id-1", "text": "转账"}}),
            ("/chat/forget", {"json": {"id": "good-id-2"}}),
            ("/chat/consent", {"data": {"agree": "yes"}}),
            ("/chat/pictures", {"data": form, "headers": sent | {"Accept": "application/json"}}),
        )
        for path, body in requests:
            async with visitor.session.post(path, **{"headers": sent, **body}) as response:
                assert response.status == status, (path, headers)
    await chat.settled()


async def test_the_page_lets_nothing_foreign_in(chat: Chat) -> None:
    visitor = await chat.visitor()
    async with visitor.session.get("/chat") as response:
        policy = response.headers["Content-Security-Policy"]
        page = await response.text()
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert re.findall(r"<script(?![^>]*\ssrc=\"/chat/static/)", page) == []
    assert not re.search(r"\son[a-z]+=|\sstyle=", page)
    assert response.headers["Cache-Control"] == "no-store"
    for address in re.findall(r'(?:src|href)="(/chat/static/[^"]+)"', page):
        async with visitor.session.get(address) as found:
            assert found.status == 200
            assert "immutable" in found.headers["Cache-Control"]
    for address in ("/chat/static/..%2fchannel.py", "/chat/static/texts.yaml", "/chat/static/"):
        async with visitor.session.get(address) as found:
            assert found.status == 404


# -- pictures ---------------------------------------------------------------------------------------------------------


def media_of(line: str) -> str:
    found = re.search(r'src="(/chat/media/\d+)"', line)
    assert found is not None
    return found[1]


async def test_a_picture_is_kept_and_shown_to_its_sender_only(chat: Chat) -> None:
    visitor, stranger = await chat.visitor(), await chat.visitor()
    assert (await visitor.upload(PNG))[0] == 200
    await chat.settled()
    address = media_of((await visitor.history())["lines"][1]["html"])
    async with visitor.session.get(address) as response:
        assert (response.status, response.content_type) == (200, "image/png")
        assert await response.read() == PNG
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in response.headers["Content-Security-Policy"]
    for other, status in ((stranger, 404), (await chat.browser(), 403)):
        async with other.session.get(address) as response:
            assert response.status == status
    async with visitor.session.get("/chat/media/999999") as response:
        assert response.status == 404


async def test_a_picture_of_the_officer_is_shown_to_his_resident_only(chat: Chat) -> None:
    visitor, stranger = await chat.visitor(), await chat.visitor()
    async with chat.house.store.write() as session:
        media = Media(station_id=chat.house.station.id, content_type="image/jpeg", data=JPEG, created_at=chat.time.now)
        session.add(media)
        await session.flush()
        number = media.id
    await chat.bot_says(visitor.visitor, Reply("请看", picture=number), Author.OFFICER)
    address = media_of((await visitor.history())["lines"][-1]["html"])
    for browser, status in ((visitor, 200), (stranger, 404)):
        async with browser.session.get(address) as response:
            assert response.status == status


async def test_the_same_picture_sent_again_is_kept_once(chat: Chat) -> None:
    visitor = await chat.visitor()
    for _ in range(3):
        assert (await visitor.upload(JPEG, "picture-0001"))[0] == 200
    await chat.settled()
    assert await chat.house.count(Media) == 1
    assert sum("/chat/media/" in line["html"] for line in (await visitor.history())["lines"]) == 1


async def test_what_is_no_picture_is_refused(chat: Chat) -> None:
    visitor = await chat.visitor()
    for data, key, name, status, sentence in (
        (b"<svg onload='x'>", "picture-0001", "picture", 422, "只能发送"),
        (b"MZ program", "picture-0001", "picture", 422, "只能发送"),
        (PNG[:8], "picture-0001", "picture", 422, "完整"),
        (b"\xff\xd8\xff\xe0" + b"junk" * 20, "picture-0001", "picture", 422, "完整"),
        (b"", "picture-0001", "picture", 422, "请先选择"),
        (PNG, "picture-0001", "other", 422, "请先选择"),
        (PNG, "bad id", "picture", 400, "刷新页面"),
        (PNG + b"x" * 2 * 1024 * 1024, "picture-0001", "picture", 413, "2 MB"),
    ):
        got, answer = await visitor.upload(data, key, name)
        assert got == status, data[:20]
        assert sentence in json.loads(answer)["error"]
    assert await chat.house.count(Media) == 0


async def test_a_broken_upload_is_refused(chat: Chat) -> None:
    visitor = await chat.visitor()
    for body, content_type, status in (
        (b"nothing", "multipart/form-data", 400),
        (b"nothing", "multipart/form-data; boundary=x", 400),
        (b"--x\r\nContent-Disposition: form-data; name=id\r\n\r\ngood-id-1", "multipart/form-data; boundary=x", 400),
        (b"id=good-id-1", "application/x-www-form-urlencoded", 415),
    ):
        async with visitor.session.post(
            "/chat/pictures", data=body, headers={"Content-Type": content_type}
        ) as response:
            assert response.status == status, body


async def test_pictures_have_a_limit_of_their_own(chat: Chat) -> None:
    visitor = await chat.visitor()
    for number in range(webchat.PICTURES_PER_MINUTE):
        assert (await visitor.upload(PNG, f"picture-{number:04d}"))[0] == 200
    assert (await visitor.upload(PNG, "picture-last"))[0] == 429
    assert (await visitor.say("你好"))[0] == 200
    await chat.settled()


# -- what is new ------------------------------------------------------------------------------------------------------


async def test_question_and_answer_come_live_to_every_open_page(chat: Chat) -> None:
    visitor = await chat.visitor()
    async with visitor.live() as one, visitor.live() as other:
        await one.until("state")
        await other.until("state")
        await visitor.say("身份证丢了怎么办", "my-own-id-1")
        for page in (one, other):
            asked, answered = await page.lines(2)
            assert (asked.data["author"], asked.data["key"]) == ("resident", "my-own-id-1")
            assert answered.data["author"] == "bot"
            assert "带户口簿到任一派出所补办" in answered.words
            assert 0 < asked.id < answered.id


async def test_a_page_that_was_away_gets_what_it_missed(chat: Chat) -> None:
    visitor = await chat.visitor()
    async with visitor.live() as page:
        await page.until("state")
        await visitor.say("你好")
        last = (await page.lines(2))[-1].id
    await visitor.say("身份证丢了怎么办")
    await chat.settled()
    for query in ({"last_event": last}, {"after": last}, {"after": 0, "last_event": last}):
        async with visitor.live(**query) as page:
            told: list[Happened] = []
            while not told or "带户口簿" not in told[-1].words:
                told.append(await page.until("line"))
            assert [line.data["author"] for line in told if line.id > last] == ["resident", "bot"]
            assert len({line.id for line in told}) == len(told)


async def test_a_line_whose_number_is_lower_but_came_later_is_not_lost(chat: Chat) -> None:
    """Two writers at once: the higher number may be committed first."""
    visitor = await chat.visitor()
    await visitor.say("你好")
    await chat.settled()
    rows = await chat.house.all(select(StoredMessage).order_by(StoredMessage.id.desc()).limit(2))
    async with chat.house.store.write() as session:
        late = await session.get_one(StoredMessage, rows[1].id)
        late.address = "somewhere else"  # as if it were not committed yet
    async with visitor.live(after=0) as page:
        told = await page.lines(2)
        assert told[-1].id == rows[0].id
        async with chat.house.store.write() as session:
            late = await session.get_one(StoredMessage, rows[1].id)
            late.address = visitor.visitor
        await chat.change(visitor.visitor, "heard")
        assert (await page.until("line")).id == rows[1].id


async def test_more_than_fits_one_look_arrives_completely(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webchat, "STREAM_LINES", 12)
    monkeypatch.setattr(webchat, "OVERLAP", 5)
    visitor = await chat.visitor()
    for number in range(40):
        await chat.bot_says(visitor.visitor, Reply(f"第{number}条"))
    async with visitor.live(after=0) as page:
        told = await page.lines(41)
    assert [line.id for line in told] == sorted({line.id for line in told})


async def test_the_officer_is_named_with_his_badge_while_he_serves(chat: Chat) -> None:
    visitor = await chat.visitor()
    async with visitor.live() as page:
        assert (await page.until("state")).data == {"owner": "", "waiting": False}
        await chat.officer_says("zhang", visitor.visitor, "我马上联系您。")
        assert (await page.until("state")).data["owner"] == "民警 张伟（警号033101）正在为您服务"
        line = await page.until("line")
        assert "民警 张伟 · 警号033101" in line.words
        assert "我马上联系您。" in line.words
        assert "民警 张伟（警号033101）正在为您服务" in await visitor.page()
        (ticket,) = await chat.house.tickets()
        await chat.house.close_ticket("zhang", ticket.id)
        assert (await page.until("state")).data["owner"] == ""


@pytest.mark.parametrize(("username", "shown"), [("fu", "辅警 傅静 · 工号F0311"), ("suo", "所长 所长 · 警号033001")])
async def test_an_auxiliary_is_not_called_an_officer(chat: Chat, username: str, shown: str) -> None:
    visitor = await chat.visitor()
    await chat.officer_says(username, visitor.visitor, "您好")
    line = readable((await visitor.history())["lines"][-1]["html"])
    assert shown in line
    assert "民警" not in line


async def test_the_page_says_when_the_officer_is_writing(chat: Chat) -> None:
    visitor = await chat.visitor()
    async with visitor.live() as page:
        await page.until("state")
        await chat.change(visitor.visitor, "typing")
        assert (await page.until("typing")).data == {}


async def test_nobody_hears_of_another_conversation(chat: Chat) -> None:
    visitor, other = await chat.visitor(), await chat.visitor()
    async with visitor.live() as page:
        await page.until("state")
        await other.say("身份证丢了怎么办")
        await chat.settled()
        await chat.officer_says("zhang", other.visitor, "给别人的话")
        await visitor.say("你好")
        assert "你好" in (await page.until("line")).words
        assert "请讲" in (await page.until("line")).words


async def test_a_quiet_stream_is_kept_open(start: Start) -> None:
    chat = await start(heartbeat_seconds=0.02)
    visitor = await chat.visitor()
    async with visitor.live() as page:
        await page.until("state")
        assert [await page.next(), await page.next()] == [None, None]


async def test_open_pages_do_not_hold_up_the_stop(chat: Chat) -> None:
    visitor = await chat.visitor()
    async with visitor.live() as page:
        await page.until("state")
        async with asyncio.timeout(SOON_SECONDS):  # the server itself would wait five times as long
            await chat.runner.cleanup()
        with pytest.raises(EOFError):
            await page.until("line")


async def test_the_oldest_of_too_many_pages_rests(chat: Chat) -> None:
    visitor = await chat.visitor()
    async with AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(visitor.live()) for _ in range(webchat.STREAMS_MOST)]
        for page in pages:
            await page.until("state")
        newest = await stack.enter_async_context(visitor.live())
        await pages[0].until("elsewhere")
        with pytest.raises(EOFError):
            await pages[0].until("line")
        await visitor.say("你好")
        for page in (*pages[1:], newest):
            await page.lines(2)


async def test_pages_that_went_away_leave_nothing_behind(start: Start) -> None:
    chat = await start(heartbeat_seconds=0.02)
    visitor = await chat.visitor()
    async with visitor.live() as page:
        await page.until("state")
        assert chat.house.store.live._listeners
    await until(lambda: not chat.house.store.live._listeners)
    assert chat.channel._streams == {}


async def test_earlier_lines_come_page_by_page(chat: Chat) -> None:
    visitor = await chat.visitor()
    for number in range(webchat.PAGE_LINES + 10):
        await chat.bot_says(visitor.visitor, Reply(f"第{number}条"))
    page = await visitor.page()
    first = re.search(r'href="/chat\?before=(\d+)"', page)
    assert first is not None
    assert ">第10条<" in page
    assert ">第9条<" not in page
    older = await visitor.page(f"/chat?before={first[1]}")
    assert ">第9条<" in older
    assert ">第10条<" not in older
    history = await visitor.history(before=int(first[1]))
    assert (len(history["lines"]), history["earlier"]) == (11, False)
    assert (await visitor.history())["earlier"] is True
    assert len((await visitor.history(after=int(first[1])))["lines"]) == webchat.PAGE_LINES - 1


# -- without script ---------------------------------------------------------------------------------------------------


def nonce_of(page: str) -> str:
    found = re.search(r'name="id" value="([^"]+)"', page)
    assert found is not None
    return found[1]


async def test_without_script_a_form_is_answered_on_the_page_it_leads_to(chat: Chat) -> None:
    browser = await chat.browser()
    nonce = nonce_of(await browser.consent())
    status, page = await browser.form("/chat/messages", id=nonce, text="身份证丢了怎么办")
    assert status == 200
    assert "带户口簿到任一派出所补办" in page
    await browser.form("/chat/messages", id=nonce, text="身份证丢了怎么办")  # sent twice
    assert len(await browser.said()) == 3
    await browser.form("/chat/messages", id=nonce, text="你好")  # the same page again after going back
    assert "您好，请讲。" in (await browser.said())[-1]
    _, page = await browser.form("/chat/messages", id=nonce, text="没发出去的草稿", choice="找民警")
    assert "没发出去的草稿" not in page
    assert "已转给民警" in page


async def test_without_script_a_picture_and_a_mistake_are_shown(chat: Chat) -> None:
    visitor = await chat.visitor()
    status, page = await visitor.upload(PNG, script=False)
    assert status == 200
    assert "/chat/media/" in page
    status, page = await visitor.upload(b"MZ", script=False)
    assert status == 422
    assert "只能发送完整的JPG" in page
    assert "/chat/media/" in page
    status, page = await visitor.form("/chat/messages", id="good-id-1", text="长" * 2001)
    assert status == 422
    assert "一次最多2000个字" in page
    assert "长" * 2001 in page  # nothing written is lost


@pytest.mark.parametrize(
    ("query", "cookie", "shown"),
    [
        ("size=large", "chat_size=large", 'class="large"'),
        ("lang=en", "chat_language=en", "Your browser runs no scripts"),
    ],
)
async def test_large_type_and_language_are_remembered(chat: Chat, query: str, cookie: str, shown: str) -> None:
    visitor = await chat.visitor()
    assert shown not in await visitor.page()
    async with visitor.session.get(f"/chat?{query}", allow_redirects=False) as response:
        assert response.status == 303
        assert cookie in response.headers["Set-Cookie"]
    assert shown in await visitor.page()
    assert shown in await visitor.page()


async def test_a_switch_before_consent_keeps_the_code(chat: Chat) -> None:
    browser = await chat.browser()
    assert "您扫描的是柳河村的二维码" in await browser.page("/chat?c=liuhe&size=large")
    async with browser.session.get("/chat?size=large&c=//evil.example", allow_redirects=False) as response:
        assert response.headers["Location"] == "/chat"


async def test_who_is_known_to_need_large_type_has_it_from_the_start(chat: Chat) -> None:
    visitor = await chat.visitor()
    async with chat.house.store.write() as session:
        address = (
            await session.execute(select(ResidentAddress).where(ResidentAddress.address == visitor.visitor))
        ).scalar_one()
        (await session.get_one(Resident, address.resident_id)).large_type = True
    assert 'class="large"' in await visitor.page()
    assert 'class="large"' not in await visitor.page("/chat?size=normal")


# -- deletion ---------------------------------------------------------------------------------------------------------


async def test_a_resident_deletes_everything_and_is_a_stranger_again(chat: Chat) -> None:
    visitor = await chat.visitor()
    before, name = visitor.cookie, visitor.visitor
    await visitor.say(WORDS)
    await visitor.upload(PNG)
    await chat.settled()
    address = media_of("".join(line["html"] for line in (await visitor.history())["lines"]))
    assert (await visitor.post("/chat/forget", {"id": "forget-0001"}))[0] == 200
    await chat.settled()
    assert "确定请回复“确认删除”" in (await visitor.said())[-1]
    async with visitor.live() as page:
        await page.until("state")
        assert (await visitor.post("/chat/forget", {"id": "forget-0002", "confirm": True}))[0] == 200
        await page.until("forgotten")
    assert "已经删除" in await visitor.page()
    assert visitor.cookie == ""
    visitor.set_cookie(f"{CHANNEL}_visitor", before)
    assert (await visitor.say("还在吗"))[0] == 403
    async with visitor.session.get(address) as response:
        assert response.status == 403
    async with visitor.live() as page:
        await page.until("forgotten")
    await visitor.consent()
    assert visitor.visitor != name
    assert WORDS not in await visitor.page()
    assert WORDS not in {row.body for row in await chat.house.heard()}
    assert await chat.house.count(Media) == 0


async def test_nothing_is_deleted_while_an_officer_works_on_it(chat: Chat) -> None:
    visitor = await chat.visitor()
    await visitor.say("找民警")
    await chat.settled()
    await visitor.form("/chat/forget", id="forget-0001")
    assert "办结后才能删除" in (await visitor.said())[-1]
    assert len(await visitor.said()) == 5


# -- numbers to call --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("请拨打110。", ["110"]),
        ("报警电话：110，急救:120", ["110", "120"]),
        ("110/119/122都可以", ["110", "119", "122"]),
        ("反诈专线96110，短信12110", ["96110", "12110"]),
        ("110、110、110", ["110"]),
        ("call 110 now", ["110"]),
        ("工本费110元，共120块", []),
        ("民和路110号", []),
        ("0571-00000110", []),
        ("13900110110", []),
        ("编号20261122-0110", []),
        ("119.5公斤，1.110", []),
        ("110%的把握，等120天", []),
        ("8:110 A110 110B", []),
        ("400-120-110", []),
        ("http://evil.example/110.html", []),
        ("Chinese passport 120 yuan", []),
        ("120 RMB, 110 CNY, 120 Yuan", []),
        ("within 120 days or 110 hours", []),
        ("122 minutes, 119 km, 110 years, 120 people", []),
        ("call 120 yourself, 110 at once", ["120", "110"]),
        ("Dial 110, 119 or 120 in danger", ["110", "119", "120"]),
        ("转到6222021001101201234", []),
        ("999", []),
    ],
)
def test_only_known_numbers_that_stand_alone_can_be_tapped(text: str, found: list[str]) -> None:
    assert phones.numbers(text) == found
    assert "".join(part.text for part in phones.parts(text)) == text


# -- and the rest -----------------------------------------------------------------------------------------------------


async def test_the_chat_never_blocks_the_loop(chat: Chat, nothing_blocks: None) -> None:
    visitor = await chat.visitor("liuhe")
    async with visitor.live() as page:
        await page.until("state")
        await visitor.say("身份证")
        await page.lines(2)
    await visitor.upload(PNG)
    await chat.settled()
    await visitor.page()


async def test_the_chat_works_on_either_database(start: Start, furnished_url: str) -> None:
    chat = await start(furnished_url)
    visitor = await chat.visitor("hubin")
    async with visitor.live() as page:
        await page.until("state")
        await visitor.say("身份证", "my-own-id-1")
        await visitor.say("身份证", "my-own-id-1")
        question, answer = await page.lines(2)
        assert (question.data["author"], answer.data["author"]) == ("resident", "bot")
        await chat.bot_says(visitor.visitor, Reply("还有", (Choice("好", "好"),)))
        assert "还有" in (await page.until("line")).words
    await visitor.upload(JPEG)
    await chat.settled()
    sent = await chat.house.all(select(StoredMessage).where(StoredMessage.direction == Direction.IN))
    assert len(sent) == 3
    async with visitor.session.get(media_of((await visitor.history())["lines"][-2]["html"])) as response:
        assert await response.read() == JPEG

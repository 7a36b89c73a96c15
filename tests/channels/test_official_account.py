"""The official account over HTTP: what is believed, what is fed, what goes back in the response."""

import asyncio
import gzip
import time
import tracemalloc
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import REGISTRY
from structlog.typing import EventDict

from bot.channels.base import Answer
from bot.channels.official_account import ANSWER_SECONDS, OfficialAccount
from bot.channels.wechat_envelope import BODY_LIMIT_BYTES
from bot.message import Choice, EventKind, Message, MessageKind, Reply
from tests.channels.conftest import OPENID, Moment, Start, Station
from tests.fakes.wechat.cipher import Corruption, signature
from tests.fakes.wechat.delivery import Signed
from tests.fakes.wechat.pusher import ACCOUNT, TOKEN
from tests.support.station import until

HELLO = Reply("您好，请问有什么可以帮您？")


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"channel": "fenglin", **labels}) or 0.0


# -- the address check ------------------------------------------------------------------------------------------------


async def test_the_platform_checks_the_address_as_often_as_it_likes(station: Station) -> None:
    for _ in range(2):
        checked = await station.pusher.check_address("4375120948345356249")
        assert (checked.status, checked.body) == (200, b"4375120948345356249")
    assert station.feed.messages == []


@pytest.mark.parametrize(
    "changed",
    [
        {"signature": "0" * 40},
        {"signature": ""},
        {"nonce": "other"},
        {"timestamp": "1"},
        {"echostr": ""},
        {"echostr": "<script>alert(1)</script> x"},
        {"echostr": "x" * 600},
    ],
)
async def test_a_wrong_check_is_refused_without_an_echo(station: Station, changed: dict[str, str]) -> None:
    checked = await station.pusher.check_address(**changed)
    assert (checked.status, checked.body) == (403, b"")


async def test_a_check_with_something_missing_doubled_or_in_capitals_is_refused(
    station: Station, moment: Moment
) -> None:
    when = str(int(moment.now.timestamp()))
    right = {"signature": signature(TOKEN, when, "n"), "timestamp": when, "nonce": "n", "echostr": "12345"}
    queries = [urlencode({name: value for name, value in right.items() if name != missing}) for missing in right]
    queries += [urlencode([*right.items(), (name, right[name])]) for name in right]
    queries.append(urlencode(right | {"signature": right["signature"].upper()}))
    for query in queries:
        async with station.pusher.http.get(f"{station.url}?{query}") as response:
            assert (response.status, await response.read()) == (403, b"")
    async with station.pusher.http.get(f"{station.url}?{urlencode(right)}") as response:
        assert (response.status, await response.read()) == (200, b"12345")
        assert response.content_type == "text/plain"


# -- what is believed -------------------------------------------------------------------------------------------------


async def test_a_resident_writes_in_safe_mode_and_is_answered_in_the_response(station: Station) -> None:
    station.feed.reply = HELLO
    push = await station.pusher.text(OPENID, "居民的话")
    assert (push.verdict, push.text, len(push.attempts)) == ("reply", HELLO.text, 1)
    assert (station.feed.last.text, station.feed.last.sender) == ("居民的话", OPENID)
    assert b"Encrypt" in push.body
    assert HELLO.text.encode() not in push.body
    assert [ready.confirmed for ready in station.feed.handled.values() if ready] == [1]
    assert station.wechat.journal == []  # an answer in the response costs nothing


async def test_nothing_to_say_is_success(station: Station) -> None:
    push = await station.pusher.text(OPENID, "居民的话")
    assert (push.status, push.body, push.verdict) == (200, b"success", "silent")


async def test_invariant_1_no_callback_without_a_valid_signature_is_stored(station: Station) -> None:
    """Wrong token, wrong app, wrong key, plaintext, no parameters: nothing reaches the feed, and all look the same."""
    answers = set()
    fields = {"ToUserName": ACCOUNT, "FromUserName": OPENID, "CreateTime": "1", "MsgType": "text", "Content": "x"}
    station.pusher.token = "spoofed"
    requests = [station.pusher.sign(fields)]
    station.pusher.token = TOKEN
    corruptions: list[Corruption] = [
        "other_app",
        "other_key",
        "msg_signature",
        "no_msg_signature",
        "stripped",
        "base64",
    ]
    requests += [station.pusher.sign(fields, corrupt=corrupt) for corrupt in corruptions]
    requests += [station.pusher.sign(fields, mode="plain"), Signed({}, b""), Signed({"encrypt_type": "aes"}, b"<xml/>")]
    for request in requests:
        attempt = await station.pusher.deliver(request)
        answers.add((attempt.status, attempt.body))
    assert answers == {(403, b"")}
    assert station.feed.messages == []


async def test_another_account_s_message_is_counted(station: Station, logs: list[EventDict]) -> None:
    before = counted("officer_callbacks_refused_total", reason="receiver")
    push = await station.pusher.text(OPENID, "居民的话", corrupt="other_app")
    assert (push.status, push.body) == (403, b"")
    assert counted("officer_callbacks_refused_total", reason="receiver") == before + 1
    assert {"event": "callback refused", "channel": "fenglin", "reason": "receiver", "log_level": "warning"} in logs


async def test_plaintext_only_where_the_settings_allow_it(start: Start) -> None:
    strict, lenient = await start(), await start(allow_plaintext=True, name="test-account")
    for station in (strict, lenient):
        station.feed.reply = HELLO
    refused = await strict.pusher.text(OPENID, "居民的话", mode="plain")
    assert (refused.status, refused.body, refused.verdict, strict.feed.messages) == (403, b"", "fault notice", [])
    taken = await lenient.pusher.text(OPENID, "居民的话", mode="plain")
    assert (taken.verdict, taken.text) == ("reply", HELLO.text)
    assert (await lenient.pusher.text(OPENID, "居民的话", mode="safe")).verdict == "reply"
    lenient.pusher.token = "spoofed"
    spoofed = await lenient.pusher.text(OPENID, "居民的话", mode="plain")
    assert (spoofed.status, len(lenient.feed.messages)) == (403, 2)


async def test_a_console_set_to_json_is_refused_and_named_in_the_log(station: Station, logs: list[EventDict]) -> None:
    signed = station.pusher.sign({"FromUserName": OPENID})
    attempt = await station.pusher.deliver(Signed(signed.query, b'{"Encrypt": "x"}'))
    assert attempt.status == 403
    assert logs[-1]["reason"] == "json"


# -- delivered again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{"always": True}, {"concurrent": True}, {"always": True, "same_bytes": True}])
async def test_invariant_2_three_deliveries_are_one_message_with_one_answer(
    station: Station, how: dict[str, bool]
) -> None:
    station.feed.reply = HELLO
    push = await station.pusher.text(OPENID, "居民的话", deliveries=3, **how)
    assert [attempt.status for attempt in push.attempts] == [200, 200, 200]
    answers = [station.pusher.judge(attempt, push.fields, encrypted=True) for attempt in push.attempts]
    assert [(verdict, reply["Content"]) for verdict, reply in answers] == [("reply", HELLO.text)] * 3
    assert len({(message.sender, message.platform_id) for message in station.feed.messages}) == 1


async def test_a_replay_is_the_same_message_and_after_the_window_refused(station: Station, moment: Moment) -> None:
    signed = station.pusher.sign(
        {
            "ToUserName": ACCOUNT,
            "FromUserName": OPENID,
            "CreateTime": "1",
            "MsgType": "text",
            "Content": "x",
            "MsgId": "9",
        }
    )
    statuses = []
    for seconds in (0, 1, 60, 240):
        moment.advance(seconds)
        statuses.append((await station.pusher.deliver(signed)).status)
    assert statuses == [200, 200, 200, 403]
    assert len(station.feed.handled) == 1


# -- time -------------------------------------------------------------------------------------------------------------


async def test_the_feed_gets_four_seconds_and_less_after_a_slow_body(start: Start) -> None:
    station = await start()
    await station.pusher.text(OPENID, "居民的话")
    assert station.feed.waits == [ANSWER_SECONDS]
    signed = station.pusher.sign(
        {"FromUserName": OPENID, "MsgType": "text", "Content": "x", "MsgId": "1", "CreateTime": "1"}
    )

    async def dripping() -> AsyncIterator[bytes]:
        yield signed.body[:10]
        await asyncio.sleep(0.7)
        yield signed.body[10:]

    began = time.monotonic()
    async with station.pusher.http.post(station.url, params=signed.query, data=dripping()) as response:
        assert response.status == 200
    whole = 4.5
    assert whole - (time.monotonic() - began) <= station.feed.waits[1] <= whole - 0.7 + 0.05  # sleep may be a bit early


# -- size -------------------------------------------------------------------------------------------------------------


async def _post(station: Station, body: object, **headers: str) -> int | None:
    signed = station.pusher.sign({"FromUserName": OPENID, "MsgType": "text", "Content": "x"})
    try:
        async with station.pusher.http.post(station.url, params=signed.query, data=body, headers=headers) as response:
            assert await response.read() == b""
            return response.status
    except aiohttp.ClientOSError:
        return None  # it hung up while we were still sending


async def test_a_body_too_large_is_refused_however_it_comes(station: Station) -> None:
    async def chunked() -> AsyncIterator[bytes]:
        for _ in range(32):
            yield b"x" * 65536

    assert await _post(station, b"x" * (BODY_LIMIT_BYTES + 1)) == 413
    assert await _post(station, b"x" * BODY_LIMIT_BYTES) == 403  # read, and no XML
    assert await _post(station, chunked()) in {413, None}
    assert station.feed.messages == []
    assert (await station.pusher.text(OPENID, "居民的话")).status == 200


async def test_a_gzip_bomb_does_not_fill_the_memory(station: Station) -> None:
    bomb = gzip.compress(b"\0" * 64 * 1024 * 1024)
    tracemalloc.start()
    try:
        assert await _post(station, bomb, **{"Content-Encoding": "gzip"}) in {413, None}
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 1024 * 1024
    assert await _post(station, b"not gzip at all", **{"Content-Encoding": "gzip"}) in {400, 403}
    assert (await station.pusher.text(OPENID, "居民的话")).status == 200


# -- what is fed ------------------------------------------------------------------------------------------------------


async def test_every_kind_is_fed_and_what_is_unknown_counted(station: Station) -> None:
    unknown = counted("officer_messages_unknown_total", kind="message")
    others = counted("officer_messages_unknown_total", kind="event")
    pusher = station.pusher
    pushes = [
        await pusher.text(OPENID, "居民的话"),
        await pusher.message(OPENID, "image", {"PicUrl": "http://x/", "MediaId": "m"}),
        await pusher.message(OPENID, "voice", {"MediaId": "m", "Format": "amr"}),
        await pusher.message(
            OPENID, "location", {"Location_X": "30.1", "Location_Y": "120.1", "Scale": "1", "Label": ""}
        ),
        await pusher.message(OPENID, "link", {"Title": "t", "Description": "", "Url": "http://x/"}),
        await pusher.message(OPENID, "file", {"Title": "x.pdf"}),
        await pusher.event(OPENID, "subscribe", {"EventKey": "qrscene_beat:7", "Ticket": "t"}),
        await pusher.event(OPENID, "unsubscribe"),
        await pusher.event(OPENID, "brand_new"),
    ]
    assert {(push.status, push.body) for push in pushes} == {(200, b"success")}
    assert [message.kind for message in station.feed.messages] == [
        MessageKind.TEXT,
        MessageKind.IMAGE,
        MessageKind.VOICE,
        MessageKind.LOCATION,
        MessageKind.LINK,
        MessageKind.UNKNOWN,
        MessageKind.EVENT,
        MessageKind.EVENT,
        MessageKind.EVENT,
    ]
    scene = station.feed.messages[6].event
    assert scene is not None
    assert (scene.kind, scene.key) == (EventKind.SUBSCRIBE, "beat:7")
    assert counted("officer_messages_unknown_total", kind="message") == unknown + 1
    assert counted("officer_messages_unknown_total", kind="event") == others + 1


async def test_a_message_that_could_not_be_stored_is_left_to_the_platform_to_repeat(
    station: Station, logs: list[EventDict]
) -> None:
    station.pusher.again_on_error = True
    station.feed.error = RuntimeError("insert into messages values ('居民的话')")
    lost = await station.pusher.text(OPENID, "居民的话")
    assert [(attempt.status, attempt.body) for attempt in lost.attempts] == [(500, b"")] * 3
    assert logs[-1] == {
        "event": "message not stored",
        "channel": "fenglin",
        "error": "RuntimeError",
        "log_level": "error",
    }
    station.feed.error = None
    assert (await station.pusher.push(lost.fields)).status == 200
    assert station.feed.last.text == "居民的话"


# -- what goes back ---------------------------------------------------------------------------------------------------


async def test_choices_can_be_tapped_in_the_answer(station: Station) -> None:
    station.feed.reply = Reply("您是想问：", (Choice("补办身份证", "a"), Choice("都不是", "b")))
    shown = (await station.pusher.text(OPENID, "居民的话")).text
    assert "msgmenucontent=a&msgmenuid=1" in shown
    assert ">都不是</a>" in shown


@pytest.mark.parametrize("words", ["]]>", "]]></Content><x>1</x>", "<xml>&amp;", "\x00\x08", "好\n😀"])
async def test_no_words_break_the_answer(station: Station, words: str) -> None:
    station.feed.reply = Reply("前" + words + "后")
    push = await station.pusher.text(OPENID, "居民的话")
    assert push.verdict == "reply"
    assert push.text == "前" + words.replace("\x00", "").replace("\x08", "") + "后"


async def test_what_does_not_fit_goes_by_the_outbox_whole(station: Station) -> None:
    """Unconfirmed, the outbox sends it in parts; to cut it would keep half of the advice from the resident."""
    for reply in (Reply("好" * 601), Reply("看图", picture=7), Reply("")):
        station.feed.reply = reply
        push = await station.pusher.text(OPENID, "居民的话")
        assert push.body == b"success"
    assert [ready.confirmed for ready in station.feed.handled.values() if ready] == [0, 0, 0]


async def test_an_account_that_cannot_write_later_cuts_and_says_so(start: Start) -> None:
    station = await start(account_type="subscription")
    station.feed.reply = Reply("好😀" * 600)
    push = await station.pusher.text(OPENID, "居民的话")
    assert push.verdict == "reply"
    assert len(push.text) <= 600
    assert len(push.text.encode()) <= 2000
    assert "再问一次" in push.text


class _Order:
    """Notes what happens first: the last byte of the response or the confirmation."""

    def __init__(self, release: asyncio.Event | None = None) -> None:
        self.happened: list[str] = []
        self.release = release
        self.entered = asyncio.Event()

    async def __call__(self, message: Message, *, wait_seconds: float) -> Answer | None:
        self.entered.set()
        if self.release is not None:
            await self.release.wait()
        return self

    @property
    def reply(self) -> Reply:
        return HELLO

    def confirm(self) -> None:
        self.happened.append("confirmed")


async def test_an_answer_is_confirmed_only_after_it_is_written(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = _Order()
    station.channel._feed = order
    write_eof = web.Response.write_eof

    async def noted(response: web.Response, data: bytes = b"") -> None:
        await write_eof(response, data)
        order.happened.append("written")

    monkeypatch.setattr(web.Response, "write_eof", noted)
    assert (await station.pusher.text(OPENID, "居民的话")).text == HELLO.text
    assert order.happened[:2] == ["written", "confirmed"]


async def test_an_answer_to_a_platform_that_hung_up_is_not_confirmed(station: Station, logs: list[EventDict]) -> None:
    release = asyncio.Event()
    order = _Order(release)
    station.channel._feed = order
    pushing = asyncio.create_task(station.pusher.text(OPENID, "居民的话", deliveries=1))
    await order.entered.wait()
    pushing.cancel()
    await until(lambda: all(connection.transport is None for connection in station.server.connections))
    release.set()
    await until(lambda: bool(logs))
    assert [entry["event"] for entry in logs] == ["answer not taken, the platform hung up"]
    assert order.happened == []


def test_the_channel_is_what_the_program_expects(station: Station) -> None:
    assert (OfficialAccount.kind, station.channel.name) == ("official_account", "fenglin")
    assert {(route.method, route.path) for route in station.channel.routes()} == {
        ("GET", "/callback/fenglin"),
        ("POST", "/callback/fenglin"),
    }

"""Access tokens against the emulator: one request for all, at most one retry, nothing of it in a log."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import timedelta

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot import clock
from bot.actions import tokens
from bot.channels.base import SendError
from bot.channels.official_account import OfficialAccount
from bot.message import Reply
from bot.security import logging as logs
from bot.store.models import PlatformToken
from tests.conformance.station import account_of, open_account
from tests.fakes.wechat import FakeWeChat
from tests.fakes.wechat.faults import Effect
from tests.fakes.wechat.pusher import AES_KEY, TOKEN
from tests.support.station import CHANNEL, SOON_SECONDS, FrozenClock, House

OPENID = "o9AgO5Kd5ggOC-bXrbNODIiE3bGY"
WORDS = "楼上半夜敲墙，我睡不着"


@pytest.fixture
async def wechat(frozen: FrozenClock) -> AsyncIterator[FakeWeChat]:
    async with FakeWeChat() as wechat:
        wechat.inbound(OPENID)
        yield wechat


@pytest.fixture
async def account(house: House, wechat: FakeWeChat) -> AsyncIterator[OfficialAccount]:
    channel = account_of(house, wechat)
    yield channel
    await channel.close()


@asynccontextmanager
async def processes(url: str, wechat: FakeWeChat, count: int) -> AsyncIterator[list[OfficialAccount]]:
    """So many processes of one station: each has a store, a channel and connections of its own."""
    async with AsyncExitStack() as stack:
        channels = []
        for _ in range(count):
            house = await stack.enter_async_context(House.opened(url))
            channels.append(account_of(house, wechat))
            stack.push_async_callback(channels[-1].close)
        yield channels


def everybody(wechat: FakeWeChat, count: int) -> list[str]:
    openids = [f"o-resident-{n}" for n in range(count)]
    for openid in openids:
        wechat.inbound(openid)
    return openids


async def send(channel: OfficialAccount, openid: str = OPENID, words: str = "您好") -> str:
    """The code the sending ended with; "" when the platform took it."""
    try:
        await channel.send(openid, Reply(words), delivery_id=1)
    except SendError as error:
        return error.code
    return ""


async def test_fifty_sends_with_a_cold_cache_ask_for_one_token(account: OfficialAccount, wechat: FakeWeChat) -> None:
    openids = everybody(wechat, 50)
    codes = await asyncio.gather(*(send(account, openid) for openid in openids))
    assert codes == [""] * 50
    assert wechat.counters["stable_token"] == 1
    assert all(wechat.texts(openid) == ["您好"] for openid in openids)


async def test_three_processes_with_one_store_ask_for_one_token(furnished_url: str, wechat: FakeWeChat) -> None:
    wechat.fault("stable_token", "delay", 0.3, times=9)  # long enough that all of them find the cache cold
    async with processes(furnished_url, wechat, 3) as channels:
        codes = await asyncio.gather(*(send(channel) for channel in channels for _ in range(1)))
    assert codes == [""] * 3
    assert wechat.counters["stable_token"] == 1


async def test_while_one_process_asks_no_transaction_is_held_open(furnished_url: str, wechat: FakeWeChat) -> None:
    go_on = wechat.hold("stable_token")
    async with House.opened(furnished_url) as beside, processes(furnished_url, wechat, 1) as (channel,):
        sending = asyncio.create_task(send(channel))
        while not wechat.calls("stable_token") and not sending.done():
            async with asyncio.timeout(SOON_SECONDS), beside.store.write() as session:
                row = await session.get(PlatformToken, (beside.station.id, CHANNEL), with_for_update=True)
            if row is not None and row.fetcher:
                break
        assert not sending.done()
        go_on.set()
        assert await sending == ""


async def test_the_lease_of_a_dead_process_ends(any_house: House, wechat: FakeWeChat, frozen: FrozenClock) -> None:
    async with any_house.store.write() as session:
        dead = await tokens.claim(session, any_house.station.id, CHANNEL, stale=None, fetcher="dead", now=clock.now())
        assert dead.mine
    async with any_house.store.write() as session:
        other = await tokens.claim(session, any_house.station.id, CHANNEL, stale=None, fetcher="other", now=clock.now())
        assert not other.mine
    frozen.forward(seconds=tokens.LEASE.total_seconds() + 1)
    channel = account_of(any_house, wechat)
    assert await send(channel) == ""
    await channel.close()

    async with any_house.store.write() as session:  # the dead one was only slow: what it brings changes nothing now
        late = clock.now() + timedelta(hours=1)
        await tokens.save(session, any_house.station.id, CHANNEL, "late", late, fetcher="dead", now=clock.now())
    async with any_house.store.read() as session:
        held = await tokens.load(session, any_house.station.id, CHANNEL)
    assert held is not None
    assert held[0] in wechat.tokens


async def test_a_token_that_expires_in_the_middle_is_fetched_once_and_nobody_gets_a_message_twice(
    account: OfficialAccount, wechat: FakeWeChat
) -> None:
    openids = everybody(wechat, 20)
    assert await send(account) == ""
    wechat.expire_tokens()
    assert await asyncio.gather(*(send(account, openid) for openid in openids)) == [""] * 20
    assert wechat.counters["stable_token"] == 2
    assert all(wechat.texts(openid) == ["您好"] for openid in openids)
    refused = [call for call in wechat.calls("message/custom/send") if call.errcode == 42001]
    assert len(refused) <= 20  # each call is tried once more at the most


async def test_a_token_that_is_refused_for_good_costs_two_requests_a_minute(
    furnished_url: str, wechat: FakeWeChat, frozen: FrozenClock
) -> None:
    wechat.fault("message/custom/send", "errcode", 40001, times=10_000)
    async with processes(furnished_url, wechat, 2) as channels:
        before = 0
        for minute in range(4):
            for _ in range(12):  # every five seconds both processes try
                assert [await send(channel) for channel in channels] == ["40001", "40001"]
                frozen.forward(seconds=5)
            asked = wechat.counters["stable_token"] - before
            assert asked <= 2, f"{asked} token requests in minute {minute}"
            before = wechat.counters["stable_token"]
    assert wechat.texts(OPENID) == []


async def test_a_permanent_credential_error_parks_the_channel_and_keeps_the_queue(
    house: House, wechat: FakeWeChat, frozen: FrozenClock
) -> None:
    async with open_account(house, wechat) as account:
        await account.pusher.text(OPENID, "你好")
        wechat.fault("stable_token", "errcode", 40125, times=10_000)
        wechat.expire_tokens()
        await house.take("zhang", OPENID)
        await house.dispatcher.close()
        ticket = await house.take("zhang", OPENID)
        await house.close_ticket("zhang", ticket, farewell="已经办好，请放心。")
        await account.outbox.work()
        assert CHANNEL in account.outbox.parked
        waiting = [row for row in await house.deliveries() if row.state == "queued"]
        assert waiting
        assert all(row.attempts == 0 for row in waiting)

        wechat.faults.clear()
        frozen.forward(minutes=15)
        await account.outbox.work()
    assert "已经办好，请放心。" in wechat.texts(OPENID)


@pytest.mark.parametrize(
    ("effect", "value"),
    [
        ("errcode", 40164),
        ("errcode", 40125),
        ("errcode", 89503),
        ("errcode", 45009),
        ("status", 500),
        ("delay", 60),
        ("html", None),
        ("redirect", "http://127.0.0.1:9/"),
        ("close_before", None),
        ("no_errcode", None),
    ],
)
async def test_whatever_the_token_call_answers_sending_ends_in_time(
    house: House, wechat: FakeWeChat, effect: Effect, value: object
) -> None:
    wechat.fault("stable_token", effect, value)
    channel = account_of(house, wechat, call_seconds=1)
    async with asyncio.timeout(SOON_SECONDS):
        codes = await asyncio.gather(*(send(channel) for _ in range(20)))
    await channel.close()
    assert len(set(codes)) == 1
    assert codes[0]
    assert len(wechat.calls("stable_token")) <= 1
    assert wechat.texts(OPENID) == []


@pytest.mark.parametrize(
    "answer",
    [
        {"access_token": "", "expires_in": 7200},
        {"access_token": None, "expires_in": 7200},
        {"access_token": ["t"], "expires_in": 7200},
        {"access_token": "t" * 2_000_000, "expires_in": 7200},
        {"access_token": "t", "expires_in": 0},
        {"access_token": "t", "expires_in": -5},
        {"access_token": "t", "expires_in": "7200"},
        {"access_token": "t", "expires_in": True},
        {"access_token": "t\r\nHost: evil", "expires_in": 7200},
        {"expires_in": 7200},
        {"errcode": "0", "access_token": "t", "expires_in": 7200},
        [],
    ],
)
async def test_a_hostile_token_answer_is_not_believed(house: House, frozen: FrozenClock, answer: object) -> None:
    asked = []

    async def lie(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response(answer)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", lie)
    async with TestServer(app) as liar:
        channel = account_of(house, FakeWeChat(), api_base=str(liar.make_url("/")))
        for _ in range(5):
            assert await send(channel) != ""
        await channel.close()
    assert asked == ["/cgi-bin/stable_token"] or len(asked) <= 3
    async with house.store.read() as session:
        held = await tokens.load(session, house.station.id, CHANNEL)
    assert held is None or held[1] <= clock.now() + timedelta(hours=2)


async def test_a_token_that_claims_to_live_for_ever_is_renewed_after_two_hours(
    house: House, wechat: FakeWeChat, frozen: FrozenClock
) -> None:
    async def lie(_request: web.Request) -> web.Response:
        return web.json_response({"access_token": "t", "expires_in": 10**18})

    app = web.Application()
    app.router.add_post("/cgi-bin/stable_token", lie)
    async with TestServer(app) as liar:
        channel = account_of(house, wechat, api_base=str(liar.make_url("/")))
        await send(channel)
        await channel.close()
    async with house.store.read() as session:
        held = await tokens.load(session, house.station.id, CHANNEL)
    assert held == ("t", clock.now() + timedelta(hours=2))


async def test_nothing_of_a_session_that_fails_everywhere_stands_in_the_log(
    house: House, wechat: FakeWeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    with logging_to_stderr():
        async with open_account(house, wechat) as account:
            await account.pusher.text(OPENID, WORDS)
            await account.pusher.text(OPENID, WORDS, corrupt="msg_signature")
            faults: tuple[tuple[Effect, int], ...] = (
                ("errcode", 40003), ("errcode", 40001), ("errcode", 99999), ("status_after", 500), ("close_after", 0),
            )  # fmt: skip
            for effect, value in faults:
                wechat.fault("message/custom/send", effect, value, times=1)
                await send(account.channel, words=WORDS)
            wechat.fault("stable_token", "errcode", 40164, times=1)
            wechat.expire_tokens()
            await send(account.channel, words=WORDS)
            ticket = await house.take("zhang", OPENID)
            await house.close_ticket("zhang", ticket, farewell=WORDS)
            await account.outbox.work()
    log = capsys.readouterr().err
    assert "platform call failed" in log
    assert "access token fetched" in log
    for secret in (*wechat.tokens, wechat.secret, AES_KEY, TOKEN, OPENID, WORDS, "access_token="):
        assert secret not in log


@contextmanager
def logging_to_stderr() -> Iterator[None]:
    """As `serve` logs, at its most talkative; put back afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.set_up(level=logging.DEBUG)
    try:
        yield
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        structlog.reset_defaults()

"""A channel served on port 0 with a feed that remembers, the fake WeChat beside it and a clock that stands still."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from aiohttp import web
from structlog.testing import capture_logs
from structlog.typing import EventDict

from bot import clock
from bot.channels.base import Answer, Picture
from bot.channels.official_account import OfficialAccount
from bot.config import OfficialAccountSettings
from bot.message import Message, Reply
from tests.fakes.wechat import FakeWeChat
from tests.fakes.wechat.pusher import AES_KEY, APP_ID, PREVIOUS_AES_KEY, TOKEN, Pusher

OPENID = "o9AgO5Kd5ggOC-bXrbNODIiE3bGY"
OTHER_OPENID = "oZZZZ5Kd5ggOC-bXrbNODIiE3bGY"
JPEG = b"\xff\xd8\xff\xe0" + b"picture" * 40


class Moment:
    """The time, which passes only when told."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class ReadyAnswer:
    reply: Reply
    confirmed: int = 0

    def confirm(self) -> None:
        self.confirmed += 1


@dataclass
class RecordingFeed:
    """Takes messages as the dispatcher does: the same one again gets the same answer and is not handled twice."""

    reply: Reply | None = None
    error: Exception | None = None
    messages: list[Message] = field(default_factory=list)  # each delivery
    waits: list[float] = field(default_factory=list)
    handled: dict[tuple[str, str], ReadyAnswer | None] = field(default_factory=dict)

    async def __call__(self, message: Message, *, wait_seconds: float) -> Answer | None:
        if self.error is not None:
            raise self.error
        self.messages.append(message)
        self.waits.append(wait_seconds)
        key = (message.sender, message.platform_id)
        if key not in self.handled:
            self.handled[key] = ReadyAnswer(self.reply) if self.reply is not None else None
        return self.handled[key]

    @property
    def last(self) -> Message:
        return self.messages[-1]


class MemoryTokens:
    """The token store of one process."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[str, datetime]] = {}
        self._lock = asyncio.Lock()

    async def get(self, channel: str) -> tuple[str, datetime] | None:
        return self.held.get(channel)

    async def replace(
        self, channel: str, stale: str | None, fetch: Callable[[], Awaitable[tuple[str, datetime]]]
    ) -> tuple[str, datetime]:
        async with self._lock:
            held = self.held.get(channel)
            if held is None or held[0] == stale:
                held = self.held[channel] = await fetch()
            return held


class Pictures:
    def __init__(self) -> None:
        self.kept: dict[int, Picture] = {7: Picture("image/jpeg", JPEG)}

    async def load(self, media_id: int) -> Picture:
        return self.kept[media_id]


@dataclass
class Station:
    """One official account, served, with everything round it."""

    channel: OfficialAccount
    feed: RecordingFeed
    pusher: Pusher
    wechat: FakeWeChat
    tokens: MemoryTokens
    pictures: Pictures
    url: str
    server: web.Server


Start = Callable[..., Awaitable[Station]]


@pytest.fixture
def moment() -> Iterator[Moment]:
    moment = Moment()
    clock.set_source(moment)
    yield moment
    clock.set_source(None)


@pytest.fixture
async def wechat(moment: Moment) -> AsyncIterator[FakeWeChat]:
    async with FakeWeChat() as wechat:
        yield wechat


@pytest.fixture
async def start(wechat: FakeWeChat) -> AsyncIterator[Start]:
    """Starts a station; keyword arguments change its settings."""
    running: list[tuple[web.AppRunner, Station]] = []

    async def start(*, body_seconds: float = 3.0, call_seconds: float = 8.0, **changed: Any) -> Station:
        settings = OfficialAccountSettings.model_validate(settings_of(wechat) | changed)
        feed, tokens, pictures = RecordingFeed(), MemoryTokens(), Pictures()
        channel = OfficialAccount(
            settings, feed=feed, tokens=tokens, pictures=pictures, body_seconds=body_seconds, call_seconds=call_seconds
        )
        app = web.Application(client_max_size=16 * 1024 * 1024)  # as large as the console needs: no help to a callback
        app.add_routes(channel.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        assert runner.server is not None
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/callback/{channel.name}"
        pusher = await Pusher(url, wechat=wechat).__aenter__()
        station = Station(channel, feed, pusher, wechat, tokens, pictures, url, runner.server)
        running.append((runner, station))
        return station

    yield start
    for runner, station in running:
        await station.pusher.__aexit__()
        await station.channel.close()
        await runner.cleanup()


@pytest.fixture
async def station(start: Start) -> Station:
    return await start()


def settings_of(wechat: FakeWeChat) -> dict[str, object]:
    return {
        "kind": "official_account",
        "name": "fenglin",
        "app_id": APP_ID,
        "secret": wechat.secret,
        "token": TOKEN,
        "encoding_aes_key": AES_KEY,
        "previous_aes_key": PREVIOUS_AES_KEY,
        "api_base": wechat.url,
    }


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    structlog.reset_defaults()  # a test that started the whole program may have set it otherwise
    with capture_logs() as entries:
        yield entries


@pytest.fixture(autouse=True)
def nothing_leaks(
    request: pytest.FixtureRequest, logs: list[EventDict], caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """No test of a channel may leave a secret, a token, an openid or a resident's words in a log."""
    yield
    wechat = request.node.funcargs.get("wechat") or getattr(request.node.funcargs.get("station"), "wechat", None)
    forbidden = {AES_KEY, PREVIOUS_AES_KEY, TOKEN, OPENID, OTHER_OPENID, "居民的话"}
    if isinstance(wechat, FakeWeChat):
        forbidden |= {wechat.secret, *wechat.tokens}
    written = json.dumps(logs, default=str, ensure_ascii=False) + caplog.text
    assert not [word for word in forbidden if word in written]

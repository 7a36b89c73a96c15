"""The whole program behind a real callback address, and WeChat beside it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import REGISTRY
from sqlalchemy import select

from bot.actions import conversations
from bot.actions.conversations import Address
from bot.app import PROGRAM, Program, create_app
from bot.config import Config, parse_config
from bot.store.models import Conversation, Delivery, DeliveryState, Direction, StoredMessage
from tests.fakes.wechat import FakeWeChat, Pusher
from tests.fakes.wechat.pusher import AES_KEY, APP_ID, PREVIOUS_AES_KEY, TOKEN
from tests.support.knowledge import KnownSayings
from tests.support.station import CHANNEL, DATA_KEY, NAME, SOON_SECONDS, FrozenClock


def config_of(database_url: str, api_base: str, **changed: Any) -> Config:
    """A station with one official account in safe mode; `changed` are settings of the account."""
    account = {
        "kind": "official_account",
        "name": CHANNEL,
        "app_id": APP_ID,
        "secret": FakeWeChat().secret,
        "token": TOKEN,
        "encoding_aes_key": AES_KEY,
        "previous_aes_key": PREVIOUS_AES_KEY,
        "api_base": api_base,
    }
    raw = {
        "station": {"name": NAME},
        "database": {"url": database_url},
        "security": {"data_key": DATA_KEY},
        "channels": [account | changed],
    }
    return parse_config(raw, {})


@dataclass
class Station:
    """A running program and the platform that calls it."""

    program: Program
    url: str
    wechat: FakeWeChat
    pusher: Pusher
    clock: FrozenClock

    async def all(self, query: Any) -> list[Any]:
        async with self.program.runtime.store.read() as session:
            return list((await session.execute(query)).scalars())

    async def heard(self) -> list[StoredMessage]:
        """What residents said, in order."""
        query = select(StoredMessage).where(StoredMessage.direction == Direction.IN).order_by(StoredMessage.id)
        return await self.all(query)

    async def said(self) -> list[str]:
        """What was said to residents, in order."""
        query = select(StoredMessage).where(StoredMessage.direction == Direction.OUT).order_by(StoredMessage.id)
        return [row.body for row in await self.all(query)]

    async def deliveries(self) -> list[Delivery]:
        return await self.all(select(Delivery).order_by(Delivery.id))

    async def reach(self, state: DeliveryState) -> None:
        """Wait until the only delivery is in this state: the program's own outbox works beside the test."""
        async with asyncio.timeout(SOON_SECONDS):
            while [one.state for one in await self.deliveries()] != [state]:  # noqa: ASYNC110  # nothing tells us
                await asyncio.sleep(0.001)

    async def conversation(self, openid: str) -> Conversation | None:
        async with self.program.runtime.store.read() as session:
            where = Address(CHANNEL, openid)
            return await conversations.find(session, self.program.runtime.station.id, where)

    def shown(self, openid: str) -> list[str]:
        """What the account said in this resident's chat, fault notices included."""
        return [bubble.words for bubble in self.wechat.chat(openid) if bubble.by != "person"]


Start = Callable[..., Awaitable[Station]]


@pytest.fixture
async def start(furnished_sqlite_url: str, frozen: FrozenClock) -> AsyncIterator[Start]:
    """Starts the program on the test's database; keyword arguments change the account's settings."""
    async with AsyncExitStack() as stack:
        wechat = await stack.enter_async_context(FakeWeChat())

        async def start(**changed: Any) -> Station:
            app = await create_app(config_of(furnished_sqlite_url, wechat.url, **changed), KnownSayings())
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/callback/{CHANNEL}"
            token = str(changed.get("token", TOKEN))
            pusher = await stack.enter_async_context(Pusher(url, token=token, wechat=wechat))
            return Station(app[PROGRAM], url, wechat, pusher, frozen)

        yield start


@pytest.fixture
async def station(start: Start) -> Station:
    return await start()


def refused(reason: str) -> float:
    """How many callbacks were refused for this reason so far."""
    found = REGISTRY.get_sample_value("officer_callbacks_refused_total", {"channel": CHANNEL, "reason": reason})
    return found or 0.0


def unknown(kind: str) -> float:
    """How many unknown messages or events were taken so far."""
    found = REGISTRY.get_sample_value("officer_messages_unknown_total", {"channel": CHANNEL, "kind": kind})
    return found or 0.0

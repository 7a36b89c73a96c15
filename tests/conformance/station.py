"""A station on the emulator: its official account as a channel of a house, and the callback served on port 0."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.adapters import StoredPictures, StoredTokens
from bot.channels.base import Channel
from bot.channels.official_account import OfficialAccount
from bot.channels.platform_api import TOTAL_SECONDS
from bot.config import OfficialAccountSettings
from scheduler.jobs import Desk
from scheduler.outbox import Outbox
from tests.fakes.wechat import FakeWeChat, Pusher
from tests.fakes.wechat.pusher import AES_KEY, TOKEN
from tests.support.station import CHANNEL, House


@dataclass(frozen=True)
class Account:
    """The official account of a house, with the outbox and the jobs that use it."""

    channel: OfficialAccount
    outbox: Outbox
    desk: Desk
    pusher: Pusher
    callback: str


def settings_of(wechat: FakeWeChat, name: str = CHANNEL, **changed: object) -> OfficialAccountSettings:
    return OfficialAccountSettings.model_validate(
        {
            "kind": "official_account",
            "name": name,
            "app_id": wechat.app_id,
            "secret": wechat.secret,
            "token": TOKEN,
            "encoding_aes_key": AES_KEY,
            "api_base": wechat.url,
            **changed,
        }
    )


def account_of(
    house: House, wechat: FakeWeChat, name: str = CHANNEL, *, call_seconds: float = TOTAL_SECONDS, **changed: object
) -> OfficialAccount:
    """The channel alone, as `bot.app` makes it."""
    return OfficialAccount(
        settings_of(wechat, name, **changed),
        feed=house.dispatcher.feed,
        tokens=StoredTokens(house.store, house.station.id),
        pictures=StoredPictures(house.store, house.station.id),
        call_seconds=call_seconds,
    )


@asynccontextmanager
async def open_account(
    house: House, wechat: FakeWeChat, *, name: str = CHANNEL, beside: Channel | None = None, **changed: object
) -> AsyncIterator[Account]:
    """The account with its callback; the emulator's events go there. `beside`: another channel of the same station."""
    channel = account_of(house, wechat, name, **changed)  # type: ignore[arg-type]
    channels: dict[str, Channel] = {name: channel} | ({} if beside is None else {beside.name: beside})
    outbox = Outbox(house.store, house.station.id, channels)
    desk = Desk(**{**vars(house.desk), "channels": channels, "outbox": outbox})
    app = web.Application()
    app.add_routes(channel.routes())
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(TestServer(app))
        stack.push_async_callback(channel.close)
        stack.push_async_callback(outbox.close)
        callback = str(server.make_url(f"/callback/{name}"))
        pusher = await stack.enter_async_context(Pusher(callback, wechat=wechat))
        yield Account(channel, outbox, desk, pusher, callback)

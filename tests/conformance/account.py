"""A station with a real official account: its callback on a port, the emulator beside it, its clock standing still."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from aiohttp import web
from sqlalchemy import select

from bot.actions import tickets
from bot.actions.audit import Actor
from bot.adapters import RecentTokens, StoredPictures, StoredTokens
from bot.channels.official_account import OfficialAccount
from bot.config import OfficialAccountSettings
from bot.message import Reply
from bot.store.models import Delivery, DeliveryRoute, DeliveryState, MassJob, ResidentAddress, StoredMessage, Ticket
from scheduler import jobs
from scheduler.mass import MassOutbox
from scheduler.outbox import Outbox
from tests.fakes.wechat import FakeWeChat, Pusher
from tests.fakes.wechat.pusher import AES_KEY, APP_ID, TOKEN
from tests.support.station import CHANNEL, FrozenClock, House

WANG = "o-wang-in-fenglin"


@dataclass
class Account:
    """One process of the station, and the platform it talks to."""

    house: House
    channel: OfficialAccount
    outbox: Outbox
    mass: MassOutbox
    desk: jobs.Desk
    wechat: FakeWeChat
    pusher: Pusher
    clock: FrozenClock

    # -- what people do ---------------------------------------------------------------------------------------------

    async def hears(self, words: str, openid: str = WANG) -> str:
        """A resident writes; what the answer in the response was."""
        pushed = await self.pusher.text(openid, words)
        await self.house.dispatcher.close()
        return str(pushed.text or "")

    async def officer_takes(self, openid: str = WANG) -> int:
        return await self.house.take("zhang", openid)

    async def officer_says(self, ticket_id: int, *words: str) -> None:
        """Replies written in the console, one after the other."""
        officer = await self.house.officer("zhang")
        for one in words:
            async with self.house.store.write() as session:
                ticket = await session.get_one(Ticket, ticket_id)
                with patch.object(tickets, "REPLY_CHARACTERS", len(one)):  # as long as an interface may ever allow
                    await tickets.reply(
                        session, ticket, officer, Reply(one), actor=Actor(officer.station_id, officer.id)
                    )

    async def works(self) -> None:
        """What the clock does once."""
        await jobs.move_broadcasts(self.desk)
        await jobs.send_mass(self.desk)
        await jobs.send_deliveries(self.desk)
        await jobs.move_broadcasts(self.desk)
        await self.house.dispatcher.close()

    async def people(self, count: int, prefix: str = "o-many", **address: Any) -> list[str]:
        """Residents who follow, most of whom have never written."""
        openids = [f"{prefix}-{n:06d}" for n in range(count)]
        for openid in openids:
            self.wechat.follower(openid)
            await self.house.add_resident(openid, address={"last_inbound_at": None, **address})
        return openids

    # -- what there is ----------------------------------------------------------------------------------------------

    def texts(self, openid: str = WANG) -> list[str]:
        return self.wechat.texts(openid)

    async def address(self, openid: str = WANG) -> ResidentAddress:
        row: ResidentAddress = await self.house.one(select(ResidentAddress).where(ResidentAddress.address == openid))
        return row

    async def rows(self, *states: DeliveryState, route: DeliveryRoute = DeliveryRoute.OUTBOX) -> list[Delivery]:
        query = select(Delivery).where(Delivery.route == route).order_by(Delivery.id)
        return [row for row in await self.house.all(query) if not states or row.state in states]

    async def row_of(self, words: str) -> Delivery:
        """How the message with these words got on: its newest delivery."""
        (message,) = [row for row in await self.house.all(select(StoredMessage)) if row.body == words]
        query = select(Delivery).where(Delivery.message_id == message.id, Delivery.route != DeliveryRoute.NOTICE)
        found: Delivery = (await self.house.all(query.order_by(Delivery.id)))[-1]
        return found

    async def mass_jobs(self) -> list[MassJob]:
        return await self.house.all(select(MassJob).order_by(MassJob.id))


@asynccontextmanager
async def opened(url: str, clock: FrozenClock, *, call_seconds: float = 8.0, **settings: Any) -> AsyncIterator[Account]:
    """A station on a furnished database; `settings` change those of the account."""
    async with House.opened(url) as house, FakeWeChat() as wechat:
        wechat.rules.account_type = settings.get("account_type", "service")
        given = {
            "kind": "official_account",
            "name": CHANNEL,
            "app_id": APP_ID,
            "secret": wechat.secret,
            "token": TOKEN,
            "encoding_aes_key": AES_KEY,
            "api_base": wechat.url,
        }
        checked = OfficialAccountSettings.model_validate(given | settings)
        feed = house.dispatcher.feed if checked.is_verified else house.dispatcher.feed_with_waiting
        channel = OfficialAccount(
            checked,
            feed=feed,
            tokens=RecentTokens(StoredTokens(house.store, house.station.id)),
            pictures=StoredPictures(house.store, house.station.id),
            call_seconds=call_seconds,
        )
        channels = {CHANNEL: channel}
        outbox = Outbox(house.store, house.station.id, channels, station_name=house.station.name)
        mass = MassOutbox(house.store, house.station.id, channels)
        desk = replace(house.desk, channels=channels, outbox=outbox, mass=mass)
        app = web.Application()
        app.add_routes(channel.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        callback = f"http://127.0.0.1:{runner.addresses[0][1]}/callback/{CHANNEL}"
        try:
            async with Pusher(callback, wechat=wechat) as pusher:
                yield Account(house, channel, outbox, mass, desk, wechat, pusher, clock)
        finally:
            await outbox.close()
            await mass.close()
            await channel.close()
            await runner.cleanup()


_words = itertools.count(1)


def saying() -> str:
    """Words nobody said before."""
    return f"民警回复第 {next(_words)} 条"

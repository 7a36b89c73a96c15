"""A station in a test's own database: its people, the program round it, a channel that remembers, a frozen clock."""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from sqlalchemy import func, select, text

import handlers
from bot import clock, dispatcher
from bot.actions import conversations, officers, residents, stations, tickets
from bot.actions.audit import Actor
from bot.actions.conversations import Address
from bot.channels.base import Picture, Sent
from bot.checks import Check
from bot.config import parse_config
from bot.dispatcher import Dispatcher, Ready, RouteFunction
from bot.message import Event, EventKind, Message, MessageKind, Reply
from bot.reach import Rules
from bot.router import StationInfo
from bot.runtime import Runtime
from bot.store import migrations
from bot.store.encryption import use_keys
from bot.store.engine import Store
from bot.store.models import (
    Community,
    Conversation,
    Delivery,
    Direction,
    Officer,
    Outcome,
    Priority,
    Resident,
    ResidentAddress,
    Role,
    StoredMessage,
    Ticket,
)
from knowledge import Knowledge
from scheduler import jobs
from scheduler.mass import MassOutbox
from scheduler.outbox import Outbox
from tests.support import leaks
from tests.support.knowledge import KnownSayings

NAME = "枫林派出所"
OTHER_NAME = "柳岸派出所"
PHONE = "0571-86001100"
DATA_KEY = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
MONDAY_MORNING = datetime(2026, 11, 23, 1, 30, tzinfo=UTC)  # 09:30 in Shanghai: the officers are at their desks
CHANNEL = "fenglin"
WANG = "o-wang-in-fenglin"  # a resident's address
WORKING_WEEK = {day: ["08:30-12:00", "14:00-17:30"] for day in ("mon", "tue", "wed", "thu", "fri")}
_PEOPLE = (  # user name, name, role, badge, phone, main communities
    ("zhang", "张伟", Role.OFFICER, "033101", "13900001111", ("枫林社区", "柳河村")),
    ("li", "李娜", Role.OFFICER, "033102", "13900002222", ("湖滨社区",)),
    ("fu", "傅静", Role.AUXILIARY, "F0311", "", ()),
    ("suo", "所长", Role.CHIEF, "033001", "13900003333", ()),
    ("shen", "沈察", Role.REVIEWER, "", "", ()),
    ("guan", "管理", Role.ADMIN, "", "", ()),
)
SOON_SECONDS = 60.0  # for what happens at once on a quiet machine: only a test that fails waits for so long
_numbers = itertools.count(1)


# -- time -------------------------------------------------------------------------------------------------------------


class FrozenClock:
    """The time, which passes only when told."""

    def __init__(self, now: datetime = MONDAY_MORNING) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)


@contextmanager
def frozen_clock() -> Iterator[FrozenClock]:
    """Everything that asks bot.clock reads this one until the end; nothing is waited for."""
    frozen, before, pause = FrozenClock(), clock._source, dispatcher.CONFIRM_PAUSE_SECONDS
    clock.set_source(frozen)
    dispatcher.CONFIRM_PAUSE_SECONDS = 0
    try:
        yield frozen
    finally:
        clock.set_source(before)
        dispatcher.CONFIRM_PAUSE_SECONDS = pause


# -- the channel ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Given:
    """What the platform was given."""

    address: str
    text: str
    delivery_id: int
    reply: Reply = field(repr=False)


class FakeChannel:
    """A platform that takes everything, except where its script says otherwise; it remembers what it took."""

    kind = "fake"

    def __init__(self, name: str = CHANNEL) -> None:
        self.name = name
        self.rules = Rules()
        self.given: list[Given] = []
        self.tried = 0
        self.script: deque[Exception | None] = deque()  # one for each coming send: an error, or None for taking it
        self.before_taking: Callable[[], Awaitable[object]] | None = None
        self.pictures: dict[str, Picture | Exception] = {}

    @property
    def texts(self) -> list[str]:
        return [given.text for given in self.given]

    def routes(self) -> list[web.RouteDef]:
        return []

    async def send(self, address: str, reply: Reply, *, delivery_id: int) -> Sent:
        self.tried += 1
        if self.before_taking is not None:
            await self.before_taking()
        outcome = self.script.popleft() if self.script else None
        if outcome is not None:
            raise outcome
        self.given.append(Given(address, reply.text, delivery_id, reply))
        return Sent(f"fake-{delivery_id}")

    async def check(self) -> Sequence[Check]:
        return ()

    async def fetch_picture(self, media: str) -> Picture:
        picture = self.pictures[media]
        if isinstance(picture, Exception):
            raise picture
        return picture

    async def close(self) -> None:
        return


# -- messages ---------------------------------------------------------------------------------------------------------


def text_message(text: str, sender: str = WANG, *, platform_id: str | None = None, **fields: Any) -> Message:
    """A message as a channel would make it; each has a number of its own unless told one."""
    leaks.secret(sender)
    leaks.said(text)
    return Message(
        channel=fields.pop("channel", CHANNEL),
        sender=sender,
        platform_id=platform_id or f"m{next(_numbers)}",
        kind=fields.pop("kind", MessageKind.TEXT),
        sent_at=clock.now(),
        text=text,
        **fields,
    )


def event(kind: EventKind, key: str = "", sender: str = WANG) -> Message:
    return text_message("", sender, kind=MessageKind.EVENT, event=Event(kind, key))


def furnish(url: str) -> None:
    """Make a station with its people in an empty database."""

    async def make() -> None:
        async with House.opened(url) as house:
            await house.add_people()

    with frozen_clock(), ThreadPoolExecutor(1) as thread:  # whoever asks may have a loop running
        thread.submit(asyncio.run, make()).result()


# -- the house --------------------------------------------------------------------------------------------------------


class House:
    """One process of a station: the parts `bot.app` puts together, without the web."""

    def __init__(
        self,
        store: Store,
        station: StationInfo,
        *,
        knowledge: Knowledge | None = None,
        route: RouteFunction | None = None,
    ) -> None:
        self.store, self.station = store, station
        self.knowledge = knowledge or KnownSayings()
        self.runtime = Runtime(_config(station.name), store, station, self.knowledge)
        self.dispatcher = Dispatcher(self.runtime, route or handlers.answer, handlers.give_up)
        self.channel = FakeChannel()
        self.outbox = Outbox(store, station.id, {CHANNEL: self.channel})
        self.desk = jobs.Desk(
            store=store,
            station_id=station.id,
            timezone=station.timezone,
            messages_kept=timedelta(days=1095),
            visitors_kept=timedelta(days=180),
            channels={CHANNEL: self.channel},
            outbox=self.outbox,
            mass=MassOutbox(store, station.id, {CHANNEL: self.channel}),
            resume=self.dispatcher.resume,
            words=self.knowledge.words,
        )

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, url: str, *, knowledge: Knowledge | None = None, route: RouteFunction | None = None, name: str = NAME
    ) -> AsyncIterator["House"]:
        """A process on a database; the first one makes the schema and the station in it."""
        use_keys(DATA_KEY)
        store = Store.open(url)
        house: House | None = None
        try:
            if await migrations.version(store) != migrations.newest():
                await migrations.migrate(store)
            async with store.write() as session:
                station = await stations.ensure(session, name, "Asia/Shanghai", {"station.phone": PHONE})
            info = StationInfo(station.id, station.name, station.timezone, station.settings)
            house = cls(store, info, knowledge=knowledge, route=route)
            yield house
        finally:
            if house is not None:
                await house.dispatcher.close()
                await house.outbox.close()
            await store.close()

    # -- residents --------------------------------------------------------------------------------------------------

    async def feed(self, message: Message, *, wait_seconds: float = 20) -> Ready | None:
        return await self.dispatcher.feed(message, wait_seconds=wait_seconds)

    async def hear(self, said: str | Message, sender: str = WANG) -> str | None:
        """The resident says something and reads the answer in the response; None when there is none."""
        ready = await self.feed(said if isinstance(said, Message) else text_message(said, sender))
        if ready is None:
            return None
        ready.confirm()
        return ready.reply.text

    async def choices(self, said: str | Message, sender: str = WANG) -> list[tuple[str, str]]:
        """The quick replies of the answer: what each shows and what it sends."""
        ready = await self.feed(said if isinstance(said, Message) else text_message(said, sender))
        assert ready is not None
        return [(choice.label, choice.send) for choice in ready.reply.choices]

    async def conversation(self, sender: str = WANG) -> Conversation:
        async with self.store.read() as session:
            found = await conversations.find(session, self.station.id, Address(CHANNEL, sender))
        assert found is not None
        return found

    async def resident(self, sender: str = WANG) -> Resident:
        return (await self.conversation(sender)).resident

    async def add_resident(self, sender: str | None = None, **columns: Any) -> int:
        """Somebody on the list, with an address if `sender` is given."""
        now = clock.now()
        name, phone = columns.pop("name", None), columns.pop("phone", None)
        address = columns.pop("address", {})
        async with self.store.write() as session:
            resident = Resident(station_id=self.station.id, created_at=now, **columns)
            residents.set_name(resident, name)
            residents.set_phone(resident, phone)
            session.add(resident)
            await session.flush()
            if sender is not None:
                fields = {"last_inbound_at": now, "channel": CHANNEL, **address}
                session.add(
                    ResidentAddress(
                        station_id=self.station.id, resident_id=resident.id, address=sender, created_at=now, **fields
                    )
                )
            return resident.id

    # -- the station ------------------------------------------------------------------------------------------------

    async def add_people(self) -> None:
        """Six people who can log in, and three communities."""
        actor = Actor(self.station.id)
        async with self.store.write() as session:
            places = {}
            for name, code in (("枫林社区", "fenglin"), ("湖滨社区", "hubin"), ("柳河村", "liuhe")):
                places[name] = Community(station_id=self.station.id, name=name, code=code)
                session.add(places[name])
            await session.flush()
            for username, name, role, badge, phone, main in _PEOPLE:
                officer = await officers.add_officer(
                    session,
                    self.station.id,
                    username=username,
                    name=name,
                    role=role,
                    badge=badge,
                    phone=phone,
                    duty=WORKING_WEEK if role is Role.OFFICER else {},
                    password_hash="",
                    password_given=False,
                    actor=actor,
                )
                await officers.set_communities(session, officer, [places[place].id for place in main], actor=actor)

    async def officer(self, username: str) -> Officer:
        found: Officer = await self.one(
            select(Officer).where(Officer.username == username, Officer.station_id == self.station.id)
        )
        return found

    async def community(self, name: str) -> int:
        found: Community = await self.one(
            select(Community).where(Community.name == name, Community.station_id == self.station.id)
        )
        return found.id

    async def take(self, username: str, sender: str = WANG) -> int:
        """The officer takes the open ticket of a conversation, which is opened if there is none; its number."""
        officer, now = await self.officer(username), clock.now()
        async with self.store.write() as session:
            conversation = await conversations.ensure(session, self.station.id, Address(CHANNEL, sender), now=now)
            ticket = await tickets.unclosed(session, conversation.id) or await tickets.open_ticket(
                session,
                conversation,
                priority=Priority.NORMAL,
                topic=None,
                subject="",
                message_id=None,
                now=now,
                timezone=self.station.timezone,
            )
            await tickets.take(session, ticket, officer, actor=Actor(self.station.id, officer.id))
            return ticket.id

    async def close_ticket(self, username: str, ticket_id: int, *, farewell: str = "") -> None:
        officer = await self.officer(username)
        async with self.store.write() as session:
            ticket = await session.get_one(Ticket, ticket_id)
            actor = Actor(self.station.id, officer.id)
            await tickets.close(session, ticket, officer, Outcome.ANSWERED, farewell=farewell, actor=actor)

    async def work(self) -> int:
        return await self.outbox.work()

    # -- rows -------------------------------------------------------------------------------------------------------

    async def all(self, query: Any) -> list[Any]:
        async with self.store.read() as session:
            return list((await session.execute(query)).scalars())

    async def one(self, query: Any) -> Any:
        (row,) = await self.all(query)
        return row

    async def count(self, model: type[Any], *where: Any) -> int:
        found: int = await self.one(select(func.count()).select_from(model).where(*where))
        return found

    async def heard(self) -> list[StoredMessage]:
        return await self.all(
            select(StoredMessage).where(StoredMessage.direction == Direction.IN).order_by(StoredMessage.id)
        )

    async def said(self) -> list[str]:
        """All that was said to residents, in order."""
        query = select(StoredMessage).where(StoredMessage.direction == Direction.OUT).order_by(StoredMessage.id)
        return [row.body for row in await self.all(query)]

    async def deliveries(self) -> Sequence[Delivery]:
        return await self.all(select(Delivery).order_by(Delivery.id))

    async def tickets(self) -> Sequence[Ticket]:
        return await self.all(select(Ticket).order_by(Ticket.id))


def _config(name: str) -> Any:
    return parse_config({"station": {"name": name}, "security": {"data_key": DATA_KEY}}, {})


async def until(true: Callable[[], bool]) -> None:
    """Let the others run until something is so."""
    async with asyncio.timeout(SOON_SECONDS):
        while not true():  # noqa: ASYNC110  # nothing tells us
            await asyncio.sleep(0.001)


async def somebody_waits(house: House) -> None:
    """Until a transaction waits for a lock of another one."""
    for _ in range(3000):
        async with house.store.read() as session:
            if (await session.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))).scalar_one():
                return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")

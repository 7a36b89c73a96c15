"""Two stations on one database, each with its API, and callers who speak JSON."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from argon2 import PasswordHasher
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import conversations, officers, tickets
from bot.actions.audit import Actor
from bot.actions.conversations import Address
from bot.actions.residents import set_name, set_phone
from bot.api.app import add_api
from bot.config import Config, SecuritySettings, ServerSettings, StationSettings
from bot.message import MessageKind, Reply
from bot.reach import Rules
from bot.router import StationInfo
from bot.runtime import Runtime
from bot.security import sessions
from bot.store import encryption
from bot.store.engine import Store
from bot.store.models import (
    AuditEvent,
    Author,
    Base,
    Community,
    Conversation,
    Direction,
    MessageState,
    Officer,
    Priority,
    Resident,
    ResidentAddress,
    Role,
    Station,
    StoredMessage,
    Ticket,
)
from knowledge import Knowledge

ROOT = "/api/v1"
PASSWORD = "plum blossom 47"
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)  # made once, cheap on purpose
NAME, PHONE, HOME = "王小明", "13812345678", "3幢502室"
QUESTION = "身份证丢了怎么补办"

# Each role by the username of the person who has it; chen has a colleague, because officers hand over to each other.
PEOPLE = {
    "chen": ("陈建国", Role.OFFICER),
    "zhang": ("张敏", Role.OFFICER),
    "fu": ("傅小军", Role.AUXILIARY),
    "suo": ("索立新", Role.CHIEF),
    "shen": ("沈静", Role.REVIEWER),
    "guan": ("管志强", Role.ADMIN),
}
BY_ROLE = {role: username for username, (_, role) in reversed(PEOPLE.items())}


class Clock:
    """The time of a test, which moves when the test says so."""

    def __init__(self) -> None:
        self.now = clock.now()

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass(frozen=True)
class Heard:
    """What the API answered."""

    status: int
    body: Any
    headers: Any

    @property
    def slug(self) -> str:
        """The problem's type; fails for what is no problem."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self
        assert self.body["status"] == self.status
        assert not self.body["detail"].isascii()
        slug: str = self.body["type"]
        return slug

    @property
    def fields(self) -> list[str]:
        return [error["field"] for error in self.body.get("errors", [])]


@dataclass
class Caller:
    """A program that uses the API with somebody's token, or with none."""

    session: ClientSession
    root: str
    token: str = ""

    async def call(self, method: str, path: str, body: Any = None, **extra: Any) -> Heard:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= extra.pop("headers", {})
        if body is not None:
            extra["json"] = body
        async with self.session.request(method, self.root + path, headers=headers, **extra) as response:
            json = await response.json(content_type=None) if response.content_type.endswith("json") else None
            return Heard(response.status, json, response.headers)

    async def get(self, path: str, **query: str) -> Heard:
        return await self.call("GET", path, params=query)

    async def post(self, path: str, body: Any = None) -> Heard:
        return await self.call("POST", path, body)

    async def read(self, path: str, **query: str) -> Any:
        """What must be there."""
        heard = await self.get(path, **query)
        assert heard.status == 200, heard
        return heard.body

    async def do(self, path: str, body: Any = None) -> Any:
        """What must be possible."""
        heard = await self.post(path, body)
        assert heard.status in (200, 201), heard
        return heard.body


@dataclass(frozen=True)
class Furniture:
    """What a station has, by row numbers; `ticket` is open, and its resident asked QUESTION."""

    station: StationInfo
    officers: dict[str, int]
    communities: list[int]
    ticket: int
    conversation: int


@dataclass
class House:
    """One station with its API."""

    store: Store
    session: ClientSession
    furniture: Furniture
    root: str = ""

    @property
    def station(self) -> StationInfo:
        return self.furniture.station

    @property
    def ticket(self) -> int:
        return self.furniture.ticket

    @property
    def nobody(self) -> Caller:
        return Caller(self.session, self.root)

    async def caller(self, username: str, *, second_factor_done: bool = True) -> Caller:
        """Somebody with a token, without asking for his password."""
        async with self.store.write() as session:
            officer = await session.get_one(Officer, self.furniture.officers[username])
            token = await sessions.begin(session, officer, "127.0.0.1", second_factor_done=second_factor_done)
        return Caller(self.session, self.root, token)

    async def audit(self, action: str) -> list[AuditEvent]:
        async with self.store.read() as session:
            query = select(AuditEvent).where(AuditEvent.station_id == self.station.id, AuditEvent.action == action)
            return list((await session.execute(query.order_by(AuditEvent.seq))).scalars())


@pytest.fixture
def time() -> Iterator[Clock]:
    moved = Clock()
    clock.set_source(lambda: moved.now)
    yield moved
    clock.set_source(None)


@pytest.fixture(scope="session")
def knowledge() -> Knowledge:
    return Knowledge.load()


@dataclass(frozen=True)
class Furnished:
    """A database with two stations, to be copied for each test: making it takes longer than most tests."""

    file: Path
    key: str
    houses: Callable[[Store, ClientSession], list[House]]


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Furnished:
    file, key = tmp_path_factory.mktemp("api") / "officer.db", encryption.new_key()
    encryption.use_keys(key)

    async def furnish() -> list[Furniture]:
        store = Store.open(f"sqlite+aiosqlite:///{file}")
        async with store.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with store.write() as session:
            stations = [await _furnish(session, name) for name in ("枫林派出所", "溪口派出所")]
        await store.close()
        return stations

    stations = asyncio.run(furnish())
    return Furnished(file, key, lambda store, client: [House(store, client, each) for each in stations])


OpenHouses = Callable[..., Awaitable[list[House]]]


@pytest.fixture
async def open_houses(furnished: Furnished, tmp_path: Path, knowledge: Knowledge) -> AsyncIterator[OpenHouses]:
    """Starts the APIs of two stations; stops them at the end."""
    encryption.use_keys(furnished.key)
    file = tmp_path / "officer.db"
    shutil.copy(furnished.file, file)
    store = Store.open(f"sqlite+aiosqlite:///{file}")
    client = ClientSession()
    servers: list[TestServer] = []

    async def make(**settings: Any) -> list[House]:
        houses = furnished.houses(store, client)
        for house in houses:
            app = web.Application()
            runtime = Runtime(_config(house.station.name, **settings), store, house.station, knowledge)
            add_api(app, runtime, {"web": Rules()})
            server = TestServer(app)
            await server.start_server()
            servers.append(server)
            house.root = f"http://127.0.0.1:{server.port}{ROOT}"
        return houses

    yield make
    await client.close()
    for server in servers:
        await server.close()
    await store.close()


@pytest.fixture
async def houses(open_houses: OpenHouses) -> list[House]:
    return await open_houses()


@pytest.fixture
def house(houses: list[House]) -> House:
    return houses[0]


def _config(name: str, *, second_factor: bool = False, trusted_proxies: tuple[str, ...] = ()) -> Config:
    return Config(
        station=StationSettings(name=name),
        server=ServerSettings(trusted_proxies=trusted_proxies),
        security=SecuritySettings.model_validate({"data_key": encryption.new_key(), "second_factor": second_factor}),
    )


async def _furnish(session: AsyncSession, name: str) -> Furniture:
    row = Station(name=name, timezone="Asia/Shanghai", settings={}, created_at=clock.now())
    session.add(row)
    await session.flush()
    communities = [Community(station_id=row.id, name=f"{name[:2]}{number}社区", code=f"c{number}") for number in (1, 2)]
    session.add_all(communities)
    await session.flush()
    people = {}
    for username, (person, role) in PEOPLE.items():
        officer = await officers.add_officer(
            session, row.id, username=username, name=person, role=role, password_hash=PASSWORD_HASH,
            actor=Actor(row.id),
        )  # fmt: skip
        people[username] = officer.id
        if username == "zhang":
            await officers.set_communities(session, officer, [communities[1].id], actor=Actor(row.id))
    resident = await add_resident(
        session, row.id, communities[0].id, NAME, PHONE, home=HOME, birth_year=1950, occupation="退休"
    )
    ticket = await _ask(session, resident)
    return Furniture(
        station=StationInfo(row.id, name, row.timezone, {}),
        officers=people,
        communities=[community.id for community in communities],
        ticket=ticket.id,
        conversation=ticket.conversation_id,
    )


async def add_resident(
    session: AsyncSession, station_id: int, community_id: int, name: str, phone: str, **columns: Any
) -> Resident:
    resident = Resident(station_id=station_id, created_at=clock.now(), community_id=community_id, **columns)
    set_name(resident, name)
    set_phone(resident, phone)
    session.add(resident)
    await session.flush()
    return resident


async def _ask(session: AsyncSession, resident: Resident) -> Ticket:
    """The resident wrote from the web; the bot understood, passed it on and said so."""
    now, station_id = clock.now(), resident.station_id
    address = ResidentAddress(
        station_id=station_id, resident_id=resident.id, channel="web", address="visitor-1", created_at=now
    )
    session.add(address)
    await session.flush()
    session.add(
        Conversation(
            station_id=station_id, address_id=address.id, resident_id=resident.id, channel="web", created_at=now
        )
    )
    await session.flush()
    conversation = await conversations.find(session, station_id, Address("web", "visitor-1"))
    assert conversation is not None
    asked = _asked(conversation, QUESTION)
    session.add(asked)
    await session.flush()
    await conversations.say(session, conversation, Reply("已为您转给民警。"), author=Author.BOT, now=now)
    return await tickets.open_ticket(
        session, conversation, priority=Priority.NORMAL, topic="idcard.lost", subject=QUESTION, message_id=asked.id,
        now=now, timezone="Asia/Shanghai",
    )  # fmt: skip


def _asked(conversation: Conversation, text: str) -> StoredMessage:
    now = clock.now()
    return StoredMessage(
        station_id=conversation.station_id,
        conversation_id=conversation.id,
        direction=Direction.IN,
        author=Author.RESIDENT,
        channel=conversation.channel,
        address=conversation.address.address,
        kind=MessageKind.TEXT,
        body=text,
        sent_at=now,
        created_at=now,
        state=MessageState.HANDLED,
        decision="officer",
        topic="idcard.lost",
        candidates=[["idcard.lost", 0.91], ["idcard.renew", 0.4]],
    )

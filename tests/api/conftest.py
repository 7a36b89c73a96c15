"""Two stations on one database, each with its API, and callers who speak JSON."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.api.app import add_api
from bot.config import Config, SecuritySettings, ServerSettings, StationSettings
from bot.reach import Rules
from bot.router import StationInfo
from bot.runtime import Runtime
from bot.security import sessions
from bot.store import encryption
from bot.store.engine import Store
from bot.store.models import AuditEvent, Officer, Priority
from knowledge import Knowledge
from tests.support.station import DATA_KEY, FrozenClock
from tests.support.two_stations import (
    BY_ROLE,
    PASSWORD,
    PEOPLE,
    Staffed,
    add_conversation,
    add_resident,
    add_station,
    ask,
    furnished_file,
)

__all__ = ["BY_ROLE", "PASSWORD", "PEOPLE", "add_resident"]

ROOT = "/api/v1"
NAME, PHONE, HOME = "王小明", "13812345678", "3幢502室"
QUESTION = "身份证丢了怎么补办"


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


@dataclass
class Furniture(Staffed):
    """What a station has, by row numbers; `ticket` is open, and its resident asked QUESTION."""

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
def time(frozen: FrozenClock) -> FrozenClock:
    return frozen


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Furniture]]:
    file: Path = tmp_path_factory.mktemp("api") / "officer.db"
    return file, furnished_file(file, _furnish)


OpenHouses = Callable[..., Awaitable[list[House]]]


@pytest.fixture
async def open_houses(
    furnished: tuple[Path, list[Furniture]], tmp_path: Path, knowledge: Knowledge, frozen: FrozenClock
) -> AsyncIterator[OpenHouses]:
    """Starts the APIs of two stations; stops them at the end."""
    encryption.use_keys(DATA_KEY)
    template, furniture = furnished
    file = shutil.copy(template, tmp_path / "officer.db")
    store = Store.open(f"sqlite+aiosqlite:///{file}")
    client = ClientSession()
    servers: list[TestServer] = []

    async def make(**settings: Any) -> list[House]:
        houses = [House(store, client, each) for each in furniture]
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
    staffed = await add_station(session, name)
    resident = await add_resident(
        session, staffed.station.id, staffed.communities[0], NAME, PHONE, home=HOME, birth_year=1950, occupation="退休"
    )
    conversation = await add_conversation(session, resident)
    ticket = await ask(session, conversation, QUESTION, topic="idcard.lost", priority=Priority.NORMAL)
    return Furniture(staffed.station, staffed.officers, staffed.communities, ticket.id, conversation.id)

"""A console on a furnished database: two stations, people of every role, residents, tickets, and browsers for them."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientResponse, ClientSession, CookieJar
from aiohttp.test_utils import TestServer
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import tickets
from bot.actions.audit import Actor
from bot.config import Config, SecuritySettings, ServerSettings, StationSettings
from bot.runtime import Runtime
from bot.store.engine import Store
from bot.store.models import (
    AuditEvent,
    Broadcast,
    BroadcastState,
    CannedReply,
    ContactWay,
    Conversation,
    EntryVersion,
    Media,
    Officer,
    Priority,
    Ticket,
    VersionState,
)
from tests.support.station import DATA_KEY
from tests.support.two_stations import (
    PASSWORD,
    Staffed,
    add_conversation,
    add_resident,
    add_station,
    ask,
    inbound,
)

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)


@dataclass
class StationHouse(Staffed):
    """A station with its people and one matter of each kind, by their row numbers."""

    residents: list[int] = field(default_factory=list)
    conversations: list[int] = field(default_factory=list)
    tickets: dict[str, int] = field(default_factory=dict)  # "open", "urgent"
    rows: dict[str, int] = field(default_factory=dict)  # a row for each kind of address with a number in it


@dataclass
class Browser:
    """Somebody at the console: keeps his cookies, carries the form token, follows redirects only when told to."""

    session: ClientSession
    root: str
    csrf: str = ""

    async def get(self, path: str, **extra: Any) -> ClientResponse:
        response = await self.session.get(self.root + path, allow_redirects=False, **extra)
        await self._remember(response)
        return response

    async def read(self, path: str) -> str:
        """A page that must open."""
        response = await self.get(path)
        assert response.status == 200, (path, response.status)
        return await response.text()

    async def post(self, path: str, *, csrf: str | None = None, data: Any = None, **fields: str) -> ClientResponse:
        form = data if data is not None else fields
        headers = {"X-CSRF-Token": self.csrf if csrf is None else csrf}
        response = await self.session.post(self.root + path, data=form, headers=headers, allow_redirects=False)
        await self._remember(response)
        return response

    async def _remember(self, response: ClientResponse) -> None:
        if response.content_type == "text/html" and (
            found := re.search(r'name="csrf" value="([^"]+)"', await response.text())
        ):
            self.csrf = found[1]

    async def log_in(self, username: str, password: str = PASSWORD, *, target: str = "") -> ClientResponse:
        page = await (await self.get(f"/console/login?next={target}")).text()
        token, following = _value(page, "token"), _value(page, "next")
        response = await self.post("/console/login", token=token, next=following, username=username, password=password)
        if response.status == 303 and "second-factor" not in response.headers["Location"]:
            await self.get("/console/me")  # for the token of its forms
        return response


def _value(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, f"no field {name}"
    return found[1]


@dataclass
class House:
    """The running consoles of two stations on one database."""

    store: Store
    runtimes: list[Runtime]
    houses: list[StationHouse]
    roots: list[str]
    servers: list[TestServer] = field(default_factory=list)
    browsers: list[Browser] = field(default_factory=list)

    @property
    def first(self) -> StationHouse:
        return self.houses[0]

    def browser(self, station: int = 0) -> Browser:
        browser = Browser(ClientSession(cookie_jar=CookieJar(unsafe=True)), self.roots[station])
        self.browsers.append(browser)
        return browser

    async def logged_in(self, username: str, station: int = 0) -> Browser:
        browser = self.browser(station)
        response = await browser.log_in(username)
        assert response.status == 303
        return browser

    def address(self, path: str) -> str:
        """A route's path with the first station's rows in it: /console/tickets/{id} and the like."""
        kind = path.split("/")[2] if path.count("/") > 1 else ""
        if "{id" in path and kind not in self.first.rows:
            raise KeyError(f"{path}: put a row of this kind into StationHouse.rows, so that foreigners can ask for it")
        path = re.sub(r"\{topic:.*?\}", "idcard.lost", path.replace("{name}", "console.css"))
        return re.sub(r"\{[a-z]+:.*?\}\}?(?=/|$)", lambda _: str(self.first.rows.get(kind, 1)), path)

    async def audited(self, action: str) -> list[AuditEvent]:
        """What the log says of an action, oldest first."""
        async with self.store.read() as session:
            query = select(AuditEvent).where(AuditEvent.action == action).order_by(AuditEvent.seq)
            return list((await session.execute(query)).scalars())

    async def ticket(self, name: str) -> Ticket:
        async with self.store.read() as session:
            return await session.get_one(Ticket, self.first.tickets[name])

    async def officer(self, username: str) -> Officer:
        async with self.store.read() as session:
            return await session.get_one(Officer, self.first.officers[username])

    async def take(self, username: str, ticket: str) -> None:
        """An officer takes a ticket, without pages."""
        async with self.store.write() as session:
            row = await session.get_one(Ticket, self.first.tickets[ticket])
            officer = await session.get_one(Officer, self.first.officers[username])
            await tickets.take(session, row, officer, actor=Actor(row.station_id, officer.id))

    async def resident_says(self, ticket: str, text: str, **columns: Any) -> int:
        """A further message of the ticket's resident, as the dispatcher stores it."""
        async with self.store.write() as session:
            row = await session.get_one(Ticket, self.first.tickets[ticket])
            conversation = await session.get_one(Conversation, row.conversation_id)
            message = inbound(conversation, text, **columns)
            session.add(message)
            await session.flush()
            await tickets.heard(session, conversation)
            return message.id


_RESIDENTS = (("王小明", "13812345678", "3幢502室"), ("李秀英", "13987654321", "7幢101室"), (None, None, None))


async def furnish(session: AsyncSession, name: str) -> StationHouse:
    """A station with six people, two communities, three residents, an open and an urgent ticket."""
    now = clock.now()
    staffed = await add_station(session, name)
    house = StationHouse(staffed.station, staffed.officers, staffed.communities)
    number, chen = house.station.id, house.officers["chen"]
    spoken = []
    for place, (called, phone, home) in enumerate(_RESIDENTS):
        resident = await add_resident(
            session, number, house.communities[place % 2], called, phone, home=home, birth_year=1956
        )
        house.residents.append(resident.id)
        spoken.append(await add_conversation(session, resident))
    house.conversations = [conversation.id for conversation in spoken]
    question = await ask(
        session, spoken[0], "身份证丢了怎么补办", topic="idcard.lost", priority=Priority.NORMAL, minutes_ago=7
    )
    media = Media(station_id=number, content_type="image/png", data=PNG, created_at=now)
    canned = CannedReply(station_id=number, title="补办身份证", body="请带户口簿到户籍窗口。", topic="idcard.lost")
    warning = Broadcast(
        station_id=number, title="冒充客服退款诈骗提醒", body="凡是要求转账退款的都是诈骗。", audience={},
        state=BroadcastState.DRAFT, author_id=chen, created_at=now,
    )  # fmt: skip
    draft = EntryVersion(
        station_id=number, topic="idcard.lost", version=1, content={"phrases": ["证件落在出租车上没了"]},
        state=VersionState.DRAFT, author_id=chen, created_at=now,
    )  # fmt: skip
    way = ContactWay(
        station_id=number, officer_id=house.officers["zhang"], community_id=house.communities[1],
        code=f"code-{number}", created_at=now,
    )  # fmt: skip
    session.add_all([media, canned, warning, draft, way])
    await session.flush()
    urgent = await ask(
        session, spoken[1], "我正在给骗子转账", topic="emergency.fraud_now", priority=Priority.URGENT, minutes_ago=7
    )
    house.tickets = {"open": question.id, "urgent": urgent.id}
    house.rows = {
        "tickets": urgent.id,
        "media": media.id,
        "canned": canned.id,
        "broadcasts": warning.id,
        "review": house.conversations[0],
        "residents": house.residents[0],
        "officers": house.officers["fu"],
        "communities": house.communities[0],
        "contacts": way.id,
        "learning": draft.id,
    }
    return house


MakeHouse = Callable[..., Awaitable[House]]  # (url, *, server={…}, security={…})


def console_config(name: str, url: str, **settings: Any) -> Config:
    return Config(
        station=StationSettings(name=name),
        server=ServerSettings(**settings.get("server", {})),
        security=SecuritySettings(data_key=DATA_KEY, **settings.get("security", {})),  # type: ignore[arg-type]
    )

"""A console on an empty database: two stations, officers of every role, residents, tickets, and browsers for them."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from aiohttp import ClientResponse, ClientSession, CookieJar
from aiohttp.test_utils import TestServer
from argon2 import PasswordHasher
from sqlalchemy import select

from bot import clock
from bot.actions import conversations, officers, tickets
from bot.actions.audit import Actor
from bot.actions.conversations import Address
from bot.actions.residents import set_name, set_phone
from bot.config import Config, SecuritySettings, ServerSettings, StationSettings
from bot.message import MessageKind, Reply
from bot.router import StationInfo
from bot.runtime import Runtime
from bot.store import encryption
from bot.store.engine import Store
from bot.store.models import (
    AuditEvent,
    Author,
    Broadcast,
    BroadcastState,
    CannedReply,
    Community,
    ContactWay,
    Conversation,
    Direction,
    EntryVersion,
    Media,
    MessageState,
    Officer,
    Priority,
    Resident,
    ResidentAddress,
    Role,
    Station,
    StoredMessage,
    Ticket,
    VersionState,
)

PASSWORD = "plum blossom 47"
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)  # made once, cheap on purpose
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)
DATA_KEY = encryption.new_key()


@dataclass
class StationHouse:
    """A station with its people and one matter of each kind, by their row numbers."""

    station: StationInfo
    officers: dict[str, int] = field(default_factory=dict)  # by username
    communities: list[int] = field(default_factory=list)
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
            message = _inbound(conversation, text, **columns)
            session.add(message)
            await session.flush()
            await tickets.heard(session, conversation)
            return message.id


def _inbound(conversation: Conversation, text: str, **columns: Any) -> StoredMessage:
    now = clock.now()
    values: dict[str, Any] = {
        "station_id": conversation.station_id,
        "conversation_id": conversation.id,
        "direction": Direction.IN,
        "author": Author.RESIDENT,
        "channel": conversation.channel,
        "address": f"visitor-{conversation.id}",
        "kind": MessageKind.TEXT,
        "body": text,
        "sent_at": now,
        "created_at": now,
        "state": MessageState.HANDLED,
    }
    return StoredMessage(**{**values, **columns})


_PEOPLE = (
    ("chen", "陈建国", Role.OFFICER),
    ("zhang", "张敏", Role.OFFICER),
    ("fu", "傅小军", Role.AUXILIARY),
    ("suo", "索立新", Role.CHIEF),
    ("shen", "沈静", Role.REVIEWER),
    ("guan", "管志强", Role.ADMIN),
)
_RESIDENTS = (("王小明", "13812345678", "3幢502室"), ("李秀英", "13987654321", "7幢101室"), (None, None, None))


async def furnish(store: Store, name: str) -> StationHouse:
    """A station with six people, two communities, three residents, an open and an urgent ticket."""
    now = clock.now()
    async with store.write() as session:
        row = Station(name=name, timezone="Asia/Shanghai", settings={}, created_at=now)
        session.add(row)
        await session.flush()
        house = StationHouse(StationInfo(row.id, row.name, row.timezone, {}))
        actor = Actor(row.id)
        communities = [
            Community(station_id=row.id, name=f"{name[:2]}{number}社区", code=f"c{number}") for number in (1, 2)
        ]
        session.add_all(communities)
        await session.flush()
        house.communities = [community.id for community in communities]
        for username, person, role in _PEOPLE:
            officer = await officers.add_officer(
                session, row.id, username=username, name=person, role=role, password_hash=PASSWORD_HASH,
                badge=f"33{len(house.officers):04d}", duty={"mon": ["08:30-17:30"]}, actor=actor,
            )  # fmt: skip
            house.officers[username] = officer.id
        zhang = await session.get_one(Officer, house.officers["zhang"])
        await officers.set_communities(session, zhang, [communities[1].id], actor=actor)
        for number, (called, phone, home) in enumerate(_RESIDENTS):
            resident = Resident(
                station_id=row.id, created_at=now, community_id=communities[number % 2].id, home=home, birth_year=1956
            )
            set_name(resident, called)
            set_phone(resident, phone)
            session.add(resident)
            await session.flush()
            house.residents.append(resident.id)
            conversation = await _conversation(session, resident)
            house.conversations.append(conversation.id)
        await _open(session, house, 0, "open", "身份证丢了怎么补办", Priority.NORMAL, "idcard.lost")
        media = Media(station_id=row.id, content_type="image/png", data=PNG, created_at=now)
        canned = CannedReply(station_id=row.id, title="补办身份证", body="请带户口簿到户籍窗口。", topic="idcard.lost")
        warning = Broadcast(
            station_id=row.id, title="冒充客服退款诈骗提醒", body="凡是要求转账退款的都是诈骗。", audience={},
            state=BroadcastState.DRAFT, author_id=house.officers["chen"], created_at=now,
        )  # fmt: skip
        draft = EntryVersion(
            station_id=row.id, topic="idcard.lost", version=1, content={"phrases": ["证件落在出租车上没了"]},
            state=VersionState.DRAFT, author_id=house.officers["chen"], created_at=now,
        )  # fmt: skip
        way = ContactWay(
            station_id=row.id, officer_id=zhang.id, community_id=communities[1].id, code=f"code-{row.id}",
            created_at=now,
        )  # fmt: skip
        session.add_all([media, canned, warning, draft, way])
        await session.flush()
        house.rows |= {
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
        await _open(session, house, 1, "urgent", "我正在给骗子转账", Priority.URGENT, "emergency.fraud_now")
    return house


async def _conversation(session: Any, resident: Resident) -> Conversation:
    now = clock.now()
    address = ResidentAddress(
        station_id=resident.station_id,
        resident_id=resident.id,
        channel="web",
        address=f"visitor-{resident.id}",
        created_at=now,
    )
    session.add(address)
    await session.flush()
    conversation = Conversation(
        station_id=resident.station_id, address_id=address.id, resident_id=resident.id, channel="web", created_at=now
    )
    session.add(conversation)
    await session.flush()
    found = await conversations.find(session, resident.station_id, Address("web", address.address))
    assert found is not None
    return found


async def _open(
    session: Any, house: StationHouse, number: int, name: str, text: str, priority: Priority, topic: str
) -> None:
    conversation = await conversations.find(
        session, house.station.id, Address("web", f"visitor-{house.residents[number]}")
    )
    assert conversation is not None
    message = _inbound(
        conversation, text, decision="officer", topic=topic, candidates=[[topic, 0.91], ["idcard.renew", 0.4]],
        words=["身份证"],
    )  # fmt: skip
    session.add(message)
    await session.flush()
    await conversations.say(session, conversation, Reply("已为您转给民警。"), author=Author.BOT, now=clock.now())
    ticket = await tickets.open_ticket(
        session, conversation, priority=priority, topic=topic, subject=text, message_id=message.id,
        now=clock.now() - timedelta(minutes=7), timezone="Asia/Shanghai",
    )  # fmt: skip
    house.tickets[name] = house.rows["tickets"] = ticket.id


MakeHouse = Callable[..., Awaitable[House]]  # (url, *, server={…}, security={…})


def console_config(name: str, url: str, **settings: Any) -> Config:
    return Config(
        station=StationSettings(name=name),
        server=ServerSettings(**settings.get("server", {})),
        security=SecuritySettings(data_key=DATA_KEY, **settings.get("security", {})),  # type: ignore[arg-type]
    )

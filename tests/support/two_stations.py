"""Two stations with the same people on one database: what the console's and the API's tests begin with."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from argon2 import PasswordHasher
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import conversations, officers, tickets
from bot.actions.audit import Actor
from bot.actions.conversations import Address
from bot.actions.residents import set_name, set_phone
from bot.message import MessageKind, Reply
from bot.router import StationInfo
from bot.store import encryption
from bot.store.engine import Store
from bot.store.models import (
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
from tests.support.station import DATA_KEY, frozen_clock

NAMES = ("枫林派出所", "溪口派出所")
PASSWORD = "plum blossom 47"
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)  # made once, cheap on purpose

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

_F = TypeVar("_F")


@dataclass
class Staffed:
    """A station with its people and two communities, by their row numbers; zhang answers for the second one."""

    station: StationInfo
    officers: dict[str, int]
    communities: list[int]


async def add_station(session: AsyncSession, name: str) -> Staffed:
    row = Station(name=name, timezone="Asia/Shanghai", settings={}, created_at=clock.now())
    session.add(row)
    await session.flush()
    communities = [Community(station_id=row.id, name=f"{name[:2]}{number}社区", code=f"c{number}") for number in (1, 2)]
    session.add_all(communities)
    await session.flush()
    people: dict[str, int] = {}
    for username, (person, role) in PEOPLE.items():
        officer = await officers.add_officer(
            session, row.id, username=username, name=person, role=role, password_hash=PASSWORD_HASH,
            password_given=False, badge=f"33{len(people):04d}", duty={"mon": ["08:30-17:30"]}, actor=Actor(row.id),
        )  # fmt: skip
        people[username] = officer.id
    zhang = await session.get_one(Officer, people["zhang"])
    await officers.set_communities(session, zhang, [communities[1].id], actor=Actor(row.id))
    return Staffed(StationInfo(row.id, name, row.timezone, {}), people, [community.id for community in communities])


async def add_resident(
    session: AsyncSession, station_id: int, community_id: int, name: str | None, phone: str | None, **columns: Any
) -> Resident:
    resident = Resident(station_id=station_id, created_at=clock.now(), community_id=community_id, **columns)
    set_name(resident, name)
    set_phone(resident, phone)
    session.add(resident)
    await session.flush()
    return resident


async def add_conversation(session: AsyncSession, resident: Resident) -> Conversation:
    """On the web, where the resident is visitor-7 if 7 is his number."""
    now, address = clock.now(), f"visitor-{resident.id}"
    row = ResidentAddress(
        station_id=resident.station_id, resident_id=resident.id, channel="web", address=address, created_at=now
    )
    session.add(row)
    await session.flush()
    session.add(
        Conversation(
            station_id=resident.station_id, address_id=row.id, resident_id=resident.id, channel="web", created_at=now
        )
    )
    await session.flush()
    found = await conversations.find(session, resident.station_id, Address("web", address))
    assert found is not None
    return found


def inbound(conversation: Conversation, text: str, **columns: Any) -> StoredMessage:
    """A message of the conversation's resident, as the dispatcher stores it."""
    now = clock.now()
    values: dict[str, Any] = {
        "station_id": conversation.station_id,
        "conversation_id": conversation.id,
        "direction": Direction.IN,
        "author": Author.RESIDENT,
        "channel": conversation.channel,
        "address": f"visitor-{conversation.resident_id}",
        "kind": MessageKind.TEXT,
        "body": text,
        "sent_at": now,
        "created_at": now,
        "state": MessageState.HANDLED,
    }
    return StoredMessage(**{**values, **columns})


async def ask(
    session: AsyncSession,
    conversation: Conversation,
    text: str,
    *,
    topic: str,
    priority: Priority,
    minutes_ago: int = 0,
) -> Ticket:
    """The resident wrote; the bot understood, passed it on and said so."""
    message = inbound(
        conversation, text, decision="officer", topic=topic, candidates=[[topic, 0.91], ["idcard.renew", 0.4]],
        words=["身份证"],
    )  # fmt: skip
    session.add(message)
    await session.flush()
    now = clock.now()
    await conversations.say(session, conversation, Reply("已为您转给民警。"), author=Author.BOT, now=now)
    return await tickets.open_ticket(
        session, conversation, priority=priority, topic=topic, subject=text, message_id=message.id,
        now=now - timedelta(minutes=minutes_ago), timezone="Asia/Shanghai",
    )  # fmt: skip


async def furnished(url: str, furnish: Callable[[AsyncSession, str], Awaitable[_F]]) -> list[_F]:
    """The schema and both stations in an empty database; what `furnish` says of each."""
    encryption.use_keys(DATA_KEY)
    store = Store.open(url)
    try:
        async with store.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with store.write() as session:
            return [await furnish(session, name) for name in NAMES]
    finally:
        await store.close()


def furnished_file(file: Path, furnish: Callable[[AsyncSession, str], Awaitable[_F]]) -> list[_F]:
    """The same as a file to be copied for each test: making it takes longer than most tests."""
    with frozen_clock(), ThreadPoolExecutor(1) as thread:  # whoever asks may have a loop running
        return thread.submit(asyncio.run, furnished(f"sqlite+aiosqlite:///{file}", furnish)).result()

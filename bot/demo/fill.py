"""Fills an empty database with the demo station, from a fixed seed."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import yaml
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import stations
from bot.actions.audiences import Audience
from bot.actions.audit import Actor, record
from bot.actions.broadcasts import broadcast_text, seal_of
from bot.actions.residents import OCCUPATIONS
from bot.actions.tickets import rank
from bot.message import MessageKind
from bot.security.passwords import hash_password
from bot.store.bulk import write_rows
from bot.store.encryption import blind_index
from bot.store.engine import Store
from bot.store.models import (
    Author,
    Broadcast,
    BroadcastState,
    CannedReply,
    Community,
    CommunityOfficer,
    Conversation,
    Delivery,
    DeliveryRoute,
    DeliveryState,
    Direction,
    MessageState,
    Officer,
    Outcome,
    Priority,
    Repeat,
    Resident,
    ResidentAddress,
    Role,
    StoredMessage,
    Ticket,
    TicketState,
)
from knowledge import Knowledge

PASSWORD: Final = "fenglin-demo-110"
RESIDENTS: Final = 2000
_SEED: Final = 20261122
_CHANNEL = "web"
_BOT_DIALOGUES_A_DAY = 18
_DAYS = 7
_DUTY = {day: ["08:30-17:30"] for day in ("mon", "tue", "wed", "thu", "fri")}
_NIGHT = {day: ["00:00-24:00"] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}


_ORDER: Final[tuple[type[Any], ...]] = (  # a row comes after those it points to
    Officer,
    Community,
    CommunityOfficer,
    CannedReply,
    Resident,
    ResidentAddress,
    Conversation,
    Broadcast,
    StoredMessage,
    Ticket,
    Delivery,
)


@dataclass(slots=True)
class _Rows:
    """Rows under construction, with the numbers they will have."""

    tables: dict[type[Any], list[dict[str, Any]]]

    def add(self, table: type[Any], **columns: Any) -> int:
        rows = self.tables.setdefault(table, [])
        number = len(rows) + 1
        rows.append({"id": number, **columns})
        return number


@dataclass(frozen=True, slots=True)
class _World:
    """What every part of the filling needs."""

    rows: _Rows
    chance: random.Random
    made_up: Mapping[str, Any]
    station_id: int
    now: datetime
    zone: ZoneInfo
    knowledge: Knowledge

    def moment(self, days_ago: int, hour: int, minute: int) -> datetime:
        local = (self.now.astimezone(self.zone) - timedelta(days=days_ago)).replace(hour=hour, minute=minute, second=0)
        return min(local.astimezone(self.now.tzinfo), self.now - timedelta(minutes=2))


async def fill(store: Store, knowledge: Knowledge) -> bool:
    """Make the demo station if the database has none; False when it is there already."""
    made_up = yaml.load((Path(__file__).parent / "station.yaml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    async with store.read() as session:
        if await stations.find(session, made_up["name"]) is not None:
            return False
    password_hash = await hash_password(PASSWORD)
    async with store.write() as session:
        station = await stations.ensure(session, made_up["name"], "Asia/Shanghai", made_up["settings"])
        world = _World(
            rows=_Rows({}),
            chance=random.Random(_SEED),
            made_up=made_up,
            station_id=station.id,
            now=clock.now(),
            zone=ZoneInfo(station.timezone),
            knowledge=knowledge,
        )
        _people(world, password_hash)
        _residents(world)
        _warnings(world)
        _quiet_week(world)
        _not_understood(world)
        _matters(world)
        await _write(session, world)
        await record(session, Actor(station.id), "demo.filled", f"station:{station.id}")
    return True


async def _write(session: AsyncSession, world: _World) -> None:
    for table in _ORDER:
        await write_rows(session, table, world.rows.tables[table])


def _people(world: _World, password_hash: str) -> None:
    for username, name, badge, phone, role in world.made_up["officers"]:
        world.rows.add(
            Officer,
            station_id=world.station_id,
            username=username,
            name=name,
            badge=badge,
            phone=phone.replace("-", ""),
            role=Role(role),
            duty=_NIGHT if role == Role.AUXILIARY else _DUTY,
            password_hash=password_hash,
            password_given=False,
            active=True,
            created_at=world.now,
        )
    for name, code, officer in world.made_up["communities"]:
        community = world.rows.add(Community, station_id=world.station_id, name=name, code=code)
        world.rows.tables.setdefault(CommunityOfficer, []).append(
            {"community_id": community, "officer_id": officer + 1, "station_id": world.station_id, "main": True}
        )
    for title, body, topic in world.made_up["canned"]:
        world.rows.add(CannedReply, station_id=world.station_id, title=title, body=body, topic=topic)


def _residents(world: _World) -> None:
    """2,000 people; the older ones in the villages, the foreigners where the market and the schools are."""
    communities = [name for name, _code, _officer in world.made_up["communities"]]
    for n in range(RESIDENTS - len(world.made_up["foreigners"])):
        gender = world.chance.choice(("female", "male"))
        name = world.chance.choice(world.made_up["surnames"]) + world.chance.choice(world.made_up[gender])
        community = world.chance.randrange(len(communities))
        in_village = communities[community].endswith("村")
        age = int(world.chance.triangular(16, 92, 62 if in_village else 38))
        _resident(world, n, name, gender, community + 1, world.now.year - age, _occupation(world, age, in_village))
    for n, (name, gender, community, occupation) in enumerate(world.made_up["foreigners"]):
        born = world.now.year - world.chance.randrange(24, 52)
        _resident(world, 9000 + n, name, gender, communities.index(community) + 1, born, occupation, language="en")


def _occupation(world: _World, age: int, in_village: bool) -> str:
    if age >= 60:
        return world.chance.choice(("退休", "务农", "务农") if in_village else ("退休", "退休", "全职家务"))
    if age <= 22:
        return "学生"
    working = [name for name in OCCUPATIONS if name not in ("退休", "学生", "其他")]
    return world.chance.choice(working)


def _resident(
    world: _World, n: int, name: str, gender: str, community: int, born: int, occupation: str, language: str = "zh"
) -> None:
    phone = f"1990000{n:04d}"
    joined = world.now - timedelta(days=world.chance.randrange(10, 700))
    resident = world.rows.add(
        Resident,
        station_id=world.station_id,
        name=name,
        name_index=blind_index(name, "name"),
        phone=phone,
        phone_index=blind_index(phone, "phone"),
        home=f"{world.chance.randrange(1, 30)}幢{world.chance.randrange(101, 1802)}室",
        gender=gender,
        birth_year=born,
        occupation=occupation,
        language=language,
        community_id=community,
        large_type=born < 1960,
        wants_warnings=world.chance.random() > 0.03,
        created_at=joined,
    )
    if world.chance.random() < 0.06:
        return  # on the list, but never came to talk
    address = world.rows.add(
        ResidentAddress,
        station_id=world.station_id,
        resident_id=resident,
        channel=_CHANNEL,
        address=f"demo-{resident}",
        following=True,
        consented_at=joined,
        last_inbound_at=joined,
        window_left=0,
        created_at=joined,
    )
    world.rows.add(
        Conversation,
        station_id=world.station_id,
        address_id=address,
        resident_id=resident,
        channel=_CHANNEL,
        owner_id=None,
        last_topic=None,
        last_message_at=None,
        created_at=joined,
    )


# --- a week of conversations ----------------------------------------------------------------------------------------


def _conversation(world: _World, *, english: bool = False) -> dict[str, Any]:
    """Somebody's conversation in which nothing has happened yet."""
    people = world.rows.tables[Resident]
    while True:
        row = world.chance.choice(world.rows.tables[Conversation])
        foreign = people[row["resident_id"] - 1]["language"] == "en"
        if row["last_topic"] is None and foreign == english:
            return row


def _quiet_week(world: _World) -> None:
    """Questions the bot answered by itself."""
    asked = [dialogue for dialogue in world.made_up["dialogues"] if dialogue["how"] == "bot"]
    for days_ago in range(_DAYS - 1, -1, -1):
        for _ in range(_BOT_DIALOGUES_A_DAY):
            dialogue = world.chance.choice(asked)
            english = dialogue.get("language") == "en"
            if english and world.chance.random() < 0.8:
                continue
            when = world.moment(days_ago, world.chance.randrange(7, 23), world.chance.randrange(60))
            conversation = _conversation(world, english=english)
            _ask(world, conversation, dialogue["ask"], dialogue["topic"], "answer", when)


def _not_understood(world: _World) -> None:
    """Questions without an answer, for the page where the station teaches the bot."""
    for n, question in enumerate(world.made_up["unknown"]):
        when = world.moment(n % _DAYS, world.chance.randrange(8, 21), world.chance.randrange(60))
        conversation = _conversation(world)
        match = world.knowledge.match(question)
        asked = _message(
            world,
            conversation,
            question,
            when,
            Author.RESIDENT,
            decision="unknown",
            candidates=[[candidate.topic, round(candidate.score, 3)] for candidate in match.candidates[:3]],
            words=list(match.words),
        )
        reply = world.made_up["unknown_reply"]
        _message(world, conversation, reply, when + timedelta(seconds=1), Author.BOT, in_reply_to=asked)


def _ask(world: _World, conversation: dict[str, Any], question: str, topic: str, decision: str, when: datetime) -> int:
    """A resident's question and the bot's answer; returns the question's number."""
    match = world.knowledge.match(question)
    asked = _message(
        world,
        conversation,
        question,
        when,
        Author.RESIDENT,
        decision=decision,
        topic=topic,
        candidates=[[candidate.topic, round(candidate.score, 3)] for candidate in match.candidates[:3]],
        words=list(match.words),
    )
    settings = world.made_up["settings"]
    answer = world.knowledge.answer(topic, language=match.language, settings=settings)
    _message(world, conversation, answer, when + timedelta(seconds=1), Author.BOT, in_reply_to=asked)
    conversation["last_topic"] = topic
    return asked


def _message(
    world: _World,
    conversation: dict[str, Any],
    body: str,
    when: datetime,
    author: Author,
    *,
    officer_id: int | None = None,
    broadcast_id: int | None = None,
    in_reply_to: int | None = None,
    **understood: Any,
) -> int:
    inbound = author is Author.RESIDENT
    number = len(world.rows.tables.get(StoredMessage, ())) + 1
    world.rows.add(
        StoredMessage,
        station_id=world.station_id,
        conversation_id=conversation["id"],
        direction=Direction.IN if inbound else Direction.OUT,
        author=author,
        officer_id=officer_id,
        channel=_CHANNEL,
        address=f"demo-{conversation['resident_id']}",
        platform_id=f"demo-{number}" if inbound else None,
        kind=MessageKind.TEXT,
        body=body,
        sent_at=when,
        created_at=when,
        state=MessageState.HANDLED,
        attempts=0,
        indexed=False,
        forgotten=False,
        in_reply_to=in_reply_to,
        broadcast_id=broadcast_id,
        decision=understood.get("decision"),
        topic=understood.get("topic"),
        candidates=understood.get("candidates"),
        words=understood.get("words"),
    )
    conversation["last_message_at"] = when
    if not inbound and broadcast_id is None:
        _delivered(world, conversation, when, message_id=number)
    return number


def _delivered(world: _World, conversation: dict[str, Any], when: datetime, **of: int) -> None:
    world.rows.add(
        Delivery,
        station_id=world.station_id,
        message_id=of.get("message_id"),
        broadcast_id=of.get("broadcast_id"),
        resident_id=conversation["resident_id"],
        address_id=conversation["address_id"],
        channel=_CHANNEL,
        route=DeliveryRoute.OUTBOX,
        state=DeliveryState.SENT,
        rank=10 if "broadcast_id" in of else 0,
        attempts=1,
        reason=None,
        created_at=when,
        finished_at=when + timedelta(seconds=1),
    )


def _matters(world: _World) -> None:
    """Tickets in every state, each with what was said."""
    matters = [dialogue for dialogue in world.made_up["dialogues"] if dialogue["how"] != "bot"]
    closed = [dialogue for dialogue in matters if dialogue["how"].startswith("closed")]
    plan = [(dialogue, days) for days in range(_DAYS, 0, -1) for dialogue in world.chance.sample(closed, 3)]
    plan += [(dialogue, 0) for dialogue in matters if not dialogue["how"].startswith("closed")]
    for n, (dialogue, days_ago) in enumerate(plan):
        when = world.moment(days_ago, world.chance.randrange(8, 21), world.chance.randrange(60))
        if dialogue["how"] == "open":
            when = world.now - timedelta(minutes=world.chance.randrange(2, 26))
        _matter(world, dialogue, n, when)


def _matter(world: _World, dialogue: Mapping[str, Any], n: int, when: datetime) -> None:
    conversation = _conversation(world)
    community = world.rows.tables[Resident][conversation["resident_id"] - 1]["community_id"]
    officer = world.made_up["communities"][community - 1][2] + 1
    asked = _ask(world, conversation, dialogue["ask"], dialogue["topic"], "officer", when)
    how, _, outcome = dialogue["how"].partition(" ")
    fraud = dialogue["topic"].startswith("fraud.")
    priority = Priority.HIGH if fraud else Priority.NORMAL
    said_at = when + timedelta(minutes=world.chance.randrange(2, 15))
    answered_at = said_at if dialogue.get("talk") else None
    for speaker, words in dialogue.get("talk", ()):
        author = Author.OFFICER if speaker == "officer" else Author.RESIDENT
        _message(
            world,
            conversation,
            words,
            min(said_at, world.now),
            author,
            officer_id=officer if author is Author.OFFICER else None,
            decision=None if author is Author.OFFICER else "held",
        )
        said_at += timedelta(minutes=world.chance.randrange(1, 6))
    if how in ("assigned", "waiting"):
        conversation["owner_id"] = officer
    world.rows.add(
        Ticket,
        station_id=world.station_id,
        number=f"{when.astimezone(world.zone):%Y%m%d}-{n + 1:04d}",
        conversation_id=conversation["id"],
        resident_id=conversation["resident_id"],
        community_id=community,
        priority=priority,
        priority_rank=rank(priority),
        state=TicketState(how),
        topic=dialogue["topic"],
        subject=dialogue["ask"],
        first_message_id=asked,
        assignee_id=None if how == "open" else officer,
        outcome=Outcome(outcome) if outcome else None,
        money_saved_yuan=dialogue.get("saved"),
        opened_at=when,
        assigned_at=None if how == "open" else answered_at,
        answered_at=answered_at,
        closed_at=min(said_at, world.now) if how == "closed" else None,
    )


def _warnings(world: _World) -> None:
    """Warnings that were sent, with a delivery for each recipient."""
    chief = next(n for n, row in enumerate(world.rows.tables[Officer], 1) if row["role"] is Role.CHIEF)
    for made_up in world.made_up["broadcasts"]:
        audience = Audience(**made_up["audience"])
        when = world.moment(made_up["days_ago"], 10, 0)
        broadcast = Broadcast(
            station_id=world.station_id,
            title=made_up["title"],
            body=made_up["body"].strip(),
            template=made_up["template"],
            audience=audience.as_json(),
            repeat=Repeat.ONCE,
            send_at=when,
        )
        number = world.rows.add(
            Broadcast,
            station_id=world.station_id,
            title=broadcast.title,
            body=broadcast.body,
            template=broadcast.template,
            audience=broadcast.audience,
            repeat=broadcast.repeat,
            send_at=when,
            state=BroadcastState.DONE,
            author_id=made_up["author"] + 1,
            approver_id=chief,
            seal=seal_of(broadcast),
            version=1,
            expanded=True,
            expanded_to=RESIDENTS,
            created_at=when - timedelta(hours=2),
            submitted_at=when - timedelta(hours=1),
            approved_at=when - timedelta(minutes=30),
            started_at=when,
            finished_at=when + timedelta(minutes=1),
        )
        _recipients(world, number, broadcast, audience, when)


def _recipients(world: _World, broadcast: int, made_up: Broadcast, audience: Audience, when: datetime) -> None:
    conversations = {row["resident_id"]: row for row in world.rows.tables[Conversation]}
    for resident in world.rows.tables[Resident]:
        age = world.now.year - resident["birth_year"]
        if not (audience.age_from or 0) <= age <= (audience.age_to or 200) or not resident["wants_warnings"]:
            continue
        conversation = conversations.get(resident["id"])
        if conversation is not None:
            text = broadcast_text(made_up)
            latest = conversation["last_message_at"] or when
            message = _message(world, conversation, text, when, Author.STATION, broadcast_id=broadcast)
            conversation["last_message_at"] = max(latest, when)
            _delivered(world, conversation, when, broadcast_id=broadcast, message_id=message)
            continue
        world.rows.add(
            Delivery,
            station_id=world.station_id,
            broadcast_id=broadcast,
            message_id=None,
            resident_id=resident["id"],
            address_id=None,
            channel="",
            route=DeliveryRoute.OUTBOX,
            state=DeliveryState.SKIPPED,
            rank=10,
            attempts=0,
            reason="居民没有可用的联系渠道",
            created_at=when,
            finished_at=when,
        )

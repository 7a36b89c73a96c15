"""A week of conversations of the demo station: what residents asked, and what they were answered."""

from datetime import datetime, timedelta
from typing import Any

from bot.demo.world import CHANNEL, DAYS, World
from bot.message import MessageKind
from bot.store.models import (
    Author,
    Conversation,
    Delivery,
    DeliveryRoute,
    DeliveryState,
    Direction,
    MessageState,
    Resident,
    ResidentAddress,
    StoredMessage,
)
from knowledge import Match

_BOT_DIALOGUES_A_DAY = 18


def a_conversation(world: World, *, english: bool = False) -> dict[str, Any]:
    """Somebody's conversation in which nothing has happened yet."""
    people = world.rows.tables[Resident]
    while True:
        row = world.chance.choice(world.rows.tables[Conversation])
        foreign = people[row["resident_id"] - 1]["language"] == "en"
        if row["last_topic"] is None and foreign == english:
            return row


def add_quiet_week(world: World) -> None:
    """Questions the bot answered by itself."""
    asked = [dialogue for dialogue in world.made_up["dialogues"] if dialogue["how"] == "bot"]
    for days_ago in range(DAYS - 1, -1, -1):
        for _ in range(_BOT_DIALOGUES_A_DAY):
            dialogue = world.chance.choice(asked)
            english = dialogue.get("language") == "en"
            if english and world.chance.random() < 0.8:
                continue
            when = world.moment(days_ago, world.chance.randrange(7, 23), world.chance.randrange(60))
            conversation = a_conversation(world, english=english)
            ask(world, conversation, dialogue["ask"], dialogue["topic"], "answer", when)


def add_not_understood(world: World) -> None:
    """Questions without an answer, for the page where the station teaches the bot."""
    for n, question in enumerate(world.made_up["unknown"]):
        when = world.moment(n % DAYS, world.chance.randrange(8, 21), world.chance.randrange(60))
        conversation = a_conversation(world)
        asked = _question(world, conversation, question, when, world.knowledge.match(question), "unknown", None)
        reply = world.made_up["unknown_reply"]
        say(world, conversation, reply, when + timedelta(seconds=1), Author.BOT, in_reply_to=asked)


def ask(world: World, conversation: dict[str, Any], question: str, topic: str, decision: str, when: datetime) -> int:
    """A resident's question and the bot's answer; returns the question's number."""
    match = world.knowledge.match(question)
    asked = _question(world, conversation, question, when, match, decision, topic)
    settings = world.made_up["settings"]
    answer = world.knowledge.answer(topic, language=match.language, settings=settings)
    say(world, conversation, answer, when + timedelta(seconds=1), Author.BOT, in_reply_to=asked)
    conversation["last_topic"] = topic
    return asked


def _question(
    world: World,
    conversation: dict[str, Any],
    question: str,
    when: datetime,
    match: Match,
    decision: str,
    topic: str | None,
) -> int:
    """What a resident asked, with what the bot made of it."""
    return say(
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


def say(
    world: World,
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
    """Something that was said in a conversation, by anybody; `understood`: what the bot made of it. Its number."""
    inbound = author is Author.RESIDENT
    number = len(world.rows.tables.get(StoredMessage, ())) + 1
    world.rows.add(
        StoredMessage,
        station_id=world.station_id,
        conversation_id=conversation["id"],
        direction=Direction.IN if inbound else Direction.OUT,
        author=author,
        officer_id=officer_id,
        channel=CHANNEL,
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
    conversation["last_message_at"] = max(when, conversation["last_message_at"] or when)
    if inbound:
        address = world.rows.tables[ResidentAddress][conversation["address_id"] - 1]
        address["last_inbound_at"] = max(when, address["last_inbound_at"])
    if not inbound and broadcast_id is None:
        deliver(world, conversation, when, message_id=number)
    return number


def deliver(world: World, conversation: dict[str, Any], when: datetime, **of: int) -> None:
    world.rows.add(
        Delivery,
        station_id=world.station_id,
        message_id=of.get("message_id"),
        broadcast_id=of.get("broadcast_id"),
        resident_id=conversation["resident_id"],
        address_id=conversation["address_id"],
        channel=CHANNEL,
        route=DeliveryRoute.OUTBOX,
        state=DeliveryState.SENT,
        rank=10 if "broadcast_id" in of else 0,
        attempts=1,
        reason=None,
        created_at=when,
        finished_at=when + timedelta(seconds=1),
    )

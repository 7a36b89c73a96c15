"""Messages in the database: stored once, turned back into values, marked with how they were understood."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.message import Choice, Event, EventKind, Location, Message, MessageKind, Reply
from bot.reach import Grant
from bot.store.bulk import insert_if_new
from bot.store.models import Author, Delivery, DeliveryRoute, DeliveryState, Direction, MessageState, StoredMessage
from bot.store.search import text_index

HANDLING_LEASE = timedelta(seconds=30)  # a message not handled by then lost its process; the scheduler takes it up
_RESUME_AT_ONCE = 20

_Key = tuple[str, str, str | None]


@dataclass(frozen=True, slots=True)
class Stored:
    """A message that is in the database; `fresh` if it was not there before."""

    id: int
    state: MessageState
    fresh: bool


def _key(message: Message) -> _Key:
    return message.channel, message.sender, message.platform_id


async def store(session: AsyncSession, station_id: int, messages: Sequence[Message], *, now: datetime) -> list[Stored]:
    """Write messages down in one statement; those that were there before keep their first row."""
    written = await session.execute(
        insert_if_new(session, StoredMessage, returning=("id", "channel", "address", "platform_id")),
        # By sender, so that two processes with the same messages never wait for each other; stable, so that the
        # numbers of one sender's messages follow their order.
        [columns_of(message, station_id, now) for message in sorted(messages, key=lambda m: (m.channel, m.sender))],
    )
    fresh: dict[_Key, int] = {(channel, address, pid): number for number, channel, address, pid in written}
    known = {key: (number, MessageState.RECEIVED) for key, number in fresh.items()}
    known |= await _known(session, station_id, [message for message in messages if _key(message) not in fresh])
    results = []
    for message in messages:
        first = fresh.pop(_key(message), None) is not None  # of two alike in one batch only the first is fresh
        results.append(Stored(*known[_key(message)], fresh=first))
    return results


async def _known(
    session: AsyncSession, station_id: int, messages: Sequence[Message]
) -> dict[_Key, tuple[int, MessageState]]:
    if not messages:
        return {}
    rows = await session.execute(
        select(
            StoredMessage.channel,
            StoredMessage.address,
            StoredMessage.platform_id,
            StoredMessage.id,
            StoredMessage.state,
        ).where(
            StoredMessage.station_id == station_id,
            StoredMessage.channel.in_({message.channel for message in messages}),
            StoredMessage.address.in_({message.sender for message in messages}),
            StoredMessage.platform_id.in_({message.platform_id for message in messages}),
        )
    )
    return {(channel, address, pid): (number, state) for channel, address, pid, number, state in rows}


def columns_of(message: Message, station_id: int, now: datetime) -> dict[str, Any]:
    """The columns of something a resident sent."""
    return {
        "station_id": station_id,
        "direction": Direction.IN,
        "author": Author.RESIDENT,
        "channel": message.channel,
        "address": message.sender,
        "platform_id": message.platform_id,
        "kind": message.kind,
        "body": message.text,
        "details": _details(message),
        "media_id": int(message.media) if message.media.isdecimal() else None,
        "sent_at": message.sent_at,
        "created_at": now,
        "state": MessageState.RECEIVED,
        "attempts": 0,
        "retry_at": now + HANDLING_LEASE,
        "fetches": 0,
        "fetch_at": now
        if message.kind is MessageKind.IMAGE and message.media and not message.media.isdecimal()
        else None,
        "grant_count": message.grant.count if message.grant else None,
        "grant_seconds": int(message.grant.lasting.total_seconds()) if message.grant else None,
        "indexed": False,
        "text_index": text_index(message.text),
        "forgotten": False,
    }


def _details(message: Message) -> dict[str, Any] | None:
    details: dict[str, Any] = {}
    if message.event is not None:
        details["event"] = [message.event.kind.value, message.event.key, message.event.name]
    if message.location is not None:
        details["location"] = [message.location.latitude, message.location.longitude, message.location.label]
    if message.media and not message.media.isdecimal():
        details["media"] = message.media
    if message.url:
        details["url"] = message.url
    if message.extra:
        details["extra"] = dict(message.extra)
    return details or None


def message_of(row: StoredMessage, now: datetime) -> Message:
    """The message a row was made from; of what it granted, what is left of it `now`."""
    details = row.details or {}
    lasting = row.created_at + timedelta(seconds=row.grant_seconds or 0) - now
    event, location = details.get("event"), details.get("location")
    return Message(
        channel=row.channel,
        sender=row.address,
        platform_id=row.platform_id or "",
        kind=row.kind,
        sent_at=row.sent_at,
        text=row.body,
        media=str(row.media_id) if row.media_id else details.get("media", ""),
        url=details.get("url", ""),
        location=Location(*location) if location else None,
        event=Event(EventKind(event[0]), event[1], event[2]) if event else None,
        extra=details.get("extra", {}),
        grant=Grant(row.grant_count, lasting) if row.grant_count and lasting > timedelta(0) else None,
    )


def reply_of(row: StoredMessage) -> Reply:
    """The reply a row of ours was made from."""
    details = row.details or {}
    choices = tuple(Choice(label, send) for label, send in details.get("choices", []))
    return Reply(row.body, choices, row.media_id, details.get("hands_over", False))


async def said_in_response(session: AsyncSession, stored_id: int) -> tuple[Reply, int] | None:
    """The reply that went out in the response to a message and its delivery, for the platform's repetitions."""
    query = (
        select(StoredMessage, Delivery.id)
        .join(Delivery, Delivery.message_id == StoredMessage.id)
        .where(
            StoredMessage.in_reply_to == stored_id,
            Delivery.route == DeliveryRoute.RESPONSE,
            Delivery.state.in_((DeliveryState.SENDING, DeliveryState.SENT)),
        )
        .order_by(StoredMessage.id)
        .limit(1)
    )
    row = (await session.execute(query)).first()
    return None if row is None else (reply_of(row[0]), row[1])


async def mark_handled(session: AsyncSession, message_id: int) -> None:
    """Nothing is to be said to it."""
    await session.execute(
        update(StoredMessage)
        .where(StoredMessage.id == message_id)
        .values(state=MessageState.HANDLED, retry_at=None, decision="event", indexed=True)
    )


async def claim_unhandled(session: AsyncSession, station_id: int, *, now: datetime) -> list[int]:
    """Messages whose handling was due and did not happen, claimed for this process until the lease is over."""
    query = (
        select(StoredMessage.id)
        .where(
            StoredMessage.station_id == station_id,
            StoredMessage.state == MessageState.RECEIVED,
            StoredMessage.retry_at < now,
        )
        .order_by(StoredMessage.id)
        .limit(_RESUME_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    ids = list((await session.execute(query)).scalars())
    if ids:
        await session.execute(
            update(StoredMessage).where(StoredMessage.id.in_(ids)).values(retry_at=now + HANDLING_LEASE)
        )
    return ids


async def answered_last(session: AsyncSession, station_id: int, conversation_id: int) -> StoredMessage | None:
    """The resident's question that the bot answered last, in his own words: of "did you mean", the one before it."""
    query = (
        select(StoredMessage)
        .where(
            StoredMessage.station_id == station_id,
            StoredMessage.conversation_id == conversation_id,
            StoredMessage.direction == Direction.IN,
            StoredMessage.decision.in_(("answer", "officer", "refer", "clarify")),
        )
        .order_by(StoredMessage.id.desc())
        .limit(2)
    )
    rows = list((await session.execute(query)).scalars())
    if rows and rows[0].decision != "clarify" and rows[0].candidates:
        return rows[0]
    chosen = len(rows) > 1 and rows[0].topic is not None and rows[1].decision == "clarify"
    return rows[1] if chosen else None


def mark_helpful(question: StoredMessage, helpful: bool) -> None:
    """What the resident says of the answer; the last word counts."""
    question.helpful = helpful

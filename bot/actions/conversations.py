"""Conversations: who speaks, and what is said into them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from bot.actions.ledger import refusal_of
from bot.message import MessageKind, Reply
from bot.store.live import Change, Kind, announce
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
from bot.store.search import text_index

CHAT_RANK = 0  # chat overtakes warnings in the outbox
RESPONSE_LEASE = timedelta(seconds=20)  # the platform delivers again within 15 s; after that the outbox sends


@dataclass(frozen=True, slots=True)
class Address:
    """Where a resident is met: the key of a conversation."""

    channel: str
    address: str


_LOADED = (  # what a decision about a conversation looks at, in one query
    joinedload(Conversation.resident).joinedload(Resident.community),
    joinedload(Conversation.address),
    joinedload(Conversation.owner),
)
_IS_AT = (
    ResidentAddress.station_id == bindparam("station_id"),
    ResidentAddress.channel.in_(bindparam("channels", expanding=True)),
    ResidentAddress.address.in_(bindparam("addresses", expanding=True)),
)
# Made once: for a few rows, to put a statement together costs more than to run it.
_CONVERSATIONS_AT = select(Conversation).join(Conversation.address).where(*_IS_AT).options(*_LOADED)
_KNOWN_AT = select(ResidentAddress.channel, ResidentAddress.address).where(*_IS_AT)


async def find(session: AsyncSession, station_id: int, where: Address, *, lock: bool = False) -> Conversation | None:
    """The conversation at an address, ready to decide on; `lock` keeps others from changing its owner."""
    query = (
        select(Conversation)
        .join(Conversation.address)
        .where(
            ResidentAddress.station_id == station_id,
            ResidentAddress.channel == where.channel,
            ResidentAddress.address == where.address,
        )
        .options(*_LOADED)
    )
    if lock:
        query = query.with_for_update(of=Conversation)
    return (await session.execute(query)).unique().scalar_one_or_none()


async def find_many(session: AsyncSession, station_id: int, places: Sequence[Address]) -> list[Conversation | None]:
    """The conversations at many addresses, in their order; None where there is none yet."""
    rows = await session.execute(_CONVERSATIONS_AT, _key_of(station_id, places))
    found = {Address(row.channel, row.address.address): row for row in rows.unique().scalars()}
    return [found.get(where) for where in places]


def _key_of(station_id: int, places: Sequence[Address]) -> dict[str, Any]:
    return {
        "station_id": station_id,
        "channels": list({where.channel for where in places}),
        "addresses": list({where.address for where in places}),
    }


def where_met(spoken: Sequence[Conversation], otherwise: int, now: datetime) -> Conversation:
    """Where to speak to a resident: the address he wrote from last, unless nothing arrives there any more.

    `otherwise`: the number of the conversation to take where he has not written at all.
    """
    never = datetime.min.replace(tzinfo=UTC)

    def order(conversation: Conversation) -> tuple[bool, datetime, bool]:
        address = conversation.address
        arrives = address.following and not refusal_of(address.refused_until, address.refused_why, now)
        return arrives, address.last_inbound_at or never, conversation.id == otherwise

    return max(spoken, key=order)


async def ensure(session: AsyncSession, station_id: int, where: Address, *, now: datetime) -> Conversation:
    """The conversation at an address; the first contact makes resident, address and conversation."""
    found = await find(session, station_id, where)
    if found is not None:
        return found
    with suppress(IntegrityError):  # another process met him at this moment: then it is his conversation
        async with session.begin_nested():
            await _make(session, station_id, where, now)
    return await _made(session, station_id, where)


async def ensure_many(
    session: AsyncSession, station_id: int, places: Sequence[Address], *, now: datetime
) -> dict[Address, Conversation]:
    """As `ensure`, for many who write for the first time at one moment, each place once: a few statements for all."""
    known = await session.execute(_KNOWN_AT, _key_of(station_id, places))
    met = {Address(channel, address) for channel, address in known}
    with suppress(IntegrityError):  # another process met one of them at this moment: then one after the other, below
        async with session.begin_nested():
            await _meet(session, station_id, [where for where in places if where not in met], now)
    found = zip(places, await find_many(session, station_id, places), strict=True)
    return {where: row or await ensure(session, station_id, where, now=now) for where, row in found}


async def _meet(session: AsyncSession, station_id: int, strangers: Sequence[Address], now: datetime) -> None:
    residents = [Resident(station_id=station_id, created_at=now) for _ in strangers]
    session.add_all(residents)
    await session.flush()
    addresses = [
        ResidentAddress(
            station_id=station_id, resident_id=resident.id, channel=where.channel, address=where.address, created_at=now
        )
        for resident, where in zip(residents, strangers, strict=True)
    ]
    session.add_all(addresses)
    await session.flush()
    session.add_all(_conversation_at(address, now) for address in addresses)
    await session.flush()


def _conversation_at(address: ResidentAddress, now: datetime, owner_id: int | None = None) -> Conversation:
    return Conversation(
        station_id=address.station_id,
        address_id=address.id,
        resident_id=address.resident_id,
        channel=address.channel,
        owner_id=owner_id,
        created_at=now,
    )


async def _make(session: AsyncSession, station_id: int, where: Address, now: datetime) -> None:
    query = select(ResidentAddress).where(
        ResidentAddress.station_id == station_id,
        ResidentAddress.channel == where.channel,
        ResidentAddress.address == where.address,
    )
    address = (await session.execute(query)).scalar_one_or_none()  # known, though nothing was ever said there
    if address is None:
        await _meet(session, station_id, [where], now)
        return
    # An officer may hold what he says at another address of his.
    session.add(_conversation_at(address, now, await _owner_elsewhere(session, address)))
    await session.flush()


async def _owner_elsewhere(session: AsyncSession, address: ResidentAddress) -> int | None:
    query = select(Conversation.owner_id).where(
        Conversation.station_id == address.station_id,
        Conversation.resident_id == address.resident_id,
        Conversation.owner_id.is_not(None),
    )
    return (await session.execute(query.limit(1))).scalar_one_or_none()


async def _made(session: AsyncSession, station_id: int, where: Address) -> Conversation:
    conversation = await find(session, station_id, where)
    if conversation is None:
        raise LookupError("a conversation just written is not there")
    return conversation


def reply_details(reply: Reply) -> dict[str, Any] | None:
    """The part of a reply that is not its words, as it is kept with the message."""
    details: dict[str, Any] = {}
    if reply.choices:
        details["choices"] = [[choice.label, choice.send] for choice in reply.choices]
    if reply.hands_over:
        details["hands_over"] = True
    return details or None


def outgoing(
    conversation: Conversation,
    reply: Reply,
    *,
    author: Author,
    now: datetime,
    officer_id: int | None = None,
    in_reply_to: int | None = None,
) -> dict[str, Any]:
    """The columns of something said to the resident."""
    return {
        "station_id": conversation.station_id,
        "conversation_id": conversation.id,
        "direction": Direction.OUT,
        "author": author,
        "officer_id": officer_id,
        "channel": conversation.channel,
        "address": conversation.address.address,
        "kind": MessageKind.IMAGE if reply.picture else MessageKind.TEXT,
        "body": reply.text,
        "text_index": text_index(reply.text),
        "media_id": reply.picture,
        "details": reply_details(reply),
        "in_reply_to": in_reply_to,
        "sent_at": now,
        "created_at": now,
        "state": MessageState.HANDLED,
    }


def delivery_of(message_id: int, conversation: Conversation, route: DeliveryRoute, now: datetime) -> dict[str, Any]:
    """The columns of the promise that a message reaches its resident."""
    in_response = route is DeliveryRoute.RESPONSE
    return {
        "station_id": conversation.station_id,
        "message_id": message_id,
        "resident_id": conversation.resident_id,
        "address_id": conversation.address_id,
        "channel": conversation.channel,
        "route": route,
        "state": DeliveryState.SENDING if in_response else DeliveryState.QUEUED,
        "rank": CHAT_RANK,
        "retry_at": now + RESPONSE_LEASE if in_response else now,
        "created_at": now,
    }


async def say(
    session: AsyncSession,
    conversation: Conversation,
    reply: Reply,
    *,
    author: Author,
    now: datetime,
    officer_id: int | None = None,
    in_reply_to: int | None = None,
    route: DeliveryRoute = DeliveryRoute.OUTBOX,
) -> StoredMessage:
    """Put a message to the resident into the log and promise its delivery."""
    columns = outgoing(conversation, reply, author=author, now=now, officer_id=officer_id, in_reply_to=in_reply_to)
    message = StoredMessage(**columns)
    session.add(message)
    await session.flush()
    session.add(Delivery(**delivery_of(message.id, conversation, route, now)))
    conversation.last_message_at = now
    announce(session, Change(conversation.station_id, Kind.CONVERSATION, conversation.id, "said"))
    if route is DeliveryRoute.OUTBOX:
        announce(session, Change(conversation.station_id, Kind.DELIVERIES, 0))
    return message


def set_dialogue(conversation: Conversation, state: Mapping[str, Any] | None) -> None:
    conversation.dialogue = dict(state) if state else None

"""Streams of messages that are fetched from a platform: one reader at a time, each page written with its cursor."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.actions import conversations, ledger, messages, tickets
from bot.actions.contacts import officer_of_userid
from bot.actions.conversations import Address
from bot.message import Happening, Message, NotDelivered, Recalled, SaidElsewhere, SessionMoved
from bot.store.bulk import insert_if_new
from bot.store.live import Change, Kind, announce
from bot.store.models import (
    DELIVERY_ARROWS,
    Author,
    Conversation,
    Delivery,
    DeliveryState,
    Direction,
    MessageState,
    PulledStream,
    ResidentAddress,
    StoredMessage,
)
from bot.wecom import folded

LEASE = timedelta(seconds=30)  # renewed with each page; a reader silent for that long is dead
_WINDOW_OVER, _WINDOW_USED = "fail_4", "fail_6"  # the platform knows better than our ledger


@dataclass(frozen=True, slots=True)
class StreamKey:
    """Which stream: the account (open_kfid) of a channel."""

    station_id: int
    channel: str
    account: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A message of a page that is in the database and to be answered; `served`: somebody in the platform's own client
    spoke with the resident last."""

    stored_id: int
    message: Message
    served: bool


async def series(session: AsyncSession, key: StreamKey, *, answer_age: timedelta, now: datetime) -> str:
    """What our numbers of messages begin with at the platform."""
    return (await _stream(session, key, answer_age, now)).series


async def claim(
    session: AsyncSession, key: StreamKey, *, reader: str, answer_age: timedelta, now: datetime
) -> str | None:
    """The cursor to read from ("" at the very first), claimed for this reader; None while another one reads: he will
    look once more when he is through."""
    stream = await _stream(session, key, answer_age, now)
    is_leased = stream.leased_until is not None and stream.leased_until > now
    if is_leased and stream.reader != reader:
        stream.again = True
        return None
    stream.reader, stream.leased_until, stream.again = reader, now + LEASE, False
    return stream.cursor


async def release(session: AsyncSession, key: StreamKey, *, reader: str, now: datetime) -> bool:
    """The reader has come to the end. True: somebody was woken meanwhile, so he keeps the lease and reads on."""
    stream = await _locked(session, key)
    if stream is None or stream.reader != reader:
        return False
    if stream.again:
        stream.again, stream.leased_until = False, now + LEASE
        return True
    stream.reader = stream.leased_until = None
    return False


async def keep(
    session: AsyncSession, key: StreamKey, happened: Sequence[Happening], *, cursor: str, reader: str, now: datetime
) -> list[Kept] | None:
    """Write a page and the cursor behind it in one transaction: killed before its commit, both are fetched again.

    None: the lease was lost to another reader, nothing is written. Otherwise the messages to answer, in their order.
    """
    stream = await _locked(session, key)
    if stream is None or stream.reader != reader:
        return None
    stream.cursor, stream.leased_until = cursor, now + LEASE
    old = {one.sender for one in happened if isinstance(one, Message) and one.sent_at < stream.answers_from}
    spoken = {one.message.sender for one in happened if isinstance(one, SaidElsewhere)}
    moved = {one.sender for one in happened if isinstance(one, SessionMoved)}
    conversation_of = await _locked_conversations(session, key, old | spoken | moved, now)
    fresh: list[tuple[int, Message]] = []
    for kind, alike in groupby(happened, key=type):  # in the platform's order, neighbours in one statement
        if kind is Message:
            fresh += await _store(session, key, [one for one in alike if isinstance(one, Message)], now)
            continue
        for one in alike:
            match one:
                case SaidElsewhere():
                    await _said_elsewhere(session, conversation_of[one.message.sender], one, now)
                case SessionMoved():
                    _serve(session, conversation_of[one.sender], one.servicer)
                case Recalled():
                    await _recall(session, key, one)
                case NotDelivered():
                    await _not_delivered(session, key, one, now)
                case Message():
                    pass  # above
    for number, message in fresh:
        if message.sent_at < stream.answers_from:
            conversation = conversation_of[message.sender]
            await _put_on_record(session, number, conversation, now)
            if message.is_act:
                await ledger.heard(session, {conversation.address_id: message.grant}, now)
    served = await _served(session, key, {message.sender for _, message in fresh})
    return [
        Kept(number, message, message.sender in served)
        for number, message in fresh
        if message.sent_at >= stream.answers_from
    ]


async def move(session: AsyncSession, key: StreamKey, moved: SessionMoved, *, now: datetime) -> None:
    """Who serves the resident in the platform's own client from now on."""
    conversation_of = await _locked_conversations(session, key, {moved.sender}, now)
    _serve(session, conversation_of[moved.sender], moved.servicer)


# --- one page -------------------------------------------------------------------------------------------------------


async def _locked_conversations(
    session: AsyncSession, key: StreamKey, senders: set[str], now: datetime
) -> dict[str, Conversation]:
    """The conversations with these residents, made where there are none, and locked in the order everybody locks."""
    for sender in sorted(senders):
        await conversations.ensure(session, key.station_id, Address(key.channel, sender), now=now)
    rows = await session.execute(
        select(Conversation, ResidentAddress.address)
        .join(ResidentAddress, ResidentAddress.id == Conversation.address_id)
        .where(
            ResidentAddress.station_id == key.station_id,
            ResidentAddress.channel == key.channel,
            ResidentAddress.address.in_(senders),
        )
        .order_by(Conversation.id)
        .with_for_update(of=Conversation)
        .execution_options(populate_existing=True)
    )
    return {address: conversation for conversation, address in rows}


async def _store(
    session: AsyncSession, key: StreamKey, page: Sequence[Message], now: datetime
) -> list[tuple[int, Message]]:
    """Store messages; those that were not there before."""
    stored = await messages.store(session, key.station_id, page, now=now)
    return [(row.id, message) for row, message in zip(stored, page, strict=True) if row.fresh]


async def _put_on_record(session: AsyncSession, stored_id: int, conversation: Conversation, now: datetime) -> None:
    """Nobody is answered days late because the program was new or had lost its place: officers may read it."""
    await session.execute(
        update(StoredMessage)
        .where(StoredMessage.id == stored_id)
        .values(conversation_id=conversation.id, state=MessageState.HANDLED, retry_at=None, decision="event")
        .execution_options(synchronize_session=False)
    )
    conversation.last_message_at = now
    announce(session, Change(conversation.station_id, Kind.CONVERSATION, conversation.id, "heard"))


async def _said_elsewhere(
    session: AsyncSession, conversation: Conversation, said: SaidElsewhere, now: datetime
) -> None:
    """Into the log as an officer's words, once; who writes there serves the resident."""
    officer = await officer_of_userid(session, conversation.station_id, folded(said.servicer))
    columns = messages.columns_of(said.message, conversation.station_id, now) | {
        "conversation_id": conversation.id,
        "direction": Direction.OUT,
        "author": Author.OFFICER,
        "officer_id": officer.id if officer else None,
        "state": MessageState.HANDLED,
        "retry_at": None,
    }
    written = await session.execute(insert_if_new(session, StoredMessage, returning=("id",)), [columns])
    if written.first() is None:
        return
    conversation.last_message_at = now
    _serve(session, conversation, said.servicer)
    ticket = await tickets.unclosed(session, conversation.id)
    if ticket is not None and ticket.answered_at is None:
        ticket.answered_at = now


def _serve(session: AsyncSession, conversation: Conversation, servicer: str | None) -> None:
    if conversation.served_by != servicer:
        conversation.served_by = servicer
        conversation.dialogue = None  # whoever speaks next does not know where it stood
    announce(session, Change(conversation.station_id, Kind.CONVERSATION, conversation.id, "owner"))


async def _recall(session: AsyncSession, key: StreamKey, recalled: Recalled) -> None:
    """Pages hide it from now on; the words stay in the log."""
    rows = await session.execute(
        update(StoredMessage)
        .where(
            StoredMessage.station_id == key.station_id,
            StoredMessage.channel == key.channel,
            StoredMessage.address == recalled.sender,
            StoredMessage.platform_id == recalled.platform_id,
        )
        .values(recalled=True)
        .execution_options(synchronize_session=False)
        .returning(StoredMessage.conversation_id)
    )
    for conversation_id in rows.scalars():
        if conversation_id is not None:
            announce(session, Change(key.station_id, Kind.CONVERSATION, conversation_id, "recalled"))


async def _not_delivered(session: AsyncSession, key: StreamKey, lost: NotDelivered, now: datetime) -> None:
    """The platform had accepted it, perhaps before we knew, and says now that it did not arrive."""
    delivery = await session.get(Delivery, lost.delivery_id, with_for_update=True)
    if delivery is None or (delivery.station_id, delivery.channel) != (key.station_id, key.channel):
        return
    if DeliveryState.FAILED not in DELIVERY_ARROWS[delivery.state]:
        return
    delivery.state, delivery.code, delivery.reason = DeliveryState.FAILED, lost.code, lost.reason
    delivery.retry_at, delivery.finished_at = None, now
    if lost.code in (_WINDOW_OVER, _WINDOW_USED) and delivery.address_id is not None:
        await ledger.close_window(session, delivery.address_id, used=lost.code == _WINDOW_USED, now=now)
    if delivery.broadcast_id is not None:
        announce(session, Change(key.station_id, Kind.BROADCAST, delivery.broadcast_id, "progress"))
    message = await session.get(StoredMessage, delivery.message_id) if delivery.message_id is not None else None
    if message is not None and message.conversation_id is not None:
        announce(session, Change(key.station_id, Kind.CONVERSATION, message.conversation_id, "delivery"))


async def _served(session: AsyncSession, key: StreamKey, senders: set[str]) -> set[str]:
    if not senders:
        return set()
    rows = await session.execute(
        select(ResidentAddress.address)
        .join(Conversation, Conversation.address_id == ResidentAddress.id)
        .where(
            ResidentAddress.station_id == key.station_id,
            ResidentAddress.channel == key.channel,
            ResidentAddress.address.in_(senders),
            Conversation.served_by.is_not(None),
        )
    )
    return set(rows.scalars())


# --- the row --------------------------------------------------------------------------------------------------------


async def _stream(session: AsyncSession, key: StreamKey, answer_age: timedelta, now: datetime) -> PulledStream:
    stream = await _locked(session, key)
    if stream is not None:
        return stream
    columns = {
        "station_id": key.station_id,
        "channel": key.channel,
        "account": key.account,
        "cursor": "",
        "series": secrets.token_hex(4),
        "answers_from": now - answer_age,
        "again": False,
    }
    await session.execute(insert_if_new(session, PulledStream), [columns])  # or another process just did
    stream = await _locked(session, key)
    if stream is None:
        raise LookupError("a stream just written is not there")
    return stream


async def _locked(session: AsyncSession, key: StreamKey) -> PulledStream | None:
    return await session.get(PulledStream, (key.station_id, key.channel, key.account), with_for_update=True)

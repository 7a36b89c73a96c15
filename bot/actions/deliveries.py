"""Deliveries: claiming what is due, and writing down how each sending ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from bot import clock
from bot.actions import messages
from bot.actions.broadcasts import seal_of
from bot.message import MessageKind, Reply
from bot.store.live import Change, Kind, announce
from bot.store.models import (
    Author,
    Broadcast,
    BroadcastState,
    Conversation,
    Delivery,
    DeliveryRoute,
    DeliveryState,
    Direction,
    MessageState,
    ResidentAddress,
    StoredMessage,
)

LEASE = timedelta(seconds=60)  # longer than any platform call; a sender silent for that long is dead
BACKOFF = (timedelta(seconds=2), timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=10))
UNKNOWN_CODE = "unknown"
UNKNOWN_REASON = "平台没有确认，可能已送达；请向居民核实后再决定是否重发"
INTERRUPTED_REASON = "发送时程序中断，可能已送达；请向居民核实后再决定是否重发"
WAITS_REASON = "微信限制：等居民下次发消息时一并送达"
_STALE_AFTER = timedelta(days=7)  # a reply still waiting for the resident's next message by then is given up


@dataclass(frozen=True, slots=True)
class Parcel:
    """A claimed delivery with all that sending it needs."""

    id: int
    channel: str
    address: str
    reply: Reply
    attempts: int


_Due = tuple[Delivery, StoredMessage | None, Broadcast | None, str]


async def claim(session: AsyncSession, station_id: int, *, most: int, now: datetime) -> list[Parcel]:
    """Take due deliveries for this process: chat before warnings, then the oldest; one per address, in its order.

    A reply that was for the HTTP response and was never confirmed is due here when its lease is over.
    """
    await _end_interrupted(session, station_id, now)
    is_due = (Delivery.retry_at <= now) & (
        (Delivery.state == DeliveryState.QUEUED)
        | ((Delivery.state == DeliveryState.SENDING) & (Delivery.route == DeliveryRoute.RESPONSE))
    )
    query = (
        select(Delivery, StoredMessage, Broadcast, ResidentAddress.address)
        .join(ResidentAddress, ResidentAddress.id == Delivery.address_id)
        .outerjoin(StoredMessage, StoredMessage.id == Delivery.message_id)
        .outerjoin(Broadcast, Broadcast.id == Delivery.broadcast_id)
        .where(
            Delivery.station_id == station_id,
            Delivery.route != DeliveryRoute.TASK,  # an officer's tap sends those
            is_due,
            ~_something_before(now),
        )
        .order_by(Delivery.rank, Delivery.id)
        .limit(most)
        .with_for_update(of=Delivery, skip_locked=True)
    )
    parcels: list[Parcel] = []
    due = cast("Sequence[_Due]", (await session.execute(query)).all())
    for delivery, message, broadcast, address in due:
        if broadcast is not None and (reason := _not_to_be_sent(broadcast, now)):
            _end(delivery, DeliveryState.SKIPPED, reason, now)
            continue
        delivery.state, delivery.route = DeliveryState.SENDING, DeliveryRoute.OUTBOX
        delivery.attempts += 1
        delivery.retry_at = now + LEASE
        reply = Reply(broadcast_text(broadcast)) if broadcast is not None else messages.reply_of(_present(message))
        parcels.append(Parcel(delivery.id, delivery.channel, address, reply, delivery.attempts))
    return parcels


def _present(message: StoredMessage | None) -> StoredMessage:
    if message is None:
        raise LookupError("a delivery of nothing: it has neither a message nor a broadcast")
    return message


def broadcast_text(broadcast: Broadcast) -> str:
    """What the recipients read."""
    return f"【{broadcast.title}】\n{broadcast.body}"


def _not_to_be_sent(broadcast: Broadcast, now: datetime) -> str:
    """Why a warning must not leave any more, looked at for each recipient; "" when it may."""
    if broadcast.state is not BroadcastState.SENDING:
        return "已停止发送"
    if broadcast.expires_at is not None and broadcast.expires_at <= now:
        return "已过失效时间，不再发送"
    return "内容与审批不一致，已停止发送" if broadcast.seal != seal_of(broadcast) else ""


def _something_before(now: datetime) -> ColumnElement[bool]:
    """What was said first arrives first: something else is under way to the address, or due before this one.

    In the query and not after it: a process that skips rows another one has locked would take the second message of a
    resident while the first is being claimed, and a page full of one resident's messages would hide the others'.
    """
    other = aliased(Delivery)
    in_flight = (other.state == DeliveryState.SENDING) & (other.route == DeliveryRoute.OUTBOX)
    due_before = (
        (other.state == DeliveryState.QUEUED)
        & (other.retry_at <= now)
        & ((other.rank < Delivery.rank) | ((other.rank == Delivery.rank) & (other.id < Delivery.id)))
    )
    return exists().where(other.address_id == Delivery.address_id, other.id != Delivery.id, in_flight | due_before)


async def _end_interrupted(session: AsyncSession, station_id: int, now: datetime) -> None:
    """A sender that died in the middle: the platform may have it, so nobody sends it again unasked."""
    await session.execute(
        update(Delivery)
        .where(
            Delivery.station_id == station_id,
            Delivery.state == DeliveryState.SENDING,
            Delivery.route == DeliveryRoute.OUTBOX,
            Delivery.retry_at < now,
        )
        .values(
            state=DeliveryState.FAILED,
            code=UNKNOWN_CODE,
            reason=INTERRUPTED_REASON,
            retry_at=None,
            finished_at=now,
        )
        .execution_options(synchronize_session=False)
    )


def _end(delivery: Delivery, state: DeliveryState, reason: str | None, now: datetime, code: str | None = None) -> None:
    delivery.state, delivery.reason, delivery.code = state, reason, code
    delivery.retry_at, delivery.finished_at = None, now


async def _locked(session: AsyncSession, delivery_id: int) -> Delivery | None:
    delivery = await session.get(Delivery, delivery_id, with_for_update=True)
    return delivery if delivery is not None and delivery.state is DeliveryState.SENDING else None


async def sent(session: AsyncSession, delivery_id: int, platform_id: str) -> None:
    """The platform took it. A warning becomes part of the resident's conversation."""
    delivery = await _locked(session, delivery_id)
    if delivery is None:
        return
    now = clock.now()
    _end(delivery, DeliveryState.SENT, None, now)
    delivery.platform_id = platform_id[:100] or None  # as long as its column
    if delivery.broadcast_id is not None:
        await _log_broadcast(session, delivery, now)
    await _announce(session, delivery)


async def _log_broadcast(session: AsyncSession, delivery: Delivery, now: datetime) -> None:
    broadcast = await session.get_one(Broadcast, delivery.broadcast_id)
    address = await session.get_one(ResidentAddress, delivery.address_id)
    conversation = (
        await session.execute(select(Conversation).where(Conversation.address_id == address.id))
    ).scalar_one_or_none()
    if conversation is None:
        conversation = Conversation(
            station_id=delivery.station_id,
            address_id=address.id,
            resident_id=delivery.resident_id,
            channel=address.channel,
            created_at=now,
        )
        session.add(conversation)
        await session.flush()
    conversation.last_message_at = now
    message = StoredMessage(
        station_id=delivery.station_id,
        conversation_id=conversation.id,
        direction=Direction.OUT,
        author=Author.STATION,
        channel=address.channel,
        address=address.address,
        kind=MessageKind.TEXT,
        body=broadcast_text(broadcast),
        broadcast_id=broadcast.id,
        sent_at=now,
        created_at=now,
        state=MessageState.HANDLED,
    )
    session.add(message)
    await session.flush()
    delivery.message_id = message.id
    announce(session, Change(delivery.station_id, Kind.BROADCAST, broadcast.id, "progress"))


async def failed(session: AsyncSession, delivery_id: int, code: str, reason: str) -> None:
    """It will not arrive; `reason` is what the officer reads."""
    delivery = await _locked(session, delivery_id)
    if delivery is not None:
        _end(delivery, DeliveryState.FAILED, reason[:200], clock.now(), code[:20])
        await _announce(session, delivery)


async def again(session: AsyncSession, delivery_id: int, code: str, reason: str, after: timedelta | None) -> None:
    """Nothing was sent: try later, or give up after the last pause."""
    delivery = await _locked(session, delivery_id)
    if delivery is None:
        return
    if delivery.attempts > len(BACKOFF):
        _end(delivery, DeliveryState.FAILED, f"多次重试仍未成功：{reason}"[:200], clock.now(), code[:20])
    else:
        delivery.state = DeliveryState.QUEUED
        delivery.code, delivery.reason = code[:20], reason[:200]
        delivery.retry_at = clock.now() + (after or BACKOFF[delivery.attempts - 1])
    await _announce(session, delivery)


async def put_off(session: AsyncSession, delivery_id: int, code: str, reason: str, after: timedelta) -> None:
    """The channel cannot send now through no fault of this message: not an attempt."""
    delivery = await _locked(session, delivery_id)
    if delivery is not None:
        delivery.state = DeliveryState.QUEUED
        delivery.attempts -= 1
        delivery.code, delivery.reason = code[:20], reason[:200]
        delivery.retry_at = clock.now() + after


async def hold(session: AsyncSession, delivery_id: int, code: str, reason: str) -> None:
    """Only after the resident's next message; `release_held` lets it go then."""
    delivery = await _locked(session, delivery_id)
    if delivery is None:
        return
    if delivery.broadcast_id is not None or delivery.created_at <= clock.now() - _STALE_AFTER:
        _end(delivery, DeliveryState.FAILED, reason[:200], clock.now(), code[:20])
    else:
        delivery.state = DeliveryState.QUEUED
        delivery.code, delivery.reason = code[:20], WAITS_REASON
        delivery.retry_at = clock.now() + _STALE_AFTER
    await _announce(session, delivery)


async def release_held(session: AsyncSession, address_ids: Sequence[int], *, now: datetime) -> None:
    """The residents wrote: what waited for that may go."""
    released = await session.execute(
        update(Delivery)
        .where(
            Delivery.address_id.in_(address_ids),
            Delivery.state == DeliveryState.QUEUED,
            Delivery.reason == WAITS_REASON,
        )
        .values(retry_at=now)
        .execution_options(synchronize_session=False)
        .returning(Delivery.station_id)
    )
    for station_id in set(released.scalars()):
        announce(session, Change(station_id, Kind.DELIVERIES, 0))


async def resend(session: AsyncSession, failed_delivery: Delivery) -> Delivery:
    """An officer decided that a message goes out again: a new promise beside the failed one."""
    now = clock.now()
    delivery = Delivery(
        station_id=failed_delivery.station_id,
        message_id=failed_delivery.message_id,
        resident_id=failed_delivery.resident_id,
        address_id=failed_delivery.address_id,
        channel=failed_delivery.channel,
        route=DeliveryRoute.OUTBOX,
        state=DeliveryState.QUEUED,
        rank=failed_delivery.rank,
        retry_at=now,
        created_at=now,
    )
    session.add(delivery)
    announce(session, Change(delivery.station_id, Kind.DELIVERIES, 0))
    return delivery


async def _announce(session: AsyncSession, delivery: Delivery) -> None:
    if delivery.broadcast_id is not None:
        announce(session, Change(delivery.station_id, Kind.BROADCAST, delivery.broadcast_id, "progress"))
    if delivery.message_id is not None:
        conversation_id = (
            await session.execute(select(StoredMessage.conversation_id).where(StoredMessage.id == delivery.message_id))
        ).scalar_one()
        if conversation_id is not None:
            announce(session, Change(delivery.station_id, Kind.CONVERSATION, conversation_id, "delivery"))

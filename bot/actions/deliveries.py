"""Deliveries: how each sending ended."""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import ledger
from bot.actions.parcels import Parcel, Taken
from bot.actions.recipients import log_broadcast
from bot.actions.waiting import STALE_AFTER, WAITS_CODE, WAITS_REASON, tell, waits_until
from bot.reach import Rules
from bot.store.live import Change, Kind, announce
from bot.store.models import Base, Broadcast, Delivery, DeliveryRoute, DeliveryState

LEASE = timedelta(seconds=60)  # longer than any platform call; a sender silent for that long is dead
BACKOFF = (timedelta(seconds=2), timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=10))
UNKNOWN_CODE = "unknown"
UNKNOWN_REASON = "平台没有确认，可能已送达；请向居民核实后再决定是否重发"
REPEATED_REASON = "没有收到平台的回执，稍后用同一编号重发，居民不会重复收到"
INTERRUPTED_REASON = "发送时程序中断，可能已送达；请向居民核实后再决定是否重发"


async def sent(session: AsyncSession, taken: Sequence[Taken]) -> None:
    """The platform took them. Warnings become part of the residents' conversations. A few statements for all."""
    now = clock.now()
    taken = [Taken(parcel, one.platform_id) for one in taken for parcel in one.parcel.each]
    still = await _mark_sent(session, taken, now)
    taken = [one for one in taken if one.parcel.id in still]
    await _promise_rest(session, [one.parcel for one in taken if one.parcel.rest_from is not None], now)
    warnings: dict[tuple[int, bool], list[int]] = defaultdict(list)  # by warning, and whether its picture went too
    for one in taken:
        if one.parcel.broadcast_id is not None:
            warnings[one.parcel.broadcast_id, one.parcel.reply.picture is not None].append(one.parcel.id)
    for (number, picture), numbers in sorted(warnings.items()):
        await log_broadcast(session, await session.get_one(Broadcast, number), numbers, now, picture=picture)
    # After the conversations: a resident who writes at this moment has his conversation locked and wants his address.
    await ledger.spent(session, {one.parcel.address_id: one.parcel.cost for one in taken if one.parcel.cost})
    for station_id, broadcast_id, conversation_id in {
        (one.parcel.station_id, one.parcel.broadcast_id, one.parcel.conversation_id) for one in taken
    }:
        announce_change(session, station_id, broadcast_id, conversation_id)


async def _mark_sent(session: AsyncSession, taken: Sequence[Taken], now: datetime) -> set[int]:
    """Which of them were still on their way: the others have been given up as interrupted meanwhile."""
    numbered = [one for one in taken if one.platform_id]
    done = await session.execute(
        update(Delivery)
        .where(Delivery.id.in_([one.parcel.id for one in taken]), Delivery.state == DeliveryState.SENDING)
        .values(state=DeliveryState.SENT, reason=None, code=None, unknown=False, retry_at=None, finished_at=now)
        .execution_options(synchronize_session=False)
        .returning(Delivery.id)
    )
    still = set(done.scalars())
    if numbered:
        table = Base.metadata.tables["deliveries"]
        await session.execute(
            update(table).where(table.c.id == bindparam("of")).values(platform_id=bindparam("number")),
            [{"of": one.parcel.id, "number": one.platform_id[:100]} for one in numbered],  # as long as its column
        )
    return still


async def _promise_rest(session: AsyncSession, parcels: Sequence[Parcel], now: datetime) -> None:
    """The part of a long text the window had no room for waits for the resident's "继续"."""
    for parcel in parcels:
        whole = (await session.execute(select(Delivery).where(Delivery.id == parcel.id))).scalar_one()
        session.add(
            Delivery(
                station_id=parcel.station_id,
                message_id=parcel.message_id,
                resident_id=whole.resident_id,
                address_id=parcel.address_id,
                channel=parcel.channel,
                route=DeliveryRoute.OUTBOX,
                state=DeliveryState.QUEUED,
                rank=whole.rank,
                from_character=parcel.rest_from or 0,
                waits=True,
                code=WAITS_CODE,
                reason=WAITS_REASON,
                retry_at=now + STALE_AFTER,
                created_at=now,
            )
        )


async def _locked(session: AsyncSession, delivery_id: int) -> Delivery | None:
    delivery = await session.get(Delivery, delivery_id, with_for_update=True)
    return delivery if delivery is not None and delivery.state is DeliveryState.SENDING else None


def _end(delivery: Delivery, state: DeliveryState, reason: str | None, now: datetime, code: str | None = None) -> None:
    delivery.state, delivery.reason, delivery.code = state, reason, code
    delivery.retry_at, delivery.finished_at = None, now


async def failed(session: AsyncSession, parcel: Parcel, code: str, reason: str, *, unknown: bool = False) -> None:
    """It will not arrive, or nobody knows (`unknown`: then it has cost what it costs); `reason` is what the officer
    reads."""
    async for one, delivery in _under_way(session, parcel):
        await _fail(session, one, delivery, code, reason, unknown=unknown)


async def _under_way(session: AsyncSession, parcel: Parcel) -> AsyncIterator[tuple[Parcel, Delivery]]:
    """What of a parcel has not been given up as interrupted meanwhile."""
    for one in parcel.each:
        delivery = await _locked(session, one.id)
        if delivery is not None:
            yield one, delivery
            announce_change(session, one.station_id, one.broadcast_id, one.conversation_id)


async def _fail(
    session: AsyncSession, parcel: Parcel, delivery: Delivery, code: str, reason: str, *, unknown: bool
) -> None:
    _end(delivery, DeliveryState.FAILED, reason[:200], clock.now(), code[:20])
    delivery.unknown = delivery.unknown or unknown  # an earlier attempt may have arrived
    if delivery.unknown:
        await ledger.spent(session, {parcel.address_id: parcel.cost})


async def again(session: AsyncSession, parcel: Parcel, code: str, reason: str, *, unknown: bool = False) -> None:
    """Nothing was sent, or it may be repeated (`unknown`: nobody knows): try later, or give up after the last pause."""
    async for one, delivery in _under_way(session, parcel):
        delivery.unknown = delivery.unknown or unknown
        if delivery.attempts > len(BACKOFF):
            why = UNKNOWN_REASON if delivery.unknown else f"多次重试仍未成功：{reason}"
            await _fail(session, one, delivery, code, why, unknown=delivery.unknown)
        else:
            delivery.state = DeliveryState.QUEUED
            delivery.code, delivery.reason = code[:20], reason[:200]
            delivery.retry_at = clock.now() + BACKOFF[delivery.attempts - 1]


async def put_off(session: AsyncSession, parcel: Parcel, code: str, reason: str, after: timedelta) -> None:
    """The channel cannot send now through no fault of this message: not an attempt."""
    async for _, delivery in _under_way(session, parcel):
        delivery.state = DeliveryState.QUEUED
        delivery.attempts -= 1
        delivery.code, delivery.reason = code[:20], reason[:200]
        delivery.retry_at = clock.now() + after


async def hold(session: AsyncSession, parcel: Parcel, code: str, reason: str, *, rules: Rules) -> None:
    """The platform says: only after the resident's next message; `release_held` lets it go then."""
    now, is_told = clock.now(), False
    async for one, delivery in _under_way(session, parcel):
        broadcast = await session.get(Broadcast, one.broadcast_id) if one.broadcast_id is not None else None
        until = waits_until(delivery, broadcast)
        if one.route is DeliveryRoute.NOTICE or until <= now:
            _end(delivery, DeliveryState.FAILED, reason[:200], now, code[:20])
            continue
        delivery.state, delivery.waits, delivery.retry_at = DeliveryState.QUEUED, True, until
        delivery.code, delivery.reason = code[:20], WAITS_REASON
        if rules.notice and broadcast is None and not is_told:  # one notice for all
            is_told = await tell(session, delivery, rules, now)


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
        from_character=failed_delivery.from_character,
        retry_at=now,
        created_at=now,
    )
    session.add(delivery)
    announce(session, Change(delivery.station_id, Kind.DELIVERIES, 0))
    return delivery


async def sweep(session: AsyncSession, station_id: int, now: datetime, *, repeatable: Collection[str] = ()) -> None:
    """What lost its sender. A reply that was for the response and was never confirmed is for the outbox now; what a
    dead process was sending may have arrived, so nobody sends it again unasked, except on the channels `repeatable`,
    where a second time is harmless."""
    lost = [Delivery.station_id == station_id, Delivery.state == DeliveryState.SENDING]
    await session.execute(
        update(Delivery)
        .where(*lost, Delivery.route == DeliveryRoute.RESPONSE, Delivery.retry_at <= now)
        .values(state=DeliveryState.QUEUED, route=DeliveryRoute.OUTBOX)
        .execution_options(synchronize_session=False)
    )
    await session.execute(
        update(Delivery)
        .where(
            *lost,
            Delivery.route == DeliveryRoute.OUTBOX,
            Delivery.retry_at < now,
            Delivery.channel.in_(repeatable),
            Delivery.attempts <= len(BACKOFF),  # what ends the program each time must not do so for ever
        )
        .values(state=DeliveryState.QUEUED, reason=REPEATED_REASON, unknown=True, retry_at=now)
        .execution_options(synchronize_session=False)
    )
    await session.execute(
        update(Delivery)
        .where(
            *lost,
            or_(Delivery.route == DeliveryRoute.OUTBOX, Delivery.route == DeliveryRoute.NOTICE),
            Delivery.retry_at < now,
        )
        .values(
            state=DeliveryState.FAILED,
            code=UNKNOWN_CODE,
            reason=INTERRUPTED_REASON,
            unknown=True,
            retry_at=None,
            finished_at=now,
        )
        .execution_options(synchronize_session=False)
    )


def announce_change(
    session: AsyncSession, station_id: int, broadcast_id: int | None, conversation_id: int | None
) -> None:
    """Pages show how far a delivery got: the warning's, and the conversation's."""
    if broadcast_id is not None:
        announce(session, Change(station_id, Kind.BROADCAST, broadcast_id, "progress"))
    if conversation_id is not None:
        announce(session, Change(station_id, Kind.CONVERSATION, conversation_id, "delivery"))

"""Planning a mass sending: a warning's recipients, bundled into jobs of thousands."""

import secrets
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, and_, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.actions.ledger import china_month, count_mass, had_enough
from bot.reach import Rules
from bot.store.live import Change, Kind, announce
from bot.store.models import Broadcast, Delivery, DeliveryRoute, DeliveryState, MassJob, MassJobState, ResidentAddress

BATCH_MOST = 10_000  # openids in one call


async def plan(session: AsyncSession, broadcast: Broadcast, rules: Mapping[str, Rules], *, now: datetime) -> bool:
    """Bundle the next recipients of a warning into a job; False when none is left to bundle.

    All jobs are about as large, so that none has a single recipient, which the platform refuses. Who alone is left
    gets it one by one, as does who has had as many mass messages this month as the platform lets through.
    """
    channels = [name for name, allowed in sorted(rules.items()) if allowed.mass]
    for channel in channels:
        loose = and_(
            Delivery.broadcast_id == broadcast.id,
            Delivery.state == DeliveryState.QUEUED,
            Delivery.route == DeliveryRoute.MASS,
            Delivery.channel == channel,
            Delivery.mass_job_id.is_(None),
        )
        planned = select(exists().where(MassJob.broadcast_id == broadcast.id, MassJob.channel == channel))
        if not (await session.execute(planned)).scalar_one():
            await _sort_out(session, loose, now)
        count = (await session.execute(select(func.count()).where(loose).select_from(Delivery))).scalar_one()
        if count > 1:
            size = -(-count // -(-count // BATCH_MOST))
            await _bundle(session, broadcast, channel, loose, size, now)
            return True
        if count == 1:
            await one_by_one(session, loose, now)
    return False


async def _sort_out(session: AsyncSession, loose: ColumnElement[bool], now: datetime) -> None:
    """Those who must not stand in a list, as it is now: when the rows were written it was before another warning."""
    address = ResidentAddress
    refused = select(address.id).where(address.refused_until > now)
    why = select(address.refused_why).where(address.id == Delivery.address_id).scalar_subquery()
    await session.execute(
        update(Delivery)
        .where(loose, Delivery.address_id.in_(refused))
        .values(state=DeliveryState.FAILED, reason=why, finished_at=now)
        .execution_options(synchronize_session=False)
    )
    full = select(address.id).where(had_enough(now))
    await one_by_one(session, and_(loose, Delivery.address_id.in_(full)), now)


async def one_by_one(session: AsyncSession, which: ColumnElement[bool], now: datetime) -> int:
    """They go by the outbox, each as a message of its own; how many they are."""
    moved = await session.execute(
        update(Delivery)
        .where(which)
        .values(route=DeliveryRoute.OUTBOX, mass_job_id=None, retry_at=now)
        .execution_options(synchronize_session=False)
        .returning(Delivery.station_id)
    )
    stations = list(moved.scalars())
    for station_id in set(stations):
        announce(session, Change(station_id, Kind.DELIVERIES, 0))
    return len(stations)


async def _bundle(
    session: AsyncSession, broadcast: Broadcast, channel: str, loose: ColumnElement[bool], size: int, now: datetime
) -> None:
    job = MassJob(
        station_id=broadcast.station_id,
        broadcast_id=broadcast.id,
        channel=channel,
        client_id=secrets.token_hex(16),  # 32 bytes, which is what the platform takes
        state=MassJobState.QUEUED,
        size=size,
        month=china_month(now),
        retry_at=now,
        created_at=now,
    )
    session.add(job)
    await session.flush()
    chosen = select(Delivery.id).where(loose).order_by(Delivery.id).limit(size)
    await session.execute(
        update(Delivery)
        .where(Delivery.id.in_(chosen))
        .values(mass_job_id=job.id)
        .execution_options(synchronize_session=False)
    )
    await count_mass(session, job.id, 1, job.month)

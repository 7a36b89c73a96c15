"""What came of a warning: the figures of its result page."""

from dataclasses import dataclass

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.store.models import Delivery, DeliveryRoute, DeliveryState, MassJob


@dataclass(frozen=True, slots=True)
class Progress:
    """Deliveries by state, and why some did not arrive. Of those sent, `submitted` were only given to the platform's
    mass sending, which never says whom it reached; of those queued, `waiting` wait for the resident's next message."""

    states: dict[DeliveryState, int]
    reasons: list[tuple[str, int]]
    submitted: int = 0
    waiting: int = 0

    @property
    def total(self) -> int:
        return sum(self.states.values())

    @property
    def arrived(self) -> int:
        return self.states.get(DeliveryState.SENT, 0) + self.states.get(DeliveryState.DELIVERED, 0) - self.submitted

    @property
    def ended(self) -> int:
        return self.total - self.states.get(DeliveryState.QUEUED, 0) - self.states.get(DeliveryState.SENDING, 0)


async def progress(session: AsyncSession, broadcast_id: int) -> Progress:
    """The figures of the result page."""
    rows = await session.execute(
        select(Delivery.state, Delivery.route, Delivery.waits, Delivery.reason, func.count())
        .where(Delivery.broadcast_id == broadcast_id)
        .group_by(Delivery.state, Delivery.route, Delivery.waits, Delivery.reason)
        .order_by(case((Delivery.state == DeliveryState.FAILED, 0), else_=1), func.count().desc())
    )
    states: dict[DeliveryState, int] = {}
    reasons: list[tuple[str, int]] = []
    submitted = waiting = 0
    for state, route, waits, reason, count in rows:
        states[state] = states.get(state, 0) + count
        submitted += count if (state, route) == (DeliveryState.SENT, DeliveryRoute.MASS) else 0
        waiting += count if state is DeliveryState.QUEUED and waits else 0
        if reason and state in (DeliveryState.FAILED, DeliveryState.SKIPPED):
            reasons.append((reason, count))
    return Progress(states, reasons, submitted, waiting)


@dataclass(frozen=True, slots=True)
class MassSummary:
    """What the platform says of all jobs of a warning. `filtered`: whom it left out, None while nobody knows."""

    jobs: int
    size: int
    submitted: int
    reported: int
    filtered: int | None
    reasons: list[str]

    @property
    def awaited(self) -> bool:
        return self.reported < self.jobs


async def mass_summary(session: AsyncSession, broadcast_id: int) -> MassSummary | None:
    """None when no mass job belongs to the warning."""
    query = select(MassJob).where(MassJob.broadcast_id == broadcast_id).order_by(MassJob.id)
    jobs = list((await session.execute(query)).scalars())
    if not jobs:
        return None
    counted = [job for job in jobs if job.total is not None and job.filtered is not None]
    filtered = sum(max(0, (job.total or 0) - (job.filtered or 0)) for job in counted)
    return MassSummary(
        jobs=len(jobs),
        size=sum(job.size for job in jobs),
        submitted=sum(job.size for job in jobs if job.submitted_at is not None),
        reported=sum(job.finished_at is not None for job in jobs),
        filtered=filtered if counted else None,
        reasons=list(dict.fromkeys(job.reason for job in jobs if job.reason)),
    )

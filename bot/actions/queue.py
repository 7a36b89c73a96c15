"""The queue: the place of a ticket in it, and an honest estimate of when somebody answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.actions.duties import is_on_duty, next_duty
from bot.store.models import Officer, Ticket, TicketState

_ESTIMATE_TICKETS = 50  # how many recent answers the estimate is made from
_ESTIMATE_DAYS = 14


@dataclass(frozen=True, slots=True)
class Wait:
    """What a waiting resident is told: his place (1 is next), minutes if there is a basis for them, who is on duty."""

    place: int
    minutes: int | None
    on_duty: bool
    next_duty: datetime | None


async def waiting(
    session: AsyncSession, ticket: Ticket, officers: Sequence[Officer], *, now: datetime, timezone: str
) -> Wait:
    """The place of an open ticket and an estimate from how long the last answers really took; None without a basis.

    Nor is there one for whoever is further back than officers are on duty: it was not measured on long queues.
    """
    before = (
        await session.execute(
            select(func.count())
            .select_from(Ticket)
            .where(
                Ticket.station_id == ticket.station_id,
                Ticket.state == TicketState.OPEN,
                (Ticket.priority_rank < ticket.priority_rank)
                | ((Ticket.priority_rank == ticket.priority_rank) & (Ticket.id < ticket.id)),
            )
        )
    ).scalar_one()
    zone = ZoneInfo(timezone)
    on_duty = sum(is_on_duty(officer, now, zone) for officer in officers)
    upcoming = [moment for officer in officers if (moment := next_duty(officer, now, zone))]
    return Wait(
        place=before + 1,
        minutes=await _usual_minutes(session, ticket.station_id, now) if before < on_duty else None,
        on_duty=on_duty > 0,
        next_duty=min(upcoming, default=None),
    )


async def _usual_minutes(session: AsyncSession, station_id: int, now: datetime) -> int | None:
    """How long three of four residents waited at most for an officer lately; None with fewer than 5 answers."""
    rows = await session.execute(
        select(Ticket.opened_at, Ticket.answered_at)
        .where(
            Ticket.station_id == station_id,
            Ticket.answered_at.is_not(None),
            Ticket.opened_at > now - timedelta(days=_ESTIMATE_DAYS),
        )
        .order_by(Ticket.id.desc())
        .limit(_ESTIMATE_TICKETS)
    )
    minutes = sorted((answered - opened).total_seconds() / 60 for opened, answered in rows if answered is not None)
    if len(minutes) < 5:
        return None
    return max(1, round(minutes[int(len(minutes) * 0.75)]))

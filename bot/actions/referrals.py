"""Referrals: passing a matter that is not for the police to the department that handles it."""

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from bot.actions.audit import Actor, record
from bot.store.models import Referral, ReferralState, Ticket

ANSWER_WORKING_DAYS = 5
_CALENDAR_DAYS = 7  # five working days; the department's own calendar is its own affair


async def open_referral(session: AsyncSession, ticket: Ticket, department: str, *, now: datetime) -> Referral:
    """Register that the ticket's matter goes to `department`, with a day by which it must answer."""
    referral = Referral(
        station_id=ticket.station_id,
        ticket_id=ticket.id,
        department=department,
        state=ReferralState.OPEN,
        due_at=now + timedelta(days=_CALENDAR_DAYS),
        created_at=now,
    )
    session.add(referral)
    await session.flush()
    await record(
        session,
        Actor(ticket.station_id),
        "referral.opened",
        f"referral:{referral.id}",
        details={"ticket": ticket.id, "department": department},
    )
    return referral

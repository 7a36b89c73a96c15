"""Reminders: tickets nobody took for too long, and calls for help their officer does not react to."""

from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.actions.audit import Actor, record
from bot.actions.tickets import PATIENCE, rank
from bot.store.live import Change, Kind, announce
from bot.store.models import Priority, Ticket, TicketState


async def raise_unanswered(session: AsyncSession, station_id: int, *, now: datetime) -> int:
    """Announce waiting tickets again when their patience is over; a normal one becomes high. The number announced."""
    overdue = or_(
        *(
            (Ticket.priority == priority)
            & (Ticket.opened_at < now - patience)
            & (Ticket.reminded_at.is_(None) | (Ticket.reminded_at < now - patience))
            for priority, patience in PATIENCE.items()
        )
    )
    query = (
        select(Ticket)
        .where(Ticket.station_id == station_id, Ticket.state == TicketState.OPEN, overdue)
        .with_for_update(skip_locked=True)
    )
    tickets = list((await session.execute(query)).scalars())
    for ticket in tickets:
        ticket.reminded_at = now
        if ticket.priority is Priority.NORMAL:
            ticket.priority, ticket.priority_rank = Priority.HIGH, rank(Priority.HIGH)
            await record(session, Actor(station_id), "ticket.raised", f"ticket:{ticket.id}", why="超时未接")
        what = "urgent" if ticket.priority is Priority.URGENT else "unanswered"
        announce(session, Change(station_id, Kind.TICKET, ticket.id, what))
    return len(tickets)


async def ring_again(session: AsyncSession, station_id: int, *, now: datetime) -> int:
    """Calls for help on tickets somebody holds ring for everybody once the holder's time is over. How many rang."""
    too_long_ago = now - PATIENCE[Priority.URGENT]
    query = (
        select(Ticket)
        .where(
            Ticket.station_id == station_id,
            Ticket.state != TicketState.CLOSED,
            Ticket.calling_since <= too_long_ago,
            Ticket.reminded_at.is_(None) | (Ticket.reminded_at <= too_long_ago),
        )
        .with_for_update(skip_locked=True)
    )
    tickets = list((await session.execute(query)).scalars())
    for ticket in tickets:
        ticket.reminded_at = now
        announce(session, Change(station_id, Kind.TICKET, ticket.id, "urgent"))
    return len(tickets)

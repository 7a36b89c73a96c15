"""Who owns what a resident says: the officer who has a ticket of his, else the bot."""

from sqlalchemy import select, true
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import conversations
from bot.store.live import Change, Kind, announce
from bot.store.models import Conversation, Ticket, TicketState
from bot.store.queries import conversations_at


async def set_owner(session: AsyncSession, ticket: Ticket, officer_id: int | None) -> Conversation:
    """Who speaks in all conversations of the ticket's resident; locked, because the bot checks it when it sends.

    Returns the conversation at the address where the resident is met now.
    """
    spoken = await conversations_at(session, ticket.station_id, ticket.resident_id, lock=True)
    if officer_id is None:
        officer_id = await _holder(session, ticket.station_id, ticket.resident_id, but=ticket.id)
    for conversation in spoken:
        conversation.owner_id = officer_id
        conversation.dialogue = None
        announce(session, Change(conversation.station_id, Kind.CONVERSATION, conversation.id, "owner"))
    return conversations.where_met(spoken, ticket.conversation_id, clock.now())


async def _holder(session: AsyncSession, station_id: int, resident_id: int, *, but: int | None = None) -> int | None:
    """The officer who has a ticket of this resident: of several the one who took his first."""
    query = (
        select(Ticket.assignee_id)
        .where(
            Ticket.station_id == station_id,
            Ticket.resident_id == resident_id,
            Ticket.state.in_((TicketState.ASSIGNED, TicketState.WAITING)),
            Ticket.id != but if but is not None else true(),
        )
        .order_by(Ticket.assigned_at, Ticket.id)
        .limit(1)
    )
    return (await session.execute(query)).scalar_one_or_none()


async def settle_owner(session: AsyncSession, station_id: int, resident_id: int) -> None:
    """Addresses came to a resident or left him: whoever has a ticket of his holds all that he says, else the bot."""
    holder = await _holder(session, station_id, resident_id)
    for conversation in await conversations_at(session, station_id, resident_id, lock=True):
        if conversation.owner_id != holder:
            conversation.owner_id, conversation.dialogue = holder, None
            announce(session, Change(station_id, Kind.CONVERSATION, conversation.id, "owner"))

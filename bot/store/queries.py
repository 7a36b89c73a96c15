"""What the console's pages read, one function for each page."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, case, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from bot.store.models import (
    AuditEvent,
    CannedReply,
    Community,
    CommunityOfficer,
    Conversation,
    Delivery,
    DeliveryRoute,
    Direction,
    Note,
    Officer,
    StoredMessage,
    Ticket,
    TicketState,
)

QUEUE_ROWS = 200  # more open tickets than a station can look at
PAGE_ROWS = 50
TIMELINE_MESSAGES = 100
_EARLIER_TICKETS = 10
_HELD = (TicketState.ASSIGNED, TicketState.WAITING)


async def own_communities(session: AsyncSession, officer: Officer) -> list[Community]:
    """The communities an officer answers for."""
    query = (
        select(Community)
        .join(CommunityOfficer, CommunityOfficer.community_id == Community.id)
        .where(CommunityOfficer.officer_id == officer.id, CommunityOfficer.station_id == officer.station_id)
        .order_by(Community.name)
    )
    return list((await session.execute(query)).scalars())


# --- the queue ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class QueueCounts:
    open: int
    mine: int


async def queue_counts(session: AsyncSession, officer: Officer) -> QueueCounts:
    """The figures on the tabs."""
    is_open, is_mine = Ticket.state == TicketState.OPEN, Ticket.assignee_id == officer.id
    query = select(
        func.count().filter(is_open),
        func.count().filter(is_mine, Ticket.state.in_(_HELD)),
    ).where(Ticket.station_id == officer.station_id, Ticket.state.in_((TicketState.OPEN, *_HELD)))
    return QueueCounts(*(await session.execute(query)).one())


def _tickets(officer: Officer) -> Select[Ticket]:
    return (
        select(Ticket)
        .where(Ticket.station_id == officer.station_id)
        .options(joinedload(Ticket.resident), joinedload(Ticket.community), joinedload(Ticket.assignee))
    )


async def open_tickets(session: AsyncSession, officer: Officer) -> list[Ticket]:
    """What nobody has taken yet: urgent first, then the officer's own communities, then by priority and age."""
    own = select(CommunityOfficer.community_id).where(
        CommunityOfficer.officer_id == officer.id, CommunityOfficer.station_id == officer.station_id
    )
    query = (
        _tickets(officer)
        .where(Ticket.state == TicketState.OPEN)
        .order_by(
            case((Ticket.priority_rank == 0, 0), (Ticket.community_id.in_(own), 1), else_=2),
            Ticket.priority_rank,
            Ticket.opened_at,
            Ticket.id,
        )
        .limit(QUEUE_ROWS)
    )
    return list((await session.execute(query)).scalars())


async def calls_for_help(session: AsyncSession, officer: Officer) -> list[Ticket]:
    """What the red banner may show: urgent tickets nobody has taken, and calls on tickets that somebody holds."""
    query = (
        _tickets(officer)
        .where(
            (Ticket.state == TicketState.OPEN) & (Ticket.priority_rank == 0)
            | (Ticket.state != TicketState.CLOSED) & Ticket.calling_since.is_not(None)
        )
        .order_by(func.coalesce(Ticket.calling_since, Ticket.opened_at), Ticket.id)
        .limit(QUEUE_ROWS)
    )
    return list((await session.execute(query)).scalars())


async def assignee_of(session: AsyncSession, station_id: int, ticket_id: int) -> int | None:
    """The officer who has a ticket."""
    query = select(Ticket.assignee_id).where(Ticket.station_id == station_id, Ticket.id == ticket_id)
    return (await session.execute(query)).scalar_one_or_none()


async def own_tickets(session: AsyncSession, officer: Officer) -> list[tuple[Ticket, bool]]:
    """What the officer has taken, and whether the resident spoke last; those who wait for him first."""
    latest = (  # of his conversations at several addresses
        select(Conversation.id)
        .where(Conversation.station_id == Ticket.station_id, Conversation.resident_id == Ticket.resident_id)
        .order_by(Conversation.last_message_at.is_(None), Conversation.last_message_at.desc())
        .limit(1)
        .correlate(Ticket)
        .scalar_subquery()
    )
    resident_spoke = (
        select(StoredMessage.direction == Direction.IN)
        .where(StoredMessage.station_id == Ticket.station_id, StoredMessage.conversation_id == latest)
        .order_by(StoredMessage.id.desc())
        .limit(1)
        .correlate(Ticket)
        .scalar_subquery()
    )
    query = (
        _tickets(officer)
        .add_columns(resident_spoke)
        .where(Ticket.assignee_id == officer.id, Ticket.state.in_(_HELD))
        .order_by(Ticket.priority_rank, Ticket.opened_at)
        .limit(QUEUE_ROWS)
    )
    rows = [(ticket, bool(spoke) or ticket.calling_since is not None) for ticket, spoke in await session.execute(query)]
    return sorted(rows, key=lambda row: not row[1])


async def all_tickets(session: AsyncSession, officer: Officer, page: int) -> tuple[list[Ticket], bool]:
    """One page of all tickets, newest first, and whether there are older ones."""
    query = _tickets(officer).order_by(Ticket.id.desc()).offset((page - 1) * PAGE_ROWS).limit(PAGE_ROWS + 1)
    rows = list((await session.execute(query)).scalars())
    return rows[:PAGE_ROWS], len(rows) > PAGE_ROWS


# --- one ticket -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TicketPage:
    """All that stands on a ticket's page beside the ticket itself."""

    messages: list[StoredMessage]
    older: bool  # there are messages before these
    deliveries: dict[int, Delivery]  # the newest of each message
    notices: dict[int, Delivery]  # that it waits, by the message that waits
    notes: list[Note]
    events: list[AuditEvent]
    officers: dict[int, Officer]  # everybody of the station, for names and for handing over
    earlier: list[Ticket]
    canned: list[CannedReply]
    spoken: list[Conversation]  # at all addresses of the resident, with the address


async def ticket_page(session: AsyncSession, ticket: Ticket, *, before: int | None = None) -> TicketPage:
    """The conversation of a ticket (the messages before number `before`, or the newest) and what belongs to it."""
    spoken = await conversations_at(session, ticket.station_id, ticket.resident_id)
    numbers = [conversation.id for conversation in spoken]
    messages, older = await conversation_messages(session, ticket.station_id, numbers, before=before)
    since = messages[0].created_at if messages and older else None
    until = messages[-1].created_at if messages and before is not None else None
    return TicketPage(
        messages=messages,
        older=older,
        deliveries=await newest_deliveries(session, [message.id for message in messages]),
        notices=await newest_deliveries(session, [message.id for message in messages], notices=True),
        notes=await _notes(session, ticket, since, until),
        events=await _events(session, ticket, since, until),
        officers=await station_officers(session, ticket.station_id),
        earlier=await _earlier_tickets(session, ticket),
        canned=await canned_replies(session, ticket.station_id, topic=ticket.topic),
        spoken=spoken,
    )


async def conversations_at(
    session: AsyncSession, station_id: int, resident_id: int, *, lock: bool = False
) -> list[Conversation]:
    """What a resident says at each of his addresses, with the address; `lock` in the order in which everybody does."""
    query = (
        select(Conversation)
        .where(Conversation.station_id == station_id, Conversation.resident_id == resident_id)
        .options(joinedload(Conversation.address))
        .order_by(Conversation.id)
    )
    if lock:
        query = query.with_for_update(of=Conversation).execution_options(populate_existing=True)
    return list((await session.execute(query)).scalars())


async def conversation_messages(
    session: AsyncSession, station_id: int, conversation_ids: Collection[int], *, before: int | None = None
) -> tuple[list[StoredMessage], bool]:
    """Up to 100 messages of one person's conversations, in their order, and whether there are older ones."""
    query = select(StoredMessage).where(
        StoredMessage.station_id == station_id, StoredMessage.conversation_id.in_(conversation_ids)
    )
    if before is not None:
        query = query.where(StoredMessage.id < before)
    query = query.order_by(StoredMessage.id.desc()).limit(TIMELINE_MESSAGES + 1)
    rows = list((await session.execute(query)).scalars())
    return rows[:TIMELINE_MESSAGES][::-1], len(rows) > TIMELINE_MESSAGES


async def newest_deliveries(
    session: AsyncSession, message_ids: Sequence[int], *, notices: bool = False
) -> dict[int, Delivery]:
    """How far each message got, or the notice that it waits; after a second sending, that one counts."""
    is_notice = Delivery.route == DeliveryRoute.NOTICE
    query = (
        select(Delivery)
        .where(Delivery.message_id.in_(message_ids), is_notice if notices else ~is_notice)
        .order_by(Delivery.id)
    )
    rows = (await session.execute(query)).scalars()
    return {row.message_id: row for row in rows if row.message_id is not None}


async def _notes(session: AsyncSession, ticket: Ticket, since: datetime | None, until: datetime | None) -> list[Note]:
    query = select(Note).where(Note.station_id == ticket.station_id, Note.ticket_id == ticket.id)
    if since is not None:
        query = query.where(Note.created_at >= since)
    if until is not None:
        query = query.where(Note.created_at <= until)
    return list((await session.execute(query.order_by(Note.id))).scalars())


_SHOWN_EVENTS = (
    "ticket.opened",
    "ticket.raised",
    "ticket.attended",
    "ticket.taken",
    "ticket.handed_over",
    "ticket.released",
    "ticket.waiting",
    "ticket.closed",
)


async def _events(
    session: AsyncSession, ticket: Ticket, since: datetime | None, until: datetime | None
) -> list[AuditEvent]:
    query = select(AuditEvent).where(
        AuditEvent.station_id == ticket.station_id,
        AuditEvent.subject == f"ticket:{ticket.id}",
        AuditEvent.action.in_(_SHOWN_EVENTS),
    )
    if since is not None:
        query = query.where(AuditEvent.at >= since)
    if until is not None:
        query = query.where(AuditEvent.at <= until)
    return list((await session.execute(query.order_by(AuditEvent.seq))).scalars())


async def _earlier_tickets(session: AsyncSession, ticket: Ticket) -> list[Ticket]:
    query = (
        select(Ticket)
        .where(
            Ticket.station_id == ticket.station_id,
            Ticket.resident_id == ticket.resident_id,
            Ticket.id != ticket.id,
        )
        .order_by(Ticket.id.desc())
        .limit(_EARLIER_TICKETS)
    )
    return list((await session.execute(query)).scalars())


async def station_officers(session: AsyncSession, station_id: int) -> dict[int, Officer]:
    """Everybody who works or worked here, by number."""
    query = select(Officer).where(Officer.station_id == station_id).order_by(Officer.name)
    return {officer.id: officer for officer in (await session.execute(query)).scalars()}


async def canned_replies(session: AsyncSession, station_id: int, *, topic: str | None = None) -> list[CannedReply]:
    """The station's canned replies, those of `topic` first."""
    query = select(CannedReply).where(CannedReply.station_id == station_id).order_by(CannedReply.id)
    rows = list((await session.execute(query)).scalars())
    return sorted(rows, key=lambda row: (row.topic != topic or topic is None, row.topic is not None))

"""What the pages of warnings, review, audit, residents, officers and communities read, one function for each page."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from bot.store.models import (
    AuditEvent,
    Broadcast,
    BroadcastState,
    Community,
    CommunityOfficer,
    Conversation,
    Delivery,
    DeliveryState,
    Officer,
    Resident,
    ResidentAddress,
    StoredMessage,
    Ticket,
)
from bot.store.queries import conversation_messages, conversations_at, newest_deliveries

PAGE_ROWS = 30
UNFINISHED_ROWS = 200  # more unfinished warnings than a station can have in mind
_CARD_ROWS = 20
_ENDED = (BroadcastState.DONE, BroadcastState.EXPIRED, BroadcastState.CANCELLED)
_ARRIVED = (DeliveryState.SENT, DeliveryState.DELIVERED)

# --- warnings -------------------------------------------------------------------------------------------------------


async def unfinished_broadcasts(session: AsyncSession, station_id: int) -> list[Broadcast]:
    """Everything that still needs somebody or something, newest first."""
    query = (
        select(Broadcast)
        .where(Broadcast.station_id == station_id, Broadcast.state.not_in(_ENDED))
        .options(joinedload(Broadcast.author), joinedload(Broadcast.approver))
        .order_by(Broadcast.id.desc())
        .limit(UNFINISHED_ROWS)
    )
    return list((await session.execute(query)).scalars())


async def ended_broadcasts(session: AsyncSession, station_id: int, page: int) -> tuple[list[Broadcast], bool]:
    """One page of what is over, newest first, and whether there is more."""
    query = (
        select(Broadcast)
        .where(Broadcast.station_id == station_id, Broadcast.state.in_(_ENDED))
        .options(joinedload(Broadcast.author), joinedload(Broadcast.approver))
        .order_by(Broadcast.id.desc())
        .offset((page - 1) * PAGE_ROWS)
        .limit(PAGE_ROWS + 1)
    )
    rows = list((await session.execute(query)).scalars())
    return rows[:PAGE_ROWS], len(rows) > PAGE_ROWS


async def arrivals(session: AsyncSession, broadcast_ids: Collection[int]) -> dict[int, tuple[int, int]]:
    """How many of a warning's deliveries arrived, and of how many, by the warning's number."""
    query = (
        select(Delivery.broadcast_id, func.count().filter(Delivery.state.in_(_ARRIVED)), func.count())
        .where(Delivery.broadcast_id.in_(broadcast_ids))
        .group_by(Delivery.broadcast_id)
    )
    return {number: (arrived, total) for number, arrived, total in await session.execute(query) if number is not None}


async def undelivered(
    session: AsyncSession, station_id: int, broadcast_id: int, page: int
) -> tuple[list[tuple[Delivery, Resident]], bool]:
    """One page of those a warning did not reach, failures first, and whether there is more."""
    query = (
        select(Delivery, Resident)
        .join(Resident, Resident.id == Delivery.resident_id)
        .where(
            Delivery.station_id == station_id,
            Delivery.broadcast_id == broadcast_id,
            Delivery.state.in_((DeliveryState.FAILED, DeliveryState.SKIPPED)),
        )
        .order_by(Delivery.state, Delivery.id)
        .offset((page - 1) * PAGE_ROWS)
        .limit(PAGE_ROWS + 1)
    )
    rows = [(delivery, resident) for delivery, resident in await session.execute(query)]
    return rows[:PAGE_ROWS], len(rows) > PAGE_ROWS


async def weeks_of(session: AsyncSession, station_id: int, broadcast_id: int) -> list[Broadcast]:
    """The weeks in which a weekly warning was sent, newest first."""
    query = (
        select(Broadcast)
        .where(Broadcast.station_id == station_id, Broadcast.parent_id == broadcast_id)
        .order_by(Broadcast.id.desc())
        .limit(PAGE_ROWS)
    )
    return list((await session.execute(query)).scalars())


async def last_sent_back(session: AsyncSession, station_id: int, broadcast_id: int) -> AuditEvent | None:
    """Why a warning was not approved the last time, if that is the last thing that happened to its text."""
    query = (
        select(AuditEvent)
        .where(
            AuditEvent.station_id == station_id,
            AuditEvent.subject == f"broadcast:{broadcast_id}",
            AuditEvent.action.in_(("broadcast.sent_back", "broadcast.edited", "broadcast.submitted")),
        )
        .order_by(AuditEvent.seq.desc())
        .limit(1)
    )
    event = (await session.execute(query)).scalar_one_or_none()
    return event if event is not None and event.action == "broadcast.sent_back" else None


async def stopped_because(session: AsyncSession, station_id: int, broadcast_id: int) -> AuditEvent | None:
    """Who stopped a warning and why."""
    query = (
        select(AuditEvent)
        .where(
            AuditEvent.station_id == station_id,
            AuditEvent.subject == f"broadcast:{broadcast_id}",
            AuditEvent.action == "broadcast.stopped",
        )
        .order_by(AuditEvent.seq.desc())
        .limit(1)
    )
    return (await session.execute(query)).scalar_one_or_none()


# --- review ---------------------------------------------------------------------------------------------------------


async def conversations_of(
    session: AsyncSession, station_id: int, conversation_ids: Collection[int]
) -> dict[int, Conversation]:
    """Conversations with resident and community, by number."""
    query = (
        select(Conversation)
        .where(Conversation.station_id == station_id, Conversation.id.in_(conversation_ids))
        .options(joinedload(Conversation.resident).joinedload(Resident.community))
    )
    return {row.id: row for row in (await session.execute(query)).scalars()}


async def end_of_part(
    session: AsyncSession, station_id: int, conversation_id: int, message_id: int, *, after: int
) -> int | None:
    """The number to read up to, so that `after` messages follow `message_id`; None when the log ends before that."""
    query = (
        select(StoredMessage.id)
        .where(
            StoredMessage.station_id == station_id,
            StoredMessage.conversation_id == conversation_id,
            StoredMessage.id > message_id,
        )
        .order_by(StoredMessage.id)
        .offset(after)
        .limit(1)
    )
    return (await session.execute(query)).scalar_one_or_none()


async def whole_conversation(
    session: AsyncSession, station_id: int, conversation_id: int, *, most: int
) -> list[StoredMessage]:
    """The newest `most` messages of a conversation in the order they were said, for an export."""
    query = (
        select(StoredMessage)
        .where(StoredMessage.station_id == station_id, StoredMessage.conversation_id == conversation_id)
        .order_by(StoredMessage.id.desc())
        .limit(most)
    )
    return list((await session.execute(query)).scalars())[::-1]


async def tickets_of_conversation(session: AsyncSession, station_id: int, conversation_id: int) -> list[Ticket]:
    query = (
        select(Ticket)
        .where(Ticket.station_id == station_id, Ticket.conversation_id == conversation_id)
        .options(joinedload(Ticket.assignee))
        .order_by(Ticket.id.desc())
        .limit(_CARD_ROWS)
    )
    return list((await session.execute(query)).scalars())


# --- audit ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """What of the audit log is asked for; empty fields do not narrow."""

    officer_id: int | None = None
    action: str = ""
    since: datetime | None = None
    until: datetime | None = None
    before_seq: int | None = None


async def audit_events(session: AsyncSession, station_id: int, wanted: AuditFilter) -> tuple[list[AuditEvent], bool]:
    """One page of the audit log, newest first, and whether there is more. Pages go by number: the log only grows."""
    query = select(AuditEvent).where(AuditEvent.station_id == station_id)
    if wanted.officer_id is not None:
        query = query.where(AuditEvent.actor_id == wanted.officer_id)
    if wanted.action:
        query = query.where(AuditEvent.action == wanted.action)
    if wanted.since is not None:
        query = query.where(AuditEvent.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(AuditEvent.at < wanted.until)
    if wanted.before_seq is not None:
        query = query.where(AuditEvent.seq < wanted.before_seq)
    query = query.order_by(AuditEvent.seq.desc()).limit(PAGE_ROWS + 1)
    rows = list((await session.execute(query)).scalars())
    return rows[:PAGE_ROWS], len(rows) > PAGE_ROWS


async def ticket_numbers(session: AsyncSession, station_id: int, ids: Collection[int]) -> dict[int, str]:
    """The numbers that people use, by the tickets' row numbers."""
    query = select(Ticket.id, Ticket.number).where(Ticket.station_id == station_id, Ticket.id.in_(ids))
    return dict((await session.execute(query)).all())


# --- residents ------------------------------------------------------------------------------------------------------


async def residents_by_number(session: AsyncSession, station_id: int, numbers: Collection[int]) -> list[Resident]:
    query = (
        select(Resident)
        .where(Resident.station_id == station_id, Resident.id.in_(numbers))
        .options(joinedload(Resident.community))
        .order_by(Resident.id)
    )
    return list((await session.execute(query)).scalars())


@dataclass(frozen=True, slots=True)
class ResidentCard:
    """All that stands on a resident's page beside himself."""

    addresses: list[ResidentAddress]
    tickets: list[Ticket]
    warnings: list[tuple[Delivery, Broadcast]]
    messages: list[StoredMessage]  # at all of his addresses
    older: bool  # there are messages before these
    deliveries: dict[int, Delivery]  # the newest of each message


async def resident_card(session: AsyncSession, resident: Resident, *, before: int | None = None) -> ResidentCard:
    """`before`: the messages before this number, else the newest."""
    addresses = (
        select(ResidentAddress)
        .where(ResidentAddress.station_id == resident.station_id, ResidentAddress.resident_id == resident.id)
        .order_by(ResidentAddress.id)
    )
    tickets = (
        select(Ticket)
        .where(Ticket.station_id == resident.station_id, Ticket.resident_id == resident.id)
        .options(joinedload(Ticket.assignee))
        .order_by(Ticket.id.desc())
        .limit(_CARD_ROWS)
    )
    warnings = (
        select(Delivery, Broadcast)
        .join(Broadcast, Broadcast.id == Delivery.broadcast_id)
        .where(Delivery.station_id == resident.station_id, Delivery.resident_id == resident.id)
        .order_by(Delivery.id.desc())
        .limit(_CARD_ROWS)
    )
    spoken = await conversations_at(session, resident.station_id, resident.id)
    numbers = [conversation.id for conversation in spoken]
    messages, older = await conversation_messages(session, resident.station_id, numbers, before=before)
    return ResidentCard(
        messages=messages,
        older=older,
        deliveries=await newest_deliveries(session, [message.id for message in messages]),
        addresses=list((await session.execute(addresses)).scalars()),
        tickets=list((await session.execute(tickets)).scalars()),
        warnings=[(delivery, broadcast) for delivery, broadcast in await session.execute(warnings)],
    )


# --- officers and communities ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Beats:
    """Who answers for which community, both ways."""

    by_officer: dict[int, list[Community]]
    by_community: dict[int, list[Officer]]


async def beats(session: AsyncSession, station_id: int) -> Beats:
    query = (
        select(Officer, Community)
        .select_from(CommunityOfficer)
        .join(Officer, Officer.id == CommunityOfficer.officer_id)
        .join(Community, Community.id == CommunityOfficer.community_id)
        .where(CommunityOfficer.station_id == station_id)
        .order_by(Community.id, Officer.id)
    )
    found = Beats({}, {})
    for officer, community in await session.execute(query):
        found.by_officer.setdefault(officer.id, []).append(community)
        if officer.active:
            found.by_community.setdefault(community.id, []).append(officer)
    return found


async def officers_in_order(session: AsyncSession, station_id: int) -> list[Officer]:
    """Everybody of the station, those who can log in first."""
    query = select(Officer).where(Officer.station_id == station_id).order_by(Officer.active.desc(), Officer.id)
    return list((await session.execute(query)).scalars())


async def resident_counts(session: AsyncSession, station_id: int) -> dict[int, int]:
    """How many residents each community has."""
    query = (
        select(Resident.community_id, func.count())
        .where(Resident.station_id == station_id, Resident.erased_at.is_(None), Resident.community_id.is_not(None))
        .group_by(Resident.community_id)
    )
    return {number: count for number, count in await session.execute(query) if number is not None}

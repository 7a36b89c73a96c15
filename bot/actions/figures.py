"""The station's figures: what came in, who answered, what was prevented, in a span of time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from statistics import median

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.message import MessageKind
from bot.store.models import (
    Author,
    Broadcast,
    Community,
    Delivery,
    DeliveryState,
    Direction,
    Officer,
    Outcome,
    Resident,
    StoredMessage,
    Ticket,
)

BY_THE_BOT = ("answer", "clarify", "refer", "chat")  # answered without a person
NOT_UNDERSTOOD = "unknown"
TO_A_PERSON = ("officer", "urgent", "held")
_NOT_A_QUESTION = ("event", "dialogue", "held")  # neither answered nor missed by the bot


@dataclass(frozen=True, slots=True)
class Span:
    """From `since` (included) to `until` (not included)."""

    since: datetime
    until: datetime

    def holds(self, moment: datetime | None) -> bool:
        return moment is not None and self.since <= moment < self.until


@dataclass(frozen=True, slots=True)
class Matters:
    """What became of tickets: all of the station's, an officer's or a community's."""

    opened: int = 0
    closed: int = 0
    urgent: int = 0
    first_answer_minutes: float | None = None  # the median of those opened in the span that were answered
    frauds_stopped: int = 0
    money_saved_yuan: int = 0


@dataclass(frozen=True, slots=True)
class OfficerFigures:
    officer: Officer
    matters: Matters
    replies: int


@dataclass(frozen=True, slots=True)
class CommunityFigures:
    community: Community | None  # None: residents who registered none
    matters: Matters
    residents: int


@dataclass(frozen=True, slots=True)
class Figures:
    """One page of figures. `decisions` counts the residents' messages by what was decided on them."""

    messages_in: int
    decisions: dict[str, int]
    matters: Matters
    warnings: int
    reached: int  # deliveries of those warnings that arrived
    officers: list[OfficerFigures] = field(default_factory=list)
    communities: list[CommunityFigures] = field(default_factory=list)

    @property
    def by_the_bot(self) -> int:
        return sum(self.decisions.get(decision, 0) for decision in BY_THE_BOT)

    @property
    def to_a_person(self) -> int:
        """Questions that went to an officer; what is said in a conversation he holds is not counted again."""
        return sum(self.decisions.get(decision, 0) for decision in TO_A_PERSON if decision not in _NOT_A_QUESTION)

    @property
    def not_understood(self) -> int:
        return self.decisions.get(NOT_UNDERSTOOD, 0)

    @property
    def questions(self) -> int:
        return sum(count for decision, count in self.decisions.items() if decision not in _NOT_A_QUESTION)

    @property
    def share_of_bot(self) -> float | None:
        """Of all questions, how many needed no person; None when nobody asked anything."""
        return self.by_the_bot / self.questions if self.questions else None


async def read(session: AsyncSession, station_id: int, span: Span) -> Figures:
    """All figures of a span."""
    decisions = await _decisions(session, station_id, span)
    tickets = await _tickets(session, station_id, span)
    warnings, reached = await _warnings(session, station_id, span)
    return Figures(
        messages_in=sum(decisions.values()),
        decisions=decisions,
        matters=_matters(tickets, span),
        warnings=warnings,
        reached=reached,
        officers=await _by_officer(session, station_id, span, tickets),
        communities=await _by_community(session, station_id, span, tickets),
    )


def _said_by_residents(station_id: int, span: Span) -> tuple[ColumnElement[bool], ...]:
    return (
        StoredMessage.station_id == station_id,
        StoredMessage.created_at >= span.since,
        StoredMessage.created_at < span.until,
        StoredMessage.direction == Direction.IN,
        StoredMessage.kind != MessageKind.EVENT,
    )


async def _decisions(session: AsyncSession, station_id: int, span: Span) -> dict[str, int]:
    query = (
        select(func.coalesce(StoredMessage.decision, "event"), func.count())
        .where(*_said_by_residents(station_id, span))
        .group_by(func.coalesce(StoredMessage.decision, "event"))
    )
    return dict((await session.execute(query)).all())


@dataclass(frozen=True, slots=True)
class Bar:
    """Residents' messages from `since` on, until the next bar."""

    since: datetime
    by_the_bot: int
    to_a_person: int
    not_understood: int
    other: int

    @property
    def total(self) -> int:
        return self.by_the_bot + self.to_a_person + self.not_understood + self.other


async def bars(session: AsyncSession, station_id: int, edges: Sequence[datetime]) -> list[Bar]:
    """Messages between each edge and the next, counted by the database in one row."""
    groups = (
        StoredMessage.decision.in_(BY_THE_BOT),
        StoredMessage.decision.in_(TO_A_PERSON),
        StoredMessage.decision == NOT_UNDERSTOOD,
    )
    columns = []
    for since, until in pairwise(edges):
        within = and_(StoredMessage.created_at >= since, StoredMessage.created_at < until)
        columns += [func.count().filter(within, group) for group in groups]
        columns.append(func.count().filter(within))
    span = Span(edges[0], edges[-1])
    row = (await session.execute(select(*columns).where(*_said_by_residents(station_id, span)))).one()
    found = []
    for n, since in enumerate(edges[:-1]):
        bot, person, unknown, total = row[n * 4 : n * 4 + 4]
        found.append(Bar(since, bot, person, unknown, total - bot - person - unknown))
    return found


async def _tickets(session: AsyncSession, station_id: int, span: Span) -> list[Ticket]:
    """Tickets that were opened or closed in the span."""
    query = select(Ticket).where(
        Ticket.station_id == station_id,
        or_(
            and_(Ticket.opened_at >= span.since, Ticket.opened_at < span.until),
            and_(Ticket.closed_at >= span.since, Ticket.closed_at < span.until),
        ),
    )
    return list((await session.execute(query)).scalars())


def _matters(tickets: Sequence[Ticket], span: Span) -> Matters:
    opened = [ticket for ticket in tickets if span.holds(ticket.opened_at)]
    closed = [ticket for ticket in tickets if span.holds(ticket.closed_at)]
    waits = [
        (ticket.answered_at - ticket.opened_at).total_seconds() / 60
        for ticket in opened
        if ticket.answered_at is not None
    ]
    stopped = [ticket for ticket in closed if ticket.outcome is Outcome.FRAUD_STOPPED]
    return Matters(
        opened=len(opened),
        closed=len(closed),
        urgent=sum(1 for ticket in opened if ticket.priority_rank == 0),
        first_answer_minutes=median(waits) if waits else None,
        frauds_stopped=len(stopped),
        money_saved_yuan=sum(ticket.money_saved_yuan or 0 for ticket in stopped),
    )


async def _warnings(session: AsyncSession, station_id: int, span: Span) -> tuple[int, int]:
    sent = select(Broadcast.id).where(
        Broadcast.station_id == station_id, Broadcast.started_at >= span.since, Broadcast.started_at < span.until
    )
    numbers = list((await session.execute(sent)).scalars())
    reached = select(func.count()).where(
        Delivery.broadcast_id.in_(numbers), Delivery.state.in_((DeliveryState.SENT, DeliveryState.DELIVERED))
    )
    return len(numbers), (await session.execute(reached)).scalar_one()


async def _by_officer(
    session: AsyncSession, station_id: int, span: Span, tickets: Sequence[Ticket]
) -> list[OfficerFigures]:
    """Those who did something in the span, the busiest first."""
    said = (
        select(StoredMessage.officer_id, func.count())
        .where(
            StoredMessage.station_id == station_id,
            StoredMessage.created_at >= span.since,
            StoredMessage.created_at < span.until,
            StoredMessage.author == Author.OFFICER,
        )
        .group_by(StoredMessage.officer_id)
    )
    replies = dict((await session.execute(said)).all())
    held: dict[int, list[Ticket]] = {}
    for ticket in tickets:
        if ticket.assignee_id is not None:
            held.setdefault(ticket.assignee_id, []).append(ticket)
    query = select(Officer).where(Officer.station_id == station_id, Officer.id.in_({*held, *replies} - {None}))
    rows = [
        OfficerFigures(officer, _matters(held.get(officer.id, ()), span), replies.get(officer.id, 0))
        for officer in (await session.execute(query)).scalars()
    ]
    return sorted(rows, key=lambda row: (-row.matters.closed, -row.replies, row.officer.id))


async def _by_community(
    session: AsyncSession, station_id: int, span: Span, tickets: Sequence[Ticket]
) -> list[CommunityFigures]:
    """Every community, those with most matters first: a quiet one is news too.

    Last come the residents without a community, when there are any or something happened to them.
    """
    people = (
        select(Resident.community_id, func.count())
        .where(Resident.station_id == station_id, Resident.erased_at.is_(None))
        .group_by(Resident.community_id)
    )
    residents = dict((await session.execute(people)).all())
    matters: dict[int | None, list[Ticket]] = {}
    for ticket in tickets:
        matters.setdefault(ticket.community_id, []).append(ticket)
    query = select(Community).where(Community.station_id == station_id).order_by(Community.id)
    rows = [
        CommunityFigures(community, _matters(matters.get(community.id, ()), span), residents.get(community.id, 0))
        for community in (await session.execute(query)).scalars()
    ]
    rows.sort(key=lambda row: -row.matters.opened)  # of equals the older first
    if None in matters or None in residents:
        rows.append(CommunityFigures(None, _matters(matters.get(None, ()), span), residents.get(None, 0)))
    return rows

"""Tickets: the list, one with all that was said, and everything an officer does to it."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import duties, ledger
from bot.actions import tickets as actions
from bot.actions.audit import record, viewed_lately
from bot.actions.conversations import where_met
from bot.api.call import LARGEST_ID, Call
from bot.api.guard import invalid
from bot.api.problems import FieldError
from bot.api.shapes import (
    Answer,
    MaskedContact,
    MaskedResident,
    Nothing,
    Page,
    Paged,
    Person,
    Place,
    Request,
    Text,
)
from bot.api.texts import NO_SUCH_OFFICER
from bot.message import MessageKind, Reply
from bot.reach import When
from bot.store import listings
from bot.store.access import NotFound, access_officer, access_ticket
from bot.store.models import (
    AuditEvent,
    Author,
    Delivery,
    DeliveryState,
    Note,
    Outcome,
    Priority,
    ResidentAddress,
    StoredMessage,
    Ticket,
    TicketState,
)
from bot.store.queries import TicketPage, ticket_page

# --- what comes in --------------------------------------------------------------------------------------------------


class AskedTickets(Paged):
    state: TicketState | None = None
    mine: bool = Field(False, description="只看由我接手的")


class AskedTicket(Request):
    before: int | None = Field(None, ge=1, le=LARGEST_ID, description="只看这条消息之前的对话")


class Said(Request):
    text: Text = Field(min_length=1, max_length=actions.REPLY_CHARACTERS)


class Noted(Request):
    text: Text = Field(min_length=1, max_length=actions.NOTE_CHARACTERS)


class HandedOver(Request):
    to: int = Field(ge=1, le=LARGEST_ID, description="同事的编号，见工单的 colleagues")


class Closed(Request):
    outcome: Outcome
    money_saved_yuan: int | None = Field(
        None, ge=0, le=1_000_000_000, description="挽回金额，只能与 outcome 为 fraud_stopped 时一起填写"
    )
    farewell: Text = Field("", max_length=actions.REPLY_CHARACTERS, description="给居民的结束语")


# --- what goes out --------------------------------------------------------------------------------------------------


class TicketAnswer(Answer):
    id: int
    number: str
    state: TicketState
    priority: Priority
    topic: str | None
    subject: str
    resident: MaskedResident
    community: Place | None
    assignee: Person | None
    outcome: Outcome | None
    money_saved_yuan: int | None
    opened_at: datetime
    assigned_at: datetime | None
    answered_at: datetime | None
    calling_since: datetime | None = Field(description="居民在接手后又发来紧急消息，还没有人回应")
    closed_at: datetime | None


class Tickets(Page):
    tickets: tuple[TicketAnswer, ...]


class Understood(Answer):
    """How the bot understood a message of the resident."""

    decision: str
    topic: str | None
    candidates: tuple[tuple[str, float], ...]


class DeliveryAnswer(Answer):
    """How far a message of ours got, and why not further."""

    state: DeliveryState
    reason: str | None
    waits: bool = Field(description="等居民下次来消息时送达")
    unknown: bool = Field(description="平台没有确认，不知是否送达；重发前请先向居民核实")


class ReachAnswer(Answer):
    """When a reply written now reaches the resident."""

    when: When
    why: str


class MessageAnswer(Answer):
    id: int
    at: datetime
    author: Author
    officer: Person | None
    kind: MessageKind
    text: str
    forgotten: bool = Field(description="内容已按保存期限清除")
    understood: Understood | None
    delivery: DeliveryAnswer | None


class NoteAnswer(Answer):
    id: int
    at: datetime
    officer: Person | None
    text: str


class EventAnswer(Answer):
    at: datetime
    officer: Person | None = Field(description="空表示系统")
    action: str


class WholeTicket(Answer):
    ticket: TicketAnswer
    resident: MaskedContact
    channel: str
    reach: ReachAnswer = Field(description="现在写的回复何时能送达")
    older: bool = Field(description="还有更早的消息，用 before 读取")
    messages: tuple[MessageAnswer, ...]
    notes: tuple[NoteAnswer, ...]
    events: tuple[EventAnswer, ...]
    colleagues: tuple[Person, ...] = Field(description="可以转交给谁")


class SaidAnswer(Answer):
    message_id: int
    ticket: TicketAnswer


class NotedAnswer(Answer):
    note_id: int
    ticket: TicketAnswer


def _ticket(row: Ticket) -> TicketAnswer:
    return TicketAnswer(
        id=row.id,
        number=row.number,
        state=row.state,
        priority=row.priority,
        topic=row.topic,
        subject=row.subject,
        resident=MaskedResident.of(row.resident),
        community=Place.of(row.community),
        assignee=Person.of(row.assignee) if row.assignee else None,
        outcome=row.outcome,
        money_saved_yuan=row.money_saved_yuan,
        opened_at=row.opened_at,
        assigned_at=row.assigned_at,
        answered_at=row.answered_at,
        calling_since=row.calling_since,
        closed_at=row.closed_at,
    )


# --- reading --------------------------------------------------------------------------------------------------------


async def show_all(call: Call, asked: AskedTickets) -> Tickets:
    """Newest first."""
    async with call.store.read() as session:
        rows, more = await listings.tickets(
            session,
            call.station_id,
            state=asked.state,
            assignee_id=call.officer.id if asked.mine else None,
            page=asked.page,
        )
    return Tickets(page=asked.page, more=more, tickets=tuple(_ticket(row) for row in rows))


async def show(call: Call, asked: AskedTicket) -> WholeTicket:
    """The view stands in the audit log before anything is shown."""
    async with call.store.read() as session:
        ticket = await access_ticket(session, call.station_id, call.row_id)
        page = await ticket_page(session, ticket, before=asked.before)
    await _audit_view(call, ticket)
    met = where_met(page.spoken, ticket.conversation_id, clock.now())
    return WholeTicket(
        ticket=_ticket(ticket),
        resident=MaskedContact.of(ticket.resident),
        channel=met.channel,
        reach=_reach(call, met.address),
        older=page.older,
        messages=tuple(_message(row, page) for row in page.messages),
        notes=tuple(_note(row, page) for row in page.notes),
        events=tuple(_event(row, page) for row in page.events),
        colleagues=tuple(
            Person.of(officer)
            for officer in page.officers.values()
            if officer.active and officer.role in duties.ANSWERING_ROLES and officer.id != call.officer.id
        ),
    )


async def _audit_view(call: Call, ticket: Ticket) -> None:
    subject = f"ticket:{ticket.id}"
    async with call.store.read() as session:
        viewed = await viewed_lately(session, call.actor, "ticket.viewed", subject)
    if not viewed:
        async with call.store.write() as session:
            await record(session, call.actor, "ticket.viewed", subject)


def _reach(call: Call, address: ResidentAddress) -> ReachAnswer:
    found = ledger.reach_at(address, call.rules.get(address.channel), clock.now())
    return ReachAnswer(when=found.when, why=found.why)


def _person(page: TicketPage, officer_id: int | None) -> Person | None:
    officer = page.officers.get(officer_id or 0)
    return Person.of(officer) if officer else None


def _message(row: StoredMessage, page: TicketPage) -> MessageAnswer:
    return MessageAnswer(
        id=row.id,
        at=row.created_at,
        author=row.author,
        officer=_person(page, row.officer_id),
        kind=row.kind,
        text="" if row.recalled else row.body,
        forgotten=row.forgotten,
        understood=_understood(row),
        delivery=_delivery(page.deliveries.get(row.id)),
    )


def _understood(row: StoredMessage) -> Understood | None:
    if row.decision is None:
        return None
    candidates = tuple((str(topic), float(score)) for topic, score in row.candidates or ())
    return Understood(decision=row.decision, topic=row.topic, candidates=candidates)


def _delivery(row: Delivery | None) -> DeliveryAnswer | None:
    if row is None:
        return None
    return DeliveryAnswer(state=row.state, reason=row.reason, waits=row.waits, unknown=row.unknown)


def _note(row: Note, page: TicketPage) -> NoteAnswer:
    return NoteAnswer(id=row.id, at=row.created_at, officer=_person(page, row.officer_id), text=row.body)


def _event(row: AuditEvent, page: TicketPage) -> EventAnswer:
    return EventAnswer(at=row.at, officer=_person(page, row.actor_id), action=row.action)


# --- what an officer does -------------------------------------------------------------------------------------------

_T = TypeVar("_T")


async def _do(call: Call, deed: Callable[[AsyncSession, Ticket], Awaitable[_T]]) -> tuple[TicketAnswer, _T]:
    """One change of a ticket in one transaction; the ticket as it is then, and what the change gave."""
    async with call.store.write() as session:
        ticket = await access_ticket(session, call.station_id, call.row_id, lock=True)
        given = await deed(session, ticket)
    async with call.store.read() as session:
        return _ticket(await access_ticket(session, call.station_id, call.row_id)), given


async def take(call: Call, _given: Nothing) -> TicketAnswer:
    ticket, _ = await _do(call, lambda session, ticket: actions.take(session, ticket, call.officer, actor=call.actor))
    return ticket


async def reply(call: Call, given: Said) -> SaidAnswer:
    ticket, message = await _do(
        call,
        lambda session, ticket: actions.reply(session, ticket, call.officer, Reply(given.text), actor=call.actor),
    )
    return SaidAnswer(message_id=message.id, ticket=ticket)


async def note(call: Call, given: Noted) -> NotedAnswer:
    ticket, note = await _do(
        call, lambda session, ticket: actions.note(session, ticket, call.officer, given.text, actor=call.actor)
    )
    return NotedAnswer(note_id=note.id, ticket=ticket)


async def hand_over(call: Call, given: HandedOver) -> TicketAnswer:
    async def deed(session: AsyncSession, ticket: Ticket) -> None:
        try:
            to = await access_officer(session, call.station_id, given.to)
        except NotFound as error:
            raise invalid(FieldError(field="to", detail=NO_SUCH_OFFICER)) from error
        await actions.hand_over(session, ticket, call.officer, to, actor=call.actor)

    ticket, _ = await _do(call, deed)
    return ticket


async def wait(call: Call, _given: Nothing) -> TicketAnswer:
    ticket, _ = await _do(call, lambda session, ticket: actions.wait(session, ticket, call.officer, actor=call.actor))
    return ticket


async def release(call: Call, _given: Nothing) -> TicketAnswer:
    ticket, _ = await _do(
        call, lambda session, ticket: actions.release(session, ticket, call.officer, actor=call.actor)
    )
    return ticket


async def close(call: Call, given: Closed) -> TicketAnswer:
    async def deed(session: AsyncSession, ticket: Ticket) -> None:
        await actions.close(
            session,
            ticket,
            call.officer,
            given.outcome,
            money_saved_yuan=given.money_saved_yuan,
            farewell=given.farewell,
            actor=call.actor,
        )

    ticket, _ = await _do(call, deed)
    return ticket

"""The queue, one ticket's page, and everything an officer does to a ticket."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import duties, ledger, media, parking, residents
from bot.actions import tickets as actions
from bot.actions.audit import record, viewed_lately
from bot.actions.conversations import where_met
from bot.actions.errors import ActionError
from bot.console.learning_texts import FAMILIES
from bot.console.texts import OUTCOMES, PRIORITIES, event_in_words
from bot.console.visit import Visit
from bot.message import Reply
from bot.reach import Reach, When
from bot.security.permissions import Permission
from bot.store.access import access_officer, access_ticket
from bot.store.live import Change, Kind
from bot.store.models import (
    AuditEvent,
    Note,
    Officer,
    Outcome,
    Priority,
    ResidentAddress,
    Role,
    StoredMessage,
    Ticket,
    TicketState,
)
from bot.store.queries import (
    all_tickets,
    calls_for_help,
    conversations_at,
    open_tickets,
    own_communities,
    own_tickets,
    queue_counts,
    ticket_page,
)

CALLING = "处理中的工单又有紧急消息"


# --- the queue ------------------------------------------------------------------------------------------------------


async def queue(visit: Visit) -> web.StreamResponse:
    """Tabs: open (for everybody), mine (taken by me), all (newest first)."""
    tab = visit.asked("tab") if visit.asked("tab") in ("mine", "all") else "open"
    page = max(1, visit.asked_number("page") or 1)
    async with visit.store.read() as session:
        counts = await queue_counts(session, visit.officer)
        ringing = await _ringing(visit, session)
        groups, more = await _groups(session, visit.officer, tab, page)
    held = [(ticket, True) for ticket in ringing if ticket.state is not TicketState.OPEN]
    if held and tab == "open":
        groups = [(CALLING, held), *groups]
    looking = {
        ticket.id: names
        for _, rows in groups
        for ticket, _ in rows
        if (names := visit.console.presence.names(ticket.id, but=visit.officer.id))
    }
    return visit.page(
        "queue.html",
        tab=tab,
        waiting=counts.open + len(held),
        mine=counts.mine,
        hot=bool(ringing),
        groups=groups,
        looking=looking,
        number=page,
        more=more,
    )


_Group = tuple[str, list[tuple[Ticket, bool]]]  # heading, and its tickets with "the resident waits for us"


async def _groups(session: AsyncSession, officer: Officer, tab: str, page: int) -> tuple[list[_Group], bool]:
    if tab == "mine":
        return [("", await own_tickets(session, officer))], False
    if tab == "all":
        found, more = await all_tickets(session, officer, page)
        return [("", [(ticket, False) for ticket in found])], more
    own = {community.id for community in await own_communities(session, officer)}
    groups: dict[str, list[tuple[Ticket, bool]]] = {}
    for ticket in await open_tickets(session, officer):
        if ticket.priority is Priority.URGENT:
            heading = "紧急"
        elif ticket.community_id in own:
            heading = "我的社区"
        else:
            heading = "其他社区" if own else ""
        groups.setdefault(heading, []).append((ticket, False))
    return list(groups.items()), False


async def alarm(visit: Visit) -> web.StreamResponse:
    """The red banner on every page: calls for help that nobody has taken, or that their officer does not react to; for
    who can have it mended, channels that stand still."""
    answers, mends = visit.may(Permission.ANSWER), visit.officer.role in (Role.CHIEF, Role.ADMIN)
    async with visit.store.read() as session:
        return visit.page(
            "alarm.html",
            urgent=await _ringing(visit, session) if answers else [],
            parked=await parking.alarms(session, visit.station_id) if mends else [],
        )


async def _ringing(visit: Visit, session: AsyncSession) -> list[Ticket]:
    """The calls for help that concern this officer now, the oldest first."""
    now, zone = clock.now(), visit.desk.zone
    calls = await calls_for_help(session, visit.officer)
    return [ticket for ticket in calls if actions.rings_for(ticket, visit.officer, now, zone)]


# --- one ticket -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of the timeline: something said, an internal note, or something that happened."""

    at: datetime
    message: StoredMessage | None = None
    note: Note | None = None
    event: str = ""


async def show(visit: Visit) -> web.StreamResponse:
    return await _show(visit, revealed=False)


async def _show(visit: Visit, *, revealed: bool) -> web.StreamResponse:
    async with visit.store.read() as session:
        ticket = await access_ticket(session, visit.station_id, visit.number("id"))
        page = await ticket_page(session, ticket, before=visit.asked_number("before"))
        viewed = await viewed_lately(session, visit.actor, "ticket.viewed", f"ticket:{ticket.id}")
    officer, now = visit.officer, clock.now()
    if not viewed:
        async with visit.store.write() as session:
            await record(session, visit.actor, "ticket.viewed", f"ticket:{ticket.id}")
    if ticket.calling_since is not None and ticket.assignee_id == officer.id and _is_read(visit):
        async with visit.store.write() as session:
            ticket = await access_ticket(session, visit.station_id, ticket.id, lock=True)
            await actions.attend(session, ticket, officer, actor=visit.actor)
    met = where_met(page.spoken, ticket.conversation_id, now)
    closed = ticket.state is TicketState.CLOSED
    return visit.page(
        "ticket.html",
        ticket=ticket,
        page=page,
        met=met,
        lines=timeline(page.messages, page.notes, page.events, page.officers),
        mine=ticket.assignee_id == officer.id and not closed,
        can_take=ticket.assignee_id != officer.id
        and (
            ticket.state in (TicketState.OPEN, TicketState.WAITING)
            or actions.is_everybodys(ticket, ticket.assignee, now, visit.desk.zone)
        ),
        calling=ticket.calling_since is not None,
        colleagues=[
            colleague
            for colleague in page.officers.values()
            if colleague.active and colleague.role in duties.ANSWERING_ROLES and colleague.id != officer.id
        ],
        on_duty={row.id for row in page.officers.values() if duties.is_on_duty(row, now, visit.desk.zone)},
        looking=visit.console.presence.names(ticket.id, but=officer.id),
        reach=_reach(visit, met.address),
        revealed=revealed,
        topics=_topics(visit),
        reply_characters=actions.REPLY_CHARACTERS,
        note_characters=actions.NOTE_CHARACTERS,
    )


def _is_read(visit: Visit) -> bool:
    """A person opened the page; what an open page fetches by itself proves nothing, its officer may be out."""
    return "HX-Request" not in visit.request.headers


def _reach(visit: Visit, address: ResidentAddress) -> Reach:
    """When a reply written now reaches the resident at the address it goes to: said before it is sent."""
    return ledger.reach_at(address, visit.desk.rules.get(address.channel), clock.now())


_REPLIED = {When.NOW: "replied", When.NEXT: "replied_next", When.NEVER: "replied_never"}


def _topics(visit: Visit) -> dict[str, list[tuple[str, str]]]:
    """What a ticket can be about: by the name of the family, (title, topic)."""
    families: dict[str, list[tuple[str, str]]] = {family: [] for family in FAMILIES}
    for topic, entry in visit.desk.runtime.knowledge.entries.items():
        families.setdefault(topic.partition(".")[0], []).append((entry.title, topic))
    return {
        FAMILIES.get(family, family): sorted(titles)
        for family, titles in families.items()
        if titles and family not in ("none", "emergency")
    }


def timeline(
    messages: Sequence[StoredMessage],
    notes: Sequence[Note],
    events: Sequence[AuditEvent],
    officers: dict[int, Officer],
) -> list[Line]:
    """What was said, noted and done, in the order it happened."""
    lines = [_message_line(message) for message in messages]
    lines += [Line(note.created_at, note=note) for note in notes]
    lines += [Line(event.at, event=_event_words(event, officers)) for event in events]
    return sorted(lines, key=lambda line: line.at)


def _message_line(message: StoredMessage) -> Line:
    event = (message.details or {}).get("event")
    if event:
        return Line(message.created_at, event=event_in_words(event))
    return Line(message.created_at, message=message)


def _event_words(event: AuditEvent, officers: dict[int, Officer]) -> str:
    def name(officer_id: int | None) -> str:
        officer = officers.get(officer_id or 0)
        return officer.name if officer else "系统"

    who, details = name(event.actor_id), event.details
    match event.action:
        case "ticket.opened":
            return f"工单 {details.get('number', '')} 进入队列"
        case "ticket.raised":
            priority = details.get("priority")
            return f"升级为{PRIORITIES[Priority(priority)]}" if priority else f"升级为优先：{event.why}"
        case "ticket.attended":
            return f"{who}已看到紧急消息"
        case "ticket.taken":
            return f"{who}接手"
        case "ticket.handed_over":
            return f"{who}转交给{name(details.get('to'))}"
        case "ticket.released":
            return f"{who}退回队列"
        case "ticket.waiting":
            return f"{who}标记为等待补充"
        case _:
            return f"{who}办结：{OUTCOMES[Outcome(details['outcome'])]}"


# --- what an officer does -------------------------------------------------------------------------------------------

_Deed = Callable[[AsyncSession, Ticket, Officer], Awaitable[object]]


async def _do(visit: Visit, deed: _Deed, *, done: str, part: str = "") -> web.StreamResponse:
    """One change of a ticket in one transaction, then its page again."""
    async with visit.store.write() as session:
        ticket = await access_ticket(session, visit.station_id, visit.number("id"), lock=True)
        await deed(session, ticket, visit.officer)
        if done == "replied":
            spoken = await conversations_at(session, ticket.station_id, ticket.resident_id)
            met = where_met(spoken, ticket.conversation_id, clock.now())
            done = _REPLIED[_reach(visit, met.address).when]
    return visit.go(f"/console/tickets/{ticket.id}", done=done, part=part)


async def take(visit: Visit) -> web.StreamResponse:
    async def deed(session: AsyncSession, ticket: Ticket, officer: Officer) -> None:
        await actions.take(session, ticket, officer, actor=visit.actor)

    return await _do(visit, deed, done="taken", part="reply")


async def attend(visit: Visit) -> web.StreamResponse:
    async def deed(session: AsyncSession, ticket: Ticket, officer: Officer) -> None:
        await actions.attend(session, ticket, officer, actor=visit.actor)

    return await _do(visit, deed, done="attended", part="reply")


async def reply(visit: Visit) -> web.StreamResponse:
    """Text, a picture, or both; the picture goes first as a message of its own."""
    text, upload = visit.text("text"), visit.upload("picture")
    picture = await asyncio.to_thread(upload.file.read) if upload is not None else b""

    async def deed(session: AsyncSession, ticket: Ticket, officer: Officer) -> None:
        actions.check_owner(ticket, officer)
        if picture:
            kept = await media.keep(session, visit.station_id, picture, ticket.conversation)
            await actions.reply(session, ticket, officer, Reply("", picture=kept.id), actor=visit.actor)
        if text or not picture:
            await actions.reply(session, ticket, officer, Reply(text), actor=visit.actor)

    return await _do(visit, deed, done="replied", part="reply")


async def announce_typing(visit: Visit) -> web.StreamResponse:
    """The officer is writing: the resident's page shows it for some seconds. Nothing is stored."""
    async with visit.store.read() as session:
        ticket = await access_ticket(session, visit.station_id, visit.number("id"))
    actions.check_owner(ticket, visit.officer)
    visit.store.live.publish([Change(visit.station_id, Kind.CONVERSATION, ticket.conversation_id, "typing")])
    return web.Response(status=204)


async def note(visit: Visit) -> web.StreamResponse:
    body = visit.text("note")

    async def deed(session: AsyncSession, ticket: Ticket, officer: Officer) -> None:
        await actions.note(session, ticket, officer, body, actor=visit.actor)

    return await _do(visit, deed, done="noted", part="reply")


async def hand_over(visit: Visit) -> web.StreamResponse:
    chosen = visit.text("to")
    if not (chosen.isascii() and chosen.isdecimal()) or len(chosen) > 18:
        raise ActionError("请选择要转交给哪位同事。")

    async def deed(session: AsyncSession, ticket: Ticket, officer: Officer) -> None:
        to = await access_officer(session, visit.station_id, int(chosen))
        await actions.hand_over(session, ticket, officer, to, actor=visit.actor)

    return await _do(visit, deed, done="handed")


async def wait(visit: Visit) -> web.StreamResponse:
    async def deed(session: AsyncSession, ticket: Ticket, officer: Officer) -> None:
        await actions.wait(session, ticket, officer, actor=visit.actor)

    return await _do(visit, deed, done="waiting")


async def set_topic(visit: Visit) -> web.StreamResponse:
    topic = visit.text("topic")
    if topic not in visit.desk.runtime.knowledge.entries:
        raise ActionError("没有这个主题，请从列表中选择。")

    async def deed(session: AsyncSession, ticket: Ticket, officer: Officer) -> None:
        await actions.set_topic(session, ticket, officer, topic, actor=visit.actor)

    return await _do(visit, deed, done="topic_set")


async def release(visit: Visit) -> web.StreamResponse:
    async def deed(session: AsyncSession, ticket: Ticket, officer: Officer) -> None:
        await actions.release(session, ticket, officer, actor=visit.actor)

    return await _do(visit, deed, done="released")


async def close(visit: Visit) -> web.StreamResponse:
    if visit.text("outcome") not in {outcome.value for outcome in Outcome}:
        raise ActionError("请选择办理结果。")
    outcome, money, farewell = Outcome(visit.text("outcome")), visit.text("money"), visit.text("farewell")
    if money and not (money.isascii() and money.isdecimal() and len(money) <= 12):
        raise ActionError("挽回金额请填整数（元），没有可留空。")

    async def deed(session: AsyncSession, ticket: Ticket, officer: Officer) -> None:
        saved = int(money) if money else None
        await actions.close(
            session, ticket, officer, outcome, money_saved_yuan=saved, farewell=farewell, actor=visit.actor
        )

    return await _do(visit, deed, done="closed")


async def resend(visit: Visit) -> web.StreamResponse:
    message_id = visit.number("message")

    async def deed(session: AsyncSession, ticket: Ticket, officer: Officer) -> None:
        await actions.resend(session, ticket, officer, message_id, actor=visit.actor)

    return await _do(visit, deed, done="resent", part="reply")


async def reveal(visit: Visit) -> web.StreamResponse:
    """The resident's data in full, for this one page; no redirect, so that reloading hides it again."""
    async with visit.store.write() as session:
        ticket = await access_ticket(session, visit.station_id, visit.number("id"))
        await residents.reveal(session, ticket.resident, why=visit.text("why"), actor=visit.actor)
    return await _show(visit, revealed=True)

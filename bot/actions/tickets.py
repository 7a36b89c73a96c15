"""Tickets: opening, taking, answering, passing on and closing one matter."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import conversations, deliveries
from bot.actions.audit import Actor, lock_chain, record
from bot.actions.duties import ANSWERING_ROLES, is_on_duty
from bot.actions.errors import ActionError, Conflict, NotAllowed
from bot.actions.ownership import set_owner
from bot.message import TEXT_LIMIT_CHARACTERS, Reply
from bot.store.live import Change, Kind, announce
from bot.store.models import (
    PRIORITY_ORDER,
    TICKET_ARROWS,
    Author,
    Conversation,
    Delivery,
    DeliveryRoute,
    DeliveryState,
    Note,
    Officer,
    Outcome,
    Priority,
    Station,
    StoredMessage,
    Ticket,
    TicketState,
)

PATIENCE = {  # how long a ticket may lie, or a call for help go unheard, before it is announced again
    Priority.URGENT: timedelta(minutes=1),
    Priority.HIGH: timedelta(minutes=10),
    Priority.NORMAL: timedelta(minutes=30),
}
REPLY_CHARACTERS = TEXT_LIMIT_CHARACTERS
NOTE_CHARACTERS = 2000
_SUBJECT_CHARACTERS = 60


def rank(priority: Priority) -> int:
    return PRIORITY_ORDER.index(priority)


def _move(ticket: Ticket, state: TicketState) -> None:
    if state not in TICKET_ARROWS[ticket.state]:
        raise Conflict(f"工单 {ticket.number} 的状态已经变了，请刷新后再试。")
    ticket.state = state


def _announce(session: AsyncSession, ticket: Ticket, what: str) -> None:
    announce(session, Change(ticket.station_id, Kind.TICKET, ticket.id, what))


async def unclosed(session: AsyncSession, conversation_id: int) -> Ticket | None:
    """The ticket that is not closed yet of whoever speaks in this conversation; of several, one opened in it.

    A resident has one at most, unless he turned out later to be one person at two addresses.
    """
    query = (
        select(Ticket)
        .join(
            Conversation,
            (Conversation.station_id == Ticket.station_id) & (Conversation.resident_id == Ticket.resident_id),
        )
        .where(Conversation.id == conversation_id, Ticket.state != TicketState.CLOSED)
        .order_by(case((Ticket.conversation_id == conversation_id, 0), else_=1), Ticket.id)
        .limit(1)
    )
    return (await session.execute(query)).scalar_one_or_none()


async def open_ticket(
    session: AsyncSession,
    conversation: Conversation,
    *,
    priority: Priority,
    topic: str | None,
    subject: str,
    message_id: int | None,
    now: datetime,
    timezone: str,
) -> Ticket:
    """Put a matter into the officers' queue, or raise the one that is there already (never lower it)."""
    ticket = await unclosed(session, conversation.id)
    if ticket is not None:
        if rank(priority) < ticket.priority_rank:
            await _raise(session, ticket, priority, topic, subject)
        if priority is Priority.URGENT:
            await _call(session, ticket, now, timezone)
        else:
            _announce(session, ticket, "message")
        return ticket
    ticket = Ticket(
        station_id=conversation.station_id,
        number=await _next_number(session, conversation.station_id, now, timezone),
        conversation_id=conversation.id,
        resident_id=conversation.resident_id,
        community_id=conversation.resident.community_id,
        priority=priority,
        priority_rank=rank(priority),
        state=TicketState.OPEN,
        topic=topic,
        subject=subject[:_SUBJECT_CHARACTERS],
        first_message_id=message_id,
        opened_at=now,
    )
    session.add(ticket)
    await session.flush()
    await record(
        session,
        Actor(ticket.station_id),
        "ticket.opened",
        f"ticket:{ticket.id}",
        details={"number": ticket.number, "priority": priority.value, "topic": topic},
    )
    _announce(session, ticket, "urgent" if priority is Priority.URGENT else "opened")
    return ticket


async def _raise(session: AsyncSession, ticket: Ticket, priority: Priority, topic: str | None, subject: str) -> None:
    ticket.priority, ticket.priority_rank = priority, rank(priority)
    ticket.topic = topic or ticket.topic
    ticket.subject = subject[:_SUBJECT_CHARACTERS] or ticket.subject
    details = {"priority": priority.value}
    await record(session, Actor(ticket.station_id), "ticket.raised", f"ticket:{ticket.id}", details=details)


async def _next_number(session: AsyncSession, station_id: int, now: datetime, timezone: str) -> str:
    """Day and running number, e.g. 20261122-0007; the lock on the audit chain keeps two openings apart."""
    day = f"{now.astimezone(ZoneInfo(timezone)):%Y%m%d}"
    await lock_chain(session, station_id)
    last = (
        await session.execute(
            select(func.max(Ticket.number)).where(Ticket.station_id == station_id, Ticket.number.startswith(day))
        )
    ).scalar_one()
    return f"{day}-{int(last.split('-')[1]) + 1 if last else 1:04d}"


# --- a call for help ------------------------------------------------------------------------------------------------


async def _call(session: AsyncSession, ticket: Ticket, now: datetime, timezone: str) -> None:
    """The resident is in danger now, and his ticket is in the queue or in somebody's hands: the alarm rings again."""
    if ticket.state is TicketState.OPEN:
        _announce(session, ticket, "urgent")
        return
    if ticket.state is TicketState.WAITING:
        _move(ticket, TicketState.ASSIGNED)
    ticket.calling_since, ticket.reminded_at = ticket.calling_since or now, None
    holder = await session.get(Officer, ticket.assignee_id)
    for_all = is_everybodys(ticket, holder, now, ZoneInfo(timezone))
    _announce(session, ticket, "urgent" if for_all else "call")  # a call rings for the officer who has the ticket


def is_everybodys(ticket: Ticket, holder: Officer | None, now: datetime, zone: ZoneInfo) -> bool:
    """Whether the call on a ticket concerns every officer: its holder is off duty, or has not reacted in time."""
    if ticket.calling_since is None:
        return False
    late = ticket.calling_since <= now - PATIENCE[Priority.URGENT]
    return late or holder is None or not is_on_duty(holder, now, zone)


def rings_for(ticket: Ticket, officer: Officer, now: datetime, zone: ZoneInfo) -> bool:
    """Whether an officer sees and hears the alarm of a ticket; its assignee is loaded."""
    if ticket.state is TicketState.OPEN:
        return ticket.priority is Priority.URGENT
    if ticket.calling_since is None:
        return False
    return ticket.assignee_id == officer.id or is_everybodys(ticket, ticket.assignee, now, zone)


async def attend(session: AsyncSession, ticket: Ticket, officer: Officer, *, actor: Actor) -> None:
    """The officer has seen the call for help and deals with it: the alarm falls silent."""
    if officer.role not in ANSWERING_ROLES:
        raise NotAllowed("您的岗位不能接待居民。")
    if ticket.calling_since is not None:
        _silence(ticket)
        await record(session, actor, "ticket.attended", f"ticket:{ticket.id}")
        _announce(session, ticket, "attended")


def _silence(ticket: Ticket) -> None:
    """Somebody reacted: he read it as its holder, answered, noted something, or moved the ticket on."""
    ticket.calling_since = None


async def heard(session: AsyncSession, conversation: Conversation) -> None:
    """The resident wrote while an officer holds the conversation; a ticket that waited for him moves again."""
    ticket = await unclosed(session, conversation.id)
    if ticket is None:
        return
    if ticket.state is TicketState.WAITING:
        _move(ticket, TicketState.ASSIGNED)
    _announce(session, ticket, "message")


async def withdraw(session: AsyncSession, ticket: Ticket, *, actor: Actor) -> None:
    """The resident takes his request back: one that no officer has taken yet, and never a call for help."""
    if ticket.priority is Priority.URGENT:
        raise NotAllowed("紧急求助不能由居民撤回。")
    if ticket.state is not TicketState.OPEN:
        raise Conflict("这条求助已有民警接手。")
    _move(ticket, TicketState.CLOSED)
    ticket.outcome, ticket.closed_at = Outcome.WITHDRAWN, clock.now()
    details = {"outcome": Outcome.WITHDRAWN.value, "money_saved_yuan": None}
    await record(session, actor, "ticket.closed", f"ticket:{ticket.id}", details=details)
    _announce(session, ticket, "closed")


# --- what an officer does -------------------------------------------------------------------------------------------


async def take(session: AsyncSession, ticket: Ticket, officer: Officer, *, actor: Actor) -> None:
    """The officer owns ticket and conversation from now on; the bot falls silent. Taking twice is taking once.

    A colleague's ticket can be taken too while its resident calls for help and that colleague does not react.
    """
    if officer.role not in ANSWERING_ROLES:
        raise NotAllowed("您的岗位不能接待居民。")
    if ticket.state is TicketState.ASSIGNED and ticket.assignee_id == officer.id:
        return
    now = clock.now()
    if ticket.state is not TicketState.ASSIGNED:
        _move(ticket, TicketState.ASSIGNED)
    elif not await _may_be_taken_over(session, ticket, now):
        raise Conflict("这条求助已由同事接手，如需接管请先请对方转交。")
    ticket.assignee_id, ticket.assigned_at = officer.id, now
    _silence(ticket)
    await set_owner(session, ticket, officer.id)
    await record(session, actor, "ticket.taken", f"ticket:{ticket.id}")
    _announce(session, ticket, "taken")


async def _may_be_taken_over(session: AsyncSession, ticket: Ticket, now: datetime) -> bool:
    holder = await session.get(Officer, ticket.assignee_id)
    station = await session.get_one(Station, ticket.station_id)
    return is_everybodys(ticket, holder, now, ZoneInfo(station.timezone))


def check_owner(ticket: Ticket, officer: Officer) -> None:
    """Only the officer who took it may speak, wait or close."""
    if ticket.state is TicketState.CLOSED:
        raise Conflict("这条求助已经办结。")
    if ticket.assignee_id != officer.id:
        raise NotAllowed("请先接手这条求助，再进行操作。")


async def reply(session: AsyncSession, ticket: Ticket, officer: Officer, said: Reply, *, actor: Actor) -> StoredMessage:
    """The officer says something to the resident; it leaves by the outbox."""
    check_owner(ticket, officer)
    if not said.text.strip() and said.picture is None:
        raise ActionError("请先写下要回复的内容。")
    if len(said.text) > REPLY_CHARACTERS:
        raise ActionError(f"一条回复最多 {REPLY_CHARACTERS} 字，现在有 {len(said.text)} 字，请分成几条发送。")
    now = clock.now()
    if ticket.state is TicketState.WAITING:
        _move(ticket, TicketState.ASSIGNED)
    conversation = await set_owner(session, ticket, officer.id)
    message = await conversations.say(
        session, conversation, said, author=Author.OFFICER, now=now, officer_id=officer.id
    )
    ticket.answered_at = ticket.answered_at or now
    _silence(ticket)
    await record(session, actor, "ticket.replied", f"ticket:{ticket.id}", details={"message": message.id})
    _announce(session, ticket, "replied")
    return message


async def resend(session: AsyncSession, ticket: Ticket, officer: Officer, message_id: int, *, actor: Actor) -> None:
    """Send a reply of this ticket again that failed for good; once for each failure."""
    check_owner(ticket, officer)
    query = (
        select(Delivery)
        .join(StoredMessage, StoredMessage.id == Delivery.message_id)
        .where(
            Delivery.message_id == message_id,
            Delivery.route != DeliveryRoute.NOTICE,
            StoredMessage.conversation_id.in_(
                select(Conversation.id).where(
                    Conversation.station_id == ticket.station_id, Conversation.resident_id == ticket.resident_id
                )
            ),
        )
        .order_by(Delivery.id.desc())
        .limit(1)
        .with_for_update(of=Delivery)
    )
    newest = (await session.execute(query)).scalar_one_or_none()
    if newest is None or newest.state is not DeliveryState.FAILED:
        raise Conflict("这条消息现在不需要重发，请刷新后查看。")
    await deliveries.resend(session, newest)
    await record(session, actor, "ticket.resent", f"ticket:{ticket.id}", details={"message": message_id})
    _announce(session, ticket, "replied")


async def set_topic(session: AsyncSession, ticket: Ticket, officer: Officer, topic: str, *, actor: Actor) -> None:
    """What the matter is really about; the bot learns it for the question that opened the ticket."""
    if officer.role not in ANSWERING_ROLES:
        raise NotAllowed("您的岗位不能修改工单。")
    if topic == ticket.topic:
        return
    before, ticket.topic = ticket.topic, topic
    if ticket.first_message_id is not None:
        question = await session.get(StoredMessage, ticket.first_message_id)
        if question is not None:
            question.right_topic = None if topic == question.topic else topic
    await record(session, actor, "ticket.topic", f"ticket:{ticket.id}", details={"from": before, "to": topic})
    _announce(session, ticket, "topic")


async def note(session: AsyncSession, ticket: Ticket, officer: Officer, body: str, *, actor: Actor) -> Note:
    """An internal note; anybody who may see the ticket may leave one."""
    if not body.strip():
        raise ActionError("请先写下备注内容。")
    if len(body) > NOTE_CHARACTERS:
        raise ActionError(f"一条备注最多 {NOTE_CHARACTERS} 字，请分成几条保存。")
    row = Note(
        station_id=ticket.station_id,
        ticket_id=ticket.id,
        officer_id=officer.id,
        body=body.strip(),
        created_at=clock.now(),
    )
    session.add(row)
    _silence(ticket)
    await session.flush()
    await record(session, actor, "ticket.noted", f"ticket:{ticket.id}", details={"note": row.id})
    _announce(session, ticket, "noted")
    return row


async def hand_over(session: AsyncSession, ticket: Ticket, officer: Officer, to: Officer, *, actor: Actor) -> None:
    """A colleague owns ticket and conversation from now on."""
    check_owner(ticket, officer)
    if to.role not in ANSWERING_ROLES or not to.active:
        raise ActionError(f"{to.name}不能接待居民，请选择其他同事。")
    now = clock.now()
    ticket.assignee_id, ticket.assigned_at = to.id, now
    if ticket.calling_since is not None:
        ticket.calling_since = now  # it rings for the colleague from now on
    if ticket.state is TicketState.WAITING:
        _move(ticket, TicketState.ASSIGNED)
    await set_owner(session, ticket, to.id)
    await record(session, actor, "ticket.handed_over", f"ticket:{ticket.id}", details={"to": to.id})
    _announce(session, ticket, "handed")


async def release(session: AsyncSession, ticket: Ticket, officer: Officer, *, actor: Actor) -> None:
    """Back into the queue, unanswered; the bot may speak again."""
    check_owner(ticket, officer)
    _move(ticket, TicketState.OPEN)
    ticket.assignee_id = ticket.assigned_at = None
    _silence(ticket)  # an urgent one rings for everybody again, as it lies in the queue
    await set_owner(session, ticket, None)
    await record(session, actor, "ticket.released", f"ticket:{ticket.id}")
    _announce(session, ticket, "urgent" if ticket.priority is Priority.URGENT else "opened")


async def wait(session: AsyncSession, ticket: Ticket, officer: Officer, *, actor: Actor) -> None:
    """The officer waits for the resident or a department; the conversation stays his."""
    check_owner(ticket, officer)
    _move(ticket, TicketState.WAITING)
    _silence(ticket)
    await record(session, actor, "ticket.waiting", f"ticket:{ticket.id}")
    _announce(session, ticket, "waiting")


async def close(
    session: AsyncSession,
    ticket: Ticket,
    officer: Officer,
    outcome: Outcome,
    *,
    money_saved_yuan: int | None = None,
    farewell: str = "",
    actor: Actor,
) -> None:
    """The matter is done; the bot speaks again. `farewell` is the last word to the resident."""
    check_owner(ticket, officer)
    if money_saved_yuan is not None and not 0 <= money_saved_yuan <= 1_000_000_000:
        raise ActionError("挽回金额请填 0 到 10 亿之间的整数（元）。")
    if money_saved_yuan and outcome is not Outcome.FRAUD_STOPPED:
        raise ActionError("只有办理结果是“劝阻诈骗成功”才能填写挽回金额，请改选结果或清空金额。")
    if len(farewell) > REPLY_CHARACTERS:
        raise ActionError(f"结束语最多 {REPLY_CHARACTERS} 字。")
    now = clock.now()
    _move(ticket, TicketState.CLOSED)
    _silence(ticket)
    ticket.outcome, ticket.closed_at, ticket.money_saved_yuan = outcome, now, money_saved_yuan
    conversation = await set_owner(session, ticket, None)
    if farewell.strip():
        await conversations.say(
            session, conversation, Reply(farewell.strip()), author=Author.OFFICER, now=now, officer_id=officer.id
        )
    await record(
        session,
        actor,
        "ticket.closed",
        f"ticket:{ticket.id}",
        details={"outcome": outcome.value, "money_saved_yuan": money_saved_yuan},
    )
    _announce(session, ticket, "closed")

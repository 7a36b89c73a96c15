"""Handing a matter to the officers, and telling the resident honestly when somebody will answer."""

from datetime import datetime
from zoneinfo import ZoneInfo

from bot.actions import duties, queue, tickets
from bot.message import Reply
from bot.router import Context, Turn
from bot.store.models import Priority, Ticket, TicketState
from handlers.texts import text


async def hand_over(
    turn: Turn, *, topic: str | None, priority: Priority = Priority.NORMAL, subject: str | None = None
) -> Ticket:
    """Open the ticket of this turn's conversation, or raise the one that is open."""
    return await tickets.open_ticket(
        turn.session,
        turn.conversation,
        priority=priority,
        topic=topic,
        subject=subject if subject is not None else turn.context.text,
        message_id=turn.stored.id,
        now=turn.context.now,
        timezone=turn.context.station.timezone,
    )


async def queued(turn: Turn, ticket: Ticket) -> str:
    """Number, place in the queue, and when to expect an officer."""
    english, station = turn.context.english, turn.context.station
    if ticket.state is not TicketState.OPEN:
        return text("queued_assigned", english=english, number=ticket.number)
    officers = await duties.answering_officers(turn.session, station.id)
    wait = await queue.waiting(turn.session, ticket, officers, now=turn.context.now, timezone=station.timezone)
    key = "queued" if ticket.first_message_id == turn.stored.id else "queued_again"
    place = text(key, english=english, number=ticket.number, place=wait.place)
    return place + ("\n" if not english else " ") + estimate(turn.context, wait)


def estimate(context: Context, wait: queue.Wait) -> str:
    """When an officer will answer, as far as it is known."""
    english, station = context.english, context.station
    phone = station.settings.get("station.phone", "110")
    if not wait.on_duty:
        if wait.next_duty is None:
            return text("wait_off_duty_unknown", english=english, phone=phone)
        return text("wait_off_duty", english=english, phone=phone, when=moment(wait.next_duty, context))
    if wait.minutes is None:
        return text("wait_unknown", english=english)
    return text("wait_minutes", english=english, minutes=wait.minutes)


def moment(when: datetime, context: Context) -> str:
    """A time in the station's clock as people say it: 今天14:00, 明天08:30, 11月24日08:30."""
    zone = ZoneInfo(context.station.timezone)
    local = when.astimezone(zone)
    days = (local.date() - context.now.astimezone(zone).date()).days
    if context.english:
        day = {0: " today", 1: " tomorrow"}.get(days, f" on {local:%d %B}")
        return f"{local:%H:%M}{day}"
    day = {0: "今天", 1: "明天"}.get(days, f"{local.month}月{local.day}日")
    return f"{day}{local:%H:%M}"


async def answer_with_queue(turn: Turn, first: str, *, topic: str | None, subject: str | None = None) -> Reply:
    """First advice, then where the matter stands."""
    ticket = await hand_over(turn, topic=topic, subject=subject)
    where = await queued(turn, ticket)
    return Reply(f"{first}\n\n{where}" if first else where)

"""Tickets: who may do what with one, the queue's order, the estimate, and when somebody is on duty."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from bot.actions import duties, tickets
from bot.actions.audit import Actor
from bot.actions.errors import ActionError, Conflict, NotAllowed
from bot.message import Reply
from bot.store import access, queries
from bot.store.models import AuditEvent, Officer, Outcome, Priority, Role, StoredMessage, Ticket, TicketState
from scheduler import jobs
from tests.support.station import MONDAY_MORNING, WORKING_WEEK, FrozenClock, House

SHANGHAI = ZoneInfo("Asia/Shanghai")


async def opened(house: House, sender: str = "o-1", said: str = "找民警") -> int:
    await house.hear(said, sender)
    return (await house.tickets())[-1].id


class As:
    """An officer acts on a ticket as the console would: reached through access, locked, in one transaction."""

    def __init__(self, house: House, username: str) -> None:
        self.house, self.username = house, username

    async def __call__(self, action: Any, ticket_id: int, *arguments: Any, **named: Any) -> Any:
        officer = await self.house.officer(self.username)
        async with self.house.store.write() as session:
            ticket = await access.access_ticket(session, self.house.station.id, ticket_id, lock=True)
            actor = Actor(self.house.station.id, officer.id)
            return await action(session, ticket, officer, *arguments, actor=actor, **named)


# -- who may do what --------------------------------------------------------------------------------------------------


async def test_only_one_of_two_officers_can_take_it(house: House) -> None:
    number = await opened(house)
    await As(house, "zhang")(tickets.take, number)
    await As(house, "zhang")(tickets.take, number)  # twice is once
    with pytest.raises(Conflict, match="已由同事接手"):
        await As(house, "li")(tickets.take, number)
    taken = await house.all(select(AuditEvent).where(AuditEvent.action == "ticket.taken"))
    assert len(taken) == 1


@pytest.mark.parametrize("username", ["shen", "guan"])
async def test_who_does_not_answer_residents_takes_nothing(house: House, username: str) -> None:
    number = await opened(house)
    with pytest.raises(NotAllowed):
        await As(house, username)(tickets.take, number)


@pytest.mark.parametrize("action", ["reply", "wait", "close"])
async def test_only_who_took_it_may_speak_wait_or_close(house: House, action: str) -> None:
    said: dict[str, list[Any]] = {"reply": [Reply("好")], "wait": [], "close": [Outcome.ANSWERED]}
    arguments = said[action]
    number = await opened(house)
    with pytest.raises(NotAllowed, match="请先接手"):
        await As(house, "zhang")(getattr(tickets, action), number, *arguments)
    await As(house, "zhang")(tickets.take, number)
    with pytest.raises(NotAllowed):
        await As(house, "li")(getattr(tickets, action), number, *arguments)
    await As(house, "zhang")(tickets.close, number, Outcome.ANSWERED)
    with pytest.raises(Conflict, match="已经办结"):
        await As(house, "zhang")(getattr(tickets, action), number, *arguments)


async def test_an_empty_reply_or_note_is_refused(house: House) -> None:
    number = await opened(house)
    await As(house, "zhang")(tickets.take, number)
    with pytest.raises(ActionError, match="请先写下"):
        await As(house, "zhang")(tickets.reply, number, Reply("  "))
    with pytest.raises(ActionError, match="请先写下"):
        await As(house, "zhang")(tickets.note, number, " ")


async def test_a_refused_action_leaves_nothing_behind(house: House) -> None:
    number = await opened(house)
    await As(house, "zhang")(tickets.take, number)
    events = await house.count(AuditEvent)
    with pytest.raises(ActionError, match="0 到 10 亿"):
        await As(house, "zhang")(tickets.close, number, Outcome.FRAUD_STOPPED, money_saved_yuan=-5, farewell="再见")
    (ticket,) = await house.tickets()
    assert ticket.state is TicketState.ASSIGNED
    assert await house.count(AuditEvent) == events
    assert "再见" not in await house.said()


async def test_the_whole_way_of_a_matter(house: House, frozen: FrozenClock) -> None:
    number, zhang = await opened(house), As(house, "zhang")
    await zhang(tickets.take, number)
    await house.dispatcher.close()
    frozen.forward(minutes=3)
    await zhang(tickets.reply, number, Reply("请带户口簿来。"))
    await zhang(tickets.wait, number)
    await house.hear("我到了", "o-1")
    await zhang(tickets.close, number, Outcome.FRAUD_STOPPED, money_saved_yuan=50_000, farewell="再见。")
    (ticket,) = await house.tickets()
    assert (ticket.state, ticket.outcome, ticket.money_saved_yuan) == (
        TicketState.CLOSED,
        Outcome.FRAUD_STOPPED,
        50_000,
    )
    assert ticket.answered_at == MONDAY_MORNING + timedelta(minutes=3)
    assert (await house.conversation("o-1")).owner_id is None
    await house.work()
    assert house.channel.texts == ["请带户口簿来。", "再见。"]
    await house.hear("找民警", "o-1")  # a new matter is a new ticket
    assert [row.number for row in await house.tickets()] == ["20261123-0001", "20261123-0002"]


async def test_handing_over_and_giving_back(house: House) -> None:
    number, li = await opened(house), await house.officer("li")
    await As(house, "zhang")(tickets.take, number)
    await As(house, "zhang")(tickets.hand_over, number, li)
    assert (await house.conversation("o-1")).owner_id == li.id
    with pytest.raises(NotAllowed):
        await As(house, "zhang")(tickets.reply, number, Reply("好"))
    await As(house, "li")(tickets.release, number)
    (ticket,) = await house.tickets()
    assert (ticket.state, ticket.assignee_id) == (TicketState.OPEN, None)
    assert (await house.conversation("o-1")).owner_id is None


async def test_numbers_begin_anew_each_day_of_the_station(house: House, frozen: FrozenClock) -> None:
    await opened(house, "o-1")
    frozen.now = datetime(2026, 11, 23, 15, 59, tzinfo=UTC)  # one minute before midnight in Shanghai
    await opened(house, "o-2")
    frozen.forward(minutes=1)
    await opened(house, "o-3")
    assert [row.number for row in await house.tickets()] == ["20261123-0001", "20261123-0002", "20261124-0001"]


# -- the queue --------------------------------------------------------------------------------------------------------


async def test_the_queue_is_urgent_then_own_communities_then_the_oldest(house: House, frozen: FrozenClock) -> None:
    for n, (place, said) in enumerate(
        (("湖滨社区", "找民警"), ("枫林社区", "找民警"), ("湖滨社区", "骗子让我正在转账"), ("枫林社区", "找民警"))
    ):
        await house.hear("登记", f"o-{n}")
        await house.hear(place, f"o-{n}")
        await house.hear(said, f"o-{n}")
        frozen.forward(minutes=1)
    async with house.store.read() as session:
        own = {}
        for username in ("zhang", "li", "fu"):
            rows = await queries.open_tickets(session, await house.officer(username))
            own[username] = [row.number[-1] for row in rows]
    assert own == {"zhang": ["3", "2", "4", "1"], "li": ["3", "1", "2", "4"], "fu": ["3", "1", "2", "4"]}


async def test_a_ticket_nobody_takes_is_raised_once_and_announced_again(house: House, frozen: FrozenClock) -> None:
    await opened(house)
    async with house.store.live.listen() as heard:
        frozen.forward(minutes=31)
        await jobs.remind_of_tickets(house.desk)
        await jobs.remind_of_tickets(house.desk)
        assert heard.qsize() == 1
        assert heard.get_nowait().what == "unanswered"
        frozen.forward(minutes=11)
        await jobs.remind_of_tickets(house.desk)
        assert heard.qsize() == 1
    (ticket,) = await house.tickets()
    assert (ticket.priority, ticket.priority_rank) == (Priority.HIGH, 1)
    raised = await house.all(select(AuditEvent).where(AuditEvent.action == "ticket.raised"))
    assert len(raised) == 1


async def test_a_taken_ticket_is_left_alone(house: House, frozen: FrozenClock) -> None:
    await As(house, "zhang")(tickets.take, await opened(house))
    frozen.forward(hours=5)
    async with house.store.live.listen() as heard:
        await jobs.remind_of_tickets(house.desk)
        assert heard.empty()


# -- a call for help on a ticket somebody holds -----------------------------------------------------------------------

URGENT = "骗子让我正在转账"


async def called(house: House, holder: str = "zhang") -> int:
    """Somebody holds the ticket, and then its resident is in danger."""
    number = await opened(house)
    await As(house, holder)(tickets.take, number)
    assert "110" in str(await house.hear(URGENT, "o-1"))
    return number


async def ringing_for(house: House, username: str, frozen: FrozenClock) -> bool:
    officer = await house.officer(username)
    async with house.store.read() as session:
        calls = await queries.calls_for_help(session, officer)
    return any(tickets.rings_for(ticket, officer, frozen.now, SHANGHAI) for ticket in calls)


async def whom_it_rings_for(house: House, frozen: FrozenClock) -> str:
    return " ".join([name for name in ("zhang", "li", "fu", "suo") if await ringing_for(house, name, frozen)])


async def test_a_call_for_help_rings_for_the_officer_who_holds_the_ticket_then_for_all(
    any_house: House, frozen: FrozenClock
) -> None:
    house = any_house
    async with house.store.live.listen() as heard:
        await called(house)
        changes = [heard.get_nowait() for _ in range(heard.qsize())]
        assert "call" in [change.what for change in changes]
        assert "urgent" not in [change.what for change in changes]
        assert await whom_it_rings_for(house, frozen) == "zhang"
        await jobs.remind_of_tickets(house.desk)
        assert heard.empty(), "his minute is not over"
        frozen.forward(minutes=1)
        for _ in range(2):
            await jobs.remind_of_tickets(house.desk)
            assert heard.get_nowait().what == "urgent"
            assert heard.empty()
            await jobs.remind_of_tickets(house.desk)
            assert heard.empty(), "once a minute"
            assert await whom_it_rings_for(house, frozen) == "zhang li fu suo"
            frozen.forward(minutes=1)


async def test_a_call_rings_for_everybody_at_once_when_the_holder_is_off_duty(
    house: House, frozen: FrozenClock
) -> None:
    frozen.forward(hours=9)  # 18:30: zhang went home with the ticket in his hands
    async with house.store.live.listen() as heard:
        await called(house)
        assert "urgent" in [heard.get_nowait().what for _ in range(heard.qsize())]
    assert await whom_it_rings_for(house, frozen) == "zhang li fu suo"


async def test_a_second_call_on_an_urgent_ticket_rings_again(house: House, frozen: FrozenClock) -> None:
    number = await called(house)
    await As(house, "zhang")(tickets.reply, number, Reply("请不要转账。"))
    assert await whom_it_rings_for(house, frozen) == ""
    frozen.forward(minutes=5)
    await house.hear(URGENT, "o-1")
    assert await whom_it_rings_for(house, frozen) == "zhang"


async def test_what_waits_for_the_resident_rings_too(house: House, frozen: FrozenClock) -> None:
    number = await opened(house)
    await As(house, "zhang")(tickets.take, number)
    await As(house, "zhang")(tickets.wait, number)
    await house.hear(URGENT, "o-1")
    (ticket,) = await house.tickets()
    assert (ticket.state, ticket.priority) == (TicketState.ASSIGNED, Priority.URGENT)
    assert await whom_it_rings_for(house, frozen) == "zhang"


REACTIONS: dict[str, tuple[str, Any, list[Any]]] = {
    "an answer": ("zhang", tickets.reply, [Reply("我马上来")]),
    "a note of a colleague": ("li", tickets.note, ["已派巡逻车"]),
    "having seen it": ("fu", tickets.attend, []),
    "closing": ("zhang", tickets.close, [Outcome.FRAUD_STOPPED]),
    "waiting": ("zhang", tickets.wait, []),
}


@pytest.mark.parametrize("reaction", REACTIONS)
async def test_a_reaction_silences_the_call(house: House, frozen: FrozenClock, reaction: str) -> None:
    username, action, arguments = REACTIONS[reaction]
    number = await called(house)
    frozen.forward(minutes=1)
    await As(house, username)(action, number, *arguments)
    assert await whom_it_rings_for(house, frozen) == ""
    frozen.forward(minutes=1)
    async with house.store.live.listen() as heard:
        await jobs.remind_of_tickets(house.desk)
        assert heard.empty()


async def test_who_does_not_answer_residents_silences_nothing(house: House, frozen: FrozenClock) -> None:
    number = await called(house)
    with pytest.raises(NotAllowed):
        await As(house, "guan")(tickets.attend, number)
    assert await whom_it_rings_for(house, frozen) == "zhang"


async def test_a_call_nobody_reacts_to_can_be_taken_over(house: House, frozen: FrozenClock) -> None:
    number = await called(house)
    with pytest.raises(Conflict, match="已由同事接手"):
        await As(house, "li")(tickets.take, number)
    frozen.forward(minutes=1)
    await As(house, "li")(tickets.take, number)
    (ticket,) = await house.tickets()
    li = await house.officer("li")
    assert (ticket.assignee_id, (await house.conversation("o-1")).owner_id) == (li.id, li.id)
    assert await whom_it_rings_for(house, frozen) == ""
    with pytest.raises(Conflict, match="已由同事接手"):
        await As(house, "zhang")(tickets.take, number)


async def test_a_call_handed_over_rings_for_the_colleague(house: House, frozen: FrozenClock) -> None:
    number, li = await called(house), await house.officer("li")
    await As(house, "zhang")(tickets.hand_over, number, li)
    assert await whom_it_rings_for(house, frozen) == "li"


async def test_a_call_given_back_rings_for_everybody(house: House, frozen: FrozenClock) -> None:
    number = await called(house)
    async with house.store.live.listen() as heard:
        await As(house, "zhang")(tickets.release, number)
        assert "urgent" in [heard.get_nowait().what for _ in range(heard.qsize())]
    assert await whom_it_rings_for(house, frozen) == "zhang li fu suo"
    await As(house, "li")(tickets.take, number)
    assert await whom_it_rings_for(house, frozen) == ""


# -- the estimate -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minutes", "estimate"),
    [
        ([], None),
        ([5, 5, 5, 5], None),  # fewer than five answers are no basis
        ([5, 5, 5, 5, 5], 5),
        ([1, 2, 3, 4, 100], 4),
        ([1, 2, 3, 4, 5, 6, 7, 100], 7),
        ([0, 0, 0, 0, 0], 1),  # never less than a minute
    ],
)
async def test_the_estimate_is_what_three_of_four_waited(
    house: House, frozen: FrozenClock, minutes: list[int], estimate: int | None
) -> None:
    for n, waited in enumerate(minutes):
        number = await opened(house, f"o-{n}")
        answered = {"answered_at": frozen.now + timedelta(minutes=waited), "state": TicketState.CLOSED}
        async with house.store.write() as session:
            await session.execute(update(Ticket).where(Ticket.id == number).values(answered))
    answer = str(await house.hear("找民警", "o-last"))
    assert "第1位" in answer
    assert (f"一般{estimate}分钟内" in answer) == (estimate is not None)
    assert ("尽快在这里回复您" in answer) == (estimate is None)


async def test_who_is_further_back_than_officers_are_on_duty_gets_no_estimate(
    house: House, frozen: FrozenClock
) -> None:
    for n in range(5):
        number = await opened(house, f"o-{n}")
        answered = {"answered_at": frozen.now + timedelta(minutes=5), "state": TicketState.CLOSED}
        async with house.store.write() as session:
            await session.execute(update(Ticket).where(Ticket.id == number).values(answered))
    answers = [str(await house.hear("找民警", f"o-wait-{n}")) for n in range(8)]
    told = ["一般5分钟内" in answer for answer in answers]
    assert told[0]
    assert not told[-1]
    assert told == sorted(told, reverse=True)


async def test_old_answers_are_no_basis(house: House, frozen: FrozenClock) -> None:
    for n in range(6):
        number = await opened(house, f"o-{n}")
        async with house.store.write() as session:
            long_ago = frozen.now - timedelta(days=15)
            changed = {"opened_at": long_ago, "answered_at": long_ago, "state": TicketState.CLOSED}
            await session.execute(update(Ticket).where(Ticket.id == number).values(changed))
    assert "尽快在这里回复您" in str(await house.hear("找民警", "o-last"))


# -- duty -------------------------------------------------------------------------------------------------------------


def officer(duty: dict[str, list[str]]) -> Officer:
    return Officer(username="x", name="x", role=Role.OFFICER, duty=duty)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


NIGHTS = {"mon": ["22:00-24:00"], "tue": ["00:00-06:00"]}  # one night, written as two parts


@pytest.mark.parametrize(
    ("duty", "moment", "on_duty", "next_begins"),
    [
        (WORKING_WEEK, "2026-11-23T08:29", False, "2026-11-23T08:30"),
        (WORKING_WEEK, "2026-11-23T08:30", True, "2026-11-23T14:00"),
        (WORKING_WEEK, "2026-11-23T11:59", True, "2026-11-23T14:00"),
        (WORKING_WEEK, "2026-11-23T12:00", False, "2026-11-23T14:00"),
        (WORKING_WEEK, "2026-11-23T17:30", False, "2026-11-24T08:30"),
        (WORKING_WEEK, "2026-11-27T17:30", False, "2026-11-30T08:30"),  # Friday: over the weekend
        (WORKING_WEEK, "2026-12-31T20:00", False, "2027-01-01T08:30"),
        (NIGHTS, "2026-11-23T23:59", True, "2026-11-24T00:00"),
        (NIGHTS, "2026-11-24T00:00", True, "2026-11-30T22:00"),
        (NIGHTS, "2026-11-24T06:00", False, "2026-11-30T22:00"),
        ({"mon": ["00:00-24:00"]}, "2026-11-23T23:59", True, "2026-11-30T00:00"),
        ({"mon": ["09:00-10:00"]}, "2026-11-23T09:30", True, "2026-11-30T09:00"),  # the same day next week
        ({}, "2026-11-23T09:30", False, None),
    ],
)
def test_on_duty_and_when_next(duty: dict[str, list[str]], moment: str, on_duty: bool, next_begins: str | None) -> None:
    now = local(moment).astimezone(UTC)
    assert duties.is_on_duty(officer(duty), now, SHANGHAI) is on_duty
    begins = duties.next_duty(officer(duty), now, SHANGHAI)
    assert begins == (local(next_begins) if next_begins else None)


MINUTES = st.integers(0, 24 * 60 - 1)


@given(start=MINUTES, length=st.integers(1, 24 * 60), day=st.integers(0, 6), moment=st.integers(0, 14 * 24 * 60))
def test_duty_agrees_with_counting_minutes(start: int, length: int, day: int, moment: int) -> None:
    end = min(start + length, 24 * 60)
    clock = [f"{minutes // 60:02d}:{minutes % 60:02d}" for minutes in (start, end)]
    duty = {duties._DAYS[day]: ["-".join(clock)]}
    monday = local("2026-11-23T00:00")
    now = monday + timedelta(minutes=moment)
    in_week = moment % (7 * 24 * 60) - day * 24 * 60
    assert duties.is_on_duty(officer(duty), now.astimezone(UTC), SHANGHAI) == (start <= in_week < end)
    begins = duties.next_duty(officer(duty), now.astimezone(UTC), SHANGHAI)
    assert begins is not None
    minutes = start + day * 24 * 60 - moment % (7 * 24 * 60)
    assert begins - now == timedelta(minutes=minutes if minutes > 0 else minutes + 7 * 24 * 60)


async def test_everything_an_officer_said_has_his_name(house: House) -> None:
    number = await opened(house)
    await As(house, "zhang")(tickets.take, number)
    await As(house, "zhang")(tickets.reply, number, Reply("好"))
    said: StoredMessage = await house.one(select(StoredMessage).where(StoredMessage.officer_id.is_not(None)))
    assert said.officer_id == (await house.officer("zhang")).id

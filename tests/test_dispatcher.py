"""The dispatcher's own corners: time that runs out, odd messages, the order of one resident's messages."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

import handlers
from bot.actions import broadcasts, conversations, ledger, tickets, turns
from bot.actions.audiences import Audience
from bot.actions.audit import Actor
from bot.actions.broadcasts import Draft
from bot.actions.conversations import Address
from bot.dispatcher import APOLOGY
from bot.message import MessageKind, Reply
from bot.reach import Grant, Rules
from bot.router import Answer, Context
from bot.store import access
from bot.store.models import Conversation, DeliveryRoute, DeliveryState, MessageState, Priority, ResidentAddress
from scheduler import jobs
from tests.support.station import WANG, FrozenClock, House, somebody_waits, text_message

QUESTION, TITLE = "身份证丢了怎么办", "身份证丢了补办"


class Gate:
    """Answers when it is opened."""

    def __init__(self) -> None:
        self.reached, self.open = asyncio.Event(), asyncio.Event()

    async def __call__(self, context: Context) -> Answer:
        self.reached.set()
        await self.open.wait()
        return await handlers.answer(context)


@pytest.fixture
async def gate(any_house: House) -> Gate:
    gate = Gate()
    any_house.dispatcher._route = gate
    return gate


async def test_an_answer_that_comes_too_late_for_the_response_goes_by_the_outbox(
    any_house: House, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.dispatcher.GRACE_SECONDS", 0.01)
    assert await any_house.feed(text_message(QUESTION), wait_seconds=0.01) is None
    gate.open.set()
    await any_house.dispatcher.close()
    (delivery,) = await any_house.deliveries()
    assert (delivery.route, delivery.state) == (DeliveryRoute.OUTBOX, DeliveryState.QUEUED)
    await any_house.work()
    assert TITLE in any_house.channel.texts[0]


async def test_an_answer_just_being_written_is_worth_a_moment(
    any_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.dispatcher.GRACE_SECONDS", 20)
    ready = await any_house.feed(text_message(QUESTION), wait_seconds=0.0001)
    if ready is None:  # it was written after the time was up: then the outbox has it
        assert (await any_house.deliveries())[0].route is DeliveryRoute.OUTBOX
    else:
        assert TITLE in ready.reply.text


async def test_a_repetition_joins_the_turn_that_is_under_way(any_house: House, gate: Gate) -> None:
    message = text_message(QUESTION)
    first = asyncio.create_task(any_house.feed(message))
    await gate.reached.wait()
    second = asyncio.create_task(any_house.feed(message))
    gate.open.set()
    answers = await asyncio.gather(first, second)
    assert answers[0] == answers[1]
    assert answers[0] is not None
    assert len(await any_house.said()) == 1


async def test_an_unconfirmed_answer_is_sent_later_and_a_confirmed_one_is_not(
    any_house: House, frozen: FrozenClock
) -> None:
    confirmed = await any_house.feed(text_message(QUESTION, "o-confirmed"))
    unconfirmed = await any_house.feed(text_message(QUESTION, "o-unconfirmed"))
    assert confirmed is not None
    assert unconfirmed is not None
    confirmed.confirm()
    await any_house.dispatcher.close()
    frozen.forward(seconds=21)
    await any_house.work()
    assert [given.address for given in any_house.channel.given] == ["o-unconfirmed"]


async def test_an_answer_is_not_said_twice_because_the_database_was_away_for_a_moment(
    any_house: House, frozen: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_down, tried = turns.mark_sent, 0

    async def away_at_first(session: Any, delivery_ids: Any, *, now: Any) -> None:
        nonlocal tried
        tried += 1
        if tried < 3:
            raise OSError("connection refused")
        await write_down(session, delivery_ids, now=now)

    monkeypatch.setattr(turns, "mark_sent", away_at_first)
    for sender in ("o-1", "o-2"):
        ready = await any_house.feed(text_message(QUESTION, sender))
        assert ready is not None
        ready.confirm()
    await any_house.dispatcher.close()
    frozen.forward(seconds=21)
    await any_house.work()
    assert any_house.channel.given == []


async def test_messages_of_one_resident_are_handled_one_after_the_other_in_their_order(house: House) -> None:
    under_way, most, order = 0, 0, list[str]()

    async def watched(context: Context) -> Answer:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        order.append(context.text)
        await asyncio.sleep(0)
        answer = await handlers.answer(context)
        under_way -= 1
        return answer

    house.dispatcher._route = watched
    said = ["登记", "枫林社区", "1958", "退休", "中文"]
    answers = await asyncio.gather(*(house.hear(words) for words in said))
    assert order == said
    assert most == 1
    assert "登记好了" in str(answers[-1])


async def test_different_residents_do_not_wait_for_each_other(any_house: House, gate: Gate) -> None:
    slow = asyncio.create_task(any_house.feed(text_message(QUESTION, "o-slow")))
    await gate.reached.wait()
    any_house.dispatcher._route = handlers.answer
    assert TITLE in str(await any_house.hear(QUESTION, "o-quick"))
    gate.open.set()
    assert await slow is not None


@pytest.mark.parametrize(
    "odd",
    [
        text_message("悄悄话\ud800"),  # half a character, as broken phones send
        text_message(QUESTION, "o" * 300),
        text_message(QUESTION, platform_id="9" * 300),
        text_message(QUESTION, platform_id="a\x00b"),
    ],
    ids=["half a character", "long sender", "long number", "nul"],
)
async def test_an_odd_message_is_not_refused_to_all_who_wrote_at_that_moment(any_house: House, odd: Any) -> None:
    together = [text_message(QUESTION, f"o-{n}") for n in range(5)]
    fed = [any_house.feed(message) for message in (*together[:3], odd, *together[3:])]
    results = await asyncio.gather(*fed, return_exceptions=True)
    good = [result for n, result in enumerate(results) if n != 3]
    assert not [result for result in good if result is None or isinstance(result, BaseException)]


@pytest.mark.parametrize("said", ["", " ", "。", "😀", "a" * 5000, "𠮷野家", "<script>", "'; DROP TABLE messages; --"])
async def test_whatever_is_typed_is_kept_as_it_was_typed(any_house: House, said: str) -> None:
    await any_house.hear(said)
    (message,) = await any_house.heard()
    assert (message.body, message.state) == (said, MessageState.HANDLED)


async def test_a_message_is_the_same_after_its_way_through_the_database(any_house: House) -> None:
    """What is resumed after a crash must be what was said."""
    seen: list[Any] = []

    async def fails_first(context: Context) -> Answer:
        seen.append(context.message)
        if len(seen) == 1:
            raise RuntimeError("made to fail")
        return await handlers.answer(context)

    any_house.dispatcher._route = fails_first
    message = text_message("标题", kind=MessageKind.LINK, url="http://x/?a=1", extra={"title": "标题"}, media="m-1")
    await any_house.feed(message)
    (row,) = await any_house.heard()
    await any_house.dispatcher.resume(row.id)
    assert seen == [message, message]


async def test_resuming_what_is_done_or_unknown_does_nothing(house: House) -> None:
    await house.hear(QUESTION)
    (row,) = await house.heard()
    await house.dispatcher.resume(row.id)
    await house.dispatcher.resume(999_999)
    assert len(await house.said()) == 1


async def test_closing_waits_for_the_turns_under_way(any_house: House, gate: Gate) -> None:
    await any_house.feed(text_message(QUESTION), wait_seconds=0)
    closing = asyncio.create_task(any_house.dispatcher.close())
    await gate.reached.wait()
    assert not closing.done()
    gate.open.set()
    await closing
    assert len(await any_house.said()) == 1
    assert not any_house.dispatcher._places._places  # nothing is kept of residents who are not writing


async def test_a_written_answer_whose_commit_was_not_confirmed_brings_no_apology(any_house: House) -> None:
    """The connection broke after the commit: the resident got his answer and an apology for it."""
    write = any_house.dispatcher._finish

    async def breaks_after(decided: Any) -> Any:
        await write(decided)
        raise OSError("connection lost")

    any_house.dispatcher._finish = breaks_after  # type: ignore[assignment]
    assert await any_house.feed(text_message(QUESTION)) is None
    (message,) = await any_house.heard()
    assert message.state is MessageState.HANDLED
    assert APOLOGY.text not in await any_house.said()


async def test_a_resident_whose_row_cannot_be_read_costs_nobody_else_his_message(any_house: House) -> None:
    """Somebody put a name into the database that no key of ours opens."""
    resident = await any_house.add_resident("o-unreadable")
    await any_house.hear(QUESTION, "o-unreadable")
    async with any_house.store.write() as session:
        await session.execute(text("UPDATE residents SET name = :name WHERE id = :id"), {"name": b"??", "id": resident})
    fed = [any_house.feed(text_message(QUESTION, sender)) for sender in ("o-unreadable", "o-1", "o-2")]
    answers = await asyncio.gather(*fed, return_exceptions=True)
    assert [TITLE in str(answer) for answer in answers] == [False, True, True]
    assert [row.state for row in await any_house.heard() if row.address == "o-unreadable"] == [
        MessageState.HANDLED,
        MessageState.RECEIVED,
    ]


async def test_an_officer_at_work_and_a_call_for_help_do_not_lock_each_other_out(
    furnished_postgres_url: str, frozen: FrozenClock
) -> None:
    """He held the ticket and wanted the conversation, the bot the other way round: the card came 30 seconds late."""
    async with House.opened(furnished_postgres_url) as house:
        await house.hear("找民警")
        number = await house.take("zhang")
        officer = await house.officer("zhang")
        async with house.store.write() as session:
            ticket = await access.access_ticket(session, house.station.id, number, lock=True)
            calling = asyncio.create_task(house.hear("骗子让我正在转账"))
            await somebody_waits(house)
            actor = Actor(house.station.id, officer.id)
            await tickets.reply(session, ticket, officer, Reply("您好，我在。"), actor=actor)
        assert "正在转账给骗子" in str(await calling)
        assert (await house.tickets())[0].priority is Priority.URGENT
        assert {row.attempts for row in await house.heard()} == {0}


async def test_a_resident_who_writes_while_a_warning_arrives_and_the_outbox_do_not_lock_each_other_out(
    furnished_postgres_url: str, frozen: FrozenClock
) -> None:
    """The outbox counted what the window had left and wanted the conversation, his turn the other way round."""
    async with House.opened(furnished_postgres_url) as house:
        house.channel.rules = Rules(windowed=True)
        await house.hear(QUESTION)
        (address,) = await house.all(select(ResidentAddress))
        async with house.store.write() as session:
            await ledger.heard(session, {address.id: Grant(5, timedelta(hours=1))}, frozen.now)
            author = await house.officer("zhang")
            row = await broadcasts.create(
                session, author, Draft("防诈提醒", "不要转账。", Audience()), actor=Actor(house.station.id)
            )
            await broadcasts.submit(session, row, actor=Actor(house.station.id))
        async with house.store.write() as session:
            row = await access.access_broadcast(session, house.station.id, row.id, lock=True)
            chief = await house.officer("suo")
            await broadcasts.approve(
                session, row, chief, seal=broadcasts.seal_of(row), actor=Actor(house.station.id, chief.id)
            )
        await jobs.move_broadcasts(house.desk)
        async with house.store.write() as session:
            await conversations.find(session, house.station.id, Address(address.channel, address.address), lock=True)
            sending = asyncio.create_task(house.work())
            await somebody_waits(house)
            await ledger.heard(session, {address.id: Grant(5, timedelta(hours=1))}, frozen.now)
        await sending
        (delivery,) = [row for row in await house.deliveries() if row.broadcast_id]
        assert delivery.state is DeliveryState.SENT


async def test_many_who_write_for_the_first_time_at_one_moment_are_each_met_once(any_house: House) -> None:
    known = await any_house.add_resident("o-3", name="王小明", birth_year=1950)  # from the station's list
    answers = await asyncio.gather(*(any_house.hear(QUESTION, f"o-{n % 20}") for n in range(40)))
    assert all(TITLE in str(answer) for answer in answers)
    heard = await any_house.heard()
    assert len({row.conversation_id for row in heard}) == 20
    assert len({(row.conversation_id, row.address) for row in heard}) == 20
    async with any_house.store.read() as session:
        met = (await session.execute(select(Conversation).where(Conversation.resident_id == known))).scalars().all()
    assert [row.id for row in met] == [row.conversation_id for row in heard if row.address == "o-3"][:1]


async def test_two_processes_that_meet_a_new_resident_at_once_have_one_conversation_with_him(
    furnished_postgres_url: str, frozen: FrozenClock
) -> None:
    async with House.opened(furnished_postgres_url) as one, House.opened(furnished_postgres_url) as two:
        fed: list[Callable[[], Awaitable[Any]]] = []
        for n in range(10):
            fed += [lambda n=n: one.hear(QUESTION, f"o-{n}"), lambda n=n: two.hear(QUESTION, f"o-{9 - n}")]  # type: ignore[misc]
        answers = await asyncio.gather(*(feed() for feed in fed))
        assert all(TITLE in str(answer) for answer in answers)
        assert len({row.conversation_id for row in await one.heard()}) == 10


async def test_a_message_that_failed_in_one_process_is_taken_up_by_one_of_many(
    furnished_postgres_url: str, frozen: FrozenClock
) -> None:
    async def fails(_context: Context) -> Answer:
        raise RuntimeError("made to fail")

    async with (
        House.opened(furnished_postgres_url, route=fails) as broken,
        House.opened(furnished_postgres_url) as one,
        House.opened(furnished_postgres_url) as two,
    ):
        await asyncio.gather(*(broken.feed(text_message(QUESTION, f"o-{n}")) for n in range(8)))
        frozen.forward(seconds=31)
        await asyncio.gather(jobs.resume_messages(one.desk), jobs.resume_messages(two.desk))
        said = await one.said()
        assert sum(TITLE in words for words in said) == 8
        assert len(said) == 16
        assert {row.state for row in await one.heard()} == {MessageState.HANDLED}


async def test_a_resident_known_from_the_list_is_met_at_his_address(house: House) -> None:
    resident = await house.add_resident(WANG, name="王小明", birth_year=1950)
    await house.hear(QUESTION)
    assert (await house.resident()).id == resident

"""The station's figures: counted right, in the station's days, ours only, and drawn."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from bot import clock
from bot.actions import figures
from bot.actions.figures import Bar, Span
from bot.console.figures import chart
from bot.store.models import Outcome, Resident, StoredMessage, Ticket, TicketState
from tests.console.house import House


def span(**back: float) -> Span:
    return Span(clock.now() - timedelta(**back), clock.now() + timedelta(minutes=1))


async def test_the_figures_are_what_happened(house: House) -> None:
    first, now = house.first, clock.now()
    for decision in ("answer", "answer", "clarify", "unknown", "event", "held"):
        await house.resident_says("open", "您好", decision=decision)
    async with house.store.write() as session:
        await session.execute(
            update(Ticket)
            .where(Ticket.id == first.tickets["open"])
            .values(
                opened_at=now - timedelta(minutes=30), answered_at=now - timedelta(minutes=10), closed_at=now,
                state=TicketState.CLOSED, outcome=Outcome.FRAUD_STOPPED, money_saved_yuan=12_000,
                assignee_id=first.officers["zhang"],
            )
        )  # fmt: skip
    async with house.store.read() as session:
        found = await figures.read(session, first.station.id, span(hours=2))
    assert found.messages_in == 8  # six above, two of the house that went to an officer
    assert (found.questions, found.by_the_bot, found.not_understood, found.to_a_person) == (6, 3, 1, 2)
    assert found.share_of_bot == pytest.approx(0.5)
    matters = found.matters
    assert (matters.opened, matters.closed, matters.urgent) == (2, 1, 1)
    assert matters.first_answer_minutes == pytest.approx(20)
    assert (matters.frauds_stopped, matters.money_saved_yuan) == (1, 12_000)
    (officer,) = found.officers
    assert (officer.officer.name, officer.matters.closed, officer.matters.frauds_stopped) == ("张敏", 1, 1)
    assert [row.residents for row in found.communities] == [2, 1]
    page = await (await house.logged_in("suo")).read("/console/figures")
    for words in ("50%", "20 分钟", "挽回 12,000 元", "张敏", "枫林1社区"):
        assert words in page, words


async def test_matters_of_residents_without_a_community_are_a_row_of_their_own(house: House) -> None:
    first = house.first
    chief = await house.logged_in("suo")
    assert "未登记社区" not in await chief.read("/console/figures"), "nothing to show"
    async with house.store.write() as session:
        ticket = await session.get_one(Ticket, first.tickets["urgent"])
        ticket.community_id = None
        (await session.get_one(Resident, ticket.resident_id)).community_id = None
    async with house.store.read() as session:
        found = await figures.read(session, first.station.id, span(hours=2))
    last = found.communities[-1]
    assert (last.community, last.residents, last.matters.opened, last.matters.urgent) == (None, 1, 1, 1)
    assert sum(row.matters.opened for row in found.communities) == found.matters.opened
    page = await chief.read("/console/figures")
    assert '<tr><td>未登记社区</td><td class="figure">1</td><td class="figure">1</td>' in page


async def test_what_was_before_or_elsewhere_is_not_counted(house: House) -> None:
    async with house.store.write() as session:
        await session.execute(
            update(StoredMessage)
            .where(StoredMessage.station_id == house.first.station.id)
            .values(created_at=clock.now() - timedelta(days=40))
        )
    async with house.store.read() as session:
        ours = await figures.read(session, house.first.station.id, span(days=30))
        theirs = await figures.read(session, house.houses[1].station.id, span(days=30))
    assert (ours.messages_in, theirs.messages_in) == (0, 2)
    assert ours.share_of_bot is None
    assert "溪口" not in await (await house.logged_in("suo")).read("/console/figures?span=month")


async def test_bars_count_each_message_once(house: House) -> None:
    now = clock.now()
    for hours in (0, 1, 1, 5):
        await house.resident_says("open", "您好", decision="answer", created_at=now - timedelta(hours=hours, minutes=1))
    edges = [now - timedelta(hours=hours) for hours in range(6, -1, -1)]
    async with house.store.read() as session:
        bars = await figures.bars(session, house.first.station.id, edges)
    assert [bar.by_the_bot for bar in bars] == [1, 0, 0, 0, 2, 1]


def test_the_chart_stacks_and_fills_its_height() -> None:
    now = clock.now()
    drawn = chart([Bar(now, 6, 2, 2, 0), Bar(now, 0, 0, 5, 0), Bar(now, 0, 0, 0, 0)], ["a", "", "b"])
    first = [block for block in drawn.blocks if block.x < drawn.width / 3]
    assert sum(block.height for block in first) == pytest.approx(drawn.height)
    assert min(block.y for block in first) == pytest.approx(0)
    assert [block.kind for block in drawn.blocks] == ["bot", "person", "unknown", "unknown"]
    assert drawn.blocks[3].height == pytest.approx(drawn.height / 2)
    assert [label for _, label in drawn.labels] == ["a", "b"]


def test_an_empty_chart_is_no_division_by_zero() -> None:
    assert chart([Bar(clock.now(), 0, 0, 0, 0)], [""]).blocks == []


@pytest.mark.parametrize("chosen", ["today", "week", "month", "nonsense"])
async def test_each_span_opens(house: House, chosen: str) -> None:
    page = await (await house.logged_in("shen")).read(f"/console/figures?span={chosen}")
    assert "居民来消息" in page


@pytest.mark.parametrize("username", ["chen", "fu"])
async def test_who_may_not_see_figures_sees_none(house: House, username: str) -> None:
    assert (await (await house.logged_in(username)).get("/console/figures")).status == 403

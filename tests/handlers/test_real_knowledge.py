"""A few stories with the knowledge as it is shipped: that it and the handlers speak of the same things."""

import re
from collections.abc import AsyncIterator

import pytest

from bot.store.models import Priority
from handlers import clarify, questions
from knowledge import Decision, Knowledge
from tests.support.station import FrozenClock, House


@pytest.fixture
async def house(furnished_sqlite_url: str, frozen: FrozenClock, knowledge: Knowledge) -> AsyncIterator[House]:
    async with House.opened(furnished_sqlite_url, knowledge=knowledge) as house:
        yield house


async def test_a_question_its_follow_up_and_the_officer(house: House) -> None:
    answer = await house.hear("身份证丢了怎么办")
    assert answer is not None
    assert "补办" in answer
    assert await house.hear("要带什么材料") is not None
    assert [row.topic for row in await house.heard()] == ["idcard.lost", "idcard.lost"]
    assert "第1位" in str(await house.hear("找民警"))
    (ticket,) = await house.tickets()
    assert ticket.topic == "idcard.lost"


async def test_a_swindle_that_is_happening_now(house: House) -> None:
    answer = str(await house.hear("骗子让我正在转账，怎么办"))
    assert "110" in answer
    (ticket,) = await house.tickets()
    assert ticket.priority is Priority.URGENT
    assert str(ticket.topic).startswith("emergency.")


async def test_in_english(house: House) -> None:
    answer = str(await house.hear("I lost my passport, what should I do?"))
    assert "passport" in answer.casefold()


async def test_fees_asked_for_in_english_are_told_in_english(house: House) -> None:
    await house.hear("I lost my passport, what should I do?")
    answer = str(await house.hear("how much does it cost?"))
    assert "120 yuan" in answer
    assert not re.search("[\u4e00-\u9fff]", answer)


async def test_what_is_not_in_english_says_so_first(house: House) -> None:
    answer = str(await house.hear("where can I get firecrackers, is it allowed to set off fireworks?"))
    assert answer.startswith("I have this answer in Chinese only")


async def test_every_topic_can_be_answered_chosen_and_put_into_the_queue(house: House, knowledge: Knowledge) -> None:
    """None of them makes the handlers stumble, and no answer is too long or has a placeholder left."""
    written = 0
    for topic, entry in knowledge.entries.items():
        if topic.startswith("none."):
            continue
        if topic.startswith("emergency."):
            assert "{" not in knowledge.emergency_card(topic)
            continue
        decision = questions.ROUTE_DECISIONS[entry.route] if entry.written else Decision.OFFICER
        assert decision in (Decision.ANSWER, Decision.OFFICER, Decision.REFER)
        for language in ("zh", "en"):
            text = knowledge.answer(topic, language=language, settings=house.station.settings)
            assert 0 < len(text) <= 600, topic
            assert "{station." not in text, topic
            assert "{local." not in text, topic
        assert clarify._titles(entry)[0] == entry.title
        written += entry.written
    assert written >= 40

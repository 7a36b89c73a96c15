"""After an answer: one tap says whether it helped; a bare number means the choice with that number."""

from collections.abc import AsyncIterator

import pytest

from bot.store.models import StoredMessage, Ticket
from tests.support.station import House, frozen_clock

LOST = "身份证丢了怎么办"


@pytest.fixture
async def house(furnished_sqlite_url: str) -> AsyncIterator[House]:
    with frozen_clock():
        async with House.opened(furnished_sqlite_url) as house:
            yield house


async def the_question(house: House) -> StoredMessage:
    return (await house.heard())[0]


async def test_an_answer_offers_the_officer_and_one_tap_each_way(house: House) -> None:
    labels = [label for label, _ in await house.choices(LOST)]
    assert labels == ["找民警", "有用", "没用"]


async def test_an_english_answer_offers_english_taps(house: House) -> None:
    assert ("Helpful", "helpful") in await house.choices("my id card is lost")
    reply = await house.hear("not helpful")
    assert reply == 'Sorry about that, it is noted. Send "officer" and an officer will answer.'
    assert (await the_question(house)).helpful is False


async def test_what_goes_to_officer_or_department_can_be_marked_as_well(house: House) -> None:
    assert [label for label, _ in await house.choices("楼上太吵了")] == ["有用", "没用"]
    refer = [label for label, _ in await house.choices("家里停水了", "o-li")]
    assert refer == ["请帮我转办", "找民警", "有用", "没用"]


async def test_small_talk_and_what_was_not_understood_ask_for_no_mark(house: House) -> None:
    assert await house.choices("你好") == []
    assert [label for label, _ in await house.choices("呜哩哇啦")] == ["找民警"]


@pytest.mark.parametrize(("said", "helpful"), [("有用", True), ("没用", False), ("没帮助。", False), ("Helpful", True)])
async def test_the_mark_stands_beside_the_question(house: House, said: str, helpful: bool) -> None:
    await house.hear(LOST)
    reply = await house.hear(said)
    assert (await the_question(house)).helpful is helpful
    assert reply is not None
    assert "\n" not in reply
    assert len(reply) < 80


async def test_the_last_word_counts(house: House) -> None:
    await house.hear(LOST)
    await house.hear("没用")
    await house.hear("有用")
    assert (await the_question(house)).helpful is True


async def test_no_help_offers_the_officer_with_the_question(house: House) -> None:
    await house.hear(LOST)
    assert [send for _, send in await house.choices("没用")] == ["找民警"]
    await house.hear("找民警")
    (ticket,) = await house.tickets()
    assert (ticket.subject, ticket.topic) == (LOST, "idcard.lost")


async def test_yes_after_no_help_is_the_officer_too(house: House) -> None:
    await house.hear(LOST)
    await house.hear("没用")
    await house.hear("好的")
    (ticket,) = await house.tickets()
    assert ticket.subject == LOST


async def test_helpful_leaves_the_offer_of_the_department_open(house: House) -> None:
    await house.hear("家里停水了")
    await house.hear("有用")
    reply = await house.hear("转办")
    assert reply is not None
    assert "自来水公司" in reply


async def test_with_an_open_ticket_the_officer_is_not_offered_again(house: House) -> None:
    await house.hear("楼上太吵了")
    assert await house.choices("没用") == []
    assert await house.count(Ticket) == 1
    assert (await the_question(house)).helpful is False


async def test_after_did_you_mean_the_question_is_marked_and_not_the_number(house: House) -> None:
    await house.hear("身份证")
    await house.hear("1")
    await house.hear("没用")
    question, choice, _ = await house.heard()
    assert (question.helpful, choice.helpful) == (False, None)


@pytest.mark.parametrize(("number", "helpful"), [("2", True), ("3", False), ("３", False), ("2。", True)])
async def test_a_bare_number_is_the_choice_where_a_platform_can_only_list_them(
    house: House, number: str, helpful: bool
) -> None:
    await house.hear(LOST)
    await house.hear(number)
    assert (await the_question(house)).helpful is helpful


async def test_the_number_of_the_officer_is_the_officer(house: House) -> None:
    await house.hear(LOST)
    await house.hear("1")
    (ticket,) = await house.tickets()
    assert ticket.subject == LOST


async def test_a_number_without_that_choice_is_text(house: House) -> None:
    await house.hear(LOST)
    await house.hear("7")
    assert (await the_question(house)).helpful is None


async def test_the_words_alone_are_text_when_nothing_was_answered(house: House) -> None:
    await house.hear("没用")
    (said,) = await house.heard()
    assert said.decision == "unknown"


async def test_while_an_officer_speaks_the_words_are_for_him(house: House) -> None:
    await house.hear(LOST)
    await house.take("zhang")
    assert await house.hear("没用") is None
    assert (await the_question(house)).helpful is None

"""What may be a call for help is asked along with its answer, and one tap makes it one."""

from collections.abc import AsyncIterator

import pytest

from bot.channels.wechat_messages import with_choices
from bot.message import Reply
from bot.store.models import Priority, Ticket
from handlers.perhaps import HAPPENING
from handlers.texts import text
from knowledge import Knowledge
from tests.support.station import FrozenClock, House, text_message

TAKEN = "身份证被他抢走了不还"  # answered
SMASHING = "隔壁在砸东西"  # goes to an officer
LINE = text("perhaps")


@pytest.fixture
async def house(furnished_sqlite_url: str, frozen: FrozenClock) -> AsyncIterator[House]:
    async with House.opened(furnished_sqlite_url) as house:
        yield house


async def is_alarm(house: House, subject: str) -> bool:
    (ticket,) = await house.tickets()
    return (ticket.priority, ticket.topic, ticket.subject) == (Priority.URGENT, "emergency.violence", subject)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (TAKEN, "户口簿"),
        (SMASHING, "先记下时间"),
        ("水管被人砸了", "转办"),
        ("身份证在他手里", "您是想问"),
        ("那个人又来了", "没有把握"),
    ],
)
async def test_the_ordinary_answer_comes_after_one_line_and_a_tap_is_the_alarm(
    house: House, said: str, answer: str
) -> None:
    reply = await house.hear(said)
    assert reply is not None
    assert reply.startswith(f"{LINE}\n\n")
    assert answer in reply
    assert (await house.heard())[0].decision != "urgent"
    card = await house.hear("正在发生")
    assert card is not None
    assert "先躲开，拨打110" in card
    assert "最高级提醒" in card
    assert [row.decision for row in await house.heard()][1:] == ["urgent"]
    assert await is_alarm(house, said)


async def test_who_has_raised_the_alarm_is_not_asked_again(house: House) -> None:
    await house.hear(TAKEN)
    await house.hear("正在发生")
    again = await house.hear(TAKEN)
    assert again is not None
    assert not again.startswith(LINE)


async def test_the_choice_stands_first_and_is_tappable_in_the_line(house: House) -> None:
    assert (await house.choices(TAKEN))[0] == ("正在发生", "正在发生")
    for english, choice in HAPPENING.items():
        linked = with_choices(Reply(text("perhaps", english=english), (choice,)))
        assert f">{choice.label}</a>" in linked
        assert "▸" not in linked  # which is the line of choices that the words do not mention


@pytest.mark.parametrize("form", ["It is happening now", "it is happening now", "It's happening now!", "正在发生"])
async def test_in_english_line_choice_and_card_are_english(house: House, form: str) -> None:
    reply = await house.hear("someone took my id card")
    assert reply is not None
    assert reply.startswith("If this is going on right now, call 110")
    card = await house.hear(form)
    assert card is not None
    assert ("Get away and call 110" in card) == form.isascii()
    assert await is_alarm(house, "someone took my id card")


@pytest.mark.parametrize("said", ["1", "正在发生！", "现在正在发生", "是的，正在发生"])
async def test_its_number_and_its_words_mean_the_same(house: House, said: str) -> None:
    await house.hear(TAKEN)
    await house.hear(said)
    assert await is_alarm(house, TAKEN)


@pytest.mark.parametrize("between", ["谢谢", "有用", "没用"])
async def test_thanks_and_a_mark_in_between_change_nothing(house: House, between: str) -> None:
    await house.hear(TAKEN)
    await house.hear(between)
    await house.hear("正在发生")
    assert await is_alarm(house, TAKEN)


async def test_who_chose_what_he_meant_can_still_say_that_it_happens(house: House) -> None:
    await house.hear("身份证在他手里")
    assert await house.hear("1") != LINE
    await house.hear("正在发生")
    assert await is_alarm(house, "身份证在他手里")


@pytest.mark.parametrize("before", ["", "身份证丢了怎么办", "你好", "登记", "身份证", "楼上太吵了"])
async def test_without_the_line_just_before_they_are_words_like_any_other(house: House, before: str) -> None:
    await house.hear(TAKEN)
    await house.hear("菜单")
    if before:
        await house.hear(before)
    await house.hear("正在发生")
    assert await house.count(Ticket, Ticket.priority == Priority.URGENT) == 0


@pytest.mark.parametrize("said", ["你好", "谢谢", "身份证丢了怎么办", "楼上太吵了", "身份证", "呜哩哇啦", "菜单"])
async def test_small_talk_and_ordinary_questions_are_answered_without_it(house: House, said: str) -> None:
    reply = await house.hear(said) or ""
    assert LINE not in reply
    assert "正在发生" not in reply


async def test_while_an_officer_speaks_nothing_is_added(house: House) -> None:
    await house.take("zhang")
    assert await house.hear(SMASHING) is None
    assert (await house.conversation()).dialogue is None


async def test_with_the_knowledge_as_it_is_shipped(
    furnished_sqlite_url: str, frozen: FrozenClock, knowledge: Knowledge
) -> None:
    async with House.opened(furnished_sqlite_url, knowledge=knowledge) as house:
        ready = await house.feed(text_message("楼上经常打孩子"))
        assert ready is not None
        assert ready.reply.text.startswith(LINE)
        assert ">正在发生</a>”" in with_choices(ready.reply)  # there is room for it beside the whole answer
        await house.hear("正在发生")
        (ticket,) = await house.tickets()
        assert (ticket.priority, ticket.topic) == (Priority.URGENT, "emergency.domestic")

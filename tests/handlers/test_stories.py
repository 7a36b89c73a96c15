"""What residents say one after the other, and what they read: each router in its place, in both languages."""

import pytest
from sqlalchemy import select, update

import handlers
from bot.message import Event, EventKind, Location, MessageKind
from bot.store.models import (
    AuditEvent,
    Conversation,
    Direction,
    Outcome,
    Priority,
    Referral,
    Resident,
    ResidentAddress,
    StoredMessage,
    Ticket,
    TicketState,
)
from handlers import clarify, menu, perhaps, questions, registration
from knowledge import Decision
from scheduler import jobs
from tests.support.knowledge import SAYINGS
from tests.support.rows import first_fast
from tests.support.station import PHONE, WANG, FrozenClock, House, event, text_message

QUESTION, TITLE = "身份证丢了怎么办", "身份证丢了补办"


async def decision(house: House) -> str | None:
    """How the newest message was understood."""
    return (await house.heard())[-1].decision


async def state(house: House, sender: str = WANG) -> str | None:
    """The dialogue under way."""
    return ((await house.conversation(sender)).dialogue or {}).get("name")


async def read(house: House, said: str, *expected: str) -> str:
    """The resident says something and reads all of this in the answer."""
    answer = await house.hear(said)
    assert answer is not None, said
    for words in expected:
        assert words in answer, (said, answer)
    return answer


# -- the order is the policy ------------------------------------------------------------------------------------------


def test_the_routers_stand_in_the_order_that_was_agreed() -> None:
    names = [router.name for router in handlers.ROUTERS]
    assert names[:2] == ["plain answers to a step", "urgent"]
    order = ["urgent", "held", "clarify choice", "registration", "menu", "alarmed", "questions", "clarify", "fallback"]
    assert [name for name in names if name in order] == order


@pytest.mark.parametrize("before", ["登记", "身份证", "家里停水了", "听不懂的话", "找民警", "删除我的信息"])
async def test_danger_overtakes_whatever_is_going_on(house: House, before: str) -> None:
    await house.hear(before)
    await read(house, "骗子让我正在转账", "正在转账给骗子", "110", "20261123-0001")
    (ticket,) = await house.tickets()
    assert (ticket.priority, ticket.priority_rank, ticket.topic) == (Priority.URGENT, 0, "emergency.fraud_paying")
    assert ticket.subject == "骗子让我正在转账"


async def test_danger_in_english_gets_the_card_in_english(house: House) -> None:
    await read(house, "He is beating me!", "call 110", "Request 20261123-0001")


async def test_a_dialogue_comes_before_the_menu_and_the_menu_before_knowledge(house: House) -> None:
    await read(house, "登记", "第1步")
    await read(house, "枫林社区", "第2步")
    await read(house, "我不想说", "四位数字")  # an answer to the step, though a bad one
    await read(house, "菜单", "找民警")
    assert await state(house) is None


async def test_who_asks_for_an_officer_amid_registration_reaches_him(house: House) -> None:
    await house.hear("登记")
    await house.hear("跳过")
    await read(house, "找民警", "已转给民警")


async def test_what_nobody_answers_is_offered_to_an_officer_and_at_the_second_time_given_to_him(house: House) -> None:
    await read(house, "阿巴阿巴", "没有把握")
    await read(house, "阿巴阿巴阿巴", "已转给民警", "第1位")
    assert (await house.tickets())[0].subject == "阿巴阿巴 / 阿巴阿巴阿巴"


@pytest.mark.parametrize("yes", ["好的", "是", "转吧", "找民警", "yes", "人工。"])
async def test_an_offer_is_taken_up_with_the_question_that_led_to_it(house: House, yes: str) -> None:
    await read(house, "阿巴阿巴", "没有把握")
    await house.hear(yes)
    assert [ticket.subject for ticket in await house.tickets()] == ["阿巴阿巴"]


async def test_small_talk_neither_ends_an_offer_nor_is_a_question(house: House) -> None:
    await house.hear("阿巴阿巴")
    assert await house.hear("你好") == "您好，请讲。"
    assert await house.hear("谢谢") is None
    assert await state(house) == "offer"
    assert await house.tickets() == []


# -- knowledge --------------------------------------------------------------------------------------------------------


async def test_a_question_is_answered_and_its_follow_up_is_about_the_same(house: House) -> None:
    await read(house, QUESTION, TITLE, "户口簿")
    await read(house, "多少钱", "40元")
    assert (await house.heard())[-1].topic == "idcard.lost"
    assert (await house.heard())[0].words  # the words that decided stay with the message


async def test_an_english_question_gets_an_english_answer(house: House) -> None:
    await read(house, "My ID card is lost", "household book")
    labels = [label for label, _send in await house.choices("My ID card is lost")]
    assert labels
    assert all(label.isascii() for label in labels)


async def test_a_matter_for_an_officer_brings_advice_and_a_place_in_the_queue(house: House) -> None:
    await read(house, "楼上太吵了", "先记下时间", "20261123-0001", "第1位")
    (ticket,) = await house.tickets()
    assert (ticket.topic, ticket.subject, ticket.state) == ("dispute.noise", "楼上太吵了", TicketState.OPEN)


async def test_another_department_is_named_and_the_matter_passed_on_if_wanted(
    house: House, frozen: FrozenClock
) -> None:
    await read(house, "家里停水了", "自来水公司", "转办")
    assert await house.tickets() == []
    await read(house, "转办", "自来水公司", "20261123-0001", "5个工作日", "96390")
    (ticket,) = await house.tickets()
    assert (ticket.topic, ticket.subject) == ("dept.water", "家里停水了")
    referral: Referral = await house.one(select(Referral))
    assert (referral.ticket_id, referral.department) == (ticket.id, "自来水公司")
    assert (referral.due_at - frozen.now).days == 7


async def test_refer_means_nothing_without_an_offer_before_it(house: House) -> None:
    await read(house, "转办", "没有把握")
    assert await house.count(Referral) == 0


# -- did you mean -----------------------------------------------------------------------------------------------------


async def test_three_choices_are_numbered(house: House) -> None:
    await read(house, "身份证", "1. 身份证丢了补办", "2. 身份证到期换领", "3. 身份证寄存", "“0”")


@pytest.mark.parametrize("choice", ["2", "２", "二", "第二个", "2。", " 2 ", "身份证到期换领"])
async def test_a_choice_is_made_by_number_or_by_words(house: House, choice: str) -> None:
    await house.hear("身份证")
    await read(house, choice, "带旧证到任一派出所换领")
    assert (await house.heard())[-1].topic == "idcard.expired"


@pytest.mark.parametrize("none", ["0", "０", "都不是", "都不是，找民警"])
async def test_none_of_them_leads_to_an_officer_with_the_first_question(house: House, none: str) -> None:
    await house.hear("身份证")
    await read(house, none, "已转给民警")
    assert [ticket.subject for ticket in await house.tickets()] == ["身份证"]


async def test_a_choice_known_by_name_only_goes_to_an_officer(house: House) -> None:
    await house.hear("身份证")
    await read(house, "3", "已转给民警")
    (ticket,) = await house.tickets()
    assert (ticket.topic, ticket.subject) == ("idcard.unwritten", "身份证")


async def test_a_new_question_instead_of_a_choice_is_a_new_question(house: House) -> None:
    await house.hear("身份证")
    await read(house, "家里停水了", "自来水公司")
    assert await state(house) == "refer"


async def test_a_choice_whose_topic_is_gone_meanwhile_is_no_failure(house: House) -> None:
    await house.hear("身份证")
    async with house.store.write() as session:
        stale = {"name": "clarify", "topics": ["gone.topic"], "question": "身份证"}
        await session.execute(update(Conversation).values(dialogue=stale))
    await read(house, "1", "没有把握")


async def test_an_english_choice_is_answered_in_english(house: House) -> None:
    """A bare number has no language of its own."""
    await read(house, "ID card", "1. Lost ID card", "Do you mean")
    await read(house, "1", "household book")


# -- every choice means what it shows ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    first_fast(
        [
            "身份证", "家里停水了", "登记", "menu", "my id card is lost", "delete my data", "阿巴阿巴",
            "菜单", QUESTION, "删除我的信息", "楼上太吵了", "id card", "gibberish", "register",
        ],
        fast=7,
    ),
)  # fmt: skip
async def test_what_is_tapped_means_the_same_by_its_label_and_by_what_it_sends(house: House, said: str) -> None:
    """One platform sends back what the choice stands for, another one its label."""
    for number, (label, send) in enumerate(await house.choices(said, "o-first")):
        answers = []
        for form in (label, send):
            sender = f"o-{number}-{form}"
            await house.hear(said, sender)
            assert await house.hear(form, sender) is not None, form
            last = (await house.heard())[-1]
            answers.append((last.decision, last.topic, await state(house, sender)))
        assert answers[0] == answers[1], (label, send)


def test_english_choices_are_english() -> None:
    groups = [
        [menu.OFFICER_CHOICE[True]],
        menu.MENU_CHOICES[True],
        [questions.REFER[True]],
        [clarify._NONE[True]],
        [perhaps.HAPPENING[True]],
        registration.SKIP_OR_QUIT[True],
        registration.DELETE_OR_KEEP[True],
    ]
    for choice in (choice for group in groups for choice in group):
        assert choice.label.isascii(), choice
        assert choice.send.isascii(), choice


# -- registration -----------------------------------------------------------------------------------------------------


async def test_somebody_registers_to_the_end(house: House) -> None:
    await read(house, "登记", "第1步", "跳过", "退出")
    await read(house, "我住枫林社区", "第2步")
    await read(house, "我是1958年生的", "第3步", "1 退休")
    await read(house, "1", "第4步")
    await read(house, "中文", "登记好了", "枫林社区", "1958", "退休", "中文")
    resident = await house.resident()
    assert resident.community_id == await house.community("枫林社区")
    assert (resident.birth_year, resident.occupation, resident.language) == (1958, "退休", "zh")
    assert await state(house) is None
    await read(house, "谁是我的民警", "张伟", "033101", "枫林社区", "13900001111", "现在在岗")


@pytest.mark.parametrize(("said", "year"), [("一九五零", 1950), ("76岁", 1950), ("七十六", None), ("1950年", 1950)])
async def test_a_year_may_be_told_in_other_ways(house: House, said: str, year: int | None) -> None:
    await house.hear("登记")
    await house.hear("跳过")
    await house.hear(said)
    assert (await house.resident()).birth_year == year


async def test_who_registers_in_english_reads_the_occupations_in_english(house: House) -> None:
    await house.hear("register")
    await house.hear("skip")
    await read(house, "skip", "Step 3", "7 student")
    await house.hear("Student")
    assert (await house.resident()).occupation == "学生"


async def test_an_answer_that_alone_would_be_a_call_for_help_is_an_answer(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for said in ("枫林社区", "1958", "司机", "枫林社区有人拿刀"):
        monkeypatch.setitem(SAYINGS, said, (Decision.URGENT, "emergency.violence"))
    await house.hear("登记")
    for said in ("枫林社区", "1958", "司机", "1"):
        await house.hear(said)
    assert await house.tickets() == []
    await house.hear("登记")
    await house.hear("枫林社区有人拿刀")
    assert [ticket.priority for ticket in await house.tickets()] == [Priority.URGENT]


async def test_a_village_that_is_not_ours_is_asked_for_again_whatever_else_it_sounds_like(house: House) -> None:
    await house.hear("登记")
    await read(house, "楼上太吵了", "没找到", "枫林社区")
    assert await state(house) == "register"


async def test_what_is_added_after_the_alarm_gets_no_guess(house: House) -> None:
    await house.hear("骗子让我正在转账")
    await read(house, "楼上太吵了", "已记下", "20261123-0001", "申请止付")
    await read(house, "宇宙飞船", "已记下")
    await read(house, QUESTION, TITLE)  # a question about something we know is answered
    await house.take("zhang")
    assert await house.hear("宇宙飞船") is None  # an officer speaks
    assert len(await house.tickets()) == 1


async def test_what_is_added_to_a_fire_says_whom_to_call(house: House) -> None:
    await house.hear("He is beating me!")
    await read(house, "spaceship", "Noted", "call 110")


async def test_each_step_may_be_skipped(house: House) -> None:
    await house.hear("登记")
    for number in (2, 3, 4):
        await read(house, "跳过", f"第{number}步")
    await read(house, "不想说", "登记好了", "未填写")
    resident = await house.resident()
    assert (resident.community_id, resident.birth_year, resident.occupation) == (None, None, None)


async def test_who_stops_keeps_what_he_told(house: House) -> None:
    await house.hear("登记")
    await house.hear("柳河村")
    await read(house, "退出", "已停止登记")
    assert (await house.resident()).community_id == await house.community("柳河村")
    assert await state(house) is None


@pytest.mark.parametrize(
    ("step", "before", "wrong", "again"),
    [
        ("community", [], "月球社区", "没找到“月球社区”"),
        ("community", [], "社区", "有几个名字相近"),
        ("birth_year", ["跳过"], "1850", "四位数字"),
        ("birth_year", ["跳过"], "2099年", "四位数字"),
        ("birth_year", ["跳过"], "58", "四位数字"),
        ("occupation", ["跳过", "跳过"], "99", "数字或名称"),
        ("occupation", ["跳过", "跳过"], "宇航员", "数字或名称"),
        ("language", ["跳过", "跳过", "跳过"], "3", "1（中文）"),
    ],
)
async def test_an_answer_that_is_none_is_asked_for_once_more(
    house: House, step: str, before: list[str], wrong: str, again: str
) -> None:
    for said in ("登记", *before):
        await house.hear(said)
    await read(house, wrong, again)
    dialogue = (await house.conversation()).dialogue
    assert dialogue is not None
    assert (dialogue["name"], dialogue["step"]) == ("register", step)
    await house.hear("宇宙飞船")  # the second time it is taken for something else
    assert await state(house) != "register"


async def test_a_question_amid_registration_is_answered(house: House) -> None:
    await house.hear("登记")
    await read(house, QUESTION, TITLE)
    assert await state(house) != "register"
    resident = await house.resident()
    assert resident.community_id is None


async def test_what_was_told_can_be_seen_and_corrected(house: House) -> None:
    await house.hear("登记")
    for said in ("枫林社区", "1958", "务农", "中文"):
        await house.hear(said)
    await read(house, "我的信息", "枫林社区", "1958", "务农")
    await read(house, "修改职业", "第3步")
    await read(house, "司机", "登记好了", "司机", "1958")  # this one step only
    await read(house, "修改社区。", "第1步")
    await read(house, "湖滨", "湖滨社区")
    assert (await house.resident()).community_id == await house.community("湖滨社区")


async def test_a_menu_key_for_correcting_works_like_the_words(house: House) -> None:
    answer = await house.hear(event(EventKind.CLICK, "修改出生年份"))
    assert answer is not None
    assert "第2步" in answer


async def test_an_english_registration_stays_english(house: House) -> None:
    """The name of a village and a year are no English, and the next question was asked in Chinese."""
    await read(house, "register", "Step 1")
    await read(house, "枫林社区", "Step 2")
    await read(house, "1984", "Step 3")
    await read(house, "7", "Step 4")
    await read(house, "English", "Done", "1984", "English")
    assert (await house.resident()).language == "en"


async def test_who_wants_to_be_forgotten_is(house: House) -> None:
    await house.hear(QUESTION)
    await house.hear("登记")
    for said in ("枫林社区", "1958", "务农", "中文"):
        await house.hear(said)
    await jobs.index_messages(house.desk)
    await read(house, "删除我的信息", "确认删除")
    await read(house, "确认删除", "已删除")
    resident = await house.resident()
    assert (resident.community_id, resident.birth_year, resident.occupation) == (None, None, None)
    assert resident.erased_at is not None
    bodies = [message.body for message in await house.all(select(StoredMessage).order_by(StoredMessage.id))]
    assert set(bodies[:-1]) == {"(居民已要求删除)"}
    assert "已删除" in bodies[-1]


@pytest.mark.parametrize("no", ["不删除", "取消", "身份证丢了怎么办", "算了吧"])
async def test_anything_but_the_confirmation_deletes_nothing(house: House, no: str) -> None:
    await house.hear(QUESTION)
    await house.hear("删除我的信息")
    await house.hear(no)
    await house.hear("确认删除")  # too late: the question was another one
    assert (await house.resident()).erased_at is None
    assert (await house.heard())[0].body == QUESTION


async def test_nothing_is_deleted_while_a_matter_is_open(house: House) -> None:
    await house.hear("找民警")
    await read(house, "删除我的信息", "20261123-0001", "办结后")
    await house.hear("确认删除")
    assert (await house.resident()).erased_at is None


# -- menu words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["菜单", "帮助", "帮助。", "help", "HELP!", "?", "？"])
async def test_the_menu_is_shown(house: House, said: str) -> None:
    answer = await house.hear(said)
    assert answer is not None
    assert "110" in answer
    assert await decision(house) == "chat"


async def test_who_is_my_officer_without_a_community(house: House) -> None:
    await read(house, "谁是我的民警", "还不知道您住在哪个社区", PHONE)


@pytest.mark.parametrize("said", ["找民警", "人工", "转人工。", "我要找警察", "officer"])
async def test_who_asks_for_a_person_gets_into_the_queue(house: House, said: str) -> None:
    answer = await house.hear(said)
    assert answer is not None
    assert "20261123-0001" in answer
    assert len(await house.tickets()) == 1


@pytest.mark.parametrize(
    ("minutes", "topic", "subject"), [(29, "idcard.lost", "身份证丢了怎么办"), (31, None, "找民警")]
)
async def test_an_officer_asked_for_later_does_not_get_the_old_topic(
    house: House, frozen: FrozenClock, minutes: int, topic: str | None, subject: str
) -> None:
    await house.hear("身份证丢了怎么办")
    frozen.forward(minutes=minutes)
    await house.hear("找民警")
    (ticket,) = await house.tickets()
    assert (ticket.topic, ticket.subject) == (topic, subject)


async def test_asking_twice_makes_one_ticket(house: House) -> None:
    await read(house, "找民警", "已转给民警", "用一句话")
    await read(house, "找民警", "已在民警的队列里")
    assert len(await house.tickets()) == 1


async def test_how_far_is_my_request(house: House) -> None:
    await read(house, "我的求助", "没有正在处理的求助")
    await house.hear("找民警")
    await read(house, "我的求助", "等待民警接手", "第1位")


async def test_warnings_can_be_stopped_and_resumed(house: House) -> None:
    await read(house, "不再提醒", "不再给您发")
    assert (await house.resident()).wants_warnings is False
    await read(house, "我的信息", "不接收")
    await read(house, "恢复提醒", "会发给您")
    assert (await house.resident()).wants_warnings is True


# -- waiting ----------------------------------------------------------------------------------------------------------


async def test_the_place_in_the_queue_counts_those_before(house: House) -> None:
    await house.hear("找民警", "o-first")
    await house.hear("找民警", "o-second")
    await read(house, "找民警", "第3位", "尽快在这里回复您")
    assert await house.hear("骗子让我正在转账", "o-urgent") is not None
    await read(house, "我的求助", "第4位")


@pytest.mark.parametrize(
    ("hours", "when"),
    [
        (4, "今天14:00"),  # Monday 13:30, the midday break
        (10, "明天08:30"),  # Monday evening
        (4 * 24 + 12, "11月30日08:30"),  # Friday night: on Monday
    ],
)
async def test_off_duty_he_is_told_when_somebody_will_be_there(
    house: House, frozen: FrozenClock, hours: int, when: str
) -> None:
    frozen.forward(hours=hours)
    await read(house, "找民警", "没有民警坐班", when, PHONE, "保留")


async def test_in_english_too(house: House, frozen: FrozenClock) -> None:
    frozen.forward(hours=10)
    await read(house, "officer", "08:30 tomorrow", PHONE)


async def test_nobody_promises_a_time_that_no_roster_gives(house: House) -> None:
    async with house.store.write() as session:
        for officer in ("zhang", "li"):
            (await session.merge(await house.officer(officer))).duty = {}
    await read(house, "找民警", "没有民警坐班", "保留")


# -- an officer speaks ------------------------------------------------------------------------------------------------


async def test_a_message_to_a_waiting_officer_moves_his_ticket(house: House) -> None:
    await house.hear("找民警")
    number = await house.take("zhang")
    async with house.store.write() as session:
        ticket = await session.get_one(Ticket, number)
        ticket.state = TicketState.WAITING
    assert await house.hear("材料拍好了") is None
    assert (await house.tickets())[0].state is TicketState.ASSIGNED
    assert await decision(house) == "held"


# -- who waits for an officer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", ["撤销求助", "撤回求助", "取消求助。", "不等了", "不用了", "算了不用了", "cancel my request"]
)
async def test_who_no_longer_waits_takes_his_request_back(house: House, said: str) -> None:
    await house.hear("找民警")
    await read(house, said, "20261123-0001")
    assert await state(house) == "withdraw"
    await read(house, "1", "20261123-0001")
    (ticket,) = await house.tickets()
    assert (ticket.state, ticket.outcome, ticket.assignee_id) == (TicketState.CLOSED, Outcome.WITHDRAWN, None)
    async with house.store.read() as session:
        logged = (await session.execute(select(AuditEvent).where(AuditEvent.action == "ticket.closed"))).scalars()
        assert [event.details["outcome"] for event in logged] == ["withdrawn"]
    await read(house, "删除我的信息", "确认删除")  # nothing stands in its way any more


async def test_who_goes_on_waiting_keeps_his_place(house: House) -> None:
    await house.hear("找民警")
    await house.hear("不用了")
    await read(house, "继续等", "等待民警接手", "第1位")
    (ticket,) = await house.tickets()
    assert ticket.state is TicketState.OPEN


async def test_a_call_for_help_is_not_withdrawn_by_the_resident(house: House) -> None:
    await house.hear("找民警")
    await house.hear("撤销求助")
    await house.hear("骗子让我正在转账")
    for said in ("撤回求助", "不用了", "撤销求助"):
        await read(house, said, "紧急求助", "民警仍会联系您或上门")
    (ticket,) = await house.tickets()
    assert (ticket.state, ticket.priority) == (TicketState.OPEN, Priority.URGENT)


async def test_without_a_request_there_is_nothing_to_withdraw(house: House) -> None:
    await read(house, "撤回求助", "没有正在处理的求助")
    await house.hear("不用了")
    assert await state(house) != "withdraw"


@pytest.mark.parametrize("said", ["民警怎么还不来", "怎么没人理我？", "我排第几", "还要等多久"])
async def test_who_asks_how_long_it_takes_is_told_where_he_stands(house: House, said: str) -> None:
    await house.hear("找民警")
    await read(house, said, "20261123-0001", "等待民警接手", "第1位")


# -- what carries no words --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "alone"),
    [
        (MessageKind.IMAGE, "图片收到了"),
        (MessageKind.VIDEO, "收到了"),
        (MessageKind.VOICE, "没能听清"),
        (MessageKind.LOCATION, "位置收到了"),
        (MessageKind.LINK, "先不要点开"),
    ],
)
async def test_each_kind_is_acknowledged(house: House, kind: MessageKind, alone: str) -> None:
    message = text_message(
        "", kind=kind, media="platform-media", url="http://x", location=Location(30.2, 120.1, "路口")
    )
    answer = await house.hear(message)
    assert answer is not None
    assert alone in answer


@pytest.mark.parametrize("kind", [MessageKind.IMAGE, MessageKind.LOCATION])
async def test_with_a_ticket_it_is_passed_on(house: House, kind: MessageKind) -> None:
    await house.hear("找民警")
    answer = await house.hear(text_message("", kind=kind, media="m", location=Location(30.2, 120.1)))
    assert answer is not None
    assert "民警会看到（编号20261123-0001）" in answer


async def test_a_recognised_voice_message_is_a_question(house: House) -> None:
    answer = await house.hear(text_message(QUESTION, kind=MessageKind.VOICE, media="m"))
    assert answer is not None
    assert TITLE in answer


@pytest.mark.parametrize(
    "message",
    [
        text_message("", kind=MessageKind.UNKNOWN),
        text_message("", kind=MessageKind.EVENT, event=Event(EventKind.OTHER, name="LOCATION")),
        text_message("", kind=MessageKind.EVENT, event=Event(EventKind.VIEW, "http://x")),
        text_message("", kind=MessageKind.EVENT, event=Event(EventKind.CLICK, "no such key")),
    ],
    ids=["unknown", "other", "view", "click"],
)
async def test_what_we_do_not_know_is_stored_and_acknowledged(house: House, message: object) -> None:
    await house.hear("登记")
    assert await house.hear(text_message("", kind=message.kind, event=message.event)) is None  # type: ignore[attr-defined]
    assert (await house.heard())[-1].decision in ("event", "chat")
    assert await state(house) == "register"  # nothing under way is disturbed


# -- following --------------------------------------------------------------------------------------------------------


async def test_who_follows_by_a_communitys_code_belongs_there(house: House) -> None:
    answer = await house.hear(event(EventKind.SUBSCRIBE, "hubin"))
    assert answer is not None
    for words in ("邻家警长", "湖滨社区", "李娜", "登记", "删除我的信息", "3年"):
        assert words in answer
    assert (await house.resident()).community_id == await house.community("湖滨社区")


@pytest.mark.parametrize("key", ["", "no-such-code", "fenglin' OR 1=1 --"])
async def test_a_code_nobody_gave_out_binds_to_nothing(house: House, key: str) -> None:
    answer = await house.hear(event(EventKind.SUBSCRIBE, key))
    assert answer is not None
    assert "邻家警长" in answer
    assert (await house.resident()).community_id is None


async def test_a_scan_moves_a_resident_and_names_the_officer(house: House) -> None:
    await house.hear(event(EventKind.SUBSCRIBE, "hubin"))
    answer = await house.hear(event(EventKind.SCAN, "liuhe"))
    assert answer is not None
    assert "柳河村" in answer
    assert "张伟" in answer
    assert (await house.resident()).community_id == await house.community("柳河村")


async def test_who_leaves_gets_nothing_more_until_he_comes_back(house: House) -> None:
    await house.feed(text_message(QUESTION), wait_seconds=0)
    await house.dispatcher.close()
    assert await house.hear(event(EventKind.UNSUBSCRIBE)) is None
    await house.work()
    assert house.channel.given == []
    (delivery,) = await house.deliveries()
    assert (delivery.state.value, delivery.reason) == ("skipped", "居民已取消关注")
    assert delivery.finished_at is not None
    assert delivery.retry_at is None
    await house.hear(event(EventKind.SUBSCRIBE))
    address: ResidentAddress = await house.one(select(ResidentAddress))
    assert address.following


async def test_a_known_resident_who_follows_again_is_not_asked_to_register(house: House) -> None:
    await house.hear("登记")
    for said in ("枫林社区", "1958", "务农", "中文"):
        await house.hear(said)
    answer = await house.hear(event(EventKind.SUBSCRIBE))
    assert answer is not None
    assert "可以回复“登记”" not in answer


async def test_everything_said_stands_in_the_conversation(house: House) -> None:
    for said in (QUESTION, "登记", "跳过", "楼上太吵了", "谢谢"):
        await house.hear(said)
    conversation = await house.conversation()
    rows = await house.all(select(StoredMessage).order_by(StoredMessage.id))
    assert {row.conversation_id for row in rows} == {conversation.id}
    assert [row.direction for row in rows].count(Direction.IN) == 5
    assert await house.count(Resident) == 1

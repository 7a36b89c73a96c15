"""Menu words: help, my officer, my data, my request, an officer please."""

from zoneinfo import ZoneInfo

from bot.actions import duties, residents, tickets
from bot.actions.audit import Actor
from bot.message import Choice, Reply
from bot.router import Answer, Context, Router, Turn, says
from bot.store.models import Officer, TicketState
from handlers.queue import hand_over, moment, queued
from handlers.texts import text

router = Router("menu")

# What is tapped comes back as words, so an English choice must send English words. Each by: in English.
OFFICER_CHOICE = {False: Choice("找民警", "找民警"), True: Choice("Officer", "officer")}
MENU_CHOICES = {
    False: (OFFICER_CHOICE[False], *(Choice(words, words) for words in ("谁是我的民警", "登记", "我的信息"))),
    True: (
        OFFICER_CHOICE[True],
        Choice("My officer", "my officer"),
        Choice("Register", "register"),
        Choice("My data", "my data"),
    ),
}
OFFICER_WORDS = (
    "找民警", "人工", "转人工", "人工服务", "找人工", "找警察", "我要找民警", "我要找警察", "联系民警", "真人",
    "民警在吗", "警官在吗", "officer", "human", "talk to an officer", "police officer", "agent",
)  # fmt: skip


@router.handle(says("菜单", "帮助", "功能", "help", "menu", "?", "？"))
async def menu(context: Context) -> Answer:
    return Answer(Reply(text("menu", english=context.english), MENU_CHOICES[context.english]), "chat")


@router.handle(says(*OFFICER_WORDS))
async def officer_please(context: Context) -> Answer:
    """With the question before it, if that was just now; days later it is another matter."""
    question, topic = "", None
    if context.is_going_on:
        question = str(context.dialogue.get("question", ""))
        topic = context.dialogue.get("topic") or context.conversation.last_topic

    async def queue(turn: Turn) -> Reply:
        ticket = await hand_over(turn, topic=topic, subject=question or context.text)
        where = await queued(turn, ticket)
        ask = "" if question or topic else "\n" + text("offer_anonymous_ask", english=context.english)
        return Reply(where + ask)

    return Answer(None, "officer", topic, act=queue)


@router.handle(
    says("谁是我的民警", "我的民警", "社区民警", "民警电话", "我的社区民警是谁", "my officer", "who is my officer")
)
async def my_officer(context: Context) -> Answer:
    async with context.read() as session:
        officer = await residents.officer_of(session, context.station.id, context.conversation.resident.community_id)
    return Answer(
        Reply(officer_card(context, officer), (OFFICER_CHOICE[context.english],)), "answer", "station.my_officer"
    )


def officer_card(context: Context, officer: Officer | None) -> str:
    english, community = context.english, context.conversation.resident.community
    if officer is None or community is None:
        phone = context.station.settings.get("station.phone", "110")
        return text("officer_card_unknown", english=english, phone=phone)
    zone = ZoneInfo(context.station.timezone)
    if duties.is_on_duty(officer, context.now, zone):
        duty = text("duty_now", english=english)
    elif upcoming := duties.next_duty(officer, context.now, zone):
        duty = text("duty_next", english=english, when=moment(upcoming, context))
    else:
        duty = text("duty_unknown", english=english)
    badge = (
        f"（警号{officer.badge}）" if officer.badge and not english else f" ({officer.badge})" if officer.badge else ""
    )
    return text(
        "officer_card",
        english=english,
        name=officer.name,
        badge=badge,
        community=community.name,
        phone=officer.phone or "110",
        duty=duty,
    )


@router.handle(says("我的求助", "我的工单", "查进度", "办得怎么样了", "my request", "my ticket"))
async def my_request(context: Context) -> Answer:
    async with context.read() as session:
        ticket = await tickets.unclosed(session, context.conversation.id)
    if ticket is None:
        return Answer(
            Reply(text("my_ticket_none", english=context.english), (OFFICER_CHOICE[context.english],)), "chat"
        )
    state = text(f"state_{ticket.state.value}", english=context.english)

    async def look(turn: Turn) -> Reply:
        more = await queued(turn, ticket) if ticket.state is TicketState.OPEN else ""
        return Reply(text("my_ticket", english=context.english, number=ticket.number, state=state, more=more).strip())

    return Answer(None, "chat", act=look)


@router.handle(says("不再提醒", "停止提醒", "退订", "不要提醒", "stop warnings", "unsubscribe"))
async def stop_warnings(context: Context) -> Answer:
    return _warnings(context, wanted=False)


@router.handle(says("恢复提醒", "接收提醒", "resume warnings"))
async def resume_warnings(context: Context) -> Answer:
    return _warnings(context, wanted=True)


def _warnings(context: Context, *, wanted: bool) -> Answer:
    async def change(turn: Turn) -> Reply:
        actor = Actor(turn.conversation.station_id)
        await residents.set_wants_warnings(turn.session, turn.conversation.resident, wanted, actor=actor)
        return Reply(text("warnings_resumed" if wanted else "warnings_stopped", english=context.english))

    return Answer(None, "chat", act=change)

"""Questions the knowledge knows: answered, handed to an officer with first advice, or referred to a department."""

from collections.abc import Mapping
from dataclasses import replace

from bot.actions import referrals
from bot.message import TEXT_LIMIT_CHARACTERS, Choice, Reply
from bot.router import Answer, Context, Router, Turn, has_text, in_dialogue, says
from handlers import perhaps
from handlers.feedback import feedback_choices
from handlers.menu import OFFICER_CHOICE
from handlers.queue import answer_with_queue, hand_over
from handlers.texts import text
from knowledge import Decision, Match

router = Router("questions")


_ROOM = {Decision.OFFICER: 130, Decision.REFER: 80}  # for what follows the advice: the queue, the offer to refer

REFER = {False: Choice("请帮我转办", "转办"), True: Choice("Please refer it", "refer")}  # by: in English
REFER_WORDS = ("转办", "请帮我转办", "please refer it", "帮我转办", "需要转办", "refer")


@router.handle(in_dialogue("refer"), says(*REFER_WORDS))
async def referral(context: Context) -> Answer:
    """The resident wants us to pass his matter to the department named before."""
    topic, question = str(context.dialogue["topic"]), str(context.dialogue["question"])
    entry = context.knowledge.entries[topic]

    async def pass_on(turn: Turn) -> Reply:
        ticket = await hand_over(turn, topic=topic, subject=question)
        department = entry.department or entry.title
        await referrals.open_referral(turn.session, ticket, department, now=context.now)
        return Reply(
            text(
                "referred",
                english=context.english,
                department=department,
                number=ticket.number,
                days=referrals.ANSWER_WORKING_DAYS,
                phone=entry.number or "12345",
            )
        )

    return Answer(None, Decision.REFER, topic, act=pass_on)


@router.handle(has_text)
async def known(context: Context) -> Answer | None:
    match = context.match
    if match.topic is None or match.decision not in _ANSWERS:
        return None
    topic = _before_if_in_english(context, match) or match.topic
    return answer_topic(context, topic, match.decision, match)


def _before_if_in_english(context: Context, match: Match) -> str | None:
    """A family's fees and times stand in an entry of their own, mostly in Chinese only; who asks for them in English
    after another entry of the family reads them there."""
    before, topic = context.conversation.last_topic or "", match.topic or ""
    entries = context.knowledge.entries
    if not context.english or match.facet is None or before not in entries or topic not in entries:
        return None
    is_kin = before.partition(".")[0] == topic.partition(".")[0]
    return before if is_kin and entries[before].english and not entries[topic].english else None


def answer_topic(context: Context, topic: str, decision: Decision, match: Match | None, question: str = "") -> Answer:
    """The answer to a topic that is known, by what the topic's route wants."""
    english = context.english
    also = ""
    if match is not None and match.also:
        also = "\n\n" + text("also", english=english, title=title_of(context, match.also))
    only_chinese = english and not context.knowledge.entries[topic].english
    preface = text("only_chinese", english=True) + "\n\n" if only_chinese else ""
    room = _ROOM.get(decision, 0) + len(also) + len(preface) + perhaps.room(match)
    body = (
        preface
        + context.knowledge.answer(
            topic,
            facet=match.facet if match else None,
            language="en" if english else "zh",
            settings=context.station.settings,
            limit=TEXT_LIMIT_CHARACTERS - room,
        )
        + also
    )
    feedback = feedback_choices(english)
    state = {"topic": topic, "question": question or context.text}  # for "找民警" right after it
    if decision is Decision.OFFICER:

        async def queue(turn: Turn) -> Reply:
            return replace(await answer_with_queue(turn, body, topic=topic, subject=question or None), choices=feedback)

        return Answer(None, decision, topic, dialogue=_after("answered", state, feedback), act=queue, match=match)
    if decision is Decision.REFER:
        entry = context.knowledge.entries[topic]
        offer = text("refer_offer", english=english, department=entry.department or entry.title)
        reply = Reply(f"{body}\n\n{offer}", (REFER[english], OFFICER_CHOICE[english], *feedback))
        return Answer(reply, decision, topic, dialogue=_after("refer", state, reply.choices), match=match)
    reply = Reply(body, (OFFICER_CHOICE[english], *feedback))
    return Answer(reply, decision, topic, dialogue=_after("answered", state, reply.choices), match=match)


def title_of(context: Context, topic: str) -> str:
    """The topic's title in the resident's language, as far as it has one."""
    entry = context.knowledge.entries[topic]
    return str((entry.english or {}).get("title") or entry.title) if context.english else entry.title


def _after(name: str, state: Mapping[str, str], choices: tuple[Choice, ...]) -> dict[str, object]:
    """The dialogue that an answer leaves behind; a bare number then means one of its choices."""
    return {**state, "name": name, "choices": [choice.send for choice in choices]}


_ANSWERS = frozenset({Decision.ANSWER, Decision.OFFICER, Decision.REFER})
ROUTE_DECISIONS = {"answer": Decision.ANSWER, "officer": Decision.OFFICER, "dept": Decision.REFER}

"""Danger happening now, or money moving to a swindler now: the emergency card at once and an urgent ticket."""

from bot.message import Reply
from bot.router import Answer, Context, Router, Turn, has_text, says_own_words
from bot.store.models import Priority
from handlers import perhaps
from handlers.questions import title_of
from handlers.queue import hand_over
from handlers.texts import text
from knowledge import Decision

router = Router("urgent")


def is_urgent(context: Context) -> bool:
    """Nobody calls for help with the words of our own buttons and menus."""
    return not says_own_words(context) and context.match.decision is Decision.URGENT


@router.handle(perhaps.is_confirmed)
async def happening(context: Context) -> Answer:
    """What may have been a call for help is one: the card of its kind, and the words it was asked with."""
    return _alarm(context, str(context.dialogue["perhaps"]), question=str(context.dialogue["question"]))


@router.handle(has_text, is_urgent)
async def emergency(context: Context) -> Answer:
    match = context.match
    also = ""
    if match.also is not None:
        also = "\n" + text("also", english=context.english, title=title_of(context, match.also))
    return _alarm(context, match.topic or "emergency.violence", also=also).but(match=match)


def _alarm(context: Context, topic: str, *, question: str | None = None, also: str = "") -> Answer:
    """The card of this kind of danger, and the alarm; `question` is what it is about, if not this message."""
    english = context.english
    card = context.knowledge.answer(topic, language="en" if english else "zh", settings=context.station.settings)

    async def alarm(turn: Turn) -> Reply:
        ticket = await hand_over(turn, topic=topic, priority=Priority.URGENT, subject=question)
        return Reply(card + "\n" + text("urgent_ticket", english=english, number=ticket.number) + also)

    return Answer(Reply(card), Decision.URGENT, topic, act=alarm)

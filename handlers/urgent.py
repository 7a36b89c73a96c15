"""Danger happening now, or money moving to a swindler now: the emergency card at once and an urgent ticket."""

from bot.message import Reply
from bot.router import Answer, Context, Router, Turn, has_text, says_own_words
from bot.store.models import Priority
from handlers.questions import title_of
from handlers.queue import hand_over
from handlers.texts import text
from knowledge import Decision

router = Router("urgent")


def is_urgent(context: Context) -> bool:
    """Nobody calls for help with the words of our own buttons and menus."""
    return not says_own_words(context) and context.match.decision is Decision.URGENT


@router.handle(has_text, is_urgent)
async def emergency(context: Context) -> Answer:
    topic = context.match.topic or "emergency.violence"
    english = context.match.language == "en"
    card = context.knowledge.answer(topic, language="en" if english else "zh", settings=context.station.settings)
    also = ""
    if context.match.also is not None:
        title = title_of(context, context.match.also)
        also = "\n" + text("also", english=english, title=title)

    async def alarm(turn: Turn) -> Reply:
        ticket = await hand_over(turn, topic=topic, priority=Priority.URGENT)
        return Reply(card + "\n" + text("urgent_ticket", english=english, number=ticket.number) + also)

    return Answer(Reply(card), Decision.URGENT, topic, act=alarm, match=context.match)

"""One tap after an answer: it helped, or it did not and then an officer is offered."""

from bot.actions import messages, tickets
from bot.message import Choice, Reply
from bot.router import KEEP, Answer, Context, Router, Turn, has_text, says
from bot.store.models import StoredMessage
from handlers.menu import OFFICER_CHOICE
from handlers.texts import text

router = Router("feedback")

_HELPFUL = {False: Choice("有用", "有用"), True: Choice("Helpful", "helpful")}  # by: in English
_NO_HELP = {False: Choice("没用", "没用"), True: Choice("Not helpful", "not helpful")}
HELPFUL_WORDS = ("有用", "有帮助", "helpful")
NO_HELP_WORDS = ("没用", "没有用", "没帮助", "没有帮助", "not helpful", "no help")
_MAY_STAND = (None, "answered", "refer", "offer")  # dialogues in which these words speak of the answer


def feedback_choices(english: bool) -> tuple[Choice, Choice]:
    return _HELPFUL[english], _NO_HELP[english]


def speaks_of_the_answer(context: Context) -> bool:
    return context.dialogue.get("name") in _MAY_STAND


@router.handle(has_text, speaks_of_the_answer, says(*HELPFUL_WORDS))
async def helpful(context: Context) -> Answer | None:
    if await _question(context) is None:
        return None  # nothing was answered: words like any other

    async def mark(turn: Turn) -> Reply:
        await _mark(turn, helpful=True)
        return Reply(text("feedback_thanks", english=context.english))

    return Answer(None, "event", dialogue=KEEP, act=mark)


@router.handle(has_text, speaks_of_the_answer, says(*NO_HELP_WORDS))
async def no_help(context: Context) -> Answer | None:
    question = await _question(context)
    if question is None:
        return None

    async def mark(turn: Turn) -> Reply:
        await _mark(turn, helpful=False)
        if await tickets.unclosed(turn.session, turn.conversation.id) is not None:
            return Reply(text("feedback_sorry_queued", english=context.english))
        return Reply(text("feedback_sorry", english=context.english), (OFFICER_CHOICE[context.english],))

    offer = {
        "name": "offer",
        "question": question.body,
        "topic": question.topic,
        "choices": [OFFICER_CHOICE[context.english].send],
    }
    return Answer(None, "event", dialogue=offer, act=mark)


async def _question(context: Context) -> StoredMessage | None:
    async with context.read() as session:
        return await messages.answered_last(session, context.station.id, context.conversation.id)


async def _mark(turn: Turn, *, helpful: bool) -> None:
    """In the turn's own transaction, on the row as it is now."""
    question = await messages.answered_last(turn.session, turn.conversation.station_id, turn.conversation.id)
    if question is not None:
        messages.mark_helpful(question, helpful)

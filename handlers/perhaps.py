"""What may be a call for help: its ordinary answer, after one line that asks whether it happens now."""

from dataclasses import replace

from bot.actions import tickets
from bot.message import Choice, Reply
from bot.router import KEEP, Answer, Context, Turn
from bot.store.models import Priority
from handlers.texts import text
from knowledge import Match

HAPPENING = {  # by: in English; the label stands in the line too
    False: Choice("正在发生", "正在发生"),
    True: Choice("It is happening now", "it is happening now"),
}
_LINK_CHARACTERS = 130  # the longest address behind the choice, and the other choices in plain words
_WORDS = frozenset(
    (
        "正在发生", "是的，正在发生", "是的正在发生", "正在发生中", "现在正在发生", "正在發生",
        "it is happening now", "it's happening now", "it’s happening now", "is happening now", "happening now",
    )
)  # fmt: skip


def room(match: Match | None) -> int:
    """How many characters the line takes from an answer: it must stay tappable where choices are links."""
    return 0 if match is None or match.perhaps is None else len(_line(match.language == "en")) + _LINK_CHARACTERS


async def asked_along(context: Context, answer: Answer) -> Answer:
    """The answer to a message that may be a call for help, with the line and the choice that makes it one.

    Nobody is asked who has raised the alarm already. What the dialogue remembers of it stays while the resident only
    picks from what the answer offered.
    """
    match = answer.match
    if match is None:
        return _remembered(context, answer)
    if match.perhaps is None or answer.decision == "held" or await _is_raised(context):
        return answer
    english = match.language == "en"

    def asking(reply: Reply) -> Reply:
        return replace(reply, text=_line(english) + reply.text, choices=(HAPPENING[english], *reply.choices))

    act = answer.act

    async def act_asking(turn: Turn) -> Reply | None:
        reply = None if act is None else await act(turn)
        return None if reply is None else asking(reply)

    before = dict(answer.dialogue or {})
    state = {"question": context.text, **before, "perhaps": match.perhaps}
    if "choices" in before:
        state["choices"] = [HAPPENING[english].send, *before["choices"]]
    return answer.but(
        reply=None if answer.reply is None else asking(answer.reply),
        act=None if act is None else act_asking,
        dialogue=state,
    )


async def _is_raised(context: Context) -> bool:
    async with context.read() as session:
        ticket = await tickets.unclosed(session, context.conversation.id)
    return ticket is not None and ticket.priority is Priority.URGENT


def is_confirmed(context: Context) -> bool:
    """The resident was asked whether it happens now, and says so."""
    return "perhaps" in context.dialogue and not context.menu_words.isdisjoint(_WORDS)


def _line(english: bool) -> str:
    return text("perhaps", english=english) + "\n\n"


def _remembered(context: Context, answer: Answer) -> Answer:
    kind, state = context.dialogue.get("perhaps"), answer.dialogue
    if kind is None or state is None or state is KEEP or "question" not in state:
        return answer
    return answer.but(dialogue={**state, "perhaps": kind})

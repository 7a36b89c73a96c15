"""Small talk, and what was not understood: an honest word and the offer of an officer, the second time the officer."""

from bot.message import Reply
from bot.router import KEEP, Answer, Context, Router, Turn, has_text, in_dialogue, says
from handlers.menu import OFFICER_CHOICE
from handlers.queue import answer_with_queue
from handlers.texts import text
from knowledge import Decision

router = Router("fallback")

_YES = ("是", "是的", "好", "好的", "可以", "要", "要的", "嗯", "行", "转吧", "yes", "ok", "please")


@router.handle(in_dialogue("offer"), says(*_YES))
async def accepted(context: Context) -> Answer:
    return _to_officer(context, str(context.dialogue["question"]))


@router.handle(has_text)
async def small_talk(context: Context) -> Answer | None:
    match = context.match
    if match.decision is not Decision.CHAT or match.reply is None:
        return None
    return Answer(Reply(match.reply) if match.reply else None, Decision.CHAT, dialogue=KEEP, match=match)


@router.handle(in_dialogue("offer"), has_text)
async def not_understood_again(context: Context) -> Answer:
    """Who asks a second time wants a person."""
    return _to_officer(context, f"{context.dialogue['question']} / {context.text}")


@router.handle(has_text)
async def not_understood(context: Context) -> Answer:
    return Answer(
        Reply(text("offer_officer", english=context.english), (OFFICER_CHOICE[context.english],)),
        Decision.UNKNOWN,
        dialogue={"name": "offer", "question": context.text},
        match=context.match,
    )


@router.handle()
async def wordless(context: Context) -> Answer:
    """A sticker or a menu key we do not know: stored, nothing to say."""
    return Answer(None, Decision.CHAT, dialogue=KEEP)


def _to_officer(context: Context, question: str) -> Answer:
    async def queue(turn: Turn) -> Reply:
        return await answer_with_queue(turn, "", topic=None, subject=question)

    return Answer(None, Decision.OFFICER, act=queue, match=context.match)

"""An officer holds the conversation: pass the message on and stay silent."""

from bot.actions import tickets
from bot.router import Answer, Context, Router, Turn, is_held

router = Router("held")


@router.handle(is_held)
async def passed_on(context: Context) -> Answer:
    async def tell_officer(turn: Turn) -> None:
        await tickets.heard(turn.session, turn.conversation)

    return Answer(None, "held", act=tell_officer, match=context.match if context.text else None)

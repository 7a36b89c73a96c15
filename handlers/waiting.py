"""The word with which a resident asks for what still waits for him: nothing else is said, it comes by itself."""

from bot.actions import parcels, waiting
from bot.router import KEEP, Answer, Context, Router, has_text, says

router = Router("waiting")


@router.handle(has_text, says(parcels.CONTINUE, "continue"))
async def goes_on(context: Context) -> Answer | None:
    async with context.read() as session:
        waits = await waiting.something_waits(session, context.conversation.address_id)
    return Answer(None, "event", dialogue=KEEP) if waits else None

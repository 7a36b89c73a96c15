"""After the alarm: what a resident adds goes to the officers, and gets no guess about some other matter."""

from bot.actions import tickets
from bot.message import Reply
from bot.router import Answer, Context, Router, asks, has_text
from bot.store.models import Priority
from handlers.texts import text
from knowledge import Decision

router = Router("alarmed")

_FRAUD = "emergency.fraud"


def goes_on(context: Context) -> bool:
    """The topic before was a danger, and this is no thanks and no question about something we know."""
    if not (context.conversation.last_topic or "").startswith("emergency."):
        return False
    decision = context.match.decision
    return decision is not Decision.CHAT and not (decision in (Decision.ANSWER, Decision.REFER) and asks(context))


@router.handle(has_text, goes_on)
async def noted(context: Context) -> Answer | None:
    """While the call waits for an officer. What to do this minute is said again: he may not have done it yet."""
    async with context.read() as session:
        ticket = await tickets.unclosed(session, context.conversation.id)
    if ticket is None or ticket.priority is not Priority.URGENT:
        return None
    key = "alarmed_fraud" if (ticket.topic or "").startswith(_FRAUD) else "alarmed"
    reply = Reply(text(key, english=context.english, number=ticket.number))
    return Answer(reply, Decision.URGENT, ticket.topic, match=context.match)

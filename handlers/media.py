"""Pictures, unrecognised voice, places and links: acknowledged, and passed to the officer if there is a ticket."""

from bot.actions import tickets
from bot.message import Choice, MessageKind, Reply
from bot.router import KEEP, Answer, Context, Router, Turn, is_kind
from handlers.menu import OFFICER_CHOICE
from handlers.texts import text

router = Router("media")


def without_words(context: Context) -> bool:
    return not context.text


def _acknowledge(context: Context, alone: str, passed_on: str, choices: tuple[Choice, ...]) -> Answer:
    """`passed_on` if a ticket is open, else `alone`."""

    async def look(turn: Turn) -> Reply:
        ticket = await tickets.unclosed(turn.session, turn.conversation.id)
        if ticket is None:
            return Reply(text(alone, english=context.english), choices)
        await tickets.heard(turn.session, turn.conversation)
        return Reply(text(passed_on, english=context.english, number=ticket.number))

    return Answer(None, "event", dialogue=KEEP, act=look)


@router.handle(is_kind(MessageKind.IMAGE, MessageKind.VIDEO))
async def picture(context: Context) -> Answer:
    return _acknowledge(context, "picture_received", "picture_passed_on", (OFFICER_CHOICE[context.english],))


@router.handle(is_kind(MessageKind.LOCATION))
async def location(context: Context) -> Answer:
    return _acknowledge(context, "location_received", "location_passed_on", (OFFICER_CHOICE[context.english],))


@router.handle(is_kind(MessageKind.VOICE), without_words)
async def voice(context: Context) -> Answer:
    return Answer(
        Reply(text("voice_unclear", english=context.english), (OFFICER_CHOICE[context.english],)),
        "event",
        dialogue=KEEP,
    )


@router.handle(is_kind(MessageKind.LINK))
async def link(context: Context) -> Answer:
    return Answer(
        Reply(text("link_received", english=context.english), (OFFICER_CHOICE[context.english],)),
        "event",
        dialogue=KEEP,
    )


# What a person chose to send, on whatever channel: he waits for a word.
_SENT_ON_PURPOSE = {"file", "business_card", "merged_msg", "note", "meeting", "schedule", "calendar", "channels"}


@router.handle(is_kind(MessageKind.UNKNOWN), lambda context: context.message.extra.get("type") in _SENT_ON_PURPOSE)
async def unreadable(context: Context) -> Answer:
    return _acknowledge(context, "not_understood_kind", "kind_passed_on", (OFFICER_CHOICE[context.english],))


@router.handle(is_kind(MessageKind.UNKNOWN))
async def unknown(context: Context) -> Answer:
    """Stored and acknowledged; a platform's new kind of message is no reason to bother the resident."""
    return Answer(None, "event", dialogue=KEEP)

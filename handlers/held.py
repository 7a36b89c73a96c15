"""An officer holds the conversation: pass the message on in silence, but answer about the resident's own data.

Those are his rights and the words of buttons he always sees; an officer cannot answer them for him.
"""

from bot.actions import tickets
from bot.message import Reply
from bot.router import Answer, Context, Router, Turn, in_dialogue, is_held, says
from handlers import menu, registration
from handlers.texts import text

router = Router("held")

router.handle(is_held, says(*menu.REQUEST_WORDS))(menu.my_request)
router.handle(is_held, says(*registration.SHOW_WORDS))(registration.show)
router.handle(is_held, says(*registration.DELETE_WORDS))(registration.ask_before_deleting)
router.handle(is_held, in_dialogue("delete"), says(*registration.CONFIRM_WORDS))(registration.delete)
router.handle(is_held, in_dialogue("delete"), says(*registration.KEEP_WORDS))(registration.keep)


@router.handle(is_held, says(*registration.BEGIN_WORDS, *registration.CHANGE_WORDS))
async def later(context: Context) -> Answer:
    """A dialogue of several steps would talk over the officer."""
    return Answer(Reply(text("register_later", english=context.english)), "chat")


@router.handle(is_held)
async def passed_on(context: Context) -> Answer:
    async def tell_officer(turn: Turn) -> None:
        await tickets.heard(turn.session, turn.conversation)

    return Answer(None, "held", act=tell_officer, match=context.match if context.text else None)

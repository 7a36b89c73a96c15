"""A tap on a button of an account's menu says the button's words, as if the resident had typed them."""

from dataclasses import replace

from bot.message import EventKind
from bot.router import Context


def in_words(context: Context) -> Context:
    """The context as if the resident had written what the button says, where that is something we know.

    Menu words are found by the key itself; the key of a button somebody else made says nothing to us.
    """
    event = context.message.event
    if event is None or event.kind is not EventKind.CLICK or context.knowledge.match(event.key).topic is None:
        return context
    return replace(context, message=replace(context.message, text=event.key))

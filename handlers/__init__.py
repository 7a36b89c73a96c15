"""What we answer residents: one file for each kind of answer. The order of ROUTERS is the policy."""

from bot.router import Answer, Context, Turn, route
from bot.store.models import Priority
from handlers import (
    alarmed,
    clarify,
    events,
    fallback,
    feedback,
    held,
    linking,
    media,
    menu,
    numbered,
    perhaps,
    questions,
    registration,
    tapped,
    urgent,
    waiting,
    withdrawal,
)
from handlers.queue import hand_over

ROUTERS = (
    registration.plain,  # nothing but the answer to the question asked last
    urgent.router,  # danger overtakes everything, also an officer's conversation
    events.router,  # following, leaving, scanning: book-keeping that says little
    held.router,  # an officer speaks: nothing below may interrupt him
    withdrawal.router,  # who waits for an officer asks how long, or waits no more
    waiting.router,  # the rest of a long answer
    clarify.choices,  # a number or a title, right after "did you mean"
    linking.router,  # one person at two addresses: asks for a code here, types it there
    feedback.router,  # one word on the answer before; neither a question nor the step of a dialogue
    registration.router,  # a dialogue under way, and the words that begin one
    menu.router,
    alarmed.router,  # what is added after a call for help
    media.router,  # what carries no words
    questions.router,
    clarify.router,
    fallback.router,  # answers everything
)

GIVEN_UP_SUBJECT = "机器人多次处理失败，请民警查看原文"


async def answer(context: Context) -> Answer:
    """The station's answer to one message."""
    context = numbered.in_words(tapped.in_words(context))
    return await perhaps.asked_along(context, await route(ROUTERS, context))


async def give_up(turn: Turn) -> None:
    """A message the program failed on again and again goes to an officer."""
    await hand_over(turn, topic=None, priority=Priority.HIGH, subject=GIVEN_UP_SUBJECT)

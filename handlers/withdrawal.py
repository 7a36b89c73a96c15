"""A resident who waits for an officer: he asks how long it takes, or takes his request back."""

from bot.actions import tickets
from bot.actions.audit import Actor
from bot.message import Choice, Reply
from bot.router import Answer, Context, Filter, Router, Turn, in_dialogue, says
from bot.store.models import Priority, Ticket, TicketState
from handlers import menu
from handlers.texts import text

router = Router("withdrawal")

_WITHDRAW = {
    False: Choice("撤回求助", "撤回求助"),
    True: Choice("Withdraw it", "withdraw my request"),
}  # by: in English
_WAIT = {False: Choice("继续等", "继续等"), True: Choice("Keep waiting", "keep waiting")}
_BUTTON = tuple(choice.send for choice in _WITHDRAW.values())
_DONE_WORDS = frozenset(
    (
        "撤销求助", "取消求助", "撤销我的求助", "取消我的求助", "撤回我的求助", "我要撤回求助", "我要取消求助",
        "我要撤销求助", "不等了", "我不等了", "不用了", "我不用了", "算了不用了", "算了，不用了", "算了,不用了",
        "不用了谢谢", "不用了，谢谢", "不需要了", "我不需要了", "不用民警了", "不找民警了",
        "cancel my request", "no longer needed",
    )
)  # fmt: skip
_HOW_LONG_WORDS = frozenset(
    (
        "民警怎么还不来", "民警怎么还没来", "民警怎么还不回复", "怎么没人理我", "怎么还没人理我", "没人理我",
        "怎么没人回复", "怎么还没人回复", "我排第几", "我排第几位", "我排在第几", "还要等多久", "还要等多长时间",
        "要等多久", "还得等多久", "how long do i have to wait", "how much longer", "why is nobody answering",
    )
)  # fmt: skip


def _means(words: frozenset[str]) -> Filter:
    """Not `says`: these words belong to no button, and may mean danger where the knowledge finds danger in them."""
    return lambda context: not context.menu_words.isdisjoint(words)


def _in_no_form(context: Context) -> bool:
    """Registering or deleting, "no longer needed" speaks of that."""
    return context.dialogue.get("name") not in ("register", "delete")


@router.handle(_in_no_form, _means(_HOW_LONG_WORDS))
async def how_long(context: Context) -> Answer | None:
    return None if await _waiting(context) is None else await menu.my_request(context)


@router.handle(in_dialogue("withdraw"), says(*_BUTTON))
async def withdraw(context: Context) -> Answer:
    async def close(turn: Turn) -> Reply:
        english, ticket = context.english, await tickets.unclosed(turn.session, turn.conversation.id)
        if ticket is None:
            return Reply(text("my_ticket_none", english=english))
        if ticket.state is not TicketState.OPEN:
            return Reply(text("queued_assigned", english=english, number=ticket.number))
        if ticket.priority is Priority.URGENT:  # raised since we asked
            return Reply(text("withdraw_urgent", english=english, number=ticket.number))
        await tickets.withdraw(turn.session, ticket, actor=Actor(turn.conversation.station_id))
        return Reply(text("withdrawn", english=english, number=ticket.number))

    return Answer(None, "dialogue", act=close)


@router.handle(in_dialogue("withdraw"), says(*(choice.send for choice in _WAIT.values())))
async def keep_waiting(context: Context) -> Answer | None:
    return await menu.my_request(context)


@router.handle(_in_no_form, says(*_BUTTON))
async def ask_by_name(context: Context) -> Answer | None:
    """The words that mean nothing else: without a request too they get an answer."""
    return await ask_before_withdrawing(context) or await menu.my_request(context)


@router.handle(_in_no_form, _means(_DONE_WORDS))
async def ask_before_withdrawing(context: Context) -> Answer | None:
    ticket, english = await _waiting(context), context.english
    if ticket is None:
        return None
    if ticket.priority is Priority.URGENT:
        return Answer(Reply(text("withdraw_urgent", english=english, number=ticket.number)), "chat")
    choices = (_WITHDRAW[english], _WAIT[english])
    asked = Reply(text("withdraw_confirm", english=english, number=ticket.number), choices)
    state = {"name": "withdraw", "choices": [choice.send for choice in choices], "english": english}
    return Answer(asked, "dialogue", dialogue=state)


async def _waiting(context: Context) -> Ticket | None:
    """His request that no officer has taken yet."""
    async with context.read() as session:
        ticket = await tickets.unclosed(session, context.conversation.id)
    return ticket if ticket is not None and ticket.state is TicketState.OPEN else None

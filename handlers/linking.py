"""One person at two addresses: he asks for a code at one of them and types it at the other."""

import re

from bot.actions import conversations, linking
from bot.actions.audit import Actor
from bot.actions.conversations import Address
from bot.actions.linking import Tried, Typed
from bot.message import Reply
from bot.router import Answer, Context, Router, Turn, has_text, says
from bot.store.models import Author
from handlers.texts import text

router = Router("linking")

_TYPED = re.compile(r"(?P<word>绑定|关联|link)?\s*[:：码]?\s*(?P<code>[0-9]{6})", re.IGNORECASE)
_SAID = {
    Tried.LINKED: "linked",
    Tried.ALREADY: "linked_already",
    Tried.OWN: "link_own",
    Tried.WRONG: "link_wrong",
    Tried.TOO_MANY: "link_too_many",
}
_MINUTES = round(linking.CODE_LIFE.total_seconds() / 60)


@router.handle(says("绑定", "关联", "关联码", "绑定账号", "关联账号", "link"))
async def code_please(context: Context) -> Answer:
    async def give(turn: Turn) -> Reply:
        code = await linking.give_code(turn.session, turn.conversation.address, now=context.now)
        if code is None:
            return Reply(text("link_code_too_many", english=context.english))
        return Reply(text("link_code", english=context.english, code=code, minutes=_MINUTES))

    return Answer(None, "dialogue", act=give)


@router.handle(has_text)
async def code_typed(context: Context) -> Answer | None:
    """Six digits, with the word before them or alone; alone they may also answer the question of a dialogue."""
    found = _TYPED.fullmatch(context.text.strip("。. "))
    if found is None or (not found["word"] and context.dialogue.get("name") == "register"):
        return None

    async def link(turn: Turn) -> Reply:
        here = turn.conversation
        actor = Actor(here.station_id)
        typed = await linking.use_code(turn.session, here.address, found["code"], now=context.now, actor=actor)
        if typed.tried is Tried.LINKED:
            await turn.session.refresh(here, ["resident"])
            await _tell_the_other(turn, typed)
        return Reply(text(_SAID[typed.tried], english=context.english, minutes=_MINUTES))

    return Answer(None, "dialogue", act=link)


async def _tell_the_other(turn: Turn, typed: Typed) -> None:
    """The address the code was given at hears of it, unless an officer speaks there."""
    if typed.other is None:
        return
    where = Address(typed.other.channel, typed.other.address)
    there = await conversations.find(turn.session, turn.conversation.station_id, where)
    if there is None or there.owner_id is not None:
        return
    said = Reply(text("linked_elsewhere", english=turn.context.english))
    await conversations.say(turn.session, there, said, author=Author.BOT, now=turn.context.now)

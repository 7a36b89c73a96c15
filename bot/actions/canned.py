"""Canned replies: what officers say often, kept for all of them."""

from sqlalchemy.ext.asyncio import AsyncSession

from bot.actions.audit import Actor, record
from bot.actions.errors import ActionError
from bot.message import TEXT_LIMIT_CHARACTERS
from bot.store.models import CannedReply

TITLE_CHARACTERS = 40
BODY_CHARACTERS = TEXT_LIMIT_CHARACTERS


async def add_canned_reply(
    session: AsyncSession, station_id: int, *, title: str, body: str, topic: str | None, actor: Actor
) -> CannedReply:
    """`topic` puts it first on tickets of that topic; None is for all."""
    if not title or len(title) > TITLE_CHARACTERS:
        raise ActionError(f"请填写标题（不超过 {TITLE_CHARACTERS} 个字）。")
    if not body or len(body) > BODY_CHARACTERS:
        raise ActionError(f"请填写内容（不超过 {BODY_CHARACTERS} 个字）。")
    reply = CannedReply(station_id=station_id, title=title, body=body, topic=topic)
    session.add(reply)
    await session.flush()
    await record(session, actor, "canned.added", f"canned:{reply.id}")
    return reply


async def remove_canned_reply(session: AsyncSession, reply: CannedReply, *, actor: Actor) -> None:
    await record(session, actor, "canned.removed", f"canned:{reply.id}")
    await session.delete(reply)

"""Communities: 社区 and villages of the station, each with the code its QR picture carries."""

import re

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.actions.audit import Actor, record
from bot.actions.errors import ActionError, Conflict
from bot.store.models import Community

_CODE = re.compile(r"[a-z0-9][a-z0-9_-]{1,39}")
NAME_CHARACTERS = 30


async def add_community(session: AsyncSession, station_id: int, *, name: str, code: str, actor: Actor) -> Community:
    """A new community; its code is printed on cards, and so never changes."""
    if not _CODE.fullmatch(code):
        raise ActionError("代码请用 2 到 40 位小写字母、数字、横线或下划线，例如 fengxi。")
    if await _taken(session, Community.code == code, station_id):
        raise Conflict(f"代码 {code} 已有社区使用，请换一个。")
    await _check_name(session, station_id, name)
    community = Community(station_id=station_id, name=name.strip(), code=code)
    session.add(community)
    await session.flush()
    await record(session, actor, "community.added", f"community:{community.id}", details={"code": code})
    return community


async def rename_community(session: AsyncSession, community: Community, *, name: str, actor: Actor) -> None:
    """Another name; residents and cards stay with it."""
    if name.strip() == community.name:
        return
    await _check_name(session, community.station_id, name)
    community.name = name.strip()
    await record(session, actor, "community.renamed", f"community:{community.id}")


async def _check_name(session: AsyncSession, station_id: int, name: str) -> None:
    if not name.strip() or len(name.strip()) > NAME_CHARACTERS:
        raise ActionError(f"请填写社区或村的名称（不超过 {NAME_CHARACTERS} 个字）。")
    if await _taken(session, Community.name == name.strip(), station_id):
        raise Conflict(f"已有名为“{name.strip()}”的社区或村。")


async def _taken(session: AsyncSession, condition: object, station_id: int) -> bool:
    query = select(Community.id).where(Community.station_id == station_id, condition)  # type: ignore[arg-type]
    return (await session.execute(query)).first() is not None

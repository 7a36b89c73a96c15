"""The station itself: found by its name, made once, its settings."""

from collections.abc import Collection, Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions.audit import Actor, record
from bot.actions.errors import ActionError
from bot.store.models import Station

SETTING_CHARACTERS = 200  # an answer holds several of them and has 600 characters


async def find(session: AsyncSession, name: str) -> Station | None:
    return (await session.execute(select(Station).where(Station.name == name))).scalar_one_or_none()


async def ensure(session: AsyncSession, name: str, timezone: str, settings: Mapping[str, str]) -> Station:
    """The station of the settings; made when it is not there, never renamed or emptied."""
    station = await find(session, name)
    if station is None:
        station = Station(name=name, timezone=timezone, settings=dict(settings), created_at=clock.now())
        session.add(station)
        await session.flush()
        await record(session, Actor(station.id), "station.created", f"station:{station.id}")
    return station


async def set_settings(
    session: AsyncSession, station_id: int, changes: Mapping[str, str], known: Collection[str], *, actor: Actor
) -> int:
    """Texts that answers are filled in with; an empty one goes back to its default. Returns how many changed."""
    station = await session.get_one(Station, station_id, with_for_update=True)
    settings: dict[str, str] = dict(station.settings)
    changed: dict[str, list[str]] = {}
    for name, typed in changes.items():
        text = " ".join(typed.split())
        if name not in known:
            raise ActionError(f"没有名为 {name} 的设置。")
        if len(text) > SETTING_CHARACTERS:
            raise ActionError(f"一项设置最多 {SETTING_CHARACTERS} 个字，“{text[:15]}…”有 {len(text)} 个字，请精简。")
        if "{" in text or "}" in text:
            raise ActionError("设置的内容里不要用花括号。")
        if text != settings.get(name, ""):
            changed[name] = [settings.get(name, ""), text]
            settings[name] = text
    if changed:
        station.settings = {name: text for name, text in settings.items() if text}
        await session.flush()
        await record(session, actor, "station.settings", f"station:{station_id}", details=changed)
    return len(changed)

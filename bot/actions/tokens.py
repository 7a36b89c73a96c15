"""Access tokens of the platforms: one row for all processes, shared through the database."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from bot.store.models import PlatformToken


async def load(session: AsyncSession, station_id: int, channel: str) -> tuple[str, datetime] | None:
    """The token and when it ends; None if there never was one."""
    row = await session.get(PlatformToken, (station_id, channel))
    return None if row is None else (row.token, row.expires_at)


async def save(session: AsyncSession, station_id: int, channel: str, token: str, expires_at: datetime) -> None:
    await session.merge(PlatformToken(station_id=station_id, channel=channel, token=token, expires_at=expires_at))

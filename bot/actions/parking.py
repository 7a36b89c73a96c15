"""Channels that stand still: which, why, until when; a row each, so that every process and the console know."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.store.live import Change, Kind, announce
from bot.store.models import ParkedChannel


async def parked(session: AsyncSession, station_id: int) -> Mapping[str, datetime]:
    """Channels that stand still, and when they are tried again (that moment may be over)."""
    query = select(ParkedChannel.channel, ParkedChannel.until).where(ParkedChannel.station_id == station_id)
    return dict((await session.execute(query)).all())


async def alarms(session: AsyncSession, station_id: int) -> Sequence[ParkedChannel]:
    """Channels that stand still until somebody has mended something, for the red bar."""
    query = (
        select(ParkedChannel)
        .where(ParkedChannel.station_id == station_id, ParkedChannel.alarm)
        .order_by(ParkedChannel.channel)
    )
    return list((await session.execute(query)).scalars())


async def park(
    session: AsyncSession,
    station_id: int,
    channel: str,
    *,
    until: datetime,
    code: str,
    reason: str,
    alarm: bool,
    heals: bool,
    now: datetime,
) -> None:
    """Nothing goes through this channel until then. `alarm`: the station is told, once for each cause; `heals`: then it
    is over by itself."""
    key = {"station_id": station_id, "channel": channel}
    row = await session.get(ParkedChannel, key, with_for_update=True)
    if row is None:
        row = ParkedChannel(**key, since=now)
        session.add(row)
    is_news = (row.code, row.alarm) != (code[:20], alarm)
    row.until, row.code, row.reason, row.alarm, row.heals = until, code[:20], reason[:200], alarm, heals
    if is_news:
        announce(session, Change(station_id, Kind.TICKET, 0, "channel"))  # the bar that shows urgent calls shows it too


async def over(session: AsyncSession, station_id: int, *, now: datetime) -> Sequence[ParkedChannel]:
    """Channels whose time has come."""
    query = select(ParkedChannel).where(ParkedChannel.station_id == station_id, ParkedChannel.until <= now)
    return list((await session.execute(query)).scalars())


async def prolong(session: AsyncSession, station_id: int, channel: str, *, until: datetime) -> None:
    """It is not mended yet."""
    await session.execute(
        update(ParkedChannel)
        .where(ParkedChannel.station_id == station_id, ParkedChannel.channel == channel, ParkedChannel.until < until)
        .values(until=until)
        .execution_options(synchronize_session=False)
    )


async def unpark(session: AsyncSession, station_id: int, channel: str) -> None:
    """It works again."""
    await session.execute(
        delete(ParkedChannel).where(ParkedChannel.station_id == station_id, ParkedChannel.channel == channel)
    )
    announce(session, Change(station_id, Kind.TICKET, 0, "channel"))

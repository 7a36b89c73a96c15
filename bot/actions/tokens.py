"""Access tokens of the platforms: one row for all processes, and one process at a time that asks for a new one."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.store.bulk import insert_if_new
from bot.store.models import PlatformToken

LEASE = timedelta(seconds=20)  # two calls of 8 seconds and some air; who asks for longer is dead
RENEWED_AGAIN_AFTER = timedelta(minutes=1)  # a new token refused within it is no token's fault


@dataclass(frozen=True, slots=True)
class Claim:
    """What a process that needs a token has to do: use `held`, ask the platform (`mine`), or wait for who asks."""

    held: tuple[str, datetime] | None = None
    mine: bool = False


async def load(session: AsyncSession, station_id: int, channel: str) -> tuple[str, datetime] | None:
    """The token and when it ends; None if there never was one."""
    row = await session.get(PlatformToken, (station_id, channel))
    return None if row is None else _held(row)


async def claim(
    session: AsyncSession, station_id: int, channel: str, *, stale: str | None, fetcher: str, now: datetime
) -> Claim:
    """The right to ask for a token in place of `stale`, unless there is a newer one or somebody asks already.

    A token that replaced a refused one less than a minute ago is given out again even if it is refused too: to ask on
    and on would use up the account's tokens and mend nothing.
    """
    await session.execute(insert_if_new(session, PlatformToken).values(station_id=station_id, channel=channel))
    query = select(PlatformToken).where(PlatformToken.station_id == station_id, PlatformToken.channel == channel)
    row = (await session.execute(query.with_for_update())).scalar_one()
    held = _held(row)
    renewed_lately = row.renewed_at is not None and now < row.renewed_at + RENEWED_AGAIN_AFTER
    if held is not None and (held[0] != stale or (renewed_lately and now < held[1])):
        return Claim(held)
    if row.lease_until is not None and now < row.lease_until:
        return Claim()
    row.fetcher, row.lease_until = fetcher, now + LEASE
    return Claim(mine=True)


async def save(
    session: AsyncSession,
    station_id: int,
    channel: str,
    token: str,
    expires_at: datetime,
    *,
    fetcher: str,
    now: datetime,
) -> None:
    """The token the platform gave to `fetcher`; one that took longer than its lease changes nothing."""
    row = await _row_of(session, station_id, channel, fetcher)
    if row is None:
        return
    if row.expires_at is not None and now < row.expires_at:
        row.renewed_at = now
    row.token, row.expires_at = token, expires_at
    row.fetcher = row.lease_until = None


async def give_up(session: AsyncSession, station_id: int, channel: str, *, fetcher: str) -> None:
    """The platform gave no token to `fetcher`: others may ask."""
    row = await _row_of(session, station_id, channel, fetcher)
    if row is not None:
        row.fetcher = row.lease_until = None


async def _row_of(session: AsyncSession, station_id: int, channel: str, fetcher: str) -> PlatformToken | None:
    query = select(PlatformToken).where(
        PlatformToken.station_id == station_id, PlatformToken.channel == channel, PlatformToken.fetcher == fetcher
    )
    return (await session.execute(query.with_for_update())).scalar_one_or_none()


def _held(row: PlatformToken) -> tuple[str, datetime] | None:
    return None if row.token is None or row.expires_at is None else (row.token, row.expires_at)

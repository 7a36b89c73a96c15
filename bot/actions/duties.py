"""Duties: who answers residents, and when."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.store.models import Officer, Role

ANSWERING_ROLES = (Role.OFFICER, Role.AUXILIARY, Role.CHIEF)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


async def answering_officers(session: AsyncSession, station_id: int) -> list[Officer]:
    """Everybody who may take a ticket."""
    query = (
        select(Officer)
        .where(Officer.station_id == station_id, Officer.active, Officer.role.in_(ANSWERING_ROLES))
        .order_by(Officer.id)
    )
    return list((await session.execute(query)).scalars())


def is_on_duty(officer: Officer, now: datetime, zone: ZoneInfo) -> bool:
    local = now.astimezone(zone)
    return any(start <= f"{local:%H:%M}" < end for start, end in _shifts(officer, local))


def next_duty(officer: Officer, now: datetime, zone: ZoneInfo) -> datetime | None:
    """When the officer's next shift begins, within a week."""
    for days in range(8):
        local = now.astimezone(zone) + timedelta(days=days)
        for start, _end in _shifts(officer, local):
            hour, minute = (int(part) for part in start.split(":"))
            begins = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
            if begins > now:
                return begins
    return None


def _shifts(officer: Officer, day: datetime) -> list[tuple[str, str]]:
    spans: list[str] = officer.duty.get(_DAYS[day.weekday()], [])
    return sorted((start, end) for start, _, end in (span.partition("-") for span in spans))

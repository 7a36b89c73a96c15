"""Audiences: whom a warning is for, and how many they are."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions.errors import ActionError
from bot.store.models import Resident, ResidentAddress

_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom a warning is for; an empty field does not narrow. Ages are whole years in the year of sending."""

    age_from: int | None = None
    age_to: int | None = None
    occupations: tuple[str, ...] = ()
    communities: tuple[int, ...] = ()
    languages: tuple[str, ...] = ()
    genders: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Audience":
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Reach:
    """How many residents an audience has now, how many of them can be reached, and a few of them."""

    count: int
    reachable: int
    samples: list[Resident] = field(default_factory=list)

    @property
    def out_of_reach(self) -> int:
        """They are meant and get nothing: no address of theirs takes a warning."""
        return self.count - self.reachable


def check_audience(audience: Audience) -> None:
    """Refuse an audience that means nothing."""
    for age in (audience.age_from, audience.age_to):
        if age is not None and not 0 <= age <= 120:
            raise ActionError("年龄请填 0 到 120 之间的整数。")
    if audience.age_from is not None and audience.age_to is not None and audience.age_from > audience.age_to:
        raise ActionError("起始年龄不能大于结束年龄。")


def who_belongs(station_id: int, audience: Audience, now: datetime) -> ColumnElement[bool]:
    """Who of the station's residents is meant. Who never said his age is in no age range."""
    conditions = [Resident.station_id == station_id, Resident.wants_warnings, Resident.erased_at.is_(None)]
    if audience.age_from is not None:
        conditions.append(Resident.birth_year <= now.year - audience.age_from)
    if audience.age_to is not None:
        conditions.append(Resident.birth_year >= now.year - audience.age_to)
    if audience.occupations:
        conditions.append(Resident.occupation.in_(audience.occupations))
    if audience.communities:
        conditions.append(Resident.community_id.in_(audience.communities))
    if audience.languages:
        conditions.append(Resident.language.in_(audience.languages))
    if audience.genders:
        conditions.append(Resident.gender.in_(audience.genders))
    return and_(*conditions)


def takes_warnings(address: type[ResidentAddress], station_id: int) -> ColumnElement[bool]:
    """Whether a warning to the resident of the query may go to this address of his."""
    return and_(address.station_id == station_id, address.resident_id == Resident.id, address.following)


async def reach(session: AsyncSession, station_id: int, audience: Audience) -> Reach:
    """The counts and three sample residents of an audience, as it is now."""
    check_audience(audience)
    belongs = who_belongs(station_id, audience, clock.now())
    reachable = exists().where(takes_warnings(ResidentAddress, station_id))
    counts = select(func.count(), func.count().filter(reachable)).select_from(Resident).where(belongs)
    count, within_reach = (await session.execute(counts)).one()
    samples = (await session.execute(select(Resident).where(belongs).order_by(Resident.id).limit(_SAMPLES))).scalars()
    return Reach(count, within_reach, list(samples))

"""Importing residents from a list: every bad row is named with its line and reason."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import residents
from bot.actions.audit import Actor, record
from bot.store.models import Resident

COLUMNS: Final = ("姓名", "电话", "性别", "出生年份", "职业", "社区", "语言", "住址")
_GENDERS: Final = {"男": "male", "女": "female", "male": "male", "female": "female"}
_LANGUAGES: Final = {
    "": "zh",
    "中文": "zh",
    "汉语": "zh",
    "zh": "zh",
    "英语": "en",
    "英文": "en",
    "english": "en",
    "en": "en",
}
_PHONE: Final = re.compile(r"\+?\d[\d -]{5,18}")


@dataclass(frozen=True, slots=True)
class BadRow:
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: nothing is written unless all rows are good or bad ones may be left out."""

    added: int
    updated: int
    bad: list[BadRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Person:
    name: str
    phone: str | None
    gender: str | None
    birth_year: int | None
    occupation: str | None
    community_id: int | None
    language: str
    home: str | None


class _Bad(ValueError):
    """One row cannot be used; the sentence says why."""


async def import_residents(
    session: AsyncSession, station_id: int, rows: Iterable[tuple[int, Mapping[str, str]]], *, skip_bad: bool
) -> Imported:
    """Write rows of (line, {column: text}); who is known by his phone is updated. Bad rows stop it, or are skipped."""
    communities = {row.name: row.id for row in await residents.communities(session, station_id)}
    good: list[_Person] = []
    bad: list[BadRow] = []
    seen: dict[str, int] = {}
    for line, row in rows:
        try:
            person = _read(row, communities)
            if person.phone and person.phone in seen:
                raise _Bad(f"the phone number stands in line {seen[person.phone]} too")
        except _Bad as problem:
            bad.append(BadRow(line, str(problem)))
            continue
        if person.phone:
            seen[person.phone] = line
        good.append(person)
    if bad and not skip_bad:
        return Imported(0, 0, bad)
    added = 0
    for person in good:
        added += await _save(session, station_id, person)
    await record(session, Actor(station_id), "residents.imported", "residents", details={"rows": len(good)})
    return Imported(added, len(good) - added, bad)


def _read(row: Mapping[str, str], communities: Mapping[str, int]) -> _Person:
    cell = {column: str(row.get(column) or "").strip() for column in COLUMNS}
    if not cell["姓名"]:
        raise _Bad("姓名 (name) is empty")
    phone = cell["电话"].replace(" ", "").replace("-", "")
    if phone and not _PHONE.fullmatch(phone):
        raise _Bad("电话 (phone) is no telephone number")
    if cell["性别"] and cell["性别"].casefold() not in _GENDERS:
        raise _Bad("性别 (gender) must be 男 or 女")
    if cell["职业"] and cell["职业"] not in residents.OCCUPATIONS:
        raise _Bad(f"职业 (occupation) must be one of {'、'.join(residents.OCCUPATIONS)}")
    if cell["社区"] and cell["社区"] not in communities:
        raise _Bad(f"社区 (community) {cell['社区']!r} is not one of the station's")
    if cell["语言"].casefold() not in _LANGUAGES:
        raise _Bad("语言 (language) must be 中文 or English")
    return _Person(
        name=cell["姓名"],
        phone=phone or None,
        gender=_GENDERS.get(cell["性别"].casefold()),
        birth_year=_year(cell["出生年份"]),
        occupation=cell["职业"] or None,
        community_id=communities.get(cell["社区"]),
        language=_LANGUAGES[cell["语言"].casefold()],
        home=cell["住址"] or None,
    )


def _year(text: str) -> int | None:
    if not text:
        return None
    year = int(float(text)) if re.fullmatch(r"\d{4}(\.0)?", text) else 0
    if not residents.OLDEST_BIRTH_YEAR <= year <= clock.now().year:
        raise _Bad("出生年份 (birth year) must be four digits, such as 1958")
    return year


async def _save(session: AsyncSession, station_id: int, person: _Person) -> bool:
    """True if the person was not known before."""
    resident = await residents.find_by_phone(session, station_id, person.phone) if person.phone else None
    new = resident is None
    if resident is None:
        resident = Resident(station_id=station_id, created_at=clock.now())
        session.add(resident)
    residents.set_name(resident, person.name)
    residents.set_phone(resident, person.phone)
    resident.language = person.language
    for name in ("gender", "birth_year", "occupation", "community_id", "home"):
        value = getattr(person, name)
        if value is not None:  # an empty cell does not wipe out what is known
            setattr(resident, name, value)
    await session.flush()
    return new

"""Who is meant by a warning, against a model that looks at each resident by itself."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from bot.actions import audiences, broadcasts
from bot.actions.audiences import Audience
from bot.actions.broadcasts import Draft
from bot.actions.errors import ActionError
from bot.store.models import Repeat, Resident
from tests.support.station import MONDAY_MORNING, FrozenClock, House, frozen_clock

YEAR = MONDAY_MORNING.year
AGES = st.one_of(st.none(), st.integers(0, 120))
OCCUPATIONS = ("退休", "学生", "司机")
LANGUAGES = ("zh", "en")
GENDERS = ("female", "male")


@dataclass(frozen=True)
class Person:
    """What decides on whether somebody is meant."""

    birth_year: int | None
    occupation: str | None
    community: int | None  # which of the three
    language: str
    gender: str | None
    wants_warnings: bool
    erased: bool


PEOPLE = st.lists(
    st.builds(
        Person,
        birth_year=st.one_of(st.none(), st.integers(YEAR - 100, YEAR)),
        occupation=st.sampled_from([None, *OCCUPATIONS]),
        community=st.sampled_from([None, 0, 1, 2]),
        language=st.sampled_from(LANGUAGES),
        gender=st.sampled_from([None, *GENDERS]),
        wants_warnings=st.booleans(),
        erased=st.booleans(),
    ),
    max_size=12,
)
AUDIENCES = st.builds(
    Audience,
    age_from=AGES,
    age_to=AGES,
    occupations=st.lists(st.sampled_from(OCCUPATIONS), max_size=2, unique=True).map(tuple),
    communities=st.lists(st.integers(0, 2), max_size=2, unique=True).map(tuple),
    languages=st.lists(st.sampled_from(LANGUAGES), max_size=1).map(tuple),
    genders=st.lists(st.sampled_from(GENDERS), max_size=1).map(tuple),
).filter(lambda audience: not (audience.age_from or 0) > (120 if audience.age_to is None else audience.age_to))


def is_meant(person: Person, audience: Audience) -> bool:
    if not person.wants_warnings or person.erased:
        return False
    asked_for_age = audience.age_from is not None or audience.age_to is not None
    if asked_for_age and person.birth_year is None:
        return False
    age = YEAR - (person.birth_year or 0)
    return (
        (audience.age_from is None or age >= audience.age_from)
        and (audience.age_to is None or age <= audience.age_to)
        and (not audience.occupations or person.occupation in audience.occupations)
        and (not audience.communities or person.community in audience.communities)
        and (not audience.languages or person.language in audience.languages)
        and (not audience.genders or person.gender in audience.genders)
    )


@contextmanager
def loop_of_its_own() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner, frozen_clock():
        yield runner


def test_the_audience_is_who_the_model_says(furnished_sqlite_url: str) -> None:
    opened = House.opened(furnished_sqlite_url)  # for all examples: each looks only at the people it has added
    with loop_of_its_own() as runner:
        house = runner.run(opened.__aenter__())

        @given(people=PEOPLE, audience=AUDIENCES)
        @settings(max_examples=40, deadline=None)
        def example(people: list[Person], audience: Audience) -> None:
            runner.run(agree(house, people, audience))

        try:
            example()
        finally:
            runner.run(opened.__aexit__(None, None, None))


async def agree(house: House, people: list[Person], audience: Audience) -> None:
    places = [await house.community(name) for name in ("枫林社区", "湖滨社区", "柳河村")]
    added = await fill(house, people, places)
    real = Audience(**{**vars_of(audience), "communities": tuple(places[n] for n in audience.communities)})
    async with house.store.read() as session:
        reach = await audiences.reach(session, house.station.id, real)
        ids = set(await house.all(_ids(house, real)))
    assert [number in ids for number in added] == [is_meant(person, audience) for person in people]
    assert reach.count == len(ids)
    assert len(reach.samples) == min(3, reach.count)
    assert {resident.id for resident in reach.samples} <= ids


async def fill(house: House, people: list[Person], places: list[int]) -> list[int]:
    """These people are residents; their numbers."""
    rows = [
        Resident(
            station_id=house.station.id,
            created_at=MONDAY_MORNING,
            birth_year=person.birth_year,
            occupation=person.occupation,
            community_id=None if person.community is None else places[person.community],
            language=person.language,
            gender=person.gender,
            wants_warnings=person.wants_warnings,
            erased_at=MONDAY_MORNING if person.erased else None,
        )
        for person in people
    ]
    async with house.store.write() as session:
        session.add_all(rows)
    return [row.id for row in rows]


def _ids(house: House, audience: Audience) -> Any:
    return select(Resident.id).where(audiences.who_belongs(house.station.id, audience, MONDAY_MORNING))


def vars_of(audience: Audience) -> dict[str, Any]:
    return {name: getattr(audience, name) for name in Audience.__dataclass_fields__}


@given(audience=AUDIENCES)
def test_an_audience_is_the_same_after_its_way_through_the_database(audience: Audience) -> None:
    assert Audience.from_json(audience.as_json()) == audience


async def test_nobody_of_another_station_is_meant(house: House, frozen: FrozenClock) -> None:
    await house.add_resident("o-1")
    async with house.store.read() as session:
        assert (await audiences.reach(session, house.station.id, Audience())).count == 1
        assert (await audiences.reach(session, house.station.id + 1, Audience())).count == 0


@pytest.mark.parametrize(
    ("audience", "sentence"),
    [
        (Audience(age_from=-1), "0 到 120"),
        (Audience(age_to=121), "0 到 120"),
        (Audience(age_from=60, age_to=50), "起始年龄不能大于结束年龄"),
    ],
)
def test_an_audience_that_means_nothing_is_refused(audience: Audience, sentence: str) -> None:
    with pytest.raises(ActionError, match=sentence):
        audiences.check_audience(audience)


GOOD = {"title": "标题", "body": "正文", "audience": Audience()}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"title": " "}, "请填写标题"),
        ({"title": "长" * 61}, "标题最多 60 个字"),
        ({"body": "\n"}, "请填写正文"),
        ({"body": "长" * 601}, "正文最多 600 个字，现在有 601 个字"),
        ({"repeat": Repeat.WEEKLY}, "第一次发送的时间"),
        ({"send_at": MONDAY_MORNING, "expires_at": MONDAY_MORNING}, "失效时间要晚于发送时间"),
        ({"audience": Audience(age_from=200)}, "0 到 120"),
    ],
)
def test_a_draft_that_could_not_be_sent_is_refused(changed: dict[str, Any], sentence: str) -> None:
    broadcasts.check_draft(Draft(**GOOD))  # type: ignore[arg-type]
    with pytest.raises(ActionError, match=sentence):
        broadcasts.check_draft(Draft(**{**GOOD, **changed}))

"""The people of the demo station: officers with their communities, and residents."""

from datetime import timedelta
from typing import Final

from bot.actions.residents import OCCUPATIONS
from bot.demo.world import CHANNEL, World
from bot.store.encryption import blind_index
from bot.store.models import (
    CannedReply,
    Community,
    CommunityOfficer,
    Conversation,
    Officer,
    Resident,
    ResidentAddress,
    Role,
)

RESIDENTS: Final = 2000
_DUTY = {day: ["08:30-17:30"] for day in ("mon", "tue", "wed", "thu", "fri")}
_NIGHT = {day: ["00:00-24:00"] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}


def add_officers(world: World, password_hash: str) -> None:
    for username, name, badge, phone, role in world.made_up["officers"]:
        world.rows.add(
            Officer,
            station_id=world.station_id,
            username=username,
            name=name,
            badge=badge,
            phone=phone.replace("-", ""),
            role=Role(role),
            duty=_NIGHT if role == Role.AUXILIARY else _DUTY,
            password_hash=password_hash,
            password_given=False,
            active=True,
            created_at=world.now,
        )
    for name, code, officer in world.made_up["communities"]:
        community = world.rows.add(Community, station_id=world.station_id, name=name, code=code)
        world.rows.tables.setdefault(CommunityOfficer, []).append(
            {"community_id": community, "officer_id": officer + 1, "station_id": world.station_id, "main": True}
        )
    for title, body, topic in world.made_up["canned"]:
        world.rows.add(CannedReply, station_id=world.station_id, title=title, body=body, topic=topic)


def add_residents(world: World) -> None:
    """2,000 people; the older ones in the villages, the foreigners where the market and the schools are."""
    communities = [name for name, _code, _officer in world.made_up["communities"]]
    for n in range(RESIDENTS - len(world.made_up["foreigners"])):
        gender = world.chance.choice(("female", "male"))
        name = world.chance.choice(world.made_up["surnames"]) + world.chance.choice(world.made_up[gender])
        community = world.chance.randrange(len(communities))
        in_village = communities[community].endswith("村")
        age = int(world.chance.triangular(16, 92, 62 if in_village else 38))
        _resident(world, n, name, gender, community + 1, world.now.year - age, _occupation(world, age, in_village))
    for n, (name, gender, community, occupation) in enumerate(world.made_up["foreigners"]):
        born = world.now.year - world.chance.randrange(24, 52)
        _resident(world, 9000 + n, name, gender, communities.index(community) + 1, born, occupation, language="en")


def _occupation(world: World, age: int, in_village: bool) -> str:
    if age >= 60:
        return world.chance.choice(("退休", "务农", "务农") if in_village else ("退休", "退休", "全职家务"))
    if age <= 22:
        return "学生"
    working = [name for name in OCCUPATIONS if name not in ("退休", "学生", "其他")]
    return world.chance.choice(working)


def _resident(
    world: World, n: int, name: str, gender: str, community: int, born: int, occupation: str, language: str = "zh"
) -> None:
    phone = f"1990000{n:04d}"
    joined = world.now - timedelta(days=world.chance.randrange(10, 700))
    resident = world.rows.add(
        Resident,
        station_id=world.station_id,
        name=name,
        name_index=blind_index(name, "name"),
        phone=phone,
        phone_index=blind_index(phone, "phone"),
        home=f"{world.chance.randrange(1, 30)}幢{world.chance.randrange(101, 1802)}室",
        gender=gender,
        birth_year=born,
        occupation=occupation,
        language=language,
        community_id=community,
        large_type=born < 1960,
        wants_warnings=world.chance.random() > 0.03,
        created_at=joined,
    )
    if world.chance.random() < 0.06:
        return  # on the list, but never came to talk
    address = world.rows.add(
        ResidentAddress,
        station_id=world.station_id,
        resident_id=resident,
        channel=CHANNEL,
        address=f"demo-{resident}",
        following=True,
        consented_at=joined,
        last_inbound_at=joined,
        window_left=0,
        created_at=joined,
    )
    world.rows.add(
        Conversation,
        station_id=world.station_id,
        address_id=address,
        resident_id=resident,
        channel=CHANNEL,
        owner_id=None,
        last_topic=None,
        last_message_at=None,
        created_at=joined,
    )

"""Who is logged in, and what he may do."""

from bot.api.call import Call
from bot.api.shapes import Answer, Nothing, Person, Place
from bot.security.permissions import PERMISSIONS, Permission
from bot.store.models import Role
from bot.store.queries import own_communities


class StationAnswer(Answer):
    id: int
    name: str
    timezone: str


class Me(Person):
    username: str
    badge: str
    role: Role
    permissions: tuple[Permission, ...]
    communities: tuple[Place, ...]
    second_factor: bool
    station: StationAnswer


async def show(call: Call, _given: Nothing) -> Me:
    officer, station = call.officer, call.runtime.station
    async with call.store.read() as session:
        communities = await own_communities(session, officer)
    return Me(
        id=officer.id,
        name=officer.name,
        username=officer.username,
        badge=officer.badge,
        role=officer.role,
        permissions=tuple(sorted(PERMISSIONS[officer.role])),
        communities=tuple(Place(id=community.id, name=community.name) for community in communities),
        second_factor=bool(officer.totp_secret),
        station=StationAnswer(id=station.id, name=station.name, timezone=station.timezone),
    )

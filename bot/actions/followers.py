"""Followers of an account: what its platform tells of them, their tags, and what is forgotten when they leave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.actions import linking, residents
from bot.actions.audit import Actor, record
from bot.store.bulk import insert_if_new
from bot.store.models import ChannelSign, Community, LinkCode, NoticeConsent, Resident, ResidentAddress, SceneCode

TAGS_EVERY = timedelta(hours=1)
IMPLAUSIBLE = "implausible"  # a list that lacks most of those we know: perhaps another account's
TAG_CHARACTERS = 30  # the platform's limit for a tag's name

# The platform's names, in small letters: he takes back what he allowed us to know, or his account is gone.
REVOKED = frozenset({"user_authorization_revoke", "user_authorization_cancellation"})


async def claim_unknown(
    session: AsyncSession, station_id: int, channel: str, *, most: int, now: datetime
) -> list[ResidentAddress]:
    """Followers the platform was not asked about yet; they are not claimed again."""
    query = (
        select(ResidentAddress)
        .where(
            ResidentAddress.station_id == station_id,
            ResidentAddress.channel == channel,
            ResidentAddress.looked_up_at.is_(None),
            ResidentAddress.following,
        )
        .order_by(ResidentAddress.id)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    rows = list((await session.execute(query)).scalars())
    for address in rows:
        address.looked_up_at = now
    return rows


async def give_back(session: AsyncSession, addresses: Sequence[ResidentAddress]) -> None:
    """The platform could not be asked: it will be again."""
    await session.execute(
        update(ResidentAddress)
        .where(ResidentAddress.id.in_([address.id for address in addresses]))
        .values(looked_up_at=None)
    )


async def take_in(
    session: AsyncSession, address_id: int, *, following: bool, union_id: str, english: bool, now: datetime
) -> None:
    """What the platform told of one address. Who left meanwhile gets nothing more; whom we know elsewhere is joined."""
    address = await session.get(ResidentAddress, address_id, with_for_update=True)
    if address is None:
        return
    actor = Actor(address.station_id)
    if not following:
        await left(session, address, actor=actor)
        return
    resident = await session.get_one(Resident, address.resident_id)
    if english and resident.birth_year is None and resident.language == "zh":
        resident.language = "en"  # until he tells otherwise
    if union_id and address.union_id != union_id:
        await linking.recognise(session, address, union_id, now=now, actor=actor)


async def came(session: AsyncSession, address: ResidentAddress, *, actor: Actor) -> None:
    """He follows: the platform is asked who he is."""
    address.looked_up_at = None
    await residents.set_following(session, address, True, actor=actor)


async def left(session: AsyncSession, address: ResidentAddress, *, actor: Actor) -> None:
    """He does not follow any more: nothing more is sent, and what the platform told of him is deleted."""
    await residents.set_following(session, address, False, actor=actor)
    await forget_platform_data(session, address, why="居民取消关注", actor=actor)


async def forget_platform_data(session: AsyncSession, address: ResidentAddress, *, why: str, actor: Actor) -> None:
    """Delete what we have of the platform's own data on him: number, consents, windows, codes.

    What he wrote is the station's record and goes by its own retention; he can have it erased himself at any time.
    """
    address.union_id = None
    address.window_until, address.window_left = None, 0
    address.notified_at = address.mass_month = None
    address.mass_count = 0
    await session.execute(delete(NoticeConsent).where(NoticeConsent.address_id == address.id))
    await session.execute(delete(LinkCode).where(LinkCode.address_id == address.id))
    await record(session, actor, "address.platform_data_deleted", f"address:{address.id}", why=why)


# --- the platform's list ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    """An address, and whether it follows, as we have it."""

    id: int
    address: str
    following: bool


async def claim_listing(
    session: AsyncSession, station_id: int, channel: str, *, now: datetime, lease: timedelta
) -> bool:
    """Whether this process compares the followers with the platform's list now."""
    await _ensure_sign(session, station_id, channel)
    claimed = await session.execute(
        update(ChannelSign)
        .where(*_sign_of(station_id, channel), or_(ChannelSign.list_at.is_(None), ChannelSign.list_at <= now))
        .values(list_at=now + lease)
        .execution_options(synchronize_session=False)
        .returning(ChannelSign.channel)
    )
    return claimed.first() is not None


async def known(session: AsyncSession, station_id: int, channel: str, *, after: int, most: int) -> Sequence[Known]:
    """The addresses of a channel in the order of their numbers."""
    address = ResidentAddress
    rows = await session.execute(
        select(address.id, address.address, address.following)
        .where(address.station_id == station_id, address.channel == channel, address.id > after)
        .order_by(address.id)
        .limit(most)
    )
    return [Known(*row) for row in rows]


async def correct(session: AsyncSession, ids: Sequence[int], *, following: bool, listed_at: datetime) -> None:
    """The list says otherwise of these addresses than we had it; what we have heard since it was made is newer."""
    query = select(ResidentAddress).where(ResidentAddress.id.in_(ids)).order_by(ResidentAddress.id).with_for_update()
    for address in (await session.execute(query.execution_options(populate_existing=True))).scalars():
        actor = Actor(address.station_id)
        moments = (address.created_at, address.last_inbound_at, address.left_at)
        if address.following is following or any(moment is not None and moment >= listed_at for moment in moments):
            continue
        if following:
            await came(session, address, actor=actor)
        else:
            await left(session, address, actor=actor)


async def listed(session: AsyncSession, station_id: int, channel: str, *, now: datetime, again_at: datetime) -> None:
    """The followers are as the platform's list has them."""
    await _write_sign(session, station_id, channel, listed_at=now, list_at=again_at, list_code="")


async def not_listed(session: AsyncSession, station_id: int, channel: str, code: str, *, again_at: datetime) -> None:
    """The platform gives this account no list, or one that cannot be right."""
    await _write_sign(session, station_id, channel, list_at=again_at, list_code=code[:20])


def _sign_of(station_id: int, channel: str) -> tuple[ColumnElement[bool], ...]:
    return ChannelSign.station_id == station_id, ChannelSign.channel == channel


async def _ensure_sign(session: AsyncSession, station_id: int, channel: str) -> None:
    row = {"station_id": station_id, "channel": channel, "refused_why": "", "list_code": ""}
    await session.execute(insert_if_new(session, ChannelSign).values(row))


async def _write_sign(session: AsyncSession, station_id: int, channel: str, **values: object) -> None:
    await session.execute(
        update(ChannelSign)
        .where(*_sign_of(station_id, channel))
        .values(**values)
        .execution_options(synchronize_session=False)
    )


# --- tags -----------------------------------------------------------------------------------------------------------


async def claim_tagging(session: AsyncSession, station_id: int, channel: str, *, now: datetime) -> bool:
    """Whether this process brings the tags into order now: one does, once an hour."""
    await _ensure_sign(session, station_id, channel)
    claimed = await session.execute(
        update(ChannelSign)
        .where(
            *_sign_of(station_id, channel),
            or_(ChannelSign.tagged_at.is_(None), ChannelSign.tagged_at <= now - TAGS_EVERY),
        )
        .values(tagged_at=now)
        .execution_options(synchronize_session=False)
        .returning(ChannelSign.channel)
    )
    return claimed.first() is not None


async def by_community(session: AsyncSession, station_id: int, channel: str) -> Mapping[str, list[str]]:
    """The followers of each community by the tag it has on the platform; a community without followers has none."""
    names = await session.execute(select(Community.name).where(Community.station_id == station_id))
    tags: dict[str, list[str]] = {name[:TAG_CHARACTERS]: [] for name in names.scalars()}
    rows = await session.execute(
        select(Community.name, ResidentAddress.address)
        .join(Resident, Resident.id == ResidentAddress.resident_id)
        .join(Community, Community.id == Resident.community_id)
        .where(ResidentAddress.station_id == station_id, ResidentAddress.channel == channel, ResidentAddress.following)
    )
    for name, address in rows:
        tags[name[:TAG_CHARACTERS]].append(address)
    return tags


# --- QR codes -------------------------------------------------------------------------------------------------------


async def scene_of(session: AsyncSession, station_id: int, channel: str, community_id: int) -> str:
    """What the QR code of a community says on this channel; "" when the platform has not made one yet."""
    query = select(SceneCode.address).where(
        SceneCode.station_id == station_id, SceneCode.channel == channel, SceneCode.community_id == community_id
    )
    return (await session.execute(query)).scalar_one_or_none() or ""


async def keep_scene(
    session: AsyncSession, station_id: int, channel: str, community_id: int, address: str, *, now: datetime
) -> None:
    """The platform made a code; of two made at once the first stays, and both lead to the same place."""
    await session.execute(
        insert_if_new(session, SceneCode).values(
            station_id=station_id, channel=channel, community_id=community_id, address=address, created_at=now
        )
    )

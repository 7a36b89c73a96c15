"""One resident behind several addresses: known by the platform's number or by a code he types, and parted again."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.actions import ownership, residents
from bot.actions.audit import Actor, record
from bot.actions.errors import Conflict
from bot.store.encryption import blind_index
from bot.store.models import (
    Conversation,
    Delivery,
    DeliveryState,
    LinkCode,
    LinkTry,
    Resident,
    ResidentAddress,
    Ticket,
)

CODE_LIFE = timedelta(minutes=10)
CODES_PER_HOUR = 5  # for one address
TRIES_PER_HOUR = 5  # wrong codes from one address
STATION_TRIES_PER_HOUR = 100  # wrong codes from everybody: addresses of the web chat cost nothing
MERGED_REASON: Final = "同一居民的另一个渠道已收到，不重复发送"
_HOUR = timedelta(hours=1)
_KEPT = timedelta(days=1)  # codes and tries nobody asks after any more
_TOLD: Final = ("name", "phone", "home", "gender", "birth_year", "occupation", "community_id")


class Tried(StrEnum):
    """What became of a typed code."""

    LINKED = "linked"
    ALREADY = "already"  # both addresses were one resident's before
    OWN = "own"  # typed where it was given
    WRONG = "wrong"  # unknown, used or too old
    TOO_MANY = "too_many"


@dataclass(frozen=True, slots=True)
class Typed:
    """`other` is the address the code was given at, where there was one."""

    tried: Tried
    other: ResidentAddress | None = None


# --- by a code ------------------------------------------------------------------------------------------------------


async def give_code(session: AsyncSession, address: ResidentAddress, *, now: datetime) -> str | None:
    """A new code of six digits for an address, in place of the one before; None when he asked for too many."""
    mine = (LinkCode.station_id == address.station_id) & (LinkCode.address_id == address.id)
    await session.execute(delete(LinkCode).where(mine, LinkCode.created_at < now - _KEPT))
    given = await session.execute(select(func.count()).where(mine, LinkCode.created_at > now - _HOUR))
    if given.scalar_one() >= CODES_PER_HOUR:
        return None
    await session.execute(
        update(LinkCode)
        .where(mine, LinkCode.ended_at > now)
        .values(ended_at=now)
        .execution_options(synchronize_session=False)
    )
    code = f"{secrets.randbelow(1_000_000):06d}"
    while await _live_codes(session, address.station_id, code, now):  # two people never hold the same one
        code = f"{secrets.randbelow(1_000_000):06d}"
    session.add(
        LinkCode(
            station_id=address.station_id,
            address_id=address.id,
            code=blind_index(code, "link code"),
            created_at=now,
            ended_at=now + CODE_LIFE,
        )
    )
    return code


async def use_code(session: AsyncSession, address: ResidentAddress, code: str, *, now: datetime, actor: Actor) -> Typed:
    """He typed a code at this address: if it is good, both addresses are one resident's from now on."""
    if await _guesses(session, address, now):
        return Typed(Tried.TOO_MANY)
    found = await _live_codes(session, address.station_id, code, now)
    if not found:
        session.add(LinkTry(station_id=address.station_id, address_id=address.id, at=now))
        return Typed(Tried.WRONG)
    given = found[0]
    other = await session.get_one(ResidentAddress, given.address_id)
    if other.id == address.id:
        return Typed(Tried.OWN, other)
    given.ended_at = now
    if other.resident_id == address.resident_id:
        return Typed(Tried.ALREADY, other)
    await merge(session, (address.resident_id, other.resident_id), how="code", now=now, actor=actor)
    return Typed(Tried.LINKED, other)


async def _live_codes(session: AsyncSession, station_id: int, code: str, now: datetime) -> Sequence[LinkCode]:
    query = (
        select(LinkCode)
        .where(
            LinkCode.station_id == station_id,
            LinkCode.code == blind_index(code, "link code"),
            LinkCode.ended_at > now,
        )
        .with_for_update()
    )
    return list((await session.execute(query)).scalars())


async def _guesses(session: AsyncSession, address: ResidentAddress, now: datetime) -> bool:
    """Whether he, or everybody together, has typed so many wrong codes that this looks like guessing."""
    lately = (LinkTry.station_id == address.station_id) & (LinkTry.at > now - _HOUR)
    counts = select(func.count().filter(LinkTry.address_id == address.id), func.count()).where(lately)
    his, all_of_them = (await session.execute(counts)).one()
    return bool(his >= TRIES_PER_HOUR or all_of_them >= STATION_TRIES_PER_HOUR)


async def forget_tries(session: AsyncSession, station_id: int, *, now: datetime) -> None:
    """Codes and tries of long ago."""
    await session.execute(delete(LinkTry).where(LinkTry.station_id == station_id, LinkTry.at < now - _KEPT))
    await session.execute(delete(LinkCode).where(LinkCode.station_id == station_id, LinkCode.created_at < now - _KEPT))


# --- by the platform's number ---------------------------------------------------------------------------------------


async def recognise(
    session: AsyncSession, address: ResidentAddress, union_id: str, *, now: datetime, actor: Actor
) -> bool:
    """The platform says who is behind an address. True if he is somebody we knew at another one, and is merged now.

    Where a person of the station has said otherwise the platform is not asked: it sees the account, not who writes.
    """
    if address.parted_at is not None:
        return False
    address.union_id = union_id[:64]
    query = (
        select(ResidentAddress.resident_id)
        .where(
            ResidentAddress.station_id == address.station_id,
            ResidentAddress.union_id == address.union_id,
            ResidentAddress.resident_id != address.resident_id,
        )
        .distinct()
    )
    others = list((await session.execute(query)).scalars())
    if not others or await _was_parted(session, (address.resident_id, *others)):
        return False
    await merge(session, (address.resident_id, *others), how="union_id", now=now, actor=actor)
    return True


async def _was_parted(session: AsyncSession, resident_ids: Collection[int]) -> bool:
    """Whether one of them is somebody's other half."""
    query = select(ResidentAddress.id).where(
        ResidentAddress.resident_id.in_(resident_ids), ResidentAddress.parted_at.is_not(None)
    )
    return (await session.execute(query.limit(1))).first() is not None


# --- merging and parting --------------------------------------------------------------------------------------------


async def merge(
    session: AsyncSession, resident_ids: Collection[int], *, how: str, now: datetime, actor: Actor
) -> Resident:
    """These are one person: the one met first keeps addresses, conversations and tickets of all. `how`: "union_id",
    "code".

    The lowest number stays, so that a warning under way, which goes by number, has met him before the others.
    """
    kept, *others = await _locked(session, resident_ids)
    station_id = kept.station_id
    for other in others:
        moved = await _move_rows(session, other, kept, now)
        _move_told(other, kept)
        other.merged_into_id, other.erased_at = kept.id, now
        details = {"resident": other.id, "how": how, "addresses": moved}
        await record(session, actor, "resident.merged", f"resident:{kept.id}", details=details)
    await session.flush()
    if not kept.wants_warnings:
        await residents.stop_waiting_warnings(session, kept)
    await ownership.settle_owner(session, station_id, kept.id)
    return kept


async def _locked(session: AsyncSession, resident_ids: Collection[int]) -> list[Resident]:
    """The residents in their order; their conversations first, as everybody locks them."""
    await session.execute(
        select(Conversation.id)
        .where(Conversation.resident_id.in_(resident_ids))
        .order_by(Conversation.id)
        .with_for_update()
    )
    query = select(Resident).where(Resident.id.in_(resident_ids)).order_by(Resident.id).with_for_update()
    return list((await session.execute(query.execution_options(populate_existing=True))).scalars())


async def _move_rows(session: AsyncSession, other: Resident, kept: Resident, now: datetime) -> list[int]:
    """Everything that hangs on `other` hangs on `kept`; returns the numbers of the addresses."""
    addresses = list(
        (await session.execute(select(ResidentAddress).where(ResidentAddress.resident_id == other.id))).scalars()
    )
    for address in addresses:
        address.resident_id = kept.id
    spoken = await session.execute(select(Conversation).where(Conversation.resident_id == other.id))
    for conversation in spoken.scalars():
        conversation.resident_id = kept.id
    warned = select(Delivery.broadcast_id).where(Delivery.resident_id == kept.id, Delivery.broadcast_id.is_not(None))
    twice = Delivery.broadcast_id.in_(warned)
    await session.execute(  # a warning both are to get reaches him once
        update(Delivery)
        .where(Delivery.resident_id == other.id, twice, Delivery.state == DeliveryState.QUEUED)
        .values(state=DeliveryState.SKIPPED, reason=MERGED_REASON, retry_at=None, finished_at=now)
        .execution_options(synchronize_session=False)
    )
    for query in (
        update(Delivery)
        .where(Delivery.resident_id == other.id, Delivery.broadcast_id.is_(None) | ~twice)
        .values(resident_id=kept.id),
        update(Ticket).where(Ticket.resident_id == other.id).values(resident_id=kept.id),
        update(Resident).where(Resident.merged_into_id == other.id).values(merged_into_id=kept.id),
    ):
        await session.execute(query.execution_options(synchronize_session="fetch"))
    return [address.id for address in addresses]


def _move_told(other: Resident, kept: Resident) -> None:
    """What was told at either address is known of the one person; what both told stays as the first told it."""
    told = {name: getattr(kept, name) or getattr(other, name) for name in _TOLD}
    residents.set_name(kept, told.pop("name"))
    residents.set_phone(kept, told.pop("phone"))
    for name, value in told.items():
        setattr(kept, name, value)
    kept.language = other.language if kept.language == "zh" else kept.language
    kept.large_type = kept.large_type or other.large_type
    kept.wants_warnings = kept.wants_warnings and other.wants_warnings  # who said no at one address means himself
    kept.erased_at = kept.erased_at and other.erased_at
    residents.set_name(other, None)
    residents.set_phone(other, None)
    other.home = other.gender = other.birth_year = other.occupation = other.community_id = None


async def separate(
    session: AsyncSession, address: ResidentAddress, *, why: str, now: datetime, actor: Actor
) -> Resident:
    """This address is somebody else's after all: he becomes a resident of his own, with what was said there."""
    before = address.resident_id
    await _locked(session, (before,))
    count = select(func.count()).select_from(ResidentAddress).where(ResidentAddress.resident_id == before)
    if (await session.execute(count)).scalar_one() < 2:
        raise Conflict("这位居民只有一个联系渠道，不需要分开。")
    resident = Resident(station_id=address.station_id, created_at=now)
    session.add(resident)
    await session.flush()
    address.resident_id = resident.id
    address.union_id, address.parted_at = None, now  # else the next look-up would join them again
    here = select(Conversation.id).where(Conversation.address_id == address.id)
    for query in (
        update(Ticket).where(Ticket.conversation_id.in_(here)).values(resident_id=resident.id),
        update(Delivery).where(Delivery.address_id == address.id).values(resident_id=resident.id),
        update(Conversation).where(Conversation.address_id == address.id).values(resident_id=resident.id),
    ):
        await session.execute(query.execution_options(synchronize_session="fetch"))
    await session.flush()
    for number in (before, resident.id):
        await ownership.settle_owner(session, address.station_id, number)
    details = {"address": address.id, "resident": resident.id}
    await record(session, actor, "resident.separated", f"resident:{before}", why=why.strip(), details=details)
    return resident

"""Residents as officers' friends in WeCom: the codes they come by, who came, who was greeted, who left."""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from bot import clock
from bot.actions import conversations, residents
from bot.actions.audit import Actor, record
from bot.actions.conversations import Address
from bot.actions.errors import ActionError
from bot.store.models import (
    Community,
    ContactState,
    ContactWay,
    Conversation,
    Officer,
    Resident,
    ResidentAddress,
    WeComContact,
    WelcomeState,
)
from bot.wecom import Friend, Way

WELCOME_LASTS = timedelta(seconds=20)  # WeCom's own limit
WELCOME_LEASE = timedelta(seconds=5)  # who sends it has so long, then the clock tries once more
LEFT_ROWS = 50  # people who left, on one page
NOTE_CHARACTERS = 200
_CODE_BYTES = 12  # 16 characters; WeCom takes 30
_HERE = (ContactState.HALF, ContactState.FRIEND)
_FOUND_HERE, _FOUND_GONE, _FOUND_TRANSFERRED = "found_here", "found_gone", "found_transferred"
_STATES = {
    "add_half_external_contact": ContactState.HALF,
    "add_external_contact": ContactState.FRIEND,
    "del_external_contact": ContactState.REMOVED,
    "del_follow_user": ContactState.LEFT,
    # what no event told and WeCom said when it was asked
    _FOUND_HERE: ContactState.FRIEND,
    _FOUND_GONE: ContactState.LEFT,
    _FOUND_TRANSFERRED: ContactState.REMOVED,
}


# --- the codes ------------------------------------------------------------------------------------------------------


async def ensure_way(session: AsyncSession, officer: Officer, community: Community, *, actor: Actor) -> ContactWay:
    """The row of an officer's code for a community, before WeCom is asked to make the code."""
    if not officer.active or officer.wecom_userid is None:
        raise ActionError(f"{officer.name}还没有绑定企业微信账号。请管理员在“人员”里填写。")
    query = select(ContactWay).where(ContactWay.officer_id == officer.id, ContactWay.community_id == community.id)
    way = (await session.execute(query)).scalar_one_or_none()
    if way is None:
        way = ContactWay(
            station_id=officer.station_id,
            officer_id=officer.id,
            community_id=community.id,
            code=secrets.token_urlsafe(_CODE_BYTES),
            created_at=clock.now(),
        )
        session.add(way)
        await session.flush()
        await record(session, actor, "contact_way.made", f"officer:{officer.id}", details={"community": community.id})
    return way


async def way_made(session: AsyncSession, way_id: int, made: Way) -> None:
    """WeCom has made the code."""
    way = await session.get_one(ContactWay, way_id, with_for_update=True)
    way.config_id, way.qr_code, way.picture = made.config_id[:100], made.qr_code[:300], made.picture


async def ways(session: AsyncSession, station_id: int, officer_id: int | None = None) -> list[ContactWay]:
    """The codes of one officer, or of all."""
    query = (
        select(ContactWay)
        .where(ContactWay.station_id == station_id)
        .options(joinedload(ContactWay.officer), joinedload(ContactWay.community))
        .order_by(ContactWay.id)
    )
    if officer_id is not None:
        query = query.where(ContactWay.officer_id == officer_id)
    return list((await session.execute(query)).scalars())


# --- who came and who left ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Happened:
    """An event between a member (`userid`, folded) and a resident; `change` is one of WeCom's ChangeTypes above.

    `added_at`: when they became friends, if that was not just now.
    """

    channel: str
    change: str
    userid: str
    external_userid: str
    at: datetime
    state: str = ""
    welcome_code: str = ""
    added_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Met:
    """A new friend who is to be greeted; officer and community if they are ours."""

    contact: WeComContact
    officer: Officer | None
    community: Community | None


async def happened(session: AsyncSession, station_id: int, event: Happened, *, now: datetime) -> Met | None:
    """Take an event in; None when it came before, when a newer one did, or when nobody is to be greeted."""
    where = Address(event.channel, event.external_userid)
    conversation = await conversations.ensure(session, station_id, where, now=now)
    contact = await _contact(session, station_id, event, conversation, now)
    if event.at < contact.event_at or (event.at == contact.event_at and event.change == contact.change):
        return None
    before, contact.state = contact.state, _STATES[event.change]
    contact.event_at, contact.change = event.at, event.change
    actor = Actor(station_id)
    if contact.state not in _HERE:
        contact.left_at, contact.welcome_code, contact.welcome_state = event.at, None, WelcomeState.NONE
        contact.followed_up_at = contact.followed_up_by = contact.follow_up = None
        await _check_following(session, contact, conversation, actor)
        await record(session, actor, f"contact.{contact.state.value}", _resident(conversation))
        return None
    contact.left_at = None
    if before not in _HERE:
        contact.added_at, contact.welcome_state = event.added_at or event.at, WelcomeState.NONE
        conversation.address.looked_up_at = None  # WeCom is asked who he is
        await record(session, actor, "contact.added", _resident(conversation), details={"by": contact.userid})
    await residents.set_following(session, conversation.address, True, actor=actor)
    community = await _bind(session, contact, conversation, event.state, actor)
    if not event.welcome_code or contact.welcome_state is not WelcomeState.NONE:
        return None
    contact.welcome_code, contact.welcome_state = event.welcome_code, WelcomeState.DUE
    contact.welcome_until, contact.welcome_retry_at = now + WELCOME_LASTS, now + WELCOME_LEASE
    await session.flush()
    officer = await session.get(Officer, contact.officer_id) if contact.officer_id is not None else None
    return Met(contact, officer, community)


def _resident(conversation: Conversation) -> str:
    return f"resident:{conversation.resident_id}"


async def _contact(
    session: AsyncSession, station_id: int, event: Happened, conversation: Conversation, now: datetime
) -> WeComContact:
    """The row of the two, locked."""
    query = (
        select(WeComContact)
        .where(
            WeComContact.station_id == station_id,
            WeComContact.userid == event.userid,
            WeComContact.external_userid == event.external_userid,
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    found = (await session.execute(query)).scalar_one_or_none()
    if found is not None:
        return found
    officer = await officer_of_userid(session, station_id, event.userid)
    contact = WeComContact(
        station_id=station_id,
        userid=event.userid,
        external_userid=event.external_userid,
        officer_id=officer.id if officer else None,
        address_id=conversation.address_id,
        state=ContactState.REMOVED,  # until the event is taken in
        change="",
        event_at=event.at,
        added_at=event.at,
        welcome_state=WelcomeState.NONE,
    )
    with suppress(IntegrityError):  # the same event in another process at this moment: then the row is there
        async with session.begin_nested():
            session.add(contact)
    return (await session.execute(query)).scalar_one()


async def officer_of_userid(session: AsyncSession, station_id: int, userid: str) -> Officer | None:
    """The officer with this account in WeCom (folded)."""
    query = select(Officer).where(Officer.station_id == station_id, Officer.wecom_userid == userid)
    return (await session.execute(query)).scalar_one_or_none()


async def follow_officer(session: AsyncSession, officer: Officer) -> None:
    """The officer's account was set: those who are its friends are his, and WeCom is asked who they are."""
    officer.friends_due_at = officer.friends_compared_at = None
    await session.execute(
        update(WeComContact)
        .where(WeComContact.station_id == officer.station_id, WeComContact.officer_id == officer.id)
        .values(officer_id=None)
    )
    if officer.wecom_userid is not None:
        await session.execute(
            update(WeComContact)
            .where(WeComContact.station_id == officer.station_id, WeComContact.userid == officer.wecom_userid)
            .values(officer_id=officer.id)
        )


async def _bind(
    session: AsyncSession, contact: WeComContact, conversation: Conversation, state: str, actor: Actor
) -> Community | None:
    """Link the resident to the community of the code he came by; a forged or old state links to none."""
    if not state:
        return None
    query = (
        select(ContactWay)
        .where(ContactWay.station_id == contact.station_id, ContactWay.code == state)
        .options(joinedload(ContactWay.community))
    )
    way = (await session.execute(query)).scalar_one_or_none()
    if way is None:
        return None
    contact.way_id = way.id
    await residents.bind_community(session, conversation.resident, way.community_id, how="wecom", actor=actor)
    return way.community


async def _check_following(
    session: AsyncSession, contact: WeComContact, conversation: Conversation, actor: Actor
) -> None:
    """Who is nobody's friend any more can no longer be reached there."""
    await session.flush()
    others = select(func.count()).where(
        WeComContact.address_id == contact.address_id, WeComContact.state.in_(_HERE), WeComContact.id != contact.id
    )
    if not (await session.execute(others)).scalar_one():
        await residents.set_following(session, conversation.address, False, actor=actor)


# --- the first words ------------------------------------------------------------------------------------------------


async def greeted(session: AsyncSession, contact_id: int, *, arrived: bool) -> None:
    """The resident has the welcome, or will never have it; either way the code is used up."""
    contact = await session.get(WeComContact, contact_id, with_for_update=True)
    if contact is not None and contact.welcome_state is WelcomeState.DUE:
        contact.welcome_state = WelcomeState.SENT if arrived else WelcomeState.OVER
        contact.welcome_code = contact.welcome_until = contact.welcome_retry_at = None


async def claim_welcomes(session: AsyncSession, station_id: int, *, now: datetime) -> list[Met]:
    """Welcomes that were cut short and are still in time; those that are not end here. A code works once, so that one
    which did go out does not go out twice."""
    await session.execute(
        update(WeComContact)
        .where(
            WeComContact.station_id == station_id,
            WeComContact.welcome_state == WelcomeState.DUE,
            WeComContact.welcome_until <= now,
        )
        .values(welcome_state=WelcomeState.OVER, welcome_code=None, welcome_until=None, welcome_retry_at=None)
        .execution_options(synchronize_session=False)
    )
    query = (
        select(WeComContact)
        .where(
            WeComContact.station_id == station_id,
            WeComContact.welcome_state == WelcomeState.DUE,
            WeComContact.welcome_retry_at <= now,
        )
        .options(joinedload(WeComContact.officer), _who())
        .with_for_update(of=WeComContact, skip_locked=True)
    )
    found = list((await session.execute(query)).scalars())
    for contact in found:
        contact.welcome_retry_at = now + WELCOME_LEASE
    return [
        Met(contact, contact.officer, contact.where.resident.community if contact.way_id is not None else None)
        for contact in found
    ]


def _who() -> Any:
    return joinedload(WeComContact.where).joinedload(ResidentAddress.resident).joinedload(Resident.community)


# --- who left -------------------------------------------------------------------------------------------------------


async def left(session: AsyncSession, station_id: int, page: int) -> tuple[list[WeComContact], bool]:
    """One page of the residents who removed their officer, those nobody has asked yet first; whether there are more."""
    query = (
        select(WeComContact)
        .where(WeComContact.station_id == station_id, WeComContact.state == ContactState.LEFT)
        .options(joinedload(WeComContact.officer), _who())
        .order_by(WeComContact.followed_up_at.is_not(None), WeComContact.left_at.desc(), WeComContact.id.desc())
        .offset((page - 1) * LEFT_ROWS)
        .limit(LEFT_ROWS + 1)
    )
    rows = list((await session.execute(query)).scalars())
    return rows[:LEFT_ROWS], len(rows) > LEFT_ROWS


async def friend_count(session: AsyncSession, station_id: int, officer_id: int | None = None) -> int:
    """How many residents are friends of one officer, or of any."""
    query = select(func.count(WeComContact.address_id.distinct())).where(
        WeComContact.station_id == station_id, WeComContact.state == ContactState.FRIEND
    )
    if officer_id is not None:
        query = query.where(WeComContact.officer_id == officer_id)
    return (await session.execute(query)).scalar_one()


async def left_count(session: AsyncSession, station_id: int) -> int:
    """How many of them nobody has asked yet."""
    query = select(func.count()).where(
        WeComContact.station_id == station_id,
        WeComContact.state == ContactState.LEFT,
        WeComContact.followed_up_at.is_(None),
    )
    return (await session.execute(query)).scalar_one()


async def found_gone(
    session: AsyncSession, station_id: int, userid: str, external_userids: Sequence[str], *, at: datetime
) -> None:
    """They are no friends of this member any more, as WeCom said when asked: its event was lost."""
    await _found(session, station_id, userid, external_userids, _FOUND_GONE, at)


async def found_transferred(
    session: AsyncSession, station_id: int, userid: str, external_userids: Sequence[str], *, at: datetime
) -> None:
    """Another member has taken them over."""
    await _found(session, station_id, userid, external_userids, _FOUND_TRANSFERRED, at)


async def _found(
    session: AsyncSession, station_id: int, userid: str, external_userids: Sequence[str], change: str, at: datetime
) -> None:
    query = (
        select(WeComContact.external_userid, ResidentAddress.channel)
        .join(ResidentAddress, ResidentAddress.id == WeComContact.address_id)
        .where(
            WeComContact.station_id == station_id,
            WeComContact.userid == userid,
            WeComContact.external_userid.in_(external_userids),
            WeComContact.state == ContactState.FRIEND,
        )
    )
    for external_userid, channel in (await session.execute(query)).all():
        event = Happened(channel, change, userid, external_userid, at)
        await happened(session, station_id, event, now=clock.now())


async def found_here(
    session: AsyncSession, station_id: int, channel: str, userid: str, friends: Sequence[Friend], *, at: datetime
) -> None:
    """They are this member's friends, as WeCom said when asked. It is too late to greet them."""
    for friend in friends:
        event = Happened(
            channel, _FOUND_HERE, userid, friend.external_userid, at, friend.state, added_at=friend.added_at
        )
        await happened(session, station_id, event, now=clock.now())


async def follow_up(session: AsyncSession, contact: WeComContact, officer: Officer, note: str, *, actor: Actor) -> None:
    """Somebody has asked the resident why he left; `note` is what came of it."""
    if contact.state is not ContactState.LEFT:
        raise ActionError("这位居民已经重新添加了民警，不需要回访。")
    if len(note.strip()) < 2:
        raise ActionError("请写明回访情况，例如“电话联系，换了手机，已重新添加”。")
    if len(note) > NOTE_CHARACTERS:
        raise ActionError(f"回访情况最多 {NOTE_CHARACTERS} 个字。")
    contact.followed_up_at, contact.followed_up_by, contact.follow_up = clock.now(), officer.id, note.strip()
    where = await session.get_one(ResidentAddress, contact.address_id)
    await record(session, actor, "contact.followed_up", f"resident:{where.resident_id}")


async def friends_of(
    session: AsyncSession, address_ids: Sequence[int]
) -> list[tuple[WeComContact, Officer, int | None]]:
    """The officers who are friends of the residents at these addresses, with the resident's community."""
    query = (
        select(WeComContact, Officer, Resident.community_id)
        .join(Officer, Officer.id == WeComContact.officer_id)
        .join(ResidentAddress, ResidentAddress.id == WeComContact.address_id)
        .join(Resident, Resident.id == ResidentAddress.resident_id)
        .where(
            WeComContact.address_id.in_(address_ids),
            WeComContact.state == ContactState.FRIEND,
            Officer.active,
            Officer.wecom_userid == WeComContact.userid,
        )
        .order_by(WeComContact.added_at, WeComContact.id)
    )
    return [(contact, officer, community) for contact, officer, community in await session.execute(query)]

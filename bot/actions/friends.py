"""Officers' friends as WeCom lists them: whose turn it is to be compared with our rows, and what differs.

WeCom does not promise that its events arrive (platform document B.3), so that they are compared some times a day.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.store.models import ContactState, Officer, WeComContact
from bot.wecom import Friend

EVERY = timedelta(hours=6)
AGAIN = timedelta(minutes=10)  # when WeCom could not be asked
SETTLED = timedelta(minutes=5)  # what is younger its event may still tell, with the code of a welcome


async def claim_officer(session: AsyncSession, station_id: int, *, now: datetime) -> Officer | None:
    """The next officer whose friends are to be compared; he is not claimed again before EVERY has passed."""
    query = (
        select(Officer)
        .where(
            Officer.station_id == station_id,
            Officer.active,
            Officer.wecom_userid.is_not(None),
            or_(Officer.friends_due_at.is_(None), Officer.friends_due_at <= now),
        )
        .order_by(Officer.friends_due_at.is_not(None), Officer.friends_due_at, Officer.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    officer = (await session.execute(query)).scalar_one_or_none()
    if officer is not None:
        officer.friends_due_at = now + EVERY
    return officer


async def compared(session: AsyncSession, officer_id: int, *, now: datetime) -> None:
    """Our rows are as WeCom's list was then."""
    officer = await session.get_one(Officer, officer_id, with_for_update=True)
    officer.friends_compared_at = now


async def again(session: AsyncSession, officer_id: int, after: timedelta | None) -> None:
    """WeCom could not be asked: once more, soon."""
    officer = await session.get_one(Officer, officer_id, with_for_update=True)
    officer.friends_due_at = clock.now() + max(AGAIN, after or timedelta())


async def unknown(
    session: AsyncSession, station_id: int, userid: str, listed: Sequence[Friend], *, now: datetime
) -> list[Friend]:
    """Those of a page of this member's friends whom we do not know as such."""
    query = select(WeComContact.external_userid).where(
        WeComContact.station_id == station_id,
        WeComContact.userid == userid,
        WeComContact.external_userid.in_([friend.external_userid for friend in listed]),
        or_(WeComContact.state == ContactState.FRIEND, WeComContact.event_at > now - SETTLED),
    )
    known = set((await session.execute(query)).scalars())
    return [friend for friend in listed if friend.external_userid not in known and friend.added_at <= now - SETTLED]


async def missing(
    session: AsyncSession, station_id: int, userid: str, listed: Collection[str], *, now: datetime
) -> list[str]:
    """Whom we know as this member's friends and WeCom did not list."""
    query = (
        select(WeComContact.external_userid)
        .where(
            WeComContact.station_id == station_id,
            WeComContact.userid == userid,
            WeComContact.state == ContactState.FRIEND,
            WeComContact.event_at <= now - SETTLED,
        )
        .order_by(WeComContact.id)
    )
    return [number for number in (await session.execute(query)).scalars() if number not in listed]

"""Planning WeCom's part of a warning: whose friends its recipients are, and which officer's task they come into."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.actions import contacts
from bot.store.live import Change, Kind, announce
from bot.store.models import (
    Broadcast,
    BroadcastState,
    CommunityOfficer,
    Delivery,
    DeliveryRoute,
    DeliveryState,
    Officer,
    TaskState,
    WeComTask,
)
from bot.wecom import CUSTOMERS_AT_ONCE

WAITS = "等待民警在企业微信确认"
_CAPPED = "今天已收到过企业微信群发，明天再发"
_NO_FRIEND_OFFICER = "没有民警的企业微信好友，发不到"
_GROUPED_AT_ONCE = 500  # deliveries looked at in one transaction


async def take_over(session: AsyncSession, broadcast: Broadcast, channel: str) -> None:
    """What was just written for residents on WeCom's channel waits for an officer and not for the outbox."""
    await session.execute(
        update(Delivery)
        .where(
            Delivery.broadcast_id == broadcast.id,
            Delivery.channel == channel,
            Delivery.route == DeliveryRoute.OUTBOX,
            Delivery.state == DeliveryState.QUEUED,
        )
        .values(route=DeliveryRoute.TASK, retry_at=None, reason=WAITS)
        .execution_options(synchronize_session=False)
    )


async def make(session: AsyncSession, station_id: int, *, a_day: int, timezone: str, now: datetime) -> int:
    """Put waiting deliveries of warnings whose list is complete into their officers' tasks; how many were looked at.

    The resident's community officer sends if he is a friend, else the friend who was added last. Who has had his
    warnings of the day waits for tomorrow.
    """
    waiting = list(
        (
            await session.execute(
                select(Delivery)
                .join(Broadcast, Broadcast.id == Delivery.broadcast_id)
                .where(
                    Delivery.station_id == station_id,
                    Delivery.route == DeliveryRoute.TASK,
                    Delivery.state == DeliveryState.QUEUED,
                    Delivery.task_id.is_(None),
                    Broadcast.state == BroadcastState.SENDING,
                    Broadcast.expanded,
                    (Delivery.retry_at.is_(None)) | (Delivery.retry_at <= now),
                )
                .order_by(Delivery.broadcast_id, Delivery.id)
                .limit(_GROUPED_AT_ONCE)
                .with_for_update(of=Delivery, skip_locked=True)
            )
        ).scalars()
    )
    if not waiting:
        return 0
    addresses = [delivery.address_id for delivery in waiting if delivery.address_id is not None]
    senders = await _senders(session, addresses)
    today = now.astimezone(ZoneInfo(timezone)).replace(hour=0, minute=0, second=0, microsecond=0)
    had = await _had(session, addresses, since=today)
    groups: dict[tuple[int, int, str], list[Delivery]] = defaultdict(list)
    for delivery in waiting:
        sender = senders.get(delivery.address_id or 0)
        if sender is None:
            _skip(delivery, _NO_FRIEND_OFFICER, now)
        elif had.get(delivery.address_id or 0, 0) >= a_day:
            delivery.retry_at, delivery.reason = today + timedelta(days=1), _CAPPED
        else:
            had[delivery.address_id or 0] = had.get(delivery.address_id or 0, 0) + 1
            groups[delivery.broadcast_id or 0, sender.id, sender.wecom_userid or ""].append(delivery)
    for (broadcast_id, officer_id, userid), rows in groups.items():
        await _put(session, station_id, broadcast_id, officer_id, userid, rows, now)
    for broadcast in {delivery.broadcast_id for delivery in waiting} - {None}:
        announce(session, Change(station_id, Kind.BROADCAST, broadcast or 0, "progress"))
    return len(waiting)


async def _put(
    session: AsyncSession,
    station_id: int,
    broadcast_id: int,
    officer_id: int,
    userid: str,
    rows: Sequence[Delivery],
    now: datetime,
) -> None:
    """Into the officer's task that is still open for more, or a new one; at most CUSTOMERS_AT_ONCE in each."""
    query = (
        select(WeComTask)
        .where(
            WeComTask.broadcast_id == broadcast_id,
            WeComTask.officer_id == officer_id,
            WeComTask.userid == userid,
            WeComTask.state == TaskState.NEW,
        )
        .order_by(WeComTask.id.desc())
        .limit(1)
        .with_for_update()  # nobody hands it in while more is put into it
    )
    task = (await session.execute(query)).scalar_one_or_none()
    room = 0
    if task is not None:
        held = select(func.count()).select_from(Delivery).where(Delivery.task_id == task.id)
        room = CUSTOMERS_AT_ONCE - (await session.execute(held)).scalar_one()
    for delivery in rows:
        if task is None or room <= 0:
            task = WeComTask(
                station_id=station_id,
                broadcast_id=broadcast_id,
                officer_id=officer_id,
                userid=userid,
                state=TaskState.NEW,
                next_at=now,
                created_at=now,
            )
            session.add(task)
            await session.flush()
            room = CUSTOMERS_AT_ONCE
        delivery.task_id, delivery.retry_at, delivery.reason = task.id, None, WAITS
        room -= 1


async def _senders(session: AsyncSession, addresses: Sequence[int]) -> dict[int, Officer]:
    """Who sends to each address."""
    friends = await contacts.friends_of(session, addresses)
    query = select(CommunityOfficer.community_id, CommunityOfficer.officer_id).where(
        CommunityOfficer.officer_id.in_({officer.id for _, officer, _ in friends})
    )
    responsible = {(community, officer) for community, officer in await session.execute(query)}
    chosen: dict[int, Officer] = {}
    own: set[int] = set()  # addresses that have their community's officer
    for contact, officer, community in friends:  # in the order they were added: the last one wins
        is_own = (community, officer.id) in responsible
        if is_own or contact.address_id not in own:
            chosen[contact.address_id] = officer
        if is_own:
            own.add(contact.address_id)
    return chosen


async def _had(session: AsyncSession, addresses: Sequence[int], *, since: datetime) -> dict[int, int]:
    """How many warnings each address has had, or is about to have, by task since then."""
    query = (
        select(Delivery.address_id, func.count())
        .join(WeComTask, WeComTask.id == Delivery.task_id)
        .where(
            Delivery.address_id.in_(addresses),
            Delivery.state.in_((DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.SENT)),
            func.coalesce(WeComTask.submitted_at, WeComTask.created_at) >= since,
        )
        .group_by(Delivery.address_id)
    )
    return {address: count for address, count in await session.execute(query) if address is not None}


def _skip(delivery: Delivery, reason: str, now: datetime) -> None:
    delivery.state, delivery.reason, delivery.retry_at = DeliveryState.SKIPPED, reason, None
    delivery.finished_at = now

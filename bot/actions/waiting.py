"""What waits for the resident's next message: held back, told of, let go when he writes."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.actions.broadcasts import DEFAULT_LIFE, broadcast_text, not_to_be_sent
from bot.actions.conversations import RESPONSE_LEASE
from bot.actions.notices import promise
from bot.parts import how_many_fit
from bot.reach import Rules
from bot.store.live import Change, Kind, announce
from bot.store.models import (
    Author,
    Base,
    Broadcast,
    Delivery,
    DeliveryRoute,
    DeliveryState,
    ResidentAddress,
    StoredMessage,
)

WAITS_REASON = "微信限制：等居民下次发消息时一并送达"
WAITS_CODE = "waits"
STALE_REASON = "居民一周内没有再来消息，没有送出。请改用电话或上门联系。"
STALE_WARNING_REASON = "居民在提醒失效前没有来消息，没有送出"
UNWANTED_REASON = "居民已选择不再接收提醒"
_MOST_IN_RESPONSE = 20
STALE_AFTER = timedelta(days=7)  # a reply still waiting for the resident's next message by then is given up

_Deliveries = Base.metadata.tables["deliveries"]
_RELEASE_HELD = (  # made once: for a few rows, to put a statement together costs more than to run it
    update(_Deliveries)
    .where(
        _Deliveries.c.address_id.in_(bindparam("ids", expanding=True)),
        _Deliveries.c.state == DeliveryState.QUEUED,
        _Deliveries.c.waits,
    )
    .values(retry_at=bindparam("now"), waits=False)
    .returning(_Deliveries.c.station_id)
)


def waits_until(row: Any, broadcast: Broadcast | None) -> datetime:
    """How long something may wait for the resident's next message."""
    if broadcast is None:
        created_at: datetime = row.created_at
        return created_at + STALE_AFTER
    return broadcast.expires_at or (broadcast.started_at or row.created_at) + DEFAULT_LIFE


async def hold_back(
    session: AsyncSession, rows: Sequence[tuple[Any, datetime]], rules: Mapping[str, Rules], now: datetime
) -> None:
    """They wait for the resident's next message; who can be told so is told once."""
    if not rows:
        return
    await session.execute(
        update(_Deliveries)
        .where(_Deliveries.c.id == bindparam("of"))
        .values(
            retry_at=bindparam("until", type_=_Deliveries.c.retry_at.type),
            waits=True,
            code=WAITS_CODE,
            reason=WAITS_REASON,
        ),
        [{"of": row.id, "until": until} for row, until in rows],
    )
    told: dict[int, Any] = {}
    for row, _ in rows:
        by_officer = row.author is Author.OFFICER and row.notified_at is None
        if by_officer and (found := rules.get(row.channel)) is not None and found.notice:
            told.setdefault(row.address_id, row)
    await promise(session, list(told.values()), rules, now)


async def tell(session: AsyncSession, delivery: Delivery, rules: Rules, now: datetime) -> bool:
    """Tell the resident that a message of an officer waits, once until he writes again. False: it is not an officer's,
    or he has been told."""
    address = await session.get_one(ResidentAddress, delivery.address_id)
    message = await session.get_one(StoredMessage, delivery.message_id)
    if message.author is not Author.OFFICER or address.notified_at is not None:
        return False
    await promise(session, [delivery], {delivery.channel: rules}, now)
    return True


async def release_held(session: AsyncSession, address_ids: Sequence[int], *, now: datetime) -> None:
    """The residents wrote: what waited for that may go, as far as the new window carries it."""
    released = await session.execute(_RELEASE_HELD, {"ids": address_ids, "now": now})
    for station_id in set(released.scalars()):
        announce(session, Change(station_id, Kind.DELIVERIES, 0))


async def something_waits(session: AsyncSession, address_id: int) -> bool:
    """Whether something waits for this resident's next message."""
    query = (
        select(Delivery.id)
        .where(Delivery.address_id == address_id, Delivery.state == DeliveryState.QUEUED, Delivery.waits)
        .limit(1)
    )
    return (await session.execute(query)).first() is not None


async def take_for_response(
    session: AsyncSession, station_id: int, channel: str, address: str, *, characters: int, now: datetime
) -> list[tuple[int, str]]:
    """What waits for a resident whose request is open, as far as its words fit into one answer: the deliveries, on
    their way in the response now, and the words of each. Of a warning with a picture the words."""
    query = (
        select(Delivery.id, StoredMessage.body, Broadcast)
        .join(ResidentAddress, ResidentAddress.id == Delivery.address_id)
        .outerjoin(StoredMessage, StoredMessage.id == Delivery.message_id)
        .outerjoin(Broadcast, Broadcast.id == Delivery.broadcast_id)
        .where(
            ResidentAddress.station_id == station_id,
            ResidentAddress.channel == channel,
            ResidentAddress.address == address,
            Delivery.state == DeliveryState.QUEUED,
            Delivery.route == DeliveryRoute.OUTBOX,
            StoredMessage.media_id.is_(None),
        )
        .order_by(Delivery.rank, Delivery.id)
        .limit(_MOST_IN_RESPONSE)
        .with_for_update(of=Delivery, skip_locked=True)
    )
    found: list[Any] = list(await session.execute(query))
    rows = [
        (delivery_id, words if broadcast is None else broadcast_text(broadcast))
        for delivery_id, words, broadcast in found
        if broadcast is None or not not_to_be_sent(broadcast, now)
    ]
    taken = rows[: how_many_fit((words for _, words in rows), characters, len)]
    if taken:
        await session.execute(
            update(Delivery)
            .where(Delivery.id.in_([delivery_id for delivery_id, _ in taken]))
            .values(
                state=DeliveryState.SENDING,
                route=DeliveryRoute.RESPONSE,
                waits=False,
                code=None,
                reason=None,
                retry_at=now + RESPONSE_LEASE,
            )
            .execution_options(synchronize_session=False)
        )
    return taken

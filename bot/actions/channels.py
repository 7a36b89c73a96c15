"""Signs of life of the channels: when a callback was believed or refused, and what moved through them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.store.bulk import insert_if_new
from bot.store.models import (
    ChannelSign,
    Delivery,
    DeliveryState,
    Direction,
    ParkedChannel,
    ResidentAddress,
    StoredMessage,
)

_LOOKED_BACK = timedelta(days=30)  # for the last message out


@dataclass(frozen=True, slots=True)
class Traffic:
    """What moved through a channel, and what does not."""

    sign: ChannelSign | None
    parked: ParkedChannel | None
    waiting: int  # deliveries that are due
    oldest: datetime | None  # when the oldest of them was promised
    last_in: datetime | None
    last_out: datetime | None  # within the last 30 days


async def believed(session: AsyncSession, station_id: int, channel: str, *, now: datetime) -> None:
    """A callback with a right signature came."""
    await _sign(session, station_id, channel, believed_at=now)


async def refused(session: AsyncSession, station_id: int, channel: str, why: str, *, now: datetime) -> None:
    """A callback was not believed; `why` is the reason's short name."""
    await _sign(session, station_id, channel, refused_at=now, refused_why=why[:40])


async def _sign(session: AsyncSession, station_id: int, channel: str, **values: object) -> None:
    key = {"station_id": station_id, "channel": channel}
    await session.execute(
        insert_if_new(session, ChannelSign).values(**{**key, "refused_why": "", "list_code": "", **values})
    )
    await session.execute(
        update(ChannelSign)
        .where(ChannelSign.station_id == station_id, ChannelSign.channel == channel)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


async def traffic(session: AsyncSession, station_id: int, channel: str, *, now: datetime) -> Traffic:
    """How a channel stands."""
    key = (station_id, channel)
    due = select(func.count(), func.min(Delivery.created_at)).where(
        Delivery.station_id == station_id,
        Delivery.channel == channel,
        Delivery.state == DeliveryState.QUEUED,
        Delivery.retry_at <= now,
    )
    waiting, oldest = (await session.execute(due)).one()
    last_in = select(func.max(ResidentAddress.last_inbound_at)).where(
        ResidentAddress.station_id == station_id, ResidentAddress.channel == channel
    )
    last_out = (
        select(StoredMessage.created_at)
        .where(
            StoredMessage.station_id == station_id,
            StoredMessage.channel == channel,
            StoredMessage.direction == Direction.OUT,
            StoredMessage.created_at > now - _LOOKED_BACK,
        )
        .order_by(StoredMessage.created_at.desc())
        .limit(1)
    )
    return Traffic(
        sign=await session.get(ChannelSign, key),
        parked=await session.get(ParkedChannel, key),
        waiting=waiting,
        oldest=oldest,
        last_in=(await session.execute(last_in)).scalar_one_or_none(),
        last_out=(await session.execute(last_out)).scalar_one_or_none(),
    )

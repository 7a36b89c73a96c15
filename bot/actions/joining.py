"""Several short texts that wait for one resident go as one message where each message is counted."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.actions.broadcasts import not_to_be_sent
from bot.actions.parcels import Parcel, due_rows, parcel_of
from bot.message import Reply
from bot.parts import how_many_fit, in_bytes, joined
from bot.reach import Rules, Window
from bot.store.models import Base, Broadcast, Delivery, DeliveryRoute, DeliveryState

_Deliveries = Base.metadata.tables["deliveries"]
_MORE = (  # mostly there is nothing, which is asked at each claim: made once
    select(_Deliveries.c.id)
    .where(
        _Deliveries.c.address_id.in_(bindparam("ids", expanding=True)),
        _Deliveries.c.state == DeliveryState.QUEUED,
        _Deliveries.c.route == DeliveryRoute.OUTBOX,
        _Deliveries.c.retry_at <= bindparam("now"),
        _Deliveries.c.id.not_in(bindparam("claimed", expanding=True)),
    )
    .limit(1)
)


async def with_what_waits(
    session: AsyncSession, station_id: int, parcels: Sequence[Parcel], rules: Mapping[str, Rules], *, now: datetime
) -> list[Parcel]:
    """The claimed parcels, each with what is due behind it at the same address as far as one message holds it.

    Warnings are joined to warnings and chat to chat. A picture, or words with choices, goes by itself.
    """
    heads = {parcel.address_id: parcel for parcel in parcels if _is_short(parcel, rules.get(parcel.channel))}
    claimed = [parcel.id for parcel in parcels]
    if not heads or not (await session.execute(_MORE, {"ids": list(heads), "claimed": claimed, "now": now})).first():
        return list(parcels)
    query = due_rows(station_id, DeliveryRoute.OUTBOX, now).where(
        Delivery.address_id.in_(heads), Delivery.id.not_in(claimed)
    )
    query = query.order_by(Delivery.address_id, Delivery.rank, Delivery.id)
    rows = (await session.execute(query.with_for_update(of=Delivery, skip_locked=True))).all()
    broadcasts = await _broadcasts(session, {row.broadcast_id for row in rows if row.broadcast_id is not None})
    whole: dict[int, Parcel] = {}
    for address_id, behind in groupby(rows, key=lambda row: int(row.address_id)):
        head = heads[address_id]
        room = rules[head.channel]
        along: list[Parcel] = []
        for row in behind:
            broadcast = broadcasts.get(row.broadcast_id)
            if row.rank != head.rank or (broadcast is not None and not_to_be_sent(broadcast, now)):
                break
            parcel = parcel_of(row, broadcast, room, Window(row.window_until, row.window_left))
            if not _is_short(parcel, room):
                break
            along.append(replace(parcel, cost=0))
        whole[head.id] = _as_one(head, along, room.part_bytes)
    return [whole.get(parcel.id, parcel) for parcel in parcels]


def _is_short(parcel: Parcel, rules: Rules | None) -> bool:
    """Whether it is no more than words that one message holds, on a channel where that is worth it."""
    if rules is None or not rules.joins or parcel.route is not DeliveryRoute.OUTBOX:
        return False
    reply = parcel.reply
    has_more = parcel.rest_from is not None or reply.picture is not None or reply.choices
    return not has_more and in_bytes(reply.text) <= rules.part_bytes


def _as_one(head: Parcel, along: Sequence[Parcel], part_bytes: int) -> Parcel:
    texts = [parcel.reply.text for parcel in (head, *along)]
    count = how_many_fit(texts, part_bytes, in_bytes)
    return replace(head, reply=Reply(joined(texts[:count])), along=tuple(along[: count - 1])) if count > 1 else head


async def _broadcasts(session: AsyncSession, numbers: set[int]) -> dict[int | None, Broadcast]:
    if not numbers:
        return {}
    rows = (await session.execute(select(Broadcast).where(Broadcast.id.in_(numbers)))).scalars()
    return {row.id: row for row in rows}

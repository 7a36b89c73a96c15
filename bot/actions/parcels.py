"""Parcels: what the outbox gives to a channel, made from a delivery and what the window has room for."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select

from bot.actions import messages
from bot.actions.broadcasts import broadcast_text
from bot.message import Reply
from bot.parts import beginning_of, parts_of
from bot.reach import Rules, Window
from bot.store.models import (
    Broadcast,
    Delivery,
    DeliveryRoute,
    DeliveryState,
    Officer,
    Resident,
    ResidentAddress,
    StoredMessage,
)

CONTINUE = "继续"
MORE_HINT = f"\n……\n（后面还有内容，回复“{CONTINUE}”接着看。）"


@dataclass(frozen=True, slots=True)
class Parcel:
    """A claimed delivery with all that sending it and writing down its end needs.

    `cost`: how many of the messages the window allows it takes. `rest_from`: the character at which the part begins
    that the window has no room for; None when all goes. `waiting`: for a notice, whose message waits and since when.
    `along`: other deliveries to the address whose words stand in `reply` too; they cost nothing more.
    """

    id: int
    station_id: int
    channel: str
    route: DeliveryRoute
    address_id: int
    address: str
    reply: Reply
    attempts: int
    cost: int = 1
    rest_from: int | None = None
    broadcast_id: int | None = None
    message_id: int | None = None
    conversation_id: int | None = None
    waiting: tuple[str, datetime] | None = None
    rank: int = 0
    along: tuple["Parcel", ...] = ()

    @property
    def each(self) -> tuple["Parcel", ...]:
        """This delivery and those whose words go with its own."""
        return self, *self.along


@dataclass(frozen=True, slots=True)
class Taken:
    """A parcel the platform took, and its number for it."""

    parcel: Parcel
    platform_id: str


def due_rows(station_id: int, route: DeliveryRoute, now: datetime) -> Select[*tuple[Any, ...]]:
    """What is due of a route, with all that `parcel_of` and `notice_of` need."""
    message, address = StoredMessage, ResidentAddress
    return (
        select(
            Delivery.id, Delivery.station_id, Delivery.channel, Delivery.route, Delivery.message_id,
            Delivery.broadcast_id, Delivery.address_id, Delivery.resident_id, Delivery.rank, Delivery.attempts,
            Delivery.created_at, Delivery.from_character,
            address.address, address.following, address.refused_until, address.refused_why, address.window_until,
            address.window_left, address.notified_at,
            message.body, message.details, message.media_id, message.conversation_id, message.author,
            message.created_at.label("said_at"), Officer.name.label("officer"), Resident.wants_warnings,
        )
        .join(address, address.id == Delivery.address_id)
        .join(Resident, Resident.id == Delivery.resident_id)
        .outerjoin(message, message.id == Delivery.message_id)
        .outerjoin(Officer, Officer.id == message.officer_id)
        .where(
            Delivery.station_id == station_id,
            Delivery.state == DeliveryState.QUEUED,
            Delivery.route == route,
            Delivery.retry_at <= now,
        )
    )  # fmt: skip


def parcel_of(row: Any, broadcast: Broadcast | None, rules: Rules, window: Window) -> Parcel:
    """What of a delivery goes now: `row` is it with its address and message."""
    if broadcast is not None:
        reply = Reply(broadcast_text(broadcast), picture=broadcast.media_id)
    elif row.message_id is None:
        raise LookupError("a delivery of nothing: it has neither a message nor a broadcast")
    else:
        reply = messages.reply_of(row)
    cost, rest_from = int(rules.windowed), None
    if row.from_character:
        reply = Reply(reply.text[row.from_character :], reply.choices, reply.picture)
    if rules.windowed and rules.part_bytes:
        reply, cost, rest_from = _cut(reply, rules.part_bytes, window.left)
    if rest_from is not None:  # of a warning the words alone, where the window has no room for its picture
        rest_from = rest_from + row.from_character if broadcast is None else None
    return _wrap(row, reply, cost, rest_from=rest_from)


def notice_of(row: Any) -> Parcel:
    """The word that a message waits, which the channel puts in its own words."""
    return _wrap(row, Reply(""), 0, waiting=(row.officer or "", row.said_at))


def _wrap(
    row: Any, reply: Reply, cost: int, *, rest_from: int | None = None, waiting: tuple[str, datetime] | None = None
) -> Parcel:
    return Parcel(
        id=row.id,
        station_id=row.station_id,
        channel=row.channel,
        route=row.route,
        address_id=row.address_id,
        address=row.address,
        reply=reply,
        attempts=row.attempts + 1,
        cost=cost,
        rest_from=rest_from,
        broadcast_id=row.broadcast_id,
        message_id=row.message_id,
        conversation_id=row.conversation_id,
        waiting=waiting,
        rank=row.rank,
    )


def _cut(reply: Reply, part_bytes: int, left: int) -> tuple[Reply, int, int | None]:
    """What of a reply `left` messages carry, what they cost, and where its rest begins. A picture costs one too, and
    goes with the last part."""
    pictures = 1 if reply.picture is not None else 0
    parts = sum(1 for _ in parts_of(reply.text, part_bytes))
    if parts + pictures <= left or parts == 0:
        return reply, parts + pictures, None
    text, rest_from = beginning_of(reply.text, part_bytes, left, MORE_HINT)
    if rest_from >= len(reply.text):  # the words fit, the picture behind them does not
        return Reply(reply.text, reply.choices), parts, rest_from
    return Reply(text), left, rest_from

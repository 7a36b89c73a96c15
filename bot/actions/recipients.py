"""The recipients of a warning: a delivery for each, and the words in his conversation once they were sent."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Insert, and_, case, exists, func, insert, literal, null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from bot import clock
from bot.actions.audiences import Audience, takes_warnings, who_belongs
from bot.actions.broadcasts import SKIP_REASONS, broadcast_text, is_sealed, stop_unsealed
from bot.actions.ledger import had_enough
from bot.message import MessageKind
from bot.reach import Rules
from bot.store.live import Change, Kind, announce
from bot.store.models import (
    Author,
    Base,
    Broadcast,
    Conversation,
    Delivery,
    DeliveryRoute,
    DeliveryState,
    Direction,
    MessageState,
    Resident,
    ResidentAddress,
    StoredMessage,
)

WARNING_RANK = 10  # behind every chat message in the outbox
CHUNK_RESIDENTS = 2000  # delivery rows written in one transaction: a resident who writes meanwhile waits for it
CHUNK_SKIPPED = 5000  # … by one statement, when nothing of them is to be sent


async def expand(session: AsyncSession, broadcast: Broadcast, rules: Mapping[str, Rules]) -> int:
    """Write delivery rows for the next chunk of the audience; 0 when each recipient has one.

    A resident gets it on the address he used last; who has none gets a row that says so. Where one call reaches
    thousands (`rules`), it goes that way, unless he has had as many this month as the platform lets through.
    """
    now = clock.now()
    if not is_sealed(broadcast):
        await stop_unsealed(session, broadcast)
        return 0
    belongs = who_belongs(broadcast.station_id, Audience.from_json(broadcast.audience), now)
    chunk = select(Resident.id).where(belongs, Resident.id > broadcast.expanded_to)
    chunk = chunk.order_by(Resident.id).limit(CHUNK_RESIDENTS)
    last = (await session.execute(select(func.max(chunk.subquery().c.id)))).scalar_one()
    if last is None:
        broadcast.expanded = True
        return 0
    mass = sorted(name for name, allowed in rules.items() if allowed.mass)
    await session.execute(_expansion(broadcast, belongs, last, mass, now))
    broadcast.expanded_to = last
    announce(session, Change(broadcast.station_id, Kind.DELIVERIES, 0))
    return CHUNK_RESIDENTS


async def claim_cut_short(session: AsyncSession, station_id: int) -> list[Broadcast]:
    """Warnings that were stopped or expired before each recipient had a row, locked for this process."""
    query = (
        select(Broadcast)
        .where(
            Broadcast.station_id == station_id,
            Broadcast.state.in_(SKIP_REASONS),
            Broadcast.started_at.is_not(None),
            Broadcast.expanded.is_(False),
        )
        .order_by(Broadcast.id)
        .with_for_update(skip_locked=True)
    )
    return list((await session.execute(query)).scalars())


async def expand_skipped(session: AsyncSession, broadcast: Broadcast) -> int:
    """Write skipped rows for the next of those a warning never reached; 0 when each recipient has one."""
    if not is_sealed(broadcast):
        broadcast.expanded = True  # whom it was meant for is not known any more
        return 0
    ended = broadcast.finished_at or clock.now()
    left = (
        select(Resident.id)
        .where(
            who_belongs(broadcast.station_id, Audience.from_json(broadcast.audience), ended),
            Resident.id > broadcast.expanded_to,
            Resident.created_at <= ended,
        )
        .order_by(Resident.id)
        .limit(CHUNK_SKIPPED)
        .subquery()
    )
    last = (await session.execute(select(func.max(left.c.id)))).scalar_one()
    if last is None:
        broadcast.expanded = True
        return 0
    columns = Base.metadata.tables["deliveries"].c
    values: dict[str, Any] = {
        "station_id": literal(broadcast.station_id, columns.station_id.type),
        "broadcast_id": literal(broadcast.id, columns.broadcast_id.type),
        "resident_id": left.c.id,
        "channel": literal(""),
        "state": literal(DeliveryState.SKIPPED, columns.state.type),
        "reason": literal(SKIP_REASONS[broadcast.state]),
        "rank": literal(WARNING_RANK),
        "created_at": literal(ended, columns.created_at.type),
        "finished_at": literal(ended, columns.finished_at.type),
    }
    written = await session.execute(
        insert(Delivery).from_select(list(values), select(*values.values())).returning(Delivery.id)
    )
    broadcast.expanded_to = last
    announce(session, Change(broadcast.station_id, Kind.BROADCAST, broadcast.id, "progress"))
    return len(written.all())


def _expansion(
    broadcast: Broadcast, belongs: ColumnElement[bool], last: int, mass: Sequence[str], now: datetime
) -> Insert:
    """One INSERT for a chunk, up to resident `last`: each beside the followed address he used last."""
    other = aliased(ResidentAddress)
    latest = (
        select(other.id)
        .where(takes_warnings(other, broadcast.station_id))
        .order_by(other.last_inbound_at.is_not(None).desc(), other.last_inbound_at.desc(), other.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    address, columns = ResidentAddress, Base.metadata.tables["deliveries"].c
    has_none = address.id.is_(None)
    by_mass = and_(address.channel.in_(mass), ~had_enough(now))
    values: dict[str, Any] = {
        "station_id": literal(broadcast.station_id, columns.station_id.type),
        "broadcast_id": literal(broadcast.id, columns.broadcast_id.type),
        "resident_id": Resident.id,
        "address_id": address.id,
        "channel": func.coalesce(address.channel, ""),
        "route": case(
            (by_mass, literal(DeliveryRoute.MASS, columns.route.type)),
            else_=literal(DeliveryRoute.OUTBOX, columns.route.type),
        ),
        "state": case(
            (has_none, literal(DeliveryState.SKIPPED, columns.state.type)),
            else_=literal(DeliveryState.QUEUED, columns.state.type),
        ),
        "reason": case((has_none, "居民没有可用的联系渠道"), else_=null()),
        "rank": literal(WARNING_RANK),
        "retry_at": case((or_(has_none, by_mass), null()), else_=literal(now, columns.retry_at.type)),
        "created_at": literal(now, columns.created_at.type),
        "finished_at": case((has_none, literal(now, columns.finished_at.type)), else_=null()),
    }
    chosen = (
        select(*values.values())
        .select_from(Resident)
        .outerjoin(address, address.id == latest)
        .where(belongs, Resident.id > broadcast.expanded_to, Resident.id <= last)
        .order_by(Resident.id)
    )
    return insert(Base.metadata.tables["deliveries"]).from_select(list(values), chosen)


async def log_broadcast(
    session: AsyncSession, broadcast: Broadcast, delivery_ids: Sequence[int], now: datetime, *, picture: bool = False
) -> None:
    """A warning that was sent stands in each recipient's conversation; a few statements however many they are.

    `picture`: it carried its picture; mass messages carry words only.
    """
    theirs = Delivery.id.in_(delivery_ids)
    at_theirs = ResidentAddress.id.in_(select(Delivery.address_id).where(theirs))
    here = Conversation.station_id == broadcast.station_id  # the index on address_id begins with it
    await _ensure_conversations(session, at_theirs, here, now)
    await _say(session, broadcast, at_theirs, here, now, media_id=broadcast.media_id if picture else None)
    row = StoredMessage
    newest = (
        select(row.id)
        .join(Conversation, Conversation.id == row.conversation_id)
        .where(
            row.station_id == broadcast.station_id,
            here,
            Conversation.address_id == Delivery.address_id,
            row.broadcast_id == broadcast.id,
        )
        .limit(1)
        .scalar_subquery()
    )
    await session.execute(
        update(Delivery).where(theirs).values(message_id=newest).execution_options(synchronize_session=False)
    )


async def _ensure_conversations(
    session: AsyncSession, at_theirs: ColumnElement[bool], here: ColumnElement[bool], now: datetime
) -> None:
    """Each of these addresses has a conversation, in which something was said now."""
    address, table = ResidentAddress, Base.metadata.tables["conversations"]
    known = exists().where(here, Conversation.address_id == address.id)
    await session.execute(
        insert(table).from_select(
            ["station_id", "address_id", "resident_id", "channel", "created_at"],
            select(
                address.station_id,
                address.id,
                address.resident_id,
                address.channel,
                literal(now, table.c.created_at.type),
            ).where(at_theirs, ~known),
        )
    )
    spoken_at = Conversation.address_id.in_(select(address.id).where(at_theirs))
    await session.execute(  # in one order for everybody, so that nobody waits in a circle
        select(Conversation.id).where(here, spoken_at).order_by(Conversation.id).with_for_update()
    )
    await session.execute(
        update(Conversation)
        .where(here, spoken_at)
        .values(last_message_at=now)
        .execution_options(synchronize_session=False)
    )


async def _say(
    session: AsyncSession,
    broadcast: Broadcast,
    at_theirs: ColumnElement[bool],
    here: ColumnElement[bool],
    now: datetime,
    *,
    media_id: int | None,
) -> None:
    """A message with the words of the warning for each of these addresses."""
    address, table = ResidentAddress, Base.metadata.tables["messages"]
    said = {
        "direction": Direction.OUT,
        "author": Author.STATION,
        "kind": MessageKind.TEXT,
        "body": broadcast_text(broadcast),
        "media_id": media_id,
        "broadcast_id": broadcast.id,
        "sent_at": now,
        "created_at": now,
        "state": MessageState.HANDLED,
        "attempts": 0,
        "fetches": 0,
        "recalled": False,
        "indexed": False,
        "forgotten": False,
    }
    await session.execute(
        insert(table).from_select(
            ["station_id", "conversation_id", "channel", "address", *said],
            select(
                address.station_id,
                Conversation.id,
                address.channel,
                address.address,
                *(literal(value, table.c[name].type) for name, value in said.items()),
            )
            .join(Conversation, here & (Conversation.address_id == address.id))
            .where(at_theirs),
            include_defaults=False,
        )
    )

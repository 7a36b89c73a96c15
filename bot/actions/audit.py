"""The audit log: a chain in which each event carries the hash of the one before it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.store.models import AuditEvent, AuditHead

FIRST_HASH = "0" * 64
VIEWED_AGAIN_AFTER = timedelta(hours=1)  # one line for each reader and page, else the log is full of its own readers


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: an officer of a station, or the program itself (`officer_id` None)."""

    station_id: int
    officer_id: int | None = None
    ip: str = ""


@dataclass(frozen=True, slots=True)
class Broken:
    """Where the chain does not hold, and how."""

    seq: int
    problem: str


@dataclass(frozen=True, slots=True)
class Anchor:
    """The end of the log at a moment, kept outside of the database: who cuts the end off cannot cut it there too."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What reading the whole chain found; `end` is its last link."""

    events: int
    end: Anchor
    broken: tuple[Broken, ...] = field(default=())


async def lock_chain(session: AsyncSession, station_id: int) -> AuditHead:
    """The end of the station's chain, locked until the transaction ends: one action at a time may add to it."""
    query = select(AuditHead).where(AuditHead.station_id == station_id).with_for_update()
    head = (await session.execute(query.execution_options(populate_existing=True))).scalar_one_or_none()
    if head is None:
        head = AuditHead(station_id=station_id, seq=0, hash=FIRST_HASH)
        session.add(head)
        await session.flush()
    return head


async def record(
    session: AsyncSession,
    actor: Actor,
    action: str,
    subject: str,
    *,
    why: str = "",
    details: Mapping[str, Any] | None = None,
) -> AuditEvent:
    """Add one event at the end of the station's chain. `details` holds ids and figures, never words of residents."""
    head = await lock_chain(session, actor.station_id)
    event = AuditEvent(
        station_id=actor.station_id,
        seq=head.seq + 1,
        at=clock.now(),
        actor_id=actor.officer_id,
        action=action,
        subject=subject,
        why=why[:200],
        details=dict(details or {}),
        ip=actor.ip,
        previous_hash=head.hash,
    )
    event.hash = _hash(event)
    session.add(event)
    head.seq, head.hash = event.seq, event.hash
    await session.flush()
    return event


async def viewed_lately(session: AsyncSession, actor: Actor, action: str, subject: str) -> bool:
    """Whether this view by this officer stands in the log already and needs no second line."""
    query = (
        select(AuditEvent.seq)
        .where(
            AuditEvent.station_id == actor.station_id,
            AuditEvent.subject == subject,
            AuditEvent.action == action,
            AuditEvent.actor_id == actor.officer_id,
            AuditEvent.at > clock.now() - VIEWED_AGAIN_AFTER,
        )
        .limit(1)
    )
    return (await session.execute(query)).first() is not None


def _hash(event: AuditEvent) -> str:
    fields = {
        "station": event.station_id,
        "seq": event.seq,
        "at": event.at.isoformat(timespec="microseconds"),
        "actor": event.actor_id,
        "action": event.action,
        "subject": event.subject,
        "why": event.why,
        "details": event.details,
        "ip": event.ip,
        "previous": event.previous_hash,
    }
    return hashlib.sha256(json.dumps(fields, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


async def check_chain(session: AsyncSession, station_id: int) -> Checked:
    """Read the station's whole chain and say where a row was changed, added or removed."""
    broken: list[Broken] = []
    previous, seq = FIRST_HASH, 0
    rows = await session.stream_scalars(
        select(AuditEvent).where(AuditEvent.station_id == station_id).order_by(AuditEvent.seq)
    )
    async for event in rows:
        if event.seq != seq + 1:
            broken.append(Broken(seq + 1, f"rows {seq + 1} to {event.seq - 1} are missing"))
        elif event.previous_hash != previous:
            broken.append(Broken(event.seq, "does not continue the row before it"))
        if event.hash != _hash(event):
            broken.append(Broken(event.seq, "was changed after it was written"))
        previous, seq = event.hash, event.seq
    if not seq:
        broken.append(Broken(1, "the log is empty, but a station's log begins when it is made"))
    head = await newest(session, station_id)
    if head != Anchor(seq, previous) if head else seq > 0:
        broken.append(Broken(seq + 1, "the end of the log was cut off or added to"))
    return Checked(await _count(session, station_id), Anchor(seq, previous), tuple(broken))


async def check_anchors(session: AsyncSession, station_id: int, anchors: Sequence[Anchor]) -> list[Broken]:
    """Which ends of the log that were written down elsewhere are not in it any more as they were."""
    rows = await session.execute(
        select(AuditEvent.seq, AuditEvent.hash).where(
            AuditEvent.station_id == station_id, AuditEvent.seq.in_({anchor.seq for anchor in anchors})
        )
    )
    hashes = dict(rows.all())
    return [
        Broken(anchor.seq, "is not what the anchor says" if anchor.seq in hashes else "is missing; the anchor knows it")
        for anchor in anchors
        if hashes.get(anchor.seq) != anchor.hash
    ]


async def newest(session: AsyncSession, station_id: int) -> Anchor | None:
    """The end of the log now; None while it is empty."""
    head = (await session.execute(select(AuditHead).where(AuditHead.station_id == station_id))).scalar_one_or_none()
    return Anchor(head.seq, head.hash) if head is not None else None


async def _count(session: AsyncSession, station_id: int) -> int:
    return (
        await session.execute(select(func.count()).select_from(AuditEvent).where(AuditEvent.station_id == station_id))
    ).scalar_one()

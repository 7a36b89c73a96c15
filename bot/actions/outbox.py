"""What the outbox sends next: claiming what is due and may go now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from bot.actions import ledger
from bot.actions.broadcasts import not_to_be_sent
from bot.actions.deliveries import LEASE, announce_change
from bot.actions.joining import with_what_waits
from bot.actions.parcels import Parcel, due_rows, notice_of, parcel_of
from bot.actions.waiting import STALE_REASON, STALE_WARNING_REASON, UNWANTED_REASON, hold_back, waits_until
from bot.reach import Reach, Rules, When, Window, reach_of
from bot.store.models import Broadcast, Delivery, DeliveryRoute, DeliveryState


@dataclass(slots=True)
class _Page:
    """What becomes of the due rows of one claim."""

    go: list[Parcel]
    skip: list[tuple[Any, str]]
    fail: list[tuple[Any, str]]
    wait: list[tuple[Any, datetime]]


async def claim(
    session: AsyncSession,
    station_id: int,
    *,
    most: int,
    now: datetime,
    rules: Mapping[str, Rules],
    parked: Sequence[str] = (),
) -> tuple[list[Parcel], bool]:
    """Take due deliveries for this process: chat before warnings, then the oldest; one per address, in its order.

    What the ledger says must wait is held here and never shown to the platform; what can never arrive ends. Nothing is
    taken of the channels `parked`. Where messages are counted, short ones go along with the first. Returns also whether
    anything was due: if so, more may be.
    """
    rows = await _due(session, station_id, DeliveryRoute.OUTBOX, most, now, parked)
    if len(rows) < most:
        rows += await _due(session, station_id, DeliveryRoute.NOTICE, most - len(rows), now, parked)
    if not rows:
        return [], False
    broadcasts = await _broadcasts(session, {row.broadcast_id for row in rows if row.broadcast_id is not None})
    page = _Page([], [], [], [])
    for row in rows:
        _sort(page, row, broadcasts.get(row.broadcast_id), rules.get(row.channel), now)
    page.go = await with_what_waits(session, station_id, page.go, rules, now=now)
    if page.go:
        await session.execute(
            update(Delivery)
            .where(Delivery.id.in_([one.id for parcel in page.go for one in parcel.each]))
            .values(state=DeliveryState.SENDING, attempts=Delivery.attempts + 1, retry_at=now + LEASE, waits=False)
            .execution_options(synchronize_session=False)
        )
    for row, reason in page.skip:
        await _end_row(session, row.id, DeliveryState.SKIPPED, reason, now)
    for row, reason in page.fail:
        await _end_row(session, row.id, DeliveryState.FAILED, reason, now)
    await hold_back(session, page.wait, rules, now)
    _announce_rows(session, [*page.skip, *page.fail, *page.wait])
    return page.go, True


def _sort(page: _Page, row: Any, broadcast: Broadcast | None, rules: Rules | None, now: datetime) -> None:
    if broadcast is not None and (reason := not_to_be_sent(broadcast, now)):
        page.skip.append((row, reason))
        return
    if broadcast is not None and not row.wants_warnings:  # he said so while the row was being written
        page.skip.append((row, UNWANTED_REASON))
        return
    if row.route is DeliveryRoute.NOTICE:
        page.go.append(notice_of(row))
        return
    rules = rules or Rules()  # a channel that is no longer in the settings: the outbox says so
    window = Window(row.window_until, row.window_left)
    reach = _reach(row, rules, window, now)
    until = waits_until(row, broadcast)
    if reach.when is When.NEVER:
        page.fail.append((row, reach.why))
    elif reach.when is When.NOW:
        page.go.append(parcel_of(row, broadcast, rules, window))
    elif until > now:
        page.wait.append((row, until))
    elif broadcast is not None:
        page.skip.append((row, STALE_WARNING_REASON))
    else:
        page.fail.append((row, STALE_REASON))


def _reach(row: Any, rules: Rules, window: Window, now: datetime) -> Reach:
    refused = ledger.refusal_of(row.refused_until, row.refused_why, now)
    return reach_of(rules, window, following=row.following, refused=refused, now=now)


async def _due(
    session: AsyncSession, station_id: int, route: DeliveryRoute, most: int, now: datetime, parked: Sequence[str]
) -> list[Any]:
    query = (
        due_rows(station_id, route, now)
        .where(
            *([Delivery.channel.not_in(parked)] if parked else []),
            *([~_something_before(now)] if route is DeliveryRoute.OUTBOX else []),
        )
        .order_by(Delivery.rank, Delivery.id)
        .limit(most)
        .with_for_update(of=Delivery, skip_locked=True)
    )
    return list((await session.execute(query)).all())


async def _broadcasts(session: AsyncSession, numbers: set[int]) -> dict[int | None, Broadcast]:
    if not numbers:
        return {}
    rows = (await session.execute(select(Broadcast).where(Broadcast.id.in_(numbers)))).scalars()
    return {row.id: row for row in rows}


def _something_before(now: datetime) -> ColumnElement[bool]:
    """What was said first arrives first: something else is under way to the address, or due before this one.

    In the query and not after it: a process that skips rows another one has locked would take the second message of a
    resident while the first is being claimed, and a page full of one resident's messages would hide the others'.
    """
    other = aliased(Delivery)
    in_flight = (other.state == DeliveryState.SENDING) & (other.route == DeliveryRoute.OUTBOX)
    due_before = (
        (other.state == DeliveryState.QUEUED)
        & (other.route == DeliveryRoute.OUTBOX)
        & (other.retry_at <= now)
        & ((other.rank < Delivery.rank) | ((other.rank == Delivery.rank) & (other.id < Delivery.id)))
    )
    return exists().where(other.address_id == Delivery.address_id, other.id != Delivery.id, in_flight | due_before)


async def _end_row(session: AsyncSession, delivery_id: int, state: DeliveryState, reason: str, now: datetime) -> None:
    await session.execute(
        update(Delivery)
        .where(Delivery.id == delivery_id)
        .values(state=state, reason=reason[:200], code=None, waits=False, retry_at=None, finished_at=now)
        .execution_options(synchronize_session=False)
    )


def _announce_rows(session: AsyncSession, rows: Sequence[tuple[Any, object]]) -> None:
    for row, _ in rows:
        announce_change(session, row.station_id, row.broadcast_id, row.conversation_id)

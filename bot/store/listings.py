"""What the API lists, page by page; one function for each list."""

from collections.abc import Iterable
from typing import Any, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from bot.store.models import (
    Broadcast,
    BroadcastState,
    Community,
    Ticket,
    TicketState,
)

PAGE_ROWS = 50

_R = TypeVar("_R")


async def _page(session: AsyncSession, query: Select[Any], row: type[_R], page: int) -> tuple[list[_R], bool]:
    """The rows of page 1, 2, … and whether there are more behind them."""
    found = await session.execute(query.offset((page - 1) * PAGE_ROWS).limit(PAGE_ROWS + 1))
    rows: list[_R] = list(found.scalars())
    return rows[:PAGE_ROWS], len(rows) > PAGE_ROWS


async def tickets(
    session: AsyncSession, station_id: int, *, state: TicketState | None, assignee_id: int | None, page: int
) -> tuple[list[Ticket], bool]:
    """Tickets, newest first, with resident, community and assignee; None does not narrow."""
    query = (
        select(Ticket)
        .where(Ticket.station_id == station_id)
        .options(joinedload(Ticket.resident), joinedload(Ticket.community), joinedload(Ticket.assignee))
        .order_by(Ticket.id.desc())
    )
    if state is not None:
        query = query.where(Ticket.state == state)
    if assignee_id is not None:
        query = query.where(Ticket.assignee_id == assignee_id)
    return await _page(session, query, Ticket, page)


async def broadcasts(
    session: AsyncSession, station_id: int, *, state: BroadcastState | None, page: int
) -> tuple[list[Broadcast], bool]:
    """Warnings, newest first, with author and approver."""
    query = (
        select(Broadcast)
        .where(Broadcast.station_id == station_id)
        .options(joinedload(Broadcast.author), joinedload(Broadcast.approver))
        .order_by(Broadcast.id.desc())
    )
    if state is not None:
        query = query.where(Broadcast.state == state)
    return await _page(session, query, Broadcast, page)


async def communities(session: AsyncSession, station_id: int, *, page: int) -> tuple[list[Community], bool]:
    """The station's communities in the order they were made."""
    query = select(Community).where(Community.station_id == station_id).order_by(Community.id)
    return await _page(session, query, Community, page)


async def unknown_communities(session: AsyncSession, station_id: int, community_ids: Iterable[int]) -> set[int]:
    """Those of the numbers that are no community of this station."""
    wanted = set(community_ids)
    query = select(Community.id).where(Community.station_id == station_id, Community.id.in_(wanted))
    return wanted - set((await session.execute(query)).scalars())

"""Changes that open pages hear about at once: announced inside a transaction, published after its commit."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.ext.asyncio import AsyncSession

_BACKLOG = 200  # changes a page may be behind before it is told to read everything again


class Kind(StrEnum):
    TICKET = "ticket"
    CONVERSATION = "conversation"
    BROADCAST = "broadcast"
    DELIVERIES = "deliveries"  # rows wait in the outbox; id is 0
    RELOAD = "reload"  # the listener was too slow; id is 0


@dataclass(frozen=True, slots=True)
class Change:
    """Something moved: which station, what, its row number, and a word on how ("opened", "urgent", "typing")."""

    station_id: int
    kind: Kind
    id: int
    what: str = ""


def announce(session: AsyncSession, change: Change) -> None:
    """Tell the open pages once this transaction has committed."""
    session.info.setdefault("changes", []).append(change)


class Live:
    """Hands each change to every listener of this process; a slow listener loses changes, never the rows."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[Change]] = set()

    def publish(self, changes: Iterable[Change]) -> None:
        for change in changes:
            for queue in self._listeners:
                if queue.full():
                    while not queue.empty():
                        queue.get_nowait()
                    queue.put_nowait(Change(change.station_id, Kind.RELOAD, 0))
                queue.put_nowait(change)

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[asyncio.Queue[Change]]:
        queue: asyncio.Queue[Change] = asyncio.Queue(_BACKLOG + 1)
        self._listeners.add(queue)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)

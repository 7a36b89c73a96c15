"""Who has which ticket open right now; in memory, because it is only true while the pages are connected."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from bot.store.live import Change, Kind, Live
from bot.store.models import Officer


class Presence:
    """The open ticket pages of this process. Nothing is lost when it goes: pages connect again."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._here: dict[int, Counter[tuple[int, str]]] = {}

    @contextmanager
    def looking(self, station_id: int, ticket_id: int, officer: Officer) -> Iterator[None]:
        """The officer looks at the ticket as long as this lasts; other pages hear of it."""
        who = (officer.id, officer.name)
        self._here.setdefault(ticket_id, Counter())[who] += 1
        self._live.publish([Change(station_id, Kind.TICKET, ticket_id, "seen")])
        try:
            yield
        finally:
            pages = self._here[ticket_id]
            pages[who] -= 1
            if not pages[who]:
                del pages[who]
            if not pages:
                del self._here[ticket_id]
            self._live.publish([Change(station_id, Kind.TICKET, ticket_id, "seen")])

    def names(self, ticket_id: int, *, but: int | None = None) -> list[str]:
        """Who looks at a ticket, without officer `but`."""
        return sorted({name for officer_id, name in self._here.get(ticket_id, ()) if officer_id != but})

"""What the running program shares: settings, store, station, knowledge. Passed, never imported as a value."""

import asyncio
import logging
from dataclasses import dataclass, field, replace

from bot.config import Config
from bot.router import StationInfo
from bot.store.engine import Store
from bot.store.learning_queries import live_content, live_state
from knowledge import Knowledge

log = logging.getLogger(__name__)


@dataclass
class Runtime:
    """One per process. `knowledge` and `station` are replaced as a whole when the station changes them."""

    config: Config
    store: Store
    station: StationInfo
    knowledge: Knowledge
    versions: tuple[int, ...] = ()  # the station's own live versions that are in `knowledge`
    _refreshing: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    def topic_title(self, topic: str | None) -> str:
        """What a topic is called on pages and in notices."""
        entry = self.knowledge.entries.get(topic or "")
        return entry.title if entry else (topic or "未归类")

    async def refresh(self) -> bool:
        """Catch up with what is live in the rows, whichever process made it so. True if something was replaced."""
        async with self._refreshing:
            async with self.store.read() as session:
                state = await live_state(session, self.station.id)
                if (state.versions, state.settings) == (self.versions, dict(self.station.settings)):
                    return False
                own = await live_content(session, self.station.id) if state.versions != self.versions else None
            self.station = replace(self.station, settings=state.settings)
            if own is not None:
                # Loading takes half a second: in a thread, so that nobody's question waits for it.
                self.knowledge = await asyncio.to_thread(Knowledge.load, own=list(own.values()))
                self.versions = state.versions
                if refused := self.knowledge.refused:
                    log.error("own knowledge left out", extra={"station_id": self.station.id, "count": len(refused)})
            return True

"""The platform's own time: the program's clock plus what was advanced here, with what is to happen at which moment."""

import heapq
import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone

from bot import clock

CHINA = timezone(timedelta(hours=8))
DAY = 86_400.0

Happening = Callable[[], Awaitable[object]]


class VirtualClock:
    """Seconds since 1970. Nothing scheduled happens by itself: `settle` lets happen what is due."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._due: list[tuple[float, int, Happening]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return clock.now().timestamp() + self._offset

    def advance(self, seconds: float) -> None:
        self._offset += seconds

    def local(self) -> datetime:
        """The time on a wall in China: days, months and their quotas end there (assumed, not documented)."""
        return datetime.fromtimestamp(self.now(), UTC).astimezone(CHINA)

    def later(self, seconds: float, happening: Happening) -> None:
        heapq.heappush(self._due, (self.now() + seconds, next(self._order), happening))

    async def settle(self) -> int:
        """Let everything due happen, in order, also what comes due by it; how much it was."""
        happened = 0
        while self._due and self._due[0][0] <= self.now():
            _, _, happening = heapq.heappop(self._due)
            happened += 1
            await happening()
        return happened

"""The demo station while it is being made: its rows so far, and what making them needs."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from knowledge import Knowledge

CHANNEL: Final = "web"
DAYS: Final = 7  # so long ago the first of the conversations was


@dataclass(slots=True)
class Rows:
    """Rows under construction, with the numbers they will have."""

    tables: dict[type[Any], list[dict[str, Any]]]

    def add(self, table: type[Any], **columns: Any) -> int:
        rows = self.tables.setdefault(table, [])
        number = len(rows) + 1
        rows.append({"id": number, **columns})
        return number


@dataclass(frozen=True, slots=True)
class World:
    """What every part of the filling needs."""

    rows: Rows
    chance: random.Random
    made_up: Mapping[str, Any]
    station_id: int
    now: datetime
    zone: ZoneInfo
    knowledge: Knowledge

    def moment(self, days_ago: int, hour: int, minute: int) -> datetime:
        local = (self.now.astimezone(self.zone) - timedelta(days=days_ago)).replace(hour=hour, minute=minute, second=0)
        return min(local.astimezone(self.now.tzinfo), self.now - timedelta(minutes=2))

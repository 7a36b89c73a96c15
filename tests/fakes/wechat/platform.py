"""What all parts of the fake platform share: time, rules, faults, journal, counters, numbers."""

import itertools
import random
from collections import Counter

from tests.fakes.wechat.clock import VirtualClock
from tests.fakes.wechat.faults import Fault
from tests.fakes.wechat.journal import Journal
from tests.fakes.wechat.rules import Rules


class Platform:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.rules = Rules()
        self.faults: list[Fault] = []
        self.journal = Journal()
        self.counters: Counter[str] = Counter()  # token calls and the like, for ever
        self.today: Counter[tuple[str, str]] = Counter()  # (day in China, path) → calls
        self.chance = random.Random(7)
        self.numbers = itertools.count(3_000_000_001)

    def now(self) -> float:
        return self.clock.now()

    def spend_daily(self, path: str) -> bool:
        """Count one call; whether the day's quota of this path allowed it."""
        key = (self.clock.local().strftime("%F"), path)
        self.today[key] += 1
        return self.today[key] <= self.rules.daily_limits.get(path, 10**9)

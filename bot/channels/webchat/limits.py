"""How often one visitor or one address may do something: a bucket of tokens for each that fills again with time."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

_KEYS_MOST = 20_000  # buckets in memory; full ones are forgotten first, they say nothing
_MINUTE = timedelta(minutes=1)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: datetime


class Limit:
    """`per_minute` at once, and as many again each minute."""

    def __init__(self, per_minute: int) -> None:
        self._most = float(per_minute)
        self._buckets: dict[str, _Bucket] = {}

    def take(self, key: str, now: datetime) -> int:
        """0 when it is allowed (and counted), else the seconds until it will be."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= _KEYS_MOST:
                self._forget(now)
            bucket = self._buckets[key] = _Bucket(self._most, now)
        bucket.tokens, bucket.at = self._filled(bucket, now), now
        if bucket.tokens < 1:
            return max(1, ceil((1 - bucket.tokens) * _MINUTE.total_seconds() / self._most))
        bucket.tokens -= 1
        return 0

    def _filled(self, bucket: _Bucket, now: datetime) -> float:
        return min(self._most, bucket.tokens + max(0.0, (now - bucket.at) / _MINUTE) * self._most)

    def _forget(self, now: datetime) -> None:
        self._buckets = {key: b for key, b in self._buckets.items() if self._filled(b, now) < self._most}
        if len(self._buckets) >= _KEYS_MOST:  # a flood from everywhere: better no memory than no room
            self._buckets.clear()

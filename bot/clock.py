"""The one place the program asks for the time."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_Source = Callable[[], datetime]


def _system_time() -> datetime:
    return datetime.now(UTC)


_source: _Source = _system_time


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return _source()


def ago(seconds: float) -> datetime:
    """The moment `seconds` before now."""
    return now() - timedelta(seconds=seconds)


def set_source(source: _Source | None) -> None:
    """Make `now()` answer from `source`; None gives it back to the system. For tests and the demo's past week."""
    global _source
    _source = source or _system_time

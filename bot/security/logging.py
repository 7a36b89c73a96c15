"""Logs as JSON lines of a fixed phrase and ids; whatever looks like a secret, a phone or an openid is blotted out.

Of an exception stands there what it was and where, never what it says: a database's refusal quotes the row, and the row
is what a resident wrote.
"""

import logging
import re
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET_NAMES = re.compile(r"(secret|password|token|aes_key|data_key|cookie|openid|phone)", re.IGNORECASE)
_IN_TEXT = (
    (re.compile(r"(access_token|secret|appsecret|token)=[^&\s\"']+", re.IGNORECASE), r"\1=***"),
    (re.compile(r"(?<!\d)1[3-9]\d{9}(?!\d)"), "***phone***"),
    (re.compile(r"(?<!\d)\d{17}[\dXx](?!\d)"), "***id***"),
    (re.compile(r"\bo[A-Za-z0-9_-]{27}\b"), "***openid***"),
    (re.compile(r"\bw[mo][A-Za-z0-9_-]{20,62}\b"), "***external***"),  # a resident as WeCom calls him
)
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def redact(value: object) -> object:
    """The value without what a log must not hold."""
    if not isinstance(value, str):
        return value
    for pattern, replacement in _IN_TEXT:
        value = pattern.sub(replacement, value)
    return value


def _redact_event(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: "***" if _SECRET_NAMES.search(key) else redact(value) for key, value in event.items()}


def _add_extra(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What stdlib callers passed as `extra`."""
    record = event.get("_record")
    if record is not None:
        event.update({key: value for key, value in record.__dict__.items() if key not in _STANDARD})
    return event


def _add_failure(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """An exception as its types and its lines of code."""
    failed = event.pop("exc_info", None)
    if failed is True:
        failed = sys.exc_info()
    error = failed[1] if isinstance(failed, tuple) else failed
    if isinstance(error, BaseException):
        event["exception"] = "\n".join(_lines_of(error, set()))
    return event


def _lines_of(error: BaseException, seen: set[int]) -> list[str]:
    """Type and frames (module:line function) of an error, then those of the errors behind and within it."""
    seen.add(id(error))
    frames = [
        f"  {frame.f_globals.get('__name__', '?')}:{line} {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    lines = [f"{type(error).__module__}.{type(error).__qualname__}", *frames]
    others = [error.__cause__ or (None if error.__suppress_context__ else error.__context__)]
    if isinstance(error, BaseExceptionGroup):
        others += error.exceptions
    for other in others:
        if other is not None and id(other) not in seen:
            lines += ["behind it:", *_lines_of(other, seen)]
    return lines


def _first_line(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """asyncio repeats in further lines what an error of a forgotten task says."""
    event["event"] = str(event.get("event", "")).partition("\n")[0]
    return event


_STRUCTLOG = (
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
)


def set_up(*, level: int = logging.INFO, human: bool = False) -> None:
    """Send all logs to stderr: JSON lines, or lines for a person at a terminal."""
    renderer = structlog.dev.ConsoleRenderer() if human else structlog.processors.JSONRenderer(ensure_ascii=False)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_extra,
            _first_line,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _add_failure,
            _redact_event,
            renderer,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    structlog.configure(  # without this the channels' lines went to stdout as they were, nothing blotted out
        processors=list(_STRUCTLOG),
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # a tick left out because the last one still runs is no news
    logging.getLogger("apscheduler").setLevel(logging.ERROR)

"""What must stand in no log line: the fakes and the tests say what it is, each line a test made is looked through."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from structlog.typing import Processor

from bot.security import logging as logs

OURS = ("bot", "handlers", "knowledge", "scheduler")
_SHORTEST_BYTES = 6  # two Chinese characters; anything shorter stands in a number by chance
_SHORTEST_PLAIN = 12  # of words in Latin letters, which a line of the program may use itself

_secrets: set[str] = set()
_records: list[logging.LogRecord] = []


def _formatter(*blotting: Processor) -> structlog.stdlib.ProcessorFormatter:
    """Makes lines as the program does."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, logs._add_extra, logs._first_line],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            logs._add_failure,
            *blotting,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )


_STRICT = _formatter()  # what our own lines say must not need blotting out
_AS_WRITTEN = _formatter(logs._redact_event)


def secret(*values: str) -> None:
    """A token, a key, an address of a resident: none of these may stand in a log."""
    _secrets.update(value for value in values if len(value.encode(errors="replace")) >= _SHORTEST_BYTES)


def said(words: str) -> None:
    """What a resident said or read."""
    if not words.isascii() or len(words) >= _SHORTEST_PLAIN:
        secret(words)


@contextmanager
def recorded() -> Iterator[None]:
    """Keep every record that is made from now on, also by a test that sets up logs of its own."""
    made: Callable[..., logging.LogRecord] = logging.getLogRecordFactory()

    def keep(name: str | None, *arguments: object, **more: object) -> logging.LogRecord:
        record = made(name, *arguments, **more)
        if name:  # a formatter's copy of a record has none
            _records.append(record)
        return record

    levels = {name: logging.getLogger(name).level for name in OURS}
    logging.setLogRecordFactory(keep)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logging.setLogRecordFactory(made)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _line(record: logging.LogRecord) -> str:
    is_ours = record.name.partition(".")[0] in OURS
    return (_STRICT if is_ours else _AS_WRITTEN).format(record)


def begin() -> None:
    """A test begins: nothing said or written so far is its own. The channels' lines go the way they go in `serve`."""
    _secrets.clear()
    _records.clear()
    structlog.configure(
        processors=list(logs._STRUCTLOG),
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def found() -> list[str]:
    """The lines in which something stands that must not."""
    lines = {_line(record) for record in _records} if _secrets else set()
    together = "\n".join(lines)
    leaked = [value for value in _secrets if value in together]
    return sorted(line for line in lines if any(value in line for value in leaked))

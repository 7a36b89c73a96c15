"""Column types: aware UTC moments, encrypted texts, encrypted and plain JSON."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, LargeBinary
from sqlalchemy.types import TypeDecorator, TypeEngine

from bot.store.encryption import decrypt, encrypt

_as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode  # json.dumps makes one for each value
BigId = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows itself only in a column called INTEGER


class Json(TypeDecorator[Any]):
    """A JSON value that the database can look into."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name != "postgresql":
            return dialect.type_descriptor(JSON())
        from sqlalchemy.dialects.postgresql import JSONB  # here: SQLite need not load it

        return dialect.type_descriptor(JSONB())


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment. PostgreSQL keeps the zone; SQLite gets naive UTC, which sorts as text."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(DateTime(timezone=dialect.name == "postgresql"))

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any]:
        """One plain function: a turn writes a dozen moments, and SQLAlchemy's own two take half as long again."""
        return _in_utc if dialect.name == "postgresql" else _as_sqlite_text

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None]:
        return _in_utc if dialect.name == "postgresql" else _of_sqlite_text


def _in_utc(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("a moment without a time zone cannot be stored")
    return value.astimezone(UTC)


def _as_sqlite_text(value: datetime | None) -> str | None:
    moment = _in_utc(value)
    return None if moment is None else moment.replace(tzinfo=None).isoformat(" ", "microseconds")


def _of_sqlite_text(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value).replace(tzinfo=UTC)


class Encrypted(TypeDecorator[Any]):
    """Encrypted in the database; it cannot be compared or sorted there (use a blind index)."""

    impl = LargeBinary
    cache_ok = True

    @staticmethod
    def to_bytes(value: Any) -> bytes:
        raise NotImplementedError

    @staticmethod
    def from_bytes(value: bytes) -> Any:
        raise NotImplementedError

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], bytes | None]:
        to_bytes = self.to_bytes
        return lambda value: None if value is None else encrypt(to_bytes(value))

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[bytes | None], Any]:
        from_bytes = self.from_bytes
        return lambda value: None if value is None else from_bytes(decrypt(value))


class EncryptedText(Encrypted):
    """A text."""

    cache_ok = True

    @staticmethod
    def to_bytes(value: str) -> bytes:
        return value.encode()

    @staticmethod
    def from_bytes(value: bytes) -> str:
        return value.decode()


class EncryptedJson(Encrypted):
    """A small JSON value."""

    cache_ok = True

    @staticmethod
    def to_bytes(value: Any) -> bytes:
        return _as_json(value).encode()

    @staticmethod
    def from_bytes(value: bytes) -> Any:
        return json.loads(value)


class EncryptedBytes(Encrypted):
    """Bytes (a picture)."""

    cache_ok = True

    @staticmethod
    def to_bytes(value: bytes) -> bytes:
        return value

    @staticmethod
    def from_bytes(value: bytes) -> bytes:
        return value

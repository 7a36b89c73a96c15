"""The database: one engine to read, one to write, and a transaction as the unit of both.

SQLite allows one writer. Its write engine has a single connection whose transactions begin IMMEDIATE, so writers queue
in the event loop instead of failing with "database is locked"; readers see the last commit and never wait. On
PostgreSQL both are the same engine. Consequence for callers: never open `write()` inside another `write()`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InterfaceError, OperationalError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from bot.store.encryption import EncryptionError
from bot.store.live import Live

_READERS = 4
_WRITER_WAIT_SECONDS = 30  # a writer that waits longer means a transaction opened inside another
_POSTGRES_CONNECTIONS = 10


class Store:
    """The way to the rows. `write()` is one transaction: it commits at its end or leaves nothing behind."""

    def __init__(self, reading: AsyncEngine, writing: AsyncEngine) -> None:
        self._reading, self._writing = reading, writing
        self.live = Live()
        self._readers = async_sessionmaker(reading, expire_on_commit=False)
        self._writers = async_sessionmaker(writing, expire_on_commit=False)

    @classmethod
    def open(cls, url: str) -> "Store":
        """Connect to `sqlite+aiosqlite:///FILE` or `postgresql+asyncpg://…`; the first query is the first contact."""
        if make_url(url).get_backend_name() == "sqlite":
            return cls(_sqlite(url, writing=False), _sqlite(url, writing=True))
        engine = create_async_engine(
            url, pool_size=_POSTGRES_CONNECTIONS, max_overflow=0, pool_pre_ping=True, hide_parameters=True
        )
        return cls(engine, engine)

    @property
    def dialect(self) -> str:
        return self._writing.dialect.name

    @property
    def engine(self) -> AsyncEngine:
        """The writing engine, for migrations and LISTEN."""
        return self._writing

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        async with self._readers() as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        async with self._writers() as session:
            async with session.begin():
                yield session
            self.live.publish(session.info.pop("changes", ()))

    async def close(self) -> None:
        await self._reading.dispose()
        await self._writing.dispose()


def is_about_the_row(error: Exception) -> bool:
    """Whether the database refused what was to be written (too long, no valid text) or gave what no key opens, not that
    it could not be asked."""
    if isinstance(error, EncryptionError):
        return True
    return isinstance(error, StatementError) and not isinstance(error, OperationalError | InterfaceError)


def _sqlite(url: str, *, writing: bool) -> AsyncEngine:
    file = make_url(url).database
    if file and file != ":memory:":
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(
        url,
        pool_size=1 if writing else _READERS,
        max_overflow=0,
        pool_timeout=_WRITER_WAIT_SECONDS,
        hide_parameters=True,  # an error is logged, and parameters are what residents wrote
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")  # a commit survives a power cut: the row is the promise
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA busy_timeout=10000")  # another process (backup, import) may hold the write lock
        if not writing:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine

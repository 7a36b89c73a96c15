"""One way to SQLite's thread and back for each statement, where SQLAlchemy goes four times: a fifth of the tests' time.

SQLAlchemy asks aiosqlite for a cursor, to execute, for the rows and to close the cursor, and each is a hand-over to the
connection's thread. What a statement does, in which transaction and in which order, stays the same. The programs that
tests start as processes of their own, and PostgreSQL, go the long way.
"""

from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection, AsyncAdapt_aiosqlite_cursor


class OneWayCursor(AsyncAdapt_aiosqlite_cursor):
    """What SQLAlchemy sees as a cursor; the real one lives for one statement, in the connection's thread."""

    __slots__ = ("_description", "_lastrowid", "_rowcount")

    def __init__(self, connection: AsyncAdapt_aiosqlite_connection) -> None:
        self._adapt_connection, self._connection = connection, connection._connection
        self._rows: deque[Any] = deque()
        self._description: Any = None
        self._rowcount, self._lastrowid = -1, 0

    @property
    def description(self) -> Any:
        return self._description

    @property
    def rowcount(self) -> int:
        return self._rowcount

    @property
    def lastrowid(self) -> int:
        return self._lastrowid

    async def _execute_async(self, operation: Any, parameters: Any) -> None:
        await self._at_once("execute", operation, parameters or ())

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> None:
        await self._at_once("executemany", operation, seq_of_parameters)

    async def _at_once(self, method: str, operation: Any, parameters: Any) -> None:
        async with self._adapt_connection._execute_mutex:
            connection: Any = self._connection
            work = partial(self._work, connection._conn, method, operation, parameters)
            self._rows = deque(await connection._execute(work))

    def _work(self, connection: Any, method: str, operation: Any, parameters: Any) -> Sequence[Any]:
        cursor = connection.cursor()
        try:
            getattr(cursor, method)(operation, parameters)
            self._description, self._rowcount, self._lastrowid = cursor.description, cursor.rowcount, cursor.lastrowid
            return cursor.fetchall() if cursor.description else ()
        finally:
            cursor.close()

    async def _async_soft_close(self) -> None:
        """Nothing is open."""

    def close(self) -> None:
        self._rows.clear()

"""Many rows of one table at once, and rows that may be there already."""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

from sqlalchemy import Insert, insert
from sqlalchemy.ext.asyncio import AsyncSession


async def write_rows(session: AsyncSession, table: type[Any], rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows that all name the same columns."""
    if rows:
        await session.execute(insert(table.__table__), rows)


def insert_if_new(session: AsyncSession, table: type[Any], *, returning: tuple[str, ...] = ()) -> Insert:
    """An INSERT that passes over rows whose unique key is taken; both databases spell it alike, SQLAlchemy does not."""
    return _insert_if_new(session.get_bind().dialect.name, table.__table__, returning)


@cache  # to put a statement together costs more than to run it
def _insert_if_new(dialect_name: str, table: Any, returning: tuple[str, ...]) -> Insert:
    dialect = import_module(f"sqlalchemy.dialects.{dialect_name}")
    statement: Insert = dialect.insert(table).on_conflict_do_nothing()
    return statement.returning(*(table.c[name] for name in returning)) if returning else statement

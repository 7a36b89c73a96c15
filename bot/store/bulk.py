"""Many rows of one table at once, and rows that may be there already."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from sqlalchemy import Insert, insert
from sqlalchemy.ext.asyncio import AsyncSession


async def write_rows(session: AsyncSession, table: type[Any], rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows that all name the same columns."""
    if rows:
        await session.execute(insert(table.__table__), rows)


def insert_if_new(session: AsyncSession, table: type[Any]) -> Insert:
    """An INSERT that passes over rows whose unique key is taken; both databases spell it alike, SQLAlchemy does not."""
    dialect = import_module(f"sqlalchemy.dialects.{session.get_bind().dialect.name}")
    statement: Insert = dialect.insert(table.__table__).on_conflict_do_nothing()
    return statement

"""Backup and restore: every table as lines of JSON in one gzip file, from one snapshot, on either database.

Encrypted columns are copied as they are; a backup is as safe as the database and useless without the data key.
"""

import base64
import gzip
import json
import zlib
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Column, LargeBinary, Table, func, insert, select, text, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store import migrations
from bot.store.engine import Store
from bot.store.models import Base
from bot.store.types import BigId, Encrypted

_FORMAT = "neighbourhood-officer-backup"
_ROWS_AT_ONCE = 500


class BackupError(Exception):
    """The backup cannot be made or used; the sentence says why."""


async def backup(store: Store, file: Path) -> int:
    """Write all rows as they are at this moment; the service may go on. Returns how many rows."""
    schema = await migrations.version(store)
    unfinished = file.with_name(file.name + ".unfinished")
    count = 0
    snapshot = {"isolation_level": "REPEATABLE READ"} if store.dialect == "postgresql" else {}
    async with store.read() as session:  # a reader sees one moment and keeps nobody from writing
        connection = await session.connection(execution_options=snapshot)
        with gzip.open(unfinished, "wt", encoding="utf-8", compresslevel=6) as out:
            out.write(json.dumps({"format": _FORMAT, "schema": schema}) + "\n")
            for table in Base.metadata.sorted_tables:
                # In the order of their numbers: a reply comes after the message it answers, as its foreign key wants.
                query = select(*(_raw(column) for column in table.columns)).order_by(*table.primary_key)
                rows = await connection.stream(query)
                async for row in rows:
                    out.write(json.dumps([table.name, [_plain(value) for value in row]], ensure_ascii=False) + "\n")
                    count += 1
            out.write(json.dumps({"rows": count}) + "\n")
    unfinished.replace(file)  # a backup that broke off never has the name of a good one
    return count


async def restore(store: Store, file: Path) -> int:
    """Fill an empty database from a backup, in one transaction. Returns how many rows."""
    await migrations.migrate(store)
    _check_whole(file)
    async with store.engine.begin() as connection:
        for table in Base.metadata.sorted_tables:
            if (await connection.execute(select(func.count()).select_from(table))).scalar_one():
                raise BackupError("the database is not empty; restore into a new one")
        count = await _read_in(connection, file)
        if store.dialect == "postgresql":
            await _set_sequences(connection)
    return count


async def _read_in(connection: AsyncConnection, file: Path) -> int:
    tables = {table.name: table for table in Base.metadata.sorted_tables}
    count, waiting, of = 0, list[dict[str, Any]](), ""
    for line in _lines(file):
        if isinstance(line, dict):
            continue
        name, values = line
        table = tables[name]
        if name != of or len(waiting) >= _ROWS_AT_ONCE:
            await _write(connection, tables.get(of), waiting)
            waiting, of = [], name
        waiting.append(_row(table, values))
        count += 1
    await _write(connection, tables.get(of), waiting)
    return count


async def _write(connection: AsyncConnection, table: Table | None, rows: list[dict[str, Any]]) -> None:
    if table is not None and rows:
        raw = {column.name: _raw_type(column) for column in table.columns}
        plain = Table(table.name, table.metadata.__class__(), *(Column(name, type_) for name, type_ in raw.items()))
        await connection.execute(insert(plain), rows)


def _lines(file: Path) -> Iterator[Any]:
    """The lines of a backup one by one: a station's years do not fit into memory."""
    try:
        with gzip.open(file, "rt", encoding="utf-8") as opened:
            for line in opened:
                yield json.loads(line)
    except FileNotFoundError as error:
        raise BackupError(f"{file}: there is no such file") from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise BackupError(f"{file}: is no backup of this program, or is damaged") from error


def _check_whole(file: Path) -> None:
    """Read all of it once before a row is written."""
    first = last = None
    count = 0
    for last in _lines(file):
        first = last if first is None else first
        count += 1
    if not isinstance(first, dict) or first.get("format") != _FORMAT:
        raise BackupError(f"{file}: is no backup of this program")
    if first["schema"] != migrations.newest():
        raise BackupError(
            f"{file}: was made at schema {first['schema']}; restore it with the program of that time, then migrate"
        )
    if last != {"rows": count - 2}:
        raise BackupError(f"{file}: is not complete; take an older backup")


def _raw_type(column: Column[Any]) -> Any:
    """The type whose values are the stored ones: ciphertext stays ciphertext."""
    encrypted = isinstance(column.type, Encrypted)
    return LargeBinary() if encrypted else column.type


def _raw(column: Column[Any]) -> Any:
    return type_coerce(column, _raw_type(column))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"at": value.isoformat()}
    if isinstance(value, StrEnum):
        return value.value
    return {"json": value} if isinstance(value, dict) else value


def _row(table: Table, values: list[Any]) -> dict[str, Any]:
    return {column.name: _value(column, value) for column, value in zip(table.columns, values, strict=True)}


def _value(column: Column[Any], value: Any) -> Any:
    if isinstance(value, dict):
        if "bytes" in value:
            return base64.b64decode(value["bytes"])
        return datetime.fromisoformat(value["at"]) if "at" in value else value["json"]
    kind = getattr(column.type, "enum_class", None)
    return kind(value) if kind is not None and value is not None else value


async def _set_sequences(connection: AsyncConnection) -> None:
    """PostgreSQL counts on where the restored numbers end."""
    for table in Base.metadata.sorted_tables:
        column = table.columns.get("id")
        if column is not None and isinstance(column.type, type(BigId)):
            await connection.execute(
                text(
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), "
                    f"COALESCE((SELECT max(id) FROM {table.name}), 1))"
                )
            )

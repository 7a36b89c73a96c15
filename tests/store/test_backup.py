"""Backup and restore: every row, from one moment, from either database into either."""

import asyncio
import gzip
import itertools
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import LargeBinary, select, text, type_coerce, update

from bot.actions import audit
from bot.actions.audit import Actor
from bot.message import MessageKind
from bot.store import backup
from bot.store.backup import BackupError
from bot.store.engine import Store
from bot.store.models import Base, Direction, Repeat, Resident, StoredMessage
from scheduler import jobs
from tests.actions.test_broadcasts import tick, warn
from tests.support.station import FrozenClock, House, text_message


async def busy_days(house: House, frozen: FrozenClock) -> None:
    """Rows in every table that a day brings, some of them moved about in the file as PostgreSQL does on changes."""
    await house.add_resident("o-list", name="王小明", phone="13812345678", home="1幢")
    for said in ("身份证", "2", "登记", "枫林社区", "1958", "楼上太吵了", "骗子让我正在转账"):
        await house.hear(said)
    await house.hear(text_message("", kind=MessageKind.LINK, url="http://x", extra={"title": "标题"}))
    ticket = await house.take("zhang")
    await house.close_ticket("zhang", ticket, farewell="再见")
    await warn(house, repeat=Repeat.WEEKLY, send_at=frozen.now)
    await tick(house)
    await jobs.index_messages(house.desk)
    await house.dispatcher.close()
    async with house.store.write() as session:  # PostgreSQL writes changed rows anew: these now lie behind the replies
        await session.execute(
            update(StoredMessage)
            .where(StoredMessage.direction == Direction.IN)
            .values(attempts=StoredMessage.attempts, details={"filler": "x" * 4000})
        )


async def everything(store: Store) -> dict[str, list[Any]]:
    """All rows as they are stored, ciphertext as ciphertext."""
    found: dict[str, list[Any]] = {}
    async with store.read() as session:
        for name, table in Base.metadata.tables.items():
            columns = [
                type_coerce(column, LargeBinary()) if "Encrypted" in type(column.type).__name__ else column
                for column in table.columns
            ]
            rows = (await session.execute(select(*columns))).all()
            found[name] = sorted((tuple(map(plainly, row)) for row in rows), key=str)
    return found


def plainly(value: Any) -> str:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else repr(value)  # JSONB has its own order


KINDS = ["sqlite", "postgres"]


@pytest.mark.parametrize(("source", "target"), list(itertools.product(KINDS, repeat=2)))
@pytest.mark.postgres
async def test_a_restored_database_is_the_same_and_goes_on(
    request: pytest.FixtureRequest, tmp_path: Path, frozen: FrozenClock, source: str, target: str
) -> None:
    url = request.getfixturevalue(f"furnished_{source}_url")
    cluster = request.getfixturevalue("postgres_cluster")
    into = cluster.fresh_database() if target == "postgres" else f"sqlite+aiosqlite:///{tmp_path / 'new.db'}"
    file = tmp_path / "station.backup"
    async with House.opened(url) as house:
        await busy_days(house, frozen)
        rows = await backup.backup(house.store, file)
        before = await everything(house.store)
    assert rows == sum(len(table) for table in before.values())
    assert "王小明".encode() not in gzip.decompress(file.read_bytes())

    store = Store.open(into)
    try:
        assert await backup.restore(store, file) == rows
        assert await everything(store) == before
        async with store.read() as session:
            assert not (await audit.check_chain(session, house.station.id)).broken
    finally:
        await store.close()

    async with House.opened(into) as again:  # new rows get new numbers, and old ones are understood
        assert "户口簿" in str(await again.hear("身份证丢了怎么办", "o-new"))
        assert (await again.resident()).birth_year == 1958
        await again.take("zhang", "o-new")
        async with again.store.write() as session:
            await audit.record(session, Actor(again.station.id), "restored", "station:1")
    if target == "postgres":
        cluster.drop_database(into)


async def test_a_backup_holds_the_moment_and_keeps_nobody_from_writing(
    any_house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command ran in a process of its own and took SQLite's only write lock for as long as the copy took."""
    house, written = any_house, 0
    await house.hear("身份证丢了怎么办")
    plain = backup._plain
    residents = await house.count(Resident)

    def slow(value: Any) -> Any:
        nonlocal written
        written += 1
        return plain(value)

    monkeypatch.setattr(backup, "_plain", slow)
    url = house.store.engine.url.render_as_string(hide_password=False)
    other = Store.open(url)
    try:
        await asyncio.gather(backup.backup(other, tmp_path / "b"), *(house.hear("你好", f"o-{n}") for n in range(5)))
    finally:
        await other.close()
    assert written > 100
    lines = gzip.decompress((tmp_path / "b").read_bytes()).splitlines()
    names = [json.loads(line)[0] for line in lines[1:-1]]
    assert residents <= names.count("residents") <= residents + 5
    assert names.count("residents") == names.count("resident_addresses") == names.count("conversations")


async def test_a_writer_is_not_stopped_by_a_backup_that_is_under_way(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, wrote = backup._plain, False

    def write_meanwhile(value: Any) -> Any:
        nonlocal wrote
        if not wrote:
            with sqlite3.connect(tmp_path / "officer.db", timeout=0) as service:  # another process; it does not wait
                service.execute("UPDATE communities SET name = name")
            wrote = True
        return plain(value)

    monkeypatch.setattr(backup, "_plain", write_meanwhile)
    assert await backup.backup(house.store, tmp_path / "b") > 0
    assert wrote


async def test_restoring_over_a_station_is_refused(house: House, tmp_path: Path) -> None:
    await backup.backup(house.store, tmp_path / "b")
    with pytest.raises(BackupError, match="the database is not empty; restore into a new one"):
        await backup.restore(house.store, tmp_path / "b")


def broken(kind: str, whole: bytes) -> bytes:
    lines = gzip.decompress(whole).splitlines(keepends=True)
    match kind:
        case "cut off":
            return whole[: len(whole) // 2]
        case "damaged":
            return whole[:200] + b"\x00\xff\x00\xff" + whole[204:]
        case "a row missing":
            return gzip.compress(b"".join([*lines[:5], *lines[6:]]))
        case "no end":
            return gzip.compress(b"".join(lines[:-1]))
        case "other schema":
            return gzip.compress(lines[0].replace(b"0001", b"9999") + b"".join(lines[1:]))
        case "other program":
            return gzip.compress(b'{"format": "x"}\n')
        case "no gzip":
            return b"residents"
        case _:
            return b""


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("cut off", "or is damaged"),
        ("damaged", "or is damaged"),
        ("a row missing", "is not complete; take an older backup"),
        ("no end", "is not complete"),
        ("other schema", "was made at schema 9999; restore it with the program of that time"),
        ("other program", "is no backup of this program"),
        ("no gzip", "is no backup of this program"),
        ("nothing", "is no backup of this program"),
    ],
)
async def test_a_file_that_is_no_good_restores_nothing(house: House, tmp_path: Path, kind: str, sentence: str) -> None:
    file = tmp_path / "station.backup"
    await backup.backup(house.store, file)
    file.write_bytes(broken(kind, file.read_bytes()))
    store = Store.open(f"sqlite+aiosqlite:///{tmp_path / 'new.db'}")
    try:
        with pytest.raises(BackupError, match=sentence):
            await backup.restore(store, file)
        async with store.read() as session:
            assert (await session.execute(text("SELECT count(*) FROM officers"))).scalar_one() == 0
    finally:
        await store.close()


async def test_a_file_that_is_not_there(sqlite_url: str, tmp_path: Path) -> None:
    store = Store.open(sqlite_url)
    try:
        with pytest.raises(BackupError, match="there is no such file"):
            await backup.restore(store, tmp_path / "nothing")
    finally:
        await store.close()


async def test_a_backup_that_broke_off_has_not_the_name_of_a_good_one(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_value: Any) -> Any:
        raise OSError("no space left on device")

    monkeypatch.setattr(backup, "_plain", full)
    with pytest.raises(OSError, match="no space"):
        await backup.backup(house.store, tmp_path / "b")
    assert not (tmp_path / "b").exists()

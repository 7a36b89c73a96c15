"""The store: a transaction is all or nothing, readers never wait for the writer, changes are heard after the commit."""

import asyncio

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, OperationalError, StatementError

from bot import clock
from bot.store import migrations
from bot.store.engine import Store, is_about_the_row
from bot.store.live import Change, Kind, Live, announce
from bot.store.models import Community, Resident
from tests.support.station import SOON_SECONDS, House


async def write_and_fail(house: House) -> None:
    async with house.store.write() as session:
        session.add(Community(station_id=house.station.id, name="新社区", code="new"))
        await session.flush()
        announce(session, Change(house.station.id, Kind.TICKET, 1))
        raise RuntimeError("made to fail")


async def test_an_error_leaves_nothing_behind_and_announces_nothing(any_house: House) -> None:
    house = any_house
    async with house.store.live.listen() as heard:
        with pytest.raises(RuntimeError, match="made to fail"):
            await write_and_fail(house)
        assert heard.empty()
    assert await house.count(Community, Community.code == "new") == 0


async def test_changes_are_heard_after_the_commit_and_not_before(any_house: House) -> None:
    async with any_house.store.live.listen() as heard:
        async with any_house.store.write() as session:
            announce(session, Change(any_house.station.id, Kind.TICKET, 7, "urgent"))
            assert heard.empty()
        assert heard.get_nowait() == Change(any_house.station.id, Kind.TICKET, 7, "urgent")


async def test_a_listener_that_is_too_slow_is_told_to_read_everything_again() -> None:
    live = Live()
    async with live.listen() as slow, live.listen() as quick:
        for number in range(500):
            live.publish([Change(1, Kind.TICKET, number)])
            assert quick.get_nowait().id == number
        kinds = [slow.get_nowait() for _ in range(slow.qsize())]
    assert any(change.kind is Kind.RELOAD for change in kinds)
    assert kinds[-1].id == 499
    assert not live._listeners


async def test_readers_and_readyz_do_not_wait_for_a_writer(any_house: House) -> None:
    store = any_house.store
    async with store.write() as session:
        session.add(Community(station_id=any_house.station.id, name="新社区", code="new"))
        await session.flush()
        assert await asyncio.wait_for(any_house.count(Community), SOON_SECONDS / 3) == 3  # the last commit
        assert await asyncio.wait_for(migrations.version(store), SOON_SECONDS / 3) == migrations.newest()
    assert await any_house.count(Community) == 4


async def test_writers_of_one_process_wait_in_line(house: House) -> None:
    async def add(number: int) -> None:
        async with house.store.write() as session:
            session.add(Community(station_id=house.station.id, name=f"社区{number}", code=f"c{number}"))
            await session.flush()

    await asyncio.gather(*(add(number) for number in range(30)))
    assert await house.count(Community) == 33


async def test_a_reader_cannot_write(house: House) -> None:
    with pytest.raises(OperationalError, match="readonly"):
        async with house.store.read() as session:
            await session.execute(text("DELETE FROM communities"))


async def test_what_sqlite_promises_survives_a_power_cut(house: House) -> None:
    async with house.store.write() as session:
        assert (await session.execute(text("PRAGMA synchronous"))).scalar_one() == 2
        assert (await session.execute(text("PRAGMA journal_mode"))).scalar_one() == "wal"
        assert (await session.execute(text("PRAGMA foreign_keys"))).scalar_one() == 1


async def test_a_row_the_database_refuses_is_told_apart_and_its_words_stay_out_of_the_error(any_house: House) -> None:
    with pytest.raises(StatementError) as error:
        await any_house.add_resident(None, home="半个字\ud800")
    assert is_about_the_row(error.value)
    assert "半个" not in str(error.value)


async def test_a_text_too_long_for_its_column_is_told_apart_too(furnished_postgres_url: str, frozen: object) -> None:
    async with House.opened(furnished_postgres_url) as house:
        with pytest.raises(DBAPIError) as error:
            async with house.store.write() as session:
                session.add(Community(station_id=house.station.id, name="很长" * 100, code="x"))
    assert is_about_the_row(error.value)
    assert "很长" not in str(error.value)


async def test_a_database_that_cannot_be_asked_is_no_fault_of_the_row(house: House) -> None:
    async with house.store.write() as session:
        await session.execute(text("DROP TABLE notes"))
    with pytest.raises(OperationalError) as error:
        async with house.store.read() as session:
            await session.execute(text("SELECT * FROM notes"))
    assert not is_about_the_row(error.value)
    assert not is_about_the_row(OSError("connection refused"))
    assert not is_about_the_row(TimeoutError())


async def test_a_moment_without_a_zone_is_refused_and_one_with_comes_back_in_utc(any_house: House) -> None:
    (row,) = await any_house.all(select(Community.id).where(Community.code == "hubin"))
    assert row
    when = clock.now()
    number = await any_house.add_resident(None, erased_at=when.astimezone())
    resident: Resident = await any_house.one(select(Resident).where(Resident.id == number))
    assert resident.erased_at == when
    assert str(resident.erased_at).endswith("+00:00")
    with pytest.raises(StatementError, match="without a time zone"):
        await any_house.add_resident(None, erased_at=when.replace(tzinfo=None))


async def test_a_store_makes_the_folder_of_its_file(tmp_path: object) -> None:
    store = Store.open(f"sqlite+aiosqlite:///{tmp_path}/deep/er/officer.db")
    try:
        await migrations.migrate(store)
    finally:
        await store.close()

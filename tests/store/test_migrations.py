"""The schema the migrations make is the one the models speak of, on both databases."""

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, select, text

from bot.store import migrations
from bot.store.engine import Store
from bot.store.models import Base, Station


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    found: list[Any] = compare_metadata(context, Base.metadata)
    return found


async def test_a_migrated_database_is_what_the_models_say(database_url: str) -> None:
    store = Store.open(database_url)
    try:
        assert await migrations.version(store) is None
        await migrations.migrate(store)
        assert await migrations.version(store) == migrations.newest()
        async with store.engine.connect() as connection:
            assert await connection.run_sync(differences) == []
    finally:
        await store.close()


async def test_the_comparison_would_find_a_difference(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    try:
        await migrations.migrate(store)
        async with store.write() as session:
            await session.execute(text("ALTER TABLE communities ADD COLUMN postcode TEXT"))
            await session.execute(text("DROP INDEX ix_deliveries_due"))
        async with store.engine.connect() as connection:
            kinds = {difference[0] for difference in await connection.run_sync(differences)}
    finally:
        await store.close()
    assert kinds == {"remove_column", "add_index"}


async def test_migrating_again_changes_nothing(furnished_url: str) -> None:
    store = Store.open(furnished_url)
    try:
        await migrations.migrate(store)
        async with store.read() as session:
            assert len((await session.execute(select(Station))).all()) == 1
    finally:
        await store.close()


async def test_every_table_carries_its_station() -> None:
    without = {name for name, table in Base.metadata.tables.items() if "station_id" not in table.columns}
    assert without == {"stations"}

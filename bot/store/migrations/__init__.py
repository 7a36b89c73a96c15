"""The database schema, version by version; `migrate` brings any database to the newest."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, column, inspect, select, table

from bot.store.engine import Store

if TYPE_CHECKING:
    from alembic.config import Config

_FOLDER = Path(__file__).parent
_MARK = table("alembic_version", column("version_num"))  # where Alembic keeps the version


def newest() -> str:
    """The version this program needs."""
    return max(file.name.partition("_")[0] for file in (_FOLDER / "versions").glob("[0-9]*.py"))


async def version(store: Store) -> str | None:
    """The version the database is at; None when it is empty."""

    def read(connection: Connection) -> str | None:
        if not inspect(connection).has_table(_MARK.name):
            return None
        return connection.execute(select(_MARK.c.version_num)).scalar()

    async with store.read() as session:  # a reader: /readyz must not wait for whoever writes
        return await (await session.connection()).run_sync(read)


async def migrate(store: Store) -> None:
    """Bring the database to the newest version; does nothing when it is there."""
    if await version(store) == newest():
        return
    from alembic import command  # here: a quarter of a second that only a change of the schema needs

    def upgrade(connection: Connection) -> None:
        command.upgrade(_config(connection), "head")

    async with store.engine.begin() as connection:
        await connection.run_sync(upgrade)


def _config(connection: Connection) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["connection"] = connection
    return config

"""The database schema, version by version; `migrate` brings any database to the newest."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from bot.store.engine import Store


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def newest() -> str:
    """The version this program needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise LookupError("no schema versions are installed")
    return head


async def version(store: Store) -> str | None:
    """The version the database is at; None when it is empty."""
    async with store.read() as session:  # a reader: /readyz must not wait for whoever writes
        connection = await session.connection()
        return await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())


async def migrate(store: Store) -> None:
    """Bring the database to the newest version; does nothing when it is there."""

    def upgrade(connection: Connection) -> None:
        command.upgrade(_config(connection), "head")

    async with store.engine.begin() as connection:
        await connection.run_sync(upgrade)

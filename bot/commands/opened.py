"""An open database and its station, for commands that run beside the server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import SQLAlchemyError

from bot.actions import stations
from bot.app import load_keys
from bot.commands import CommandError
from bot.config import Config
from bot.store import migrations
from bot.store.engine import Store
from bot.store.keys import check_keys
from bot.store.models import Station


async def version_of(store: Store) -> str | None:
    """The schema's version, and the first contact: CommandError when the database does not answer."""
    try:
        return await migrations.version(store)
    except (SQLAlchemyError, OSError) as error:
        why = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise CommandError(f"the database does not answer ({why}); check database.url in the settings") from error


@asynccontextmanager
async def opened_store(config: Config) -> AsyncIterator[tuple[Store, Station]]:
    """The station's database at the newest schema; CommandError says what to run when it is not."""
    load_keys(config)
    store = Store.open(config.database.url)
    try:
        if await version_of(store) != migrations.newest():
            raise CommandError("the database is not at the newest schema; run: python -m bot migrate")
        await check_keys(store)
        async with store.read() as session:
            station = await stations.find(session, config.station.name)
        if station is None:
            raise CommandError(f"there is no station called {config.station.name!r} yet; run: python -m bot migrate")
        yield store, station
    finally:
        await store.close()

"""The station's data: backup, restore, and the check of the audit log."""

import asyncio
from argparse import Namespace

from bot.actions.audit import Checked, check_chain
from bot.app import load_keys
from bot.commands import CommandError
from bot.commands.opened import opened_store, version_of
from bot.config import Config, load_config
from bot.store import backup as backups
from bot.store.engine import Store


def backup(arguments: Namespace) -> None:
    """Copy everything into one file while the service runs."""

    async def run() -> int:
        async with opened_store(load_config(arguments.config)) as (store, _station):
            try:
                return await backups.backup(store, arguments.file)
            except OSError as error:
                raise CommandError(f"{arguments.file}: cannot be written ({error})") from error

    rows = asyncio.run(run())
    print(f"{arguments.file}: {rows} rows. Keep the data key apart from it; one is useless without the other.")


def restore(arguments: Namespace) -> None:
    """Fill the empty database of the settings from a backup."""

    async def run(config: Config) -> int:
        load_keys(config)
        store = Store.open(config.database.url)
        try:
            await version_of(store)
            return await backups.restore(store, arguments.file)
        finally:
            await store.close()

    try:
        rows = asyncio.run(run(load_config(arguments.config)))
    except backups.BackupError as error:
        raise CommandError(str(error)) from error
    print(f"{rows} rows restored")


def verify_log(arguments: Namespace) -> None:
    """Check every link of the audit chain."""

    async def run() -> Checked:
        async with opened_store(load_config(arguments.config)) as (store, station), store.read() as session:
            return await check_chain(session, station.id)

    checked = asyncio.run(run())
    if checked.broken:
        places = "\n".join(f"  event {broken.seq}: {broken.problem}" for broken in checked.broken)
        raise CommandError(f"the audit log does not hold:\n{places}")
    print(f"the audit log holds: {checked.events} events, none changed, added or removed")

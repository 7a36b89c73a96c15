"""The station's data: backup, restore, and the check of the audit log."""

import asyncio
import json
from argparse import Namespace
from pathlib import Path

from bot import clock
from bot.actions.audit import Anchor, Broken, Checked, check_anchors, check_chain
from bot.app import load_keys
from bot.commands import CommandError
from bot.commands.opened import opened_store, version_of
from bot.config import Config, load_config
from bot.store import backup as backups
from bot.store.engine import Store
from bot.store.keys import check_keys


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
            count = await backups.restore(store, arguments.file)
            await check_keys(store)
            return count
        finally:
            await store.close()

    try:
        rows = asyncio.run(run(load_config(arguments.config)))
    except backups.BackupError as error:
        raise CommandError(str(error)) from error
    print(f"{rows} rows restored")


def verify_log(arguments: Namespace) -> None:
    """Check every link of the audit chain; --anchor also checks the ends written down before, and adds this one."""
    config, file = load_config(arguments.config), arguments.anchor
    anchors = _read_anchors(file, config.station.name) if file is not None else []

    async def run() -> tuple[Checked, list[Broken]]:
        async with opened_store(config) as (store, station), store.read() as session:
            return await check_chain(session, station.id), await check_anchors(session, station.id, anchors)

    checked, unanchored = asyncio.run(run())
    if broken := [*checked.broken, *unanchored]:
        places = "\n".join(f"  event {place.seq}: {place.problem}" for place in broken)
        raise CommandError(f"the audit log does not hold:\n{places}")
    print(f"the audit log holds: {checked.events} events, none changed, added or removed")
    if file is not None:
        _write_anchor(file, config.station.name, checked.end)
        print(f"{file}: {len(anchors)} earlier anchors hold, event {checked.end.seq} written down; keep it elsewhere")


def _read_anchors(file: Path, station: str) -> list[Anchor]:
    """The lines of one station; a file that is not there yet has none."""
    anchors = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file}: cannot be read ({error})") from error
    for number, line in enumerate(lines, 1):
        try:
            said = json.loads(line)
            if said["station"] == station:
                anchors.append(Anchor(int(said["events"]), str(said["hash"])))
        except (ValueError, KeyError, TypeError) as error:
            raise CommandError(
                f"{file}: line {number} is no anchor; take the file from where it is kept, or give another one"
            ) from error
    return anchors


def _write_anchor(file: Path, station: str, end: Anchor) -> None:
    said = {"at": clock.now().isoformat(timespec="seconds"), "station": station, "events": end.seq, "hash": end.hash}
    try:
        with file.open("a", encoding="utf-8") as opened:
            opened.write(json.dumps(said, ensure_ascii=False) + "\n")
    except OSError as error:
        raise CommandError(f"{file}: cannot be written ({error})") from error

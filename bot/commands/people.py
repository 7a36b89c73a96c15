"""Setting up people: officers from the command line, residents from a list."""

import asyncio
import csv
import getpass
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path

from bot.actions import imports, officers
from bot.actions.audit import Actor
from bot.actions.errors import ActionError, Conflict
from bot.commands import CommandError
from bot.commands.opened import opened_store
from bot.commands.workbook import read_workbook
from bot.config import load_config
from bot.security.passwords import MIN_CHARACTERS, PasswordError, check_new_password, hash_password
from bot.store.models import Role


def add_officer(arguments: Namespace) -> None:
    """A person who can log in; the password is asked for, or read from standard input."""
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    try:
        check_new_password(password, arguments.username)
        asyncio.run(_add_officer(arguments, password))
    except PasswordError as error:
        raise CommandError(
            f"the password must have at least {MIN_CHARACTERS} characters, five different ones, and not the user name"
        ) from error
    except Conflict as error:
        wecom = f" or the WeCom account {arguments.wecom!r}" if arguments.wecom else ""
        badge = f" or the badge number {arguments.badge!r}" if arguments.badge else ""
        raise CommandError(
            f"the user name {arguments.username!r}{badge}{wecom} is taken; choose another one"
        ) from error
    except ActionError as error:
        raise CommandError(
            "the user name is 2 to 40 small letters, digits, dots, dashes or underscores; a name is needed (at most 40 "
            "characters); badge and phone have at most 20; a phone is at least 5 digits, with spaces, "
            "dashes, brackets or a leading +; a WeCom account is letters, digits and . - _ @"
        ) from error
    print(f"{arguments.username} ({arguments.role}) can log in now, and then chooses a password of his own")


async def _add_officer(arguments: Namespace, password: str) -> None:
    config = load_config(arguments.config)
    password_hash = await hash_password(password)
    async with opened_store(config) as (store, station), store.write() as session:
        await officers.add_officer(
            session,
            station.id,
            username=arguments.username,
            name=arguments.name,
            badge=arguments.badge,
            phone=arguments.phone,
            wecom_userid=arguments.wecom,
            role=Role(arguments.role),
            password_hash=password_hash,
            actor=Actor(station.id),
        )


def import_residents(arguments: Namespace) -> None:
    """Residents from .xlsx or .csv; all rows or none, unless --skip-bad."""
    rows = list(_read_rows(arguments.file))
    done = asyncio.run(_import(arguments, rows))
    for row in done.bad:
        print(f"{arguments.file}: line {row.line}: {row.reason}", file=sys.stderr)
    if done.bad and not arguments.skip_bad:
        raise CommandError(
            f"nothing was imported: {len(done.bad)} bad rows; mend them, or leave them out with --skip-bad"
        )
    print(f"{done.added} residents added, {done.updated} updated, {len(done.bad)} rows left out")


async def _import(arguments: Namespace, rows: list[tuple[int, Mapping[str, str]]]) -> imports.Imported:
    async with opened_store(load_config(arguments.config)) as (store, station), store.write() as session:
        return await imports.import_residents(session, station.id, rows, skip_bad=arguments.skip_bad)


def _read_rows(file: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    try:
        lines = list(_xlsx(file) if file.suffix.casefold() == ".xlsx" else _csv(file))
    except FileNotFoundError as error:
        raise CommandError(f"{file}: there is no such file") from error
    except (OSError, ValueError, csv.Error) as error:
        raise CommandError(f"{file}: is no readable .xlsx or UTF-8 .csv file ({error})") from error
    if not lines:
        raise CommandError(f"{file}: is empty; the first line names the columns: {', '.join(imports.COLUMNS)}")
    columns = [column.strip() for column in lines[0]]
    unknown = [column for column in columns if column and column not in imports.COLUMNS]
    if unknown or "姓名" not in columns:
        raise CommandError(
            f"{file}: the first line must name columns out of {', '.join(imports.COLUMNS)} and have 姓名"
            + (f"; unknown: {', '.join(unknown)}" if unknown else "")
        )
    for number, cells in enumerate(lines[1:], 2):
        if any(cell.strip() for cell in cells):
            yield number, dict(zip(columns, cells, strict=False))


def _csv(file: Path) -> Iterator[list[str]]:
    with file.open(encoding="utf-8-sig", newline="") as opened:
        yield from csv.reader(opened)


def _xlsx(file: Path) -> Iterator[list[str]]:
    first_sheet = next(iter(read_workbook(file).values()))
    for row in first_sheet:
        yield ["" if cell is None else str(cell) for cell in row]

"""The channels from the command line: are they well, and the menu of an official account."""

import asyncio
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from bot.app import PROGRAM, Program, check_channels, create_app
from bot.channels.base import SendError
from bot.channels.official_account import OfficialAccount
from bot.checks import ChannelReport, Check
from bot.commands import CommandError, NotWellError
from bot.config import load_config
from bot.security import logging as logs

_MARKS = {True: "ok  ", False: "BAD ", None: "?   "}


def check(arguments: Namespace) -> None:
    """One line for each thing that must be right; exit code 1 when something is not."""
    reports = asyncio.run(_check(arguments.config))
    for report in reports:
        print(f"{report.channel} ({report.kind})")
        for line in report.checks:
            print(_line(line))
    if not reports:
        raise CommandError("the settings name no channel; add one under channels")
    if not all(report.good for report in reports):
        raise NotWellError


def _line(check: Check) -> str:
    line = f"  {_MARKS[check.good]} {check.name.en}: {check.found.en}"
    return f"{line}; {check.remedy.en}" if check.good is False and check.remedy.en else line


async def _check(config: Path) -> Sequence[ChannelReport]:
    async with _opened(config) as program:
        return await check_channels(program.runtime, program.channels)


def set_menus(arguments: Namespace) -> None:
    """The menu of the settings onto every official account."""
    done = asyncio.run(_set_menus(arguments.config))
    if not done:
        raise CommandError("the settings name no official account; add one under channels")
    for name in done:
        print(f"{name}: the menu is set; phones show it within five minutes")


async def _set_menus(config: Path) -> Sequence[str]:
    done = []
    async with _opened(config) as program:
        for name, channel in program.channels.items():
            if isinstance(channel, OfficialAccount):
                try:
                    await channel.set_menu()
                except SendError as error:
                    raise CommandError(
                        f"{name}: the platform did not take the menu (code {error.code}); "
                        "python -m bot check-channels says what is wrong with the account"
                    ) from error
                done.append(name)
    return done


@asynccontextmanager
async def _opened(config: Path) -> AsyncIterator[Program]:
    """The program as `serve` wires it, without serving: no clock, no outbox."""
    logs.set_up()
    program = (await create_app(load_config(config)))[PROGRAM]
    try:
        yield program
    finally:
        for channel in program.channels.values():
            await channel.close()
        await program.runtime.store.close()

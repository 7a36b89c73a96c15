"""Starting the station: the demo and the real one, the schema, the settings' check."""

import asyncio
import gc
import socket
import sys
from argparse import Namespace
from collections.abc import Coroutine
from pathlib import Path

import uvloop
from aiohttp import web

from bot.actions import stations
from bot.app import create_app, load_keys
from bot.commands import CommandError
from bot.commands.opened import version_of
from bot.config import Config, load_config
from bot.demo.fill import PASSWORD, fill
from bot.demo.settings import demo_config
from bot.security import logging as logs
from bot.store import migrations
from bot.store.encryption import new_key
from bot.store.engine import Store
from knowledge import Knowledge

_DEMO_WORDS = """
  {name} is on duty. Open in a browser:

    residents   http://127.0.0.1:{port}/chat       try: 身份证丢了怎么办 · 有人让我转账到安全账户 · 找民警 · 登记
    officers    http://127.0.0.1:{port}/console    log in as zhangwei (officer), fujing1 (auxiliary), suozhang (chief),
                                              shencha (reviewer) or guanli (admin); password of all: {password}

  What to try: ask something odd as a resident, then take the ticket as zhangwei and answer it. Write a warning as
  zhangwei, approve it as suozhang. Search the chat logs as shencha. Type "骗子让我正在转账" and watch the console.

  The data lies in {folder}; delete that folder to begin anew. Ctrl-C stops.
"""


def demo(arguments: Namespace) -> None:
    """The made-up station on embedded SQLite."""
    config = demo_config(arguments.data, arguments.port)
    logs.set_up(human=True)
    uvloop.install()
    words = _DEMO_WORDS.format(
        name=config.station.name, port=config.server.port, password=PASSWORD, folder=arguments.data
    )
    _serve(config, _demo_app(config), words)


async def _demo_app(config: Config) -> web.Application:
    knowledge = Knowledge.load()
    load_keys(config)
    store = Store.open(config.database.url)
    try:
        await migrations.migrate(store)
        await fill(store, knowledge)
    finally:
        await store.close()
    return await create_app(config, knowledge)


def serve(arguments: Namespace) -> None:
    """The real station."""
    config = load_config(arguments.config)
    logs.set_up()
    uvloop.install()
    _serve(config, create_app(config), f"{config.station.name}: http://{config.server.host}:{config.server.port}")


def _serve(config: Config, app: Coroutine[None, None, web.Application], words: str) -> None:
    server = config.server
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.host, server.port))
        except OSError as error:
            app.close()
            raise CommandError(
                f"port {server.port} on {server.host} is taken or not allowed; choose another one (make run PORT=8001)"
            ) from error
    web.run_app(
        settled(app),
        host=server.host,
        port=server.port,
        access_log=None,  # addresses with openids and tokens in them do not belong in a log
        shutdown_timeout=2,
        print=lambda *_: print(words, file=sys.stderr, flush=True),
    )


async def settled(app: Coroutine[None, None, web.Application]) -> web.Application:
    """The application, what its start made put out of the garbage collector's sight: to look through all of it again
    and again would hold up residents for a tenth of a second each time."""
    made = await app
    gc.collect()
    gc.freeze()
    return made


def migrate(arguments: Namespace) -> None:
    """The database to the newest schema, and the station's row."""
    config = load_config(arguments.config)
    asyncio.run(_migrate(config))
    print(f"{config.station.name}: the database is at the newest schema ({migrations.newest()})")


async def _migrate(config: Config) -> None:
    load_keys(config)
    store = Store.open(config.database.url)
    try:
        await version_of(store)
        await migrations.migrate(store)
        async with store.write() as session:
            await stations.ensure(session, config.station.name, config.station.timezone, {})
    finally:
        await store.close()


def check_config(arguments: Namespace) -> None:
    """Read the settings as `serve` would."""
    config = load_config(arguments.config)
    load_keys(config)
    channels = ", ".join(f"{channel.name} ({channel.kind})" for channel in config.channels) or "none"
    print(f"{arguments.config}: good. Station {config.station.name}; channels: {channels}")


def make_key(_arguments: Namespace) -> None:
    """A data key for security.data_key."""
    print(new_key())


DEFAULT_DATA = Path("var")

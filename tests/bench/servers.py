"""The programs the benchmarks call: ours, and a bare handler; a child on one core that prints port and start-up.

python -m tests.bench.servers full|bare DATABASE_URL [API_BASE]
"""

import asyncio
import os
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import uvloop
from aiohttp import web
from wechatpy import parse_message
from wechatpy.crypto import WeChatCrypto
from wechatpy.replies import TextReply

from bot.actions import stations
from bot.app import create_app, load_keys
from bot.commands.serving import settled
from bot.config import Config, parse_config
from bot.security import logging as logs
from bot.store import migrations
from bot.store.encryption import new_key
from bot.store.engine import Store
from tests.fakes.wechat import FakeWeChat, pusher

CHANNEL = "fenglin"
STATION = "枫林派出所"
_STARTED = time.perf_counter()


def config(database_url: str, api_base: str) -> Config:
    """A station with one official account in safe mode."""
    return parse_config(
        {
            "station": {"name": STATION},
            "server": {"port": 0},
            "database": {"url": database_url},
            "security": {"data_key": os.environ.get("OFFICER_DATA_KEY") or new_key()},
            "channels": [
                {
                    "kind": "official_account",
                    "name": CHANNEL,
                    "app_id": pusher.APP_ID,
                    "secret": FakeWeChat().secret,
                    "token": pusher.TOKEN,
                    "encoding_aes_key": pusher.AES_KEY,
                    "api_base": api_base,
                }
            ],
        },
        {},
    )


async def prepare(settings: Config) -> None:
    """The schema and the station."""
    load_keys(settings)
    store = Store.open(settings.database.url)
    await migrations.migrate(store)
    async with store.write() as session:
        await stations.ensure(session, settings.station.name, settings.station.timezone, {})
    await store.close()


async def full(database_url: str, api_base: str) -> web.Application:
    settings = config(database_url, api_base)
    await prepare(settings)
    return await settled(create_app(settings))


WriteRow = Callable[[str, str, str], Awaitable[None]]


async def bare(database_url: str, _api_base: str) -> web.Application:
    """What any handler must do at the least: verify, decrypt, parse, write one durable row, answer encrypted."""
    crypto = WeChatCrypto(pusher.TOKEN, pusher.AES_KEY, pusher.APP_ID)
    write = await (_postgres_row if database_url.startswith("postgresql") else _sqlite_row)(database_url)

    async def receive(request: web.Request) -> web.Response:
        query = request.query
        inner = crypto.decrypt_message(await request.read(), query["msg_signature"], query["timestamp"], query["nonce"])
        message = parse_message(inner)
        await write(str(message.id), message.source, message.content)
        answer = TextReply(content="您好，已收到。", message=message).render()
        return web.Response(text=crypto.encrypt_message(answer, query["nonce"], query["timestamp"]))

    app = web.Application()
    app.router.add_post(f"/callback/{CHANNEL}", receive)
    return app


async def _sqlite_row(url: str) -> WriteRow:
    """One connection in WAL with full durability, written to in the loop itself: the quickest there is."""
    connection = sqlite3.connect(url.removeprefix("sqlite+aiosqlite:///"), isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE row (id TEXT PRIMARY KEY, sender TEXT, body TEXT)")

    async def write(number: str, sender: str, body: str) -> None:
        connection.execute("INSERT OR IGNORE INTO row VALUES (?, ?, ?)", (number, sender, body))

    return write


async def _postgres_row(url: str) -> WriteRow:
    pool = await asyncpg.create_pool(url.replace("postgresql+asyncpg", "postgresql"), min_size=10, max_size=10)
    await pool.execute("CREATE TABLE row (id TEXT PRIMARY KEY, sender TEXT, body TEXT)")

    async def write(number: str, sender: str, body: str) -> None:
        await pool.execute("INSERT INTO row VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", number, sender, body)

    return write


async def _serve(kind: str, url: str, api_base: str) -> None:
    app = await {"full": full, "bare": bare}[kind](url, api_base)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], f"{time.perf_counter() - _STARTED:.2f}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until the parent closes its end
    print(_peak_megabytes(), flush=True)
    await runner.cleanup()


def _peak_megabytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {0})  # one core; the load comes from another
    logs.set_up()  # as `serve` does; standard output is for the parent
    uvloop.install()
    asyncio.run(_serve(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "http://127.0.0.1:9"))

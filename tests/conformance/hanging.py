"""A whole program whose handling never ends, in a process to be killed: it says its port, then when it handles.

python -m tests.conformance.hanging DATABASE_URL API_BASE NOW
"""

import asyncio
import sys
from datetime import datetime

from aiohttp import web

import handlers
from bot import clock
from bot.app import create_app
from bot.router import Answer, Context
from tests.conformance.conftest import config_of
from tests.support.knowledge import KnownSayings


def _say(words: object) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


async def _hang(context: Context) -> Answer:
    _say("handling")
    await asyncio.Event().wait()
    raise AssertionError(context)  # it was killed before


async def _serve(url: str, api_base: str) -> None:
    handlers.answer = _hang
    app = await create_app(config_of(url, api_base), KnownSayings())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    _say(runner.addresses[0][1])
    await asyncio.Event().wait()  # until killed


if __name__ == "__main__":
    moment = datetime.fromisoformat(sys.argv[3])
    clock.set_source(lambda: moment)
    asyncio.run(_serve(sys.argv[1], sys.argv[2]))

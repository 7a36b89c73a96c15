"""The console's fixtures: consoles of two stations, started on a database of the test's choice."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.console.app import ConsoleDesk, add_console
from bot.reach import Rules
from bot.runtime import Runtime
from bot.store import encryption
from bot.store.engine import Store
from bot.store.models import Base
from knowledge import Knowledge
from tests.console.house import DATA_KEY, House, MakeHouse, console_config, furnish


@pytest.fixture(scope="session")
def knowledge() -> Knowledge:
    return Knowledge.load()


@pytest.fixture
async def make_house(knowledge: Knowledge) -> AsyncIterator[MakeHouse]:
    """Furnishes stations on a database and starts their consoles; stops them at the end."""
    made: list[House] = []

    async def make(url: str, **settings: Any) -> House:
        encryption.use_keys(DATA_KEY)
        store = Store.open(url)
        async with store.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        houses = [await furnish(store, name) for name in ("枫林派出所", "溪口派出所")]
        house = House(store, [], houses, [])
        made.append(house)
        for furnished in houses:
            runtime = Runtime(
                console_config(furnished.station.name, url, **settings), store, furnished.station, knowledge
            )
            app = web.Application(client_max_size=3 * 1024 * 1024)
            add_console(app, ConsoleDesk(runtime=runtime, channels={"web": "webchat"}, rules={"web": Rules()}))
            server = TestServer(app)
            await server.start_server()
            house.servers.append(server)
            house.runtimes.append(runtime)
            house.roots.append(f"http://127.0.0.1:{server.port}")
        return house

    yield make
    for house in made:
        for browser in house.browsers:
            await browser.session.close()
        for server in house.servers:
            await server.close()
    for house in made:
        await house.store.close()


@pytest.fixture
async def house(make_house: MakeHouse, sqlite_url: str) -> House:
    return await make_house(sqlite_url)

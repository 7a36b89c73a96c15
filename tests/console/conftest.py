"""The console's fixtures: consoles of two stations, started on a database of the test's choice."""

import shutil
from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from sqlalchemy.engine import make_url

from bot.console.app import ConsoleDesk, add_console
from bot.reach import Rules
from bot.runtime import Runtime
from bot.store import encryption
from bot.store.engine import Store
from knowledge import Knowledge
from tests.console.house import House, MakeHouse, StationHouse, console_config, furnish
from tests.support.station import DATA_KEY, FrozenClock
from tests.support.two_stations import furnished, furnished_file


@pytest.fixture(scope="session")
def furnished_houses(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[StationHouse]]:
    file: Path = tmp_path_factory.mktemp("console") / "officer.db"
    return file, furnished_file(file, furnish)


@pytest.fixture
async def make_house(
    knowledge: Knowledge, furnished_houses: tuple[Path, list[StationHouse]], frozen: FrozenClock
) -> AsyncIterator[MakeHouse]:
    """Furnishes stations on an empty database and starts their consoles; stops them at the end."""
    made: list[House] = []

    async def make(url: str, **settings: Any) -> House:
        encryption.use_keys(DATA_KEY)
        template, houses = furnished_houses
        if (file := make_url(url)).get_backend_name() == "sqlite":
            shutil.copy(template, str(file.database))
            houses = deepcopy(houses)
        else:
            houses = await furnished(url, furnish)
        store = Store.open(url)
        house = House(store, [], houses, [])
        made.append(house)
        for each in houses:
            runtime = Runtime(console_config(each.station.name, url, **settings), store, each.station, knowledge)
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

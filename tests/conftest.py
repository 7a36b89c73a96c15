"""The fixtures every test can have: databases, browser pages, ports, a watch on blocking calls."""

import gc
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import settings
from jinja2 import BytecodeCache, Environment
from jinja2.bccache import Bucket
from playwright.async_api import Browser, Page
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from knowledge import Knowledge
from tests.support import browser as browsers
from tests.support import leaks, ports, postgres, station

settings.register_profile("shared machine", deadline=None)  # how long an example takes says nothing there
settings.load_profile("shared machine")

_SHARED_POSTGRES = "OFFICER_TEST_POSTGRES"  # where this run's server lives, told to the worker processes


def _leads_the_run(config: pytest.Config) -> bool:
    return not hasattr(config, "workerinput")  # what pytest-xdist gives to each of its workers


def pytest_configure(config: pytest.Config) -> None:
    if _leads_the_run(config):
        os.environ[_SHARED_POSTGRES] = str(postgres.announce_shared_cluster())


def pytest_unconfigure(config: pytest.Config) -> None:
    if _leads_the_run(config):
        postgres.end_shared_cluster(Path(os.environ.pop(_SHARED_POSTGRES)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who asks for a server or a browser carries its mark, so that `make check` can leave him out."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "postgres_cluster" in fixtures:
            item.add_marker(pytest.mark.postgres)
        if "browser" in fixtures:
            item.add_marker(pytest.mark.browser)


def pytest_collection_finish() -> None:
    """What was made while importing stays: the garbage collector need not look through it again and again."""
    gc.enable()  # `bot.__main__` lets it rest, and is imported
    gc.collect()
    gc.freeze()


# -- logs -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def logs_recorded() -> Iterator[None]:
    with leaks.recorded():
        yield


@pytest.fixture(autouse=True)
def no_log_line_leaks(logs_recorded: None) -> Iterator[None]:
    """No test may leave a secret, a token, an address or the words of a resident of the fakes in a log."""
    leaks.begin()
    yield
    assert leaks.found() == []


# -- pages ------------------------------------------------------------------------------------------------------------


class _CompiledOnce(BytecodeCache):
    """Compiled templates of this process: a console compiles 35 of them, and a test starts two consoles."""

    def __init__(self) -> None:
        self._code: dict[tuple[str, str], bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if code := self._code.get((bucket.key, bucket.checksum)):
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key, bucket.checksum] = bucket.bytecode_to_string()


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> Iterator[None]:
    compiled = partial(Environment, bytecode_cache=_CompiledOnce())
    with pytest.MonkeyPatch.context() as patch:
        for module in ("bot.console.templating", "bot.channels.webchat.page"):
            patch.setattr(f"{module}.Environment", compiled)
        yield


# -- compiled statements ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def statements_compiled_once() -> Iterator[None]:
    """SQLAlchemy compiles each statement once for each engine, and each test has two: a third of the tests' time.

    The engines of SQLite, which all behave alike, share the dialect and with it what is compiled.
    """
    first: list[Engine] = []

    def sharing(url: str, **options: Any) -> AsyncEngine:
        asynchronous = create_async_engine(url, **options)
        engine = asynchronous.sync_engine
        if engine.dialect.name == "sqlite":
            if not first:
                first.append(engine)
                # what a first connection finds out, which may be another engine's
                engine.dialect.server_version_info = sqlite3.sqlite_version_info
                engine.dialect.default_schema_name = "main"
            engine.dialect = engine.pool._dialect = first[0].dialect
            engine._compiled_cache = first[0]._compiled_cache
        return asynchronous

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bot.store.engine.create_async_engine", sharing)
        yield


# -- databases --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres_cluster() -> postgres.PostgresCluster:
    """The run's own PostgreSQL server, shared by all workers."""
    return postgres.shared_cluster(Path(os.environ[_SHARED_POSTGRES]))


@pytest.fixture
def postgres_url(postgres_cluster: postgres.PostgresCluster) -> Iterator[str]:
    """An empty database on a real PostgreSQL."""
    url = postgres_cluster.fresh_database()
    yield url
    postgres_cluster.drop_database(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An empty database in a file."""
    return f"sqlite+aiosqlite:///{tmp_path / 'officer.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database, once of each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


# -- the knowledge ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def knowledge() -> Knowledge:
    """The knowledge as it is shipped, loaded once: its methods are pure."""
    return Knowledge.load()


# -- the station ------------------------------------------------------------------------------------------------------


@pytest.fixture
def frozen() -> Iterator[station.FrozenClock]:
    """The program's clock stands on a Monday morning and moves only when told; nothing is waited for."""
    with station.frozen_clock() as clock:
        yield clock


@pytest.fixture(scope="session")
def furnished_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of a station with its people, to be copied."""
    file: Path = tmp_path_factory.mktemp("furnished") / "officer.db"
    station.furnish(f"sqlite+aiosqlite:///{file}")
    return file


@pytest.fixture
def furnished_sqlite_url(furnished_file: Path, tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{shutil.copy(furnished_file, tmp_path / 'officer.db')}"


@pytest.fixture
def furnished_postgres_url(postgres_cluster: postgres.PostgresCluster) -> Iterator[str]:
    url = postgres_cluster.fresh_database(postgres_cluster.template_database("furnished_station", station.furnish))
    yield url
    postgres_cluster.drop_database(url)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def furnished_url(request: pytest.FixtureRequest) -> str:
    """A database with a station and its people in it, once of each kind."""
    url: str = request.getfixturevalue(f"furnished_{request.param}_url")
    return url


@pytest.fixture
async def house(furnished_sqlite_url: str, frozen: station.FrozenClock) -> AsyncIterator[station.House]:
    """A station with its people on SQLite, without the web."""
    async with station.House.opened(furnished_sqlite_url) as house:
        yield house


@pytest.fixture
async def any_house(furnished_url: str, frozen: station.FrozenClock) -> AsyncIterator[station.House]:
    """The same once on each kind of database."""
    async with station.House.opened(furnished_url) as house:
        yield house


# -- browser ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A Chromium of the test's own: 0.5 s, and it lives in the test's own event loop."""
    async with browsers.launched() as browser:
        yield browser


@pytest.fixture
async def people(browser: Browser) -> AsyncIterator[browsers.People]:
    """Opens pages for several people at once; the test fails if a page complained or asked the outside world."""
    people = browsers.People(browser)
    yield people
    people.check()


@pytest.fixture
async def phone(people: browsers.People) -> Page:
    """A page on a phone: 390x844, touch."""
    return await people.open("phone")


@pytest.fixture
async def desk(people: browsers.People) -> Page:
    """A page on a desk: 1280x800, mouse."""
    return await people.open("desk")


@pytest.fixture(params=list(browsers.DEVICES))
async def page(request: pytest.FixtureRequest, people: browsers.People) -> Page:
    """A page, once on a phone and once on a desk."""
    device: browsers.Device = request.param
    return await people.open(device)


# -- the rest ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def free_port() -> int:
    return ports.free_port()


@pytest.fixture
def nothing_blocks() -> Iterator[None]:
    """Any blocking call of ours inside the event loop is an error. Name it last: starting the program may block."""
    with blockbuster_ctx(list(leaks.OURS)):
        yield

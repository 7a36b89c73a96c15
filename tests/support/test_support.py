"""Proves that the servers and browsers the other tests stand on are real."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from playwright.async_api import Page
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.support import ports
from tests.support.browser import PageError, People
from tests.support.postgres import PostgresCluster, PostgresError, private_cluster


async def ask(url: str, *statements: str) -> object:
    """What the last statement answers."""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            for statement in statements[:-1]:
                await connection.execute(text(statement))
            return (await connection.execute(text(statements[-1]))).scalar()
    finally:
        await engine.dispose()


# -- PostgreSQL -------------------------------------------------------------------------------------------------------


async def test_postgres_is_a_real_server(postgres_url: str) -> None:
    version = await ask(postgres_url, "SELECT version()")
    assert str(version).startswith("PostgreSQL ")
    assert await ask(postgres_url, "SELECT pg_try_advisory_lock(7)") is True


@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_has_a_clean_database(postgres_url: str, turn: int) -> None:
    assert await ask(postgres_url, "CREATE TABLE resident (name text)", "SELECT count(*) FROM resident") == 0, turn


async def test_postgres_keeps_and_sorts_chinese(postgres_url: str) -> None:
    said = ["CREATE TABLE said (words text)", "INSERT INTO said VALUES ('身份证丢了'), ('办护照')"]
    assert await ask(postgres_url, *said, "SELECT words FROM said WHERE words LIKE '%证丢%'") == "身份证丢了"


def test_a_template_is_made_once_and_copied(postgres_cluster: PostgresCluster) -> None:
    made: list[str] = []

    def prepare(url: str) -> None:
        made.append(url)
        asyncio.run(ask(url, "CREATE TABLE officer AS SELECT 9 AS badge", "SELECT 1"))

    template = f"template_{os.getpid()}"  # of this worker, so that the count below is its own
    for _ in range(2):
        assert postgres_cluster.template_database(template, prepare) == template
    assert len(made) == 1

    url = postgres_cluster.fresh_database(template)
    assert asyncio.run(ask(url, "SELECT badge FROM officer")) == 9
    postgres_cluster.drop_database(url)
    with pytest.raises(PostgresError, match="does not exist"):
        postgres_cluster.fresh_database("no_such_template")


@pytest.mark.postgres
def test_a_server_that_lost_power_comes_back_with_what_was_committed() -> None:
    with private_cluster(fsync=True) as cluster:
        url = cluster.fresh_database()
        asyncio.run(ask(url, "CREATE TABLE promise AS SELECT 1 AS kept", "SELECT 1"))
        cluster.stop()
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            asyncio.run(ask(url, "SELECT 1"))
        cluster.start(fsync=True)
        url = cluster.url(url.rsplit("/", 1)[1])  # the port is a new one
        assert asyncio.run(ask(url, "SELECT kept FROM promise")) == 1
        assert cluster.sql("SHOW fsync") == "on"
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        asyncio.run(ask(url, "SELECT 1"))
    assert not cluster.folder.exists()


async def test_database_url_is_a_database_of_each_kind(database_url: str, request: pytest.FixtureRequest) -> None:
    assert await ask(database_url, "CREATE TABLE one (n int)", "INSERT INTO one VALUES (1)", "SELECT n FROM one") == 1
    wants_server = "postgres" in request.node.callspec.id
    assert database_url.startswith("postgresql+asyncpg://" if wants_server else "sqlite+aiosqlite:///")
    assert bool(request.node.get_closest_marker("postgres")) == wants_server


# -- Chromium ---------------------------------------------------------------------------------------------------------

PAGE = """<!doctype html><html lang="zh"><meta name="viewport" content="width=device-width"><title>派出所</title>
<link rel="icon" href="data:,"><p id="width"></p><button onclick="this.textContent='已收到'">发送</button>
<script>
document.getElementById('width').textContent = innerWidth + (('ontouchstart' in window) ? ' touch' : '')
</script>"""


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """A small web site: one good page and some bad ones."""

    async def show(request: web.Request) -> web.Response:
        bad = {
            "good": "",
            "script": "<script>throw new Error('broken')</script>",
            "console": "<script>console.error('complaint')</script>",
            "missing": "<img src='/nothing.png'>",
            "outside": "<img src='http://cdn.example.com/a.png'>",
        }
        return web.Response(text=PAGE + bad[request.match_info["kind"]], content_type="text/html")

    app = web.Application()
    app.router.add_get("/page/{kind}", show)
    runner = web.AppRunner(app)
    await runner.setup()
    server = web.TCPSite(runner, "127.0.0.1", 0)
    await server.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/page/"
    await runner.cleanup()


async def test_a_page_is_rendered_on_a_phone(phone: Page, site: str) -> None:
    await phone.goto(f"{site}good")
    assert await phone.text_content("#width") == "390 touch"
    await phone.tap("button")
    assert await phone.text_content("button") == "已收到"


async def test_a_page_is_rendered_on_a_desk(desk: Page, site: str) -> None:
    await desk.goto(f"{site}good")
    assert await desk.title() == "派出所"
    assert await desk.text_content("#width") == "1280"


async def test_page_comes_once_on_each_device(page: Page, site: str, request: pytest.FixtureRequest) -> None:
    await page.goto(f"{site}good")
    width = await page.evaluate("innerWidth")
    assert width == {"phone": 390, "desk": 1280}[request.node.callspec.id]


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("script", "error in the page: broken"),
        ("console", "console: complaint"),
        ("missing", "status of 404"),
        ("outside", r"request to the outside: http://cdn\.example\.com"),
    ],
)
async def test_a_page_that_complains_fails_the_test(people: People, site: str, kind: str, complaint: str) -> None:
    page = await people.open("desk")
    await page.goto(f"{site}{kind}")
    with pytest.raises(PageError, match=complaint):
        people.check()
    people.faults.clear()


async def test_two_people_share_no_cookies(people: People, site: str) -> None:
    resident = await people.open("phone", base_url=site)
    officer = await people.open("desk", base_url=site)
    await resident.goto("good")
    await officer.goto("good")
    await resident.evaluate("document.cookie = 'who=resident'")
    assert await resident.evaluate("document.cookie") == "who=resident"
    assert await officer.evaluate("document.cookie") == ""


# -- the rest ---------------------------------------------------------------------------------------------------------


async def test_a_free_port_is_free(free_port: int) -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", free_port)
    server.close()
    await server.wait_closed()
    assert ports.free_port() > 0

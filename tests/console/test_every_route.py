"""Every page as every role, as a stranger, and as officers of another station who know the numbers."""

import pytest

from bot.console.guard import Open, Route
from bot.console.routes import ROUTES
from bot.console.texts import ERRORS, STALE_FORM
from bot.security.permissions import Permission, may
from bot.store.models import Officer, Role, TicketState
from tests.console.house import Browser, House, MakeHouse
from tests.support.two_stations import PASSWORD

ROLES = {
    "chen": Role.OFFICER,
    "fu": Role.AUXILIARY,
    "suo": Role.CHIEF,
    "shen": Role.REVIEWER,
    "guan": Role.ADMIN,
}
CLOSED = [route for route in ROUTES if route.needs is not Open.PUBLIC]
ASKED_FOR = [route for route in CLOSED if not route.path.endswith(("/logout", "/console/second-factor"))]


def allowed(route: Route, role: Role) -> bool:
    if isinstance(route.needs, Open):
        return True
    needs = route.needs if isinstance(route.needs, tuple) else (route.needs,)
    return any(may(role, permission) for permission in needs)


async def visit(browser: Browser, route: Route, address: str) -> tuple[int, str]:
    """Status and, for pages, words; a stream is only opened."""
    response = await (browser.get(address) if route.method == "GET" else browser.post(address))
    text = await response.text() if response.content_type == "text/html" else ""
    response.close()
    return response.status, text


# Three of the roles may measure a change of the knowledge, which takes seconds.
MEASURE = {"chen", "suo", "guan"}


@pytest.mark.parametrize(
    "username", [pytest.param(name, marks=pytest.mark.slow if name in MEASURE else ()) for name in ROLES]
)
async def test_each_role_opens_its_own_pages_and_no_others(house: House, username: str) -> None:
    browser = await house.logged_in(username)
    wrong = []
    for route in ASKED_FOR:
        status, text = await visit(browser, route, house.address(route.path))
        refused = status == 403 and ERRORS[403] in text
        if status >= 500 or status == 401 or STALE_FORM in text or refused == allowed(route, ROLES[username]):
            wrong.append((route.method, route.path, status))
    assert not wrong


async def test_without_a_log_in_every_page_asks_for_one(house: House) -> None:
    for route in CLOSED:
        browser = house.browser()
        response = await (browser.get if route.method == "GET" else browser.post)(house.address(route.path))
        if route.method == "GET":
            assert response.status == 303, route.path
            assert response.headers["Location"].startswith("/console/login?next=%2Fconsole"), route.path
        else:
            assert response.status == 401, route.path
        await browser.session.close()


@pytest.mark.parametrize("username", ROLES)
async def test_officers_of_another_station_find_none_of_our_rows(house: House, username: str) -> None:
    browser = await house.logged_in(username, station=1)
    wrong = []
    for route in CLOSED:
        if "{id" in route.path:
            status, text = await visit(browser, route, house.address(route.path))
            expected = (404, 422) if allowed(route, ROLES[username]) else (403,)  # 422: the form itself was empty
            if status not in expected or "身份证丢了" in text or "王" in text or "13812345678" in text:
                wrong.append((route.method, route.path, status))
    assert not wrong
    assert (await house.ticket("urgent")).state is TicketState.OPEN


async def test_nobody_of_another_station_can_log_in_here(house: House) -> None:
    foreign = await house.logged_in("chen", station=1)
    foreign.root = house.roots[0]  # the cookie of the other station's log-in
    response = await foreign.get("/console/tickets")
    assert response.status == 303
    assert response.headers["Location"].startswith("/console/login")


async def test_no_form_is_accepted_without_its_token(house: House) -> None:
    browser = await house.logged_in("suo")
    other = await house.logged_in("chen")
    for route in CLOSED:
        if route.method == "POST" and allowed(route, Role.CHIEF):
            for token in ("wrong", "", other.csrf):
                response = await browser.post(house.address(route.path), csrf=token)
                assert response.status == 403, route.path
                assert STALE_FORM in await response.text(), route.path
    assert (await house.ticket("urgent")).state is TicketState.OPEN
    assert (await browser.get("/console/me")).status == 200, "nobody was logged out"


async def test_before_the_second_factor_only_its_page_opens(make_house: MakeHouse, sqlite_url: str) -> None:
    house = await make_house(sqlite_url, security={"second_factor": True})
    browser = house.browser()
    response = await browser.log_in("suo", PASSWORD)
    assert response.headers["Location"].startswith("/console/second-factor")
    assert "二维码" in await browser.read("/console/second-factor")
    for route in ASKED_FOR:
        response = await (browser.get if route.method == "GET" else browser.post)(house.address(route.path))
        assert response.status == 303, route.path
        assert response.headers["Location"].startswith("/console/second-factor"), route.path


async def test_with_a_password_that_was_handed_out_only_the_form_to_change_it_opens(house: House) -> None:
    browser = await house.logged_in("suo")
    async with house.store.write() as session:
        (await session.get_one(Officer, house.first.officers["suo"])).password_given = True
    page = await browser.read("/console/me")
    assert "请先修改密码" in page
    assert "/console/tickets" not in page
    for route in ASKED_FOR:
        if route.needs is not Open.OWN:
            response = await (browser.get if route.method == "GET" else browser.post)(house.address(route.path))
            assert (response.status, response.headers["Location"]) == (303, "/console/me"), route.path


def test_every_route_says_what_it_needs() -> None:
    public = {route.path for route in ROUTES if route.needs is Open.PUBLIC}
    login = "/console/login"
    assert public == {"/console/static/{name}", login, f"{login}/wecom", f"{login}/wecom/back"}
    half = {route.path for route in ROUTES if route.needs is Open.HALF}
    assert half == {"/console/second-factor", "/console/logout"}
    own = {route.path for route in ROUTES if route.needs is Open.OWN}
    assert own == {"/console/me", "/console/me/password"}
    for route in ROUTES:
        needs = route.needs if isinstance(route.needs, tuple) else (route.needs,)
        assert needs
        assert all(isinstance(need, Permission | Open) for need in needs), route.path


async def test_every_answer_carries_the_careful_headers(house: House) -> None:
    browser = await house.logged_in("chen")
    for path in ("/console/tickets", "/console/nowhere", "/console/login", "/console/static/console.css"):
        response = await browser.get(path)
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
        assert "unsafe" not in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "same-origin"
    assert (await browser.get("/console/tickets")).headers["Cache-Control"] == "no-store"


async def test_what_is_not_there_is_said_in_words(house: House) -> None:
    browser = await house.logged_in("chen")
    for path, status in (
        ("/console/nowhere", 404),
        ("/console/tickets/9999999999999999999", 404),
        ("/console/tickets/999999", 404),
        ("/console/tickets/abc", 404),
        ("/console/logout", 405),
        ("/console/static/..%2Fapp.py", 404),
    ):
        response = await browser.get(path)
        assert response.status == status, path
        assert ERRORS[status] in await response.text(), path

"""Who may use which route: every line of the table as every role, as nobody, and from the next station."""

from typing import Any

import pytest

from bot.api.guard import AnyRoute, Open
from bot.api.routes import ROUTES
from bot.security.permissions import may
from bot.store.models import Role

from .conftest import BY_ROLE, House

AUDIENCE: dict[str, Any] = {"age_from": 60}
DRAFT = {"title": "谨防冒充公检法", "body": "警察不会让您转账。", "audience": AUDIENCE}

# A request each route accepts; the keys must be exactly the table's lines.
GIVEN: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/sessions"): {"username": "chen", "password": "wrong on purpose"},
    ("DELETE", "/sessions/current"): {},
    ("GET", "/me"): {},
    ("GET", "/tickets"): {},
    ("GET", "/tickets/{id}"): {},
    ("POST", "/tickets/{id}/take"): {},
    ("POST", "/tickets/{id}/reply"): {"text": "请带户口簿。"},
    ("POST", "/tickets/{id}/note"): {"text": "已电话联系。"},
    ("POST", "/tickets/{id}/hand-over"): {"to": 1},
    ("POST", "/tickets/{id}/wait"): {},
    ("POST", "/tickets/{id}/release"): {},
    ("POST", "/tickets/{id}/close"): {"outcome": "answered"},
    ("GET", "/broadcasts"): {},
    ("POST", "/broadcasts"): DRAFT,
    ("POST", "/broadcasts/reach"): {"audience": AUDIENCE},
    ("GET", "/broadcasts/{id}"): {},
    ("POST", "/broadcasts/{id}/submit"): {},
    ("POST", "/broadcasts/{id}/approve"): {"seal": "0" * 64},
    ("POST", "/broadcasts/{id}/send-back"): {"why": "标题太长"},
    ("POST", "/broadcasts/{id}/stop"): {"why": "内容有误"},
    ("POST", "/search"): {"reason": "核实投诉"},
    ("GET", "/communities"): {},
}
CLOSED = tuple(route for route in ROUTES if route.needs is not Open.PUBLIC)


def given(route: AnyRoute) -> dict[str, Any]:
    """The accepted request, as the arguments of `Caller.call`."""
    wanted = GIVEN[route.method, route.path]
    return {"params": wanted} if route.reads else {"body": wanted or None}


async def a_row(route: AnyRoute, house: House) -> str:
    """The route's path with a row of the house in it."""
    if route.path.startswith("/broadcasts/{id}"):
        chen = await house.caller("chen")
        return route.path.format(id=(await chen.do("/broadcasts", DRAFT))["id"])
    return route.path.format(id=house.ticket)


def test_each_line_of_the_table_is_tried() -> None:
    assert list(GIVEN) == [(route.method, route.path) for route in ROUTES]


def test_only_logging_in_is_public() -> None:
    assert {route.path for route in ROUTES} - {route.path for route in CLOSED} == {"/sessions"}
    assert all(route.permissions for route in CLOSED)


@pytest.mark.parametrize("role", Role)
async def test_each_role_may_what_the_table_says(role: Role, house: House) -> None:
    for route in ROUTES:
        caller = await house.caller(BY_ROLE[role])
        heard = await caller.call(route.method, await a_row(route, house), **given(route))
        allowed = route.needs is Open.PUBLIC or any(may(role, permission) for permission in route.permissions)
        if not allowed:
            assert (heard.status, heard.slug) == (403, "no-permission"), route
        elif heard.status >= 400:  # the row may be in another state; the door was open
            assert heard.slug in ("wrong-login", "not-allowed", "conflict"), (route, heard)


async def test_nobody_comes_in_without_a_log_in(house: House) -> None:
    half = await house.caller("suo", second_factor_done=False)
    ended = await house.caller("suo")
    await ended.call("DELETE", "/sessions/current")
    for route in CLOSED:
        path = await a_row(route, house)
        for caller in (house.nobody, half, ended):
            heard = await caller.call(route.method, path, **given(route))
            assert (heard.status, heard.slug) == (401, "login-needed"), route
            assert heard.headers["WWW-Authenticate"] == "Bearer"


async def test_a_cookie_which_browsers_send_by_themselves_is_no_log_in_here(house: House) -> None:
    chief = await house.caller("suo")
    heard = await house.nobody.call("GET", "/me", headers={"Cookie": f"officer_session={chief.token}"})
    assert heard.slug == "login-needed"


async def test_a_token_of_the_next_station_is_none_here(houses: list[House]) -> None:
    here, next_door = houses
    stranger = await next_door.caller("suo")
    stranger.root = here.root
    for route in CLOSED:
        heard = await stranger.call(route.method, await a_row(route, here), **given(route))
        assert (heard.status, heard.slug) == (401, "login-needed"), route


async def test_rows_of_the_next_station_are_not_found(houses: list[House]) -> None:
    here, next_door = houses
    chief = await here.caller("suo")
    for route in CLOSED:
        if "{id}" not in route.path:
            continue
        theirs = await a_row(route, next_door)
        for path in (theirs, *(route.path.format(id=number) for number in ("987654", 2**63, "9" * 30, "x"))):
            heard = await chief.call(route.method, path, **given(route))
            assert (heard.status, heard.slug) == (404, "not-found"), path


@pytest.mark.parametrize(
    "word", ["Bearer", "Bearer ", "Basic Y2hlbjpwYXNz", "Bearer x", "Bearer " + "中" * 43, "Bearer \udcff"]
)
async def test_a_strange_authorization_is_none(word: str, house: House) -> None:
    heard = await house.nobody.call("GET", "/me", headers={"Authorization": word})
    assert heard.slug == "login-needed"


async def test_lists_show_the_own_station_only(houses: list[House]) -> None:
    here, next_door = houses
    await (await next_door.caller("chen")).do("/broadcasts", DRAFT)
    chief = await here.caller("suo")
    assert [row["id"] for row in (await chief.read("/tickets"))["tickets"]] == [here.ticket]
    assert (await chief.read("/broadcasts"))["broadcasts"] == []
    assert [row["id"] for row in (await chief.read("/communities"))["communities"]] == here.furniture.communities
    found = (await chief.do("/search", {"reason": "核实投诉"}))["messages"]
    assert {row["conversation_id"] for row in found} == {here.furniture.conversation}
    assert (await chief.do("/broadcasts/reach", {"audience": AUDIENCE}))["count"] == 1

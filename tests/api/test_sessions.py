"""Coming in with a password and, where it is used, a code; how long a token lasts; what is counted and kept."""

from datetime import timedelta

import pyotp
import pytest

from bot import clock
from bot.actions import officers
from bot.actions.audit import Actor
from bot.security import passwords, sessions
from bot.security.permissions import PERMISSIONS
from bot.store.models import Officer, Role
from tests.support.station import FrozenClock

from .conftest import PASSWORD, Caller, Heard, House, OpenHouses


async def log_in(house: House, username: str = "chen", password: str = PASSWORD, **more: str) -> Heard:
    return await house.nobody.post("/sessions", {"username": username, "password": password, **more})


async def with_authenticator(house: House, username: str = "chen") -> str:
    secret = passwords.new_totp_secret()
    async with house.store.write() as session:
        officer = await session.get_one(Officer, house.furniture.officers[username])
        await officers.set_second_factor(session, officer, secret, actor=Actor(officer.station_id, officer.id))
    return secret


def code_of(secret: str) -> str:
    return pyotp.TOTP(secret).at(clock.now())


async def test_a_token_opens_and_can_be_ended(house: House) -> None:
    heard = await log_in(house, "CHEN")
    assert heard.status == 201
    chen = Caller(house.session, house.root, heard.body["token"])
    assert (await chen.read("/me"))["username"] == "chen"
    assert heard.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in heard.headers
    assert (await chen.call("DELETE", "/sessions/current")).status == 204
    assert (await chen.get("/me")).slug == "login-needed"
    [login], [logout] = await house.audit("login"), await house.audit("logout")
    assert login.subject == logout.subject == f"officer:{house.furniture.officers['chen']}"
    assert login.details == {"way": "api"}


async def test_a_password_counts_exactly_as_it_was_typed(house: House) -> None:
    spaced = await passwords.hash_password(f" {PASSWORD} ")
    async with house.store.write() as session:
        officer = await session.get_one(Officer, house.furniture.officers["chen"])
        await officers.set_password(session, officer, spaced, actor=Actor(officer.station_id, officer.id))
    assert (await log_in(house)).slug == "wrong-login"
    assert (await log_in(house, " chen ", f" {PASSWORD} ")).status == 201


async def test_a_wrong_name_and_a_wrong_password_are_the_same_refusal(house: House) -> None:
    wrong, unknown = await log_in(house, password="wrong on purpose"), await log_in(house, "nobody")
    assert wrong.slug == "wrong-login"
    assert (wrong.status, wrong.body) == (unknown.status, unknown.body)
    failures = await house.audit("login.failed")
    assert [event.subject for event in failures] == [f"officer:{house.furniture.officers['chen']}", "officer:unknown"]


async def test_an_officer_of_the_next_station_or_one_who_left_cannot_log_in(houses: list[House]) -> None:
    here, next_door = houses
    async with here.store.write() as session:
        officer = await session.get_one(Officer, here.furniture.officers["chen"])
        await officers.set_active(session, officer, active=False, actor=Actor(officer.station_id))
    assert (await log_in(here)).slug == "wrong-login"
    assert (await log_in(next_door)).status == 201


async def test_guessing_is_throttled_and_the_right_password_too(house: House, time: FrozenClock) -> None:
    for _ in range(passwords.FAILURES):
        assert (await log_in(house, password="wrong on purpose")).slug == "wrong-login"
    heard = await log_in(house)
    assert (heard.status, heard.slug) == (429, "too-many-attempts")
    assert int(heard.headers["Retry-After"]) == passwords.THROTTLE_WINDOW.total_seconds()
    assert (await log_in(house, "zhang")).status == 201, "a colleague is not locked out"
    time.forward(minutes=16)
    assert (await log_in(house)).status == 201


async def test_logging_in_correctly_often_is_no_guessing(house: House) -> None:
    for _ in range(passwords.FAILURES + 2):
        assert (await log_in(house)).status == 201


async def test_who_uses_an_authenticator_needs_its_code(house: House, time: FrozenClock) -> None:
    secret = await with_authenticator(house)
    assert (await log_in(house)).slug == "code-needed"
    assert (await log_in(house, password="wrong on purpose", code=code_of(secret))).slug == "wrong-login"
    assert (await log_in(house, code=str((int(code_of(secret)) + 1) % 1_000_000).zfill(6))).slug == "wrong-code"
    assert (await log_in(house, code=code_of(secret))).status == 201
    assert (await log_in(house, code=code_of(secret))).slug == "wrong-code", "it counts once"
    time.forward(minutes=5)
    assert (await log_in(house, code=code_of(secret))).status == 201


async def test_who_was_handed_a_password_changes_it_in_the_console_first(house: House) -> None:
    token = await house.caller("chen")
    async with house.store.write() as session:
        officer = await session.get_one(Officer, house.furniture.officers["chen"])
        officer.password_given = True
    assert (await token.get("/me")).slug == "login-needed"
    for _ in range(passwords.FAILURES + 1):  # it is no failure
        assert (await log_in(house)).slug == "password-to-be-changed"


async def test_guessing_the_code_is_throttled(house: House, time: FrozenClock) -> None:
    secret = await with_authenticator(house)
    wrong = str((int(code_of(secret)) + 1) % 1_000_000).zfill(6)
    for _ in range(passwords.FAILURES):
        assert (await log_in(house, code=wrong)).slug == "wrong-code"
        await log_in(house)  # asking in between, without a code, forgives nothing
    assert (await log_in(house, code=code_of(secret))).slug == "too-many-attempts"


async def test_where_codes_are_required_they_are_set_up_in_the_console_first(open_houses: OpenHouses) -> None:
    house, _ = await open_houses(second_factor=True)
    assert (await log_in(house)).slug == "second-factor-not-set-up"
    secret = await with_authenticator(house)
    assert (await log_in(house, code=code_of(secret))).status == 201


@pytest.mark.parametrize(
    ("idle", "slug"), [(sessions.IDLE - timedelta(minutes=1), ""), (sessions.IDLE, "login-needed")]
)
async def test_a_token_that_rests_too_long_is_over(idle: timedelta, slug: str, house: House, time: FrozenClock) -> None:
    chen = await house.caller("chen")
    time.now += idle
    heard = await chen.get("/me")
    assert heard.slug == slug if slug else heard.status == 200


async def test_a_busy_token_ends_when_it_said(house: House, time: FrozenClock) -> None:
    heard = await log_in(house)
    chen = Caller(house.session, house.root, heard.body["token"])
    for _ in range(11):
        time.forward(hours=1)
        await chen.read("/me")
    time.forward(hours=1)
    assert heard.body["expires_at"] == time.now.isoformat().replace("+00:00", "Z")
    assert (await chen.get("/me")).slug == "login-needed"


async def test_the_audit_log_has_the_callers_address_behind_our_proxy(open_houses: OpenHouses) -> None:
    house, _ = await open_houses(trusted_proxies=("127.0.0.1",))
    body = {"username": "chen", "password": PASSWORD}
    heard = await house.nobody.call("POST", "/sessions", body, headers={"X-Forwarded-For": "198.51.100.7, 203.0.113.9"})
    assert heard.status == 201
    assert [event.ip for event in await house.audit("login")] == ["203.0.113.9"]


async def test_me_says_what_i_may(house: House) -> None:
    me = await (await house.caller("zhang")).read("/me")
    assert me["permissions"] == sorted(permission.value for permission in PERMISSIONS[Role.OFFICER])
    assert [place["id"] for place in me["communities"]] == house.furniture.communities[1:]
    assert me["station"]["name"] == house.station.name
    assert me["second_factor"] is False

"""Log-in: passwords that are good enough, tries that are throttled, log-ins that end, a second factor."""

import hashlib
from datetime import timedelta

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from bot.actions.audit import Actor
from bot.actions.officers import set_active
from bot.security import passwords, sessions
from bot.security.passwords import LoginRefused, PasswordError
from bot.security.permissions import PERMISSIONS, Permission, may
from bot.store.models import ConsoleSession, LoginFailure, Officer, Role
from tests.support.station import FrozenClock, House


@pytest.mark.parametrize(
    ("password", "sentence"),
    [
        ("short", "至少 10 位"),
        ("zhang-zhang-1", "不要包含用户名"),
        ("ZHANGwei12345", "不要包含用户名"),
        ("aaaaaaaaaaaa", "太简单"),
        ("1212121212", "太简单"),
    ],
)
def test_a_password_that_is_not_good_enough(password: str, sentence: str) -> None:
    with pytest.raises(PasswordError, match=sentence):
        passwords.check_new_password(password, "zhang")


@pytest.mark.parametrize("password", ["十个汉字的密码也可以用", "correct horse battery", "x" * 60 + "abcd"])
def test_length_counts_and_composition_does_not(password: str) -> None:
    passwords.check_new_password(password, "zhang")


async def test_a_password_fits_its_own_hash_only() -> None:
    first, second = await passwords.hash_password("枫林-110-值班"), await passwords.hash_password("枫林-110-值班")
    assert first != second
    assert first.startswith("$argon2id$")
    assert await passwords.verify_password(first, "枫林-110-值班")
    for wrong in ("枫林-110-值", "", "枫林-110-值班 "):
        assert not await passwords.verify_password(first, wrong)
    for nothing in ("", "no hash", "$argon2id$broken"):
        assert not await passwords.verify_password(nothing, "枫林-110-值班")
        assert not await passwords.verify_password(nothing, "nobody has this password")


async def failures(house: House, number: int, username: str, ip: str) -> None:
    async with house.store.write() as session:
        for _ in range(number):
            await passwords.note_failure(session, house.station.id, username, ip)


async def is_refused(house: House, username: str, ip: str) -> bool:
    async with house.store.read() as session:
        try:
            await passwords.check_throttle(session, house.station.id, username, ip)
        except LoginRefused:
            return True
    return False


async def test_a_name_is_closed_after_eight_wrong_passwords_wherever_they_came_from(
    any_house: House, frozen: FrozenClock
) -> None:
    for n in range(passwords.NAME_FAILURES - 1):
        await failures(any_house, 1, "zhang", f"10.0.0.{n}")
    assert not await is_refused(any_house, "zhang", "10.1.1.1")
    await failures(any_house, 1, "zhang", "10.0.0.99")
    assert await is_refused(any_house, "zhang", "10.1.1.1")
    assert not await is_refused(any_house, "li", "10.0.0.99")
    frozen.forward(minutes=15, seconds=1)
    assert not await is_refused(any_house, "zhang", "10.1.1.1")


async def test_an_address_is_closed_whatever_names_it_tries(any_house: House) -> None:
    for n in range(passwords.ADDRESS_FAILURES):
        await failures(any_house, 1, f"name-{n}", "10.0.0.1")
    assert await is_refused(any_house, "zhang", "10.0.0.1")
    assert not await is_refused(any_house, "zhang", "10.0.0.2")


async def test_a_right_password_is_forgiven_and_a_long_name_is_no_trouble(any_house: House) -> None:
    long = "z" * 500
    async with any_house.store.write() as session:
        number = await passwords.note_failure(session, any_house.station.id, long, "10.0.0.1")
        await passwords.forgive(session, number)
    assert await any_house.count(LoginFailure) == 0
    assert not await is_refused(any_house, long, "10.0.0.1")


async def log_in(house: House, username: str = "zhang") -> str:
    officer = await house.officer(username)
    async with house.store.write() as session:
        return await sessions.begin(session, officer, "10.0.0.1", second_factor_done=True)


async def who(house: House, cookie: str, station_id: int | None = None) -> str | None:
    async with house.store.read() as session:
        found = await sessions.find(session, station_id or house.station.id, cookie)
    return found.officer.username if found else None


async def test_the_table_gives_nobody_a_way_in(house: House) -> None:
    cookie = await log_in(house)
    row: ConsoleSession = await house.one(select(ConsoleSession))
    assert cookie not in (row.id, row.csrf)
    assert row.id == hashlib.sha256(cookie.encode()).hexdigest()
    assert await who(house, cookie) == "zhang"
    assert await who(house, row.id) is None
    assert await who(house, "") is None
    assert await who(house, cookie, house.station.id + 1) is None


async def test_a_log_in_ends_by_idling_and_at_the_latest_after_a_shift(house: House, frozen: FrozenClock) -> None:
    cookie = await log_in(house)
    session_id = hashlib.sha256(cookie.encode()).hexdigest()
    for _ in range(11):  # eleven hours, never idle for long
        frozen.forward(hours=1)
        assert await who(house, cookie) == "zhang"
        async with house.store.write() as session:
            assert await sessions.needs_touch(session, session_id)
            await sessions.touch(session, session_id)
            assert not await sessions.needs_touch(session, session_id)
    frozen.forward(hours=1, seconds=1)
    assert await who(house, cookie) is None
    cookie = await log_in(house)
    frozen.forward(hours=2, seconds=1)
    assert await who(house, cookie) is None


@pytest.mark.parametrize("how", ["log out", "everywhere", "disabled", "row"])
async def test_a_log_in_can_be_ended_from_here(house: House, how: str) -> None:
    cookie = await log_in(house)
    other = await log_in(house, "li")
    officer = await house.officer("zhang")
    async with house.store.write() as session:
        match how:
            case "log out":
                await sessions.end(session, hashlib.sha256(cookie.encode()).hexdigest())
            case "everywhere":
                await sessions.end_all(session, officer.id)
            case "disabled":
                row = await session.get_one(Officer, officer.id)
                await set_active(session, row, False, actor=Actor(house.station.id))
            case _:
                await session.execute(update(Officer).where(Officer.id == officer.id).values(active=False))
    assert await who(house, cookie) is None
    assert await who(house, other) == "li"


def test_a_code_of_the_authenticator_is_good_for_half_a_minute_around(frozen: FrozenClock) -> None:
    secret = passwords.new_totp_secret()
    code = pyotp.TOTP(secret).at(frozen.now)
    assert passwords.use_code(Officer(), secret, code)
    assert passwords.use_code(Officer(), secret, f" {code[:3]} {code[3:]} ")
    assert passwords.use_code(Officer(), secret, pyotp.TOTP(secret).at(frozen.now - timedelta(seconds=30)))
    for wrong in (str((int(code) + 1) % 1_000_000).zfill(6), "", "六位数字"):
        assert not passwords.use_code(Officer(), secret, wrong)
    frozen.now += timedelta(minutes=2)
    assert not passwords.use_code(Officer(), secret, code)


def test_a_code_counts_once_and_an_older_one_not_after_it(frozen: FrozenClock) -> None:
    secret, officer = passwords.new_totp_secret(), Officer()
    older, code, newer = (pyotp.TOTP(secret).at(frozen.now + timedelta(seconds=30 * step)) for step in (-1, 0, 1))
    assert passwords.use_code(officer, secret, code)
    assert not passwords.use_code(officer, secret, code)
    assert not passwords.use_code(officer, secret, older)
    assert passwords.use_code(officer, secret, newer)


@given(first=st.text(), second=st.text())
def test_the_form_token_fits_only_itself(first: str, second: str) -> None:
    if "\ud800" <= max(first + second, default="") <= "\udfff":
        return
    assert sessions.csrf_fits(first, first)
    assert sessions.csrf_fits(first, second) == (first == second)


# Written out a second time on purpose: who may do what is decided here.
RIGHTS = {
    Role.OFFICER: "answer warn residents learn self",
    Role.AUXILIARY: "answer self",
    Role.CHIEF: "answer warn approve learn review residents separate channels figures self",
    Role.REVIEWER: "review approve figures self",
    Role.ADMIN: "manage channels figures self",
}


@pytest.mark.parametrize("role", Role)
def test_what_a_role_may_do(role: Role) -> None:
    known = {permission for permission in Permission if may(role, permission)}
    assert {permission.value for permission in known} == set(RIGHTS[role].split())


def test_every_role_has_its_row() -> None:
    assert set(PERMISSIONS) == set(Role)

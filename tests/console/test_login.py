"""Coming in: right and wrong passwords, throttling, the second factor, forms from elsewhere, leaving."""

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import unquote

import pyotp
import pytest

from bot import clock
from bot.console.texts import WRONG_LOGIN
from bot.security import passwords, sessions
from tests.console.house import Browser, House, MakeHouse
from tests.support.two_stations import PASSWORD

NEW_PASSWORD = "winter rain 2026 lane"


class Later:
    """Moves the clock forward."""

    def __init__(self) -> None:
        self._start = clock.now()

    def by(self, span: timedelta) -> None:
        clock.set_source(lambda: self._start + span)


@pytest.fixture
def later() -> Iterator[Later]:
    yield Later()
    clock.set_source(None)


def cookie_of(browser: Browser) -> str:
    return next(cookie.value for cookie in browser.session.cookie_jar if cookie.key == sessions.COOKIE)


async def test_an_officer_logs_in_and_lands_on_the_page_he_wanted(house: House) -> None:
    browser = house.browser()
    wanted = await browser.get(f"/console/tickets/{house.first.tickets['open']}?before=7")
    assert wanted.status == 303
    target = unquote(wanted.headers["Location"].partition("next=")[2])
    response = await browser.log_in("chen", target=target)
    assert response.headers["Location"] == f"/console/tickets/{house.first.tickets['open']}?before=7"
    [event] = await house.audited("login")
    assert event.actor_id == house.first.officers["chen"]
    assert event.ip == "127.0.0.1"


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example", "/console\\evil", "javascript:alert(1)", "/consolex", "/chat"],
)
async def test_nobody_is_sent_elsewhere_after_logging_in(house: House, elsewhere: str) -> None:
    response = await house.browser().log_in("chen", target=elsewhere)
    assert response.headers["Location"] == "/console"


async def test_each_role_begins_where_its_work_is(house: House) -> None:
    for username, start in (("chen", "/console/tickets"), ("suo", "/console/tickets")):
        browser = await house.logged_in(username)
        assert (await browser.get("/console")).headers["Location"] == start
    for username in ("shen", "guan"):
        browser = await house.logged_in(username)
        start = (await browser.get("/console")).headers["Location"]
        assert (await browser.get(start)).status == 200


async def test_wrong_password_and_unknown_name_read_the_same(house: House) -> None:
    answers = []
    for username in ("chen", "nobody"):
        response = await house.browser().log_in(username, "wrong password")
        text = re.sub(r'name="token" value="[^"]+"', "", await response.text())
        answers.append((response.status, text.replace(username, "NAME")))
    assert answers[0] == answers[1]
    assert answers[0][0] == 422
    assert WRONG_LOGIN in answers[0][1]
    failed = await house.audited("login.failed")
    assert [event.subject for event in failed] == [f"officer:{house.first.officers['chen']}", "officer:unknown"]
    assert "nobody" not in str([event.details for event in failed])


async def test_too_many_wrong_passwords_close_the_name_for_a_while(house: House, later: Later) -> None:
    browser = house.browser()
    for _ in range(passwords.FAILURES):
        await browser.log_in("chen", "wrong password")
    refused = await browser.log_in("chen")
    assert refused.status == 422
    assert "15分钟后再试" in await refused.text()
    assert (await house.browser().log_in("zhang")).status == 303, "the others may still come in"
    later.by(passwords.THROTTLE_WINDOW + timedelta(seconds=1))
    assert (await house.browser().log_in("chen")).status == 303


async def test_many_guesses_at_once_are_no_way_round_the_throttle(house: House) -> None:
    browser = house.browser()
    page = await (await browser.get("/console/login")).text()
    token = re.findall(r'name="token" value="([^"]+)"', page)[0]
    guesses = [
        browser.post("/console/login", token=token, next="/console", username="chen", password=f"wrong {number}")
        for number in range(3 * passwords.FAILURES)
    ]
    answers = [await response.text() for response in await asyncio.gather(*guesses)]
    assert sum(WRONG_LOGIN in answer for answer in answers) == passwords.FAILURES


async def test_a_right_password_is_not_counted_as_a_wrong_one(house: House) -> None:
    for _ in range(passwords.FAILURES + 1):
        assert (await house.browser().log_in("chen")).status == 303


async def test_a_strangers_page_cannot_log_anybody_in(house: House) -> None:
    browser = house.browser()
    await browser.get("/console/login")
    response = await browser.post("/console/login", token="guessed", username="chen", password=PASSWORD)
    assert response.status == 422
    assert (await browser.get("/console/tickets")).status == 303


async def test_the_cookie_is_for_the_server_only(house: House) -> None:
    response = await house.browser().log_in("chen")
    header = next(value for value in response.headers.getall("Set-Cookie") if value.startswith(sessions.COOKIE))
    assert "HttpOnly" in header
    assert "SameSite=Lax" in header
    assert "Secure" not in header  # this is plain http


async def test_behind_https_the_cookie_stays_on_https(make_house: MakeHouse, sqlite_url: str) -> None:
    house = await make_house(sqlite_url, server={"public_url": "https://officer.example"})
    response = await house.browser().log_in("chen")
    assert all("Secure" in value for value in response.headers.getall("Set-Cookie"))


@pytest.mark.parametrize(("trusted", "seen"), [((), "127.0.0.1"), (("127.0.0.0/8",), "203.0.113.9")])
async def test_the_address_in_the_log_is_believed_from_our_proxy_only(
    make_house: MakeHouse, sqlite_url: str, trusted: tuple[str, ...], seen: str
) -> None:
    house = await make_house(sqlite_url, server={"trusted_proxies": trusted})
    browser = house.browser()
    browser.session.headers["X-Forwarded-For"] = "198.51.100.1, 203.0.113.9"
    await browser.log_in("chen")
    assert [event.ip for event in await house.audited("login")] == [seen]


async def test_leaving_ends_the_session_on_the_server(house: House) -> None:
    browser = await house.logged_in("chen")
    kept = cookie_of(browser)
    response = await browser.post("/console/logout")
    assert response.headers["Location"] == "/console/login?done=logged_out"
    thief = house.browser()
    thief.session.cookie_jar.update_cookies({sessions.COOKIE: kept})
    assert (await thief.get("/console/tickets")).status == 303


async def test_an_idle_session_ends_and_a_busy_one_does_not(house: House, later: Later) -> None:
    idle, busy = await house.logged_in("chen"), await house.logged_in("zhang")
    for minutes in (60, 119):
        later.by(timedelta(minutes=minutes))
        assert (await busy.get("/console/tickets")).status == 200
    later.by(sessions.IDLE + timedelta(minutes=1))
    assert (await idle.get("/console/tickets")).status == 303
    assert (await busy.get("/console/tickets")).status == 200


async def test_a_form_sent_after_the_session_ended_gives_the_words_back(house: House) -> None:
    browser = await house.logged_in("chen")
    browser.session.cookie_jar.clear()
    response = await browser.post(f"/console/tickets/{house.first.tickets['open']}/note", note="已电话联系，明早回访")
    assert response.status == 401
    assert "已电话联系，明早回访" in await response.text()


async def test_who_was_disabled_is_out_at_once(house: House) -> None:
    browser = await house.logged_in("chen")
    async with house.store.write() as session:
        officer = await session.get_one(type(await house.officer("chen")), house.first.officers["chen"])
        officer.active = False
    assert (await browser.get("/console/tickets")).status == 303
    assert (await house.browser().log_in("chen")).status == 422


# --- the second factor ---


def secret_in(page: str) -> str:
    found = re.search(r'name="secret" value="([A-Z2-7]{32})"', page)
    assert found
    return found[1]


async def test_with_a_second_factor_the_password_alone_is_not_enough(house: House, later: Later) -> None:
    browser = await house.logged_in("chen")
    secret = secret_in(await browser.read("/console/me/second-factor"))
    wrong = await browser.post("/console/me/second-factor", secret=secret, code="000000")
    assert wrong.status == 422
    assert secret_in(await wrong.text()) == secret, "no new scan after a mistyped code"
    right = await browser.post("/console/me/second-factor", secret=secret, code=pyotp.TOTP(secret).at(clock.now()))
    assert right.headers["Location"] == "/console/me?done=factor_on"

    again = house.browser()
    half = await again.log_in("chen", target="/console/canned")
    assert half.headers["Location"] == "/console/second-factor?next=%2Fconsole%2Fcanned"
    assert (await again.get("/console/tickets")).headers["Location"].startswith("/console/second-factor")
    await again.get("/console/second-factor?next=/console/canned")
    assert (await again.post("/console/second-factor", code="000000")).status == 422
    seen = await again.post("/console/second-factor", code=pyotp.TOTP(secret).at(clock.now()), next="/console/canned")
    assert seen.status == 422, "the code was used to switch it on"
    later.by(timedelta(minutes=2))
    code = pyotp.TOTP(secret).at(clock.now())
    through = await again.post("/console/second-factor", code=code, next="/console/canned")
    assert through.headers["Location"] == "/console/canned"
    assert (await again.get("/console/tickets")).status == 200
    overlooked = house.browser()
    await overlooked.log_in("chen")
    await overlooked.get("/console/second-factor")
    assert (await overlooked.post("/console/second-factor", code=code)).status == 422, "and this one to come in"
    assert (await overlooked.get("/console/tickets")).headers["Location"].startswith("/console/second-factor")


async def test_codes_cannot_be_guessed_one_after_the_other(house: House) -> None:
    browser = await house.logged_in("chen")
    secret = secret_in(await browser.read("/console/me/second-factor"))
    await browser.post("/console/me/second-factor", secret=secret, code=pyotp.TOTP(secret).at(clock.now()))
    thief = house.browser()
    await thief.log_in("chen")
    await thief.get("/console/second-factor")
    for _ in range(passwords.FAILURES):
        assert (await thief.post("/console/second-factor", code="000000")).status == 422
    late = await thief.post("/console/second-factor", code=pyotp.TOTP(secret).at(clock.now()))
    assert "15分钟后再试" in await late.text()


async def test_where_it_is_required_it_is_set_up_at_the_first_log_in(make_house: MakeHouse, sqlite_url: str) -> None:
    house = await make_house(sqlite_url, security={"second_factor": True})
    browser = house.browser()
    await browser.log_in("chen")
    secret = secret_in(await browser.read("/console/second-factor"))
    through = await browser.post("/console/second-factor", secret=secret, code=pyotp.TOTP(secret).at(clock.now()))
    assert through.headers["Location"] == "/console"
    refused = await browser.post("/console/me/second-factor/off", current=PASSWORD)
    assert refused.status == 422
    assert "不能关闭" in await refused.text()
    assert (await house.officer("chen")).totp_secret == secret


async def test_switching_it_off_takes_the_password(house: House) -> None:
    browser = await house.logged_in("chen")
    secret = secret_in(await browser.read("/console/me/second-factor"))
    await browser.post("/console/me/second-factor", secret=secret, code=pyotp.TOTP(secret).at(clock.now()))
    assert (await browser.post("/console/me/second-factor/off", current="not the password")).status == 422
    assert (await house.officer("chen")).totp_secret == secret
    assert (await browser.post("/console/me/second-factor/off", current=PASSWORD)).status == 303
    assert (await house.officer("chen")).totp_secret is None


# --- the password ---


async def test_a_new_password_ends_all_other_sessions(house: House) -> None:
    browser, phone = await house.logged_in("chen"), await house.logged_in("chen")
    response = await browser.post("/console/me/password", current=PASSWORD, new=NEW_PASSWORD, again=NEW_PASSWORD)
    assert response.headers["Location"] == "/console/me?done=password"
    assert "其他设备上的登录已全部退出" in await browser.read("/console/me?done=password")
    assert (await phone.get("/console/me")).status == 303
    assert (await house.browser().log_in("chen")).status == 422
    assert (await house.browser().log_in("chen", NEW_PASSWORD)).status == 303
    assert len(await house.audited("officer.password")) == 1


@pytest.mark.parametrize(
    ("current", "new", "again", "reason"),
    [
        ("wrong password", NEW_PASSWORD, NEW_PASSWORD, "当前密码不对"),
        (PASSWORD, NEW_PASSWORD, NEW_PASSWORD + "x", "两次输入的新密码不一样"),
        (PASSWORD, "short", "short", "密码至少"),
        (PASSWORD, "chen1234567890", "chen1234567890", "不要包含用户名"),
    ],
)
async def test_a_bad_new_password_is_refused_with_a_reason(
    house: House, current: str, new: str, again: str, reason: str
) -> None:
    browser = await house.logged_in("chen")
    response = await browser.post("/console/me/password", current=current, new=new, again=again)
    assert response.status == 422
    assert reason in await response.text()
    assert (await house.browser().log_in("chen")).status == 303

"""Logging in for a bearer token, and ending it."""

from datetime import datetime

from pydantic import Field, SecretStr

from bot import clock
from bot.actions.audit import Actor, record
from bot.api.call import Call
from bot.api.problems import Refused, Slug
from bot.api.shapes import Answer, Nothing, Request, Text
from bot.security import passwords, sessions
from bot.security.passwords import LoginRefused
from bot.store.access import access_officer
from bot.store.models import Officer

_PASSWORD_CHARACTERS = 1000  # hashing a longer one would only keep us busy


class LogIn(Request):
    username: Text = Field(min_length=1, max_length=100)
    password: SecretStr = Field(max_length=_PASSWORD_CHARACTERS)
    code: Text | None = Field(None, max_length=12, description="动态口令，开启后必填")


class Token(Answer):
    token: str = Field(description="放入 Authorization 头：Bearer <token>")
    expires_at: datetime
    idle_seconds: int = Field(description="这么久没有请求，令牌也会失效")


async def begin(call: Call, given: LogIn) -> Token:
    """Password and, where it is used, the code in one go; counted and throttled together with the console's log-ins."""
    attempt, officer = await _begin_attempt(call, given.username.casefold())
    fits = await passwords.verify_password(officer.password_hash if officer else "", given.password.get_secret_value())
    if officer is None or not fits:
        await _audit_failure(call, officer)
        raise Refused(Slug.WRONG_LOGIN)
    await _check_code(call, officer, given.code, attempt)
    if officer.password_given:
        await _forgive(call, attempt)
        raise Refused(Slug.PASSWORD_GIVEN)
    expires_at = clock.now() + sessions.LASTS
    async with call.store.write() as session:
        await passwords.forgive(session, attempt)
        token = await sessions.begin(session, officer, call.ip, second_factor_done=True)
        actor = Actor(call.station_id, officer.id, call.ip)
        await record(session, actor, "login", f"officer:{officer.id}", details={"way": "api"})
    return Token(token=token, expires_at=expires_at, idle_seconds=int(sessions.IDLE.total_seconds()))


async def _begin_attempt(call: Call, username: str) -> tuple[int, Officer | None]:
    """Count the attempt as failed before looking at the password, so that many at once cannot slip through."""
    async with call.store.write() as session:
        try:
            await passwords.check_throttle(session, call.station_id, username, call.ip)
        except LoginRefused as refused:
            wait = {"Retry-After": str(int(passwords.THROTTLE_WINDOW.total_seconds()))}
            raise Refused(Slug.TOO_MANY, str(refused), headers=wait) from refused
        attempt = await passwords.note_failure(session, call.station_id, username, call.ip)
        return attempt, await passwords.find_officer(session, call.station_id, username)


async def _check_code(call: Call, officer: Officer, code: str | None, attempt: int) -> None:
    """A missing code is no failure, a wrong one is."""
    if officer.totp_secret and code:
        async with call.store.write() as session:
            row = await access_officer(session, call.station_id, officer.id, lock=True)
            if passwords.use_code(row, officer.totp_secret, code):
                return
        await _audit_failure(call, officer)
        raise Refused(Slug.WRONG_CODE)
    if not officer.totp_secret and not call.runtime.config.security.second_factor:
        return
    await _forgive(call, attempt)
    raise Refused(Slug.CODE_NEEDED if officer.totp_secret else Slug.SET_UP_NEEDED)


async def _forgive(call: Call, attempt: int) -> None:
    async with call.store.write() as session:
        await passwords.forgive(session, attempt)


async def _audit_failure(call: Call, officer: Officer | None) -> None:
    """The name that was typed is not kept: people type passwords into the wrong field."""
    async with call.store.write() as session:
        subject = f"officer:{officer.id}" if officer else "officer:unknown"
        await record(session, Actor(call.station_id, None, call.ip), "login.failed", subject, details={"way": "api"})


async def end(call: Call, _given: Nothing) -> Answer:
    async with call.store.write() as session:
        await sessions.end(session, call.logged_in.session_id)
        await record(session, call.actor, "logout", f"officer:{call.officer.id}")
    return Answer()

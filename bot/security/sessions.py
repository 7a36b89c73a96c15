"""Log-ins of officers: a random cookie whose hash is a row, so that a log-in can be ended from here."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.store.models import ConsoleSession, Officer

COOKIE = "officer_session"
LASTS = timedelta(hours=12)  # one shift and a bit
IDLE = timedelta(hours=2)
_TOUCH_AFTER = timedelta(minutes=1)  # `seen_at` need not be exact


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Who is at the other end of a request."""

    officer: Officer
    session_id: str
    csrf: str
    second_factor_done: bool

    @property
    def is_let_in(self) -> bool:
        """Nothing is left to be done before the pages open: no second factor, no change of a handed-out password."""
        return self.second_factor_done and not self.officer.password_given


def _id(cookie: str) -> str:
    return hashlib.sha256(cookie.encode(errors="replace")).hexdigest()


async def begin(session: AsyncSession, officer: Officer, ip: str, *, second_factor_done: bool) -> str:
    """A new log-in; returns the cookie's value, which is kept nowhere."""
    cookie, now = secrets.token_urlsafe(32), clock.now()
    session.add(
        ConsoleSession(
            id=_id(cookie),
            station_id=officer.station_id,
            officer_id=officer.id,
            csrf=secrets.token_urlsafe(32),
            second_factor_done=second_factor_done,
            ip=ip,
            created_at=now,
            seen_at=now,
            expires_at=now + LASTS,
        )
    )
    return cookie


async def find(session: AsyncSession, station_id: int, cookie: str) -> LoggedIn | None:
    """The log-in behind a cookie; None when it is unknown, over, idle too long, or the officer may no longer log in."""
    now = clock.now()
    query = (
        select(ConsoleSession, Officer)
        .join(Officer, Officer.id == ConsoleSession.officer_id)
        .where(
            ConsoleSession.id == _id(cookie),
            ConsoleSession.station_id == station_id,
            ConsoleSession.expires_at > now,
            ConsoleSession.seen_at > now - IDLE,
            Officer.active,
        )
    )
    row = (await session.execute(query)).first()
    if row is None:
        return None
    login, officer = row
    return LoggedIn(officer, login.id, login.csrf, login.second_factor_done)


async def touch(session: AsyncSession, session_id: str) -> None:
    """The officer is still there; written at most once a minute."""
    now = clock.now()
    await session.execute(
        update(ConsoleSession)
        .where(ConsoleSession.id == session_id, ConsoleSession.seen_at < now - _TOUCH_AFTER)
        .values(seen_at=now)
    )


async def needs_touch(session: AsyncSession, session_id: str) -> bool:
    query = select(ConsoleSession.seen_at).where(ConsoleSession.id == session_id)
    seen = (await session.execute(query)).scalar_one_or_none()  # None: it ended this very moment
    return seen is not None and seen < clock.now() - _TOUCH_AFTER


async def pass_second_factor(session: AsyncSession, session_id: str) -> None:
    await session.execute(update(ConsoleSession).where(ConsoleSession.id == session_id).values(second_factor_done=True))


async def end(session: AsyncSession, session_id: str) -> None:
    await session.execute(delete(ConsoleSession).where(ConsoleSession.id == session_id))


async def end_all(session: AsyncSession, officer_id: int) -> None:
    """After a changed password, or when an officer leaves."""
    await session.execute(delete(ConsoleSession).where(ConsoleSession.officer_id == officer_id))


def csrf_fits(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode())

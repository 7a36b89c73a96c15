"""Passwords: argon2 hashes, throttled log-in, a second factor for those who use one."""

import asyncio
import hmac
from datetime import timedelta
from functools import cache

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.store.models import LoginFailure, Officer

MIN_CHARACTERS = 10
THROTTLE_WINDOW = timedelta(minutes=15)
FAILURES = 8  # wrong passwords for one name from one address in the window; then the rest of it is closed
NAME_FAILURES = 60  # … for one name from anywhere: many, or a stranger could lock an officer out
ADDRESS_FAILURES = 30  # … from one IP address, whatever the names
_TOTP_STEPS_OFF = 1  # a phone's clock may be 30 seconds wrong

_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)  # OWASP's figures for argon2id, 2024


class PasswordError(Exception):
    """A new password is not good enough; the sentence says why."""


class LoginRefused(Exception):
    """Wrong name or password, or too many tries; the sentence is shown."""


def check_new_password(password: str, username: str) -> None:
    """NIST SP 800-63B: length counts, composition rules do not."""
    if len(password) < MIN_CHARACTERS:
        raise PasswordError(f"密码至少 {MIN_CHARACTERS} 位。")
    if username and username.casefold() in password.casefold():
        raise PasswordError("密码里不要包含用户名。")
    if len(set(password)) < 5:
        raise PasswordError("密码太简单，请换一个。")


async def hash_password(password: str) -> str:
    """The argon2id hash; in a thread, because it takes some 30 ms on purpose."""
    return await asyncio.to_thread(_hasher.hash, password)


@cache
def _nobody() -> str:
    """What the password of a name that does not exist is compared with."""
    return _hasher.hash("nobody has this password")


async def verify_password(stored: str, password: str) -> bool:
    """Whether the password fits; an empty hash takes as long and fits nothing."""

    def fits() -> bool:
        try:
            _hasher.verify(stored or _nobody(), password)
        except (VerificationError, InvalidHashError):
            return False
        return bool(stored)

    return await asyncio.to_thread(fits)


async def check_throttle(session: AsyncSession, station_id: int, username: str, ip: str) -> None:
    """Refuse a log-in after too many wrong ones, before the password is looked at."""
    since = clock.now() - THROTTLE_WINDOW
    rows = await session.execute(
        select(
            func.count().filter(LoginFailure.username == username[:40], LoginFailure.ip == ip),
            func.count().filter(LoginFailure.username == username[:40]),
            func.count().filter(LoginFailure.ip == ip),
        ).where(
            LoginFailure.station_id == station_id,
            LoginFailure.at > since,
            or_(LoginFailure.username == username[:40], LoginFailure.ip == ip),
        )
    )
    by_both, by_name, by_address = rows.one()
    if by_both >= FAILURES or by_name >= NAME_FAILURES or by_address >= ADDRESS_FAILURES:
        raise LoginRefused("尝试次数过多，请15分钟后再试，或请管理员重设密码。")


async def find_officer(session: AsyncSession, station_id: int, username: str) -> Officer | None:
    query = select(Officer).where(Officer.station_id == station_id, Officer.username == username, Officer.active)
    return (await session.execute(query)).scalar_one_or_none()


async def note_failure(session: AsyncSession, station_id: int, username: str, ip: str) -> int:
    """Count a failed attempt; its number, for `forgive`."""
    failure = LoginFailure(station_id=station_id, username=username[:40], ip=ip, at=clock.now())
    session.add(failure)
    await session.flush()
    return failure.id


async def forgive(session: AsyncSession, failure_id: int) -> None:
    """The attempt turned out to be right."""
    await session.execute(delete(LoginFailure).where(LoginFailure.id == failure_id))


def new_totp_secret() -> str:
    return pyotp.random_base32()


def totp_uri(secret: str, username: str, station: str) -> str:
    """What an authenticator app reads from the QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name=station)


def use_code(officer: Officer, secret: str, code: str) -> bool:
    """Whether the authenticator shows this code now and it, or a newer one, was not used before; then it is used up.

    The officer's row must be locked, or a code overheard on its way would work for two who send it at once (RFC 6238,
    5.2: "one-time only").
    """
    typed, totp = code.strip().replace(" ", "").encode(), pyotp.TOTP(secret)
    now = totp.timecode(clock.now())
    for step in range(now - _TOTP_STEPS_OFF, now + _TOTP_STEPS_OFF + 1):
        unused = officer.totp_step is None or step > officer.totp_step
        if unused and hmac.compare_digest(totp.generate_otp(step).encode(), typed):
            officer.totp_step = step
            return True
    return False

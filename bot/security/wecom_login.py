"""Log-in by WeCom: a state that is bound to the browser, used once and soon; whose account it was."""

import hashlib
import hmac
import re
import secrets
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.security.passwords import LoginRefused
from bot.store.models import Officer, UsedLogin

COOKIE = "officer_wecom"
LASTS = timedelta(minutes=10)  # to find the telephone and scan
_STATE = re.compile(r"([0-9]{10})x[0-9a-f]{48}")
_OVER = "这次企业微信登录已过期或不是从本页面发起的。请重新点“企业微信登录”。"
_NOBODY = "您的企业微信账号还没有绑定工作台账号，或账号已停用。请联系本所管理员。"


def new_state() -> str:
    """What goes to WeCom and comes back: 59 letters and digits (WeCom takes 128), with the time it was made."""
    return f"{int(clock.now().timestamp()):010d}x{secrets.token_hex(24)}"


def check_state(given: str, bound: str) -> None:
    """Refuse a state that is not the one of this browser's cookie, or an old one."""
    found = _STATE.fullmatch(given)
    if found is None or not hmac.compare_digest(given.encode(), bound.encode(errors="replace")):
        raise LoginRefused(_OVER)
    age_seconds = clock.now().timestamp() - int(found[1])
    if not 0 <= age_seconds + 1 <= LASTS.total_seconds():  # made within this second
        raise LoginRefused(_OVER)


async def use_state(session: AsyncSession, station_id: int, state: str) -> None:
    """Refuse a state that has come back before."""
    now = clock.now()
    await session.execute(
        delete(UsedLogin).where(UsedLogin.station_id == station_id, UsedLogin.used_at < now - 2 * LASTS)
    )
    number = hashlib.sha256(state.encode()).hexdigest()
    try:
        async with session.begin_nested():
            session.add(UsedLogin(id=number, station_id=station_id, used_at=now))
    except IntegrityError:
        raise LoginRefused(_OVER) from None


async def officer_of(session: AsyncSession, station_id: int, userid: str) -> Officer:
    """The active officer with this account (folded); LoginRefused when there is none."""
    query = select(Officer).where(Officer.station_id == station_id, Officer.wecom_userid == userid, Officer.active)
    officer = (await session.execute(query)).scalar_one_or_none()
    if officer is None:
        raise LoginRefused(_NOBODY)
    return officer

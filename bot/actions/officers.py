"""Officers: who may log in with which password and role, and when they are on duty."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import contacts
from bot.actions.audit import Actor, lock_chain, record
from bot.actions.errors import ActionError, Conflict
from bot.config import USERID
from bot.store.models import CommunityOfficer, ConsoleSession, Officer, Role
from bot.wecom import folded

_USERNAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,39}")
_PHONE = re.compile(r"[+(]?[0-9][0-9() -]{4,18}")  # short numbers of the police too
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SHIFT = re.compile(r"([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00)")


async def add_officer(
    session: AsyncSession,
    station_id: int,
    *,
    username: str,
    name: str,
    role: Role,
    password_hash: str,
    badge: str = "",
    phone: str = "",
    wecom_userid: str = "",
    duty: Mapping[str, Sequence[str]] | None = None,
    password_given: bool = True,
    actor: Actor,
) -> Officer:
    """A new person of the station. `password_hash` is what bot.security.passwords made of a checked password.

    `password_given`: somebody else chose it, and the officer must change it when he logs in.
    """
    if not _USERNAME.fullmatch(username):
        raise ActionError("用户名请用 2 到 40 位小写字母、数字、点、横线或下划线。")
    _check_details(name, badge, phone)
    taken = select(Officer.id).where(Officer.station_id == station_id, Officer.username == username)
    if (await session.execute(taken)).first() is not None:
        raise Conflict(f"用户名 {username} 已有人使用，请换一个。")
    await _check_badge(session, station_id, badge.strip())
    officer = Officer(
        station_id=station_id,
        username=username,
        name=name.strip(),
        role=role,
        password_hash=password_hash,
        password_given=password_given,
        badge=badge.strip(),
        phone=phone.strip(),
        duty=_checked_duty(duty or {}),
        created_at=clock.now(),
    )
    session.add(officer)
    await session.flush()
    await record(session, actor, "officer.added", f"officer:{officer.id}", details={"role": role.value})
    if wecom_userid:
        await set_wecom(session, officer, wecom_userid, actor=actor)
    return officer


async def set_password(
    session: AsyncSession, officer: Officer, password_hash: str, *, keep: str | None = None, actor: Actor
) -> None:
    """A new password ends every log-in of the officer but the one with id `keep`; who was given it must change it."""
    officer.password_hash, officer.password_given = password_hash, officer.id != actor.officer_id
    await _end_sessions(session, officer, keep)
    await record(session, actor, "officer.password", f"officer:{officer.id}")


async def set_second_factor(
    session: AsyncSession, officer: Officer, secret: str | None, *, keep: str | None = None, actor: Actor
) -> None:
    """Switch the authenticator on with its secret, or off with None; other log-ins end."""
    officer.totp_secret = secret
    if secret is None:
        officer.totp_step = None
    await _end_sessions(session, officer, keep)
    action = "officer.second_factor_on" if secret else "officer.second_factor_off"
    await record(session, actor, action, f"officer:{officer.id}")


async def set_active(session: AsyncSession, officer: Officer, active: bool, *, actor: Actor) -> None:
    """Who leaves the station can no longer log in; what he did stays in the log."""
    if officer.active == active:
        return
    if not active and officer.id == actor.officer_id:
        raise ActionError("不能停用自己的账号，请由另一位管理员操作。")
    officer.active = active
    if not active:
        await _end_sessions(session, officer, None)
    await record(session, actor, "officer.enabled" if active else "officer.disabled", f"officer:{officer.id}")


async def set_details(
    session: AsyncSession, officer: Officer, *, name: str, badge: str, phone: str, actor: Actor
) -> None:
    """What residents read on the officer's card."""
    _check_details(name, badge, phone)
    wanted = {"name": name.strip(), "badge": badge.strip(), "phone": phone.strip()}
    if wanted["badge"] != officer.badge:
        await _check_badge(session, officer.station_id, wanted["badge"])
    changed = [field for field, value in wanted.items() if getattr(officer, field) != value]
    for field in changed:
        setattr(officer, field, wanted[field])
    if changed:
        await record(session, actor, "officer.details", f"officer:{officer.id}", details={"fields": changed})


def _check_details(name: str, badge: str, phone: str) -> None:
    if not name.strip() or len(name.strip()) > 40:
        raise ActionError("请填写姓名（不超过 40 个字）。")
    if len(badge) > 20 or len(phone) > 20:
        raise ActionError("警号和电话请不要超过 20 位。")
    if phone.strip() and not _PHONE.fullmatch(phone.strip()):
        raise ActionError("电话请填电话号码（数字，可以有空格、横线、括号或开头的 +）；没有可留空。")


async def _check_badge(session: AsyncSession, station_id: int, badge: str) -> None:
    """One badge, one officer, even when he is switched off: residents read it in old conversations beside his name."""
    if not badge:
        return
    await lock_chain(session, station_id)  # two who add the same badge at once wait for each other
    query = select(Officer).where(Officer.station_id == station_id, Officer.badge == badge).limit(1)
    holder = (await session.execute(query)).scalar_one_or_none()
    if holder is None:
        return
    if holder.active:
        raise Conflict(f"警号 {badge} 已登记给{holder.name}，请核对。")
    raise Conflict(f"警号 {badge} 已登记给{holder.name}（账号已停用）。警号如已改派，请先清空他资料里的警号。")


async def set_wecom(session: AsyncSession, officer: Officer, userid: str, *, actor: Actor) -> None:
    """The officer's own account in WeCom ("": none): where he is told of tickets, and how he may log in."""
    wanted = folded(userid) or None
    if wanted == officer.wecom_userid:
        return
    if wanted is not None and not re.fullmatch(USERID, wanted):
        raise ActionError("企业微信账号请按通讯录里的“账号”填写（字母、数字、点、横线、下划线或 @）。")
    taken = select(Officer.name).where(Officer.station_id == officer.station_id, Officer.wecom_userid == wanted)
    if wanted is not None and (name := (await session.execute(taken)).scalar_one_or_none()) is not None:
        raise Conflict(f"企业微信账号 {wanted} 已绑定给{name}，请核对。")
    officer.wecom_userid, officer.wecom_problem = wanted, ""
    await _end_sessions(session, officer, None)  # whoever came in by the account before
    await contacts.follow_officer(session, officer)
    await record(session, actor, "officer.wecom", f"officer:{officer.id}", details={"userid": wanted})


async def set_role(session: AsyncSession, officer: Officer, role: Role, *, actor: Actor) -> None:
    if officer.role is role:
        return
    if officer.id == actor.officer_id:
        raise ActionError("不能更改自己的岗位，请由另一位管理员操作。")
    officer.role = role
    await record(session, actor, "officer.role", f"officer:{officer.id}", details={"role": role.value})


async def set_duty(session: AsyncSession, officer: Officer, duty: Mapping[str, Sequence[str]], *, actor: Actor) -> None:
    """The officer's week: {"mon": ["08:30-12:00", "14:00-17:30"], …} in the station's time."""
    officer.duty = _checked_duty(duty)
    await record(session, actor, "officer.duty", f"officer:{officer.id}", details={"duty": officer.duty})


def _checked_duty(duty: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    week: dict[str, Any] = {}
    for day, shifts in duty.items():
        if day not in _DAYS:
            raise ActionError(f"“{day}”不是星期几。")
        for shift in shifts:
            start, _, end = shift.partition("-")
            if not _SHIFT.fullmatch(shift) or start >= end:
                raise ActionError(f"值班时间“{shift}”不对，请按 08:30-17:30 的格式填写；跨夜请分成两段。")
        if shifts:
            week[day] = sorted(shifts)
    return week


async def set_communities(
    session: AsyncSession, officer: Officer, community_ids: Sequence[int], *, actor: Actor
) -> None:
    """The communities this officer answers for, in place of those before."""
    await session.execute(delete(CommunityOfficer).where(CommunityOfficer.officer_id == officer.id))
    for community_id in sorted(set(community_ids)):
        session.add(CommunityOfficer(community_id=community_id, officer_id=officer.id, station_id=officer.station_id))
    await record(
        session, actor, "officer.communities", f"officer:{officer.id}", details={"communities": sorted(community_ids)}
    )


async def _end_sessions(session: AsyncSession, officer: Officer, keep: str | None) -> None:
    others = delete(ConsoleSession).where(ConsoleSession.officer_id == officer.id)
    await session.execute(others.where(ConsoleSession.id != keep) if keep else others)

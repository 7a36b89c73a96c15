"""The people of the station: added, changed, deactivated, given a new password."""

import re
import secrets
from collections.abc import Awaitable, Callable

from aiohttp import web
from multidict import MultiDict, MultiDictProxy
from sqlalchemy.ext.asyncio import AsyncSession

from bot.actions import duties, tickets
from bot.actions import officers as actions
from bot.actions.errors import ActionError
from bot.actions.residents import communities
from bot.console.texts import DAYS
from bot.console.visit import Visit
from bot.security.passwords import hash_password
from bot.store.access import access_officer
from bot.store.models import Officer, Role
from bot.store.queries import own_tickets
from bot.store.station_queries import beats, officers_in_order

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that look alike: it is read out or copied from paper
_GROUPS, _GROUP_LETTERS = 4, 4
_FIELDS = ("name", "badge", "phone", "wecom_userid")


def one_time_password() -> str:
    """Some 79 bits, in groups that can be read over the telephone."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(_GROUP_LETTERS)) for _ in range(_GROUPS))


async def show(visit: Visit) -> web.StreamResponse:
    return await _list(visit)


async def _list(visit: Visit, *, shown_once: tuple[str, str] | None = None) -> web.StreamResponse:
    async with visit.store.read() as session:
        officers = await officers_in_order(session, visit.station_id)
        who = await beats(session, visit.station_id)
    return visit.page(
        "officers.html",
        officers=officers,
        beats=who.by_officer,
        shown_once=shown_once,
        roles=list(Role),
        has_wecom=visit.desk.wecom is not None,
    )


async def add(visit: Visit) -> web.StreamResponse:
    """A new person with a password that is shown this once."""
    role, password = _role(visit), one_time_password()
    password_hash = await hash_password(password)
    async with visit.store.write() as session:
        officer = await actions.add_officer(
            session,
            visit.station_id,
            username=visit.text("username").casefold(),
            name=visit.text("name"),
            badge=visit.text("badge"),
            phone=visit.text("phone"),
            wecom_userid=visit.text("wecom_userid"),
            role=role,
            password_hash=password_hash,
            actor=visit.actor,
        )
    visit.form = MultiDictProxy(MultiDict())  # an empty form for the next one
    return await _list(visit, shown_once=(officer.username, password))


def _role(visit: Visit) -> Role:
    if visit.text("role") not in {role.value for role in Role}:
        raise ActionError("请选择岗位。")
    return Role(visit.text("role"))


# --- one of them ----------------------------------------------------------------------------------------------------


async def edit(visit: Visit) -> web.StreamResponse:
    return await _edit(visit)


async def _edit(visit: Visit, *, shown_once: str = "") -> web.StreamResponse:
    async with visit.store.read() as session:
        officer = await access_officer(session, visit.station_id, visit.number("id"))
        places = await communities(session, visit.station_id)
        who = await beats(session, visit.station_id)
    own = {str(community.id) for community in who.by_officer.get(officer.id, [])}
    duty = {day: "，".join(officer.duty.get(day, [])) for day in DAYS}
    typed = "save" in visit.form
    return visit.page(
        "officer.html",
        officer=officer,
        places=places,
        others={
            number: [row.name for row in rows if row.id != officer.id] for number, rows in who.by_community.items()
        },
        own=set(visit.texts("communities")) if typed else own,
        duty={day: visit.text(day) for day in DAYS} if typed else duty,
        filled={name: visit.text(name) if typed else getattr(officer, name) or "" for name in _FIELDS},
        has_wecom=visit.desk.wecom is not None,
        role=visit.text("role") if typed else officer.role.value,
        roles=list(Role),
        shown_once=shown_once,
    )


async def save(visit: Visit) -> web.StreamResponse:
    """Everything on the form in one transaction; what stayed the same leaves no trace."""
    role, duty = _role(visit), {day: shifts(visit.text(day)) for day in DAYS}
    async with visit.store.write() as session:
        officer = await access_officer(session, visit.station_id, visit.number("id"), lock=True)
        places = {str(place.id): place.id for place in await communities(session, visit.station_id)}
        chosen = visit.texts("communities")
        if any(value not in places for value in chosen):
            raise ActionError("所选社区已不存在，请刷新页面后重新选择。")
        await actions.set_details(
            session,
            officer,
            name=visit.text("name"),
            badge=visit.text("badge"),
            phone=visit.text("phone"),
            actor=visit.actor,
        )
        if visit.desk.wecom is not None:
            await actions.set_wecom(session, officer, visit.text("wecom_userid"), actor=visit.actor)
        await actions.set_role(session, officer, role, actor=visit.actor)
        if role not in duties.ANSWERING_ROLES:
            await _give_back(visit, session, officer)
        if {day: list(spans) for day, spans in duty.items() if spans} != officer.duty:
            await actions.set_duty(session, officer, duty, actor=visit.actor)
        before = {row.id for row in (await beats(session, visit.station_id)).by_officer.get(officer.id, [])}
        after = {places[value] for value in chosen}
        if before != after:
            await actions.set_communities(session, officer, sorted(after), actor=visit.actor)
    return visit.go(f"/console/officers/{officer.id}", done="officer_saved")


def shifts(typed: str) -> list[str]:
    """08:30-12:00，14:00-17:30 as a list, whatever the comma."""
    return sorted(part for part in re.split(r"[,，、;；\s]+", typed.replace("：", ":").replace("—", "-")) if part)


async def _give_back(visit: Visit, session: AsyncSession, officer: Officer) -> None:
    """What he had taken goes back into the queue: nobody may wait for somebody who will not come."""
    for ticket, _ in await own_tickets(session, officer):
        await tickets.release(session, ticket, officer, actor=visit.actor)


_Deed = Callable[[AsyncSession, Officer], Awaitable[object]]


async def _do(visit: Visit, deed: _Deed, *, done: str) -> web.StreamResponse:
    async with visit.store.write() as session:
        officer = await access_officer(session, visit.station_id, visit.number("id"), lock=True)
        await deed(session, officer)
    return visit.go(f"/console/officers/{officer.id}", done=done)


async def disable(visit: Visit) -> web.StreamResponse:
    async def deed(session: AsyncSession, officer: Officer) -> None:
        await actions.set_active(session, officer, False, actor=visit.actor)
        await _give_back(visit, session, officer)

    return await _do(visit, deed, done="officer_disabled")


async def enable(visit: Visit) -> web.StreamResponse:
    async def deed(session: AsyncSession, officer: Officer) -> None:
        await actions.set_active(session, officer, True, actor=visit.actor)

    return await _do(visit, deed, done="officer_enabled")


async def forget_factor(visit: Visit) -> web.StreamResponse:
    """A lost phone: he sets up a new authenticator at his next log-in, or under 我的."""

    async def deed(session: AsyncSession, officer: Officer) -> None:
        await actions.set_second_factor(session, officer, None, actor=visit.actor)

    return await _do(visit, deed, done="officer_factor_off")


async def reset_password(visit: Visit) -> web.StreamResponse:
    """A new password that is shown this once; no redirect, so that it stands in no address."""
    password = one_time_password()
    password_hash = await hash_password(password)
    async with visit.store.write() as session:
        officer = await access_officer(session, visit.station_id, visit.number("id"), lock=True)
        if officer.id == visit.officer.id:
            raise ActionError("自己的密码请在“我的”里修改。")
        await actions.set_password(session, officer, password_hash, actor=visit.actor)
    return await _edit(visit, shown_once=password)

"""Warnings: the list, writing one, its page, and everything done to it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import audiences, results, wecom_tasks
from bot.actions import broadcasts as actions
from bot.actions.audiences import Audience
from bot.actions.broadcasts import Draft
from bot.actions.errors import ActionError
from bot.actions.residents import OCCUPATIONS, communities
from bot.actions.warning_templates import TEMPLATES, WarningTemplate
from bot.console.dates import for_field, future_moment
from bot.console.texts import GENDERS, LANGUAGES
from bot.console.visit import Visit
from bot.security.permissions import Permission
from bot.store.access import access_broadcast
from bot.store.models import Broadcast, BroadcastState, Community, Officer, Repeat
from bot.store.station_queries import (
    arrivals,
    ended_broadcasts,
    last_sent_back,
    stopped_because,
    undelivered,
    unfinished_broadcasts,
    weeks_of,
)
from bot.wecom import WeComRefused

WHY_CHARACTERS = 100
_NOT_YET_ON_ITS_WAY = (BroadcastState.DRAFT, BroadcastState.SUBMITTED, BroadcastState.APPROVED)


# --- the list -------------------------------------------------------------------------------------------------------

_FOR_WRITERS = (BroadcastState.SENDING, BroadcastState.DRAFT, BroadcastState.SUBMITTED, BroadcastState.APPROVED)
_FOR_APPROVERS = (BroadcastState.SUBMITTED, BroadcastState.SENDING, BroadcastState.APPROVED, BroadcastState.DRAFT)


async def listing(visit: Visit) -> web.StreamResponse:
    """What needs somebody, by state; then what is over, by pages."""
    number = max(1, visit.asked_number("page") or 1)
    async with visit.store.read() as session:
        unfinished = await unfinished_broadcasts(session, visit.station_id) if number == 1 else []
        ended, more = await ended_broadcasts(session, visit.station_id, number)
        arrived = await arrivals(session, [row.id for row in (*unfinished, *ended)])
        places = await _places(session, visit.station_id)
    order = _FOR_APPROVERS if visit.may(Permission.APPROVE) else _FOR_WRITERS
    groups = [(state, [row for row in unfinished if row.state is state]) for state in order]
    return visit.page(
        "broadcasts.html",
        groups=[(state, rows) for state, rows in groups if rows],
        ended=ended,
        arrived=arrived,
        audience={row.id: in_words(Audience.from_json(row.audience), places) for row in (*unfinished, *ended)},
        number=number,
        more=more,
    )


async def _places(session: AsyncSession, station_id: int) -> dict[int, str]:
    return {community.id: community.name for community in await communities(session, station_id)}


def in_words(audience: Audience, places: Mapping[int, str]) -> str:
    """An audience as a person says it: 女 · 60 岁以上 · 青山村、石门村."""
    parts = ["、".join(GENDERS[gender] for gender in audience.genders)] if audience.genders else []
    if audience.age_from is not None and audience.age_to is not None:
        parts.append(f"{audience.age_from} 至 {audience.age_to} 岁")
    elif audience.age_from is not None:
        parts.append(f"{audience.age_from} 岁及以上")
    elif audience.age_to is not None:
        parts.append(f"{audience.age_to} 岁及以下")
    if audience.occupations:
        parts.append("、".join(audience.occupations))
    if audience.communities:
        parts.append("、".join(places.get(number, "已不存在的社区") for number in audience.communities))
    if audience.languages:
        parts.append("、".join(LANGUAGES.get(language, language) for language in audience.languages))
    return " · ".join(parts) or "全体居民"


# --- writing one ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Filled:
    """What stands in the form: as it was typed, or from the row or template it begins with."""

    title: str = ""
    body: str = ""
    template: str = ""
    age_from: str = ""
    age_to: str = ""
    occupations: Sequence[str] = ()
    communities: Sequence[str] = ()
    languages: Sequence[str] = ()
    genders: Sequence[str] = ()
    when: str = "now"
    send_at: str = ""
    expires_at: str = ""
    version: str = ""


def _typed(visit: Visit) -> Filled:
    names = ("title", "body", "template", "age_from", "age_to", "when", "send_at", "expires_at", "version")
    several = ("occupations", "communities", "languages", "genders")
    return Filled(
        **{name: visit.text(name) for name in names},
        **{name: visit.texts(name) for name in several},  # type: ignore[arg-type]
    )


def _audience_filled(audience: Audience) -> dict[str, Any]:
    return {
        "age_from": "" if audience.age_from is None else str(audience.age_from),
        "age_to": "" if audience.age_to is None else str(audience.age_to),
        "occupations": audience.occupations,
        "communities": [str(number) for number in audience.communities],
        "languages": audience.languages,
        "genders": audience.genders,
    }


def _from_row(row: Broadcast, zone: ZoneInfo) -> Filled:
    when = "weekly" if row.repeat is Repeat.WEEKLY else "at" if row.send_at else "now"
    return Filled(
        title=row.title,
        body=row.body,
        template=row.template or "",
        when=when,
        send_at=for_field(row.send_at, zone),
        expires_at=for_field(row.expires_at, zone),
        version=str(row.version),
        **_audience_filled(Audience.from_json(row.audience)),
    )


def _from_template(template: WarningTemplate) -> Filled:
    return Filled(
        title=template.title, body=template.body, template=template.key, **_audience_filled(template.audience)
    )


async def new(visit: Visit) -> web.StreamResponse:
    """An empty form, one begun from a template, or the one that was refused."""
    if visit.form:
        filled = _typed(visit)
    else:
        template = TEMPLATES.get(visit.asked("template"))
        filled = _from_template(template) if template else Filled()
    return await _form(visit, filled, None)


async def edit(visit: Visit) -> web.StreamResponse:
    async with visit.store.read() as session:
        row = await access_broadcast(session, visit.station_id, visit.number("id"))
    if row.state not in _NOT_YET_ON_ITS_WAY and not visit.form:
        return visit.go(f"/console/broadcasts/{row.id}")
    return await _form(visit, _typed(visit) if visit.form else _from_row(row, visit.desk.zone), row)


async def _form(visit: Visit, filled: Filled, row: Broadcast | None) -> web.StreamResponse:
    async with visit.store.read() as session:
        places = await communities(session, visit.station_id)
        reached = await _reached(visit, session, filled, places)
    return visit.page(
        "broadcast_form.html",
        row=row,
        filled=filled,
        template=TEMPLATES.get(filled.template),
        templates=TEMPLATES.values(),
        places=places,
        occupations=OCCUPATIONS,
        title_characters=actions.TITLE_CHARACTERS,
        body_characters=actions.BODY_CHARACTERS,
        words_only=_words_only(visit),
        **reached,
    )


def _words_only(visit: Visit) -> bool:
    """Whether some residents get a warning without its picture: a mass message of an account is words or a picture."""
    return any(rules.mass for rules in visit.desk.rules.values())


async def reach(visit: Visit) -> web.StreamResponse:
    """How many residents the audience in the form has now, and three of them: a part of the form."""
    async with visit.store.read() as session:
        places = await communities(session, visit.station_id)
        reached = await _reached(visit, session, _typed(visit), places)
    return visit.page("broadcast_reach.html", **reached)


async def _reached(visit: Visit, session: AsyncSession, filled: Filled, places: Sequence[Community]) -> dict[str, Any]:
    names = {place.id: place.name for place in places}
    try:
        audience = _audience(filled, places)
        found = await audiences.reach(session, visit.station_id, audience)
    except ActionError as problem:
        return {"reach": None, "reach_problem": str(problem), "audience_words": "", "place_names": names}
    return {"reach": found, "reach_problem": "", "audience_words": in_words(audience, names), "place_names": names}


def _audience(filled: Filled, places: Sequence[Community]) -> Audience:
    """The audience of a form; who chose what the form does not offer is told so."""
    numbers = {str(place.id): place.id for place in places}
    for chosen, offered in (
        (filled.occupations, OCCUPATIONS),
        (filled.communities, numbers),
        (filled.languages, LANGUAGES),
        (filled.genders, GENDERS),
    ):
        if any(value not in offered for value in chosen):
            raise ActionError("所选的人群中有本所没有的选项，请刷新页面后重新选择。")
    return Audience(
        age_from=_age(filled.age_from),
        age_to=_age(filled.age_to),
        occupations=tuple(occupation for occupation in OCCUPATIONS if occupation in filled.occupations),
        communities=tuple(sorted({numbers[value] for value in filled.communities})),
        languages=tuple(language for language in LANGUAGES if language in filled.languages),
        genders=tuple(gender for gender in GENDERS if gender in filled.genders),
    )


def _age(typed: str) -> int | None:
    if not typed:
        return None
    if not (typed.isascii() and typed.isdecimal() and len(typed) <= 3):
        raise ActionError("年龄请填 0 到 120 之间的整数。")
    return int(typed)


async def _uploaded(visit: Visit) -> bytes:
    """The picture chosen in the form, read before the transaction: nobody waits for the database because of it."""
    upload = visit.upload("picture")
    return b"" if upload is None else await asyncio.to_thread(upload.file.read)


async def _picture(visit: Visit, session: AsyncSession, uploaded: bytes, before: int | None) -> int | None:
    """The picture chosen in the form, else the one before, unless it was taken away."""
    if uploaded:
        return await actions.keep_picture(session, visit.station_id, uploaded)
    return None if visit.text("without_picture") else before


async def _draft(visit: Visit, session: AsyncSession, uploaded: bytes, *, before: int | None) -> Draft:
    filled, zone = _typed(visit), visit.desk.zone
    if filled.when not in ("now", "at", "weekly"):
        raise ActionError("请选择什么时候发送。")
    send_at = future_moment(filled.send_at, zone, "发送时间") if filled.when != "now" else None
    if filled.when == "at" and send_at is None:
        raise ActionError("定时发送的提醒要填发送时间。")
    return Draft(
        title=filled.title,
        body=filled.body,
        audience=_audience(filled, await communities(session, visit.station_id)),
        template=filled.template if filled.template in TEMPLATES else None,
        repeat=Repeat.WEEKLY if filled.when == "weekly" else Repeat.ONCE,
        send_at=send_at,
        expires_at=future_moment(filled.expires_at, zone, "失效时间"),
        picture=await _picture(visit, session, uploaded, before),
    )


async def create(visit: Visit) -> web.StreamResponse:
    """Saved as a draft, or submitted at once."""
    uploaded = await _uploaded(visit)
    async with visit.store.write() as session:
        draft = await _draft(visit, session, uploaded, before=None)
        row = await actions.create(session, visit.officer, draft, actor=visit.actor)
        await _submit_if_asked(visit, session, row)
    return visit.go(f"/console/broadcasts/{row.id}", done=_saved(visit))


async def save(visit: Visit) -> web.StreamResponse:
    """A changed warning; an approval it had is void."""
    version = visit.text("version")
    if not (version.isascii() and version.isdecimal() and len(version) <= 9):
        raise ActionError("页面已过期，请刷新后再改。")
    uploaded = await _uploaded(visit)
    async with visit.store.write() as session:
        row = await access_broadcast(session, visit.station_id, visit.number("id"), lock=True)
        draft = await _draft(visit, session, uploaded, before=row.media_id)
        await actions.edit(session, row, visit.officer, draft, version=int(version), actor=visit.actor)
        await _submit_if_asked(visit, session, row)
    return visit.go(f"/console/broadcasts/{row.id}", done=_saved(visit))


async def _submit_if_asked(visit: Visit, session: AsyncSession, row: Broadcast) -> None:
    if visit.text("then") == "submit":
        await actions.submit(session, row, actor=visit.actor)


def _saved(visit: Visit) -> str:
    return "warning_submitted" if visit.text("then") == "submit" else "warning_saved"


# --- one warning ----------------------------------------------------------------------------------------------------


async def show(visit: Visit) -> web.StreamResponse:
    """Everything about one warning: what stands in it, how far it is, whom it did not reach."""
    number = max(1, visit.asked_number("page") or 1)
    async with visit.store.read() as session:
        row = await access_broadcast(session, visit.station_id, visit.number("id"))
        places = await _places(session, visit.station_id)
        audience = Audience.from_json(row.audience)
        missed, more = await undelivered(session, visit.station_id, row.id, number)
        values: dict[str, Any] = {
            "progress": await results.progress(session, row.id),
            "tasks": await wecom_tasks.of_broadcast(session, row.id, now=clock.now()),
            "mass": await results.mass_summary(session, row.id),
            "reach": await audiences.reach(session, visit.station_id, audience),
            "weeks": await weeks_of(session, visit.station_id, row.id) if row.repeat is Repeat.WEEKLY else [],
            "sent_back": await last_sent_back(session, visit.station_id, row.id)
            if row.state is BroadcastState.DRAFT
            else None,
            "stopped": await stopped_because(session, visit.station_id, row.id)
            if row.state is BroadcastState.CANCELLED
            else None,
        }
    early = row.state in _NOT_YET_ON_ITS_WAY
    return visit.page(
        "broadcast.html",
        row=row,
        seal=actions.seal_of(row),
        audience_words=in_words(audience, places),
        missed=missed,
        more=more,
        number=number,
        template=TEMPLATES.get(row.template or ""),
        can_edit=early and visit.may(Permission.WARN),
        can_submit=row.state is BroadcastState.DRAFT and visit.may(Permission.WARN),
        can_approve=row.state is BroadcastState.SUBMITTED and visit.may(Permission.APPROVE),
        own=row.author_id == visit.officer.id,
        can_stop=early or row.state is BroadcastState.SENDING,
        why_characters=WHY_CHARACTERS,
        words_only=_words_only(visit),
        **values,
    )


_Deed = Callable[[AsyncSession, Broadcast, Officer], Awaitable[object]]


async def _do(visit: Visit, deed: _Deed, *, done: str) -> web.StreamResponse:
    """One change of a warning in one transaction, then its page again."""
    async with visit.store.write() as session:
        row = await access_broadcast(session, visit.station_id, visit.number("id"), lock=True)
        await deed(session, row, visit.officer)
    return visit.go(f"/console/broadcasts/{row.id}", done=done)


async def submit(visit: Visit) -> web.StreamResponse:
    async def deed(session: AsyncSession, row: Broadcast, _officer: Officer) -> None:
        await actions.submit(session, row, actor=visit.actor)

    return await _do(visit, deed, done="warning_submitted")


async def approve(visit: Visit) -> web.StreamResponse:
    """Exactly what the page showed: its seal comes back with the form."""

    async def deed(session: AsyncSession, row: Broadcast, officer: Officer) -> None:
        await actions.approve(session, row, officer, seal=visit.text("seal"), actor=visit.actor)

    return await _do(visit, deed, done="warning_approved")


async def send_back(visit: Visit) -> web.StreamResponse:
    why = _why(visit, "请写明退回的原因。")

    async def deed(session: AsyncSession, row: Broadcast, officer: Officer) -> None:
        await actions.send_back(session, row, officer, why=why, actor=visit.actor)

    return await _do(visit, deed, done="warning_sent_back")


async def stop(visit: Visit) -> web.StreamResponse:
    why = _why(visit, "请写明停止的原因。")

    async def deed(session: AsyncSession, row: Broadcast, _officer: Officer) -> None:
        await actions.stop(session, row, why=why, actor=visit.actor)

    return await _do(visit, deed, done="warning_stopped")


async def remind(visit: Visit) -> web.StreamResponse:
    """Ask an officer once more to tap in WeCom."""
    if visit.desk.wecom is None:
        raise web.HTTPNotFound
    number = int(visit.request.match_info["task"])
    async with visit.store.read() as session:
        task = await wecom_tasks.access(session, visit.station_id, visit.number("id"), number)
        msgid = wecom_tasks.check_reminder(task)
    try:
        await visit.desk.wecom.remind(msgid)
    except WeComRefused as refused:
        raise ActionError(refused.reason) from refused
    async with visit.store.write() as session:
        task = await wecom_tasks.access(session, visit.station_id, visit.number("id"), number, lock=True)
        await wecom_tasks.reminded(session, task, actor=visit.actor)
    return visit.go(f"/console/broadcasts/{task.broadcast_id}", done="task_reminded", part="tasks")


def _why(visit: Visit, missing: str) -> str:
    why = visit.text("why")
    if not why:
        raise ActionError(missing)
    if len(why) > WHY_CHARACTERS:
        raise ActionError(f"原因最多 {WHY_CHARACTERS} 个字，请写简短些。")
    return why

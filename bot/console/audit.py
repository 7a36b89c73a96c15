"""The audit log: who did what, when and why, and whether the chain still holds."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from bot.actions.audit import Broken, check_chain, record, viewed_lately
from bot.actions.errors import ActionError
from bot.console.dates import day, span_of_days
from bot.console.station_texts import AUDIT_ACTIONS, AUDIT_BROKEN, AUDIT_CUT_OFF, AUDIT_MISSING, AUDIT_SUBJECTS
from bot.console.visit import Visit
from bot.store.models import Officer
from bot.store.queries import station_officers
from bot.store.station_queries import AuditFilter, audit_events


async def show(visit: Visit) -> web.StreamResponse:
    await _record_view(visit)
    return await _page(visit)


async def check(visit: Visit) -> web.StreamResponse:
    """Read the whole chain; the answer stands on this one page."""
    async with visit.store.read() as session:
        checked = await check_chain(session, visit.station_id)
    async with visit.store.write() as session:
        details = {"events": checked.events, "broken": len(checked.broken)}
        await record(session, visit.actor, "audit.checked", f"station:{visit.station_id}", details=details)
    return await _page(visit, checked=checked, broken=[(at.seq, in_words(at)) for at in checked.broken])


async def _page(visit: Visit, **checked: Any) -> web.StreamResponse:
    try:
        wanted = _wanted(visit)
    except ActionError as refusal:
        visit.problem, wanted = str(refusal), AuditFilter()
    async with visit.store.read() as session:
        events, more = await audit_events(session, visit.station_id, wanted)
        officers = await station_officers(session, visit.station_id)
    query = {name: visit.asked(name) for name in ("officer", "action", "since", "until") if visit.asked(name)}
    values = {"checked": None, "broken": []} | checked
    return visit.page(
        "audit.html",
        events=[(event, subject_in_words(event.subject, officers)) for event in events],
        more=more,
        officers=officers,
        filled=query,
        older=visit.request.rel_url.with_path("/console/audit").with_query(query | {"before": events[-1].seq})
        if more
        else "",
        **values,
    )


def _wanted(visit: Visit) -> AuditFilter:
    action = visit.asked("action")
    if action and action not in AUDIT_ACTIONS:
        raise ActionError("没有这种操作，请从列表中选择。")
    since, until = span_of_days(
        day(visit.asked("since"), "开始日期"), day(visit.asked("until"), "结束日期"), visit.desk.zone
    )
    return AuditFilter(visit.asked_number("officer"), action, since, until, visit.asked_number("before"))


async def _record_view(visit: Visit) -> None:
    subject = f"audit:{visit.officer.id}"
    async with visit.store.write() as session:
        if not await viewed_lately(session, visit.actor, "audit.viewed", subject):
            await record(session, visit.actor, "audit.viewed", subject)


def subject_in_words(subject: str, officers: Mapping[int, Officer]) -> str:
    """ticket:7 -> 工单 7, officer:3 -> 人员 陈建国"""
    kind, _, number = subject.partition(":")
    if kind == "audit":  # its number is the reader's, who stands in the row already
        return AUDIT_SUBJECTS[kind]
    officer = officers.get(int(number)) if kind == "officer" and number.isdecimal() else None
    named = officer.name if officer else "（未知）" if number == "unknown" else number
    return f"{AUDIT_SUBJECTS.get(kind, kind)} {named}".strip()


def in_words(broken: Broken) -> str:
    """What is wrong with a link, in Chinese."""
    if broken.problem.endswith("are missing"):
        return AUDIT_MISSING
    return AUDIT_BROKEN.get(broken.problem, AUDIT_CUT_OFF)

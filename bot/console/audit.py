"""The audit log: who did what, when and why, and whether the chain still holds."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from aiohttp import web

from bot.actions.audit import Broken, check_chain, record, viewed_lately
from bot.actions.errors import ActionError
from bot.console.dates import day, span_of_days
from bot.console.station_texts import (
    AUDIT_ACTIONS,
    AUDIT_BROKEN,
    AUDIT_CUT_OFF,
    AUDIT_DETAILS,
    AUDIT_MISSING,
    AUDIT_SUBJECTS,
    AUDIT_VALUES,
)
from bot.console.texts import CHANNELS, DAYS
from bot.console.visit import Visit
from bot.store.models import AuditEvent, Officer
from bot.store.queries import station_officers
from bot.store.station_queries import AuditFilter, audit_events, ticket_numbers


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
        numbers = await ticket_numbers(session, visit.station_id, _tickets_in(events))
    query = {name: visit.asked(name) for name in ("officer", "action", "since", "until") if visit.asked(name)}
    values = {"checked": None, "broken": []} | checked
    return visit.page(
        "audit.html",
        events=[
            (
                event,
                subject_in_words(event.subject, officers, numbers),
                details_in_words(visit, event, officers, numbers),
            )
            for event in events
        ],
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


def _tickets_in(events: Iterable[AuditEvent]) -> set[int]:
    """The tickets these events are about or name, to show the numbers that people use."""
    subjects = (event.subject.removeprefix("ticket:") for event in events if event.subject.startswith("ticket:"))
    named = (event.details.get("ticket") for event in events)
    return {int(number) for number in subjects if number.isdecimal()} | {n for n in named if isinstance(n, int)}


def subject_in_words(subject: str, officers: Mapping[int, Officer], tickets: Mapping[int, str]) -> str:
    """ticket:7 -> 工单 20261122-0007, officer:3 -> 人员 陈建国"""
    kind, _, number = subject.partition(":")
    if kind == "audit":  # its number is the reader's, who stands in the row already
        return AUDIT_SUBJECTS[kind]
    named = "（未知）" if number == "unknown" else number
    if number.isdecimal() and kind == "officer":
        named = _name(int(number), officers)
    elif number.isdecimal() and kind == "ticket":
        named = tickets.get(int(number), number)
    return f"{AUDIT_SUBJECTS.get(kind, kind)} {named}".strip()


def _name(officer_id: int, officers: Mapping[int, Officer]) -> str:
    return officers[officer_id].name if officer_id in officers else str(officer_id)


def details_in_words(
    visit: Visit, event: AuditEvent, officers: Mapping[int, Officer], tickets: Mapping[int, str]
) -> str:
    """{"outcome": "no_reply", "to": 3} -> 结果 居民未再回复；至 陈建国"""

    def said(name: str, value: Any) -> str:
        if isinstance(value, bool):
            return "是" if value else "否"
        if isinstance(value, list):
            return "、".join(said(name, one) for one in value)
        if isinstance(value, dict):
            return "，".join(f"{DAYS.get(key, key)} {said(name, one)}" for key, one in value.items()) or "无"
        if name == "officer" or (name == "to" and event.action == "ticket.handed_over"):
            return _name(value, officers)
        if name == "topic" or event.action == "ticket.topic":
            return visit.desk.runtime.topic_title(value)
        if name in ("since", "until"):
            return f"{visit.local(datetime.fromisoformat(value)):%Y-%m-%d %H:%M}"
        tables: dict[str, Mapping[Any, str]] = {"ticket": tickets, "channel": _channels(visit), **AUDIT_VALUES}
        return str(tables.get(name, {}).get(value, value))

    shown = ((name, value) for name, value in event.details.items() if value is not None and value != "")
    return "；".join(f"{AUDIT_DETAILS.get(name, name)} {said(name, value)}" for name, value in shown)


def _channels(visit: Visit) -> dict[str, str]:
    return {name: CHANNELS.get(kind, name) for name, kind in visit.desk.channels.items()}


def in_words(broken: Broken) -> str:
    """What is wrong with a link, in Chinese."""
    if broken.problem.endswith("are missing"):
        return AUDIT_MISSING
    return AUDIT_BROKEN.get(broken.problem, AUDIT_CUT_OFF)

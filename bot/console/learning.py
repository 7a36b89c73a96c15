"""What was not understood, and the versions that come of it: written, measured, approved, rolled back."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Any

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import entry_versions as actions
from bot.actions import learning, measuring
from bot.actions.audit import record, viewed_lately
from bot.actions.errors import ActionError, Conflict
from bot.console.learning_texts import ENTRY_FIELDS, FAMILIES, ROUTES
from bot.console.visit import Visit
from bot.store.access import access_entry_version
from bot.store.learning_queries import (
    in_work,
    live_content,
    live_state,
    not_understood,
    questions_by_id,
    settled,
    versions,
)
from bot.store.models import EntryVersion, Officer, VersionState

DAYS = (7, 30, 90)
GROUPS_SHOWN = 40
SENTENCES_SHOWN = 12  # of one group; the others stay for the next time
_ID_DIGITS = 18


# --- not understood -------------------------------------------------------------------------------------------------


async def show(visit: Visit) -> web.StreamResponse:
    days = visit.asked_number("days")
    days = days if days in DAYS else 30
    async with visit.store.read() as session:
        asked = await not_understood(session, visit.station_id, since=clock.now() - timedelta(days=days))
        done = await settled(session, visit.station_id)
        waiting = await in_work(session, visit.station_id)
    knowledge = visit.desk.runtime.knowledge
    found = await asyncio.to_thread(learning.groups, asked, done, knowledge)
    await _record_view(visit)
    return visit.page(
        "learning.html",
        groups=found[:GROUPS_SHOWN],
        group_count=len(found),
        question_count=sum(group.count for group in found),
        sentences_shown=SENTENCES_SHOWN,
        days=days,
        periods=DAYS,
        waiting=waiting,
        topics=topic_choices(visit),
    )


async def _record_view(visit: Visit) -> None:
    """Sentences of residents were shown, though without names and numbers."""
    subject = f"station:{visit.station_id}"
    async with visit.store.read() as session:
        seen = await viewed_lately(session, visit.actor, "learning.viewed", subject)
    if not seen:
        async with visit.store.write() as session:
            await record(session, visit.actor, "learning.viewed", subject)


def topic_choices(visit: Visit) -> list[tuple[str, str]]:
    """What the topic picker offers: (what is typed or picked, the topic), the titles in order of their families."""
    entries = visit.desk.runtime.knowledge.entries
    order = list(FAMILIES)
    found = [
        (order.index(family) if family in order else len(order), entry.title, topic)
        for topic, entry in entries.items()
        if (family := topic.partition(".")[0]) not in ("none", "emergency")
    ]
    return [(f"{title} · {topic}", topic) for _, title, topic in sorted(found)]


def _picked_topic(visit: Visit) -> str:
    """The topic picked from the list, or typed as its title or its id."""
    typed = visit.text("topic")
    entries = visit.desk.runtime.knowledge.entries
    topic = typed.rpartition("·")[2].strip()
    if topic not in entries:
        same = [name for name, entry in entries.items() if entry.title == typed]
        topic = same[0] if len(same) == 1 else topic
    actions.check_topic(topic, visit.desk.runtime.knowledge)
    return topic


def _chosen_ids(visit: Visit) -> list[int]:
    """The numbers of the messages whose sentences were ticked."""
    return _ids(visit.texts("message"))


def _ids(values: list[str]) -> list[int]:
    return [int(value) for value in values if value.isascii() and value.isdecimal() and len(value) <= _ID_DIGITS]


async def _keys(visit: Visit, ids: list[int]) -> dict[int, str]:
    if not ids:
        raise ActionError("请先勾选句子。")
    async with visit.store.read() as session:
        return await questions_by_id(session, visit.station_id, ids)


async def put_under_topic(visit: Visit) -> web.StreamResponse:
    """The ticked sentences, as the officer corrected them, become ways of asking of a topic: a draft."""
    topic, knowledge = _picked_topic(visit), visit.desk.runtime.knowledge
    asked = await _keys(visit, _chosen_ids(visit))
    typed = [visit.text(f"text-{number}") or body for number, body in asked.items()]
    phrases = await asyncio.to_thread(actions.check_phrases, typed, topic, knowledge)
    keys = {learning.sentence_key(body) for body in asked.values()}
    async with visit.store.write() as session:
        version = await actions.put_under_topic(session, visit.officer, topic, phrases, keys, actor=visit.actor)
    return visit.go("/console/learning/versions", done="phrases_drafted", part=f"version-{version.id}")


async def dismiss(visit: Visit) -> web.StreamResponse:
    asked = await _keys(visit, _chosen_ids(visit))
    keys = {learning.sentence_key(body) for body in asked.values()}
    async with visit.store.write() as session:
        await learning.dismiss(session, visit.officer, keys, actor=visit.actor)
    return visit.go("/console/learning", done="sentences_dismissed")


# --- writing an entry -----------------------------------------------------------------------------------------------


async def new(visit: Visit) -> web.StreamResponse:
    """An empty form, with the ticked sentences as its phrases if there are any."""
    ids = _chosen_ids(visit) or _ids(visit.request.query.getall("message", []))
    asked: dict[int, str] = await _keys(visit, ids) if ids else {}
    phrases = [visit.text(f"text-{number}") or learning.without_numbers(body) for number, body in asked.items()]
    values = {"phrases": "\n".join(phrases), "route": "answer"}
    return _form(visit, None, values, messages=list(asked))


async def change(visit: Visit) -> web.StreamResponse:
    """The form of a topic as it is now: the version being worked on, or what is live, over the shipped entry."""
    topic = visit.request.match_info["topic"]
    content = await _content_now(visit, topic)
    shipped = visit.desk.runtime.knowledge.shipped.get(topic)
    if (shipped is None and not content) or topic.startswith(("none.", "emergency.")):
        raise web.HTTPNotFound
    values = {
        name: _lines(content.get(name, "")) for name in (*(field for field, *_ in ENTRY_FIELDS), "owner", "title")
    }
    source = (content.get("sources") or [{}])[0]
    values |= {
        "phrases": "\n".join(content.get("phrases", [])),
        "route": content.get("route", shipped.route if shipped else "answer"),
        "department": content.get("department", ""),
        "number": content.get("number", ""),
        "rule": source.get("rule", ""),
        "article": source.get("article", ""),
        "in_force": source.get("in_force", ""),
    }
    return _form(visit, topic, values)


async def _content_now(visit: Visit, topic: str | None) -> dict[str, Any]:
    """The station's own text on a topic: being worked on, else live, else nothing."""
    if topic is None:
        return {}
    async with visit.store.read() as session:
        found = await versions(session, visit.station_id, topic=topic)
    newest = [*found[VersionState.DRAFT], *found[VersionState.SUBMITTED], *found[VersionState.LIVE]]
    return newest[0].content if newest else {}


def _lines(value: Any) -> str:
    return "\n".join(value) if isinstance(value, list) else str(value)


def _dates() -> dict[str, str]:
    today = clock.now().date()
    return {"checked": today.isoformat(), "review_by": (today + timedelta(days=365)).isoformat()}


def _form(
    visit: Visit, topic: str | None, values: dict[str, str], *, messages: list[int] | None = None
) -> web.StreamResponse:
    shipped = visit.desk.runtime.knowledge.shipped.get(topic or "")
    return visit.page(
        "entry_form.html",
        topic=topic,
        shipped=shipped,
        values={**_empty(), **values},
        fields=ENTRY_FIELDS,
        routes=ROUTES,
        messages=messages or [],
    )


async def save_again(visit: Visit) -> web.StreamResponse:
    """The form after a refusal, with what was typed."""
    values = {name: value for name, value in visit.form.items() if isinstance(value, str)}
    topic = visit.request.match_info.get("topic")
    return _form(visit, topic, values, messages=_chosen_ids(visit))


def _empty() -> dict[str, str]:
    names = [name for name, *_ in ENTRY_FIELDS]
    names += ["title", "route", "owner", "phrases", "department", "number", "rule", "article", "in_force"]
    return {**dict.fromkeys(names, ""), **_dates()}


async def save(visit: Visit) -> web.StreamResponse:
    topic = visit.request.match_info.get("topic")
    knowledge = visit.desk.runtime.knowledge
    content = _content(visit, await _content_now(visit, topic), topic)
    phrases = visit.text("phrases").split("\n")
    content["phrases"] = await asyncio.to_thread(actions.check_phrases, phrases, topic, knowledge)
    ids = _chosen_ids(visit)
    keys = {learning.sentence_key(body) for body in (await _keys(visit, ids)).values()} if ids else set()
    async with visit.store.write() as session:
        version = await actions.write_entry(
            session, visit.officer, content, knowledge, topic=topic, sentences=keys, actor=visit.actor
        )
    return visit.go("/console/learning/versions", done="entry_drafted", part=f"version-{version.id}")


def _content(visit: Visit, now: dict[str, Any], topic: str | None) -> dict[str, Any]:
    """What was filled in; over a shipped entry an empty field leaves the shipped text. What the form lacks stays."""
    shipped = visit.desk.runtime.knowledge.shipped.get(topic or "")
    names = ("title", "owner", "department", "number", *(field for field, *_ in ENTRY_FIELDS))
    content = {name: value for name, value in now.items() if name not in (*names, "route", "phrases", "sources")}
    for name in names:
        if value := visit.text(name):
            content[name] = [line for line in value.split("\n") if line.strip()] if name == "bring" else value
    route = visit.text("route") if visit.text("route") in ROUTES else "answer"
    if shipped is None or route != shipped.route:
        content["route"] = route
    source = {"rule": visit.text("rule"), "article": visit.text("article"), "in_force": visit.text("in_force")}
    if source["rule"]:
        content["sources"] = [{name: value for name, value in source.items() if value}, *now.get("sources", [])[1:]]
    if shipped is None or any(name in content for name in (*names, "route", "sources")):
        # who changes a text has checked it
        content["checked"], content["review_by"] = _date(visit, "checked"), _date(visit, "review_by")
    return content


def _date(visit: Visit, name: str) -> str:
    try:
        return date.fromisoformat(visit.text(name)).isoformat()
    except ValueError as error:
        raise ActionError("日期请按 2026-11-22 的样子填写。") from error


# --- versions -------------------------------------------------------------------------------------------------------


async def show_versions(visit: Visit) -> web.StreamResponse:
    async with visit.store.read() as session:
        found = await versions(session, visit.station_id)
        content = await live_content(session, visit.station_id)
        state = await live_state(session, visit.station_id)
    open_ones = sorted(
        (*found[VersionState.DRAFT], *found[VersionState.SUBMITTED]), key=lambda version: version.id, reverse=True
    )
    return visit.page(
        "versions.html",
        open_ones=open_ones,
        changes={version.id: _changes(version, content.get(version.topic, {})) for version in open_ones},
        seals={version.id: actions.seal_of(version) for version in open_ones},
        stale={
            version.id: version.measured is not None and version.measured["versions"] != list(state.versions)
            for version in open_ones
        },
        live=found[VersionState.LIVE],
        rest=sorted((*found[VersionState.RETIRED], *found[VersionState.REFUSED]), key=lambda row: -row.id),
        can_approve=visit.officer.role in actions.APPROVING_ROLES,
        why_characters=200,
    )


def _changes(version: EntryVersion, live: dict[str, Any]) -> dict[str, Any]:
    """Against what is live: phrases that come and go, and the fields with other texts."""
    before, after = live.get("phrases", []), version.content.get("phrases", [])
    return {
        "added": [phrase for phrase in after if phrase not in before],
        "gone": [phrase for phrase in before if phrase not in after],
        "fields": {
            name: value for name, value in version.content.items() if name != "phrases" and live.get(name) != value
        },
    }


_Deed = Callable[[AsyncSession, EntryVersion, Officer], Awaitable[object]]


async def _do(visit: Visit, deed: _Deed, *, done: str, goes_live: bool = False) -> web.StreamResponse:
    """One change of a version in one transaction; when it changes what is live, it is so at once in this process."""
    async with visit.store.write() as session:
        version = await access_entry_version(session, visit.station_id, visit.number("id"), lock=True)
        await deed(session, version, visit.officer)
    if goes_live:
        await visit.desk.runtime.refresh()
    return visit.go("/console/learning/versions", done=done)


async def submit(visit: Visit) -> web.StreamResponse:
    """Measure it against what is live now, then hand it in; the measure takes a second or two."""
    runtime = visit.desk.runtime
    await runtime.refresh()
    before, ids = runtime.knowledge, runtime.versions
    async with visit.store.read() as session:
        version = await access_entry_version(session, visit.station_id, visit.number("id"))
        own = await live_content(session, visit.station_id)
        if (await live_state(session, visit.station_id)).versions != ids:
            raise Conflict("线上的知识刚刚有变化，请再点一次。")
    content = version.content
    labelled = await asyncio.to_thread(measuring.labelled_questions, runtime.config.knowledge.questions)
    measured = await asyncio.to_thread(
        measuring.measure, before, own, {version.topic: {**content, "topic": version.topic}}, labelled, ids
    )

    async def deed(session: AsyncSession, version: EntryVersion, officer: Officer) -> None:
        await actions.submit(session, version, officer, content, measured, actor=visit.actor)

    return await _do(visit, deed, done="version_submitted")


async def approve(visit: Visit) -> web.StreamResponse:
    async def deed(session: AsyncSession, version: EntryVersion, officer: Officer) -> None:
        await actions.approve(session, version, officer, seal=visit.text("seal"), actor=visit.actor)

    return await _do(visit, deed, done="version_live", goes_live=True)


async def refuse(visit: Visit) -> web.StreamResponse:
    async def deed(session: AsyncSession, version: EntryVersion, officer: Officer) -> None:
        await actions.refuse(session, version, officer, why=visit.text("why"), actor=visit.actor)

    return await _do(visit, deed, done="version_refused")


async def remove_phrase(visit: Visit) -> web.StreamResponse:
    async def deed(session: AsyncSession, version: EntryVersion, officer: Officer) -> None:
        await actions.remove_phrase(session, version, officer, visit.text("phrase"), actor=visit.actor)

    return await _do(visit, deed, done="phrase_removed")


async def roll_back(visit: Visit) -> web.StreamResponse:
    async def deed(session: AsyncSession, version: EntryVersion, officer: Officer) -> None:
        await actions.roll_back(session, version, officer, actor=visit.actor)

    return await _do(visit, deed, done="version_rolled_back", goes_live=True)


async def restore(visit: Visit) -> web.StreamResponse:
    async def deed(session: AsyncSession, version: EntryVersion, officer: Officer) -> None:
        await actions.restore(session, version, officer, actor=visit.actor)

    return await _do(visit, deed, done="version_restored", goes_live=True)

"""What the bot knows: every topic as residents read it, and the station's own texts in it."""

from collections import Counter

from aiohttp import web

from bot import clock
from bot.actions import stations
from bot.console.learning_texts import FACETS, FAMILIES
from bot.console.visit import Visit
from bot.store.learning_queries import versions

MATCHES_SHOWN = 5


async def show(visit: Visit) -> web.StreamResponse:
    """All topics, or those that fit the words; above them what the bot would do with the words as a question."""
    asked, due_only = visit.asked("q"), visit.asked("overdue") == "1"
    knowledge, today = visit.desk.runtime.knowledge, _today(visit)
    wanted = asked.casefold()
    families: dict[str, list[str]] = {name: [] for name in FAMILIES}
    overdue = {topic for topic, entry in knowledge.entries.items() if _is_overdue(entry.review_by, today)}
    unconfirmed = {topic for topic, entry in knowledge.entries.items() if not entry.confirmed}
    due = overdue | unconfirmed
    for topic, entry in sorted(knowledge.entries.items()):
        family = topic.partition(".")[0]
        fits = not wanted or any(wanted in text.casefold() for text in (entry.title, topic, entry.scope, entry.short))
        if family != "none" and fits and (topic in due or not due_only):
            families.setdefault(family, []).append(topic)
    return visit.page(
        "knowledge.html",
        families={name: topics for name, topics in families.items() if topics},
        names=FAMILIES,
        entries=knowledge.entries,
        shipped=knowledge.shipped,
        overdue=overdue,
        unconfirmed=unconfirmed,
        due=due,
        due_only=due_only,
        asked=asked,
        match=knowledge.match(asked) if asked else None,
        matches_shown=MATCHES_SHOWN,
    )


def _today(visit: Visit) -> str:
    return visit.local(clock.now()).date().isoformat()


def _is_overdue(review_by: str, today: str) -> bool:
    return bool(review_by) and review_by < today


async def topic(visit: Visit) -> web.StreamResponse:
    """One topic: the answer as a resident of this station reads it, where it comes from, and the station's versions."""
    name, knowledge = visit.request.match_info["topic"], visit.desk.runtime.knowledge
    entry = knowledge.entries.get(name)
    if entry is None or name.startswith("none."):
        raise web.HTTPNotFound
    settings = visit.desk.runtime.station.settings
    async with visit.store.read() as session:
        found = await versions(session, visit.station_id, topic=name)
    answer = knowledge.answer(name, settings=settings)
    return visit.page(
        "topic.html",
        entry=entry,
        answer=answer,
        english=knowledge.answer(name, language="en", settings=settings) if entry.english else "",
        facets={
            label: text
            for facet, label in FACETS.items()
            if (text := knowledge.answer(name, facet=facet, settings=settings)) != answer
        },
        settings=_used_settings(visit, name),
        phrases=list(entry.all_phrases()),
        overdue=_is_overdue(entry.review_by, _today(visit)),
        versions=[version for rows in found.values() for version in rows],
        own=name not in knowledge.shipped,
    )


def _used_settings(visit: Visit, topic: str) -> list[tuple[str, str, str]]:
    """The settings that stand in an entry: (name, meaning, text now)."""
    runtime = visit.desk.runtime
    used = runtime.knowledge.settings_in(topic)
    return [
        (name, setting.meaning, runtime.station.settings.get(name) or setting.default)
        for name, setting in runtime.knowledge.declared.items()
        if name in used
    ]


# --- the station's own texts ----------------------------------------------------------------------------------------


async def settings(visit: Visit) -> web.StreamResponse:
    knowledge = visit.desk.runtime.knowledge
    uses = Counter(name for topic in knowledge.entries for name in knowledge.settings_in(topic))
    groups = {
        "本所基本情况": {name: item for name, item in knowledge.declared.items() if name.startswith("station.")},
        "本地规定": {name: item for name, item in knowledge.declared.items() if not name.startswith("station.")},
    }
    return visit.page(
        "station_settings.html",
        groups=groups,
        uses=uses,
        current=visit.desk.runtime.station.settings,
        longest=stations.SETTING_CHARACTERS,
    )


async def save_settings(visit: Visit) -> web.StreamResponse:
    known = visit.desk.runtime.knowledge.declared
    typed = {name: visit.text(name) for name in known if name in visit.form}
    async with visit.store.write() as session:
        await stations.set_settings(session, visit.station_id, typed, known, actor=visit.actor)
    await visit.desk.runtime.refresh()
    return visit.go("/console/knowledge/settings", done="settings_saved")

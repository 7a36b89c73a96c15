"""Versions of entries: written as drafts, handed in with their measure, approved by a second person, rolled back."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions.audit import Actor, record
from bot.actions.errors import ActionError, Conflict, NotAllowed
from bot.actions.learning import check_may_propose, give_back, settle, without_numbers
from bot.actions.likeness import plain
from bot.store.learning_queries import IN_WORK
from bot.store.models import VERSION_ARROWS, AuditEvent, EntryVersion, Officer, Role, VersionState
from knowledge import Knowledge, KnowledgeEntry, check_entry, read_own

APPROVING_ROLES: Final = (Role.CHIEF, Role.REVIEWER, Role.ADMIN)  # who has Permission.APPROVE or MANAGE
OWN_FAMILY: Final = "own"  # topics that the console makes: own.entry7
PHRASE_CHARACTERS: Final = range(2, 201)
LEAST_OWN_PHRASES: Final = 3  # fewer and nobody's other words would find the entry
_REDRAFTING = ("knowledge.drafted", "knowledge.edited")

Content = Mapping[str, Any]


# --- writing --------------------------------------------------------------------------------------------------------


def check_phrases(phrases: Sequence[str], topic: str | None, knowledge: Knowledge) -> list[str]:
    """The phrases as they may be kept; ActionError if one cannot, or stands under another topic. Takes a thread."""
    kept = list(dict.fromkeys(text for phrase in phrases if (text := without_numbers(phrase))))
    for phrase in kept:
        if len(phrase) not in PHRASE_CHARACTERS or not plain(phrase):
            raise ActionError(f"“{phrase[:20]}”太短或太长，一种问法请写 2 到 200 个字。")
    wanted = {plain(phrase): phrase for phrase in kept}
    for other, entry in knowledge.entries.items():
        if other != topic:
            for text in entry.all_phrases():
                if (double := wanted.get(plain(text))) is not None:
                    raise ActionError(f"“{double}”已经在主题“{entry.title}”下。同一句话只能属于一个主题，请改一改。")
    return kept


def check_topic(topic: str, knowledge: Knowledge) -> KnowledgeEntry:
    """An entry that phrases can be added to."""
    entry = knowledge.entries.get(topic)
    if entry is None or topic.startswith(("none.", "emergency.")):
        raise ActionError("没有这个主题，请从列表中选择；紧急情况的识别不在这里修改。")
    return entry


def content_faults(content: Content, knowledge: Knowledge) -> list[tuple[str, str]]:
    """What is wrong with a station's own entry, the shipped one below it: (field, fault in English)."""
    topic = str(content.get("topic", ""))
    entries, refused = read_own([content], knowledge.shipped)
    if refused:
        return [("entry" if content.get("short") else "short", refused[0])]
    defaults = {name: setting.default for name, setting in knowledge.declared.items()}
    faults = list(check_entry(entries[topic], knowledge.shipped, defaults))
    if topic not in knowledge.shipped and len(list(entries[topic].all_phrases())) < LEAST_OWN_PHRASES:
        faults.append(("phrases", f"write at least {LEAST_OWN_PHRASES} ways of asking"))
    if topic.startswith(("emergency.", "none.")):
        faults.append(("topic", "emergencies and small talk are not changed by a station"))
    return faults


_FAULTS: Final = {
    "title": "标题请写 2 到 18 个字。",
    "short": "请写简短回答；整段回答不能超过 600 字，太长请精简。",
    "owner": "请写由哪个部门或岗位负责核对。",
    "checked": "请填核对日期。",
    "review_by": "请填下次复核的日期，要晚于核对日期。",
    "sources": "请写依据（文件或规定的名称）和它的施行日期。",
    "department": "转其他部门办理的，请写部门名称和电话。",
    "number": "部门电话只能用公开的服务热线，例如 12345。",
    "phrases": f"请至少写 {LEAST_OWN_PHRASES} 种居民的问法，每行一种。",
}


def _check_content(content: Content, knowledge: Knowledge) -> None:
    for field, says in content_faults(content, knowledge):
        if "known numbers" in says and field != "number":
            number = says.split(" ")[0]
            raise ActionError(f"回答里的电话 {number} 不是公开热线。本所电话请写 {{station.phone}}，由系统填入。")
        if "placeholder" in says or "not declared" in says:
            raise ActionError("花括号里只能写本所设置的名称，例如 {station.phone}；请到“本所设置”核对。")
        raise ActionError(_FAULTS.get(field, "内容不完整，请检查后再保存。"))


async def in_work(session: AsyncSession, station_id: int, topic: str) -> EntryVersion | None:
    """The version of a topic that somebody is working on, locked."""
    query = (
        select(EntryVersion)
        .where(EntryVersion.station_id == station_id, EntryVersion.topic == topic, EntryVersion.state.in_(IN_WORK))
        .with_for_update()
    )
    return (await session.execute(query)).scalar_one_or_none()


async def live(session: AsyncSession, station_id: int, topic: str) -> EntryVersion | None:
    """The live version of a topic, locked."""
    query = (
        select(EntryVersion)
        .where(
            EntryVersion.station_id == station_id, EntryVersion.topic == topic, EntryVersion.state == VersionState.LIVE
        )
        .with_for_update()
    )
    return (await session.execute(query)).scalar_one_or_none()


async def _new_version(
    session: AsyncSession, station_id: int, topic: str, content: Content, officer_id: int | None, state: VersionState
) -> EntryVersion:
    newest = await session.execute(
        select(func.max(EntryVersion.version)).where(EntryVersion.station_id == station_id, EntryVersion.topic == topic)
    )
    version = EntryVersion(
        station_id=station_id,
        topic=topic,
        version=(newest.scalar_one() or 0) + 1,
        content=_kept(content),
        state=state,
        author_id=officer_id,
        created_at=clock.now(),
    )
    session.add(version)
    await session.flush()
    return version


def _kept(content: Content) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != "topic"}


async def put_under_topic(
    session: AsyncSession,
    officer: Officer,
    topic: str,
    phrases: Sequence[str],
    sentences: Collection[int],
    *,
    actor: Actor,
) -> EntryVersion:
    """A draft with these phrases more than what is live; one that is being worked on takes them too.

    `phrases` have passed check_phrases; `sentences` are the keys of what they came from.
    """
    check_may_propose(officer)
    if not phrases:
        raise ActionError("请先勾选句子。")
    version = await in_work(session, officer.station_id, topic)
    if version is None:
        current = await live(session, officer.station_id, topic)
        content = _with_phrases(current.content if current else {}, phrases)
        version = await _new_version(session, officer.station_id, topic, content, officer.id, VersionState.DRAFT)
        await _record(session, actor, "knowledge.drafted", version, phrases=len(phrases))
    else:
        _redraft(version, _with_phrases(version.content, phrases))
        await _record(session, actor, "knowledge.edited", version, phrases=len(phrases))
    await settle(session, officer, sentences, version.id)
    return version


def _with_phrases(content: Content, phrases: Sequence[str]) -> dict[str, Any]:
    return {**content, "phrases": list(dict.fromkeys([*content.get("phrases", []), *phrases]))}


def _redraft(version: EntryVersion, content: Content) -> None:
    """What was measured and handed in was another text: it has to be measured and handed in again."""
    if version.state is not VersionState.DRAFT:
        _move(version, VersionState.DRAFT)
    version.content, version.measured = _kept(content), None


async def write_entry(
    session: AsyncSession,
    officer: Officer,
    content: Content,
    knowledge: Knowledge,
    *,
    topic: str | None,
    sentences: Collection[int] = (),
    actor: Actor,
) -> EntryVersion:
    """A draft of an entry of the station's own (`topic` None makes one), or of fields over a shipped one."""
    check_may_propose(officer)
    topic = topic or await _free_topic(session, officer.station_id)
    if not any(content.values()):
        raise ActionError("还没有填写内容。")
    _check_content({**content, "topic": topic}, knowledge)
    version = await in_work(session, officer.station_id, topic)
    if version is None:
        version = await _new_version(session, officer.station_id, topic, content, officer.id, VersionState.DRAFT)
        await _record(session, actor, "knowledge.drafted", version)
    else:
        _redraft(version, content)
        await _record(session, actor, "knowledge.edited", version)
    if sentences:
        await settle(session, officer, sentences, version.id)
    return version


async def _free_topic(session: AsyncSession, station_id: int) -> str:
    query = select(EntryVersion.topic).where(
        EntryVersion.station_id == station_id, EntryVersion.topic.startswith(f"{OWN_FAMILY}.entry")
    )
    taken = set((await session.execute(query)).scalars())
    return next(name for n in range(1, len(taken) + 2) if (name := f"{OWN_FAMILY}.entry{n}") not in taken)


async def remove_phrase(
    session: AsyncSession, version: EntryVersion, officer: Officer, phrase: str, *, actor: Actor
) -> None:
    """Take one phrase out of a version that is being worked on."""
    check_may_propose(officer)
    phrases = [kept for kept in version.content.get("phrases", []) if kept != phrase]
    if version.state not in IN_WORK or len(phrases) == len(version.content.get("phrases", [])):
        raise Conflict("这个版本已经变了，请刷新后再试。")
    _redraft(version, {**version.content, "phrases": phrases})
    await _record(session, actor, "knowledge.edited", version, phrases=-1)


async def _record(
    session: AsyncSession, actor: Actor, action: str, version: EntryVersion, *, why: str = "", **details: Any
) -> None:
    named = {"topic": version.topic, "version": version.version, **details}
    await record(session, actor, action, f"entry_version:{version.id}", why=why, details=named)


def _move(version: EntryVersion, state: VersionState) -> None:
    if state not in VERSION_ARROWS[version.state]:
        raise Conflict("这个版本的状态已经变了，请刷新后再试。")
    version.state = state


def seal_of(version: EntryVersion) -> str:
    """SHA-256 over what the approver sees: what was approved is what goes live."""
    seen = json.dumps([version.content, version.measured], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(seen.encode()).hexdigest()


# --- going live -----------------------------------------------------------------------------------------------------


async def submit(
    session: AsyncSession, version: EntryVersion, officer: Officer, content: Content, measured: Content, *, actor: Actor
) -> None:
    """Hand in what was measured; a version handed in already is measured anew. `content` is what was measured."""
    check_may_propose(officer)
    if version.content != content:
        raise Conflict("测量期间内容被改动了，请重新提交。")
    if version.state is not VersionState.SUBMITTED:
        _move(version, VersionState.SUBMITTED)
    version.measured = dict(measured)
    await _record(session, actor, "knowledge.submitted", version, worse=measured["worse_count"])


async def approve(session: AsyncSession, version: EntryVersion, officer: Officer, *, seal: str, actor: Actor) -> None:
    """Let exactly what the approver saw go live in place of the version before it."""
    _check_may_approve(officer)
    if version.state is not VersionState.SUBMITTED or seal != seal_of(version):
        raise Conflict("您看到的内容已被修改，请刷新后重新审阅。")
    if officer.id == version.author_id or await _worked_on(session, version, officer):
        raise NotAllowed("自己编写或修改过的内容，要请别人审批。")
    now_live = await _live_versions(session, version.station_id)
    if version.measured is None or version.measured["versions"] != now_live:
        raise Conflict("测量之后，线上的知识又有变化。请点“重新测量”，看过新的结果再审批。")
    await _go_live(session, version, officer.id)
    await _record(session, actor, "knowledge.approved", version, seal=seal)


def _check_may_approve(officer: Officer) -> None:
    if officer.role not in APPROVING_ROLES:
        raise NotAllowed("您的岗位不能审批知识。")


async def _worked_on(session: AsyncSession, version: EntryVersion, officer: Officer) -> bool:
    """Whether he wrote a part of it, by the audit log."""
    query = (
        select(AuditEvent.seq)
        .where(
            AuditEvent.station_id == version.station_id,
            AuditEvent.subject == f"entry_version:{version.id}",
            AuditEvent.action.in_(_REDRAFTING),
            AuditEvent.actor_id == officer.id,
        )
        .limit(1)
    )
    return (await session.execute(query)).first() is not None


async def _live_versions(session: AsyncSession, station_id: int) -> list[int]:
    query = select(EntryVersion.id).where(
        EntryVersion.station_id == station_id, EntryVersion.state == VersionState.LIVE
    )
    return sorted((await session.execute(query)).scalars())


async def _go_live(session: AsyncSession, version: EntryVersion, approver_id: int | None) -> None:
    current = await live(session, version.station_id, version.topic)
    if current is not None:
        _move(current, VersionState.RETIRED)
        await session.flush()  # one live version a topic: the old one must be gone first
    _move(version, VersionState.LIVE)
    version.approver_id, version.approved_at = approver_id, clock.now()
    await session.flush()


async def refuse(session: AsyncSession, version: EntryVersion, officer: Officer, *, why: str, actor: Actor) -> None:
    """Not approved, or withdrawn by its author; its sentences stand among the not understood again."""
    if officer.id != version.author_id:
        _check_may_approve(officer)
    if not why.strip():
        raise ActionError("请写明原因。")
    _move(version, VersionState.REFUSED)
    version.why = why.strip()[:200]
    await give_back(session, version)
    await _record(session, actor, "knowledge.refused", version, why=why)


async def roll_back(
    session: AsyncSession, version: EntryVersion, officer: Officer, *, actor: Actor
) -> EntryVersion | None:
    """The version before the live one is live again, and returned; without one the shipped entry stands alone."""
    _check_may_approve(officer)
    if version.state is not VersionState.LIVE:
        raise Conflict("这个版本已经不在使用，请刷新后再试。")
    query = (
        select(EntryVersion)
        .where(
            EntryVersion.station_id == version.station_id,
            EntryVersion.topic == version.topic,
            EntryVersion.state == VersionState.RETIRED,
            EntryVersion.version < version.version,
        )
        .order_by(EntryVersion.version.desc())
        .limit(1)
        .with_for_update()
    )
    earlier = (await session.execute(query)).scalar_one_or_none()
    await give_back(session, version)
    if earlier is None:
        _move(version, VersionState.RETIRED)
    else:
        await _go_live(session, earlier, officer.id)
    await _record(session, actor, "knowledge.rolled_back", version, to=earlier.version if earlier else 0)
    return earlier


async def restore(session: AsyncSession, version: EntryVersion, officer: Officer, *, actor: Actor) -> None:
    """A version that was live once is live again."""
    _check_may_approve(officer)
    await _go_live(session, version, officer.id)
    await _record(session, actor, "knowledge.restored", version)


async def import_entries(
    session: AsyncSession, station_id: int, contents: Mapping[str, Content], measured: Content, *, actor: Actor
) -> None:
    """Entries by topic, checked before, live at once: whoever has the command line has the station."""
    for topic, content in contents.items():
        version = await _new_version(session, station_id, topic, content, actor.officer_id, VersionState.SUBMITTED)
        version.measured = dict(measured)
        await _go_live(session, version, actor.officer_id)
        await _record(session, actor, "knowledge.imported", version, worse=measured["worse_count"])

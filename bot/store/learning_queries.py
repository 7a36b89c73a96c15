"""What learning reads: the live versions, the questions nobody answered well, the versions of a topic."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from bot.store.models import Direction, EntryVersion, SettledSentence, Station, StoredMessage, VersionState

MOST_QUESTIONS = 3000  # the newest; more than anybody looks through, and quick to group
MOST_RETIRED = 60
IN_WORK = (VersionState.DRAFT, VersionState.SUBMITTED)
_ANSWERS = ("answer", "officer", "refer")


@dataclass(frozen=True, slots=True)
class LiveState:
    """What tells a process whether its knowledge is still the live one."""

    versions: tuple[int, ...]
    settings: dict[str, str]


async def live_state(session: AsyncSession, station_id: int) -> LiveState:
    versions = await session.execute(
        select(EntryVersion.id)
        .where(EntryVersion.station_id == station_id, EntryVersion.state == VersionState.LIVE)
        .order_by(EntryVersion.id)
    )
    settings = await session.execute(select(Station.settings).where(Station.id == station_id))
    return LiveState(tuple(versions.scalars()), settings.scalar_one())


async def live_content(session: AsyncSession, station_id: int) -> dict[str, dict[str, Any]]:
    """The station's own words by topic, each with its topic, as the knowledge reads them."""
    rows = await session.execute(
        select(EntryVersion.topic, EntryVersion.content)
        .where(EntryVersion.station_id == station_id, EntryVersion.state == VersionState.LIVE)
        .order_by(EntryVersion.id)
    )
    return {topic: {**content, "topic": topic} for topic, content in rows}


# --- what was not understood ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that got no answer, or not the right one. `chosen`: the resident picked one of the topics offered."""

    id: int
    body: str
    decision: str
    topic: str | None
    right_topic: str | None
    helpful: bool | None
    candidates: tuple[str, ...]
    at: datetime
    chosen: bool = False


async def not_understood(session: AsyncSession, station_id: int, *, since: datetime) -> list[Asked]:
    """Inbound messages not understood, disliked or corrected by an officer since then, newest first."""
    rows = await session.execute(
        select(
            StoredMessage.id,
            StoredMessage.conversation_id,
            StoredMessage.body,
            StoredMessage.decision,
            StoredMessage.topic,
            StoredMessage.right_topic,
            StoredMessage.helpful,
            StoredMessage.candidates,
            StoredMessage.created_at,
        )
        .where(
            StoredMessage.station_id == station_id,
            StoredMessage.created_at >= since,
            StoredMessage.direction == Direction.IN,
            StoredMessage.forgotten.is_(False),
            or_(
                StoredMessage.decision.in_(("unknown", "clarify")),
                StoredMessage.helpful.is_(False),
                StoredMessage.right_topic.is_not(None),
            ),
        )
        .order_by(StoredMessage.id.desc())
        .limit(MOST_QUESTIONS)
    )
    found = list(rows)
    clarified = {conversation for _, conversation, _, decision, *_ in found if decision == "clarify"}
    chosen = await _chosen(session, station_id, since, clarified - {None})
    return [
        Asked(
            number,
            body,
            decision or "",
            topic,
            right_topic,
            helpful,
            tuple(name for name, _ in candidates or ()),
            at,
            number in chosen,
        )
        for number, _, body, decision, topic, right_topic, helpful, candidates, at in found
    ]


async def _chosen(
    session: AsyncSession, station_id: int, since: datetime, conversations: Collection[int | None]
) -> set[int]:
    """Which "did you mean" was answered by choosing: the next message got a topic and nothing was matched for it."""
    if not conversations:
        return set()
    rows = await session.execute(
        select(
            StoredMessage.id,
            StoredMessage.conversation_id,
            StoredMessage.decision,
            StoredMessage.topic,
            StoredMessage.candidates,
        )
        .where(
            StoredMessage.station_id == station_id,
            StoredMessage.conversation_id.in_(conversations),
            StoredMessage.created_at >= since,
            StoredMessage.direction == Direction.IN,
        )
        .order_by(StoredMessage.id)
    )
    before: dict[int | None, tuple[int, str | None]] = {}
    chosen = set()
    for number, conversation, decision, topic, candidates in rows:
        previous, previous_decision = before.get(conversation, (0, None))
        if previous_decision == "clarify" and topic and not candidates and decision in _ANSWERS:
            chosen.add(previous)
        before[conversation] = number, decision
    return chosen


async def questions_by_id(session: AsyncSession, station_id: int, ids: Collection[int]) -> dict[int, str]:
    """The words of messages of this station, by number."""
    rows = await session.execute(
        select(StoredMessage.id, StoredMessage.body)
        .where(StoredMessage.station_id == station_id, StoredMessage.id.in_(ids))
        .order_by(StoredMessage.id)
    )
    return dict(rows.all())


async def settled(session: AsyncSession, station_id: int) -> dict[int, datetime | None]:
    """Sentences that need not be shown: for ever, or those asked before the moment their version went live."""
    rows = await session.execute(
        select(SettledSentence.sentence, EntryVersion.approved_at)
        .outerjoin(EntryVersion, EntryVersion.id == SettledSentence.version_id)
        .where(SettledSentence.station_id == station_id)
    )
    return dict(rows.all())


# --- versions -------------------------------------------------------------------------------------------------------


async def versions(
    session: AsyncSession, station_id: int, *, topic: str | None = None
) -> Mapping[VersionState, list[EntryVersion]]:
    """The station's versions with their authors, by state, newest first; of those out of use only the newest."""
    query = (
        select(EntryVersion)
        .where(EntryVersion.station_id == station_id)
        .options(joinedload(EntryVersion.author), joinedload(EntryVersion.approver))
        .order_by(EntryVersion.id.desc())
    )
    if topic is not None:
        query = query.where(EntryVersion.topic == topic)
    in_use = query.where(EntryVersion.state.in_((*IN_WORK, VersionState.LIVE)))
    rest = query.where(EntryVersion.state.in_((VersionState.RETIRED, VersionState.REFUSED))).limit(MOST_RETIRED)
    found: dict[VersionState, list[EntryVersion]] = {state: [] for state in VersionState}
    for version in (*(await session.execute(in_use)).scalars(), *(await session.execute(rest)).scalars()):
        found[version.state].append(version)
    return found


async def in_work(session: AsyncSession, station_id: int) -> int:
    """How many versions are being written or wait for approval."""
    query = select(func.count()).where(EntryVersion.station_id == station_id, EntryVersion.state.in_(IN_WORK))
    return (await session.execute(query)).scalar_one()

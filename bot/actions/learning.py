"""What was not understood: questions without an answer or with a disliked one, grouped by likeness."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions.audit import Actor, record
from bot.actions.errors import ActionError, NotAllowed
from bot.actions.likeness import group_alike, plain
from bot.store.encryption import blind_index
from bot.store.learning_queries import Asked
from bot.store.models import EntryVersion, Officer, Role, SettledSentence
from knowledge import Decision, Knowledge

PROPOSING_ROLES: Final = (Role.OFFICER, Role.CHIEF, Role.ADMIN)
_LONG_NUMBER = re.compile(r"\d(?:[ -]?\d){6,}[xX]?")
_UNDERSTOOD = frozenset({Decision.ANSWER, Decision.OFFICER, Decision.REFER, Decision.URGENT, Decision.CHAT})


class Reason(StrEnum):
    """Why a question stands on the page."""

    CORRECTED = "corrected"  # an officer says that it was about something else
    DISLIKED = "disliked"  # the resident says that the answer was no help
    UNCHOSEN = "unchosen"  # several topics were offered and none was chosen
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sentence:
    """One wording, however often it was asked; `message_id` is the newest message that has it."""

    message_id: int
    text: str
    count: int
    at: datetime
    reason: Reason
    guess: str | None  # what it is about, by the officer's word or the bot's best guess


@dataclass(frozen=True, slots=True)
class Group:
    sentences: list[Sentence]
    count: int
    words: list[str]  # shared by most
    guesses: list[str]  # topics, the likeliest first

    @property
    def newest(self) -> datetime:
        return max(sentence.at for sentence in self.sentences)

    @property
    def reasons(self) -> list[Reason]:
        found = {sentence.reason for sentence in self.sentences}
        return [reason for reason in Reason if reason in found]


def sentence_key(text: str) -> int:
    return blind_index(plain(text), "learning")


def without_numbers(text: str) -> str:
    """Telephone, identity and card numbers say whose matter it was, and teach nothing."""
    return _LONG_NUMBER.sub("（号码）", text).replace("\n", " ").strip()


def groups(questions: Iterable[Asked], settled: Mapping[int, datetime | None], knowledge: Knowledge) -> list[Group]:
    """Questions alike together, the most asked first, without what has been learnt since. Takes a thread."""
    found: dict[str, Sentence] = {}
    for asked in questions:
        sentence = _sentence(asked, settled, knowledge)
        if sentence is None:
            continue
        short = plain(asked.body)
        before = found.get(short)
        if before is None:
            found[short] = sentence
        else:  # the newest came first and stays
            found[short] = Sentence(
                before.message_id,
                before.text,
                before.count + 1,
                before.at,
                min(before.reason, sentence.reason, key=list(Reason).index),
                before.guess,
            )
    sentences = list(found.values())
    texts, counts = [sentence.text for sentence in sentences], [sentence.count for sentence in sentences]
    alike = group_alike(texts, counts, knowledge.words, [sentence.guess for sentence in sentences])
    return [_group([sentences[number] for number in group.members], group.words) for group in alike]


def _sentence(asked: Asked, settled: Mapping[int, datetime | None], knowledge: Knowledge) -> Sentence | None:
    if asked.chosen and asked.helpful is not False and asked.right_topic is None:
        return None
    short = plain(asked.body)
    if not short:
        return None
    key = sentence_key(asked.body)
    if key in settled:
        until = settled[key]
        if until is None or asked.at <= until:
            return None
    match = knowledge.match(asked.body)
    understood = match.decision in _UNDERSTOOD
    guess = asked.right_topic or match.topic or next((candidate.topic for candidate in match.candidates), None)
    if asked.right_topic is not None:
        reason = Reason.CORRECTED
        understood = understood and match.topic == asked.right_topic
    elif asked.helpful is False:
        reason, understood = Reason.DISLIKED, False
    else:
        reason = Reason.UNCHOSEN if asked.decision == Decision.CLARIFY else Reason.UNKNOWN
    if understood:
        return None
    return Sentence(asked.id, without_numbers(asked.body), 1, asked.at, reason, guess)


def _group(sentences: list[Sentence], words: list[str]) -> Group:
    guessed: Counter[str] = Counter()
    for sentence in sentences:
        if sentence.guess:
            guessed[sentence.guess] += sentence.count
    newest_first = sorted(sentences, key=lambda sentence: sentence.message_id, reverse=True)
    return Group(
        newest_first,
        sum(sentence.count for sentence in sentences),
        words,
        [topic for topic, _ in guessed.most_common(3)],
    )


async def dismiss(session: AsyncSession, officer: Officer, sentences: Collection[int], *, actor: Actor) -> None:
    """Nothing is to be learnt from these (keys of sentences)."""
    check_may_propose(officer)
    if not sentences:
        raise ActionError("请先勾选句子。")
    await settle(session, officer, sentences, None)
    await record(
        session, actor, "learning.dismissed", f"station:{actor.station_id}", details={"sentences": len(sentences)}
    )


async def settle(session: AsyncSession, officer: Officer, sentences: Collection[int], version_id: int | None) -> None:
    await session.execute(
        delete(SettledSentence).where(
            SettledSentence.station_id == officer.station_id, SettledSentence.sentence.in_(sentences)
        )
    )
    now = clock.now()
    session.add_all(
        SettledSentence(
            station_id=officer.station_id, sentence=key, version_id=version_id, officer_id=officer.id, created_at=now
        )
        for key in set(sentences)
    )
    await session.flush()


async def give_back(session: AsyncSession, version: EntryVersion) -> None:
    """Its sentences are shown again: nothing came of it."""
    await session.execute(
        delete(SettledSentence).where(
            SettledSentence.station_id == version.station_id, SettledSentence.version_id == version.id
        )
    )


def check_may_propose(officer: Officer) -> None:
    if officer.role not in PROPOSING_ROLES:
        raise NotAllowed("您的岗位不能修改知识。")

"""Measures what a change of the knowledge does to labelled questions: what is better, and exactly what is worse."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from knowledge.entry import NONE_FAMILY, KnowledgeEntry
from knowledge.evaluation import NEAR_MISS, Prediction, Question, is_right
from knowledge.knowledge import Knowledge
from knowledge.matching import Decision, Match


@dataclass(frozen=True, slots=True)
class Changed:
    """A question that is treated in another way now: what was decided about it before and after."""

    question: Question
    before: Match
    after: Match


@dataclass(frozen=True, slots=True)
class Comparison:
    """Counts over all questions. `worse` are those that were right and are not, or were answered and are asked back."""

    questions: int
    right_before: int
    right_after: int
    worse: tuple[Changed, ...]
    better: tuple[Changed, ...]


def compare(before: Knowledge, after: Knowledge, questions: Sequence[Question]) -> Comparison:
    right_before = right_after = 0
    worse, better = [], []
    for question in questions:
        changed = Changed(question, _match(before, question), _match(after, question))
        old, new = _grade(question, changed.before), _grade(question, changed.after)
        right_before += old > 0
        right_after += new > 0
        if new < old:
            worse.append(changed)
        elif new > old:
            better.append(changed)
    worse.sort(key=lambda changed: _grade(changed.question, changed.after))  # the wrong ones before those asked back
    return Comparison(len(questions), right_before, right_after, tuple(worse), tuple(better))


def _match(knowledge: Knowledge, question: Question) -> Match:
    first = knowledge.match(question.text)
    return first if question.second is None else knowledge.match(question.second, previous_topic=first.topic)


def _grade(question: Question, match: Match) -> int:
    """0 wrong, 1 right after asking back, 2 right at once."""
    if not is_right(Prediction(question, match)):
        return 0
    return 1 if match.decision is Decision.CLARIFY else 2


def labelled_phrases(entries: Mapping[str, KnowledgeEntry], *, one_in: int = 1) -> Iterator[Question]:
    """The entries' own phrases as labelled questions; of `one_in` always the same one, chosen by its hash."""
    for topic, entry in entries.items():
        label = "none" if topic.startswith(f"{NONE_FAMILY}.") else topic
        for phrase in entry.all_phrases():
            if _chosen(phrase, one_in):
                yield Question(phrase, label)
        for text, other in entry.near_misses:
            if _chosen(text, one_in):
                yield Question(text, NEAR_MISS + (other if other in entries else "none"))


def _chosen(text: str, one_in: int) -> bool:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % one_in == 0

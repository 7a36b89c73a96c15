"""Measures the matcher on labelled questions and shows the figures beside a plain BM25."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from knowledge.baseline import PlainSearch
from knowledge.entry import KnowledgeError
from knowledge.knowledge import Knowledge
from knowledge.matching import Decision, Match
from knowledge.text import language_of

FOLLOW_UP_SIGN = "|||"
NEAR_MISS = "not_emergency:"
ANSWERS = frozenset({Decision.ANSWER, Decision.OFFICER, Decision.REFER})
# What issue of quality the figures answer; the order of the report.
TARGETS = {
    "hit@1": 0.90,
    "hit@3": 0.97,
    "none answered": 0.04,
    "urgent recognised": 0.98,
    "urgent kind": 0.90,
    "near-misses raised": 0.05,
    "follow-ups": 0.85,
    "english": 0.90,
}
_AT_MOST = frozenset({"none answered", "near-misses raised"})


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    label: str
    second: str | None = None  # judged as the follow-up of `text`


@dataclass(frozen=True, slots=True)
class Prediction:
    question: Question
    match: Match

    @property
    def first(self) -> str | None:
        return self.match.topic

    def top(self, count: int) -> tuple[str, ...]:
        if self.match.decision in (Decision.URGENT, Decision.CHAT, Decision.UNKNOWN):
            return (self.match.topic,) if self.match.topic else ()
        return tuple(candidate.topic for candidate in self.match.candidates[:count])


@dataclass(slots=True)
class Report:
    """Each figure as (hits, of); `baseline` holds the same for plain BM25 where it can have one."""

    figures: dict[str, tuple[int, int]] = field(default_factory=dict)
    baseline: dict[str, tuple[int, int]] = field(default_factory=dict)
    decisions: dict[str, int] = field(default_factory=dict)
    milliseconds: dict[str, float] = field(default_factory=dict)
    predictions: list[Prediction] = field(default_factory=list)
    wrong: list[Prediction] = field(default_factory=list)

    def share(self, name: str) -> float | None:
        hits, count = self.figures.get(name, (0, 0))
        return hits / count if count else None

    def as_dict(self) -> dict[str, object]:
        def table(figures: Mapping[str, tuple[int, int]]) -> dict[str, object]:
            return {
                name: {"share": round(hits / count, 4), "hits": hits, "of": count}
                for name, (hits, count) in figures.items()
                if count
            }

        return {
            "questions": len(self.predictions),
            "figures": table(self.figures),
            "bm25": table(self.baseline),
            "targets": TARGETS,
            "decisions": self.decisions,
            "milliseconds": self.milliseconds,
        }

    def as_text(self) -> str:
        lines = [
            f"{len(self.predictions)} questions",
            f"{'figure':<20}{'share':>8}{'hits':>7}{'of':>6}{'to reach':>11}{'BM25':>8}",
        ]
        for name, (hits, count) in self.figures.items():
            if not count:
                continue
            target = TARGETS.get(name)
            wanted = "" if target is None else f"{'<=' if name in _AT_MOST else '>='}{target:.0%}"
            beside = self.baseline.get(name)
            lines.append(
                f"{name:<20}{hits / count:>8.1%}{hits:>7}{count:>6}{wanted:>11}"
                f"{f'{beside[0] / beside[1]:.1%}' if beside and beside[1] else '':>8}"
            )
        lines.append("decisions: " + ", ".join(f"{name} {count}" for name, count in self.decisions.items()))
        lines.append(
            "milliseconds a question: " + ", ".join(f"{name} {value:.2f}" for name, value in self.milliseconds.items())
        )
        return "\n".join(lines)


def read_questions(path: Path) -> list[Question]:
    """`text<TAB>label[<TAB>anything]` after a header line; a text may be `FIRST ||| SECOND`."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise KnowledgeError(
            f"{path}: no such file; give a tab-separated file with the header text<TAB>label"
        ) from None
    except UnicodeDecodeError as error:
        raise KnowledgeError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    if not lines or lines[0].split("\t")[:2] != ["text", "label"]:
        raise KnowledgeError(f"{path}:1: the first line must be the header text<TAB>label")
    questions = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) < 2 or not cells[0].strip() or not cells[1].strip():
            raise KnowledgeError(f"{path}:{number}: a line needs text<TAB>label")
        first, sign, second = cells[0].partition(FOLLOW_UP_SIGN)
        questions.append(Question(first.strip(), cells[1].strip(), second.strip() if sign else None))
    return questions


def check_labels(knowledge: Knowledge, questions: Iterable[Question]) -> None:
    """A label that no topic carries would count as a miss for ever."""
    for question in questions:
        label = question.label.removeprefix(NEAR_MISS)
        if label != "none" and label not in knowledge.entries and not label.startswith("emergency."):
            raise KnowledgeError(
                f"label {question.label!r} of {question.text[:20]!r} is no topic; see knowledge/topics.yaml"
            )


def evaluate(
    knowledge: Knowledge,
    rows: Sequence[Question],
    *,
    baseline: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> Report:
    check_labels(knowledge, rows)
    report = Report()
    times: list[float] = []
    for row in rows:
        report.predictions.append(_predict(knowledge, row, times, clock))
    for prediction in report.predictions:
        _count(report.figures, prediction)
        if not is_right(prediction):
            report.wrong.append(prediction)
    if baseline:
        _measure_baseline(report, knowledge, rows)
    report.figures = _ordered(report.figures)
    report.decisions = dict(
        sorted(Counter(prediction.match.decision.value for prediction in report.predictions).items())
    )
    if times:
        times.sort()
        report.milliseconds = {
            "median": times[len(times) // 2] * 1000,
            "p95": times[int(len(times) * 0.95)] * 1000,
            "max": times[-1] * 1000,
        }
    return report


def _predict(knowledge: Knowledge, row: Question, times: list[float], clock: Callable[[], float]) -> Prediction:
    start = clock()
    match = knowledge.match(row.text)
    times.append(clock() - start)
    if row.second is not None:
        start = clock()
        match = knowledge.match(row.second, previous_topic=match.topic)
        times.append(clock() - start)
    return Prediction(row, match)


def is_right(prediction: Prediction) -> bool:
    label, match = prediction.question.label, prediction.match
    if label.startswith("emergency."):
        return match.topic == label
    if match.decision is Decision.URGENT:
        return False
    label = label.removeprefix(NEAR_MISS)
    return match.decision not in ANSWERS if label == "none" else match.topic == label


def _count(figures: dict[str, tuple[int, int]], prediction: Prediction) -> None:
    def add(name: str, hit: bool) -> None:
        hits, count = figures.get(name, (0, 0))
        figures[name] = (hits + hit, count + 1)

    question, match = prediction.question, prediction.match
    label = question.label
    if not label.startswith(("emergency.", NEAR_MISS)):
        add("calm as perhaps", match.perhaps is not None)
    if label.startswith("emergency."):
        add("urgent recognised", match.decision is Decision.URGENT)
        add("urgent or perhaps", match.decision is Decision.URGENT or match.perhaps is not None)
        add("urgent kind", match.topic == label)
    elif label.startswith(NEAR_MISS):
        add("near-misses raised", match.decision is Decision.URGENT)
        add("near-misses perhaps", match.perhaps is not None)
        add("near-misses right", is_right(prediction))
    elif label == "none":
        add("none answered", match.decision in ANSWERS)
        add("none asked back", match.decision is Decision.CLARIFY)
        add("none as urgent", match.decision is Decision.URGENT)
    elif question.second is not None:
        add("follow-ups", match.topic == label)
        add("follow-ups@3", label in prediction.top(3))
    elif language_of(question.text) == "en":
        add("english", match.topic == label)
        add("english@3", label in prediction.top(3))
    else:
        add("hit@1", match.topic == label)
        add("hit@3", label in prediction.top(3))
        add("answered at once", match.decision in ANSWERS)
        add("answered wrongly", match.decision in ANSWERS and match.topic != label)
        add("family", (match.topic or "").split(".")[0] == label.split(".")[0])


def _ordered(figures: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    names = [*TARGETS, *sorted(set(figures) - set(TARGETS))]
    return {name: figures[name] for name in names if name in figures}


def _measure_baseline(report: Report, knowledge: Knowledge, rows: Sequence[Question]) -> None:
    """Plain BM25 over the same phrases and the same words: no concepts, no training, no bands."""
    search = PlainSearch(
        [
            (topic, knowledge.words(phrase))
            for topic, entry in knowledge.entries.items()
            if not topic.startswith(("none.", "emergency."))
            for phrase in entry.all_phrases()
        ]
    )
    for row in rows:
        if row.second is not None or row.label == "none" or row.label.startswith(("emergency.", NEAR_MISS)):
            continue
        found = search.topics(knowledge.words(row.text), 3)
        english = language_of(row.text) == "en"
        for name, hit in (
            (("english" if english else "hit@1"), found[:1] == [row.label]),
            (("english@3" if english else "hit@3"), row.label in found),
        ):
            hits, count = report.baseline.get(name, (0, 0))
            report.baseline[name] = (hits + hit, count + 1)


def write_predictions(path: Path, report: Report) -> None:
    """One line a question: text, label, decision, topic, second, third."""
    with path.open("w", encoding="utf-8", newline="") as out:
        out.write("text\tlabel\tdecision\ttopic\tsecond\tthird\n")
        for prediction in report.predictions:
            question, match = prediction.question, prediction.match
            text = question.text if question.second is None else f"{question.text} {FOLLOW_UP_SIGN} {question.second}"
            others = [candidate.topic for candidate in match.candidates if candidate.topic != match.topic][:2]
            cells = [text, question.label, match.decision.value, match.topic or "", *others, "", ""][:6]
            out.write("\t".join(cells) + "\n")


def explain(match: Match, reply: str = "") -> dict[str, object]:
    """What `ask --json` prints for one text; `reply` is what the resident would read."""
    return {
        "decision": match.decision.value,
        "topic": match.topic,
        "candidates": [
            {"topic": candidate.topic, "score": candidate.score, "title": candidate.title}
            for candidate in match.candidates
        ],
        "reply": reply or match.reply or "",
        "facet": match.facet,
        "also": match.also,
        "perhaps": match.perhaps,
        "language": match.language,
        "words": list(match.words),
    }

"""The whole decision on phrases kept out of training, and by the voice they are written in.

One phrase in five is kept out with its near-copies; the bands are the shipped ones. Our own phrases are harder than
what residents ask, because each was written to differ from the others: read the figures beside those of other people's
questions (`python -m bot evaluate`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from knowledge import Decision, Knowledge, KnowledgeEntry, Match, Question, evaluate
from knowledge.archive import read_archive, write_archive
from knowledge.build import lessons_of
from knowledge.comparison import labelled_phrases
from knowledge.knowledge import MODEL_FILE, ROOT, make_reader
from knowledge.training import Example, fold_of, learn, near_copies

_FOLDS = 5
_SOURCES = ("entries", "dictionary", "settings", "topics.yaml")


@dataclass(frozen=True)
class Voice:
    says: str
    phrases: Callable[[KnowledgeEntry], Sequence[str]]
    wanted: Callable[[KnowledgeEntry], bool]
    counts: Callable[[Match], bool]


def _is_fraud(match: Match) -> bool:
    """Told or asked back as a fraud."""
    topic = match.topic or ""
    return topic.startswith("fraud.") or topic == "emergency.fraud_now"


def _called_fraud(match: Match) -> bool:
    """Told as a fraud; to ask back "did you mean" calls nobody a swindler."""
    return _is_fraud(match) and match.decision is not Decision.CLARIFY


def _of_fraud(entry: KnowledgeEntry) -> bool:
    return entry.topic.startswith("fraud.")


VOICES = (
    Voice(
        "the swindler's own words, recognised", lambda its: its.phrases.get("phrases_pasted", ()), _of_fraud, _is_fraud
    ),
    Voice("the resident's story, recognised", lambda its: its.phrases.get("phrases_story", ()), _of_fraud, _is_fraud),
    Voice("is it genuine, recognised", lambda its: its.phrases.get("phrases_verify", ()), _of_fraud, _is_fraud),
    Voice(
        "adverts and notices, called fraud",
        lambda its: tuple(its.all_phrases()),
        lambda its: its.topic in ("none.adverts", "none.notices"),
        _called_fraud,
    ),
)


def kept_out(entries: dict[str, KnowledgeEntry]) -> frozenset[str]:
    near = near_copies([Example(row.text, row.label) for row in labelled_phrases(entries)])
    return frozenset(text for text, standing in near.items() if not fold_of(standing, _FOLDS))


def built_without(texts: frozenset[str], folder: Path) -> Knowledge:
    """The shipped knowledge with models that have not seen the texts."""
    archive = read_archive(ROOT / MODEL_FILE)
    reader = make_reader(ROOT, archive.words)
    lessons = {
        name: replace(lesson, examples=[its for its in lesson.examples if its.text not in texts])
        for name, lesson in lessons_of(archive.entries).items()
    }
    seen = {its.text for lesson in lessons.values() for its in lesson.examples}
    for name in _SOURCES:
        (folder / name).symlink_to(ROOT / name)
    models = learn(lessons, {text: reader.read(text).features for text in sorted(seen)})
    write_archive(folder / MODEL_FILE, replace(archive, models=models))
    return Knowledge.load(folder)


def _titles(entries: dict[str, KnowledgeEntry], texts: frozenset[str]) -> Iterator[tuple[str, bool]]:
    """The letters kept out, and whether each is a police matter."""
    for entry in entries.values():
        if not entry.topic.startswith(("none.", "emergency.")):
            for phrase in entry.phrases.get("phrases_letter", ()):
                if phrase in texts:
                    yield phrase, entry.route != "dept"


def police_f1(knowledge: Knowledge, letters: Sequence[tuple[str, bool]]) -> float:
    """F1 of "this is a police matter"; a letter asked back counts as its best guess."""
    hits = called = 0
    for text, police in letters:
        match = knowledge.match(text)
        entry = knowledge.entries.get(match.topic or "")
        says = match.decision is Decision.URGENT or (entry is not None and entry.route != "dept")
        called += says
        hits += says and police
    wanted = sum(police for _, police in letters)
    return 2 * hits / (called + wanted)


def main(arguments: Sequence[str] | None = None) -> int:
    entries = dict(read_archive(ROOT / MODEL_FILE).entries)
    texts = kept_out(entries)
    rows: list[Question] = [row for row in labelled_phrases(entries) if row.text in texts]
    with tempfile.TemporaryDirectory() as folder:
        knowledge = built_without(texts, Path(folder))
    print(evaluate(knowledge, rows, baseline=False).as_text())
    for voice in VOICES:
        asked = [
            text for entry in entries.values() if voice.wanted(entry) for text in voice.phrases(entry) if text in texts
        ]
        found = sum(voice.counts(knowledge.match(text)) for text in asked)
        print(f"{voice.says}: {found / len(asked):.1%} of {len(asked)}")
    letters = list(_titles(entries, texts))
    print(f"letters, police matter or not: F1 {police_f1(knowledge, letters):.2f} of {len(letters)}")
    return 0


if __name__ == "__main__":
    main()

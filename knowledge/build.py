"""Builds the model file from the entries: python -m knowledge.build (needs scikit-learn, which serving does not)."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import jieba

from knowledge.archive import Archive, write_archive
from knowledge.entry import NONE_FAMILY, KnowledgeEntry, KnowledgeError, read_entries_file, read_topics
from knowledge.features import Reader
from knowledge.followups import FollowUps, Heard, likely_facet, likely_on
from knowledge.knowledge import MODEL_FILE, ROOT, make_reader, source_fingerprints
from knowledge.matching import tone_of
from knowledge.model import Keys, Models, softmax
from knowledge.text import Normaliser, read_groups, read_pairs, read_repairs
from knowledge.training import (
    HeldOut,
    Lesson,
    facet_examples,
    family_examples,
    fit_followups,
    fit_none,
    fit_sharpness,
    fit_urgent,
    hold_out,
    kind_examples,
    lean_on_families,
    learn,
    topic_examples,
    turn_examples,
    urgent_examples,
)

_LEAST_WORD_COUNT = (
    400  # of jieba's 349,000 words these 17,000 cut as well as all (measured), at a twentieth of the memory
)
_OWN_WORD_COUNT = 500
LINEAR_C = 0.7  # LinearSVC penalty: flat between 0.5 and 1 on phrases kept out
_URGENT_C = 1.0
# How many phrases must share a feature: the guards beside the topics do as well without rare ones, at half the size.
_LEAST_FAMILIES, _LEAST_URGENT = 4, 3
_SHARPNESS = {
    "topics": "sharpness",
    "families": "families_sharpness",
    "urgent": "urgent_sharpness",
    "kinds": "kinds_sharpness",
    "facets": "facet_sharpness",
}
_FOLDS = 3


def read_entries(root: Path) -> tuple[dict[str, KnowledgeEntry], list[str]]:
    """All entries that can be read, and what is wrong with the others."""
    known = read_topics(root / "topics.yaml")
    entries: dict[str, KnowledgeEntry] = dict(known)
    faults = []
    for path in sorted((root / "entries").glob("*/*.yaml")):
        try:
            entries |= {entry.topic: entry for entry in read_entries_file(path, known)}
        except KnowledgeError as error:
            faults.append(str(error))
    return entries, faults


def choose_words(root: Path) -> dict[str, int]:
    """jieba's common words, and every word of our concepts so that they are cut as one."""
    folder = root / "dictionary"
    normalise = Normaliser(read_pairs(folder / "traditional.txt"), read_repairs(folder / "repairs.txt"))
    words = {}
    with (Path(jieba.__file__).parent / "dict.txt").open(encoding="utf-8") as lines:
        for line in lines:
            word, count, _ = line.split(" ")
            if int(count) >= _LEAST_WORD_COUNT:
                words[word] = int(count)
    own = [word for group in read_groups(folder / "concepts.txt").values() for word in group]
    for word in own + list(read_repairs(folder / "repairs.txt").values()):
        word = normalise(word)
        if len(word) > 1 and all("\u4e00" <= sign <= "\u9fff" for sign in word):
            words[word] = max(words.get(word, 0), _OWN_WORD_COUNT)
    return words


def lessons_of(entries: Mapping[str, KnowledgeEntry]) -> dict[str, Lesson]:
    """What each model learns from the entries; a model with one class only is left out."""
    asks = frozenset(followup.ask for entry in entries.values() for followup in entry.followups)
    hard = frozenset(text for entry in entries.values() for text, _ in entry.near_misses)
    return {
        name: lesson
        for name, lesson in {
            "topics": Lesson(topic_examples(entries), LINEAR_C),
            "families": Lesson(family_examples(topic_examples(entries)), LINEAR_C, _LEAST_FAMILIES),
            "urgent": Lesson(urgent_examples(entries), _URGENT_C, _LEAST_URGENT, hard),
            "kinds": Lesson(kind_examples(entries), _URGENT_C),
            "facets": Lesson(facet_examples(entries), LINEAR_C),
            "turns": Lesson(turn_examples(entries), LINEAR_C, _LEAST_URGENT, asks),
        }.items()
        if len({example.label for example in lesson.examples}) > 1
    }


def build(root: Path = ROOT) -> Archive:
    entries, faults = read_entries(root)
    for fault in faults:
        print(f"left out: {fault}", file=sys.stderr)
    words = choose_words(root)
    reader = make_reader(root, words)
    lessons = lessons_of(entries)
    readings = {
        text: reader.read(text)
        for text in dict.fromkeys(example.text for lesson in lessons.values() for example in lesson.examples)
    }
    features = {text: reading.features for text, reading in readings.items()}
    models = learn(lessons, features)
    held = lean_on_families(hold_out(lessons, features, _FOLDS))
    bands: dict[str, float] = {}
    danger = None
    for name, kept in held.items():
        if name in _SHARPNESS:
            bands[_SHARPNESS[name]] = fit_sharpness(kept)
        right = (kept.scores.argmax(axis=1) == kept.labels).mean()
        print(f"{name}: {len(kept.labels)} phrases, {len(kept.classes)} classes, {right:.1%} right of phrases kept out")
    print(f"{len(models.keys)} features, {len(models.values)} weights")
    if "families" in held and NONE_FAMILY in held["families"].classes:
        bands |= fit_none(held["topics"], held["families"], bands["sharpness"])
    if "urgent" in held:
        tones = {text: tone_of(reading) for text, reading in readings.items()}
        danger, found = fit_urgent(held["urgent"], held["topics"], bands["sharpness"], lessons["urgent"].hard, tones)
        bands |= found
    if "facets" in held and "turns" in held:
        keys = {text: reading.keys for text, reading in readings.items()}
        bands |= _learn_followups(reader, entries, models, bands, held, keys)
    return Archive(source_fingerprints(root), bands, entries, words, models, danger)


def _learn_followups(
    reader: Reader,
    entries: Mapping[str, KnowledgeEntry],
    models: Models,
    bands: Mapping[str, float],
    held: Mapping[str, HeldOut],
    keys: Mapping[str, Keys],
) -> dict[str, float]:
    sharpness = bands["facet_sharpness"]
    followups = FollowUps(reader=reader, models=models, entries=entries, weights={}, facet_sharpness=sharpness)
    topics, facets, turns = held["topics"], held["facets"], held["turns"]
    heard = {
        text: Heard(
            topics.every[place],
            *likely_facet(facets.classes, softmax(facets.every[place], sharpness)),
            likely_on(turns.classes, turns.every[place]),
        )
        for text, place in topics.places.items()
    }
    right, weights = fit_followups(followups, entries, models, bands["sharpness"], heard, topics, keys)
    print(f"follow-ups: {right[0]:.1%} right, {right[1]:.1%} of changed subjects")
    return weights


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m knowledge.build", description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the knowledge folder (default: this package)")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    try:
        archive = build(options.root)
    except KnowledgeError as error:
        print(error, file=sys.stderr)
        return 2
    path = options.root / MODEL_FILE
    write_archive(path, archive)
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB in {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

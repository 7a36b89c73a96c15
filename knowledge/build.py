"""Builds the model file from the entries: python -m knowledge.build (needs scikit-learn, which serving does not)."""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jieba

from knowledge.archive import Archive, write_archive
from knowledge.entry import NONE_FAMILY, KnowledgeEntry, KnowledgeError, read_entries_file, read_topics
from knowledge.features import Reader
from knowledge.followups import NO_FACET, FollowUps
from knowledge.knowledge import MODEL_FILE, ROOT, make_reader, source_fingerprints
from knowledge.model import LinearModel, softmax
from knowledge.text import Normaliser, read_groups, read_pairs, read_repairs
from knowledge.training import (
    HeldOut,
    facet_examples,
    family_examples,
    fit_followups,
    fit_none,
    fit_sharpness,
    hold_out,
    kind_examples,
    topic_examples,
    train,
    urgent_examples,
)

_LEAST_WORD_COUNT = 100  # of jieba's 349,000 words these 36,000 cut as well as all (measured), at a tenth of the memory
_OWN_WORD_COUNT = 500
_C = 0.5  # LinearSVC penalty: flat between 0.3 and 1 on phrases kept out
_URGENT_C = 1.0
# How many phrases must share a feature: the guards beside the topics do as well without rare ones, at half the size.
_LEAST = {"families": 4, "urgent": 3}
_LEAST_OTHERS = 2
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


def build(root: Path = ROOT) -> Archive:
    entries, faults = read_entries(root)
    for fault in faults:
        print(f"left out: {fault}", file=sys.stderr)
    words = choose_words(root)
    reader = make_reader(root, words)
    read = functools.cache(lambda text: reader.read(text).features)
    models: dict[str, LinearModel] = {}
    bands: dict[str, float] = {}
    kept: dict[str, tuple[HeldOut, list[tuple[str, ...]]]] = {}
    for name, examples, c, band in (
        ("topics", topic_examples(entries), _C, "sharpness"),
        ("families", family_examples(topic_examples(entries)), _C, "families_sharpness"),
        ("urgent", urgent_examples(entries), _URGENT_C, "urgent_sharpness"),
        ("kinds", kind_examples(entries), _URGENT_C, "kinds_sharpness"),
        ("facets", facet_examples(entries), _C, "facet_sharpness"),
    ):
        if len({example.label for example in examples}) < 2:
            continue
        features = [read(example.text) for example in examples]
        models[name] = train(examples, features, c, _LEAST.get(name, _LEAST_OTHERS))
        held = hold_out(examples, features, c, _FOLDS)
        bands[band] = fit_sharpness(held)
        kept[name] = held, features
        right = (held.scores.argmax(axis=1) == held.labels).mean()
        print(
            f"{name}: {len(examples)} phrases, {len(held.classes)} classes, {len(models[name].keys)} features, "
            f"{right:.1%} right of phrases kept out"
        )
    if "families" in kept and NONE_FAMILY in kept["families"][0].classes:
        bands |= fit_none(kept["topics"][0], kept["families"][0], bands["sharpness"])
    bands |= _learn_followups(reader, entries, models, bands, kept, read)
    return Archive(source_fingerprints(root), bands, entries, words, models)


def _learn_followups(
    reader: Reader,
    entries: Mapping[str, KnowledgeEntry],
    models: Mapping[str, LinearModel],
    bands: Mapping[str, float],
    kept: Mapping[str, tuple[HeldOut, list[tuple[str, ...]]]],
    read: Callable[[str], tuple[str, ...]],
) -> dict[str, float]:
    if "facets" not in models:
        return {}
    followups = FollowUps(
        reader=reader,
        topics=models["topics"],
        facets=models["facets"],
        entries=entries,
        weights={},
        facet_sharpness=bands["facet_sharpness"],
    )
    held = kept["facets"][0]
    none = held.classes.index(NO_FACET)
    facets: dict[str, tuple[str | None, float]] = {}
    for example, scores in zip(facet_examples(entries), held.scores, strict=True):
        chances = softmax(scores, bands["facet_sharpness"])
        likely = 1 - float(chances[none])
        chances[none] = 0
        facets[example.text] = held.classes[int(chances.argmax())], likely
    texts = {followup.ask: read(followup.ask) for entry in entries.values() for followup in entry.followups}
    right, weights = fit_followups(
        followups, texts, entries, models["topics"], bands["sharpness"], facets, *kept["topics"]
    )
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

"""Accuracy and speed of the matcher beside rank_bm25, bm25s, SQLite FTS5 and TF-IDF with a linear SVM.

All get the same phrases and the same jieba words. Accuracy: the shipped phrases in five parts by their own hash, one
part asked of a model that has not seen it; with --questions FILE also labelled questions. Growth: from 1,000 to 100,000
phrases, the larger sets made by putting halves of phrases of one topic together.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
from rank_bm25 import BM25Okapi
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from knowledge.build import choose_words, read_entries
from knowledge.evaluation import evaluate, read_questions
from knowledge.features import Reader
from knowledge.knowledge import ROOT, Knowledge, make_reader
from knowledge.training import Example, fold_of, topic_examples, train

_FOLDS = 5
_SIZES = (1_000, 3_000, 7_000, 20_000, 100_000)
_QUESTIONS_TIMED = 200
_SVM_C = 0.5

Ask = Callable[[str], list[str]]  # a message -> topics, best first


@dataclass(frozen=True)
class Corpus:
    reader: Reader
    phrases: tuple[Example, ...]

    def words(self, text: str) -> list[str]:
        return self.reader.cut(self.reader.normalise.plain(text))


def ours(corpus: Corpus) -> Ask:
    """The whole path of one message: normalise, cut, features, scores."""
    read = corpus.reader.read
    model = train(corpus.phrases, [read(example.text).features for example in corpus.phrases], _SVM_C)

    def ask(text: str) -> list[str]:
        order = np.argsort(-model.scores(read(text).keys))[:3]
        return [model.classes[place] for place in order]

    return ask


def rank_bm25(corpus: Corpus) -> Ask:
    index = BM25Okapi([corpus.words(example.text) for example in corpus.phrases])
    return lambda text: _topics(corpus, np.argsort(-index.get_scores(corpus.words(text)))[:50])


def bm25s_index(corpus: Corpus) -> Ask:
    index = bm25s.BM25()
    index.index([corpus.words(example.text) for example in corpus.phrases], show_progress=False)
    limit = min(50, len(corpus.phrases))

    def ask(text: str) -> list[str]:
        words = [word for word in corpus.words(text) if word in index.vocab_dict]
        if not words:
            return []
        found, _ = index.retrieve([words], k=limit, show_progress=False)
        return _topics(corpus, found[0])

    return ask


def sqlite_fts5(corpus: Corpus) -> Ask:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE VIRTUAL TABLE phrase USING fts5(words)")
    database.executemany(
        "INSERT INTO phrase (rowid, words) VALUES (?, ?)",
        [(number, " ".join(corpus.words(example.text))) for number, example in enumerate(corpus.phrases)],
    )

    def ask(text: str) -> list[str]:
        wanted = " OR ".join(f'"{word}"' for word in dict.fromkeys(corpus.words(text)) if word.strip('"'))
        if not wanted:
            return []
        rows = database.execute("SELECT rowid FROM phrase WHERE words MATCH ? ORDER BY rank LIMIT 50", (wanted,))
        return _topics(corpus, [number for (number,) in rows])

    return ask


def tfidf_svm(corpus: Corpus) -> Ask:
    vectoriser = TfidfVectorizer(analyzer=corpus.words, sublinear_tf=True)
    matrix = vectoriser.fit_transform([example.text for example in corpus.phrases])
    machine = LinearSVC(C=_SVM_C, random_state=0).fit(matrix, [example.label for example in corpus.phrases])

    def ask(text: str) -> list[str]:
        scores = np.asarray(machine.decision_function(vectoriser.transform([text])))[0]
        return [str(machine.classes_[place]) for place in np.argsort(-scores)[:3]]

    return ask


RIVALS: dict[str, Callable[[Corpus], Ask]] = {
    "knowledge": ours,
    "rank_bm25": rank_bm25,
    "bm25s": bm25s_index,
    "SQLite FTS5": sqlite_fts5,
    "TF-IDF + SVM": tfidf_svm,
}


def _topics(corpus: Corpus, numbers: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(corpus.phrases[int(number)].label for number in numbers))[:3]


def accuracy(corpus: Corpus, name: str) -> tuple[float, float, float]:
    """(first right, right among three, milliseconds a question at the 95th percentile) on one part kept out."""
    inside = tuple(example for example in corpus.phrases if fold_of(example.text, _FOLDS))
    outside = [example for example in corpus.phrases if not fold_of(example.text, _FOLDS)]
    ask = RIVALS[name](Corpus(corpus.reader, inside))
    first = three = 0
    times = []
    for example in outside:
        start = time.perf_counter()
        found = ask(example.text)
        times.append(time.perf_counter() - start)
        first += found[:1] == [example.label]
        three += example.label in found
    return first / len(outside), three / len(outside), _p95(times)


def grown(corpus: Corpus, size: int) -> Corpus:
    """`size` phrases: a sample, or more made of the halves of two phrases of one topic."""
    chance = random.Random(size)
    phrases = list(corpus.phrases)
    if size <= len(phrases):
        return Corpus(corpus.reader, tuple(chance.sample(phrases, size)))
    by_topic: dict[str, list[str]] = defaultdict(list)
    for example in phrases:
        by_topic[example.label].append(example.text)
    topics = [topic for topic, texts in by_topic.items() if len(texts) > 1]
    while len(phrases) < size:
        topic = chance.choice(topics)
        one, two = chance.sample(by_topic[topic], 2)
        phrases.append(Example(one[: len(one) // 2 + 1] + two[len(two) // 2 :], topic))
    return Corpus(corpus.reader, tuple(phrases))


def growth(corpus: Corpus, name: str, sizes: Sequence[int], questions: Sequence[str]) -> list[tuple[int, float, float]]:
    """(phrases, seconds to build, milliseconds at the 95th percentile) for each size."""
    rows = []
    for size in sizes:
        start = time.perf_counter()
        ask = RIVALS[name](grown(corpus, size))
        built = time.perf_counter() - start
        times = []
        for text in questions:
            start = time.perf_counter()
            ask(text)
            times.append(time.perf_counter() - start)
        rows.append((size, built, _p95(times)))
    return rows


def _p95(times: Sequence[float]) -> float:
    return sorted(times)[int(len(times) * 0.95)] * 1000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_matcher", description=__doc__)
    parser.add_argument("--questions", type=Path, help="labelled questions to measure on as well")
    parser.add_argument("--largest", type=int, default=_SIZES[-1], help="stop growing at this many phrases")
    options = parser.parse_args(arguments)
    entries, _ = read_entries(ROOT)
    corpus = Corpus(make_reader(ROOT, choose_words(ROOT)), tuple(topic_examples(entries)))
    print(f"matcher: {len(corpus.phrases)} phrases, one part in {_FOLDS} kept out of training")
    print(f"{'':<16}{'first':>8}{'of three':>10}{'p95 ms':>9}")
    for name in RIVALS:
        first, three, milliseconds = accuracy(corpus, name)
        print(f"{name:<16}{first:>8.1%}{three:>10.1%}{milliseconds:>9.2f}", flush=True)
    sizes = [size for size in _SIZES if size <= options.largest]
    questions = [example.text for example in random.Random(1).sample(corpus.phrases, _QUESTIONS_TIMED)]
    print("\nmilliseconds a question (95th percentile) as the phrases grow; in brackets the seconds to build")
    print(f"{'':<16}" + "".join(f"{size:>17,}" for size in sizes))
    for name in RIVALS:
        cells = [f"{f'{late:.2f} ({built:.0f})':>17}" for _, built, late in growth(corpus, name, sizes, questions)]
        print(f"{name:<16}" + "".join(cells), flush=True)
    if options.questions:
        print("\n" + evaluate(Knowledge.load(), read_questions(options.questions)).as_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())

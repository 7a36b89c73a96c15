"""Accuracy and speed of the matcher beside rank_bm25, bm25s, SQLite FTS5 and TF-IDF with a linear SVM.

All get the same phrases and the same jieba words. Accuracy: one phrase in five kept out, near-copies together, and
asked of what was built without it; labelled questions too (tests/knowledge/unseen.tsv, or --questions FILE), asked of
what was built with all.
Growth: from 1,000 to 100,000 phrases. Up to our own number they are a sample; beyond, the first half of a phrase and
the second half of another of the same topic are put together, which keeps the words real and the lengths as they are
but brings few new words: for all of them a kind of growth that is kinder than life. All times are CPU time of this
process, so that what else runs on the machine does not count.
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

from knowledge.build import LINEAR_C, choose_words, read_entries
from knowledge.entry import NONE_FAMILY
from knowledge.evaluation import Question, evaluate, read_questions
from knowledge.features import Reader
from knowledge.knowledge import ROOT, Knowledge, make_reader
from knowledge.training import Example, Lesson, fold_of, learn, near_copies, topic_examples

_FOLDS = 5
_SIZES = (1_000, 3_000, 7_000, 20_000, 100_000)
_QUESTIONS_ASKED = 1_500  # of those kept out: rank_bm25 takes a fiftieth of a second for each
_QUESTIONS_TIMED = 200
_SVM_C = 0.5
_UNSEEN = Path(__file__).parents[1] / "knowledge" / "unseen.tsv"

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
    features = {example.text: read(example.text).features for example in corpus.phrases}
    models = learn({"topics": Lesson(corpus.phrases, LINEAR_C)}, features)
    classes = models.classes["topics"]

    def ask(text: str) -> list[str]:
        order = np.argsort(-models.weigh(read(text).keys).scores("topics"))[:3]
        return [classes[place] for place in order]

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


@dataclass(frozen=True)
class Accuracy:
    first: float
    of_three: float
    milliseconds: float  # a question, 95th percentile

    def __str__(self) -> str:
        return f"{self.first:>8.1%}{self.of_three:>10.1%}{self.milliseconds:>9.2f}"


def accuracy(ask: Ask, questions: Sequence[Example]) -> Accuracy:
    first = three = 0
    times = []
    for example in questions:
        start = time.process_time()
        found = ask(example.text)
        times.append(time.process_time() - start)
        first += found[:1] == [example.label]
        three += example.label in found
    return Accuracy(first / len(questions), three / len(questions), _p95(times))


def parted(corpus: Corpus) -> tuple[Corpus, list[Example]]:
    """What to build from, and the one part in _FOLDS to ask; a phrase and its near-copies are on one side."""
    near = near_copies(corpus.phrases)
    outside = [example for example in corpus.phrases if not fold_of(near[example.text], _FOLDS)]
    kept_out = {example.text for example in outside}
    return Corpus(corpus.reader, tuple(its for its in corpus.phrases if its.text not in kept_out)), outside


def with_a_topic(rows: Sequence[Question]) -> list[Example]:
    """The questions that every rival can be asked: one message, one topic."""
    return [
        Example(row.text, row.label)
        for row in rows
        if row.second is None and "." in row.label and ":" not in row.label and not row.label.startswith("emergency.")
    ]


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
        start = time.process_time()
        ask = RIVALS[name](grown(corpus, size))
        built = time.process_time() - start
        times = []
        for text in questions:
            start = time.process_time()
            ask(text)
            times.append(time.process_time() - start)
        rows.append((size, built, _p95(times)))
    return rows


def _p95(times: Sequence[float]) -> float:
    return sorted(times)[int(len(times) * 0.95)] * 1000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_matcher", description=__doc__)
    parser.add_argument(
        "--questions", type=Path, default=_UNSEEN, metavar="FILE.tsv", help="labelled questions (default: the unseen)"
    )
    parser.add_argument("--largest", type=int, default=_SIZES[-1], help="stop growing at this many phrases")
    options = parser.parse_args(arguments)
    entries, _ = read_entries(ROOT)
    everything = Corpus(make_reader(ROOT, choose_words(ROOT)), tuple(topic_examples(entries)))
    topics = tuple(its for its in everything.phrases if not its.label.startswith(f"{NONE_FAMILY}."))
    corpus = Corpus(everything.reader, topics)
    inside, outside = parted(corpus)
    outside = random.Random(1).sample(outside, min(_QUESTIONS_ASKED, len(outside)))
    print(f"matcher: {len(inside.phrases)} phrases, asked {len(outside)} kept out")
    print(f"{'':<16}{'first':>8}{'of three':>10}{'p95 ms':>9}")
    for name, build in RIVALS.items():
        print(f"{name:<16}{accuracy(build(inside), outside)}", flush=True)
    rows = read_questions(options.questions)
    asked = with_a_topic(rows)
    print(f"\n{len(corpus.phrases)} phrases, asked {len(asked)} questions of {options.questions.name}")
    for name, build in RIVALS.items():
        print(f"{name:<16}{accuracy(build(corpus), asked)}", flush=True)
    print("\nthe whole decision, as it is shipped\n" + evaluate(Knowledge.load(), rows, baseline=False).as_text())
    _time_whole(outside)
    sizes = [size for size in _SIZES if size <= options.largest]
    questions = [example.text for example in random.Random(1).sample(corpus.phrases, _QUESTIONS_TIMED)]
    print("\nmilliseconds a question (CPU, 95th percentile) as the phrases grow; in brackets the seconds to build")
    print(f"{'':<16}" + "".join(f"{size:>17,}" for size in sizes))
    for name in RIVALS:
        cells = [f"{f'{late:.2f} ({built:.0f})':>17}" for _, built, late in growth(corpus, name, sizes, questions)]
        print(f"{name:<16}" + "".join(cells), flush=True)
    return 0


def _time_whole(questions: Sequence[Example]) -> None:
    """The whole of one decision with the shipped model: danger, topic, bands, the words that decided."""
    start = time.process_time()
    knowledge = Knowledge.load()
    loaded = time.process_time() - start
    for previous in (None, "idcard.lost"):
        times = []
        for example in questions:
            start = time.process_time()
            knowledge.match(example.text, previous_topic=previous)
            times.append(time.process_time() - start)
        mean = sum(times) / len(times) * 1000
        name = "after another topic" if previous else "a decision"
        print(f"{name}: {_p95(times):.2f} ms at the 95th percentile, {mean:.2f} ms on the mean")
    print(f"loading: {loaded:.2f} s")


if __name__ == "__main__":
    sys.exit(main())

"""Plain BM25 over the phrases: the line that the matcher has to beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from knowledge.text import information

_K1, _B = 1.5, 0.75  # the usual values, as in rank_bm25


class PlainSearch:
    def __init__(self, phrases: Iterable[tuple[str, Sequence[str]]]) -> None:
        self._topics: list[str] = []
        self._postings: dict[str, list[tuple[int, int]]] = {}
        lengths = []
        for number, (topic, words) in enumerate(phrases):
            self._topics.append(topic)
            lengths.append(len(words))
            for word, count in Counter(words).items():
                self._postings.setdefault(word, []).append((number, count))
        mean = sum(lengths) / max(1, len(lengths))
        self._norms = [_K1 * (1 - _B + _B * length / (mean or 1)) for length in lengths]

    def topics(self, words: Sequence[str], limit: int) -> list[str]:
        """The topics of the best phrases, each once, best first."""
        scores: dict[int, float] = {}
        for word in words:
            postings = self._postings.get(word, ())
            weight = information(len(postings), len(self._topics))
            for number, count in postings:
                scores[number] = scores.get(number, 0.0) + weight * count * (_K1 + 1) / (count + self._norms[number])
        found: dict[str, None] = {}
        for number in sorted(scores, key=scores.__getitem__, reverse=True):
            found[self._topics[number]] = None
            if len(found) == limit:
                break
        return list(found)

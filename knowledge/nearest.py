"""Phrases that the trained model has not seen (a station's own, or just added), found by likeness."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from knowledge.features import Reader, Reading
from knowledge.model import Floats, Models

# A new phrase and a message alike to this degree (cosine) are as likely about the same thing as not: measured by
# leaving topics out of the training and adding ten of their phrases here.
_EVEN = 0.34
_STEEPNESS = 10.0
_UNLIKE = 0.2  # below, a phrase says nothing: the other topics keep exactly the chances they had without it
_KINDS = frozenset("wckps")


class Nearest:
    """Cosine over rarity-weighted features; words the model never saw count as the rarest it knows."""

    def __init__(self, *, reader: Reader, models: Models, phrases: Sequence[tuple[str, str]]) -> None:
        self._models = models
        self._rarest = float(models.rarity.max(initial=1.0))
        self.topics = tuple(dict.fromkeys(topic for topic, _ in phrases))
        places = {topic: place for place, topic in enumerate(self.topics)}
        self._owner = np.array([places[topic] for topic, _ in phrases], np.int64)
        postings: dict[str, tuple[list[int], list[float]]] = {}
        for number, (_, phrase) in enumerate(phrases):
            for feature, weight in self._vector(reader.read(phrase)).items():
                numbers, weights = postings.setdefault(feature, ([], []))
                numbers.append(number)
                weights.append(weight)
        self._postings = {
            feature: (np.array(numbers), np.array(weights, np.float32))
            for feature, (numbers, weights) in postings.items()
        }

    def _vector(self, reading: Reading) -> Mapping[str, float]:
        known, rows = self._models.find(reading.keys)
        rarity = dict(zip(known.tolist(), self._models.rarity[rows].tolist(), strict=True))
        found = {
            feature: rarity.get(place, self._rarest)
            for place, feature in enumerate(reading.features)
            if feature[0] in _KINDS and (place in rarity or feature[0] == "w")
        }
        norm = math.sqrt(sum(weight * weight for weight in found.values()))
        return {feature: weight / norm for feature, weight in found.items()} if norm else {}

    def chances(self, reading: Reading) -> Floats:
        """How likely the message is about each of `topics`, by its likest phrase."""
        alike = np.zeros(len(self._owner), np.float32)
        for feature, weight in self._vector(reading).items():
            if posting := self._postings.get(feature):
                alike[posting[0]] += weight * posting[1]
        best = np.zeros(len(self.topics), np.float32)
        np.maximum.at(best, self._owner, alike)
        result: Floats = (1 / (1 + np.exp(-_STEEPNESS * (best - _EVEN)))).astype(np.float32)
        result[best < _UNLIKE] = 0.0
        return result

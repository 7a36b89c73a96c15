"""The trained scorer: linear models over the same features, small enough to ship, quick enough to run in the server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Keys = NDArray[np.uint32]
Rows = NDArray[np.intp]


_FAMILY_SHARE = 0.15  # of a family's score, for each of its topics: flat between 0.1 and 0.3 on phrases kept out


def keys_of(features: Iterable[str]) -> Keys:
    """Features by number: a table of 100,000 names would take 20 MB, their checksums take half a megabyte."""
    return np.fromiter(map(crc32, map(str.encode, features)), np.uint32)


def homes_of(topics: Sequence[str], families: Sequence[str]) -> Rows:
    """The place of each topic's family among the families."""
    places = {family: place for place, family in enumerate(families)}
    return np.array([places[topic.partition(".")[0]] for topic in topics], np.intp)


def with_families(topics: Floats, families: Floats, homes: Rows) -> Floats:
    """Scores of topics, each with a share of its family's: what its sisters have in common speaks for it too."""
    result: Floats = topics + np.float32(_FAMILY_SHARE) * families[..., homes]
    return result


@dataclass(frozen=True)
class Models:
    """Several linear models whose weights lie side by side, so that one pass over a message scores them all.

    The weights that are not 0 stand by feature: those of `keys[row]` are `columns` and `values` from `starts[row]` to
    `starts[row + 1]`, as int8; `scale` brings each class back to size. The classes of one model follow those of the
    one before it.
    """

    classes: Mapping[str, tuple[str, ...]]  # by model
    keys: Keys  # sorted
    rarity: Floats  # weight of each feature in a message
    starts: NDArray[np.int32]
    columns: NDArray[np.unsignedinteger]
    values: NDArray[np.int8]
    scale: Floats  # classes of all models
    bias: Floats  # classes of all models

    @cached_property
    def places(self) -> dict[str, slice]:
        """Which of all classes are a model's."""
        found, first = {}, 0
        for name, classes in self.classes.items():
            found[name] = slice(first, first + len(classes))
            first += len(classes)
        return found

    @cached_property
    def homes(self) -> Rows | None:
        """Each topic's family; None where no families were learnt."""
        families = self.classes.get("families")
        return homes_of(self.classes["topics"], families) if families else None

    def find(self, keys: Keys) -> tuple[Rows, Rows]:
        """Which of the keys are known (their places in `keys`), and their rows."""
        rows = self.keys.searchsorted(keys)
        known = (self.keys.take(rows, mode="clip") == keys).nonzero()[0]
        return known, rows[known]

    def weigh(self, keys: Keys) -> Weighed:
        """What all models say about a message with these features."""
        known, rows = self.find(keys)
        weights = self.rarity[rows]
        norm = float(weights.dot(weights)) ** 0.5
        if norm:
            weights = weights / norm
        firsts = self.starts[rows]
        counts = self.starts[rows + 1] - firsts
        ends = counts.cumsum()
        # The places of all weights of all rows in one array: each row's first place, then counting up.
        places = (firsts - ends + counts).repeat(counts)
        places += np.arange(len(places), dtype=places.dtype)
        columns = self.columns[places]
        shares = self.values[places] * weights.repeat(counts)
        sums = np.bincount(columns, weights=shares, minlength=len(self.bias))
        return Weighed(self, known, rows, weights, ends, columns, shares, (sums * self.scale + self.bias).astype("f4"))


@dataclass(frozen=True, slots=True)
class Weighed:
    """One message on the scales: its known features, and what each of their weights adds to which class."""

    models: Models
    known: Rows  # places of the known features in the message's keys
    rows: Rows
    weights: Floats  # of the known features, of length 1 together
    ends: NDArray[np.int32]  # where the shares of each known feature end
    columns: NDArray[np.unsignedinteger]
    shares: Floats
    all_scores: Floats

    def scores(self, model: str) -> Floats:
        return self.all_scores[self.models.places[model]]

    def topics(self) -> Floats:
        """The scores of the topics, each with a share of its family's."""
        homes, scores = self.models.homes, self.scores("topics")
        return scores if homes is None else with_families(scores, self.scores("families"), homes)

    def reasons(self, model: str, name: str) -> list[int]:
        """The places in the message's keys of the features that spoke for a class, strongest first."""
        column = self.models.places[model].start + self.models.classes[model].index(name)
        found = (self.columns == column).nonzero()[0]
        shares = self.shares[found]
        found = found[(-shares).argsort(kind="stable")[: int((shares > 0).sum())]]
        places: list[int] = self.known[self.ends.searchsorted(found, side="right")].tolist()
        return places


def softmax(scores: Floats, sharpness: float = 1.0) -> Floats:
    raised = np.exp((scores - np.maximum.reduce(scores)) * sharpness)
    result: Floats = raised / np.add.reduce(raised)
    return result

"""The trained scorer: a linear model over features, small enough to ship and quick enough to run beside the server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Keys = NDArray[np.uint32]


def keys_of(features: Iterable[str]) -> Keys:
    """Features by number: a table of 100,000 names would take 20 MB, their checksums take half a megabyte."""
    return np.fromiter((crc32(feature.encode()) for feature in features), np.uint32)


@dataclass(frozen=True, slots=True)
class LinearModel:
    """Scores of every class for a set of features.

    The weights that are not 0 stand by feature: those of `keys[row]` are `columns` and `values` from `starts[row]` to
    `starts[row + 1]`, as int8; `scale` brings each class back to size.
    """

    classes: tuple[str, ...]
    keys: Keys  # sorted
    rarity: Floats  # weight of each feature in a message
    starts: NDArray[np.int32]
    columns: NDArray[np.uint16]
    values: NDArray[np.int8]
    scale: Floats  # classes
    bias: Floats  # classes

    def find(self, keys: Keys) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which of the keys are known (their places in `keys`), and their rows."""
        rows = np.searchsorted(self.keys, keys)
        rows[rows == len(self.keys)] = 0
        known = np.flatnonzero(self.keys[rows] == keys)
        return known, rows[known]

    def vector(self, keys: Keys) -> tuple[NDArray[np.int64], Floats]:
        """Rows and weights of the known features, of length 1."""
        _, rows = self.find(keys)
        values = self.rarity[rows]
        norm = float(np.sqrt(np.dot(values, values)))
        return rows, values / norm if norm else values

    def scores(self, keys: Keys) -> Floats:
        rows, values = self.vector(keys)
        if not len(rows):
            return self.bias.copy()
        firsts = self.starts[rows]
        counts = self.starts[rows + 1] - firsts
        # The places of all weights of all rows in one array: each row's first place, then counting up.
        places = np.arange(int(counts.sum())) + np.repeat(firsts - (np.cumsum(counts) - counts), counts)
        sums = np.bincount(
            self.columns[places],
            weights=self.values[places] * np.repeat(values, counts),
            minlength=len(self.classes),
        )
        result: Floats = (sums * self.scale + self.bias).astype(np.float32)
        return result

    def reasons(self, keys: Keys, name: str, limit: int = 40) -> list[tuple[int, float]]:
        """The places in `keys` of the features that spoke most for a class, strongest first, with their share."""
        column = self.classes.index(name)
        known, rows = self.find(keys)
        shares = []
        for place, row in zip(known.tolist(), rows.tolist(), strict=True):
            first, end = self.starts[row], self.starts[row + 1]
            found = np.flatnonzero(self.columns[first:end] == column)
            if len(found):
                shares.append((place, float(self.values[first + found[0]]) * float(self.rarity[row])))
        shares.sort(key=lambda share: -share[1])
        return [share for share in shares[:limit] if share[1] > 0]


def softmax(scores: Floats, sharpness: float = 1.0) -> Floats:
    raised = np.exp((scores - scores.max()) * sharpness)
    result: Floats = raised / raised.sum()
    return result

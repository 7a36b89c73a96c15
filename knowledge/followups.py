"""Short second messages: what "那要多少钱" means after the topic before it, and when the subject has changed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from knowledge.entry import FACETS, KnowledgeEntry
from knowledge.features import Reader
from knowledge.model import Floats, Models, Rows, Weighed, softmax

NO_FACET = "none"
GOES_ON, FRESH = "goes_on", "fresh"  # how a second message sounds, whatever the first was about
_SHARED_FACETS = ("fee", "time")  # a family with a topic of its own for fees and times answers them there
SIGNS = ("same", "same_when_short", "family", "family_when_on", "declared", "likeness", "facet", "own_when_on")
_SAME, _SHORT, _FAMILY, _FAMILY_ON, _DECLARED, _LIKENESS, _FACET, _OWN_ON = range(len(SIGNS))
_STEEPNESS = 3.0  # brings the lead of "goes on" to a share
_SHORT_FEATURES = 60  # about fifteen characters: who changes the subject says what it is, and needs more


@dataclass(frozen=True, slots=True)
class Heard:
    """What the models say of a second message by itself."""

    topics: Floats  # scores by class
    facet: str | None
    asks: float  # how likely it asks for a facet at all
    goes_on: float  # from 0 (a fresh question) to 1 (goes on about what was said)


@dataclass(frozen=True, slots=True)
class Asks:
    """The follow-ups of one entry, as the models see them: all their features in one array, sorted by row."""

    rows: Rows
    weights: Floats
    owners: NDArray[np.intp]  # which follow-up each row belongs to
    targets: tuple[str, ...]


def shared_topic(topic: str, facet: str | None, known: Mapping[str, object]) -> str:
    """idcard.first + fee -> idcard.fee_time, where the family has such a topic; else the topic itself."""
    shared = f"{topic.partition('.')[0]}.fee_time"
    return shared if facet in _SHARED_FACETS and shared in known else topic


class FollowUps:
    """Weighs what the second message says by itself against what usually comes after the topic before it."""

    def __init__(
        self,
        *,
        reader: Reader,
        models: Models,
        entries: Mapping[str, KnowledgeEntry],
        weights: Mapping[str, float],
        facet_sharpness: float,
    ) -> None:
        self._models = models
        self._weights = [float(weights.get(f"follow_{sign}", 0.0)) for sign in SIGNS]
        self._facet_sharpness = facet_sharpness
        self._places = {name: place for place, name in enumerate(models.classes["topics"])}
        families = np.array([name.partition(".")[0] for name in models.classes["topics"]])
        self._families = {family: (families == family).astype(np.float32) for family in dict.fromkeys(families)}
        self._asks = {topic: self._read_asks(reader, entry) for topic, entry in entries.items() if entry.followups}

    def _read_asks(self, reader: Reader, entry: KnowledgeEntry) -> Asks:
        found = [self._models.weigh(reader.read(followup.ask).keys) for followup in entry.followups]
        rows = np.concatenate([weighed.rows for weighed in found])
        order = rows.argsort(kind="stable")
        return Asks(
            rows[order],
            np.concatenate([weighed.weights for weighed in found])[order],
            np.repeat(np.arange(len(found)), [len(weighed.rows) for weighed in found])[order],
            tuple(
                followup.topic or shared_topic(entry.topic, followup.facet, self._places)
                for followup in entry.followups
            ),
        )

    def facet_chance(self, weighed: Weighed) -> tuple[str | None, float]:
        """The facet a short message asks for, and how likely it asks for one at all."""
        classes = self._models.classes.get("facets")
        if classes is None:
            return None, 0.0
        return likely_facet(classes, softmax(weighed.scores("facets"), self._facet_sharpness))

    def hear(self, weighed: Weighed) -> Heard:
        turns = self._models.classes.get("turns")
        on = likely_on(turns, weighed.scores("turns")) if turns else 0.0
        return Heard(weighed.topics(), *self.facet_chance(weighed), on)

    def signs(self, weighed: Weighed, previous: str, heard: Heard, *, without: int | None = None) -> Floats:
        """One row a class, one column of SIGNS; the build leaves one ask out, and `heard` was learnt without it."""
        table = np.zeros((len(self._places), len(SIGNS)), np.float32)
        for sign, column in self._signs_of_all(previous, heard).items():
            table[:, sign] = column
        for (place, sign), value in self._signs_of_some(weighed, previous, heard, without).items():
            table[place, sign] = value
        return table

    def _signs_of_all(self, previous: str, heard: Heard) -> dict[int, Floats]:
        """The columns of SIGNS in which many classes stand."""
        columns = {_OWN_ON: heard.topics * np.float32(heard.goes_on)}  # what goes on says less by its own words
        family = self._families.get(previous.partition(".")[0])
        if family is not None:
            columns |= {_FAMILY: family, _FAMILY_ON: family * np.float32(heard.goes_on)}
        return columns

    def _signs_of_some(
        self, weighed: Weighed, previous: str, heard: Heard, without: int | None
    ) -> dict[tuple[int, int], float]:
        """The cells (class, sign) of the columns that are nearly empty."""
        cells: dict[tuple[int, int], float] = {}
        home = self._places.get(shared_topic(previous, heard.facet, self._places))
        if home is not None:
            cells[home, _FACET] = heard.asks
        if previous in self._places:
            place = self._places[previous]
            cells[place, _SAME] = 1.0
            cells[place, _SHORT] = max(0.0, 1 - len(weighed.rows) / _SHORT_FEATURES)
        asks = self._asks.get(previous)
        if asks is None:
            return cells
        for number, (target, likeness) in enumerate(zip(asks.targets, _likeness(asks, weighed), strict=True)):
            where = self._places.get(target)
            if where is None or number == without:
                continue
            if target != previous:
                cells[where, _DECLARED] = 1.0
            cells[where, _LIKENESS] = max(cells.get((where, _LIKENESS), 0.0), likeness)
        return cells

    def lift(self, weighed: Weighed, previous: str, heard: Heard) -> Floats:
        """What to add to the log-chances of each class, given the topic before: `signs` by their weights, summed."""
        weights = self._weights
        lift = np.zeros(len(self._places), np.float32)
        for sign, column in self._signs_of_all(previous, heard).items():
            lift += column * weights[sign]
        for (place, sign), value in self._signs_of_some(weighed, previous, heard, None).items():
            lift[place] += value * weights[sign]
        return lift

    def targets(self, previous: str) -> tuple[str, ...]:
        """The topics that the follow-ups of an entry lead to, one for each."""
        asks = self._asks.get(previous)
        return asks.targets if asks else ()


def likely_on(classes: Sequence[str], scores: Floats) -> float:
    """How much a message sounds like going on about what was said, from 0 to 1."""
    lead = float(scores[classes.index(GOES_ON)])
    return 1 / (1 + math.exp(-_STEEPNESS * lead))


def likely_facet(classes: Sequence[str], chances: Floats) -> tuple[str | None, float]:
    by_name: dict[str, float] = dict(zip(classes, chances.tolist(), strict=True))
    none = by_name.pop(NO_FACET)
    return max((name for name in by_name if name in FACETS), key=by_name.__getitem__), 1 - none


def _likeness(asks: Asks, weighed: Weighed) -> list[float]:
    """The cosine of a message and each of the asks."""
    order = weighed.rows.argsort()
    rows = weighed.rows[order]
    if not len(rows):
        return [0.0] * len(asks.targets)
    places = rows.searchsorted(asks.rows)
    found = (rows.take(places, mode="clip") == asks.rows).nonzero()[0]
    shares = weighed.weights[order[places[found]]] * asks.weights[found]
    alike: list[float] = np.bincount(asks.owners[found], weights=shares, minlength=len(asks.targets)).tolist()
    return alike

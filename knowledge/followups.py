"""Short second messages: what "那要多少钱" means after the topic before it, and when the subject has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from knowledge.entry import FACETS, KnowledgeEntry
from knowledge.features import Reader
from knowledge.model import Floats, Keys, LinearModel, softmax

NO_FACET = "none"
_SHARED_FACETS = ("fee", "time")  # a family with a topic of its own for fees and times answers them there
SIGNS = ("same", "family", "declared", "likeness", "facet")


@dataclass(frozen=True, slots=True)
class Ask:
    """One follow-up of an entry, as the models see it: the rows and weights of its features."""

    weights: Mapping[int, float]
    target: str
    facet: str | None


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
        topics: LinearModel,
        facets: LinearModel | None,
        entries: Mapping[str, KnowledgeEntry],
        weights: Mapping[str, float],
        facet_sharpness: float,
    ) -> None:
        self._topics = topics
        self._facets = facets
        self._entries = entries
        self._weights = np.array([weights.get(f"follow_{sign}", 0.0) for sign in SIGNS], np.float32)
        self._facet_sharpness = facet_sharpness
        self._places = {name: place for place, name in enumerate(topics.classes)}
        self._asks = {topic: self._read_asks(reader, entry) for topic, entry in entries.items() if entry.followups}

    def _read_asks(self, reader: Reader, entry: KnowledgeEntry) -> tuple[Ask, ...]:
        asks = []
        for followup in entry.followups:
            rows, values = self._topics.vector(reader.read(followup.ask).keys)
            target = followup.topic or shared_topic(entry.topic, followup.facet, self._places)
            asks.append(Ask(dict(zip(rows.tolist(), values.tolist(), strict=True)), target, followup.facet))
        return tuple(asks)

    def facet_chance(self, keys: Keys) -> tuple[str | None, float]:
        """The facet a short message asks for, and how likely it asks for one at all."""
        if self._facets is None:
            return None, 0.0
        chances = softmax(self._facets.scores(keys), self._facet_sharpness)
        none = self._facets.classes.index(NO_FACET)
        likely = 1 - float(chances[none])
        chances[none] = 0
        name = self._facets.classes[int(chances.argmax())]
        return (name if name in FACETS else None), likely

    def signs(
        self,
        keys: Keys,
        previous: str,
        *,
        without: int | None = None,
        asked: tuple[str | None, float] | None = None,
    ) -> Floats:
        """One row a class, one column of SIGNS; the build leaves one ask out and gives a facet learnt without it."""
        table = np.zeros((len(self._topics.classes), len(SIGNS)), np.float32)
        family = previous.partition(".")[0] + "."
        for name, place in self._places.items():
            if name.startswith(family):
                table[place, 1] = 1.0
        facet, likely = asked or self.facet_chance(keys)
        home = self._places.get(shared_topic(previous, facet, self._places))
        if home is not None:
            table[home, 4] = likely
        if previous in self._places:
            table[self._places[previous], 0] = 1.0
        rows, values = self._topics.vector(keys)
        for number, ask in enumerate(self._asks.get(previous, ())):
            where = self._places.get(ask.target)
            if where is None or number == without:
                continue
            if ask.target != previous:
                table[where, 2] = 1.0
            likeness = sum(
                value * ask.weights.get(row, 0.0) for row, value in zip(rows.tolist(), values.tolist(), strict=True)
            )
            table[where, 3] = max(table[where, 3], likeness)
        return table

    def lift(self, keys: Keys, previous: str) -> Floats:
        """What to add to the log-chances of each class, given the topic before."""
        result: Floats = self.signs(keys, previous) @ self._weights
        return result

    def asks(self, previous: str) -> tuple[Ask, ...]:
        return self._asks.get(previous, ())

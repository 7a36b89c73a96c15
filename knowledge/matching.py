"""What a message is about: urgent or not, which topic, how sure, and what to do with it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from knowledge.bare import is_bare
from knowledge.entry import NONE_FAMILY, KnowledgeEntry
from knowledge.facets import Facets
from knowledge.features import Reader, Reading, readable
from knowledge.followups import FollowUps, Heard
from knowledge.model import Floats, Models, Weighed, softmax
from knowledge.nearest import Nearest
from knowledge.text import CLASS_NAMES

CALM = "calm"  # the urgent model's class for everything that can wait
_CLAUSE_END = re.compile(
    r"[。!?;\n]+|另外|,还有|还有就是|还有个事|还有一件事|顺便(?:问|再)|对了|再问(?:一下|个)"
    r"|also,? |by the way|and another thing"
)
_ASKS = re.compile(r"[?吗么咋]|怎么|\b(?:how|what|where|which|who|can i|should)\b")
_LEAST_CLAUSE_CHARS, _LEAST_CALL_CHARS = 6, 4  # "着火了!" is enough
_MOST_CLAUSES = 4
_CLEARLY = 1.5  # so much more danger than a whole message needs, for the other sentences may take it back
_LEAST_CHANCE = 1e-5
_ENOUGH_WORDS = 2
_LEAST_WORD_CHARS = 3  # two, and the sign of its kind


class Decision(StrEnum):
    ANSWER = "answer"
    CLARIFY = "clarify"
    OFFICER = "officer"
    REFER = "refer"
    URGENT = "urgent"
    CHAT = "chat"
    UNKNOWN = "unknown"


ROUTE_DECISIONS = {"answer": Decision.ANSWER, "officer": Decision.OFFICER, "dept": Decision.REFER}


@dataclass(frozen=True, slots=True)
class Candidate:
    topic: str
    score: float
    title: str


@dataclass(frozen=True, slots=True)
class Match:
    decision: Decision
    topic: str | None  # an emergency.* id when urgent; the best guess when 'clarify'
    candidates: tuple[Candidate, ...]  # best first; at most three are meant for "did you mean"
    facet: str | None  # what the message asks of the topic, if it says so
    words: tuple[str, ...]  # the words that decided
    language: str  # 'zh' or 'en'
    also: str | None  # a second matter in the same message
    reply: str | None  # for 'chat': the line to say, '' for none
    perhaps: str | None = None  # not urgent, but it may be a call for help: the emergency.* id it would be


@dataclass(frozen=True, slots=True)
class Bands:
    """Where sure ends and guessing begins; calibrated by the build on phrases kept out of training."""

    sharpness: float = 6.0  # brings a model's scores to probabilities
    facet_sharpness: float = 3.0
    urgent: float = 0.0  # at least this much danger: urgent; low, because a missed one is worse than a false alarm
    urgent_in_context: float = 0.0  # the same for a second message that plainly goes on about the topic before it:
    fits_context: float = 0.4  # a topic of the same family is at least this likely
    perhaps: float = math.inf  # at least this much danger: ask whether it happens now
    sure: float = 0.3  # at least this chance of the best topic: answer, below: ask back
    guess: float = 0.02  # below: not even worth asking back
    none_by_topics: float = 1.0  # how much each sign counts for "no topic": the log-chance of the kinds of none,
    none_by_best: float = -1.0  # the log-chance of the best topic,
    none_by_family: float = 0.0  # and the lead of "none" over the families of topics
    none_sure: float = 0.0  # at least this sum of them: no topic
    none_likely: float = -1.5  # at least this sum: ask back at most
    none_in_context: float = 0.5  # after another topic: at least this chance of the kinds of none
    also: float = 0.7  # a second matter must be this sure
    facet: float = 0.5  # at least this chance that a follow-up asks for a facet


def _goes_on(best: Candidate, previous: str, bands: Bands) -> bool:
    """Whether a second message plainly goes on about the topic before it."""
    return best.score >= bands.fits_context and best.topic.partition(".")[0] == previous.partition(".")[0]


def none_signs(is_none: NDArray[np.bool_], chances: Floats) -> tuple[float, float]:
    """The log-chances of the kinds of none together, and of the best topic."""
    none, best = float(chances[is_none].sum()), float(chances[~is_none].max(initial=0.0))
    return math.log(none + _LEAST_CHANCE), math.log(best + _LEAST_CHANCE)


def family_lead(classes: Sequence[str], scores: Floats) -> float:
    """How far "none" scores above the best family of topics."""
    others: list[float] = scores.tolist()
    none = others.pop(classes.index(NONE_FAMILY))
    return none - max(others)


def tone_of(reading: Reading) -> Floats:
    """Whether a message asks something, and whether it is in English: that scores lower, fewer words are known."""
    return np.array([_ASKS.search(reading.text) is not None, reading.language == "en"], np.float32)


class Danger:
    """What speaks for danger now, to oneself or to somebody in sight: signs from all models, weighed together.

    The guard's own scores say how a message sounds; what topic it may be about says whether it is a question.
    """

    def __init__(self, urgent: Sequence[str], topics: Sequence[str]) -> None:
        self._calm = urgent.index(CALM)
        families = [name.partition(".")[0] for name in topics]  # sorted, so each family's topics stand together
        self._families = np.array([at for at, family in enumerate(families) if at == families.index(family)])
        self._none = slice(families.index(NONE_FAMILY), families.index(NONE_FAMILY) + families.count(NONE_FAMILY))

    def signs(self, urgent: Floats, topics: Floats, chances: Floats, tone: Floats) -> Floats:
        """The scores of the guard and of each family's best topic, the guard's lead, chances of none and best, tone."""
        scores: list[float] = urgent.tolist()
        calm = scores.pop(self._calm)
        none, best = float(chances[self._none].sum()), float(chances.max())
        others = (max(scores) - calm, math.log(none + _LEAST_CHANCE), math.log(best))
        best_topics = np.maximum.reduceat(topics, self._families)
        return np.concatenate([urgent, best_topics, np.array(others, np.float32), tone])


class Matcher:
    """Pure and synchronous: reads nothing but what it was built from."""

    def __init__(
        self,
        *,
        reader: Reader,
        models: Models,
        danger: Floats | None,
        facets: Facets,
        followups: FollowUps,
        nearest: Nearest | None,
        entries: Mapping[str, KnowledgeEntry],
        bands: Bands,
    ) -> None:
        self._reader = reader
        self._models = models
        self._facets = facets
        self._followups = followups
        self._nearest = nearest
        trained, added = models.classes["topics"], nearest.topics if nearest else ()
        self._classes = (*trained, *(topic for topic in added if topic not in set(trained)))
        self._is_none = np.array([name.startswith(f"{NONE_FAMILY}.") for name in self._classes])
        self._danger = None if danger is None else (Danger(models.classes["urgent"], trained), danger)
        self._nones = self._is_none.nonzero()[0].tolist()
        self._added = np.array([self._classes.index(topic) for topic in added], np.intp)
        self._entries = entries
        self._bands = bands

    def match(self, text: str, *, previous_topic: str | None = None) -> Match:
        reading = self._reader.read(text)
        if not any(sign.isalnum() or sign in CLASS_NAMES for sign in reading.text):
            return Match(Decision.CHAT, None, (), None, (), reading.language, None, "")
        facet = self._facets.asked(reading.text)
        weighed = self._models.weigh(reading.keys)
        threshold = self._bands.urgent
        trained = self._trained_chances(weighed)
        chances = self._with_added(reading, trained)
        danger = -math.inf if is_bare(text) else self._danger_of(reading, weighed, trained)
        if previous_topic in self._entries:
            heard = self._followups.hear(weighed)
            chances = self._in_context(weighed, chances, str(previous_topic), heard)
            facet = facet or (heard.facet if heard.asks >= self._bands.facet else None)
            doubt = self._doubt_in_context(chances)
        else:
            doubt = self._doubt(weighed, chances)
        candidates = self._candidates(chances)
        if previous_topic and candidates and _goes_on(candidates[0], previous_topic, self._bands):
            threshold = self._bands.urgent_in_context
        if danger < threshold and (call := self._call_among(reading)) is not None:
            weighed, danger = call, threshold
        if danger >= threshold:
            kind = self._urgent_kind(weighed)
            return Match(
                Decision.URGENT,
                kind,
                candidates,
                None,
                self._words(reading, weighed, "urgent", kind),
                reading.language,
                self._second(reading, kind, errands_only=True),
                None,
            )
        calm = self._decide(reading, weighed, chances, candidates, facet, doubt)
        if danger < self._bands.perhaps or calm.decision is Decision.CHAT:
            return calm
        return replace(calm, perhaps=self._urgent_kind(weighed))

    def _doubt(self, weighed: Weighed, chances: Floats) -> float:
        """How much speaks for "no topic", on the scale of none_sure and none_likely."""
        families = self._models.classes.get("families")
        lead = family_lead(families, weighed.scores("families")) if families else 0.0
        none, best = none_signs(self._is_none, chances)
        bands = self._bands
        return bands.none_by_topics * none + bands.none_by_best * best + bands.none_by_family * lead

    def _doubt_in_context(self, chances: Floats) -> float:
        """A short second message says little by itself; only the chances that know the topic before it count."""
        none, best = none_signs(self._is_none, chances)
        return math.inf if none > best and none > math.log(self._bands.none_in_context) else -math.inf

    def _danger_of(self, reading: Reading, weighed: Weighed, chances: Floats | None = None) -> float:
        """How much speaks for danger; `chances` of the trained topics, where they are known already."""
        if self._danger is None:
            return -math.inf
        danger, weights = self._danger
        chances = self._trained_chances(weighed) if chances is None else chances
        signs = danger.signs(weighed.scores("urgent"), weighed.topics(), chances, tone_of(reading))
        return float(signs.dot(weights))

    def _urgent_kind(self, weighed: Weighed) -> str:
        return self._models.classes["kinds"][int(weighed.scores("kinds").argmax())]

    def _trained_chances(self, weighed: Weighed) -> Floats:
        return softmax(weighed.topics(), self._bands.sharpness)

    def _with_added(self, reading: Reading, trained: Floats) -> Floats:
        """How likely each class is; phrases added since the build take their share from the others."""
        if self._nearest is None:
            return trained
        chances = np.zeros(len(self._classes), np.float32)
        added = self._nearest.chances(reading)
        chances[: len(trained)] = trained * (1 - added.max(initial=0.0))
        chances[self._added] += added
        result: Floats = chances / chances.sum()
        return result

    def _in_context(self, weighed: Weighed, chances: Floats, previous: str, heard: Heard) -> Floats:
        lift = self._followups.lift(weighed, previous, heard)
        likely = np.log(chances + 1e-9)
        likely[: len(lift)] += lift
        return softmax(likely)

    def _candidates(self, chances: Floats, limit: int = 5) -> tuple[Candidate, ...]:
        found = []
        for index in (-chances).argsort().tolist():
            topic = self._classes[index]
            if not self._is_none[index] and topic in self._entries:
                found.append(Candidate(topic, round(float(chances[index]), 4), self._entries[topic].title))
                if len(found) == limit:
                    break
        return tuple(found)

    def _decide(
        self,
        reading: Reading,
        weighed: Weighed,
        chances: Floats,
        candidates: Sequence[Candidate],
        facet: str | None,
        doubt: float,
    ) -> Match:
        bands = self._bands
        best = candidates[0] if candidates else None
        plain = Match(Decision.UNKNOWN, None, tuple(candidates), facet, (), reading.language, None, None)
        if best is None or doubt >= bands.none_sure:
            kind = self._classes[max(self._nones, key=chances.__getitem__)] if self._nones else ""
            entry = self._entries.get(kind)
            if entry is None or entry.kind != "talk":
                return plain
            reply = entry.reply_en if reading.language == "en" and entry.reply_en else entry.reply
            words = self._words(reading, weighed, "topics", kind)
            return replace(plain, decision=Decision.CHAT, reply=reply, words=words)
        if best.score < bands.guess:
            return plain
        words = self._words(reading, weighed, "topics", best.topic)
        if best.score < bands.sure or doubt >= bands.none_likely:
            return replace(plain, decision=Decision.CLARIFY, topic=best.topic, words=words)
        entry = self._entries[best.topic]
        decision = ROUTE_DECISIONS[entry.route] if entry.written else Decision.OFFICER
        return replace(plain, decision=decision, topic=best.topic, words=words, also=self._second(reading, best.topic))

    def _clauses(self, reading: Reading) -> list[str]:
        """The sentences of a message with more than one matter in it; none of a message that is one, or a letter."""
        clauses = [clause for clause in _CLAUSE_END.split(reading.text) if len(clause.strip()) >= _LEAST_CALL_CHARS]
        return clauses if 2 <= len(clauses) <= _MOST_CLAUSES else []

    def _call_among(self, reading: Reading) -> Weighed | None:
        """A call for help beside another matter, which would drown it: one sentence that is clearly one by itself."""
        for clause in self._clauses(reading):
            part = self._reader.read(clause)
            weighed = self._models.weigh(part.keys)
            if self._danger_of(part, weighed) >= self._bands.urgent + _CLEARLY:
                return weighed
        return None

    def _second(self, reading: Reading, main: str, *, errands_only: bool = False) -> str | None:
        """A second matter: another sentence of the message that is surely about another topic.

        `errands_only`: one that an answer settles, and no other side of what an officer sees to anyway.
        """
        for clause in self._clauses(reading):
            if len(clause.strip()) < _LEAST_CLAUSE_CHARS:
                continue
            part = self._reader.read(clause)
            weighed = self._models.weigh(part.keys)
            if errands_only and self._danger_of(part, weighed) >= self._bands.urgent:
                continue
            found = self._candidates(self._with_added(part, self._trained_chances(weighed)), 1)
            if not found or found[0].topic == main or found[0].score < self._bands.also:
                continue
            entry = self._entries[found[0].topic]
            if not errands_only or (entry.route == "answer" and not entry.topic.startswith("fraud.")):
                return entry.topic
        return None

    @staticmethod
    def _words(reading: Reading, weighed: Weighed, model: str, name: str, limit: int = 6) -> tuple[str, ...]:
        """The words that spoke most for a class; for one that is not of the model, the message's own."""
        if name not in weighed.models.classes[model]:
            return tuple(word for word in reading.words if len(word) > 1)[:limit]
        words: list[str] = []
        reasons = [reading.features[place] for place in weighed.reasons(model, name)]
        # Whole words first; runs of characters only where the dictionary has no word for what decided.
        for kind in "wc":
            for feature in reasons:
                if feature[0] != kind or len(feature) < _LEAST_WORD_CHARS:
                    continue
                word = readable(feature)
                if not any(word in other or other in word for other in words):
                    words.append(word)
                    if len(words) == limit:
                        return tuple(words)
            if len(words) >= _ENOUGH_WORDS:
                break
        return tuple(words)

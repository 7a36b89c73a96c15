"""Learns the models from the entries' phrases, and the bands from phrases kept out of training (build time only)."""

from __future__ import annotations

import hashlib
import math
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from knowledge.entry import NONE_FAMILY, KnowledgeEntry
from knowledge.followups import FRESH, GOES_ON, NO_FACET, SIGNS, FollowUps, Heard
from knowledge.matching import CALM, Danger, family_lead, none_signs
from knowledge.model import Floats, Keys, Models, homes_of, keys_of, with_families
from knowledge.text import information

_LEAST_PHRASES = 2  # a feature seen in one phrase only teaches nothing about others
_NEAR_COPY = 0.5  # share of common pairs of characters
_LEAST_WEIGHT = 3  # of 127: smaller ones are left out; far smaller, and as accurate on unseen questions
_WEIGHT_STEPS = 127
# Letters and stems of Latin words say less than the words; measured on phrases kept out.
_KIND_WEIGHTS = {"w": 1.0, "k": 1.0, "p": 1.0, "s": 1.0, "c": 1.0, "l": 0.7}
# Shares of our own phrases kept out, which are harder than what residents ask: a danger missed there is worded in a
# way that no other phrase is.
_LOST_TO_NONE = 0.015  # of messages with a topic, taken for none
_ASKED_BACK = 0.10  # of messages with a topic, asked back because they may have none
_URGENT_FOUND = 0.90  # of emergencies; more would raise too many quarrels and leaks of last year
_URGENT_FOUND_IN_CONTEXT = 0.60
_PERHAPS = 0.07  # of what is no emergency, asked whether it happens now
_HARD_WEIGHT, _HARD_SIGNS_WEIGHT = 5.0, 10.0  # of texts that only sound urgent: in the guard, among the signs
_ASKS_TO_A_CHANGE = 2  # second messages mostly go on about the first
_LEAVING_WEIGHT = 2.0  # those that lead to a topic beside the first: rarer in the entries than in what residents write
_PART_SIGNS = re.compile(r"[,、;()\uff0c\uff1b\uff08\uff09]")
_LEAST_PART_CHARS = 3
_UNSEEN = -2.0  # the score of a class that a fold has no example of


@dataclass(frozen=True, slots=True)
class Example:
    text: str
    label: str


def topic_examples(entries: Mapping[str, KnowledgeEntry]) -> list[Example]:
    examples = []
    for topic, entry in entries.items():
        if topic.startswith("emergency."):
            for text, label in entry.near_misses:
                examples.append(Example(text, label if label in entries else f"{NONE_FAMILY}.outside"))
            continue
        examples += [Example(phrase, topic) for phrase in entry.all_phrases()]
        if not topic.startswith(NONE_FAMILY + "."):
            examples += [Example(part, topic) for part in _scope_parts(entry)]
    return _unique(examples)


def urgent_examples(entries: Mapping[str, KnowledgeEntry]) -> list[Example]:
    examples = []
    for topic, entry in entries.items():
        if topic.startswith("emergency."):
            examples += [Example(phrase, topic) for phrase in entry.all_phrases()]
            examples += [Example(text, CALM) for text, _ in entry.near_misses]
        else:
            examples += [Example(phrase, CALM) for phrase in entry.all_phrases()]
    return _unique(examples)


def kind_examples(entries: Mapping[str, KnowledgeEntry]) -> list[Example]:
    """Emergencies only: that it is one is known when its kind is asked."""
    return [example for example in urgent_examples(entries) if example.label != CALM]


def _scope_parts(entry: KnowledgeEntry) -> list[str]:
    """The title and each thing that the topic's scope names are phrases too."""
    return [part for part in [entry.title, *_PART_SIGNS.split(entry.scope)] if len(part) >= _LEAST_PART_CHARS]


def _unique(examples: Sequence[Example]) -> list[Example]:
    return list({(example.text, example.label): example for example in examples}.values())


def fold_of(text: str, folds: int) -> int:
    """A phrase's fold by its own hash: the same phrase is held out whatever else is written."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % folds


def pairs_of(text: str) -> frozenset[str]:
    """The pairs of characters of a text, signs and spaces left out: how near two texts are is what they share."""
    plain = re.sub(r"\W", "", text.lower())
    return frozenset(plain[at : at + 2] for at in range(len(plain) - 1)) or frozenset({plain})


def near_copies(examples: Sequence[Example]) -> dict[str, str]:
    """For each text the one that stands for it and its near-copies, so that they are kept out together."""
    heads = {example.text: example.text for example in examples}

    def head(text: str) -> str:
        while heads[text] != text:
            heads[text] = text = heads[heads[text]]
        return text

    holders: dict[tuple[str, str], list[str]] = {}  # by label and pair: only phrases of one label are near-copies
    pairs: dict[str, frozenset[str]] = {}
    for example in examples:
        own = pairs[example.text] = pairs_of(example.text)
        common: Counter[str] = Counter()
        for pair in own:
            others = holders.setdefault((example.label, pair), [])
            common.update(others)
            others.append(example.text)
        for other, count in common.items():
            if count >= _NEAR_COPY * len(own | pairs[other]):
                first, second = sorted((head(example.text), head(other)))  # in whatever order they are found
                heads[second] = first
    return {text: head(text) for text in heads}


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one model is to learn: its examples, how closely to follow them, and which features are too rare for it."""

    examples: Sequence[Example]
    c: float
    least: int = _LEAST_PHRASES
    hard: frozenset[str] = frozenset()  # few texts that are easily mistaken: each counts for several


def learn(lessons: Mapping[str, Lesson], features: Mapping[str, Sequence[str]]) -> Models:
    """One-against-rest linear SVMs over the features of each text, weighted by rarity; weights rounded to int8."""
    texts = list(dict.fromkeys(example.text for lesson in lessons.values() for example in lesson.examples))
    places = {text: place for place, text in enumerate(texts)}
    counts = Counter(feature for text in texts for feature in features[text])
    named = {
        crc: feature
        for feature, count in sorted(counts.items())
        if count >= _LEAST_PHRASES and feature[0] in _KIND_WEIGHTS
        for crc in [zlib.crc32(feature.encode())]
    }
    keys = np.array(sorted(named), np.uint32)
    kept = [named[key] for key in keys.tolist()]  # of two features with one checksum the last stays
    vocabulary = {feature: row for row, feature in enumerate(kept)}
    rarity = np.array([_weight(feature, counts[feature], len(texts)) for feature in kept], np.float16).astype("f4")
    matrix = _matrix([features[text] for text in texts], vocabulary, rarity)
    classes, parts, scales, biases = {}, [], [], []
    for name, lesson in lessons.items():
        examples = matrix[[places[example.text] for example in lesson.examples]]
        common = np.flatnonzero(examples.getnnz(axis=0) >= lesson.least)
        machine = LinearSVC(C=lesson.c, random_state=0)
        weight = [_HARD_WEIGHT if example.text in lesson.hard else 1.0 for example in lesson.examples]
        machine.fit(examples[:, common], [example.label for example in lesson.examples], weight)
        raw, bias = machine.coef_, machine.intercept_
        if len(machine.classes_) == 2:
            raw, bias = np.vstack([-raw[0], raw[0]]), np.array([-bias[0], bias[0]])
        scale = np.abs(raw).max(axis=1) / _WEIGHT_STEPS
        scale[scale == 0] = 1.0
        part = np.zeros((len(keys), len(raw)), np.int8)
        part[common] = np.rint(raw / scale[:, None]).T
        part[np.abs(part) < _LEAST_WEIGHT] = 0
        classes[name] = tuple(map(str, machine.classes_))
        parts.append(part)
        scales.append(scale)
        biases.append(bias)
    weights = np.hstack(parts)
    rows, columns = np.nonzero(weights)
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(keys)))])
    return Models(
        classes=classes,
        keys=keys,
        rarity=rarity,
        starts=starts.astype(np.int32),
        columns=columns.astype(np.uint8 if weights.shape[1] <= 1 << 8 else np.uint16),
        values=weights[rows, columns],
        scale=np.concatenate(scales).astype(np.float32),
        bias=np.concatenate(biases).astype(np.float32),
    )


def _weight(feature: str, count: int, total: int) -> float:
    """Rarity, dampened (its root did best on phrases kept out), times what this kind of feature is worth."""
    return _KIND_WEIGHTS[feature[0]] * math.sqrt(information(count, total))


def _matrix(
    features: Sequence[Sequence[str]], vocabulary: Mapping[str, int], rarity: NDArray[np.float32]
) -> csr_matrix:
    starts, rows, values = [0], [], []
    for row in features:
        known = [vocabulary[feature] for feature in row if feature in vocabulary]
        weights = rarity[known]
        norm = float(np.sqrt(np.dot(weights, weights))) or 1.0
        rows += known
        values.append(weights / norm)
        starts.append(len(rows))
    return csr_matrix(
        (np.concatenate(values), np.array(rows), np.array(starts)), shape=(len(features), len(vocabulary))
    )


def facet_examples(entries: Mapping[str, KnowledgeEntry]) -> list[Example]:
    """What second messages ask for; those that change the topic ask for no facet."""
    return _unique(
        [
            Example(followup.ask, followup.facet or NO_FACET)
            for entry in entries.values()
            for followup in entry.followups
        ]
    )


def turn_examples(entries: Mapping[str, KnowledgeEntry]) -> list[Example]:
    """How second messages sound that go on about the first, beside questions that stand by themselves."""
    goes_on = [Example(followup.ask, GOES_ON) for entry in entries.values() for followup in entry.followups]
    taken = {example.text for example in goes_on}
    fresh = [
        Example(phrase, FRESH)
        for topic, entry in entries.items()
        if entry.followups and not topic.startswith((NONE_FAMILY, "emergency."))
        for phrase in entry.all_phrases()
        if phrase not in taken
    ]
    return _unique(goes_on + fresh)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What one model says of every text without having seen it, and the labels of its own examples."""

    classes: tuple[str, ...]
    places: Mapping[str, int]  # of the texts, in `every`
    every: Floats  # texts x classes
    texts: tuple[str, ...]  # of its examples
    labels: NDArray[np.int64]  # of its examples, places in classes

    @property
    def scores(self) -> Floats:
        """Of its own examples."""
        return self.scores_of(self.texts)

    def scores_of(self, texts: Sequence[str]) -> Floats:
        found: Floats = self.every[[self.places[text] for text in texts]]
        return found


def lean_on_families(held: Mapping[str, HeldOut]) -> dict[str, HeldOut]:
    """The same, with the scores of the topics as a message gets them: with a share of their families'."""
    topics, families = held.get("topics"), held.get("families")
    if topics is None or families is None:
        return dict(held)
    homes = homes_of(topics.classes, families.classes)
    return {**held, "topics": replace(topics, every=with_families(topics.every, families.every, homes))}


def hold_out(lessons: Mapping[str, Lesson], features: Mapping[str, Sequence[str]], folds: int) -> dict[str, HeldOut]:
    """Each text judged by models that saw neither it nor a near-copy of it."""
    near = near_copies([example for lesson in lessons.values() for example in lesson.examples])
    fold = {text: fold_of(standing, folds) for text, standing in near.items()}
    places = {text: place for place, text in enumerate(near)}
    held = {}
    for name, lesson in lessons.items():
        classes = tuple(sorted({example.label for example in lesson.examples}))
        held[name] = HeldOut(
            classes,
            places,
            np.full((len(places), len(classes)), _UNSEEN, np.float32),
            tuple(example.text for example in lesson.examples),
            np.array([classes.index(example.label) for example in lesson.examples]),
        )
    for number in range(folds):
        models = learn(
            {
                name: replace(lesson, examples=[its for its in lesson.examples if fold[its.text] != number])
                for name, lesson in lessons.items()
            },
            features,
        )
        columns = {
            name: [held[name].classes.index(label) for label in classes] for name, classes in models.classes.items()
        }
        for text, place in places.items():
            if fold[text] == number:
                weighed = models.weigh(keys_of(features[text]))
                for name, its in held.items():
                    its.every[place, columns[name]] = weighed.scores(name)
    return held


def log_softmax(scores: Floats) -> Floats:
    raised: Floats = scores - scores.max(axis=-1, keepdims=True)
    result: Floats = raised - np.log(np.exp(raised).sum(axis=-1, keepdims=True))
    return result


def fit_sharpness(held: HeldOut) -> float:
    """The factor that makes the chances of unseen phrases honest: highest likelihood."""
    scores, rows = held.scores, np.arange(len(held.labels))
    return min(
        (1 + 0.5 * step for step in range(30)),
        key=lambda sharpness: -float(log_softmax(scores * sharpness)[rows, held.labels].mean()),
    )


def family_examples(examples: Sequence[Example]) -> list[Example]:
    """The same phrases under the families of their topics; all kinds of none are one."""
    return [Example(example.text, example.label.partition(".")[0]) for example in examples]


def fit_none(topics: HeldOut, families: HeldOut, sharpness: float) -> dict[str, float]:
    """How the signs of "no topic" count (logistic), and the bands: they cost so many of the messages with a topic."""
    chances, leads = np.exp(log_softmax(topics.scores * sharpness)), families.scores
    is_none = np.array([name.startswith(f"{NONE_FAMILY}.") for name in topics.classes])
    none = is_none[topics.labels]
    signs = np.array(
        [(*none_signs(is_none, chances[at]), family_lead(families.classes, leads[at])) for at in range(len(chances))]
    )
    weights = LogisticRegression(class_weight="balanced", C=10.0).fit(signs, none).coef_[0]
    doubt = (signs @ weights)[~none]
    names = ("none_by_topics", "none_by_best", "none_by_family")
    return {name: float(weight) for name, weight in zip(names, weights, strict=True)} | {
        "none_sure": float(np.quantile(doubt, 1 - _LOST_TO_NONE)),
        "none_likely": float(np.quantile(doubt, 1 - _ASKED_BACK)),
    }


def fit_urgent(
    urgent: HeldOut, topics: HeldOut, sharpness: float, hard: frozenset[str], tones: Mapping[str, Floats]
) -> tuple[Floats, dict[str, float]]:
    """How the signs of danger count (logistic), and the bands: they find so many of the emergencies, and below that
    ask about so many of the others.

    `hard` are the texts that only sound urgent; they weigh more, because there are few.
    """
    danger = Danger(urgent.classes, topics.classes)
    others = topics.scores_of(urgent.texts)
    chances = np.exp(log_softmax(others * sharpness))
    tone = [tones[text] for text in urgent.texts]
    signs = np.array([danger.signs(*row) for row in zip(urgent.scores, others, chances, tone, strict=True)])
    right = urgent.labels != urgent.classes.index(CALM)
    weight = np.array([_HARD_SIGNS_WEIGHT if text in hard else 1.0 for text in urgent.texts])
    fitted = LogisticRegression(class_weight="balanced", max_iter=3000).fit(signs, right, sample_weight=weight)
    weights = fitted.coef_[0].astype(np.float32)
    every = signs @ weights
    found, calm = every[right], every[~right]
    threshold = float(np.quantile(found, 1 - _URGENT_FOUND))
    raised = float((calm >= threshold).mean())
    return weights, {
        "urgent": threshold,
        "urgent_in_context": float(np.quantile(found, 1 - _URGENT_FOUND_IN_CONTEXT)),
        "perhaps": float(np.quantile(calm, 1 - raised - _PERHAPS)),
    }


def fit_followups(
    followups: FollowUps,
    entries: Mapping[str, KnowledgeEntry],
    models: Models,
    sharpness: float,
    heard: Mapping[str, Heard],
    held: HeldOut,
    keys: Mapping[str, Keys],
    seed: int = 7,
) -> tuple[tuple[float, float], dict[str, float]]:
    """Shares right (of follow-ups, of changed subjects) and the weights of SIGNS.

    The weights are the likeliest over the entries' own follow-ups and over half as many changes of subject. `heard`
    and `held` were learnt without the texts that they judge; `keys` are the features of all those texts.
    """
    bases, tables, targets, weight = [], [], [], []
    unseen = held.scores
    places = {name: place for place, name in enumerate(models.classes["topics"])}
    for topic in sorted(entries):
        for number, target in enumerate(followups.targets(topic)):
            followup = entries[topic].followups[number]
            text = followup.ask
            if target in places:
                bases.append(log_softmax(heard[text].topics * sharpness))
                tables.append(followups.signs(models.weigh(keys[text]), topic, heard[text], without=number))
                targets.append(places[target])
                weight.append(_LEAVING_WEIGHT if followup.topic else 1.0)
    chance = np.random.default_rng(seed)
    previous = [topic for topic in sorted(entries) if topic in places]
    asks = len(targets)
    for at in chance.choice(len(held.labels), min(asks // _ASKS_TO_A_CHANGE, len(held.labels)), replace=False):
        topic = previous[int(chance.integers(len(previous)))]
        text = held.texts[at]
        bases.append(log_softmax(unseen[at] * sharpness))
        tables.append(followups.signs(models.weigh(keys[text]), topic, heard[text]))
        targets.append(int(held.labels[at]))
        weight.append(1.0)
    base, table, right = np.stack(bases), np.stack(tables), np.array(targets)
    rows, share = np.arange(len(right)), np.array(weight) / sum(weight)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The mean surprise at what is right, and its slope."""
        likely = log_softmax(base + table @ weights.astype(np.float32))
        slopes = np.einsum("nc,ncs->ns", np.exp(likely), table) - table[rows, right]
        return 1e-4 * float(weights @ weights) - float(likely[rows, right] @ share), share @ slopes + 2e-4 * weights

    found = minimize(loss, np.ones(len(SIGNS)), jac=True, method="L-BFGS-B")
    best = (base + table @ found.x.astype(np.float32)).argmax(axis=1) == right
    shares = float(best[:asks].mean()), float(best[asks:].mean())
    return shares, {f"follow_{sign}": round(float(weight), 3) for sign, weight in zip(SIGNS, found.x, strict=True)}

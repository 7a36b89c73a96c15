"""Groups sentences that ask alike, in a way that can be explained: they share words and runs of characters.

Each sentence becomes the set of its words and of its pairs of characters, weighted by how rare each is among all of
them. Sentence by sentence, the most frequent first: it joins the group of the one most alike, if they share enough of
that weight, or begins a group of its own. That the bot guesses the same topic for both counts as a part of likeness.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

ALIKE = 0.3  # of the weight in common (cosine); found by reading the groups of a thousand made-up questions
SAME_GUESS = 0.12
_TOO_COMMON = 0.2  # a feature in more than this share of many sentences says nothing and costs time
_MANY = 50
_SHOWN_WORDS = 4
_SIGNS = re.compile(r"\W+")
_HAN = re.compile(r"[\u4e00-\u9fff]+")

Words = Callable[[str], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Alike:
    """A group: places of its sentences, the first one leading, and the words that most of them share."""

    members: list[int]
    words: list[str] = field(default_factory=list)


def plain(text: str) -> str:
    """A sentence without signs, spaces and capitals: two that differ in these only are one."""
    return _SIGNS.sub("", text.casefold())


def group_alike(
    sentences: Sequence[str], counts: Sequence[int], words: Words, guesses: Sequence[str | None]
) -> list[Alike]:
    """Groups by size of all that was asked in them.

    `counts` says how often each sentence was asked, `guesses` what the bot would take it for.
    """
    features = [_features(text, words) for text in sentences]
    frequency = Counter(feature for found in features for feature in found)
    vectors = [_vector(found, frequency, len(sentences)) for found in features]
    holders: dict[str, list[tuple[int, float]]] = {}  # by feature: which sentence has it, with what weight
    group_of: dict[int, int] = {}
    groups: list[Alike] = []
    for number in sorted(range(len(sentences)), key=lambda number: (-counts[number], number)):
        likest = _likest(number, vectors[number], holders, guesses)
        place = group_of[likest] if likest is not None else len(groups)
        if place == len(groups):
            groups.append(Alike([]))
        groups[place].members.append(number)
        group_of[number] = place
        for feature, weight in vectors[number].items():
            holders.setdefault(feature, []).append((number, weight))
    for group in groups:
        group.words.extend(_shared_words(group.members, features))
    return sorted(groups, key=lambda group: -sum(counts[number] for number in group.members))


def _features(text: str, words: Words) -> frozenset[str]:
    runs = _HAN.findall(text)
    pairs = {run[at : at + 2] for run in runs for at in range(len(run) - 1)}
    return frozenset(pairs | {word.casefold() for word in words(text) if len(word) > 1}) or frozenset({plain(text)})


def _vector(features: Iterable[str], frequency: Counter[str], total: int) -> dict[str, float]:
    most = total * _TOO_COMMON if total > _MANY else total
    found = {name: math.log(1 + total / frequency[name]) for name in features if frequency[name] <= most}
    norm = math.sqrt(sum(weight * weight for weight in found.values()))
    return {name: weight / norm for name, weight in found.items()} if norm else {}


def _likest(
    number: int,
    vector: dict[str, float],
    holders: dict[str, list[tuple[int, float]]],
    guesses: Sequence[str | None],
) -> int | None:
    alike: dict[int, float] = {}
    for feature, weight in vector.items():
        for other, its in holders.get(feature, ()):
            alike[other] = alike.get(other, 0.0) + weight * its
    if (guess := guesses[number]) is not None:
        for other in alike:
            if guesses[other] == guess:
                alike[other] += SAME_GUESS
    best = max(alike, key=lambda other: (alike[other], -other), default=None)
    return best if best is not None and alike[best] >= ALIKE else None


def _shared_words(members: Sequence[int], features: Sequence[frozenset[str]]) -> list[str]:
    """The longest features that more than half of the sentences have; none for a sentence alone."""
    if len(members) < 2:
        return []
    common = Counter(feature for number in members for feature in features[number])
    shared = sorted(
        (name for name, count in common.items() if count * 2 > len(members)), key=lambda name: (-len(name), name)
    )
    shown: list[str] = []
    for name in shared:
        if not any(name in other for other in shown):
            shown.append(name)
    return shown[:_SHOWN_WORDS]

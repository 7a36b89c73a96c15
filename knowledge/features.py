"""What a model sees of a message: words, runs of characters, concepts and pairs of them, as feature names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from knowledge.model import Keys, keys_of
from knowledge.text import CLASS_NAMES, Normaliser, Phrasebook, Segmenter, language_of

_RUN = re.compile(r"[\u4e00-\u9fff\ue000-\ue009]+|[a-z']+|\d+")
_LATIN = re.compile(r"[a-z]{2}")
_SUFFIXES = ("ing", "ies", "ed", "es", "s", "ly")
_LEAST_SOUNDS, _MOST_SOUNDS = 3, 5  # two syllables are too often another word
_FIRST_SOUND = 0xE100  # above the class tokens of knowledge.text
_MAX_CONCEPTS_PAIRED = 12  # pairs grow with the square; a letter of 300 characters must stay cheap


@dataclass(frozen=True, slots=True)
class Reading:
    """A message after normalising, with what the models need."""

    text: str
    language: str
    words: tuple[str, ...]
    concepts: tuple[str, ...]
    features: tuple[str, ...]
    keys: Keys  # the features, as the models look them up


class Reader:
    """Reads a message into features; one for building the model and for using it, so both see the same."""

    def __init__(
        self,
        normalise: Normaliser,
        cut: Segmenter,
        concepts: Mapping[str, Sequence[str]],
        sounds: Mapping[str, str],
        english: Mapping[str, Sequence[str]],
    ) -> None:
        self.normalise = normalise
        self.cut = cut
        names: dict[str, list[str]] = {}
        for name, words in concepts.items():
            for word in words:
                names.setdefault(normalise(word), []).append(name)
        usable = {
            word: " ".join(dict.fromkeys(found))
            for word, found in names.items()
            if word and not any(sign in CLASS_NAMES for sign in word)
        }
        # One sign, or a Latin word, is a concept as a word of its own only: not 包 in 包括, not "hi" in "this".
        self._concept_words = {word: name for word, name in usable.items() if len(word) == 1 or word.isascii()}
        self._concepts = Phrasebook({word: name for word, name in usable.items() if word not in self._concept_words})
        self._english = {
            word.replace("_", " "): normalise(chinese) for chinese, words in english.items() for word in words
        }
        self._sounds = _as_signs(sounds)
        self._by_sound = self._index_sounds(word for word in usable if _LEAST_SOUNDS <= len(word) <= _MOST_SOUNDS)

    def read(self, raw: str) -> Reading:
        text = self._mend(self.normalise(raw))
        words = self.cut(text)
        chinese = self._in_chinese(words) if _LATIN.search(text) else []
        words += chinese
        concepts = [name for word in words if (value := self._concept_words.get(word)) for name in value.split()]
        seen = f"{text} {' '.join(chinese)}" if chinese else text
        concepts += [name for _, _, value in self._concepts.find(seen) for name in value.split()]
        language = language_of(text)
        features = tuple(dict.fromkeys(self._features(text, words, concepts)))
        return Reading(text, language, tuple(words), tuple(concepts), features, keys_of(features))

    def _index_sounds(self, terms: Iterable[str]) -> Phrasebook:
        """What a run of sounds stands for, where only one of our terms sounds so."""
        found: dict[str, str] = {}
        for term in terms:
            if all(ord(sign) in self._sounds for sign in term):
                key = term.translate(self._sounds)
                found[key] = "" if key in found else term
        return Phrasebook({key: term for key, term in found.items() if term})

    def _mend(self, text: str) -> str:
        """Speech input writes another sign of the same sound: three or more syllables of one of our terms become it."""
        if text.isascii():
            return text
        parts: list[str] = []
        last = 0
        for at, sounds, term in self._by_sound.find(text.translate(self._sounds)):
            end = at + len(sounds)
            if term != text[at:end]:
                parts += (text[last:at], term)
                last = end
        return "".join(parts) + text[last:] if parts else text

    def _in_chinese(self, words: Sequence[str]) -> list[str]:
        """The Chinese words for the English ones: three together, else two, else one, else its stem."""
        found: list[str] = []
        latin = [word for word in words if word[0] < "\u0250"]
        at = 0
        while at < len(latin):
            for size in (3, 2, 1):
                together = " ".join(latin[at : at + size])
                chinese = self._english.get(together) or (self._english.get(stem(together)) if size == 1 else None)
                if chinese is not None and at + size <= len(latin):
                    found.append(chinese)
                    at += size
                    break
            else:
                at += 1
        return found

    @staticmethod
    def _features(text: str, words: Sequence[str], concepts: Sequence[str]) -> list[str]:
        """Pairs of words and runs of four characters were tried beside these: no gain on phrases kept out."""
        found = ["w" + word for word in words]
        for run in _RUN.findall(text):
            end = len(run)
            if run[0] >= "\u0250":
                for size in (1, 2, 3):
                    found += ["c" + run[at : at + size] for at in range(end - size + 1)]
            else:
                found.append("s" + stem(run))
                found += ["l" + run[at : at + 4] for at in range(end - 3)]
        found += ["k" + concept for concept in concepts]
        some = sorted([*dict.fromkeys(concepts)][:_MAX_CONCEPTS_PAIRED])
        found += [f"p{one} {two}" for one, two in itertools.combinations(some, 2)]
        return found


def _as_signs(sounds: Mapping[str, str]) -> dict[int, str]:
    """Each syllable by one private-use sign, so that a text and its sounds have the same places."""
    names: dict[str, str] = {}
    return {ord(sign): names.setdefault(sound, chr(_FIRST_SOUND + len(names))) for sign, sound in sounds.items()}


def stem(word: str) -> str:
    """A rough English stem: enough to bring 'registered' and 'register' together."""
    if len(word) > 4:
        for suffix in _SUFFIXES:
            if word.endswith(suffix) and len(word) - len(suffix) >= 3:
                return word[: -len(suffix)]
    return word


def readable(feature: str) -> str:
    """How a word or a run of characters is shown to people."""
    body = feature[1:]
    for sign, name in CLASS_NAMES.items():
        if sign in body:
            body = body.replace(sign, name)
    return body

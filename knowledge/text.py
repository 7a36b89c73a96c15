"""Text as residents write it, made comparable: one width, one script, one spelling, cut into words."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from knowledge.lean import jieba

MAX_TEXT_CHARS = 600  # what is longer is cut in the middle: greetings and closings of a letter say least

# Class tokens: one private-use character each, so that n-grams see "a sum of money" as one sign.
MONEY, PHONE, LINK, PLATE, IDNUMBER, NUMBER, CLOCK, CHILD_AGE, ADULT_AGE, ELDER_AGE = map(chr, range(0xE000, 0xE00A))
CLASS_NAMES = {
    MONEY: "<money>",
    PHONE: "<phone>",
    LINK: "<link>",
    PLATE: "<plate>",
    IDNUMBER: "<id number>",
    NUMBER: "<number>",
    CLOCK: "<time>",
    CHILD_AGE: "<child's age>",
    ADULT_AGE: "<age>",
    ELDER_AGE: "<elder's age>",
}

_CHINESE_DIGITS = "一二两三四五六七八九十百千万零〇半几俩仨"
_LINK = re.compile(
    r"(?:https?://|www\.)[^\s\u4e00-\u9fff]+|[a-z0-9\-]{1,40}(?:\.[a-z0-9\-]{1,40}){0,4}"
    r"\.(?:com|cn|net|org|cc|top|vip|xyz|info|me|ly|io|shop|club|site|work|ink|icu)\b(?:/[^\s\u4e00-\u9fff]*)?"
)
_IDNUMBER = re.compile(r"(?<!\d)\d{17}[\dx](?![\da-z])")
_PHONE = re.compile(
    r"(?<!\d)(?:\+?86[- ]?)?(?:1[3-9]\d{9}|1[3-9]\d[- ]\d{4}[- ]\d{4}|0\d{2,3}-\d{7,8}"
    r"|400-?\d{3}-?\d{4}|00\d{7,})(?!\d)"
)
_PLATE = re.compile(
    r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][a-z][·. ]?[a-z0-9]{5,6}(?![a-z0-9])"
)
_MONEY = re.compile(
    r"(?:[¥$]\s*\d[\d,.]*|(?:rmb|cny|usd)\s*\d[\d,.]*|\d[\d,.]*\s*(?:rmb|cny|yuan|usd|dollars?|bucks?|kuai)\b"
    rf"|(?:\d[\d,.]*|[{_CHINESE_DIGITS}]+)多?(?:[十百千万亿wk]多?)*(?:块钱|块|元|圆|美元|美金|刀)(?!月)"
    rf"|\d[\d,.]*[万wk](?![a-z字里米伏公人户个次])|[{_CHINESE_DIGITS}]*[二两三四五六七八九十百千几\d一][多几]?[万千](?![一二三四五六七八九里米伏公人户个次字]))"
)
_AGE = re.compile(
    r"(\d{1,3}|[一二两三四五六七八九十几]{1,4})多?(?:周岁|岁半?|虚岁)|(?:今年|都|快|才|刚满|年满|满)(\d{1,3})(?=[了的,。,!!\s]|$)"
)
_AGE_EN = re.compile(r"\b(\d{1,3})[- ]years?[- ]old\b")
_CLOCK = re.compile(
    r"\d{1,2}:\d{2}|(?:\d{1,2}|[一二两三四五六七八九十]{1,3})点(?:半|多|钟|\d{1,2}分?)?(?![击赞我])"
    r"|\b\d{1,2} ?[ap]\.?m\b"
)
_COUNTED = re.compile(rf"[0-9{_CHINESE_DIGITS}]")
_DIGIT = re.compile(r"[0-9]")
_NUMBER = re.compile(r"(?<![a-z\d])\d+(?:[.,]\d+)*")  # c1, b2, a6 are classes of licences and papers: kept
# Short numbers that mean something by themselves stay as they are.
PUBLIC_NUMBERS = frozenset(
    "110 119 120 122 12110 96110 12381 12389 12345 12348 12333 12315 12356 12393 12367 12123 12306 12305 12329 12350"
    " 12319 12328 12369 12388 12309 12368 12338 12355 95598 12379 10000 10010 10086 10099 12321 12300 12318 12339"
    " 12366 12313 12308 12377 12378 12386 12395".split()
)
_KEPT_NUMBERS = PUBLIC_NUMBERS | {"24", "12", "360", "315"}
_EMOTE = re.compile(r"\[[\u4e00-\u9fffa-z]{1,6}\]")  # WeChat writes its own emoji and stickers as [呲牙]
_ODD = re.compile(r"[^\w\x00-\x7f]")
_REPEAT = re.compile(r"([^\w\s])\1+")
_REPEATED_SIGN = re.compile(r"([\u4e00-\u9fff])\1{2,}")
_SPACES = re.compile(r"\s+")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_LATIN_WORD = re.compile(r"[a-z]{2,}")
_TOKEN = re.compile(r"[\u4e00-\u9fff]+|[a-z]+(?:'[a-z]+)?|\d+|[\ue000-\ue009]")
_VALUES = {"一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9}


class Phrasebook:
    """Longest-match search for many fixed strings at once: for spelling repairs, sounds and concepts."""

    def __init__(self, table: Mapping[str, str]) -> None:
        self.table = dict(table)
        self._head = min((2, *map(len, self.table)))  # two signs rule out most places at once
        longest: dict[str, set[int]] = {}
        for key in self.table:
            longest.setdefault(key[: self._head], set()).add(len(key))
        self._lengths = {head: tuple(sorted(sizes, reverse=True)) for head, sizes in longest.items()}

    def find(self, text: str) -> list[tuple[int, str, str]]:
        """(position, found, value), left to right, longest first, without overlap."""
        found = []
        free, head, lengths, table = 0, self._head, self._lengths, self.table
        for at in range(len(text)):
            sizes = lengths.get(text[at : at + head])
            if sizes is not None and at >= free:
                for size in sizes:
                    key = text[at : at + size]
                    value = table.get(key)
                    if value is not None:
                        found.append((at, key, value))
                        free = at + size
                        break
        return found

    def replace(self, text: str) -> str:
        found = self.find(text)
        if not found:
            return text
        parts: list[str] = []
        last = 0
        for at, key, value in found:
            parts += (text[last:at], value)
            last = at + len(key)
        return "".join(parts) + text[last:]


class Normaliser:
    """Turns what was typed, pasted or dictated into one comparable spelling."""

    def __init__(self, traditional: Mapping[str, str], repairs: Mapping[str, str]) -> None:
        self._traditional = {ord(key): value for key, value in traditional.items()}
        self._repairs = Phrasebook(repairs)

    def plain(self, text: str) -> str:
        """One width, one case, one script; numbers and spelling stay as they are."""
        return unicodedata.normalize("NFKC", text).lower().replace("\ufeff", "").translate(self._traditional)

    def __call__(self, text: str) -> str:
        if len(text) > MAX_TEXT_CHARS:
            text = text[: MAX_TEXT_CHARS - 150] + " " + text[-150:]
        text = self.plain(text)
        if "[" in text:
            text = _EMOTE.sub(" ", text)
        if not text.isascii():
            text = _ODD.sub(_plain, text)
        if _LATIN_WORD.search(text) and any(sign in text for sign in ".:/"):
            text = _LINK.sub(LINK, text)
        text = _REPEATED_SIGN.sub(r"\1\1", _REPEAT.sub(r"\1", text))
        if not text.isascii():
            text = self._repairs.replace(text)
        if _COUNTED.search(text):
            text = _ages(text)
            if _DIGIT.search(text):
                text = _PLATE.sub(PLATE, _PHONE.sub(PHONE, _IDNUMBER.sub(IDNUMBER, text)))
            text = _NUMBER.sub(_number, _CLOCK.sub(CLOCK, _MONEY.sub(MONEY, text)))
        return _SPACES.sub(" ", text).strip()


def _plain(found: re.Match[str]) -> str:
    """Of what is neither letter nor digit, punctuation stays; emoji, joiners and control signs become a space."""
    sign = found.group()
    return sign if sign == "¥" or unicodedata.category(sign)[0] == "P" else " "


def _ages(text: str) -> str:
    if "岁" in text or "年" in text or "满" in text or "都" in text or "快" in text or "才" in text:
        text = _AGE.sub(_age, text)
    return _AGE_EN.sub(_age, text) if " old" in text or "-old" in text else text


def _age(match: re.Match[str]) -> str:
    number = next(group for group in match.groups() if group)
    age = int(number) if number.isdigit() else _chinese_number(number)
    if age == 0 or age > 120:
        return match.group()
    prefix = match.group()[: match.group().find(number)] if not match.group().startswith(number) else ""
    return prefix + (CHILD_AGE if age < 18 else ELDER_AGE if age >= 60 else ADULT_AGE)


def _chinese_number(text: str) -> int:
    """一 to 九十九; 几 counts as 5 (十几 is a child, 七十几 an elder); 0 if it is no number."""
    text = text.replace("几", "五")
    if "十" not in text:
        return _VALUES.get(text, 0) if len(text) == 1 else 0
    tens, _, ones = text.partition("十")
    return _VALUES.get(tens, 1) * 10 + _VALUES.get(ones, 0)


def _number(match: re.Match[str]) -> str:
    return match.group() if match.group() in _KEPT_NUMBERS else NUMBER


def language_of(text: str) -> str:
    """'en' when there are Latin words and hardly a Chinese character, else 'zh'."""
    han = len(_HAN.findall(text))
    latin = len(_LATIN_WORD.findall(text.lower()))
    return "en" if (latin >= 2 and latin > 2 * han) or (latin and not han) else "zh"


class Segmenter:
    """jieba over our own dictionary: words with counts, loaded in memory, no cache file and no guessing of names."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        tokenizer = jieba.Tokenizer()
        table = dict(counts)
        for word in counts:
            for end in range(1, len(word)):
                table.setdefault(word[:end], 0)
        tokenizer.FREQ = table
        tokenizer.total = max(1, sum(counts.values()))
        # jieba marks itself ready so that it never reads its default dictionary (100 MB) or a cache in /tmp.
        tokenizer.initialized = True
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> list[str]:
        """The words of a normalised text, Latin words and numbers included, punctuation left out."""
        words: list[str] = []
        for token in _TOKEN.findall(text):
            if "\u4e00" <= token[0] <= "\u9fff" and len(token) > 1:
                words += self._tokenizer.lcut(token, HMM=False)
            else:
                words.append(token)
        return words

    def for_search(self, text: str) -> list[str]:
        """Finer: long words are given with the words inside them, for search indexes."""
        words: list[str] = []
        for token in _TOKEN.findall(text):
            if "\u4e00" <= token[0] <= "\u9fff":
                words += self._tokenizer.lcut_for_search(token, HMM=False)
            else:
                words.append(token)
        return words


def read_pairs(path: Path) -> dict[str, str]:
    """`traditional.txt`: pairs of characters separated by spaces."""
    pairs = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            pairs.update({pair[0]: pair[1] for pair in line.split()})
    return pairs


def read_repairs(path: Path) -> dict[str, str]:
    """`repairs.txt`: a right spelling, a colon, and the spellings that stand for it."""
    return {wrong: right for right, wrongs in read_groups(path).items() for wrong in wrongs}


def read_sounds(path: Path) -> dict[str, str]:
    """`sounds.txt`: a syllable, a colon, the characters read so; sounds that speech input mixes up count as one."""
    sounds = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            syllable, _, signs = line.partition(":")
            for sign in signs.strip():
                sounds[sign] = _vague(syllable)
    return sounds


def _vague(syllable: str) -> str:
    for clear, vague in (("zh", "z"), ("ch", "c"), ("sh", "s")):
        if syllable.startswith(clear):
            syllable = vague + syllable[2:]
    return syllable[:-1] if syllable.endswith("ng") else syllable


def read_groups(path: Path) -> dict[str, list[str]]:
    """Lines `name: word word …`; a name may have several lines; '#' starts a comment line."""
    groups: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            name, _, words = line.partition(":")
            groups.setdefault(name.strip(), []).extend(words.split())
    return groups


def read_counts(lines: Iterable[str]) -> dict[str, int]:
    """Lines `word count`."""
    counts = {}
    for line in lines:
        word, _, count = line.strip().partition(" ")
        if word and not word.startswith("#"):
            counts[word] = int(count or 20)
    return counts


def information(count: int, total: int) -> float:
    """Inverse document frequency, as BM25 has it; never negative."""
    return math.log(1 + (total - count + 0.5) / (count + 0.5))

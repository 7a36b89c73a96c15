"""Finds in a text the emergency and service numbers that may be tapped to call; no other number, and no link at all."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

KNOWN = ("110", "119", "120", "122", "12110", "96110", "12389", "12345", "12348", "12333", "12315", "12356", "12393")

# Part of a longer number, a price, a count or a house number is no telephone number.
_NUMBER = re.compile(
    r"(?<![0-9A-Za-z０-９.#¥￥$第-])(?<!\d[:：])(?<![A-Za-z./]/)"
    rf"({'|'.join(sorted(KNOWN, key=len, reverse=True))})"
    r"(?!\s*-?(?:yuan|rmb|cny|usd|dollars?|euros?|people|persons?|years?|months?|weeks?|days?|hours?|hrs?|minutes?|mins?|seconds?"
    r"|times|copies|pages|metres?|meters?|km|kg|kilomet(?:re|er)s?|percent)\b)"
    r"(?![0-9A-Za-z０-９%％-]|/(?!\d)|[.:：][0-9A-Za-z]|\s*(?:多?[元块万千百岁年月日天周条人名位次个件户号幢栋室楼页分秒米]|小时|公里|平方))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Part:
    text: str
    phone: bool = False


def parts(text: str) -> Iterator[Part]:
    """The text in pieces: words, and numbers to call."""
    end = 0
    for match in _NUMBER.finditer(text):
        if match.start() > end:
            yield Part(text[end : match.start()])
        yield Part(match[1], phone=True)
        end = match.end()
    if end < len(text):
        yield Part(text[end:])


def numbers(text: str) -> list[str]:
    """The numbers to call that a text names, each once, in its order."""
    return list(dict.fromkeys(part.text for part in parts(text) if part.phone))

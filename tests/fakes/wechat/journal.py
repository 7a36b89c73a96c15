"""The journal: every call as it came in, without its secrets, and how it was answered."""

import re
from dataclasses import dataclass
from typing import Any

from aiohttp import web

_SECRETS = {"secret", "corpsecret", "access_token"}


@dataclass
class Call:
    """`escaped`: the JSON held a \\u escape. `errcode` is 0 for an answer without one, None for no JSON answer."""

    at: float
    method: str
    path: str
    query: dict[str, str]
    body: Any
    escaped: bool = False
    errcode: int | None = None
    fault: str | None = None


class Journal(list[Call]):
    def calls(self, path: str) -> list[Call]:
        """The calls whose path matches, in order."""
        return [call for call in self if re.search(path, call.path)]


def without_secrets(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    return {
        name: "***" if name in _SECRETS else "<file>" if isinstance(value, web.FileField) else value
        for name, value in given.items()
    }

"""The fault script: which calls misbehave, when, and how."""

import json
import random
import re
from dataclasses import dataclass, field
from typing import Any, Literal

Effect = Literal[
    "errcode",  # value: the code; nothing is done
    "status",  # value: the HTTP status; nothing is done
    "status_after",  # value: the HTTP status, although it was done
    "delay",  # value: real seconds, or an event to wait for, before anything is done
    "delay_after",  # value: the same between doing it and answering
    "close_before",  # the connection ends, nothing was done
    "close_after",  # the connection ends, although it was done: finds double sends
    "html",  # a page in a 200, nothing was done
    "truncated",  # half of the JSON, although it was done
    "redirect",  # value: the address
    "expire_token",  # the token of this very call has just expired
    "no_errcode",  # done, but the answer is {}
]


@dataclass
class Fault:
    """Calls whose path matches `path` misbehave: the `nth` (from 1), with `probability`, or all; `times` at most.

    `openid`: only calls whose body names this person (an openid, a userid, an external_userid).
    """

    path: str
    effect: Effect
    value: Any = None
    nth: list[int] = field(default_factory=list)
    times: int | None = None
    probability: float | None = None
    openid: str | None = None
    seen: int = 0
    used: int = 0

    def strikes(self, path: str, body: object, chance: random.Random) -> bool:
        if not re.search(self.path, path):
            return False
        if self.openid is not None and not (isinstance(body, dict) and self.openid in json.dumps(body)):
            return False
        self.seen += 1
        if self.nth and self.seen not in self.nth:
            return False
        if self.times is not None and self.used >= self.times:
            return False
        if self.probability is not None and chance.random() >= self.probability:
            return False
        self.used += 1
        return True

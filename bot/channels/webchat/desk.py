"""What the web chat asks of the program, and the values it gets for an answer."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from bot.channels.base import Picture
from bot.message import Choice


class Author(StrEnum):
    """Who speaks; the words are those the page is styled by."""

    RESIDENT = "resident"
    BOT = "bot"
    OFFICER = "officer"
    STATION = "station"  # a warning


class Rank(StrEnum):
    """How an officer may be called: an auxiliary is no 民警 and must not be shown as one."""

    OFFICER = "officer"
    AUXILIARY = "auxiliary"
    CHIEF = "chief"


@dataclass(frozen=True, slots=True)
class Speaker:
    """The person of the station who speaks."""

    rank: Rank
    name: str
    badge: str


@dataclass(frozen=True, slots=True)
class Line:
    """One message as its resident sees it; `key` is the id the visitor's own page gave to what it sent."""

    id: int
    author: Author
    at: datetime
    text: str
    key: str = ""
    speaker: Speaker | None = None
    choices: tuple[Choice, ...] = ()
    picture: int | None = None
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Visit:
    """How things stand between a visitor and the station."""

    known: bool = False  # we have met; who is known and does not consent had everything deleted
    consented: bool = False
    large_type: bool = False
    owner: Speaker | None = None  # who holds the conversation; None is the bot
    waiting: bool = False  # an answer is on its way
    community: str = ""
    lines: tuple[Line, ...] = ()
    earlier: bool = False  # there are lines before these


@dataclass(frozen=True, slots=True)
class StationCard:
    """What the page says about the station."""

    name: str
    phone: str
    timezone: str
    kept_days: int  # what is said is kept for
    idle_days: int  # who does not come back for so long is forgotten sooner
    public_host: str  # host[:port] of server.public_url; empty if it is not set


@dataclass(frozen=True, slots=True)
class Connection:
    """Who is really at the other end, as far as our own proxies say."""

    ip: str
    https: bool


class PictureRefusedError(Exception):
    """What was sent is no picture we keep; `str(error)` is the sentence for the resident."""


class Moved(StrEnum):
    """Why a watcher is woken."""

    SOMETHING = "something"  # look again
    TYPING = "typing"  # the officer is writing


Wake = Callable[[Moved], None]


class VisitorDesk(Protocol):
    """The program as a web visitor meets it; `visitor` is the address of the channel."""

    @property
    def station(self) -> StationCard: ...

    def connection(self, peer: str, scheme: str, forwarded_for: str, forwarded_proto: str) -> Connection: ...

    async def visit(self, visitor: str, *, after: int | None = None, before: int | None = None, most: int = 0) -> Visit:
        """How things stand, with up to `most` lines: those after a number, else the last ones (before a number)."""
        ...

    async def knows(self, visitor: str) -> bool:
        """Whether the address exists."""
        ...

    async def community(self, code: str) -> str:
        """The name of the community whose QR code carries `code`; empty for an unknown one."""
        ...

    async def consent(self, visitor: str, *, language: str) -> None:
        """The visitor agrees that his conversation is kept; makes the address."""
        ...

    async def has(self, visitor: str, key: str) -> bool:
        """Whether the message sent under this id is stored."""
        ...

    async def keep_picture(self, visitor: str, data: bytes) -> int:
        """Store a picture and return its number; raises PictureRefusedError."""
        ...

    async def picture(self, visitor: str, number: int) -> Picture:
        """A picture of this visitor's own conversation; LookupError for any other."""
        ...

    def is_urgent(self, text: str) -> bool:
        """Whether somebody is in danger now, in which case no limit holds the message up."""
        ...

    def watch(self, visitor: str, wake: Wake) -> AbstractAsyncContextManager[None]:
        """Call `wake` whenever something moved in the visitor's conversation, from now until the end of the block."""
        ...

"""What the program asks of the station's WeCom app, as values and one protocol without I/O."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

TO_AT_ONCE: Final = 1000  # recipients of one app message
CUSTOMERS_AT_ONCE: Final = 10_000  # residents in one task of an officer
STATE_CHARACTERS: Final = 30  # of a contact way
EXTERNAL_USERID: Final = r"[A-Za-z0-9_-]{1,80}"  # what WeCom calls a resident


def folded(userid: str) -> str:
    """A userid as it is compared: WeCom does not tell capitals from small letters, and may answer in either."""
    return userid.strip().casefold()


class Why(StrEnum):
    """What a refused call means for the one who asked."""

    AGAIN = "again"  # nothing was done; try later
    NEVER = "never"  # this will not be done
    UNKNOWN = "unknown"  # it may have been done
    DOWN = "down"  # the app cannot be used until somebody mends its settings


class WeComRefused(Exception):
    """WeCom did not do what it was asked for. `reason` is one Chinese sentence for the person who reads it."""

    def __init__(self, why: Why, code: str, reason: str, *, after: timedelta | None = None) -> None:
        super().__init__(f"{why} ({code})")
        self.why, self.code, self.reason, self.after = why, code, reason, after


@dataclass(frozen=True, slots=True)
class Card:
    """An app message that opens a page of ours (textcard)."""

    title: str  # at most 128 characters
    text: str  # at most 512
    url: str


@dataclass(frozen=True, slots=True)
class Way:
    """An officer's QR code: WeCom's number of it, the address of its picture, and the picture if it could be had."""

    config_id: str
    qr_code: str
    picture: bytes | None


@dataclass(frozen=True, slots=True)
class Friend:
    """A resident in a member's contacts, as WeCom lists him; `state` is that of the QR code he came by."""

    external_userid: str
    added_at: datetime
    state: str = ""


@dataclass(frozen=True, slots=True)
class Who:
    """What WeCom knows of a resident: his number on all of the station's platforms ("" where they are not joined), the
    members (folded) he is in contact with, and those to whom an admin gave him."""

    union_id: str = ""
    members: frozenset[str] = frozenset()
    given_to: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Handed:
    """A mass message that waits for the officer's tap; `failed` are the residents it will not reach."""

    msgid: str
    failed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Listed:
    """A mass message in WeCom's own list; `residents` are those it is for, none if WeCom does not say yet."""

    msgid: str
    residents: frozenset[str]


class Fate(StrEnum):
    """What became of a mass message for one resident."""

    WAITING = "0"
    SENT = "1"
    NO_FRIEND = "2"
    HAD_ANOTHER = "3"  # he has got as many mass messages as he may


class WeComApp(Protocol):
    """The station's app. Every method raises WeComRefused only."""

    name: str  # of its channel
    customer_contact: bool  # officers have friends among the residents (客户联系)

    async def tell(self, userids: Sequence[str], card: Card) -> frozenset[str]:
        """Send a card to at most TO_AT_ONCE members; returns those (folded) whom it did not reach."""
        ...

    def login_address(self, back: str, state: str, *, inside: bool) -> str:
        """Where a browser goes to be recognised; `inside`: it is WeCom's own. It comes back to `back` with a code."""
        ...

    async def member_of(self, code: str) -> str:
        """The userid (folded) of the active member who logged in; each code once."""
        ...

    async def add_contact_way(self, userid: str, state: str, remark: str) -> Way: ...

    async def welcome(self, code: str, text: str) -> bool:
        """Greet a new friend, once; False when it is too late or somebody else did."""
        ...

    async def friends(self, userid: str, cursor: str) -> tuple[Sequence[Friend], str]:
        """One page, up to 100, of a member's friends, and the cursor of the next ("": none)."""
        ...

    async def who_is(self, external_userid: str) -> Who: ...

    async def hand_in(
        self, userid: str, text: str, external_userids: Sequence[str], *, picture: int | None = None
    ) -> Handed:
        """A mass message of one member to his friends, at most CUSTOMERS_AT_ONCE; it waits for his tap. `picture` is
        the id of a stored Media."""
        ...

    async def search(
        self, userid: str, text: str, *, since: datetime, until: datetime, without: Collection[str]
    ) -> Sequence[Listed]:
        """The mass messages of these words that apps handed in for this member within a month, but for those named."""
        ...

    async def fates(self, msgid: str, userid: str, cursor: str) -> tuple[Mapping[str, Fate], str]:
        """One page of what became of a mass message, by external_userid, and the cursor of the next ("": none)."""
        ...

    async def remind(self, msgid: str) -> None:
        """Ask the member once more to tap."""
        ...

    async def cancel(self, msgid: str) -> None:
        """Take back what has not been sent."""
        ...

"""What comes in from a channel and what goes out to it, as values without I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from bot.reach import Grant

PICTURE_LIMIT_BYTES = 2 * 1024 * 1024  # the platforms refuse larger ones


class MessageKind(StrEnum):
    TEXT = "text"
    IMAGE = "image"
    VOICE = "voice"
    VIDEO = "video"
    LOCATION = "location"
    LINK = "link"
    EVENT = "event"
    UNKNOWN = "unknown"


class EventKind(StrEnum):
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    SCAN = "scan"
    CLICK = "click"
    VIEW = "view"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Location:
    """A point a resident sent: degrees in the platform's own datum (GCJ-02 on WeChat) and its label."""

    latitude: float
    longitude: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something a resident did without writing: `key` is the menu key, or the scene of the QR code without prefix."""

    kind: EventKind
    key: str = ""
    name: str = ""  # the platform's own name, kept for the kinds we do not know


@dataclass(frozen=True, slots=True)
class Message:
    """One thing a resident sent.

    `channel` is the name in config.yaml, `sender` the resident's address there (openid, web visitor), `platform_id`
    what the platform repeats when it delivers again: the three together are unique.
    """

    channel: str
    sender: str
    platform_id: str
    kind: MessageKind
    sent_at: datetime
    text: str = ""  # words: typed, or recognised from a voice message
    media: str = ""  # id of our stored Media, or the platform's media id before it is fetched
    url: str = ""
    location: Location | None = None
    event: Event | None = None
    extra: Mapping[str, str] = field(default_factory=dict)  # platform details worth keeping, e.g. the title of a link
    grant: Grant | None = None  # what the platform lets us send because of it; None: nothing more than before

    @property
    def is_act(self) -> bool:
        """The resident did something; of the events we do not know, only those that grant us an answer."""
        return self.event is None or self.event.kind is not EventKind.OTHER or self.grant is not None

    @property
    def is_about_account(self) -> bool:
        """The platform speaks of the account itself (a mass job ended); no resident stands behind it."""
        return self.extra.get("about") == "account"


@dataclass(frozen=True, slots=True)
class Choice:
    """A quick reply: `label` is shown, `send` is what comes back when it is tapped."""

    label: str
    send: str


@dataclass(frozen=True, slots=True)
class Reply:
    """Something said to a resident; `picture` is the id of a stored Media."""

    text: str
    choices: tuple[Choice, ...] = ()
    picture: int | None = None

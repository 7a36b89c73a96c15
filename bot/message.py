"""What comes in from a channel and what goes out to it, as values without I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from bot.reach import Grant

TEXT_LIMIT_CHARACTERS = 600  # what every platform takes in one message
PICTURE_LIMIT_BYTES = 2 * 1024 * 1024  # the platforms refuse larger ones
CODE_LASTS = timedelta(seconds=20)  # a platform's code is good for one message, so long after what it came with


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
    ENTER = "enter"  # opened the chat by a link or a code; `extra` has the platform's welcome code if it gave one
    SERVED = "served"  # who spoke with him in the platform's own client has ended; `extra` has the platform's code
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


CONSENT_EVENT = "consent"  # the name of a SUBSCRIBE by agreeing on a web page
_NO_ACTS = frozenset({EventKind.SERVED, EventKind.OTHER})


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
        return self.event is None or self.event.kind not in _NO_ACTS or self.grant is not None

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
    """Something said to a resident; `picture` is the id of a stored Media. `hands_over`: the matter is the officers'
    from here on, and a channel whose platform has a desk of its own may pass the session to it."""

    text: str
    choices: tuple[Choice, ...] = ()
    picture: int | None = None
    hands_over: bool = False


# -- what else a platform tells of a conversation ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SaidElsewhere:
    """Words to a resident that somebody of the station wrote in the platform's own client.

    `message.sender` is the resident; `servicer` the writer's user id at the platform.
    """

    message: Message
    servicer: str


@dataclass(frozen=True, slots=True)
class SessionMoved:
    """Who serves a resident in the platform's own client: a user id there, "" its waiting pool, None nobody."""

    sender: str
    servicer: str | None


@dataclass(frozen=True, slots=True)
class Recalled:
    """A message was taken back by who had sent it."""

    sender: str
    platform_id: str


@dataclass(frozen=True, slots=True)
class NotDelivered:
    """What the platform had accepted did not arrive; `reason` is one Chinese sentence for the officer."""

    delivery_id: int
    code: str
    reason: str


class MassOutcome(StrEnum):
    """What a platform says of a mass sending when it is asked."""

    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    DELETED = "deleted"  # by a person, in the platform's console


Happening = Message | SaidElsewhere | SessionMoved | Recalled | NotDelivered

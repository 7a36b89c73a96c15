"""What every channel to residents can do, and how sending fails."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, runtime_checkable

from aiohttp import web

from bot.checks import Check
from bot.message import Happening, MassOutcome, Message, Reply
from bot.reach import Rules

# A callback that was not believed: why, in the response to it, for the self-check ("signature", "timestamp", …).
REFUSED_BECAUSE = web.ResponseKey("refused_because", str)


class Failure(StrEnum):
    """What a failed send means for the delivery (WeChat's table of codes is in wechat_errors.py)."""

    RETRY = "retry"  # nothing was sent; try again later
    LATER = "later"  # not before the resident writes again (reply window closed or used up)
    REFUSED = "refused"  # never to this recipient, or never this message
    UNKNOWN = "unknown"  # the platform may have sent it: never repeated blindly
    CHANNEL_DOWN = "channel_down"  # credentials or permission: the whole channel stops until somebody mends it


class Recipient(StrEnum):
    """What a refusal says of the recipient himself."""

    LEFT = "left"  # he no longer follows the account
    REFUSED = "refused"  # blacklist, messages turned off, no openid of this account
    LIMITED = "limited"  # his own account is frozen: asked again after some days
    WINDOW_OVER = "window_over"  # the time in which we may write is over
    WINDOW_USED = "window_used"  # … or the number of messages in it
    NO_CONSENT = "no_consent"  # he has not accepted this kind of notice


class SendError(Exception):
    """A channel could not send. `code` is the platform's, `reason` one Chinese sentence for the officer.

    `after`: a RETRY that the platform put off, for this and everything else on the channel. `about`: it is no fault of
    this message, the platform gives nothing to this recipient. `alarm`: the station must be told.
    """

    def __init__(
        self,
        failure: Failure,
        code: str,
        reason: str,
        *,
        after: timedelta | None = None,
        about: "Recipient | None" = None,
        alarm: bool = False,
    ) -> None:
        super().__init__(f"{failure} ({code})")
        self.failure = failure
        self.code = code
        self.reason = reason
        self.after = after
        self.about = about
        self.alarm = alarm

    @property
    def retryable(self) -> bool:
        return self.failure is Failure.RETRY


@dataclass(frozen=True, slots=True)
class Sent:
    """The platform took it; `platform_id` is its own number for the message where it gives one."""

    platform_id: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a notice may say of a message that waits."""

    station: str
    officer: str
    at: datetime


@runtime_checkable
class NoticeSender(Protocol):
    """A channel with `rules.notice`: it can tell a resident that a message waits."""

    template_id: str  # of the notice in the settings

    async def send_notice(self, address: str, waiting: Waiting, *, client_id: str) -> Sent:
        """Raises SendError. The platform gives the same `client_id` once only where it can."""
        ...


@runtime_checkable
class Mendable(Protocol):
    """A channel that can find out without a message to anybody whether what stopped it is mended."""

    async def is_mended(self, code: str) -> bool | None:
        """`code`: of the error that stopped it. None: only a message could tell."""
        ...


@runtime_checkable
class MassSender(Protocol):
    """A channel with `rules.mass`: one call reaches thousands."""

    async def send_mass(self, addresses: Sequence[str], reply: Reply, *, client_id: str) -> Sent:
        """Give one reply to 2 to 10,000 addresses; `Sent.platform_id` is the job's. Raises SendError.

        May be repeated with the same `client_id` (at most 32 bytes) within 24 hours: the platform sends it once.
        """
        ...

    async def mass_outcome(self, number: str) -> MassOutcome:
        """What became of the job of this number; raises SendError."""
        ...


@dataclass(frozen=True, slots=True)
class Follower:
    """What a platform tells of somebody at an address; `union_id` is "" where it knows none."""

    address: str
    following: bool
    union_id: str = ""
    english: bool = False  # he uses the platform in English


@dataclass(frozen=True, slots=True)
class FollowerPage:
    """Some of the addresses that follow. `total`: how many there are in all; `following`: after whom the next begin."""

    addresses: Sequence[str]
    total: int
    following: str = ""


@runtime_checkable
class Acquainted(Protocol):
    """A channel whose platform tells who somebody at an address is. Every method raises SendError."""

    verified: bool  # without it the platform allows none of this

    async def followers(self, addresses: Sequence[str]) -> Sequence[Follower]:
        """Of up to 100 addresses; whom the platform does not know is left out."""
        ...


@runtime_checkable
class FollowerKeeper(Acquainted, Protocol):
    """A channel whose platform knows who its followers are, tags them and makes QR codes that bring people here."""

    async def follower_page(self, after: str) -> FollowerPage:
        """Who follows, in pages; `after` is "" for the first."""
        ...

    async def sync_tags(self, wanted: Mapping[str, Collection[str]]) -> int:
        """Give each tag exactly these addresses; returns how many were changed."""
        ...

    async def scene_address(self, scene: str) -> str:
        """What a QR code has to say that brings people here with this scene, for good."""
        ...


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as bytes; at most `bot.message.PICTURE_LIMIT_BYTES`."""

    content_type: str  # "image/jpeg" | "image/png" | "image/gif"
    data: bytes


class Answer(Protocol):
    """A reply that is ready while the resident's own request is still open."""

    @property
    def reply(self) -> Reply: ...

    def confirm(self) -> None:
        """The response carrying the reply has been written; without this the reply goes out later by the outbox."""
        ...


class Feed(Protocol):
    """What a channel does with an incoming message; the dispatcher in the running program.

    Returns when the message is stored and either its reply is ready or `wait_seconds` are over. None: nothing to say in
    the response, now or ever; what comes later goes by the outbox. Raises only when the message could not be stored.
    """

    async def __call__(self, message: Message, *, wait_seconds: float) -> Answer | None: ...


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A stored message that waits for its answer; `served`: somebody in the platform's own client spoke last."""

    stored_id: int
    message: Message
    served: bool


class NowOrNever(Answer, Protocol):
    """An answer for one moment, such as a welcome."""

    @property
    def delivery_id(self) -> int: ...

    def decline(self, reason: str) -> None:
        """It did not go out and never shall; without this it goes out later by the outbox."""
        ...


class Stream(Protocol):
    """The messages of an account that are fetched and not pushed; one reader at a time among all processes."""

    async def series(self) -> str:
        """Up to 8 letters and digits that begin our numbers of messages, so that no two databases use the same."""
        ...

    async def claim(self) -> str | None:
        """The cursor to read from ("" at the beginning); None while another process reads, who then looks again."""
        ...

    async def keep(self, happened: Sequence[Happening], *, cursor: str) -> Sequence[Unanswered] | None:
        """Store a page and the cursor behind it together; what is to be answered, in its order. None: not stored,
        another process has taken over."""
        ...

    async def release(self) -> bool:
        """The end is reached. True: somebody was woken meanwhile, read on."""
        ...

    async def moved(self, sender: str, servicer: str | None) -> None:
        """Who serves a resident in the platform's own client, see SessionMoved."""
        ...

    async def handle(self, waiting: Unanswered, *, wait_seconds: float) -> NowOrNever | None:
        """Answer a stored message; what is ready within `wait_seconds` comes back, the rest goes by the outbox."""
        ...


class TokenStore(Protocol):
    """The access token shared by all processes."""

    async def get(self, channel: str) -> tuple[str, datetime] | None: ...

    async def replace(
        self, channel: str, stale: str | None, fetch: Callable[[], Awaitable[tuple[str, datetime]]]
    ) -> tuple[str, datetime]:
        """Fetch a new token unless another process has already replaced `stale`; one fetch at a time."""
        ...


class PictureStore(Protocol):
    """Pictures the program keeps."""

    async def load(self, media_id: int) -> Picture:
        """The picture; LookupError when it is no longer kept."""
        ...


class Channel(Protocol):
    """One way to residents; one file each."""

    name: str  # as in config.yaml, e.g. "fenglin"
    kind: str  # "webchat", "official_account", …
    rules: Rules  # what the platform allows

    def routes(self) -> list[web.RouteDef]:
        """The HTTP routes this channel answers on."""
        ...

    async def send(self, address: str, reply: Reply, *, delivery_id: int) -> Sent:
        """Give one reply to the platform; raises SendError.

        `delivery_id` makes a repeat recognisable where the platform can.
        """
        ...

    async def fetch_picture(self, media: str) -> Picture:
        """Bring a picture a resident sent (`Message.media`); raises SendError."""
        ...

    async def check(self) -> Sequence[Check]:
        """Whether its platform can be used now, for the self-check (see bot.channels.platform_checks)."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class Pulled(Protocol):
    """A channel that also fetches: its platform does not promise to call."""

    async def pull(self) -> None:
        """Fetch what is new; returns when it is stored or could not be fetched now."""
        ...


def notice_sender(channel: object) -> NoticeSender | None:
    """The channel, if it can tell residents that a message waits."""
    return channel if isinstance(channel, NoticeSender) else None


async def is_mended(channel: object, code: str) -> bool | None:
    """Whether what stopped the channel is mended; None when it cannot tell."""
    return await channel.is_mended(code) if isinstance(channel, Mendable) else None


def mass_sender(channel: object) -> MassSender | None:
    """The channel, if one call of it reaches thousands."""
    return channel if isinstance(channel, MassSender) else None

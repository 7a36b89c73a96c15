"""What the platforms allow us to say to a resident, and when: values and one rule, without I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Grant:
    """What one act of a resident allows us: `count` messages within `lasting`."""

    count: int
    lasting: timedelta


@dataclass(frozen=True, slots=True)
class Rules:
    """What a channel can do at all."""

    windowed: bool = False  # messages only within a grant of the resident
    writes_later: bool = True  # False: only in the response to the resident's own message
    mass: bool = False  # one call reaches thousands, a few times a month each
    notice: bool = False  # a template or subscription notice can tell him that a message waits
    repeatable: bool = False  # the platform knows our number of a message, and takes the same one once only
    by_officer: bool = False  # the program says nothing there: an officer writes, or sends a warning with a tap
    consent_template: str = ""  # … but only who has accepted this template
    part_bytes: int = 0  # how much one message holds; each part of a longer text counts in the window. 0: no limit

    @property
    def joins(self) -> bool:
        """Whether short texts that wait go as one message, which is counted once. Not where a message is known by our
        number: it has to say the same each time."""
        return self.windowed and self.part_bytes > 0 and not self.repeatable


class When(StrEnum):
    """When a message written now reaches the resident."""

    NOW = "now"
    NEXT = "next"  # with his next message
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Reach:
    """The answer, and one Chinese sentence for the officer."""

    when: When
    why: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """The live grant at an address: until when, and how many messages are left in it."""

    until: datetime | None = None
    left: int = 0

    def is_open(self, now: datetime, parts: int = 1) -> bool:
        return self.until is not None and now < self.until and self.left >= parts

    def after(self, grant: Grant, now: datetime) -> "Window":
        """The window after one more act: the live grant stays unless the new one gives more; they never add up."""
        if self.is_open(now) and (self.left, self.until) >= (grant.count, now + grant.lasting):
            return self
        return Window(now + grant.lasting, grant.count)


def reach_of(rules: Rules | None, window: Window, *, following: bool, refused: str = "", now: datetime) -> Reach:
    """When a message written now reaches an address. `rules` None: its channel is no longer in the settings;
    `refused`: what the platform last said of him for good."""
    if rules is None:
        return Reach(When.NEVER, "这个渠道已停用，请改用电话或上门联系。")
    if not following:
        return Reach(When.NEVER, "居民已取消关注，请改用电话或上门联系。")
    if refused:
        return Reach(When.NEVER, refused)
    if rules.by_officer:
        return Reach(When.NEVER, "这是民警的企业微信好友，请民警直接在企业微信里与他聊天。")
    if not rules.writes_later:
        return Reach(When.NEXT, "这个公众号不能主动发消息，居民下次来消息时一并送达。")
    if not rules.windowed or window.is_open(now):
        return Reach(When.NOW)
    if window.until is None or window.until <= now:
        return Reach(When.NEXT, "居民 48 小时内没有来消息，要等他下次来消息时一并送达；急事请打电话。")
    return Reach(When.NEXT, "能连续发的条数已用完，要等他下次来消息时一并送达；急事请打电话。")


def best(reaches: Sequence[Reach]) -> Reach:
    """The best of a resident's addresses."""
    order = (When.NOW, When.NEXT, When.NEVER)
    return min(
        reaches, key=lambda reach: order.index(reach.when), default=Reach(When.NEVER, "居民没有可用的联系渠道。")
    )

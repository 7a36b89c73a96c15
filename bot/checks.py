"""What the self-check of a channel says, as values: Chinese for the console's page, English for the command line."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """One sentence in both languages."""

    zh: str
    en: str


NOTHING = Words("", "")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be right. `good` None: it cannot be told. `remedy` says what to do when it is not good."""

    name: Words
    good: bool | None
    found: Words
    remedy: Words = NOTHING


@dataclass(frozen=True, slots=True)
class ChannelReport:
    """All checks of one channel."""

    channel: str
    kind: str
    checks: tuple[Check, ...]

    @property
    def good(self) -> bool:
        return all(check.good is not False for check in self.checks)

"""The ledger of customer-service messages: what an inbound message or tap allows, and until when."""

from collections.abc import Mapping
from dataclasses import dataclass

MINUTE, HOUR = 60.0, 3600.0

GRANTS: Mapping[str, tuple[int, float]] = {  # trigger → messages, within seconds
    "message": (5, 48 * HOUR),
    "click": (3, MINUTE),
    "scancode_push": (3, MINUTE),
    "scancode_waitmsg": (3, MINUTE),
    "subscribe": (3, MINUTE),
    "scan": (3, MINUTE),
}


@dataclass
class Window:
    """What may still be sent to one resident."""

    left: int = 0
    until: float = 0
    granted: bool = False

    def grant(self, trigger: str, now: float, *, once_only: bool = False) -> None:
        """The latest grant replaces what is left if it gives more; grants never add up. Others grant nothing."""
        if trigger not in GRANTS or (once_only and self.granted):
            return
        self.granted = True
        messages, seconds = GRANTS[trigger]
        if now >= self.until or messages >= self.left:
            self.left, self.until = messages, now + seconds

"""The signed cookie by which a visitor is known again."""

import base64
import hmac
import re
import secrets
from datetime import timedelta

KEPT = timedelta(days=365)
_ID_BYTES = 16
_FORM = re.compile(r"([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})")


class VisitorCookie:
    """Makes and reads `ID.SIGNATURE`; the id is the visitor's address on this channel."""

    def __init__(self, channel: str, key: bytes) -> None:
        if len(key) < 32:
            raise ValueError("the signing key of the web chat needs at least 32 bytes")
        self.name = f"{channel}_visitor"
        self._channel, self._key = channel, key

    def new_visitor(self) -> str:
        """128 random bits."""
        return _text(secrets.token_bytes(_ID_BYTES))

    def value(self, visitor: str) -> str:
        return f"{visitor}.{self._signature(visitor)}"

    def visitor(self, value: str) -> str | None:
        """The id in a cookie we signed for this channel; None for anything else."""
        match = _FORM.fullmatch(value)
        if match is None or not hmac.compare_digest(match[2], self._signature(match[1])):
            return None
        return match[1]

    def _signature(self, visitor: str) -> str:
        return _text(hmac.digest(self._key, f"{self._channel}\0{visitor}".encode(), "sha256"))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")

"""Setting up an authenticator app: the secret on its way, and its QR code."""

import re

import segno
from markupsafe import Markup

from bot.console.visit import Visit
from bot.security import passwords
from bot.store.models import Officer

_SECRET = re.compile(r"[A-Z2-7]{32}")


def new_or_typed_secret(visit: Visit) -> str:
    """The secret the form carries, so that a mistyped code does not need a new scan; else a fresh one.

    It is kept nowhere until a code made with it has come back.
    """
    typed = visit.text("secret")
    return typed if _SECRET.fullmatch(typed) else passwords.new_totp_secret()


def qr_code(visit: Visit, officer: Officer, secret: str) -> Markup:
    """What the authenticator app reads, as SVG that stands in the page."""
    uri = passwords.totp_uri(secret, officer.username, visit.desk.runtime.station.name)
    return Markup(segno.make(uri, error="m").svg_inline(scale=4, border=2, dark="#111", light="#fff"))  # noqa: S704 made here, of no one's words

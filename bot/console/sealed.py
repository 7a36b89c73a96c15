"""Values that travel in an address unreadable: names and words do not belong in a browser's history."""

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bot import clock
from bot.console.visit import Visit
from bot.security.sessions import LASTS
from bot.store.encryption import EncryptionError, decrypt, encrypt


def seal(visit: Visit, purpose: str, value: Mapping[str, Any]) -> str:
    """Text for an address that only this officer's log-in can open, for this purpose, as long as a log-in lasts."""
    held = {"for": [visit.station_id, visit.officer.id, purpose], "at": clock.now().isoformat(), "value": value}
    return base64.urlsafe_b64encode(encrypt(json.dumps(held, ensure_ascii=False).encode())).decode().rstrip("=")


def unseal(visit: Visit, purpose: str, text: str) -> dict[str, Any] | None:
    """What `seal` was given; None when it is somebody else's, too old, or was never ours."""
    try:
        blob = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        held = json.loads(decrypt(blob))
    except (binascii.Error, ValueError, EncryptionError):
        return None
    if held["for"] != [visit.station_id, visit.officer.id, purpose]:
        return None
    if datetime.fromisoformat(held["at"]) + LASTS < clock.now():
        return None
    value: dict[str, Any] = held["value"]
    return value

"""What a platform's error codes mean for a delivery, and the sentence the officer reads: the form of such a table."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from enum import StrEnum

from bot import clock
from bot.channels.base import Failure, Recipient, SendError

# Token, secret, address, account: any call is refused with them, so that any call shows whether they are mended.
CREDENTIAL_CODES = frozenset(
    "40001 40002 40013 40014 40125 40164 40243 41002 41004 42001 43002 50004 50007 60020 89503 89506 89507".split()
)
_ADDRESS_CODES = frozenset({40164, 60020})  # the caller's address is not allowed; the message names it
_CHINA = timezone(timedelta(hours=8))  # daily quotas begin anew at midnight there, wherever this program runs


class Again(StrEnum):
    """When a RETRY is worth it."""

    SOON = "soon"  # the outbox's own back-off
    MINUTE = "minute"
    HALF_HOUR = "half_hour"
    TOMORROW = "tomorrow"


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One row: what it means for the delivery, the officer's sentence, whether the station must be told, and what it
    says of the recipient."""

    failure: Failure
    reason: str
    again: Again = Again.SOON
    alarm: bool = False
    about: Recipient | None = None


@dataclass(frozen=True, slots=True)
class ErrorTable:
    """The rows of one platform, by code; `token_rows` lie over them for the call that fetches a token."""

    rows: Mapping[int, ErrorRow]
    unknown: ErrorRow  # a code nobody has seen
    no_token: ErrorRow  # the same of the token call: without a token nothing can be sent at all
    token_rows: Mapping[int, ErrorRow] = field(default_factory=dict)
    token_codes: frozenset[int] = frozenset()  # the token is at fault: fetch a new one and try once more
    accepted_codes: frozenset[int] = frozenset({0})

    def row_for(self, code: int) -> ErrorRow:
        """The row of a code an API call answered with."""
        return self.rows.get(code, self.unknown)

    def token_row_for(self, code: int) -> ErrorRow:
        """The row of a code the token call answered with; nothing but a busy platform is cured by trying again."""
        if code in self.token_rows:
            return self.token_rows[code]
        row = self.rows.get(code, self.no_token)
        return row if row.failure in {Failure.RETRY, Failure.CHANNEL_DOWN} else self.no_token


def error_of(row: ErrorRow, code: int | str, errmsg: str = "") -> SendError:
    """The error for one row. Of `errmsg` only an IP address is used: the rest may name people and credentials."""
    reason = row.reason
    if code in _ADDRESS_CODES and (address := _address_in(errmsg)):
        reason = f"本机的 IP {address} 不在平台的白名单里，发送已停止。请管理员在平台后台加上它。"
    return SendError(row.failure, str(code), reason, after=_wait(row.again), about=row.about, alarm=row.alarm)


def request_id_in(errmsg: str) -> str:
    """The platform's number of the call, which its support asks for."""
    found = re.search(r"rid: ([0-9a-f-]{8,64})", errmsg)
    return found[1] if found else ""


def _address_in(errmsg: str) -> str:
    for word in re.findall(r"[0-9A-Fa-f.:]{3,45}", errmsg):
        try:
            return str(ipaddress.ip_address(word.strip(":.")))
        except ValueError:
            continue
    return ""


def _wait(again: Again) -> timedelta | None:
    if again is Again.MINUTE:
        return timedelta(seconds=60)
    if again is Again.HALF_HOUR:
        return timedelta(minutes=30)
    if again is Again.TOMORROW:
        present = clock.now().astimezone(_CHINA)
        midnight = datetime.combine(present.date() + timedelta(days=1), datetime.min.time(), _CHINA)
        return midnight - present
    return None

"""What residents' pages send: ids, words and pictures read out of a POST, or a refusal."""

import json
import re
from dataclasses import dataclass

from aiohttp import BodyPartReader, hdrs, web

from bot.message import PICTURE_LIMIT_BYTES

_KEY = re.compile(r"[A-Za-z0-9_-]{8,64}")


class RefusedError(Exception):
    """The request gets this status and the sentence called `key`."""

    def __init__(self, status: int, key: str, *, after: int = 0, draft: str = "", **values: object) -> None:
        super().__init__(key)
        self.status, self.key, self.after, self.draft, self.values = status, key, after, draft, values


@dataclass(frozen=True, slots=True)
class Posted:
    """What came with a POST: the id its page gave it, the words, and whether a script or a bare form sent it."""

    key: str
    text: str
    by_script: bool
    fields: dict[str, str]


async def posted(request: web.Request) -> Posted:
    """The id and the words of a POST, from JSON or from a form."""
    by_script = request.content_type == "application/json"
    fields = await _json_fields(request) if by_script else await form_fields(request)
    key = fields.get("id", "")
    if not _KEY.fullmatch(key):
        raise RefusedError(400, "bad_request")
    text = fields.get("choice") or fields.get("text", "")
    return Posted(key, _clean(text), by_script, fields)


def _clean(text: str) -> str:
    """Forms write line ends in their own way, and JSON can carry halves of characters that no database takes."""
    return text.replace("\r\n", "\n").encode("utf-8", "replace").decode().replace("\0", "")


def number_of(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def is_form(request: web.Request) -> bool:
    """Whether a person waits for a page rather than a script for JSON."""
    if "application/json" in request.headers.get(hdrs.ACCEPT, "") or request.content_type == "application/json":
        return False
    return request.method == hdrs.METH_POST


async def _json_fields(request: web.Request) -> dict[str, str]:
    try:
        loaded = json.loads(await request.read())
    except (ValueError, RecursionError):
        raise RefusedError(400, "bad_request") from None
    if not isinstance(loaded, dict):
        raise RefusedError(400, "bad_request")
    fields = {name: "yes" if value is True else value for name, value in loaded.items()}
    return {name: value for name, value in fields.items() if isinstance(value, str)}


async def form_fields(request: web.Request) -> dict[str, str]:
    if request.content_type != "application/x-www-form-urlencoded":
        raise RefusedError(415, "bad_request")
    try:
        form = await request.post()
    except ValueError:
        raise RefusedError(400, "bad_request") from None
    return {name: value for name, value in form.items() if isinstance(value, str)}


async def posted_picture(request: web.Request) -> tuple[str, bytes]:
    """The id and the bytes of an upload; reading stops where it gets too large."""
    if request.content_type != "multipart/form-data":
        raise RefusedError(415, "bad_request")
    key, data = "", b""
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                continue
            content = bytearray()
            while chunk := await part.read_chunk(64 * 1024):
                content += chunk
                if len(content) > PICTURE_LIMIT_BYTES:
                    raise RefusedError(413, "picture_too_large")
            if part.name == "id":
                key = content.decode("ascii", "replace")
            elif part.name == "picture":
                data = bytes(content)
    except (ValueError, EOFError, web.RequestPayloadError):
        raise RefusedError(400, "bad_request") from None
    if not _KEY.fullmatch(key):
        raise RefusedError(400, "bad_request")
    if not data:
        raise RefusedError(422, "no_picture")
    return key, data

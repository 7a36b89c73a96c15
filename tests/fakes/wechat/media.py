"""Temporary media: checked by their first bytes and size, gone after three days."""

import json
import secrets
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiohttp import web

from tests.fakes.wechat.clock import DAY
from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.serving import Answer, Asked, Endpoints, Refusal

MEBIBYTE = 1024 * 1024
_STARTS = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"#!AMR", "audio/amr"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"%PDF", "application/pdf"),
)


class Medium(NamedTuple):
    content_type: str
    data: bytes
    created_at: float


@dataclass(frozen=True)
class Kind:
    content_types: frozenset[str]
    limit_bytes: int


def type_of(data: bytes) -> str:
    """By the first bytes; application/octet-stream if they say nothing."""
    if data[4:8] == b"ftyp":
        return "video/mp4"
    return next((kind for start, kind in _STARTS if data.startswith(start)), "application/octet-stream")


class MediaStore:
    """`kinds`: what may be uploaded, beside pictures, whose limit is a rule."""

    def __init__(self, platform: Platform, kinds: dict[str, Kind]) -> None:
        self.platform, self.kinds = platform, kinds
        self.held: dict[str, Medium] = {}

    def endpoints(self) -> Endpoints:
        return {("POST", "media/upload"): self._upload, ("GET", "media/get"): self._download}

    def add(self, data: bytes, content_type: str = "image/jpeg") -> str:
        """What a resident sent; its media id."""
        media_id = secrets.token_urlsafe(24)
        self.held[media_id] = Medium(content_type, data, self.platform.now())
        return media_id

    def check(self, media_id: object) -> Medium:
        medium = self.held.get(str(media_id))
        if medium is None or self.platform.now() - medium.created_at > 3 * DAY:
            raise Refusal(40007, "invalid media_id")
        return medium

    async def _upload(self, asked: Asked) -> dict[str, Any]:
        name = asked.query.get("type", "")
        kind = self.kinds.get(name)
        if kind is None:
            raise Refusal(40004, "invalid media type")
        given = asked.body.get("media")
        if not isinstance(given, web.FileField):
            raise Refusal(41005, "media data missing")
        data = given.file.read()
        if not data:
            raise Refusal(44001, "empty media data")
        limit = self.platform.rules.image_limit_bytes if name == "image" else kind.limit_bytes
        if len(data) > limit:
            raise Refusal(40006, "invalid media size")
        content_type = type_of(data)
        if kind.content_types and content_type not in kind.content_types:
            raise Refusal(40005, "invalid file type")
        return {"type": name, "media_id": self.add(data, content_type), "created_at": int(self.platform.now())}

    async def _download(self, asked: Asked) -> Answer:
        media_id = asked.query.get("media_id", "")
        medium = self.check(media_id)
        if medium.content_type == "video/mp4":  # a video is answered by its address
            return web.Response(body=json.dumps({"video_url": f"http://video.example/{media_id}"}).encode())
        name = f"{media_id}.{medium.content_type.partition('/')[2]}"
        headers = {"Content-Type": medium.content_type, "Content-Disposition": f'attachment; filename="{name}"'}
        return web.Response(body=medium.data, headers=headers)


_PICTURES = frozenset({"image/jpeg", "image/png", "image/gif"})
ACCOUNT_KINDS = {
    "image": Kind(_PICTURES, 10 * MEBIBYTE),
    "voice": Kind(frozenset({"audio/amr", "audio/mpeg"}), 2 * MEBIBYTE),
    "video": Kind(frozenset({"video/mp4"}), 10 * MEBIBYTE),
    "thumb": Kind(frozenset({"image/jpeg"}), 64 * 1024),
}
CORP_KINDS = {
    "image": Kind(frozenset({"image/jpeg", "image/png"}), 10 * MEBIBYTE),
    "voice": Kind(frozenset({"audio/amr"}), 2 * MEBIBYTE),
    "video": Kind(frozenset({"video/mp4"}), 10 * MEBIBYTE),
    "file": Kind(frozenset(), 20 * MEBIBYTE),
}

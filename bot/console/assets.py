"""The console's style sheet and scripts, from memory: a handful of small files that never change while we run."""

import hashlib
from pathlib import Path

from aiohttp import web

from bot.console.visit import Visit

_FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}
_FILES = {path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES}
_VERSIONS = {name: hashlib.sha256(content).hexdigest()[:12] for name, content in _FILES.items()}


def url(name: str) -> str:
    """The address of a file; it changes with the content, so that browsers may keep it for good."""
    return f"/console/static/{name}?v={_VERSIONS[name]}"


async def show(visit: Visit) -> web.StreamResponse:
    name = visit.request.match_info["name"]
    if name not in _FILES:
        raise web.HTTPNotFound
    lasting = visit.asked("v") == _VERSIONS[name]
    return web.Response(
        body=_FILES[name],
        content_type=_TYPES[Path(name).suffix],
        charset="utf-8",
        headers={"Cache-Control": "public, max-age=31536000, immutable" if lasting else "no-cache"},
    )

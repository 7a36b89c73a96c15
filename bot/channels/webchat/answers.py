"""What goes back to a resident's page, with the headers that tell his browser to be careful with it."""

import json
from typing import Any

from aiohttp import web

_POLICY = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def html_page(html: str, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(text=html, status=status, content_type="text/html", headers=HEADERS | (headers or {}))


def json_answer(data: dict[str, Any], *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    words = json.dumps(data, ensure_ascii=False)
    return web.Response(text=words, status=status, content_type="application/json", headers=HEADERS | (headers or {}))


def redirect(path: str) -> web.Response:
    return web.Response(status=303, headers=HEADERS | {"Location": path})

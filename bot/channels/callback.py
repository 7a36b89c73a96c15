"""The edge of every callback: its address, how much of a request is read, and the two answers that say nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog
from aiohttp import web

from bot.channels.base import REFUSED_BECAUSE
from bot.channels.metrics import REFUSED_CALLBACKS
from bot.channels.wechat_envelope import BODY_LIMIT_BYTES, Envelope, Reason, RefusedError

BODY_SECONDS = 3.0  # to read a body of at most 64 KiB; the platforms hang up after 5
NO_STORE: Final[Mapping[str, str]] = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

_log = structlog.get_logger(__name__)


def callback_routes(
    channel: str, envelope: Envelope, receive: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> list[web.RouteDef]:
    """The address a channel's platform calls. By GET it asks whether the address is ours, and may ask again at any
    time."""

    async def check_address(request: web.Request) -> web.Response:
        try:
            return _echoed(envelope.check_echo(request.query))
        except RefusedError as refusal:
            return refused(channel, refusal.reason)

    path = f"/callback/{channel}"
    return [web.get(path, check_address, allow_head=False), web.post(path, receive)]


async def read_body(request: web.Request, *, seconds: float = BODY_SECONDS) -> bytes:
    """The body, with a limit of its own: the application's is made for officers' uploads, and aiohttp has no time
    limit for a body at all. Raises RefusedError."""
    content, body = request.content, bytearray()
    try:
        if content.is_eof():  # it came along with the head, as most do: nothing to wait for
            body += content.read_nowait()
        else:
            async with asyncio.timeout(seconds):
                async for chunk in content.iter_any():
                    body += chunk
                    if len(body) > BODY_LIMIT_BYTES:
                        break
    except TimeoutError:
        raise RefusedError(Reason.TOO_SLOW) from None
    except (web.RequestPayloadError, OSError):  # a broken encoding, or the sender went away
        raise RefusedError(Reason.BAD_BODY) from None
    if len(body) > BODY_LIMIT_BYTES:
        raise RefusedError(Reason.TOO_LARGE)
    return bytes(body)


def refused(channel: str, reason: Reason) -> web.Response:
    """The same empty answer whatever was wrong; only a body we did not read to its end is told apart."""
    REFUSED_CALLBACKS.labels(channel, reason.value).inc()
    _log.warning("callback refused", channel=channel, reason=reason.value)
    response = web.Response(status={Reason.TOO_LARGE: 413, Reason.TOO_SLOW: 408}.get(reason, 403))
    response[REFUSED_BECAUSE] = reason.value
    response.force_close()  # the rest of the body may still be on its way
    return response


def _echoed(echo: str) -> web.Response:
    """The answer to an address check: the plain echo and nothing round it."""
    return web.Response(body=echo.encode(), content_type="text/plain", headers=NO_STORE)


def taken() -> web.Response:
    """Taken, and nothing to say now: the platform shows nothing and does not deliver again."""
    return web.Response(body=b"success", content_type="text/plain", headers=NO_STORE)

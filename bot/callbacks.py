"""Remembers when each channel's callback was last believed and last refused, for the self-check."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection

from aiohttp import web
from aiohttp.typedefs import Middleware

from bot import clock
from bot.actions import channels
from bot.channels.base import REFUSED_BECAUSE
from bot.store.engine import Store

log = logging.getLogger(__name__)

_ROOT = "/callback/"
_AGAIN_AFTER_SECONDS = 60.0  # one row a minute at most, however many callbacks come

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class CallbackSigns:
    """Looks at the answers to the platforms' callbacks; the rows are written beside, nobody waits for them."""

    def __init__(self, store: Store, station_id: int, names: Collection[str]) -> None:
        self._store, self._station_id, self._names = store, station_id, frozenset(names)
        self._written: dict[tuple[str, bool], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def middleware(self) -> Middleware:
        @web.middleware
        async def watch(request: web.Request, handler: _Handler) -> web.StreamResponse:
            response = await handler(request)
            name = request.path.removeprefix(_ROOT)
            if request.path.startswith(_ROOT) and name in self._names and response.status < 500:
                self._note(name, "" if response.status < 400 else response.get(REFUSED_BECAUSE, str(response.status)))
            return response

        return watch

    def _note(self, name: str, why: str) -> None:
        now, key = asyncio.get_running_loop().time(), (name, not why)
        if now < self._written.get(key, float("-inf")) + _AGAIN_AFTER_SECONDS:
            return
        self._written[key] = now
        task = asyncio.create_task(self._write(name, why))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, name: str, why: str) -> None:
        try:
            async with self._store.write() as session:
                if why:
                    await channels.refused(session, self._station_id, name, why, now=clock.now())
                else:
                    await channels.believed(session, self._station_id, name, now=clock.now())
        except Exception:
            log.exception("sign of a callback not written", extra={"channel": name})

    async def close(self) -> None:
        """Let the last rows be written."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

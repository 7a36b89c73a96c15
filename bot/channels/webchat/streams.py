"""The stream of what is new to one open page."""

import asyncio
import json
from typing import Any

from aiohttp import web

from bot.channels.webchat.desk import Moved


class Stream:
    """One open page that is told what is new."""

    def __init__(self) -> None:
        self.ended = ""  # an event to end with, or "stop"
        self._typing = False
        self._woken = asyncio.Event()

    def wake(self, moved: Moved) -> None:
        if moved is Moved.TYPING:
            self._typing = True
        self._woken.set()

    def end(self, how: str) -> None:
        self.ended = how
        self._woken.set()

    async def wait(self, seconds: float) -> bool:
        """Whether something moved within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True

    def take_typing(self) -> bool:
        typing, self._typing = self._typing, False
        return typing


async def write_event(
    response: web.StreamResponse, event: str, data: dict[str, Any], *, number: int | None = None
) -> None:
    words = json.dumps(data, ensure_ascii=False)
    line = f"id: {number}\n" if number is not None else ""
    await response.write(f"event: {event}\n{line}data: {words}\n\n".encode())

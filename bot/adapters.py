"""What channels ask of the program (see bot.channels.base), answered from the database."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from bot import clock
from bot.actions import tokens
from bot.channels.base import Picture, TokenStore
from bot.store.engine import Store
from bot.store.models import Media

_ASKED_AGAIN_AFTER = timedelta(seconds=5)

_Fetch = Callable[[], Awaitable[tuple[str, datetime]]]


class StoredTokens:
    """The TokenStore of a station."""

    def __init__(self, store: Store, station_id: int) -> None:
        self._store, self._station_id = store, station_id
        self._one_fetch = asyncio.Lock()

    async def get(self, channel: str) -> tuple[str, datetime] | None:
        async with self._store.read() as session:
            return await tokens.load(session, self._station_id, channel)

    async def replace(self, channel: str, stale: str | None, fetch: _Fetch) -> tuple[str, datetime]:
        """A new token, unless another task or process has brought one already.

        The platform is asked outside any transaction; two processes may both ask, which stable_token allows (it gives
        both the same token), while a slow platform never holds a lock.
        """
        async with self._one_fetch:
            current = await self.get(channel)
            if current is not None and current[0] != stale:
                return current
            token, expires_at = await fetch()
            async with self._store.write() as session:
                await tokens.save(session, self._station_id, channel, token, expires_at)
            return token, expires_at


class RecentTokens:
    """A TokenStore that remembers for some seconds what another one said: to ask the database for each message sent
    cost more than the sending. Another process's new token comes late by as much; the one before it is still good.
    """

    def __init__(self, tokens: TokenStore) -> None:
        self._tokens = tokens
        self._recent: dict[str, tuple[datetime, tuple[str, datetime]]] = {}

    async def get(self, channel: str) -> tuple[str, datetime] | None:
        asked_at, held = self._recent.get(channel, (None, None))
        if asked_at is not None and timedelta(0) <= clock.now() - asked_at < _ASKED_AGAIN_AFTER:
            return held
        return self._remember(channel, await self._tokens.get(channel))

    async def replace(self, channel: str, stale: str | None, fetch: _Fetch) -> tuple[str, datetime]:
        held = await self._tokens.replace(channel, stale, fetch)
        self._remember(channel, held)
        return held

    def _remember(self, channel: str, held: tuple[str, datetime] | None) -> tuple[str, datetime] | None:
        if held is not None:
            self._recent[channel] = (clock.now(), held)
        return held


class StoredPictures:
    """The PictureStore of a station."""

    def __init__(self, store: Store, station_id: int) -> None:
        self._store, self._station_id = store, station_id

    async def load(self, media_id: int) -> Picture:
        async with self._store.read() as session:
            media = await session.get(Media, media_id)
        if media is None or media.station_id != self._station_id:
            raise LookupError(f"picture {media_id} is not kept here")
        return Picture(media.content_type, media.data)

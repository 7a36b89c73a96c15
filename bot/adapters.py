"""What channels ask of the program (see bot.channels.base), answered from the database."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from itertools import repeat
from typing import Protocol

from bot import clock
from bot.actions import streams, tokens
from bot.actions.streams import StreamKey
from bot.channels.base import Failure, NowOrNever, Picture, SendError, TokenStore, Unanswered
from bot.message import Happening, Message, SessionMoved
from bot.store.engine import Store
from bot.store.models import Media

_LOOK_AGAIN_SECONDS = 0.2  # while another process asks for a token
_LOOKS = round(tokens.LEASE.total_seconds() / _LOOK_AGAIN_SECONDS) + 5  # until its lease is over
_ASKED_AGAIN_AFTER = timedelta(seconds=5)

_Fetch = Callable[[], Awaitable[tuple[str, datetime]]]


class _Handle(Protocol):
    """The dispatcher's: answer a message that is stored already."""

    async def __call__(self, stored_id: int, message: Message, *, wait_seconds: float) -> NowOrNever | None: ...


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

        Who holds the row's lease asks the platform, outside any transaction; the others look at the row until the token
        is there or the lease is free. Raises what `fetch` raises, and SendError when another process asks and asks.
        """
        async with self._one_fetch:
            fetcher = secrets.token_hex(16)
            for pause in (0, *repeat(_LOOK_AGAIN_SECONDS, _LOOKS)):
                await asyncio.sleep(pause)
                async with self._store.write() as session:
                    claim = await tokens.claim(
                        session, self._station_id, channel, stale=stale, fetcher=fetcher, now=clock.now()
                    )
                if claim.held is not None:
                    return claim.held
                if claim.mine:
                    return await self._fetch(channel, fetcher, fetch)
            raise SendError(Failure.RETRY, "token_wait", "另一个进程正在获取微信接口凭证，稍后自动重发。")

    async def _fetch(self, channel: str, fetcher: str, fetch: _Fetch) -> tuple[str, datetime]:
        try:
            token, expires_at = await fetch()
        except BaseException:  # also when this task is cancelled: the others need not wait for the end of the lease
            async with self._store.write() as session:
                await tokens.give_up(session, self._station_id, channel, fetcher=fetcher)
            raise
        async with self._store.write() as session:
            await tokens.save(session, self._station_id, channel, token, expires_at, fetcher=fetcher, now=clock.now())
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


class StoredStream:
    """The Stream of one account. `answer_age`: what was written longer before the first reading is not answered."""

    def __init__(self, store: Store, key: StreamKey, *, answer_age: timedelta, handle: _Handle) -> None:
        self._store, self._key, self._answer_age, self._handle = store, key, answer_age, handle
        self._reader = secrets.token_hex(16)  # this process
        self._series = ""

    async def series(self) -> str:
        if not self._series:
            async with self._store.write() as session:
                self._series = await streams.series(session, self._key, answer_age=self._answer_age, now=clock.now())
        return self._series

    async def claim(self) -> str | None:
        async with self._store.write() as session:
            return await streams.claim(
                session, self._key, reader=self._reader, answer_age=self._answer_age, now=clock.now()
            )

    async def keep(self, happened: Sequence[Happening], *, cursor: str) -> Sequence[Unanswered] | None:
        async with self._store.write() as session:
            kept = await streams.keep(session, self._key, happened, cursor=cursor, reader=self._reader, now=clock.now())
        return None if kept is None else [Unanswered(row.stored_id, row.message, row.served) for row in kept]

    async def release(self) -> bool:
        async with self._store.write() as session:
            return await streams.release(session, self._key, reader=self._reader, now=clock.now())

    async def moved(self, sender: str, servicer: str | None) -> None:
        async with self._store.write() as session:
            await streams.move(session, self._key, SessionMoved(sender, servicer), now=clock.now())

    async def handle(self, waiting: Unanswered, *, wait_seconds: float) -> NowOrNever | None:
        return await self._handle(waiting.stored_id, waiting.message, wait_seconds=wait_seconds)

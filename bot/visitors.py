"""The web chat's desk (bot.channels.webchat.desk) on the database."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from bot import clock
from bot.actions import conversations, media, messages, residents, visitors
from bot.actions.audit import Actor
from bot.actions.conversations import Address
from bot.actions.errors import ActionError
from bot.actions.visitors import Spoken
from bot.channels.base import Picture
from bot.channels.webchat.desk import (
    Author,
    Connection,
    Line,
    Moved,
    PictureRefusedError,
    Rank,
    Speaker,
    StationCard,
    Visit,
    Wake,
)
from bot.runtime import Runtime
from bot.security import forwarding
from bot.store.live import Change, Kind, Live
from bot.store.models import Officer, Role
from knowledge import Decision

_RANKS: Final[Mapping[Role, Rank]] = MappingProxyType({Role.AUXILIARY: Rank.AUXILIARY, Role.CHIEF: Rank.CHIEF})


class Visitors:
    """The VisitorDesk of one web chat."""

    def __init__(self, runtime: Runtime, channel: str) -> None:
        self._runtime, self._channel = runtime, channel
        self._watchers = _Watchers(runtime.store.live)

    @property
    def station(self) -> StationCard:
        config, station = self._runtime.config, self._runtime.station
        return StationCard(
            name=station.name,
            phone=station.settings.get("station.phone", ""),
            timezone=station.timezone,
            kept_days=config.retention.messages_days,
            idle_days=config.retention.web_visitors_days,
            public_host=urlsplit(config.server.public_url).netloc,
        )

    def connection(self, peer: str, scheme: str, forwarded_for: str, forwarded_proto: str) -> Connection:
        proxies = self._runtime.config.server.trusted_proxies
        return Connection(
            ip=forwarding.client_ip(peer, forwarded_for, proxies),
            https=forwarding.is_https(scheme, peer, forwarded_proto, proxies),
        )

    async def visit(self, visitor: str, *, after: int | None = None, before: int | None = None, most: int = 0) -> Visit:
        station_id, where = self._runtime.station.id, self._at(visitor)
        async with self._runtime.store.read() as session:
            conversation = await conversations.find(session, station_id, where)
            if conversation is None:
                return Visit()
            consented_at = conversation.address.consented_at
            if consented_at is None:
                return Visit(known=True)
            rows: list[Spoken] = []
            if most:
                rows = await visitors.spoken(
                    session, station_id, where, since=consented_at, after=after, before=before, most=most + 1
                )
            waiting = conversation.owner is None and await visitors.is_waiting(
                session, station_id, where, now=clock.now()
            )
        earlier = after is None and len(rows) > most
        rows = rows[:most] if after is not None else rows[-most:] if most else []
        resident = conversation.resident
        return Visit(
            known=True,
            consented=True,
            large_type=resident.large_type,
            owner=_speaker(conversation.owner),
            waiting=waiting,
            community=resident.community.name if resident.community else "",
            lines=tuple(_line(row) for row in rows),
            earlier=earlier,
        )

    async def knows(self, visitor: str) -> bool:
        async with self._runtime.store.read() as session:
            return await visitors.knows(session, self._runtime.station.id, self._at(visitor))

    async def community(self, code: str) -> str:
        async with self._runtime.store.read() as session:
            community = await residents.community_of_code(session, self._runtime.station.id, code)
        return community.name if community else ""

    async def consent(self, visitor: str, *, language: str) -> None:
        station_id, now = self._runtime.station.id, clock.now()
        async with self._runtime.store.write() as session:
            await visitors.consent(
                session,
                await conversations.ensure(session, station_id, self._at(visitor), now=now),
                language=language,
                kept_days=self._runtime.config.retention.messages_days,
                now=now,
                actor=Actor(station_id),
            )

    async def has(self, visitor: str, key: str) -> bool:
        async with self._runtime.store.read() as session:
            row = await visitors.stored_as(session, self._runtime.station.id, self._at(visitor), key)
        return row is not None

    async def keep_picture(self, visitor: str, data: bytes) -> int:
        station_id = self._runtime.station.id
        try:
            media.content_type_of(data)  # before a transaction is opened for it
            async with self._runtime.store.write() as session:
                conversation = await conversations.find(session, station_id, self._at(visitor))
                return (await media.keep(session, station_id, data, conversation)).id
        except ActionError as error:
            raise PictureRefusedError(str(error)) from None

    async def picture(self, visitor: str, number: int) -> Picture:
        async with self._runtime.store.read() as session:
            conversation = await visitors.access_conversation(session, self._runtime.station.id, self._at(visitor))
            row = await visitors.access_picture(session, conversation, number)
        return Picture(row.content_type, row.data)

    def is_urgent(self, text: str) -> bool:
        return self._runtime.knowledge.match(text).decision is Decision.URGENT

    @asynccontextmanager
    async def watch(self, visitor: str, wake: Wake) -> AsyncIterator[None]:
        async with self._runtime.store.read() as session:
            conversation = await visitors.access_conversation(session, self._runtime.station.id, self._at(visitor))
        async with self._watchers.watch(conversation.id, wake):
            yield

    def _at(self, visitor: str) -> Address:
        return Address(self._channel, visitor)


def _speaker(officer: Officer | None) -> Speaker | None:
    return Speaker(_RANKS.get(officer.role, Rank.OFFICER), officer.name, officer.badge) if officer else None


def _line(row: Spoken) -> Line:
    message = row.message
    reply = messages.reply_of(message)
    return Line(
        id=message.id,
        author=Author(message.author.value),
        at=message.created_at,
        text=message.body,
        key=message.platform_id or "",
        speaker=_speaker(row.officer),
        choices=reply.choices,
        picture=message.media_id,
        urgent=row.answers == Decision.URGENT,
    )


class _Watchers:
    """One ear on the store's changes for all open pages, so that a change costs only those whom it concerns."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._wakes: dict[int, list[Wake]] = {}
        self._ear: tuple[asyncio.Task[None], AsyncExitStack] | None = None

    @asynccontextmanager
    async def watch(self, conversation_id: int, wake: Wake) -> AsyncIterator[None]:
        wakes = self._wakes.setdefault(conversation_id, [])
        wakes.append(wake)
        try:
            if self._ear is None:
                await self._listen()
            yield
        finally:
            wakes.remove(wake)
            if not wakes:
                self._wakes.pop(conversation_id, None)
            if not self._wakes:
                await self._rest()

    async def _listen(self) -> None:
        stack = AsyncExitStack()
        changes = await stack.enter_async_context(self._live.listen())  # does not wait: nobody comes in between
        self._ear = asyncio.create_task(self._hear(changes)), stack

    async def _rest(self) -> None:
        if self._ear is None:
            return
        (task, stack), self._ear = self._ear, None
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await stack.aclose()

    async def _hear(self, changes: "asyncio.Queue[Change]") -> None:
        while True:
            change = await changes.get()
            if change.kind is Kind.RELOAD:
                concerned = [wake for wakes in self._wakes.values() for wake in wakes]
            elif change.kind is Kind.CONVERSATION:
                concerned = list(self._wakes.get(change.id, ()))
            else:
                continue
            moved = Moved.TYPING if change.what == "typing" else Moved.SOMETHING
            for wake in concerned:
                wake(moved)

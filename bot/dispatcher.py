"""Each incoming message once: store it, decide on an answer, write both down, and say sorry when that fails."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from typing import Any, NamedTuple

from bot import clock
from bot.actions import conversations, mass, messages, turns, waiting
from bot.actions.conversations import Address
from bot.actions.messages import Stored
from bot.actions.turns import Decided, Written
from bot.batcher import Batcher
from bot.message import TEXT_LIMIT_CHARACTERS, Message, Reply
from bot.parts import joined
from bot.router import Answer, Context, Turn
from bot.runtime import Runtime
from bot.store.encryption import EncryptionError
from bot.store.engine import is_about_the_row
from bot.store.models import Conversation, MessageState, StoredMessage

log = logging.getLogger(__name__)

GRACE_SECONDS = 0.5  # an answer being written when the time is up is worth waiting for
BESIDE_CHARACTERS = 560  # of what one answer holds, for what goes along with a reply: some for what stands between
CONFIRM_PAUSE_SECONDS = 0.1  # confirmations of one moment are written together
CONFIRM_TRIES = 7  # each after twice the pause: 13 seconds in all, of a lease of 20
APOLOGY = Reply("抱歉，系统刚才出了点小问题。您的消息已经收到，我们会尽快回复您。情况紧急请直接拨打110。")

RouteFunction = Callable[[Context], Awaitable[Answer]]
GiveUp = Callable[[Turn], Awaitable[None]]


@dataclass(slots=True)
class Slot:
    """Whether the resident's own request still waits for the answer."""

    open: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """An answer that can go out in the response; `confirm` once it has, `decline` if it never shall."""

    reply: Reply
    delivery_id: int
    confirmed: Callable[[int], None] = field(repr=False, compare=False)
    declined: Callable[[int, str], None] = field(repr=False, compare=False)

    def confirm(self) -> None:
        self.confirmed(self.delivery_id)

    def decline(self, reason: str) -> None:
        self.declined(self.delivery_id, reason)


@dataclass(frozen=True, slots=True)
class Together:
    """Several things said in one response."""

    reply: Reply
    delivery_ids: tuple[int, ...]
    confirmed: Callable[[int], None] = field(repr=False, compare=False)

    def confirm(self) -> None:
        for delivery_id in self.delivery_ids:
            self.confirmed(delivery_id)


class _Taken(NamedTuple):
    """A message taken in, and the conversation it belongs to; None where there is none yet."""

    stored: Stored
    conversation: Conversation | None


class OwnerChanged(Exception):
    """An officer took or left the conversation while the bot was deciding: decide again."""


class Dispatcher:
    """Feeds messages through the routers. One per process; nothing in it is needed after a restart."""

    def __init__(self, runtime: Runtime, route: RouteFunction, give_up: GiveUp) -> None:
        self._runtime, self._route, self._give_up = runtime, route, give_up
        writing = asyncio.Lock()  # one batch at a time goes to the database, the others grow meanwhile
        self._intake: Batcher[Message, _Taken] = Batcher(self._store, is_of_one=is_about_the_row, turnstile=writing)
        self._load: Batcher[Address, Conversation | None] = Batcher(self._find, is_of_one=is_about_the_row)
        self._meet: Batcher[Address, Conversation] = Batcher(self._make, turnstile=writing)
        self._finish: Batcher[Decided, Written] = Batcher(self._write, is_of_one=is_about_the_row, turnstile=writing)
        self._said: list[int] = []  # deliveries whose response has gone out
        self._turns: dict[int, asyncio.Task[Ready | None]] = {}  # by message, so that a repetition joins the first
        self._tasks: set[asyncio.Task[object]] = set()
        self._places = _Places()

    async def feed(self, message: Message, *, wait_seconds: float) -> Ready | None:
        """See bot.channels.base.Feed."""
        deadline = asyncio.get_running_loop().time() + wait_seconds
        with self._places.at(Address(message.channel, message.sender)) as place:
            stored, conversation = await self._intake(message)
            if stored.id not in self._turns and not stored.fresh:
                return await self._said_before(stored)
            known = None if place.turns else conversation  # another turn may have changed it since it was read
            return await self._answer(stored.id, message, Slot(open=wait_seconds > 0), deadline, known)

    async def handle(self, stored_id: int, message: Message, *, wait_seconds: float) -> Ready | None:
        """The answer to a message that is stored already, as `feed` gives it. Turns of one address keep the order in
        which they were begun."""
        deadline = asyncio.get_running_loop().time() + wait_seconds
        return await self._answer(stored_id, message, Slot(open=wait_seconds > 0), deadline)

    async def _answer(
        self, stored_id: int, message: Message, slot: Slot, deadline: float, known: Conversation | None = None
    ) -> Ready | None:
        turn = self._turns.get(stored_id) or self._begin(stored_id, message, slot, known)
        grace_seconds = GRACE_SECONDS if slot.open else 0
        await asyncio.wait({turn}, timeout=max(0.0, deadline - asyncio.get_running_loop().time()))
        if not turn.done():
            slot.open = False
            await asyncio.wait({turn}, timeout=grace_seconds)
        return turn.result() if turn.done() else None

    async def feed_with_waiting(self, message: Message, *, wait_seconds: float) -> Ready | Together | None:
        """As `feed`, for a channel that says everything in responses: what waited for this resident goes along."""
        ready = await self.feed(message, wait_seconds=wait_seconds)
        if wait_seconds <= 0 or not message.is_act or message.is_about_account:
            return ready
        room = TEXT_LIMIT_CHARACTERS if ready is None else BESIDE_CHARACTERS - len(ready.reply.text)
        async with self._runtime.store.write() as session:
            waited = await waiting.take_for_response(
                session,
                self._runtime.station.id,
                message.channel,
                message.sender,
                characters=room,
                now=clock.now(),
            )
        if not waited:
            return ready
        words = [words for _, words in waited] + ([ready.reply.text] if ready is not None else [])
        reply = Reply(joined(words), ready.reply.choices if ready is not None else ())
        numbers = [number for number, _ in waited] + ([ready.delivery_id] if ready is not None else [])
        return Together(reply, tuple(numbers), self._confirmed)

    async def resume(self, message_id: int) -> None:
        """Handle a message that was stored but never finished; its answer goes by the outbox."""
        async with self._runtime.store.read() as session:
            row = await session.get(StoredMessage, message_id)
        if row is not None and row.state is MessageState.RECEIVED and message_id not in self._turns:
            await self._begin(row.id, messages.message_of(row, clock.now()), Slot(open=False))

    async def close(self) -> None:
        """Let the turns under way end and the last confirmations be written."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    # --- one turn ---------------------------------------------------------------------------------------------------

    def _begin(
        self, stored_id: int, message: Message, slot: Slot, known: Conversation | None = None
    ) -> "asyncio.Task[Ready | None]":
        where = Address(message.channel, message.sender)
        place = self._places.enter(where)
        place.turns += 1
        turn = asyncio.create_task(self._turn(stored_id, message, where, slot, place.lock, known))
        self._turns[stored_id] = turn

        def ended(_: object) -> None:
            self._places.leave(where)
            self._turns.pop(stored_id, None)

        turn.add_done_callback(ended)
        self._keep(turn)
        return turn

    async def _turn(
        self,
        stored_id: int,
        message: Message,
        where: Address,
        slot: Slot,
        one_at_a_time: asyncio.Lock,
        known: Conversation | None,
    ) -> Ready | None:
        async with one_at_a_time:
            try:
                while True:
                    try:
                        return await self._decide(stored_id, message, where, slot, known)
                    except OwnerChanged:
                        log.info("owner changed while deciding", extra={"message_id": stored_id})
                        known = None
            except Exception:
                log.exception("handling failed", extra={"message_id": stored_id})
                return await self._apologise(stored_id, message, where, slot)

    async def _decide(
        self, stored_id: int, message: Message, where: Address, slot: Slot, known: Conversation | None
    ) -> Ready | None:
        if message.is_about_account:
            async with self._runtime.store.write() as session:
                await mass.report(session, self._runtime.station.id, message, now=clock.now())
                await messages.mark_handled(session, stored_id)
            return None
        conversation = known or await self._load(where) or await self._meet(where)
        context = self._context(message, conversation)
        answer = await self._route(context)
        if answer.act is not None:
            return await self._act(stored_id, context, answer, where, slot)
        written = await self._finish(Decided(stored_id, conversation, answer, slot.open, message.grant, message.is_act))
        if written.stale:
            raise OwnerChanged
        if written.delivery_id is None or answer.reply is None:
            return None
        return Ready(answer.reply, written.delivery_id, self._confirmed, self._declined)

    def _context(self, message: Message, conversation: Conversation) -> Context:
        runtime = self._runtime
        return Context(
            message=message,
            conversation=conversation,
            station=runtime.station,
            knowledge=runtime.knowledge,
            now=clock.now(),
            read=runtime.store.read,
        )

    async def _act(self, stored_id: int, context: Context, answer: Answer, where: Address, slot: Slot) -> Ready | None:
        """An answer that does something: deed, reply and decision in one transaction of their own."""
        async with self._runtime.store.write() as session:
            conversation = await conversations.find(session, self._runtime.station.id, where, lock=True)
            stored = await session.get_one(StoredMessage, stored_id)
            if conversation is None or stored.state is not MessageState.RECEIVED:
                return None
            if conversation.speaker != context.conversation.speaker:
                raise OwnerChanged
            turn, now = Turn(session, conversation, stored, context), clock.now()
            reply = await turns.act(session, turn, answer, now=now)
            if reply is None:
                return None
            delivery_id = await turns.answer(session, turn, reply, in_response=slot.open, now=now)
        return None if delivery_id is None else Ready(reply, delivery_id, self._confirmed, self._declined)

    async def _apologise(self, stored_id: int, message: Message, where: Address, slot: Slot) -> Ready | None:
        """The message stays stored and is tried again; after the last try an officer gets it.

        Nothing is said twice, nor while an officer holds the conversation: he sees the message anyway.
        """
        now = clock.now()
        try:
            async with self._runtime.store.write() as session:
                station_id = self._runtime.station.id
                conversation = await conversations.find(session, station_id, where, lock=True)
                conversation = conversation or await conversations.ensure(session, station_id, where, now=now)
                stored = await session.get_one(StoredMessage, stored_id)
                if stored.state is not MessageState.RECEIVED:  # it was written after all, or by another process
                    return None
                turn = Turn(session, conversation, stored, self._context(message, conversation))
                if not turns.postpone(turn, now=now):
                    await self._give_up(turn)
                if stored.attempts > 1 or conversation.speaker != (None, None):
                    return None
                delivery_id = await turns.answer(session, turn, APOLOGY, in_response=slot.open, now=now)
            return None if delivery_id is None else Ready(APOLOGY, delivery_id, self._confirmed, self._declined)
        except Exception:
            log.exception("apology failed", extra={"message_id": stored_id})
            return None

    async def _said_before(self, stored: Stored) -> Ready | None:
        """The platform repeats itself: the same answer, or nothing if it is still to come."""
        async with self._runtime.store.read() as session:
            said = await messages.said_in_response(session, stored.id)
        return None if said is None else Ready(*said, self._confirmed, self._declined)

    # --- batches ----------------------------------------------------------------------------------------------------

    async def _store(self, batch: Sequence[Message]) -> Sequence[_Taken]:
        station_id = self._runtime.station.id
        places = [Address(message.channel, message.sender) for message in batch]
        found: Sequence[Conversation | None] = [None] * len(batch)
        async with self._runtime.store.write() as session:
            stored = await messages.store(session, station_id, batch, now=clock.now())
            try:
                found = await conversations.find_many(session, station_id, places)
            except EncryptionError:  # of one resident, whose turn finds it again: nobody's message is refused for it
                log.warning("a resident's row cannot be read")
        return [_Taken(*pair) for pair in zip(stored, found, strict=True)]

    async def _find(self, batch: Sequence[Address]) -> Sequence[Conversation | None]:
        async with self._runtime.store.read() as session:
            return await conversations.find_many(session, self._runtime.station.id, batch)

    async def _make(self, batch: Sequence[Address]) -> Sequence[Conversation]:
        async with self._runtime.store.write() as session:
            now, station_id = clock.now(), self._runtime.station.id
            in_order = sorted(set(batch), key=astuple)  # two processes that meet the same people never wait in a circle
            made = await conversations.ensure_many(session, station_id, in_order, now=now)
            return [made[where] for where in batch]

    async def _write(self, batch: Sequence[Decided]) -> Sequence[Written]:
        async with self._runtime.store.write() as session:
            return await turns.write(session, batch, now=clock.now())

    async def _mark_sent(self) -> None:
        """What is not written down before its lease ends is said again by the outbox: a moment without the database
        must not be enough for that."""
        for tried in range(1, CONFIRM_TRIES + 1):
            await asyncio.sleep(CONFIRM_PAUSE_SECONDS * 2 ** (tried - 1))  # first: let others of this moment come along
            said, self._said = self._said, []
            if not said:
                return
            try:
                async with self._runtime.store.write() as session:
                    await turns.mark_sent(session, said, now=clock.now())
                return
            except Exception as error:
                log.warning("confirmations not written", extra={"count": len(said), "error": type(error).__name__})
                if tried < CONFIRM_TRIES:
                    self._said = said + self._said

    def _confirmed(self, delivery_id: int) -> None:
        self._said.append(delivery_id)
        if len(self._said) == 1:
            self._keep(asyncio.create_task(self._mark_sent()))

    def _declined(self, delivery_id: int, reason: str) -> None:
        self._keep(asyncio.create_task(self._skip(delivery_id, reason)))

    async def _skip(self, delivery_id: int, reason: str) -> None:
        async with self._runtime.store.write() as session:
            await turns.mark_declined(session, delivery_id, reason, now=clock.now())

    def _keep(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@dataclass(slots=True)
class _Place:
    """An address in use."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # its turns go one after the other
    users: int = 0
    turns: int = 0  # begun since it came into use


class _Places:
    """The addresses in use, and nothing of the others."""

    def __init__(self) -> None:
        self._places: dict[Address, _Place] = {}

    def enter(self, where: Address) -> _Place:
        place = self._places.setdefault(where, _Place())
        place.users += 1
        return place

    def leave(self, where: Address) -> None:
        place = self._places[where]
        place.users -= 1
        if not place.users:
            del self._places[where]

    @contextmanager
    def at(self, where: Address) -> Iterator[_Place]:
        try:
            yield self.enter(where)
        finally:
            self.leave(where)

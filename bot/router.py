"""Who answers a message: routers in order, in each the first handler whose filters pass and that has an answer."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from bot.message import EventKind, Message, MessageKind, Reply
from knowledge import Knowledge, Match

if TYPE_CHECKING:
    from bot.store.models import Conversation, Officer, StoredMessage


_AROUND_WORDS: Final = " \t\n。.!！?？~～"  # what people put around a menu word
TOPIC_LASTS = timedelta(minutes=30)  # who asks for an officer later than that has something else on his mind


@dataclass(frozen=True, slots=True)
class StationInfo:
    """The station as handlers see it: `settings` fill the placeholders of the knowledge."""

    id: int
    name: str
    timezone: str
    settings: Mapping[str, str]
    years_kept: int = 3  # how long chat logs keep their words, as residents are told


@dataclass(frozen=True)
class Context:
    """One message and all that deciding on an answer may look at. Nothing in it is for writing."""

    message: Message
    conversation: "Conversation"  # with resident, its community and owner loaded
    station: StationInfo
    knowledge: Knowledge
    now: datetime
    read: Callable[[], Any] = field(repr=False)  # opens a read session, for the few answers that need a row

    @cached_property
    def text(self) -> str:
        return self.message.text.strip()

    @cached_property
    def match(self) -> Match:
        """What the knowledge makes of the text, with the topic before it."""
        return self.knowledge.match(self.text, previous_topic=self.conversation.last_topic)

    @cached_property
    def menu_words(self) -> frozenset[str]:
        """The message as a menu word, without what people put around one; "?" is a word too."""
        event = self.message.event
        said = event.key if event is not None and event.kind is EventKind.CLICK else self.text
        return frozenset((said.strip(_AROUND_WORDS).casefold(), said.strip()))

    @property
    def owner(self) -> "Officer | None":
        return self.conversation.owner

    @property
    def dialogue(self) -> Mapping[str, Any]:
        """The state of the exchange under way; empty when there is none."""
        return self.conversation.dialogue or {}

    @property
    def is_going_on(self) -> bool:
        """Whether the resident wrote so lately that he is likely to mean what he asked before."""
        last = self.conversation.address.last_inbound_at
        return last is not None and last >= self.now - TOPIC_LASTS

    @property
    def english(self) -> bool:
        """The language of the words; a number, a year or a picture has none: then that of the exchange so far."""
        if any(sign.isalpha() for sign in self.text):
            return self.match.language == "en"
        return bool(self.dialogue.get("english", self.conversation.resident.language == "en"))


@dataclass(slots=True)
class Turn:
    """What an answer's `act` works with: the transaction in which message, reply and deed are written together."""

    session: AsyncSession
    conversation: "Conversation"
    stored: "StoredMessage"
    context: Context


Act = Callable[[Turn], Awaitable[Reply | None]]

KEEP: Final[Mapping[str, Any]] = {"keep": True}  # leave the dialogue as it is


@dataclass(frozen=True)
class Answer:
    """A handler's decision. `act` does what must stand in the same transaction and may say the final words."""

    reply: Reply | None
    decision: str  # one of knowledge.Decision, or "event", "dialogue", "held" (an officer speaks)
    topic: str | None = None
    dialogue: Mapping[str, Any] | None = None  # the new state; None ends it, KEEP leaves it
    act: Act | None = None
    match: Match | None = None  # kept with the message, so that the station sees how it was understood

    def but(self, **changes: Any) -> "Answer":
        return replace(self, **changes)


Handler = Callable[[Context], Awaitable[Answer | None]]
Filter = Callable[[Context], bool]


class Router:
    """Handlers of one kind; `@router.handle(filter, …)` adds one. All filters must pass; None means: not mine."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._handlers: list[tuple[tuple[Filter, ...], Handler]] = []

    def handle(self, *filters: Filter) -> Callable[[Handler], Handler]:
        def add(handler: Handler) -> Handler:
            self._handlers.append((filters, handler))
            return handler

        return add

    async def answer(self, context: Context) -> Answer | None:
        for filters, handler in self._handlers:
            for passes in filters:  # not all(...): a generator for each of forty handlers is dear
                if not passes(context):
                    break
            else:
                answer = await handler(context)
                if answer is not None:
                    return answer
        return None


async def route(routers: Sequence[Router], context: Context) -> Answer:
    """The first answer of the routers in their order; the last router must answer everything."""
    for router in routers:
        answer = await router.answer(context)
        if answer is not None:
            return answer
    raise LookupError("no handler answered; the last router must answer everything")


# --- filters --------------------------------------------------------------------------------------------------------


def has_text(context: Context) -> bool:
    return bool(context.text)


def is_held(context: Context) -> bool:
    """An officer speaks, here or in the platform's own client."""
    return context.conversation.speaker != (None, None)


def is_kind(*kinds: MessageKind) -> Filter:
    return lambda context: context.message.kind in kinds


def is_event(*kinds: EventKind) -> Filter:
    return lambda context: context.message.event is not None and context.message.event.kind in kinds


def in_dialogue(name: str) -> Filter:
    return lambda context: context.dialogue.get("name") == name


def asks(context: Context) -> bool:
    """The message is put as a question."""
    return _ASKS.search(context.text.casefold()) is not None


_ASKS = re.compile(r"[?？吗呢]|怎么|咋|如何|多少|多久|什么|啥|哪|\b(?:how|what|where|when|which|who|can i)\b")
_OWN_WORDS: set[str] = set()


def says(*phrases: str) -> Filter:
    """The whole message is one of these phrases, or a menu key of that name was tapped."""
    wanted = {phrase.casefold() for phrase in phrases}
    _OWN_WORDS.update(wanted)
    return lambda context: _is_one_of(context, wanted)


def says_own_words(context: Context) -> bool:
    """The message is one of the phrases that some handler takes by the letter: a menu word, the words of a button."""
    return _is_one_of(context, _OWN_WORDS)


def _is_one_of(context: Context, wanted: Set[str]) -> bool:
    return not context.menu_words.isdisjoint(wanted)

"""Turns: a message, the bot's answer to it and the promise to deliver it, written together."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.actions import conversations, ledger, waiting
from bot.actions.recipients import log_broadcast
from bot.message import Reply
from bot.reach import Grant
from bot.router import KEEP, Answer, Turn
from bot.store.live import Change, Kind, announce
from bot.store.models import (
    Author,
    Base,
    Broadcast,
    Conversation,
    Delivery,
    DeliveryRoute,
    DeliveryState,
    MessageState,
)
from knowledge import Decision

RETRY_AFTER = (timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10))
_KEPT_CANDIDATES = 3
_HANDED_OVER = (Decision.OFFICER, Decision.URGENT)

_Messages, _Conversations, _Deliveries = (
    Base.metadata.tables[name] for name in ("messages", "conversations", "deliveries")
)
# Made once: for a few rows, to put a statement together costs more than to run it.
_SPEAKERS = (
    select(_Conversations.c.id, _Conversations.c.owner_id, _Conversations.c.served_by)
    .where(_Conversations.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(_Conversations.c.id)  # one order for everybody, so that two batches never wait for each other
    .with_for_update()
)
_STILL_DUE = select(_Messages.c.id).where(
    _Messages.c.id.in_(bindparam("ids", expanding=True)), _Messages.c.state == MessageState.RECEIVED
)
_UNDERSTAND = (
    update(_Messages)
    .where(_Messages.c.id == bindparam("of"))
    .values(
        {
            name: bindparam(name, type_=_Messages.c[name].type)
            for name in ("conversation_id", "state", "retry_at", "decision", "topic", "candidates", "words")
        }
    )
)
_TOUCH = (
    update(_Conversations)
    .where(_Conversations.c.id == bindparam("of"))
    .values(
        {
            name: bindparam(name, type_=_Conversations.c[name].type)
            for name in ("last_message_at", "last_topic", "dialogue")
        }
    )
)
_SAY = insert(_Messages).returning(_Messages.c.id, _Messages.c.in_reply_to)
_PROMISE = insert(_Deliveries).returning(_Deliveries.c.id, _Deliveries.c.message_id)
_MARK_SENT = (
    update(_Deliveries)
    .where(_Deliveries.c.id.in_(bindparam("ids", expanding=True)), _Deliveries.c.state == DeliveryState.SENDING)
    .values(state=DeliveryState.SENT, finished_at=bindparam("now"), retry_at=None)
    .returning(_Deliveries.c.id, _Deliveries.c.broadcast_id)
)


@dataclass(frozen=True, slots=True)
class Decided:
    """What the router decided on one stored message; `in_response`: the resident's request still waits for it."""

    stored_id: int
    conversation: Conversation  # as it was when deciding
    answer: Answer
    in_response: bool
    grant: Grant | None = None  # what the resident's message lets us send
    is_act: bool = True  # False: the platform reported something about him


@dataclass(frozen=True, slots=True)
class Written:
    """A turn in the database. `delivery_id` if its reply belongs in the response; `stale`: not written, decide anew."""

    delivery_id: int | None = None
    stale: bool = False


def understood(answer: Answer) -> dict[str, Any]:
    """How a message was understood, as columns beside it."""
    match = answer.match
    return {
        "state": MessageState.HANDLED,
        "retry_at": None,
        "decision": answer.decision,
        "topic": answer.topic,
        "candidates": [[c.topic, round(c.score, 3)] for c in match.candidates[:_KEPT_CANDIDATES]] if match else None,
        "words": list(match.words) if match else None,
    }


async def write(session: AsyncSession, decided: Sequence[Decided], *, now: datetime) -> list[Written]:
    """Write turns that only say something, all in a few statements; who speaks is checked again under lock.

    A message another process has dealt with meanwhile is left alone. Turns of one call must belong to different
    conversations.
    """
    speakers = await _lock_speakers(session, [turn.conversation.id for turn in decided])
    due = await _still_due(session, [turn.stored_id for turn in decided])
    stale = {turn.stored_id for turn in decided if speakers.get(turn.conversation.id) != turn.conversation.speaker}
    good = [turn for turn in decided if turn.stored_id in due - stale]
    if not good:
        return [Written(stale=turn.stored_id in due & stale) for turn in decided]
    await _understand(session, good)
    await _touch(session, good, now)
    delivery_ids = await _say(session, [turn for turn in good if turn.answer.reply and turn.answer.reply.text], now)
    for turn in good:
        announce(session, Change(turn.conversation.station_id, Kind.CONVERSATION, turn.conversation.id, "heard"))
    return [
        Written(delivery_id=delivery_ids.get(turn.stored_id), stale=turn.stored_id in due & stale) for turn in decided
    ]


async def _lock_speakers(
    session: AsyncSession, conversation_ids: Sequence[int]
) -> dict[int, tuple[int | None, str | None]]:
    rows = await session.execute(_SPEAKERS, {"ids": conversation_ids})
    return {number: (owner_id, served_by) for number, owner_id, served_by in rows}


async def _still_due(session: AsyncSession, stored_ids: Sequence[int]) -> set[int]:
    """Those of the messages nobody has dealt with; read after the lock, so that what another process did is seen."""
    return set((await session.execute(_STILL_DUE, {"ids": stored_ids})).scalars())


async def _understand(session: AsyncSession, turns: Sequence[Decided]) -> None:
    """How each message was understood, beside it."""
    await session.execute(
        _UNDERSTAND,
        [{"of": turn.stored_id, "conversation_id": turn.conversation.id, **understood(turn.answer)} for turn in turns],
    )


async def _touch(session: AsyncSession, turns: Sequence[Decided], now: datetime) -> None:
    """What the conversation remembers of the turn."""
    await session.execute(
        _TOUCH,
        [
            {
                "of": turn.conversation.id,
                "last_message_at": now,
                "last_topic": turn.answer.topic or turn.conversation.last_topic,
                "dialogue": turn.conversation.dialogue if turn.answer.dialogue is KEEP else turn.answer.dialogue,
            }
            for turn in turns
        ],
    )
    acts = {turn.conversation.address_id: turn.grant for turn in turns if turn.is_act}
    await ledger.heard(session, acts, now)
    await waiting.release_held(session, list(acts), now=now)


async def _say(session: AsyncSession, turns: Sequence[Decided], now: datetime) -> dict[int, int]:
    """Log the replies and promise their delivery; returns delivery ids by message answered, if for the response."""
    if not turns:
        return {}
    written = await session.execute(
        _SAY,
        [
            conversations.outgoing(
                turn.conversation,
                turn.answer.reply or Reply(""),
                author=Author.BOT,
                now=now,
                in_reply_to=turn.stored_id,
            )
            for turn in turns
        ],
    )
    said = {in_reply_to: number for number, in_reply_to in written}
    promised = await session.execute(
        _PROMISE,
        [
            conversations.delivery_of(
                said[turn.stored_id],
                turn.conversation,
                DeliveryRoute.RESPONSE if turn.in_response else DeliveryRoute.OUTBOX,
                now,
            )
            for turn in turns
        ],
    )
    if any(not turn.in_response for turn in turns):
        announce(session, Change(turns[0].conversation.station_id, Kind.DELIVERIES, 0))
    deliveries_of = {message_id: number for number, message_id in promised}
    return {turn.stored_id: deliveries_of[said[turn.stored_id]] for turn in turns if turn.in_response}


async def act(session: AsyncSession, turn: Turn, answer: Answer, *, now: datetime) -> Reply | None:
    """Do what the answer does, in a transaction of its own, its conversation locked. Returns what is to be said."""
    turn.stored.conversation_id = turn.conversation.id
    reply = answer.reply if answer.act is None else await answer.act(turn)
    if answer.dialogue is not KEEP:
        conversations.set_dialogue(turn.conversation, answer.dialogue)
    for name, value in understood(answer).items():
        setattr(turn.stored, name, value)
    turn.conversation.last_topic = answer.topic or turn.conversation.last_topic
    turn.conversation.last_message_at = now
    message = turn.context.message
    if message.is_act:
        await ledger.heard(session, {turn.conversation.address_id: message.grant}, now)
        await waiting.release_held(session, [turn.conversation.address_id], now=now)
    announce(session, Change(turn.conversation.station_id, Kind.CONVERSATION, turn.conversation.id, "heard"))
    if reply is None or not reply.text:
        return None
    return replace(reply, hands_over=answer.decision in _HANDED_OVER)


async def answer(session: AsyncSession, turn: Turn, reply: Reply, *, in_response: bool, now: datetime) -> int | None:
    """Say the reply of a turn; its delivery's number if it belongs in the response."""
    route = DeliveryRoute.RESPONSE if in_response else DeliveryRoute.OUTBOX
    said = await conversations.say(
        session,
        turn.conversation,
        reply,
        author=Author.BOT,
        now=now,
        in_reply_to=turn.stored.id,
        route=route,
    )
    if not in_response:
        return None
    return (await session.execute(select(Delivery.id).where(Delivery.message_id == said.id))).scalar_one()


def postpone(turn: Turn, *, now: datetime) -> bool:
    """After a failure: try this message again later. False when it has been tried often enough."""
    turn.stored.conversation_id = turn.conversation.id
    turn.stored.attempts += 1
    if turn.stored.attempts > len(RETRY_AFTER):
        turn.stored.state, turn.stored.retry_at = MessageState.FAILED, None
        return False
    turn.stored.retry_at = now + RETRY_AFTER[turn.stored.attempts - 1]
    return True


async def mark_sent(session: AsyncSession, delivery_ids: Sequence[int], *, now: datetime) -> None:
    """The responses carrying these replies have been written. Warnings among them become part of the conversations."""
    warnings: dict[int, list[int]] = defaultdict(list)
    for number, broadcast_id in await session.execute(_MARK_SENT, {"ids": delivery_ids, "now": now}):
        if broadcast_id is not None:
            warnings[broadcast_id].append(number)
    for broadcast_id, numbers in sorted(warnings.items()):
        broadcast = await session.get_one(Broadcast, broadcast_id)
        await log_broadcast(session, broadcast, numbers, now)
        announce(session, Change(broadcast.station_id, Kind.BROADCAST, broadcast_id, "progress"))


async def mark_declined(session: AsyncSession, delivery_id: int, reason: str, *, now: datetime) -> None:
    """The moment for which this reply was meant has passed: nothing is sent later either."""
    await session.execute(
        update(Delivery)
        .where(Delivery.id == delivery_id, Delivery.state == DeliveryState.SENDING)
        .values(state=DeliveryState.SKIPPED, reason=reason[:200], finished_at=now, retry_at=None)
        .execution_options(synchronize_session=False)
    )

"""Deliveries: claiming what is due and may go now, and writing down how each sending ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, bindparam, exists, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from bot import clock
from bot.actions import ledger, messages, notices
from bot.actions.broadcasts import DEFAULT_LIFE, broadcast_text, seal_of
from bot.actions.conversations import RESPONSE_LEASE
from bot.message import MessageKind, Reply
from bot.parts import beginning_of, parts_of
from bot.reach import Reach, Rules, When, Window, reach_of
from bot.store.live import Change, Kind, announce
from bot.store.models import (
    Author,
    Base,
    Broadcast,
    BroadcastState,
    Conversation,
    Delivery,
    DeliveryRoute,
    DeliveryState,
    Direction,
    MessageState,
    Officer,
    ResidentAddress,
    StoredMessage,
)

LEASE = timedelta(seconds=60)  # longer than any platform call; a sender silent for that long is dead
BACKOFF = (timedelta(seconds=2), timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=10))
UNKNOWN_CODE = "unknown"
UNKNOWN_REASON = "平台没有确认，可能已送达；请向居民核实后再决定是否重发"
INTERRUPTED_REASON = "发送时程序中断，可能已送达；请向居民核实后再决定是否重发"
WAITS_REASON = "微信限制：等居民下次发消息时一并送达"
WAITS_CODE = "waits"
STALE_REASON = "居民一周内没有再来消息，没有送出。请改用电话或上门联系。"
STALE_WARNING_REASON = "居民在提醒失效前没有来消息，没有送出"
CONTINUE = "继续"
MORE_HINT = f"\n……\n（后面还有内容，回复“{CONTINUE}”接着看。）"
_MOST_IN_RESPONSE = 20
_STALE_AFTER = timedelta(days=7)  # a reply still waiting for the resident's next message by then is given up

_UNSYNCHRONIZED = {"synchronize_session": False}
_Deliveries = Base.metadata.tables["deliveries"]
_RELEASE_HELD = (
    update(_Deliveries)
    .where(
        _Deliveries.c.address_id.in_(bindparam("ids", expanding=True)),
        _Deliveries.c.state == DeliveryState.QUEUED,
        _Deliveries.c.waits,
    )
    .values(retry_at=bindparam("now"), waits=False)
    .returning(_Deliveries.c.station_id)
)


@dataclass(frozen=True, slots=True)
class Parcel:
    """A claimed delivery with all that sending it and writing down its end needs.

    `cost`: how many of the messages the window allows it takes. `rest_from`: the character at which the part begins
    that the window has no room for; None when all goes. `waiting`: for a notice, whose message waits and since when.
    """

    id: int
    station_id: int
    channel: str
    route: DeliveryRoute
    address_id: int
    address: str
    reply: Reply
    attempts: int
    cost: int = 1
    rest_from: int | None = None
    broadcast_id: int | None = None
    message_id: int | None = None
    conversation_id: int | None = None
    waiting: tuple[str, datetime] | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A parcel the platform took, and its number for it."""

    parcel: Parcel
    platform_id: str


@dataclass(slots=True)
class _Page:
    """What becomes of the due rows of one claim."""

    go: list[Parcel]
    skip: list[tuple[Any, str]]
    fail: list[tuple[Any, str]]
    wait: list[tuple[Any, datetime]]


async def claim(
    session: AsyncSession,
    station_id: int,
    *,
    most: int,
    now: datetime,
    rules: Mapping[str, Rules],
    parked: Sequence[str] = (),
) -> tuple[list[Parcel], bool]:
    """Take due deliveries for this process: chat before warnings, then the oldest; one per address, in its order.

    What the ledger says must wait is held here and never shown to the platform; what can never arrive ends. Nothing is
    taken of the channels `parked`. Returns also whether anything was due: if so, more may be.
    """
    rows = await _due(session, station_id, DeliveryRoute.OUTBOX, most, now, parked)
    if len(rows) < most:
        rows += await _due(session, station_id, DeliveryRoute.NOTICE, most - len(rows), now, parked)
    if not rows:
        return [], False
    broadcasts = await _broadcasts(session, {row.broadcast_id for row in rows if row.broadcast_id is not None})
    page = _Page([], [], [], [])
    for row in rows:
        _sort(page, row, broadcasts.get(row.broadcast_id), rules.get(row.channel), now)
    if page.go:
        await session.execute(
            update(Delivery)
            .where(Delivery.id.in_([parcel.id for parcel in page.go]))
            .values(state=DeliveryState.SENDING, attempts=Delivery.attempts + 1, retry_at=now + LEASE, waits=False)
            .execution_options(**_UNSYNCHRONIZED)
        )
    for row, reason in page.skip:
        await _end_row(session, row.id, DeliveryState.SKIPPED, reason, now)
    for row, reason in page.fail:
        await _end_row(session, row.id, DeliveryState.FAILED, reason, now)
    await _hold_rows(session, page.wait, rules, now)
    _announce_rows(session, [*page.skip, *page.fail, *page.wait])
    return page.go, True


def _sort(page: _Page, row: Any, broadcast: Broadcast | None, rules: Rules | None, now: datetime) -> None:
    if broadcast is not None and (reason := not_to_be_sent(broadcast, now)):
        page.skip.append((row, reason))
        return
    if row.route is DeliveryRoute.NOTICE:
        page.go.append(_notice(row))
        return
    rules = rules or Rules()  # a channel that is no longer in the settings: the outbox says so
    window = Window(row.window_until, row.window_left)
    reach = _reach(row, rules, window, now)
    until = _waits_until(row, broadcast)
    if reach.when is When.NEVER:
        page.fail.append((row, reach.why))
    elif reach.when is When.NOW:
        page.go.append(_parcel(row, broadcast, rules, window))
    elif until > now:
        page.wait.append((row, until))
    elif broadcast is not None:
        page.skip.append((row, STALE_WARNING_REASON))
    else:
        page.fail.append((row, STALE_REASON))


def _reach(row: Any, rules: Rules, window: Window, now: datetime) -> Reach:
    refused = ledger.refusal_of(row.refused_until, row.refused_why, now)
    return reach_of(rules, window, following=row.following, refused=refused, now=now)


def _waits_until(row: Any, broadcast: Broadcast | None) -> datetime:
    """How long something may wait for the resident's next message."""
    if broadcast is None:
        created_at: datetime = row.created_at
        return created_at + _STALE_AFTER
    return broadcast.expires_at or (broadcast.started_at or row.created_at) + DEFAULT_LIFE


async def _due(
    session: AsyncSession, station_id: int, route: DeliveryRoute, most: int, now: datetime, parked: Sequence[str]
) -> list[Any]:
    message, address = StoredMessage, ResidentAddress
    query = (
        select(
            Delivery.id, Delivery.station_id, Delivery.channel, Delivery.route, Delivery.message_id,
            Delivery.broadcast_id, Delivery.address_id, Delivery.resident_id, Delivery.rank, Delivery.attempts,
            Delivery.created_at, Delivery.from_character,
            address.address, address.following, address.refused_until, address.refused_why, address.window_until,
            address.window_left, address.notified_at,
            message.body, message.details, message.media_id, message.conversation_id, message.author,
            message.created_at.label("said_at"), Officer.name.label("officer"),
        )
        .join(address, address.id == Delivery.address_id)
        .outerjoin(message, message.id == Delivery.message_id)
        .outerjoin(Officer, Officer.id == message.officer_id)
        .where(
            Delivery.station_id == station_id,
            Delivery.state == DeliveryState.QUEUED,
            Delivery.route == route,
            Delivery.retry_at <= now,
            *([Delivery.channel.not_in(parked)] if parked else []),
            *([~_something_before(now)] if route is DeliveryRoute.OUTBOX else []),
        )
        .order_by(Delivery.rank, Delivery.id)
        .limit(most)
        .with_for_update(of=Delivery, skip_locked=True)
    )  # fmt: skip
    return list((await session.execute(query)).all())


async def _broadcasts(session: AsyncSession, numbers: set[int]) -> dict[int | None, Broadcast]:
    if not numbers:
        return {}
    rows = (await session.execute(select(Broadcast).where(Broadcast.id.in_(numbers)))).scalars()
    return {row.id: row for row in rows}


def _parcel(row: Any, broadcast: Broadcast | None, rules: Rules, window: Window) -> Parcel:
    if broadcast is not None:
        reply = Reply(broadcast_text(broadcast))
    elif row.message_id is None:
        raise LookupError("a delivery of nothing: it has neither a message nor a broadcast")
    else:
        reply = messages.reply_of(row)
    cost, rest_from = int(rules.windowed), None
    if row.from_character:
        reply = Reply(reply.text[row.from_character :], reply.choices, reply.picture)
    if rules.windowed and rules.part_bytes:
        reply, cost, rest_from = _cut(reply, rules.part_bytes, window.left)
    return Parcel(
        id=row.id,
        station_id=row.station_id,
        channel=row.channel,
        route=row.route,
        address_id=row.address_id,
        address=row.address,
        reply=reply,
        attempts=row.attempts + 1,
        cost=cost,
        rest_from=None if rest_from is None else row.from_character + rest_from,
        broadcast_id=row.broadcast_id,
        message_id=row.message_id,
        conversation_id=row.conversation_id,
    )


def _cut(reply: Reply, part_bytes: int, left: int) -> tuple[Reply, int, int | None]:
    """What of a reply `left` messages carry, what they cost, and where its rest begins. A picture costs one too, and
    goes with the last part."""
    pictures = 1 if reply.picture is not None else 0
    parts = sum(1 for _ in parts_of(reply.text, part_bytes))
    if parts + pictures <= left or parts == 0:
        return reply, parts + pictures, None
    text, rest_from = beginning_of(reply.text, part_bytes, left, MORE_HINT)
    if rest_from >= len(reply.text):  # the words fit, the picture behind them does not
        return Reply(reply.text, reply.choices), parts, rest_from
    return Reply(text), left, rest_from


def _notice(row: Any) -> Parcel:
    return Parcel(
        id=row.id,
        station_id=row.station_id,
        channel=row.channel,
        route=row.route,
        address_id=row.address_id,
        address=row.address,
        reply=Reply(""),
        attempts=row.attempts + 1,
        cost=0,
        message_id=row.message_id,
        conversation_id=row.conversation_id,
        waiting=(row.officer or "", row.said_at),
    )


async def _hold_rows(
    session: AsyncSession, rows: Sequence[tuple[Any, datetime]], rules: Mapping[str, Rules], now: datetime
) -> None:
    """They wait for the resident's next message; who can be told so is told once."""
    if not rows:
        return
    table = Base.metadata.tables["deliveries"]
    await session.execute(
        update(table)
        .where(table.c.id == bindparam("of"))
        .values(
            retry_at=bindparam("until", type_=table.c.retry_at.type),
            waits=True,
            code=WAITS_CODE,
            reason=WAITS_REASON,
        ),
        [{"of": row.id, "until": until} for row, until in rows],
    )
    told: dict[int, Any] = {}
    for row, _ in rows:
        by_officer = row.author is Author.OFFICER and row.notified_at is None
        if by_officer and (found := rules.get(row.channel)) is not None and found.notice:
            told.setdefault(row.address_id, row)
    await _promise_notices(session, list(told.values()), rules, now)


async def _promise_notices(
    session: AsyncSession, rows: Sequence[Any], rules: Mapping[str, Rules], now: datetime
) -> None:
    templates = {row.id: rules[row.channel].consent_template for row in rows}
    rows = [
        row
        for row in rows
        if not templates[row.id] or await notices.has_consent(session, row.address_id, templates[row.id])
    ]
    if not rows:
        return
    await session.execute(
        insert(Delivery),
        [
            {
                "station_id": row.station_id,
                "message_id": row.message_id,
                "resident_id": row.resident_id,
                "address_id": row.address_id,
                "channel": row.channel,
                "route": DeliveryRoute.NOTICE,
                "state": DeliveryState.QUEUED,
                "rank": row.rank,
                "retry_at": now,
                "created_at": now,
            }
            for row in rows
        ],
    )
    await ledger.notified(session, [row.address_id for row in rows], now)
    announce(session, Change(rows[0].station_id, Kind.DELIVERIES, 0))


async def _end_row(session: AsyncSession, delivery_id: int, state: DeliveryState, reason: str, now: datetime) -> None:
    await session.execute(
        update(Delivery)
        .where(Delivery.id == delivery_id)
        .values(state=state, reason=reason[:200], code=None, waits=False, retry_at=None, finished_at=now)
        .execution_options(**_UNSYNCHRONIZED)
    )


def _announce_rows(session: AsyncSession, rows: Sequence[tuple[Any, object]]) -> None:
    for row, _ in rows:
        _announce(session, row.station_id, row.broadcast_id, row.conversation_id)


def not_to_be_sent(broadcast: Broadcast, now: datetime) -> str:
    """Why a warning must not leave any more, looked at for each recipient; "" when it may."""
    if broadcast.state is not BroadcastState.SENDING:
        return "已停止发送"
    if broadcast.expires_at is not None and broadcast.expires_at <= now:
        return "已过失效时间，不再发送"
    return "内容与审批不一致，已停止发送" if broadcast.seal != seal_of(broadcast) else ""


def _something_before(now: datetime) -> ColumnElement[bool]:
    """What was said first arrives first: something else is under way to the address, or due before this one.

    In the query and not after it: a process that skips rows another one has locked would take the second message of a
    resident while the first is being claimed, and a page full of one resident's messages would hide the others'.
    """
    other = aliased(Delivery)
    in_flight = (other.state == DeliveryState.SENDING) & (other.route == DeliveryRoute.OUTBOX)
    due_before = (
        (other.state == DeliveryState.QUEUED)
        & (other.route == DeliveryRoute.OUTBOX)
        & (other.retry_at <= now)
        & ((other.rank < Delivery.rank) | ((other.rank == Delivery.rank) & (other.id < Delivery.id)))
    )
    return exists().where(other.address_id == Delivery.address_id, other.id != Delivery.id, in_flight | due_before)


async def sweep(session: AsyncSession, station_id: int, now: datetime) -> None:
    """What lost its sender. A reply that was for the response and was never confirmed is for the outbox now; what a
    dead process was sending may have arrived, so nobody sends it again unasked."""
    lost = [Delivery.station_id == station_id, Delivery.state == DeliveryState.SENDING]
    await session.execute(
        update(Delivery)
        .where(*lost, Delivery.route == DeliveryRoute.RESPONSE, Delivery.retry_at <= now)
        .values(state=DeliveryState.QUEUED, route=DeliveryRoute.OUTBOX)
        .execution_options(**_UNSYNCHRONIZED)
    )
    await session.execute(
        update(Delivery)
        .where(
            *lost,
            or_(Delivery.route == DeliveryRoute.OUTBOX, Delivery.route == DeliveryRoute.NOTICE),
            Delivery.retry_at < now,
        )
        .values(
            state=DeliveryState.FAILED,
            code=UNKNOWN_CODE,
            reason=INTERRUPTED_REASON,
            unknown=True,
            retry_at=None,
            finished_at=now,
        )
        .execution_options(**_UNSYNCHRONIZED)
    )


# --- how it ended ---------------------------------------------------------------------------------------------------


async def sent(session: AsyncSession, taken: Sequence[Taken]) -> None:
    """The platform took them. Warnings become part of the residents' conversations. A few statements for all."""
    now = clock.now()
    still = await _mark_sent(session, taken, now)
    taken = [one for one in taken if one.parcel.id in still]
    await ledger.spent(session, {one.parcel.address_id: one.parcel.cost for one in taken})
    await _promise_rest(session, [one.parcel for one in taken if one.parcel.rest_from is not None], now)
    for number in sorted({one.parcel.broadcast_id for one in taken if one.parcel.broadcast_id is not None}):
        broadcast = await session.get_one(Broadcast, number)
        numbers = [one.parcel.id for one in taken if one.parcel.broadcast_id == number]
        await log_broadcast(session, broadcast, numbers, now)
    for station_id, broadcast_id, conversation_id in {
        (one.parcel.station_id, one.parcel.broadcast_id, one.parcel.conversation_id) for one in taken
    }:
        _announce(session, station_id, broadcast_id, conversation_id)


async def _mark_sent(session: AsyncSession, taken: Sequence[Taken], now: datetime) -> set[int]:
    """Which of them were still on their way: the others have been given up as interrupted meanwhile."""
    numbered = [one for one in taken if one.platform_id]
    done = await session.execute(
        update(Delivery)
        .where(Delivery.id.in_([one.parcel.id for one in taken]), Delivery.state == DeliveryState.SENDING)
        .values(state=DeliveryState.SENT, reason=None, code=None, retry_at=None, finished_at=now)
        .execution_options(**_UNSYNCHRONIZED)
        .returning(Delivery.id)
    )
    still = set(done.scalars())
    if numbered:
        table = Base.metadata.tables["deliveries"]
        await session.execute(
            update(table).where(table.c.id == bindparam("of")).values(platform_id=bindparam("number")),
            [{"of": one.parcel.id, "number": one.platform_id[:100]} for one in numbered],  # as long as its column
        )
    return still


async def _promise_rest(session: AsyncSession, parcels: Sequence[Parcel], now: datetime) -> None:
    """The part of a long text the window had no room for waits for the resident's "继续"."""
    for parcel in parcels:
        whole = (await session.execute(select(Delivery).where(Delivery.id == parcel.id))).scalar_one()
        session.add(
            Delivery(
                station_id=parcel.station_id,
                message_id=parcel.message_id,
                resident_id=whole.resident_id,
                address_id=parcel.address_id,
                channel=parcel.channel,
                route=DeliveryRoute.OUTBOX,
                state=DeliveryState.QUEUED,
                rank=whole.rank,
                from_character=parcel.rest_from or 0,
                waits=True,
                code=WAITS_CODE,
                reason=WAITS_REASON,
                retry_at=now + _STALE_AFTER,
                created_at=now,
            )
        )


async def log_broadcast(
    session: AsyncSession, broadcast: Broadcast, delivery_ids: Sequence[int], now: datetime
) -> None:
    """A warning that was sent stands in each recipient's conversation; three statements however many they are."""
    theirs = Delivery.id.in_(delivery_ids)
    addresses = select(Delivery.address_id).where(theirs)
    tables = Base.metadata.tables
    conversation, address, row = tables["conversations"], ResidentAddress, StoredMessage
    here = Conversation.station_id == broadcast.station_id  # the index on address_id begins with it
    known = exists().where(here, Conversation.address_id == address.id)
    await session.execute(
        insert(conversation).from_select(
            ["station_id", "address_id", "resident_id", "channel", "created_at"],
            select(
                address.station_id,
                address.id,
                address.resident_id,
                address.channel,
                literal(now, conversation.c.created_at.type),
            ).where(address.id.in_(addresses), ~known),
        )
    )
    await session.execute(
        update(Conversation)
        .where(here, Conversation.address_id.in_(addresses))
        .values(last_message_at=now)
        .execution_options(**_UNSYNCHRONIZED)
    )
    columns = tables["messages"].c
    said = {
        "direction": Direction.OUT,
        "author": Author.STATION,
        "kind": MessageKind.TEXT,
        "body": broadcast_text(broadcast),
        "broadcast_id": broadcast.id,
        "sent_at": now,
        "created_at": now,
        "state": MessageState.HANDLED,
        "attempts": 0,
        "fetches": 0,
        "recalled": False,
        "indexed": False,
        "forgotten": False,
    }
    await session.execute(
        insert(tables["messages"]).from_select(
            ["station_id", "conversation_id", "channel", "address", *said],
            select(
                address.station_id,
                Conversation.id,
                address.channel,
                address.address,
                *(literal(value, columns[name].type) for name, value in said.items()),
            )
            .join(Conversation, here & (Conversation.address_id == address.id))
            .where(address.id.in_(addresses)),
            include_defaults=False,
        )
    )
    newest = (
        select(row.id)
        .join(Conversation, Conversation.id == row.conversation_id)
        .where(
            row.station_id == broadcast.station_id,
            here,
            Conversation.address_id == Delivery.address_id,
            row.broadcast_id == broadcast.id,
        )
        .limit(1)
        .scalar_subquery()
    )
    await session.execute(update(Delivery).where(theirs).values(message_id=newest).execution_options(**_UNSYNCHRONIZED))


async def _locked(session: AsyncSession, delivery_id: int) -> Delivery | None:
    delivery = await session.get(Delivery, delivery_id, with_for_update=True)
    return delivery if delivery is not None and delivery.state is DeliveryState.SENDING else None


def _end(delivery: Delivery, state: DeliveryState, reason: str | None, now: datetime, code: str | None = None) -> None:
    delivery.state, delivery.reason, delivery.code = state, reason, code
    delivery.retry_at, delivery.finished_at = None, now


async def failed(session: AsyncSession, parcel: Parcel, code: str, reason: str, *, unknown: bool = False) -> None:
    """It will not arrive, or nobody knows (`unknown`: then it has cost what it costs); `reason` is what the officer
    reads."""
    delivery = await _locked(session, parcel.id)
    if delivery is None:
        return
    _end(delivery, DeliveryState.FAILED, reason[:200], clock.now(), code[:20])
    delivery.unknown = unknown
    if unknown:
        await ledger.spent(session, {parcel.address_id: parcel.cost})
    _announce(session, parcel.station_id, parcel.broadcast_id, parcel.conversation_id)


async def again(session: AsyncSession, parcel: Parcel, code: str, reason: str) -> None:
    """Nothing was sent: try later, or give up after the last pause."""
    delivery = await _locked(session, parcel.id)
    if delivery is None:
        return
    if delivery.attempts > len(BACKOFF):
        _end(delivery, DeliveryState.FAILED, f"多次重试仍未成功：{reason}"[:200], clock.now(), code[:20])
    else:
        delivery.state = DeliveryState.QUEUED
        delivery.code, delivery.reason = code[:20], reason[:200]
        delivery.retry_at = clock.now() + BACKOFF[delivery.attempts - 1]
    _announce(session, parcel.station_id, parcel.broadcast_id, parcel.conversation_id)


async def put_off(session: AsyncSession, parcel: Parcel, code: str, reason: str, after: timedelta) -> None:
    """The channel cannot send now through no fault of this message: not an attempt."""
    delivery = await _locked(session, parcel.id)
    if delivery is not None:
        delivery.state = DeliveryState.QUEUED
        delivery.attempts -= 1
        delivery.code, delivery.reason = code[:20], reason[:200]
        delivery.retry_at = clock.now() + after


async def hold(session: AsyncSession, parcel: Parcel, code: str, reason: str, *, rules: Rules) -> None:
    """The platform says: only after the resident's next message; `release_held` lets it go then."""
    delivery = await _locked(session, parcel.id)
    if delivery is None:
        return
    now = clock.now()
    broadcast = await session.get(Broadcast, parcel.broadcast_id) if parcel.broadcast_id is not None else None
    until = _waits_until(delivery, broadcast)
    if parcel.route is DeliveryRoute.NOTICE or until <= now:
        _end(delivery, DeliveryState.FAILED, reason[:200], now, code[:20])
    else:
        delivery.state, delivery.waits, delivery.retry_at = DeliveryState.QUEUED, True, until
        delivery.code, delivery.reason = code[:20], WAITS_REASON
        if rules.notice and broadcast is None:
            await _tell(session, delivery, rules, now)
    _announce(session, parcel.station_id, parcel.broadcast_id, parcel.conversation_id)


async def _tell(session: AsyncSession, delivery: Delivery, rules: Rules, now: datetime) -> None:
    """Tell the resident that a message of an officer waits, once until he writes again."""
    address = await session.get_one(ResidentAddress, delivery.address_id)
    message = await session.get_one(StoredMessage, delivery.message_id)
    if message.author is Author.OFFICER and address.notified_at is None:
        await _promise_notices(session, [delivery], {delivery.channel: rules}, now)


async def release_held(session: AsyncSession, address_ids: Sequence[int], *, now: datetime) -> None:
    """The residents wrote: what waited for that may go, as far as the new window carries it."""
    released = await session.execute(_RELEASE_HELD, {"ids": address_ids, "now": now})
    for station_id in set(released.scalars()):
        announce(session, Change(station_id, Kind.DELIVERIES, 0))


async def something_waits(session: AsyncSession, address_id: int) -> bool:
    """Whether something waits for this resident's next message."""
    query = (
        select(Delivery.id)
        .where(Delivery.address_id == address_id, Delivery.state == DeliveryState.QUEUED, Delivery.waits)
        .limit(1)
    )
    return (await session.execute(query)).first() is not None


async def take_for_response(
    session: AsyncSession, station_id: int, channel: str, address: str, *, characters: int, now: datetime
) -> list[tuple[int, str]]:
    """What waits for a resident whose request is open, as far as its words fit into one answer: the deliveries, on
    their way in the response now, and the words of each."""
    query = (
        select(Delivery.id, StoredMessage.body)
        .join(ResidentAddress, ResidentAddress.id == Delivery.address_id)
        .join(StoredMessage, StoredMessage.id == Delivery.message_id)
        .where(
            ResidentAddress.station_id == station_id,
            ResidentAddress.channel == channel,
            ResidentAddress.address == address,
            Delivery.state == DeliveryState.QUEUED,
            Delivery.route == DeliveryRoute.OUTBOX,
            StoredMessage.media_id.is_(None),
        )
        .order_by(Delivery.rank, Delivery.id)
        .limit(_MOST_IN_RESPONSE)
        .with_for_update(of=Delivery, skip_locked=True)
    )
    taken: list[tuple[int, str]] = []
    for delivery_id, words in await session.execute(query):
        characters -= len(words)
        if characters < 0:
            break
        taken.append((delivery_id, words))
    if taken:
        await session.execute(
            update(Delivery)
            .where(Delivery.id.in_([delivery_id for delivery_id, _ in taken]))
            .values(
                state=DeliveryState.SENDING,
                route=DeliveryRoute.RESPONSE,
                waits=False,
                code=None,
                reason=None,
                retry_at=now + RESPONSE_LEASE,
            )
            .execution_options(**_UNSYNCHRONIZED)
        )
    return taken


async def resend(session: AsyncSession, failed_delivery: Delivery) -> Delivery:
    """An officer decided that a message goes out again: a new promise beside the failed one."""
    now = clock.now()
    delivery = Delivery(
        station_id=failed_delivery.station_id,
        message_id=failed_delivery.message_id,
        resident_id=failed_delivery.resident_id,
        address_id=failed_delivery.address_id,
        channel=failed_delivery.channel,
        route=DeliveryRoute.OUTBOX,
        state=DeliveryState.QUEUED,
        rank=failed_delivery.rank,
        from_character=failed_delivery.from_character,
        retry_at=now,
        created_at=now,
    )
    session.add(delivery)
    announce(session, Change(delivery.station_id, Kind.DELIVERIES, 0))
    return delivery


def _announce(session: AsyncSession, station_id: int, broadcast_id: int | None, conversation_id: int | None) -> None:
    if broadcast_id is not None:
        announce(session, Change(station_id, Kind.BROADCAST, broadcast_id, "progress"))
    if conversation_id is not None:
        announce(session, Change(station_id, Kind.CONVERSATION, conversation_id, "delivery"))

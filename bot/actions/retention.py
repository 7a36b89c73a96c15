"""Retention: what is older than the station keeps it loses its words; figures stay."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from bot.actions.audit import Actor, record
from bot.actions.residents import erase, forget_profile
from bot.store.models import (
    Broadcast,
    ConsoleSession,
    LoginFailure,
    Media,
    Note,
    Resident,
    ResidentAddress,
    StoredMessage,
    Ticket,
    TicketState,
)
from bot.store.search import forget_texts

EXPIRED_TEXT = "(已过保存期限)"
_AT_ONCE = 500
_VISITORS_AT_ONCE = 50
_LOGIN_FAILURES_KEPT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Forgotten:
    messages: int
    more: bool


async def forget_old_messages(session: AsyncSession, station_id: int, *, before: datetime) -> Forgotten:
    """Take the words from messages stored before `before`, a chunk at a time."""
    ids = list(
        (
            await session.execute(
                select(StoredMessage.id)
                .where(
                    StoredMessage.station_id == station_id,
                    StoredMessage.created_at < before,
                    StoredMessage.forgotten.is_(False),
                )
                .order_by(StoredMessage.id)
                .limit(_AT_ONCE)
            )
        ).scalars()
    )
    if not ids:
        return Forgotten(0, more=False)
    said = select(StoredMessage.text_index).where(StoredMessage.id.in_(ids), StoredMessage.text_index.is_not(None))
    texts = list((await session.execute(said)).scalars())
    media = select(StoredMessage.media_id).where(StoredMessage.id.in_(ids), StoredMessage.media_id.is_not(None))
    media_ids = list((await session.execute(media)).scalars())
    await session.execute(
        update(StoredMessage)
        .where(StoredMessage.id.in_(ids))
        .values(
            body=EXPIRED_TEXT,
            details=None,
            words=None,
            media_id=None,
            fetch_at=None,
            indexed=True,
            text_index=None,
            forgotten=True,
        )
    )
    await forget_texts(session, station_id, [text for text in texts if text is not None])
    of_warnings = select(Broadcast.media_id).where(Broadcast.media_id.in_(media_ids))  # one picture for thousands
    await session.execute(delete(Media).where(Media.id.in_(media_ids), Media.id.not_in(of_warnings)))
    tickets = select(Ticket.id).where(Ticket.first_message_id.in_(ids), Ticket.state == TicketState.CLOSED)
    await session.execute(update(Note).where(Note.ticket_id.in_(tickets)).values(body=EXPIRED_TEXT))
    await session.execute(update(Ticket).where(Ticket.id.in_(tickets)).values(subject=EXPIRED_TEXT))
    await record(session, Actor(station_id), "messages.forgotten", f"message:{ids[-1]}", details={"count": len(ids)})
    return Forgotten(len(ids), more=len(ids) == _AT_ONCE)


async def forget_old_visitors(
    session: AsyncSession, station_id: int, channels: Sequence[str], *, before: datetime, now: datetime
) -> int:
    """Erase web visitors who never came back and are known by nothing else; returns how many."""
    elsewhere, fresher = aliased(ResidentAddress), aliased(ResidentAddress)
    query = (
        select(Resident)
        .join(ResidentAddress, ResidentAddress.resident_id == Resident.id)
        .where(
            Resident.station_id == station_id,
            Resident.erased_at.is_(None),
            Resident.phone_index.is_(None),
            ResidentAddress.channel.in_(channels),
            func.coalesce(ResidentAddress.last_inbound_at, ResidentAddress.created_at) < before,
            ~exists().where(elsewhere.resident_id == Resident.id, elsewhere.channel.not_in(channels)),
            ~exists().where(
                fresher.resident_id == Resident.id,
                func.coalesce(fresher.last_inbound_at, fresher.created_at) >= before,
            ),
            ~exists().where(Ticket.resident_id == Resident.id, Ticket.state != TicketState.CLOSED),
        )
        .limit(_VISITORS_AT_ONCE)
    )
    visitors = list((await session.execute(query)).scalars().unique())
    for resident in visitors:
        await erase(session, resident, now=now, actor=Actor(station_id), why="网页访客超过保存期限未再使用")
    return len(visitors)


async def forget_who_left(session: AsyncSession, station_id: int, *, before: datetime, now: datetime) -> int:
    """Residents who stopped following everything before then: the platform's rule is that their data are deleted.

    Not while a matter of theirs is open; returns how many.
    """
    address = aliased(ResidentAddress)
    his = address.resident_id == Resident.id
    query = (
        select(Resident)
        .where(
            Resident.station_id == station_id,
            Resident.erased_at.is_(None),
            exists().where(his, ~address.following, address.left_at < before),
            ~exists().where(his, or_(address.following, address.left_at >= before)),
            ~exists().where(Ticket.resident_id == Resident.id, Ticket.state != TicketState.CLOSED),
        )
        .limit(_VISITORS_AT_ONCE)
    )
    gone = list((await session.execute(query)).scalars())
    for resident in gone:
        await forget_profile(session, resident, now=now, actor=Actor(station_id), why="居民已取消关注")
    return len(gone)


async def forget_old_sessions(session: AsyncSession, station_id: int, *, now: datetime) -> None:
    """Log-ins that are over, and failed ones nobody asks after any more."""
    await session.execute(
        delete(ConsoleSession).where(ConsoleSession.station_id == station_id, ConsoleSession.expires_at < now)
    )
    await session.execute(
        delete(LoginFailure).where(LoginFailure.station_id == station_id, LoginFailure.at < now - _LOGIN_FAILURES_KEPT)
    )

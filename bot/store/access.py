"""The only way the console gets a row: one of its own station, or none at all."""

from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from bot.store.models import (
    Broadcast,
    CannedReply,
    Community,
    ContactWay,
    Conversation,
    Delivery,
    EntryVersion,
    Media,
    Officer,
    Resident,
    ResidentAddress,
    Row,
    StoredMessage,
    Ticket,
    WeComContact,
    WeComTask,
)


class NotFound(LookupError):
    """The station has no such row; rows of other stations are spoken of in the same way."""


_R = TypeVar("_R", bound=Row)


async def _access(
    session: AsyncSession, model: type[_R], station_id: int, row_id: int, *options: Any, lock: bool = False
) -> _R:
    query = select(model).where(model.id == row_id, model.station_id == station_id).options(*options)
    if lock:
        query = query.with_for_update(of=model).execution_options(populate_existing=True)
    row = (await session.execute(query)).scalar_one_or_none()
    if row is None:
        raise NotFound(f"{model.__name__} {row_id}")
    return row


async def access_ticket(session: AsyncSession, station_id: int, ticket_id: int, *, lock: bool = False) -> Ticket:
    """A ticket with its resident, conversation, address and assignee; `lock` before changing it.

    The resident's conversations are locked first and in their order, as the bot does when residents write: who locked
    them the other way round would wait for the bot while it waits for him.
    """
    if lock:
        await session.execute(
            select(Conversation.id)
            .join(Ticket, Ticket.resident_id == Conversation.resident_id)
            .where(Ticket.id == ticket_id, Ticket.station_id == station_id)
            .order_by(Conversation.id)
            .with_for_update(of=Conversation)
        )
    return await _access(
        session,
        Ticket,
        station_id,
        ticket_id,
        joinedload(Ticket.assignee),
        joinedload(Ticket.community),
        joinedload(Ticket.resident).joinedload(Resident.community),
        joinedload(Ticket.conversation).joinedload(Conversation.address),
        lock=lock,
    )


async def access_conversation(session: AsyncSession, station_id: int, conversation_id: int) -> Conversation:
    """A conversation with its resident, address and owner."""
    return await _access(
        session,
        Conversation,
        station_id,
        conversation_id,
        joinedload(Conversation.owner),
        joinedload(Conversation.address),
        joinedload(Conversation.resident).joinedload(Resident.community),
    )


async def access_message(session: AsyncSession, station_id: int, message_id: int) -> StoredMessage:
    return await _access(session, StoredMessage, station_id, message_id)


async def access_delivery(session: AsyncSession, station_id: int, delivery_id: int, *, lock: bool = False) -> Delivery:
    return await _access(session, Delivery, station_id, delivery_id, lock=lock)


async def access_media(session: AsyncSession, station_id: int, media_id: int) -> Media:
    return await _access(session, Media, station_id, media_id)


async def access_resident(session: AsyncSession, station_id: int, resident_id: int, *, lock: bool = False) -> Resident:
    """A resident with his community."""
    return await _access(session, Resident, station_id, resident_id, joinedload(Resident.community), lock=lock)


async def access_address(session: AsyncSession, station_id: int, address_id: int) -> ResidentAddress:
    return await _access(session, ResidentAddress, station_id, address_id)


async def access_community(session: AsyncSession, station_id: int, community_id: int) -> Community:
    return await _access(session, Community, station_id, community_id)


async def access_officer(session: AsyncSession, station_id: int, officer_id: int, *, lock: bool = False) -> Officer:
    return await _access(session, Officer, station_id, officer_id, lock=lock)


async def access_contact_way(session: AsyncSession, station_id: int, way_id: int) -> ContactWay:
    return await _access(session, ContactWay, station_id, way_id)


async def access_contact(
    session: AsyncSession, station_id: int, contact_id: int, *, lock: bool = False
) -> WeComContact:
    return await _access(session, WeComContact, station_id, contact_id, lock=lock)


async def access_wecom_task(session: AsyncSession, station_id: int, task_id: int, *, lock: bool = False) -> WeComTask:
    return await _access(session, WeComTask, station_id, task_id, lock=lock)


async def access_canned_reply(session: AsyncSession, station_id: int, reply_id: int) -> CannedReply:
    return await _access(session, CannedReply, station_id, reply_id)


async def access_broadcast(
    session: AsyncSession, station_id: int, broadcast_id: int, *, lock: bool = False
) -> Broadcast:
    """A warning with its author and approver."""
    return await _access(
        session,
        Broadcast,
        station_id,
        broadcast_id,
        joinedload(Broadcast.author),
        joinedload(Broadcast.approver),
        lock=lock,
    )


async def access_entry_version(
    session: AsyncSession, station_id: int, version_id: int, *, lock: bool = False
) -> EntryVersion:
    """A version of an entry with its author and approver."""
    return await _access(
        session,
        EntryVersion,
        station_id,
        version_id,
        joinedload(EntryVersion.author),
        joinedload(EntryVersion.approver),
        lock=lock,
    )

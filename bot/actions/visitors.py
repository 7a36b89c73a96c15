"""Visitors of the web chat: their consent, what they see of their own conversation, their pictures."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from bot.actions import conversations, residents
from bot.actions.audit import Actor, record
from bot.actions.conversations import Address
from bot.message import MessageKind
from bot.store.models import Conversation, Media, MessageState, Officer, ResidentAddress, StoredMessage

HANDLING_USUALLY = timedelta(seconds=60)  # a message waiting longer is no longer "being answered", it was postponed


@dataclass(frozen=True, slots=True)
class Spoken:
    """One message as its resident may see it. `answers`: how the message it answers was decided on."""

    message: StoredMessage
    officer: Officer | None
    answers: str | None


async def consent(
    session: AsyncSession, conversation: Conversation, *, language: str, kept_days: int, now: datetime, actor: Actor
) -> bool:
    """The resident agreed to what he was told is kept; False if he had before. `language` is that of the page."""
    address = conversation.address
    if address.consented_at is not None:
        return False
    address.consented_at = now
    await record(session, actor, "address.consented", f"address:{address.id}", details={"kept_days": kept_days})
    await residents.describe(session, conversation.resident, language=language, actor=actor)
    return True


async def knows(session: AsyncSession, station_id: int, where: Address) -> bool:
    """Whether anybody was ever met at this address."""
    query = select(ResidentAddress.id).where(
        ResidentAddress.station_id == station_id,
        ResidentAddress.channel == where.channel,
        ResidentAddress.address == where.address,
    )
    return (await session.execute(query)).first() is not None


async def spoken(
    session: AsyncSession,
    station_id: int,
    where: Address,
    *,
    since: datetime,
    after: int | None = None,
    before: int | None = None,
    most: int,
) -> list[Spoken]:
    """Up to `most` messages in their order: the first ones `after` a number, else the last ones (`before` one).

    By address and not by conversation, because a message that is not handled yet belongs to none. `since` is the
    consent: what was erased before it stays out of sight.
    """
    asked = aliased(StoredMessage)
    query = (
        select(StoredMessage, Officer, asked.decision)
        .outerjoin(Officer, Officer.id == StoredMessage.officer_id)
        .outerjoin(asked, asked.id == StoredMessage.in_reply_to)
        .where(
            StoredMessage.station_id == station_id,
            StoredMessage.channel == where.channel,
            StoredMessage.address == where.address,
            StoredMessage.kind != MessageKind.EVENT,
            StoredMessage.created_at >= since,
        )
        .limit(most)
    )
    if after is not None:
        query = query.where(StoredMessage.id > after).order_by(StoredMessage.id)
    else:
        query = query.order_by(StoredMessage.id.desc())
        if before is not None:
            query = query.where(StoredMessage.id < before)
    rows = [Spoken(*row) for row in await session.execute(query)]
    return rows if after is not None else rows[::-1]


async def is_waiting(session: AsyncSession, station_id: int, where: Address, *, now: datetime) -> bool:
    """Whether a message of the resident is being answered at this moment."""
    query = select(func.count()).where(
        StoredMessage.station_id == station_id,
        StoredMessage.channel == where.channel,
        StoredMessage.address == where.address,
        StoredMessage.state == MessageState.RECEIVED,
        StoredMessage.attempts == 0,
        StoredMessage.created_at > now - HANDLING_USUALLY,
    )
    return bool((await session.execute(query)).scalar_one())


async def stored_as(session: AsyncSession, station_id: int, where: Address, platform_id: str) -> StoredMessage | None:
    """The message a visitor sent under this id of his own."""
    query = select(StoredMessage).where(
        StoredMessage.station_id == station_id,
        StoredMessage.channel == where.channel,
        StoredMessage.address == where.address,
        StoredMessage.platform_id == platform_id,
    )
    return (await session.execute(query)).scalar_one_or_none()


async def access_conversation(session: AsyncSession, station_id: int, where: Address) -> Conversation:
    """The conversation of a visitor who agreed that it is kept; LookupError for any other."""
    conversation = await conversations.find(session, station_id, where)
    if conversation is None or conversation.address.consented_at is None:
        raise LookupError("no such visitor, or one who did not consent")
    return conversation


async def access_picture(session: AsyncSession, conversation: Conversation, media_id: int) -> Media:
    """A picture that was said in this conversation or sent into it; LookupError for any other."""
    said_here = select(StoredMessage.id).where(
        StoredMessage.station_id == conversation.station_id,
        StoredMessage.conversation_id == conversation.id,
        StoredMessage.media_id == media_id,
    )
    query = select(Media).where(
        Media.id == media_id,
        Media.station_id == conversation.station_id,
        or_(Media.conversation_id == conversation.id, said_here.exists()),
    )
    media = (await session.execute(query)).scalar_one_or_none()
    if media is None:
        raise LookupError(f"no picture {media_id} in conversation {conversation.id}")
    return media

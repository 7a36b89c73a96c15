"""Pictures: kept encrypted, fetched from the platform while it still has them, checked by what they are."""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions.errors import ActionError
from bot.message import PICTURE_LIMIT_BYTES, MessageKind
from bot.store.live import Change, Kind, announce
from bot.store.models import Conversation, Media, StoredMessage

_PLATFORM_KEEPS = timedelta(days=3)
_AT_ONCE = 10
_SIGNATURES = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"GIF8", "image/gif"))


def content_type_of(data: bytes) -> str:
    """What a picture really is, by its first bytes; ActionError for anything else or too large."""
    if len(data) > PICTURE_LIMIT_BYTES:
        raise ActionError("图片不能超过 2 MB，请压缩后再发。")
    for start, content_type in _SIGNATURES:
        if data.startswith(start):
            return content_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    raise ActionError("只能发送 JPG、PNG、GIF 或 WebP 图片。")


async def keep(session: AsyncSession, station_id: int, data: bytes, conversation: Conversation | None) -> Media:
    """Store a picture; raises ActionError if it is none."""
    media = Media(
        station_id=station_id,
        content_type=content_type_of(data),
        data=data,
        conversation_id=conversation.id if conversation else None,
        created_at=clock.now(),
    )
    session.add(media)
    await session.flush()
    return media


async def unfetched(session: AsyncSession, station_id: int, *, now: datetime) -> list[tuple[int, str, str]]:
    """Picture messages whose bytes are still with the platform, residents' and those officers sent in the platform's
    own client: (message, channel, platform's media id)."""
    query = (
        select(StoredMessage)
        .where(
            StoredMessage.station_id == station_id,
            StoredMessage.kind == MessageKind.IMAGE,
            StoredMessage.media_id.is_(None),
            StoredMessage.forgotten.is_(False),
            StoredMessage.created_at > now - _PLATFORM_KEEPS,
            StoredMessage.conversation_id.is_not(None),
        )
        .order_by(StoredMessage.id.desc())
        .limit(_AT_ONCE)
    )
    rows = (await session.execute(query)).scalars()
    return [(row.id, row.channel, row.details["media"]) for row in rows if row.details and row.details.get("media")]


async def attach(session: AsyncSession, message_id: int, content_type: str, data: bytes) -> None:
    """The bytes have come; the message shows them from now on."""
    message = await session.get_one(StoredMessage, message_id, with_for_update=True)
    media = Media(
        station_id=message.station_id,
        content_type=content_type,
        data=data,
        conversation_id=message.conversation_id,
        created_at=clock.now(),
    )
    session.add(media)
    await session.flush()
    message.media_id = media.id
    if message.conversation_id is not None:
        announce(session, Change(message.station_id, Kind.CONVERSATION, message.conversation_id, "picture"))


async def not_fetched(session: AsyncSession, message_id: int, *, final: bool) -> None:
    """The platform did not give it; `final` means that it never will."""
    if final:
        message = await session.get_one(StoredMessage, message_id, with_for_update=True)
        message.details = {key: value for key, value in (message.details or {}).items() if key != "media"}

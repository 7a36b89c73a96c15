"""Pictures: kept encrypted, fetched from the platform while it still has them, checked by what they are."""

from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions.errors import ActionError
from bot.message import PICTURE_LIMIT_BYTES
from bot.store.live import Change, Kind, announce
from bot.store.models import Conversation, Media, StoredMessage

_PLATFORM_KEEPS = timedelta(days=3)
_FETCH_AGAIN = (
    timedelta(seconds=10),
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
)
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
    own client: (message, channel, platform's media id).

    What was never asked for comes first, and of each resident one before anybody's second: nobody's many pictures, and
    none that the platform does not give, hold up the others'.
    """
    turn = func.row_number().over(
        partition_by=(StoredMessage.channel, StoredMessage.address), order_by=StoredMessage.fetch_at
    )
    query = (
        select(StoredMessage)
        .where(
            StoredMessage.station_id == station_id,
            StoredMessage.fetch_at <= now,
            StoredMessage.conversation_id.is_not(None),
        )
        .order_by(StoredMessage.fetches, turn, StoredMessage.id)
        .limit(_AT_ONCE)
    )
    rows = (await session.execute(query)).scalars()
    return [(row.id, row.channel, (row.details or {}).get("media", "")) for row in rows]


async def attach(session: AsyncSession, message_id: int, content_type: str, data: bytes) -> None:
    """The bytes have come; the message shows them from now on."""
    message = await session.get_one(StoredMessage, message_id, with_for_update=True)
    if message.fetch_at is None:  # another process was quicker, or retention took it
        return
    message.fetch_at = None
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


async def not_fetched(session: AsyncSession, message_id: int, *, now: datetime, final: bool) -> None:
    """The platform did not give it; `final` means that it never will. Else it is asked again, ever more seldom."""
    message = await session.get_one(StoredMessage, message_id, with_for_update=True)
    if message.fetch_at is None:
        return
    pause = _FETCH_AGAIN[min(message.fetches, len(_FETCH_AGAIN) - 1)]
    message.fetches += 1
    message.fetch_at = now + pause
    if final or message.fetch_at > message.created_at + _PLATFORM_KEEPS:
        message.fetch_at = None
        message.details = {key: value for key, value in (message.details or {}).items() if key != "media"}

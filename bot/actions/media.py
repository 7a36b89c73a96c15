"""Pictures: kept encrypted, fetched from the platform while it still has them, checked by what they are."""

from collections.abc import Callable, Mapping
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


_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15; those three are tables (T.81, B.1)


def content_type_of(data: bytes) -> str:
    """What a picture really is, by its first bytes; ActionError for anything else, too large, or evidently broken."""
    content_type = _kind_of(data)
    if not _IS_WHOLE[content_type](data):
        raise ActionError("图片不完整或已损坏，请重新选择图片再发。")
    return content_type


def _kind_of(data: bytes) -> str:
    if len(data) > PICTURE_LIMIT_BYTES:
        raise ActionError("图片不能超过 2 MB，请压缩后再发。")
    for start, content_type in _SIGNATURES:
        if data.startswith(start):
            return content_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    raise ActionError("只能发送 JPG、PNG、GIF 或 WebP 图片。")


def _is_whole_png(data: bytes) -> bool:
    """Header first, end chunk (empty, so its check sum is always the same) somewhere after it."""
    return data[12:16] == b"IHDR" and data.find(b"IEND\xaeB`\x82", 33) > 0


def _is_whole_jpeg(data: bytes) -> bool:
    """A frame header among the segments, an end mark after it; telephones append things of their own."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # a fill byte
            at += 1
        elif data[at + 1] in _JPEG_FRAMES:
            return data.find(b"\xff\xd9", at) > 0
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def _is_whole_gif(data: bytes) -> bool:
    return len(data) > 13 and data.rstrip(b"\0").endswith(b";")


def _is_whole_webp(data: bytes) -> bool:
    return 12 < int.from_bytes(data[4:8], "little") + 8 <= len(data)


_IS_WHOLE: Mapping[str, Callable[[bytes], bool]] = {
    "image/png": _is_whole_png,
    "image/jpeg": _is_whole_jpeg,
    "image/gif": _is_whole_gif,
    "image/webp": _is_whole_webp,
}


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

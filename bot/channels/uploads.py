"""Our pictures at a platform: each uploaded once and used while the platform keeps it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from bot import clock
from bot.channels.base import Failure, Picture, PictureStore, SendError

_KEPT = timedelta(days=2)  # the platforms keep an upload for three
_MOST = 200


class Uploads:
    """The platform's ids of our pictures; a warning with a picture to thousands uploads it once."""

    def __init__(self, pictures: PictureStore, upload: Callable[[Picture], Awaitable[str]]) -> None:
        self._pictures, self._upload = pictures, upload
        self._held: dict[int, tuple[str, datetime]] = {}  # our picture -> media id and until when
        self._uploading = asyncio.Lock()

    async def media_id(self, picture: int) -> str:
        """The platform's id of one of our pictures; raises SendError."""
        async with self._uploading:
            held = self._held.get(picture)
            if held is not None and held[1] > clock.now():
                return held[0]
            try:
                kept = await self._pictures.load(picture)
            except LookupError:
                raise SendError(Failure.REFUSED, "no_picture", "图片已被删除，请重新选择图片后再发。") from None
            media_id = await self._upload(kept)
            if len(self._held) >= _MOST:
                self._held.clear()
            self._held[picture] = (media_id, clock.now() + _KEPT)
            return media_id

    def forget(self, picture: int) -> None:
        """The platform no longer knows it: the next use uploads it again."""
        self._held.pop(picture, None)

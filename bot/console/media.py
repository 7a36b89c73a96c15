"""Pictures of conversations, for those who may read them."""

from aiohttp import web

from bot.console.visit import Visit
from bot.store.access import access_media


async def show(visit: Visit) -> web.StreamResponse:
    """The bytes under the type we found in them; never as anything a browser would run."""
    async with visit.store.read() as session:
        media = await access_media(session, visit.station_id, visit.number("id"))
    return web.Response(
        body=media.data,
        content_type=media.content_type,
        headers={
            "Cache-Control": "private, max-age=3600",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Content-Disposition": "inline",
        },
    )

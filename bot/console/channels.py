"""The self-check of the channels: what is right, what is not, and what to do about it."""

from aiohttp import web

from bot.console.visit import Visit


async def show(visit: Visit) -> web.StreamResponse:
    """Asks the platforms now; takes some seconds when one of them does not answer."""
    return visit.page("channels.html", reports=await visit.desk.check_channels())

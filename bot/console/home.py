"""The way from /console to where the officer's work is."""

from aiohttp import web

from bot.console.navigation import first_page
from bot.console.visit import Visit


async def show(visit: Visit) -> web.StreamResponse:
    return visit.go(first_page(visit.officer.role))

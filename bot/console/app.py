"""Puts the console under /console of the web application."""

from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web

from bot.console import live, templating
from bot.console.guard import MIDDLEWARES, Route, serve
from bot.console.presence import Presence
from bot.console.routes import ROUTES
from bot.console.visit import CONSOLE, Console, ConsoleDesk

__all__ = ["ConsoleDesk", "add_console"]

ROOT = "/console"


def add_console(app: web.Application, desk: ConsoleDesk) -> None:
    """Add every route of the table; nothing else is reachable under /console."""
    console = web.Application(middlewares=MIDDLEWARES)
    console[CONSOLE] = Console(desk, templating.environment(desk), Presence(desk.runtime.store.live))
    live.add_end(console)
    for route in ROUTES:
        console.router.add_route(route.method, route.path.removeprefix(ROOT), _handler(route))
    app.add_subapp(ROOT, console)


def _handler(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    return partial(serve, route)

"""Puts the API under /api/v1 of the web application, with the document that describes it."""

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

from aiohttp import web

from bot.api.guard import RULES, RUNTIME, AnyRoute, serve, show_problems
from bot.api.openapi import document
from bot.api.routes import ROOT, ROUTES
from bot.reach import Rules
from bot.runtime import Runtime

__all__ = ["add_api"]


_DOCUMENT: Final = json.dumps(document(ROUTES, ROOT), ensure_ascii=False).encode()


def add_api(app: web.Application, runtime: Runtime, rules: Mapping[str, Rules]) -> None:
    """Add every route of the table and /api/v1/openapi.json; nothing else is reachable under /api/v1.

    `rules`: what the platforms of the channels allow, by the channel's name.
    """
    api = web.Application(middlewares=[show_problems])
    api[RUNTIME], api[RULES] = runtime, rules
    api.router.add_get("/openapi.json", _describe)
    for route in ROUTES:
        api.router.add_route(route.method, route.path.replace("{id}", r"{id:\d{1,19}}"), _handler(route))
    app.add_subapp(ROOT, api)


async def _describe(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=_DOCUMENT, content_type="application/json", charset="utf-8")


def _handler(route: AnyRoute) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    return partial(serve, route)

"""The stream that tells open pages what moved, so that they fetch it anew."""

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import timedelta

from aiohttp import web

from bot import clock
from bot.console.visit import Visit
from bot.security import sessions
from bot.security.permissions import Permission
from bot.store.access import NotFound, access_ticket
from bot.store.live import Change, Kind
from bot.store.queries import assignee_of

HEARTBEAT = timedelta(seconds=20)  # keeps proxies from closing a quiet connection
_LOOK_SECONDS = 1.0  # how soon we notice that a page was closed or the program ends
_WRITE_SECONDS = 1.0  # a page that takes no bytes for so long is gone
_NEEDS = {
    Kind.TICKET: (Permission.ANSWER,),
    Kind.CONVERSATION: (Permission.ANSWER, Permission.REVIEW),
    Kind.BROADCAST: (Permission.WARN, Permission.APPROVE),
    Kind.RELOAD: (Permission.SELF,),
}

_ENDING = web.AppKey("console_ending", asyncio.Event)


def add_end(app: web.Application) -> None:
    """Let every stream end when the program does."""

    async def end(app: web.Application) -> None:
        app[_ENDING].set()

    app[_ENDING] = asyncio.Event()
    app.on_shutdown.append(end)


async def stream(visit: Visit) -> web.StreamResponse:
    """Server-sent events named after what moved; `?ticket=7` says which ticket the page shows.

    An open page counts as an officer at work: a duty desk that falls silent because nobody clicked for two hours would
    miss the next call for help. The log-in's end after 12 hours stays.
    """
    ticket_id = visit.asked_number("ticket")
    if ticket_id is not None:
        await _check_ticket(visit, ticket_id)
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    async with AsyncExitStack() as stack:
        changes = await stack.enter_async_context(visit.store.live.listen())
        await response.prepare(visit.request)  # only now: from here on the page believes that it misses nothing
        if ticket_id is not None:
            stack.enter_context(visit.console.presence.looking(visit.station_id, ticket_id, visit.officer))
        try:
            await _send(response, ": here")
            await _tell(visit, response, changes)
        except (ConnectionError, TimeoutError):
            pass  # the page was closed, or it sleeps
    return response


async def _check_ticket(visit: Visit, ticket_id: int) -> None:
    if not visit.may(Permission.ANSWER):
        raise NotFound
    async with visit.store.read() as session:
        await access_ticket(session, visit.station_id, ticket_id)


async def _tell(visit: Visit, response: web.StreamResponse, changes: "asyncio.Queue[Change]") -> None:
    beat = clock.now() + HEARTBEAT
    while not visit.request.app[_ENDING].is_set() and visit.request.transport is not None:
        if clock.now() >= beat:
            if not await _still_logged_in(visit):
                await _send(response, "event: ended\ndata: {}")
                return
            await _send(response, ": still here")
            beat = clock.now() + HEARTBEAT
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                change = await changes.get()
        except TimeoutError:
            continue
        if change.station_id == visit.station_id and visit.may(*_NEEDS.get(change.kind, ())):
            data = json.dumps({"id": change.id, "what": change.what, "mine": await _calls_me(visit, change)})
            await _send(response, f"event: {change.kind}\ndata: {data}")


async def _send(response: web.StreamResponse, event: str) -> None:
    async with asyncio.timeout(_WRITE_SECONDS):
        await response.write(f"{event}\n\n".encode())


async def _calls_me(visit: Visit, change: Change) -> bool:
    """Whether this officer should hear it: his resident wrote or calls for help, or a colleague gave him a ticket."""
    if change.kind is not Kind.TICKET or change.what not in ("message", "call", "handed"):
        return False
    async with visit.store.read() as session:
        return await assignee_of(session, visit.station_id, change.id) == visit.officer.id


async def _still_logged_in(visit: Visit) -> bool:
    """The log-in behind the page; touched at most once a minute."""
    async with visit.store.read() as session:
        login = await sessions.find(session, visit.station_id, visit.request.cookies.get(sessions.COOKIE, ""))
        if login is None or not login.is_let_in:
            return False
        visit.login = login  # his role may have changed
        stale = await sessions.needs_touch(session, login.session_id)
    if stale:
        async with visit.store.write() as session:
            await sessions.touch(session, login.session_id)
    return True

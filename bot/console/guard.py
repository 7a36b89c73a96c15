"""What stands before and after every view: log-in, second factor, permission, CSRF, refusals, headers, error pages."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from urllib.parse import quote

from aiohttp import web

from bot.actions.errors import ActionError, Conflict, NotAllowed
from bot.console.texts import ERRORS, LOGIN_OVER, STALE_FORM
from bot.console.visit import CONSOLE, Console, Visit
from bot.security import sessions
from bot.security.permissions import Permission
from bot.security.sessions import LoggedIn
from bot.store.access import NotFound

log = logging.getLogger(__name__)

View = Callable[[Visit], Awaitable[web.StreamResponse]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
READING = frozenset({"GET", "HEAD"})
CSRF_FIELD, CSRF_HEADER = "csrf", "X-CSRF-Token"
SECURE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class StaleForm(web.HTTPForbidden):
    """The form does not carry this log-in's token: it is from an old page, or from a stranger's."""


class Open(StrEnum):
    """The ways in that need no permission."""

    PUBLIC = "public"  # no log-in; the view itself checks its forms
    HALF = "half"  # the password was right, the second factor may still be missing
    OWN = "own"  # all the way in, but perhaps with a password that somebody handed out: it is changed here


Needs = Open | Permission | tuple[Permission, ...]  # one permission of several is enough


@dataclass(frozen=True)
class Route:
    """One line of the table. `again` is the page shown, with what was typed, when the wish of a form is refused."""

    method: str
    path: str
    view: View
    needs: Needs
    again: View | None = None


async def serve(route: Route, request: web.Request) -> web.StreamResponse:
    """Let a request through to its view, or say why not."""
    console = request.app[CONSOLE]
    visit = Visit(console, request, await _find_login(console, request))
    if route.needs is not Open.PUBLIC:
        if visit.login is None:
            return await _ask_to_log_in(visit)
        if route.needs is not Open.HALF:
            if not visit.login.second_factor_done:
                return visit.go(f"/console/second-factor?next={quote(request.path_qs, safe='')}")
            if route.needs is not Open.OWN:
                if visit.officer.password_given:
                    return visit.go("/console/me")
                _check_permission(route.needs, visit)
    if request.method not in READING:
        await _read_form(visit)
        if visit.login is not None:
            _check_csrf(visit, visit.login)
    try:
        return await route.view(visit)
    except ActionError as refusal:
        return await _refuse(route, visit, refusal)


async def _find_login(console: Console, request: web.Request) -> LoggedIn | None:
    cookie = request.cookies.get(sessions.COOKIE)
    if not cookie:
        return None
    store = console.desk.runtime.store
    async with store.read() as session:
        login = await sessions.find(session, console.desk.runtime.station.id, cookie)
        stale = login is not None and await sessions.needs_touch(session, login.session_id)
    if login is not None and stale:
        async with store.write() as session:
            await sessions.touch(session, login.session_id)
    return login


async def _ask_to_log_in(visit: Visit) -> web.StreamResponse:
    """Pages lead to the log-in and back; a form or a part of a page must not lose what was typed."""
    request = visit.request
    if request.headers.get("Accept") == "text/event-stream":
        raise web.HTTPUnauthorized
    if request.method in READING and "HX-Request" not in request.headers:
        return visit.go(f"/console/login?next={quote(request.path_qs, safe='')}")
    if request.method not in READING:
        await _read_form(visit)
    kept = [value for name, value in visit.form.items() if name != CSRF_FIELD and isinstance(value, str) and value]
    visit.problem = LOGIN_OVER
    return visit.page("error.html", status=401, title="请重新登录", kept="\n".join(kept), home="/console/login")


def _check_permission(needs: Needs, visit: Visit) -> None:
    permissions = needs if isinstance(needs, tuple) else (needs,)
    if not any(isinstance(permission, Permission) and visit.may(permission) for permission in permissions):
        raise web.HTTPForbidden


async def _read_form(visit: Visit) -> None:
    try:
        visit.form = await visit.request.post()
    except (ValueError, LookupError) as error:  # not UTF-8, or a form cut off in the middle
        raise web.HTTPBadRequest from error


def _check_csrf(visit: Visit, login: LoggedIn) -> None:
    given = visit.request.headers.get(CSRF_HEADER) or visit.text(CSRF_FIELD)
    if not sessions.csrf_fits(login.csrf, given):
        raise StaleForm


async def _refuse(route: Route, visit: Visit, refusal: ActionError) -> web.StreamResponse:
    """Show the form's page again with the sentence and with what was typed."""
    visit.problem = str(refusal)
    status = 409 if isinstance(refusal, Conflict) else 403 if isinstance(refusal, NotAllowed) else 422
    if route.again is None:
        return visit.page("error.html", status=status, title="没有完成", kept="", home="/console")
    response = await route.again(visit)
    response.set_status(status)
    return response


# --- around everything ----------------------------------------------------------------------------------------------


@web.middleware
async def add_headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What tells the browser to be careful with our pages."""
    response = await handler(request)
    if not response.prepared:
        for name, value in SECURE_HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "no-store")
    return response


@web.middleware
async def show_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong ends as a page with a sentence."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        sentence = STALE_FORM if isinstance(error, StaleForm) else ERRORS.get(error.status, ERRORS[400])
        return _error_page(request, error.status, sentence, error.headers.get("Allow"))
    except NotFound:
        return _error_page(request, 404, ERRORS[404])
    except Exception:
        resource = request.match_info.route.resource
        log.exception("console page failed", extra={"route": resource.canonical if resource else ""})
        return _error_page(request, 500, ERRORS[500])


def _error_page(request: web.Request, status: int, sentence: str, allow: str | None = None) -> web.Response:
    visit = Visit(request.app[CONSOLE], request, None, problem=sentence)
    response = visit.page("error.html", status=status, title=f"{status}", kept="", home="/console")
    if allow:
        response.headers["Allow"] = allow
    return response


MIDDLEWARES = (
    add_headers,  # outermost, so that error pages have them too
    show_errors,
)

"""What stands before and after every handler: log-in, permission, checked request, refusals, headers."""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage
from pydantic import BaseModel, ValidationError

from bot.actions.errors import ActionError, Conflict, NotAllowed
from bot.api.call import Call
from bot.api.problems import CONTENT_TYPE, STATUS, FieldError, Problem, Refused, Slug
from bot.api.shapes import Answer, Request
from bot.api.texts import DETAILS, FIELDS, INVALID_FIELD, TITLES
from bot.reach import Rules
from bot.runtime import Runtime
from bot.security import sessions
from bot.security.permissions import Permission, may
from bot.security.sessions import LoggedIn
from bot.store.access import NotFound

log = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 64 * 1024  # the longest text is 2,000 characters, the longest audience some hundred numbers
MOST_FIELD_ERRORS = 20
_FIELD_CHARACTERS = 60
_BEARER = re.compile(r"Bearer +([A-Za-z0-9_-]{43})", re.IGNORECASE)  # what sessions.begin makes
SECURE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_R = TypeVar("_R", bound=Request)
_A = TypeVar("_A", bound=Answer)

RUNTIME = web.AppKey("api_runtime", Runtime)
RULES: web.AppKey[Mapping[str, Rules]] = web.AppKey("api_rules", Mapping)  # by the channel's name


class Open(StrEnum):
    """The way in that needs no log-in."""

    PUBLIC = "public"


Needs = Open | Permission | tuple[Permission, ...]  # one permission of several is enough


@dataclass(frozen=True)
class Route(Generic[_R, _A]):
    """One line of the table. `request` is the query of a GET and the body of anything else."""

    method: str
    path: str
    handler: Callable[[Call, _R], Awaitable[_A]]
    needs: Needs
    request: type[_R]
    response: type[_A]
    summary: str
    status: HTTPStatus = HTTPStatus.OK

    @property
    def permissions(self) -> tuple[Permission, ...]:
        if isinstance(self.needs, Permission):
            return (self.needs,)
        return self.needs if isinstance(self.needs, tuple) else ()

    @property
    def reads(self) -> bool:
        return self.method == "GET"


AnyRoute = Route[Any, Any]


async def serve(route: AnyRoute, request: web.Request) -> web.StreamResponse:
    """Let a request through to its handler, or raise why not."""
    runtime = request.app[RUNTIME]
    login = None
    if route.needs is not Open.PUBLIC:
        login = await _find_login(runtime, request)
        if not any(may(login.officer.role, permission) for permission in route.permissions):
            raise Refused(Slug.NO_PERMISSION)
    given = _check_query(route, request) if route.reads else _check_body(route, await _read_body(request))
    answer = await route.handler(Call(runtime, request, login, request.app[RULES]), given)
    if route.status is HTTPStatus.NO_CONTENT:
        return web.Response(status=route.status)
    return web.Response(text=answer.model_dump_json(), content_type="application/json", status=route.status)


async def _find_login(runtime: Runtime, request: web.Request) -> LoggedIn:
    """The log-in of the bearer token; one whose second factor is missing is none."""
    bearer = _BEARER.fullmatch(request.headers.get("Authorization", ""))
    if bearer is None:
        raise Refused(Slug.LOGIN_NEEDED)
    async with runtime.store.read() as session:
        login = await sessions.find(session, runtime.station.id, bearer[1])
        if login is None or not login.second_factor_done:
            raise Refused(Slug.LOGIN_NEEDED)
        stale = await sessions.needs_touch(session, login.session_id)
    if stale:
        async with runtime.store.write() as session:
            await sessions.touch(session, login.session_id)
    return login


# --- the request ----------------------------------------------------------------------------------------------------


async def _read_body(request: web.Request) -> bytes:
    """The body, unpacked; it is given up as soon as it is too large."""
    if (request.content_length or 0) > BODY_LIMIT_BYTES:
        raise Refused(Slug.TOO_LARGE)
    body = bytearray()
    try:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > BODY_LIMIT_BYTES:
                raise Refused(Slug.TOO_LARGE)
    except (web.RequestPayloadError, BadHttpMessage) as error:  # said to be gzip, and is not
        raise Refused(Slug.NOT_JSON, headers={"Connection": "close"}) from error  # aiohttp cannot read on behind it
    if body and request.content_type != "application/json":
        raise Refused(Slug.WRONG_TYPE)
    return bytes(body)


def _check_body(route: AnyRoute, body: bytes) -> Request:
    try:
        checked: Request = route.request.model_validate_json(body or b"{}")
    except ValidationError as error:
        if error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid":
            raise Refused(Slug.NOT_JSON) from error
        raise _invalid(error) from error
    return checked


def _check_query(route: AnyRoute, request: web.Request) -> Request:
    """Everything in a query is text, so here "2" may be a number; a field given twice is wrong."""
    asked: dict[str, str | list[str]] = {}
    for name in request.query:
        values = request.query.getall(name)
        asked[name] = values[0] if len(values) == 1 else values
    try:
        checked: Request = route.request.model_validate(asked, strict=False)
    except ValidationError as error:
        raise _invalid(error) from error
    return checked


def _invalid(error: ValidationError) -> Refused:
    found = error.errors(include_url=False, include_input=False)[:MOST_FIELD_ERRORS]
    return invalid(
        *(
            FieldError(
                field=".".join(str(part) for part in problem["loc"])[:_FIELD_CHARACTERS],
                detail=_sentence(problem["type"], problem["msg"], problem.get("ctx", {})),
            )
            for problem in found
        )
    )


def _sentence(kind: str, message: str, limits: Mapping[str, Any]) -> str:
    """In Chinese what pydantic found; our own checks say it themselves."""
    if not message.isascii():
        return message
    return next(text for start, text in FIELDS if kind.startswith(start)).format_map(limits)


def invalid(*errors: FieldError) -> Refused:
    """The refusal that names fields; for what only the database knows, too."""
    first = errors[0]
    detail = INVALID_FIELD.format(field=first.field, detail=first.detail) if first.field else DETAILS[Slug.INVALID]
    return Refused(Slug.INVALID, detail, errors=errors)


# --- the answer -----------------------------------------------------------------------------------------------------

_HTTP_ERRORS = {404: Slug.NOT_FOUND, 405: Slug.WRONG_METHOD, 413: Slug.TOO_LARGE}


@web.middleware
async def show_problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Whatever goes wrong ends as a problem with a sentence; every answer carries the headers."""
    try:
        response = await handler(request)
    except Refused as refused:
        response = _problem(refused)
    except NotFound:
        response = _problem(Refused(Slug.NOT_FOUND))
    except ActionError as refusal:
        response = _problem(Refused(_slug_of(refusal), str(refusal)))
    except web.HTTPException as error:
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        response = _problem(Refused(_HTTP_ERRORS.get(error.status, Slug.FAULT), headers=allow))
    except Exception:
        resource = request.match_info.route.resource
        log.exception("an API call failed", extra={"route": resource.canonical if resource else request.method})
        response = _problem(Refused(Slug.FAULT))
    response.headers.update(SECURE_HEADERS)
    return response


def _slug_of(refusal: ActionError) -> Slug:
    if isinstance(refusal, Conflict):
        return Slug.CONFLICT
    return Slug.NOT_ALLOWED if isinstance(refusal, NotAllowed) else Slug.REFUSED


def _problem(refused: Refused) -> web.Response:
    status = STATUS[refused.slug]
    problem = Problem(
        type=refused.slug,
        title=TITLES[refused.slug],
        status=status,
        detail=refused.detail or DETAILS[refused.slug],
        errors=refused.errors,
    )
    response = web.Response(text=_json(problem), content_type=CONTENT_TYPE, status=status, headers=refused.headers)
    if status is HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _json(problem: BaseModel) -> str:
    return problem.model_dump_json(exclude_defaults=True)

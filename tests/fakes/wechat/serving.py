"""One API of the platform: journal, faults, token and quota, then the endpoint; a refusal is a JSON answer too."""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.fakes.wechat.faults import Fault
from tests.fakes.wechat.journal import Call, without_secrets
from tests.fakes.wechat.platform import Platform

Answer = dict[str, Any] | web.StreamResponse


class Refusal(Exception):
    """An answer of the platform, not a fault of the fake."""

    def __init__(self, code: int, errmsg: str = "refused", **more: object) -> None:
        super().__init__(code)
        self.code, self.errmsg, self.more = code, errmsg, more


@dataclass(frozen=True)
class Asked:
    """One call: `path` after /cgi-bin/; `body` is the JSON or the form, {} for a GET; `escaped`: it held \\u."""

    path: str
    query: Mapping[str, str]
    body: dict[str, Any]
    escaped: bool = False

    @property
    def token(self) -> str:
        return self.query.get("access_token", "")


Serve = Callable[[Asked], Awaitable[Answer]]
Endpoints = dict[tuple[str, str], Serve]

OK: dict[str, Any] = {"errcode": 0, "errmsg": "ok"}


class Gate:
    """`public` needs no token. `failed` hears of calls that the fault script refused. `limited`: daily quotas."""

    def __init__(
        self,
        platform: Platform,
        *,
        public: Endpoints,
        endpoints: Endpoints,
        check_token: Callable[[str], object],
        expire_token: Callable[[str], None],
        failed: Callable[[Asked], None] = lambda _: None,
        limited: bool = True,
    ) -> None:
        self.platform, self.public, self.endpoints = platform, public, endpoints
        self.limited = limited
        self._check_token, self._expire_token, self._failed = check_token, expire_token, failed

    async def handle(self, request: web.Request) -> web.StreamResponse:
        platform = self.platform
        body, escaped = await body_of(request)
        call = Call(
            platform.now(), request.method, request.path, without_secrets(dict(request.query)), without_secrets(body)
        )
        call.query.pop("access_token", None)
        call.query.pop("secret", None)
        call.query.pop("corpsecret", None)
        call.escaped = escaped
        platform.journal.append(call)
        asked = Asked(request.match_info["path"], request.query, body if isinstance(body, dict) else {}, escaped)
        fault = next((rule for rule in platform.faults if rule.strikes(request.path, call.body, platform.chance)), None)
        call.fault = fault.effect if fault else None
        if fault is not None and (answer := await self._before(fault, request, asked)) is not None:
            call.errcode = fault.value if fault.effect == "errcode" else None
            return answer
        try:
            done = await self._route(request.method, asked, body)
        except Refusal as refusal:
            done = {"errcode": refusal.code, "errmsg": f"{refusal.errmsg} rid: {_rid()}", **refusal.more}
        if isinstance(done, web.StreamResponse):
            return done
        call.errcode = done.get("errcode", 0)
        return await self._after(fault, request, done)

    async def _route(self, method: str, asked: Asked, body: Any) -> Answer:
        if serve := self.public.get((method, asked.path)):
            if method == "POST":
                _check_form(body)
            self._spend(asked)
            return await serve(asked)
        if any(path == asked.path for _, path in self.public):
            raise Refusal(43002, "require another method")
        self._check_token(asked.token)
        serve = self.endpoints.get((method, asked.path))
        if serve is None:
            known = any(path == asked.path for _, path in self.endpoints)
            raise Refusal(43002 if known else 40066, "require another method" if known else "invalid url")
        if method == "POST":
            _check_form(body)
        self._spend(asked)
        return await serve(asked)

    def _spend(self, asked: Asked) -> None:
        if self.limited and not self.platform.spend_daily(asked.path):
            raise Refusal(45009, "reach max api daily quota limit")

    async def _before(self, fault: Fault, request: web.Request, asked: Asked) -> web.StreamResponse | None:
        match fault.effect:
            case "errcode":
                self._failed(asked)
                return self._json({"errcode": fault.value, "errmsg": "made to fail rid: 0a1b2c3d-0a1b2c3d-0a1b2c3d"})
            case "status":
                return web.Response(status=fault.value, text="<h1>upstream</h1>", content_type="text/html")
            case "html":
                return web.Response(text="<html><body>please wait</body></html>", content_type="text/html")
            case "redirect":
                return web.Response(status=302, headers={"Location": fault.value})
            case "close_before":
                _hang_up(request)
                return web.Response()
            case "delay":
                await _wait(fault.value)
            case "expire_token":
                self._expire_token(asked.token)
        return None

    async def _after(self, fault: Fault | None, request: web.Request, done: dict[str, Any]) -> web.StreamResponse:
        effect = fault.effect if fault is not None else None
        if fault is not None and effect == "delay_after":
            await _wait(fault.value)
        if effect == "close_after":
            _hang_up(request)
        if fault is not None and effect == "status_after":
            return web.Response(status=fault.value)
        if effect == "truncated":
            return web.Response(text=json.dumps(done)[: len(json.dumps(done)) // 2], content_type="application/json")
        return self._json({} if effect == "no_errcode" else done)

    def _json(self, value: dict[str, Any]) -> web.Response:
        kind = "text/plain" if self.platform.rules.text_plain else "application/json; encoding=utf-8"
        return web.Response(body=json.dumps(value, ensure_ascii=False).encode(), headers={"Content-Type": kind})


async def _wait(value: float | asyncio.Event) -> None:
    await (value.wait() if isinstance(value, asyncio.Event) else asyncio.sleep(value))


async def body_of(request: web.Request) -> tuple[Any, bool]:
    """The JSON or the form of a call, its words if it is neither, None if empty; and whether it held a \\u escape."""
    if request.content_type == "multipart/form-data":
        return dict(await request.post()), False
    raw = await request.read()
    if not raw:
        return None, False
    try:
        return json.loads(raw), b"\\u" in raw
    except ValueError:
        return raw.decode(errors="replace"), False


def whole(body: Mapping[str, Any], name: str, default: int) -> int:
    """A whole number in a call; 47001 if it is something else."""
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refusal(47001, f"{name} is no number")
    return value


def words(body: Mapping[str, Any], name: str) -> str:
    """A text in a call, "" if it is missing; 47001 if it is something else."""
    value = body.get(name, "")
    if not isinstance(value, str):
        raise Refusal(47001, f"{name} is no text")
    return value


def several(body: Mapping[str, Any], name: str) -> list[str]:
    """A list of texts in a call, [] if it is missing; 47001 if it is something else."""
    value = body.get(name) or []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Refusal(47001, f"{name} is no list of texts")
    return value


def part(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object in a call, {} if it is missing; 47001 if it is something else."""
    value = body.get(name) or {}
    if not isinstance(value, dict):
        raise Refusal(47001, f"{name} is no object")
    return value


def _check_form(body: Any) -> None:
    if not isinstance(body, dict):
        raise Refusal(44002 if body is None else 47001, "data format error")


def _rid() -> str:
    return "-".join(secrets.token_hex(4) for _ in range(3))


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()

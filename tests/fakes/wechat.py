"""A small real WeChat: tokens, customer-service messages with their ledger, mass sending, pictures, faults on demand.

In a test's own process it is an object (`async with FakeWeChat() as wechat`); over `/_ctl/…` another process or a
person does the same. Whatever the platform's documents leave open is a field of `Rules`.
"""

import argparse
import asyncio
import hashlib
import json
import random
import re
import secrets
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal, Self

from aiohttp import web

from bot import clock

CHINA = timezone(timedelta(hours=8))

Effect = Literal[
    "errcode",  # value: the code; nothing is done
    "status",  # value: the HTTP status; nothing is done
    "status_after",  # value: the HTTP status, although it was done
    "delay",  # value: real seconds before anything is done
    "delay_after",  # value: real seconds between doing it and answering
    "close_before",  # the connection ends, nothing was done
    "close_after",  # the connection ends, although it was done: finds double sends
    "html",  # a page in a 200, nothing was done
    "truncated",  # half of the JSON, although it was done
    "redirect",  # value: the address
    "expire_token",  # the token of this very call has just expired
    "no_errcode",  # done, but the answer is {}
]


@dataclass
class Fault:
    """Calls whose path matches `path` misbehave: the `nth` (from 1), with `probability`, or all; `times` at most."""

    path: str
    effect: Effect
    value: Any = None
    nth: list[int] = field(default_factory=list)
    times: int | None = None
    probability: float | None = None
    openid: str | None = None
    seen: int = 0
    used: int = 0

    def strikes(self, path: str, body: object, chance: random.Random) -> bool:
        if not re.search(self.path, path):
            return False
        if self.openid is not None and not (isinstance(body, dict) and self.openid in json.dumps(body)):
            return False
        self.seen += 1
        if self.nth and self.seen not in self.nth:
            return False
        if self.times is not None and self.used >= self.times:
            return False
        if self.probability is not None and chance.random() >= self.probability:
            return False
        self.used += 1
        return True


@dataclass
class Rules:
    """What the documents leave open, or an account may have set otherwise."""

    unknown_token_code: int = 40014  # or 40001
    window_closed_code: int = 45015
    unfollowed_code: int = 45015  # or 43004
    text_limit_bytes: int = 2048
    text_plain: bool = False  # answers with Content-Type text/plain
    second_grant_refused: bool = False  # only the first grant of a resident counts


@dataclass
class Token:
    expires_at: float
    family: str


@dataclass
class Follower:
    """A resident as the platform sees him. `inbox` is what his phone shows."""

    openid: str
    following: bool = True
    left: int = 0
    until: float = 0
    granted: bool = False
    inbox: list[dict[str, Any]] = field(default_factory=list)
    mass_in_month: dict[str, int] = field(default_factory=dict)

    def grant(self, messages: int, seconds: float, now: float) -> None:
        """The latest grant replaces what is left if it gives more; grants never add up."""
        if now >= self.until or messages >= self.left:
            self.left, self.until = messages, now + seconds


@dataclass
class Call:
    """One call as it came in, without its secrets, and how it was answered."""

    at: float
    method: str
    path: str
    query: dict[str, str]
    body: Any
    errcode: int | None = None
    fault: str | None = None


@dataclass
class MassJob:
    msg_id: int
    clientmsgid: str
    openids: list[str]
    sent: list[str]
    submitted_at: float

    def event(self, account: str, now: float, status: str = "send success") -> dict[str, str]:
        """The fields of the MASSSENDJOBFINISH the platform pushes when the job is nearly done."""
        return {
            "ToUserName": account,
            "FromUserName": "mphelper",
            "CreateTime": str(int(now)),
            "MsgType": "event",
            "Event": "MASSSENDJOBFINISH",
            "MsgID": str(self.msg_id),
            "Status": status,
            "TotalCount": str(len(self.openids)),
            "FilterCount": str(len(self.sent)),
            "SentCount": str(len(self.sent)),
            "ErrorCount": "0",
        }


class _Refusal(Exception):  # an answer, not a fault of the fake
    def __init__(self, code: int, errmsg: str = "refused", **more: object) -> None:
        super().__init__(code)
        self.code, self.errmsg, self.more = code, errmsg, more


GRANTS: Mapping[str, tuple[int, float]] = {
    "message": (5, 48 * 3600),
    "click": (3, 60),
    "scancode_push": (3, 60),
    "scancode_waitmsg": (3, 60),
    "subscribe": (3, 60),
    "scan": (3, 60),
}

_PICTURES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n": "image/png", b"GIF8": "image/gif"}


class FakeWeChat:
    """The platform's API for one official account on 127.0.0.1. Its time is `clock.now()` plus what `advance` added."""

    def __init__(
        self, *, app_id: str = "wx0000000000000001", secret: str = "s3cr3t-of-the-account", port: int = 0
    ) -> None:
        self.app_id, self.secret, self.port = app_id, secret, port
        self.rules = Rules()
        self.faults: list[Fault] = []
        self.journal: list[Call] = []
        self.followers: dict[str, Follower] = {}
        self.tokens: dict[str, Token] = {}
        self.revoked: set[str] = set()  # refused by every call, although stable_token still gives them
        self.media: dict[str, tuple[str, bytes, float]] = {}
        self.jobs: dict[str, MassJob] = {}
        self.counters: Counter[str] = Counter()
        self.url = ""
        self._offset = 0.0
        self._chance = random.Random(7)
        self._forced_at = float("-inf")
        self._numbers = 3_000_000_000
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_route("*", "/cgi-bin/{path:.+}", self._handle)
        app.router.add_route("*", "/_ctl/{what:.+}", self._control)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    # -- what a test does with it ----------------------------------------------------------------------------------

    def now(self) -> float:
        return clock.now().timestamp() + self._offset

    def advance(self, seconds: float) -> None:
        self._offset += seconds

    def follower(self, openid: str) -> Follower:
        """The resident with this openid; known from now on."""
        return self.followers.setdefault(openid, Follower(openid))

    def inbound(self, openid: str, trigger: str = "message") -> None:
        """The resident did something towards the account: what it grants is GRANTS; anything else grants nothing."""
        person = self.follower(openid)
        trigger = trigger.lower()
        if trigger in {"subscribe", "unsubscribe"}:
            person.following = trigger == "subscribe"
        if trigger in GRANTS and not (self.rules.second_grant_refused and person.granted):
            person.grant(*GRANTS[trigger], self.now())
            person.granted = True

    def fault(self, path: str, effect: Effect, value: Any = None, **when: Any) -> Fault:
        rule = Fault(path, effect, value, **when)
        self.faults.append(rule)
        return rule

    def calls(self, path: str) -> list[Call]:
        return [call for call in self.journal if re.search(path, call.path)]

    def texts(self, openid: str) -> list[str]:
        """The words in one resident's chat, in order."""
        return [str(shown["text"]["content"]) for shown in self.follower(openid).inbox if shown["msgtype"] == "text"]

    def expire_tokens(self) -> None:
        for token in self.tokens.values():
            token.expires_at = min(token.expires_at, self.now())

    def add_media(self, data: bytes, content_type: str = "image/jpeg") -> str:
        """A picture a resident sent; its media id."""
        media_id = secrets.token_urlsafe(24)
        self.media[media_id] = (content_type, data, self.now())
        return media_id

    # -- the API ---------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await self._body_of(request)
        query = {name: value for name, value in request.query.items() if name not in {"access_token", "secret"}}
        call = Call(self.now(), request.method, request.path, query, _without_secrets(body))
        self.journal.append(call)
        fault = next((rule for rule in self.faults if rule.strikes(request.path, call.body, self._chance)), None)
        call.fault = fault.effect if fault else None
        if fault is not None and (answer := await self._before(fault, request)) is not None:
            call.errcode = fault.value if fault.effect == "errcode" else None
            return answer
        try:
            done = await self._route(request, body)
        except _Refusal as refusal:
            rid = "-".join(secrets.token_hex(4) for _ in range(3))
            done = {"errcode": refusal.code, "errmsg": f"{refusal.errmsg} rid: {rid}", **refusal.more}
        if isinstance(done, web.StreamResponse):
            return done
        call.errcode = done.get("errcode", 0)
        return await self._after(fault, request, done)

    async def _before(self, fault: Fault, request: web.Request) -> web.StreamResponse | None:
        match fault.effect:
            case "errcode":
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
                await asyncio.sleep(fault.value)
            case "expire_token":
                if held := self.tokens.get(request.query.get("access_token", "")):
                    held.expires_at = self.now()
        return None

    async def _after(self, fault: Fault | None, request: web.Request, done: dict[str, Any]) -> web.StreamResponse:
        effect = fault.effect if fault is not None else None
        if fault is not None and effect == "delay_after":
            await asyncio.sleep(fault.value)
        if effect == "close_after":
            _hang_up(request)
        if fault is not None and effect == "status_after":
            return web.Response(status=fault.value)
        if effect == "truncated":
            return web.Response(text=json.dumps(done)[: len(json.dumps(done)) // 2], content_type="application/json")
        return self._json({} if effect == "no_errcode" else done)

    def _json(self, value: dict[str, Any]) -> web.Response:
        kind = "text/plain" if self.rules.text_plain else "application/json; encoding=utf-8"
        return web.Response(body=json.dumps(value, ensure_ascii=False).encode(), headers={"Content-Type": kind})

    async def _body_of(self, request: web.Request) -> Any:
        if request.content_type == "multipart/form-data":
            return dict(await request.post())
        raw = await request.read()
        if not raw:
            return None
        try:
            return json.loads(raw)
        except ValueError:
            return raw.decode(errors="replace")

    async def _route(self, request: web.Request, body: Any) -> dict[str, Any] | web.StreamResponse:
        path = request.match_info["path"]
        if path == "token":
            return self._token(request)
        if path == "stable_token":
            return self._stable_token(request, body)
        self._check_token(request.query.get("access_token", ""))
        table: dict[tuple[str, str], Callable[[web.Request, Any], Awaitable[dict[str, Any] | web.StreamResponse]]] = {
            ("POST", "message/custom/send"): self._custom_send,
            ("POST", "message/mass/send"): self._mass_send,
            ("POST", "media/upload"): self._upload,
            ("GET", "media/get"): self._download,
            ("GET", "user/info"): self._user_info,
        }
        serve = table.get((request.method, path))
        if serve is None:
            raise _Refusal(43002 if any(known == path for _, known in table) else 40066, "invalid url")
        if request.method == "POST" and not isinstance(body, dict):
            raise _Refusal(44002 if body is None else 47001, "data format error")
        return await serve(request, body)

    # -- tokens

    def _token(self, request: web.Request) -> dict[str, Any]:
        self._check_credentials(request.query)
        self.counters["token"] += 1
        for held in self.tokens.values():
            if held.family == "token":  # a new one kills the old one, with five minutes of overlap
                held.expires_at = min(held.expires_at, self.now() + 300)
        return self._issue("token")

    def _stable_token(self, request: web.Request, body: Any) -> dict[str, Any]:
        if request.method != "POST":
            raise _Refusal(43002, "require POST method")
        if not isinstance(body, dict):
            raise _Refusal(47001, "data format error")
        self._check_credentials(body)
        self.counters["stable_token"] += 1
        now = self.now()
        if body.get("force_refresh"):
            self.counters["force_refresh"] += 1
            if self.counters["force_refresh"] > 20:
                raise _Refusal(45009, "reach max api daily quota limit")
            if now - self._forced_at < 30:
                raise _Refusal(45011, "api minute-quota reach limit")
            self._forced_at = now
            for held in self.tokens.values():
                if held.family == "stable":
                    held.expires_at = min(held.expires_at, now)
            return self._issue("stable")
        for token, held in self.tokens.items():
            if held.family == "stable" and held.expires_at - now > 300:
                return {"access_token": token, "expires_in": int(held.expires_at - now)}
        return self._issue("stable")

    def _issue(self, family: str) -> dict[str, Any]:
        token = f"{secrets.token_urlsafe(96)}-{len(self.tokens)}"
        self.tokens[token] = Token(self.now() + 7200, family)
        return {"access_token": token, "expires_in": 7200}

    def _check_credentials(self, given: Mapping[str, Any]) -> None:
        if given.get("grant_type") != "client_credential":
            raise _Refusal(40002, "invalid grant_type")
        if given.get("appid") != self.app_id:
            raise _Refusal(40013, "invalid appid")
        if given.get("secret") != self.secret:
            raise _Refusal(40125, "invalid appsecret")

    def _check_token(self, token: str) -> None:
        if not token:
            raise _Refusal(41001, "access_token missing")
        held = self.tokens.get(token)
        if held is None or token in self.revoked:
            raise _Refusal(self.rules.unknown_token_code, "invalid credential, access_token is invalid or not latest")
        if self.now() >= held.expires_at:
            raise _Refusal(42001, "access_token expired")

    # -- messages

    async def _custom_send(self, _: web.Request, body: dict[str, Any]) -> dict[str, Any]:
        person = self.followers.get(str(body.get("touser")))
        if person is None:
            raise _Refusal(40003, "invalid openid")
        kind = body.get("msgtype")
        content = body.get(str(kind))
        if kind not in {"text", "image", "msgmenu", "news", "voice"} or not isinstance(content, dict):
            raise _Refusal(40008, "invalid message type")
        self._check_content(str(kind), content)
        if not person.following:
            raise _Refusal(self.rules.unfollowed_code, "response out of time limit or subscription is canceled")
        if self.now() >= person.until:
            raise _Refusal(self.rules.window_closed_code, "response out of time limit or subscription is canceled")
        if person.left <= 0:
            raise _Refusal(45047, "out of response count limit")
        person.left -= 1
        person.inbox.append({"msgtype": kind, str(kind): content, "at": self.now()})
        return {"errcode": 0, "errmsg": "ok"}

    def _check_content(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "text":
            text = content.get("content")
            if not isinstance(text, str) or not text:
                raise _Refusal(44004, "empty content")
            if len(text.encode()) > self.rules.text_limit_bytes:
                raise _Refusal(45002, "content size out of limit")
        if kind == "image":
            self._check_media(str(content.get("media_id")))
        if kind == "news" and len(content.get("articles") or ()) != 1:
            raise _Refusal(45008, "article size out of limit")
        if kind == "msgmenu":
            choices = content.get("list")
            if not isinstance(choices, list) or not choices:
                raise _Refusal(44004, "empty menu")
            if any(not isinstance(one, dict) or not one.get("id") or not one.get("content") for one in choices):
                raise _Refusal(47001, "data format error")

    async def _mass_send(self, _: web.Request, body: dict[str, Any]) -> dict[str, Any]:
        openids = body.get("touser")
        if not isinstance(openids, list) or len(openids) < 2:
            raise _Refusal(40130, "invalid openid list size, at least two openid")
        if len(openids) > 10_000:
            raise _Refusal(40032, "invalid openid list size")
        number = str(
            body.get("clientmsgid") or hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:32]
        )
        if len(number.encode()) > 32:
            raise _Refusal(45067, "clientmsgid size out of limit")
        now = self.now()
        held = self.jobs.get(number)
        if held is not None and now - held.submitted_at < 24 * 3600:
            raise _Refusal(45065, "clientmsgid exist", msg_id=held.msg_id)
        month = datetime.fromtimestamp(now, UTC).astimezone(CHINA).strftime("%Y-%m")
        sent = []
        for openid in dict.fromkeys(str(one) for one in openids):
            person = self.followers.get(openid)
            if person is None or not person.following or person.mass_in_month.get(month, 0) >= 4:
                continue  # filtered silently
            person.mass_in_month[month] = person.mass_in_month.get(month, 0) + 1
            kind = str(body.get("msgtype"))
            person.inbox.append({"msgtype": kind, kind: body.get(kind), "at": now, "mass": number})
            sent.append(openid)
        self._numbers += 1
        self.jobs[number] = MassJob(self._numbers, number, [str(one) for one in openids], sent, now)
        return {"errcode": 0, "errmsg": "send job submission success", "msg_id": self._numbers}

    # -- pictures and residents

    async def _upload(self, request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
        part = body.get("media")
        kind = request.query.get("type")
        if kind != "image":
            raise _Refusal(40004, "invalid media type")
        if not isinstance(part, web.FileField):
            raise _Refusal(41005, "media data missing")
        data = part.file.read()
        if not data:
            raise _Refusal(44001, "empty media data")
        if len(data) > 2 * 1024 * 1024:
            raise _Refusal(40006, "invalid media size")
        content_type = next((name for start, name in _PICTURES.items() if data.startswith(start)), None)
        if content_type is None:
            raise _Refusal(40005, "invalid file type")
        return {"type": kind, "media_id": self.add_media(data, content_type), "created_at": int(self.now())}

    async def _download(self, request: web.Request, _: Any) -> web.StreamResponse:
        media_id = request.query.get("media_id", "")
        self._check_media(media_id)
        content_type, data, _created = self.media[media_id]
        headers = {"Content-Type": content_type, "Content-Disposition": f'attachment; filename="{media_id}.jpg"'}
        return web.Response(body=data, headers=headers)

    def _check_media(self, media_id: str) -> None:
        held = self.media.get(media_id)
        if held is None or self.now() - held[2] > 3 * 24 * 3600:
            raise _Refusal(40007, "invalid media_id")

    async def _user_info(self, request: web.Request, _: Any) -> dict[str, Any]:
        person = self.followers.get(request.query.get("openid", ""))
        if person is None:
            raise _Refusal(40003, "invalid openid")
        if not person.following:
            return {"subscribe": 0, "openid": person.openid}
        return {
            "subscribe": 1,
            "openid": person.openid,
            "nickname": "",
            "language": "zh_CN",
            "subscribe_time": int(self.now()),
            "remark": "",
            "groupid": 0,
            "tagid_list": [],
            "subscribe_scene": "ADD_SCENE_QR_CODE",
            "qr_scene": 0,
            "qr_scene_str": "",
        }

    # -- control from outside --------------------------------------------------------------------------------------

    async def _control(self, request: web.Request) -> web.Response:
        """`/_ctl/clock|inbound|fault|faults/clear|expire|journal|follower/{openid}`: what the methods above do."""
        what = request.match_info["what"]
        given: dict[str, Any] = await request.json() if request.can_read_body else {}
        match what.split("/"):
            case ["clock"]:
                self.advance(float(given.get("advance", 0)))
                return web.json_response({"now": self.now()})
            case ["inbound"]:
                self.inbound(given["openid"], given.get("trigger", "message"))
            case ["fault"]:
                self.faults.append(Fault(**given))
            case ["faults", "clear"]:
                self.faults.clear()
            case ["expire"]:
                self.expire_tokens()
            case ["journal"]:
                return web.json_response([asdict(call) for call in self.journal])
            case ["follower", openid]:
                return web.json_response(asdict(self.follower(openid)))
            case _:
                raise web.HTTPNotFound
        return web.json_response({"ok": True})


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _without_secrets(body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    return {
        name: "***" if name == "secret" else "<file>" if isinstance(value, web.FileField) else value
        for name, value in body.items()
    }


async def _serve(arguments: argparse.Namespace) -> None:
    async with FakeWeChat(app_id=arguments.app_id, secret=arguments.secret, port=arguments.port) as wechat:
        sys.stdout.write(f"{wechat.url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.fakes.wechat", description="A WeChat to try the program against"
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--app-id", default="wx0000000000000001")
    parser.add_argument("--secret", default="s3cr3t-of-the-account")
    try:
        asyncio.run(_serve(parser.parse_args()))
    except KeyboardInterrupt:
        sys.exit(0)

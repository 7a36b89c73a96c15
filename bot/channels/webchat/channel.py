"""The web chat as a channel: its routes, who may use them, and the stream of what is new."""

import asyncio
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import structlog
from aiohttp import BodyPartReader, hdrs, web

from bot import clock
from bot.channels.base import Failure, Feed, Picture, SendError, Sent
from bot.channels.metrics import UNSTORED_MESSAGES
from bot.channels.webchat.cookie import KEPT, VisitorCookie
from bot.channels.webchat.desk import Connection, Line, Moved, PictureRefusedError, Visit, VisitorDesk
from bot.channels.webchat.limits import Limit
from bot.channels.webchat.page import TEXT_MOST, Look, Page
from bot.checks import Check, Words
from bot.config import WebChatSettings
from bot.message import PICTURE_LIMIT_BYTES, Event, EventKind, Message, MessageKind, Reply
from bot.reach import Rules

# What a person never reaches and a program quickly does. Many people share one address behind a carrier's NAT.
MESSAGES_PER_MINUTE = 30
URGENT_PER_MINUTE = 30  # on top, for who is in danger now
PICTURES_PER_MINUTE = 12
PER_ADDRESS_PER_MINUTE = 600
CONSENTS_PER_ADDRESS_PER_MINUTE = 60

PAGE_LINES = 50
STREAM_LINES = 200  # more than OVERLAP, so that each look gets on
OVERLAP = 50  # numbers are given before a commit: one that is a little lower may appear a little later
STREAMS_MOST = 4  # per visitor; a browser has six connections to us in all, and needs some to send
HEARTBEAT_SECONDS = 20.0  # proxies and telephones drop what is silent for longer
FORM_WAIT_SECONDS = 3.0  # a form without script comes back with the answer, if it is quick

_KEY = re.compile(r"[A-Za-z0-9_-]{8,64}")
_CODE_CHARACTERS = 40
_DELETE_WORDS = {"zh": ("删除我的信息", "确认删除"), "en": ("delete my data", "confirm delete")}
_POLICY = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

_log = structlog.get_logger(__name__)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _RefusedError(Exception):
    """The request gets this status and the sentence called `key`."""

    def __init__(self, status: int, key: str, *, after: int = 0, draft: str = "", **values: object) -> None:
        super().__init__(key)
        self.status, self.key, self.after, self.draft, self.values = status, key, after, draft, values


@dataclass(frozen=True, slots=True)
class _Sent:
    """What came with a POST: the id its page gave it, the words, and whether a script or a bare form sent it."""

    key: str
    text: str
    by_script: bool
    fields: dict[str, str]


class _Stream:
    """One open page that is told what is new."""

    def __init__(self) -> None:
        self.ended = ""  # an event to end with, or "stop"
        self._typing = False
        self._woken = asyncio.Event()

    def wake(self, moved: Moved) -> None:
        if moved is Moved.TYPING:
            self._typing = True
        self._woken.set()

    def end(self, how: str) -> None:
        self.ended = how
        self._woken.set()

    async def wait(self, seconds: float) -> bool:
        """Whether something moved within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True

    def take_typing(self) -> bool:
        typing, self._typing = self._typing, False
        return typing


class WebChat:
    """The channel of residents who come with a browser. The stored row is the delivery: open pages show it at once."""

    kind = "webchat"
    rules = Rules()  # no platform stands between

    def __init__(
        self,
        settings: WebChatSettings,
        *,
        feed: Feed,
        visitors: VisitorDesk,
        signing_key: bytes,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self.name = settings.name
        self._feed, self._desk = feed, visitors
        self._cookie = VisitorCookie(settings.name, signing_key)
        self._page = Page(visitors.station)
        self._heartbeat_seconds = heartbeat_seconds
        self._streams: defaultdict[str, list[_Stream]] = defaultdict(list)
        self._stopping = False
        self._messages = Limit(MESSAGES_PER_MINUTE)
        self._urgent = Limit(URGENT_PER_MINUTE)
        self._pictures = Limit(PICTURES_PER_MINUTE)
        self._addresses = Limit(PER_ADDRESS_PER_MINUTE)
        self._consents = Limit(CONSENTS_PER_ADDRESS_PER_MINUTE)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/chat", self._guarded(self._show)),
            web.get("/chat/static/{name}", self._static),
            web.post("/chat/consent", self._guarded(self._consent)),
            web.get("/chat/history", self._guarded(self._history)),
            web.get("/chat/live", self._guarded(self._live), allow_head=False),
            web.post("/chat/messages", self._guarded(self._receive)),
            web.post("/chat/pictures", self._guarded(self._receive_picture)),
            web.get("/chat/media/{number:[0-9]{1,18}}", self._guarded(self._media)),
            web.post("/chat/forget", self._guarded(self._forget)),
        ]

    # -- out -------------------------------------------------------------------------------------------------------

    async def send(self, address: str, reply: Reply, *, delivery_id: int) -> Sent:
        """The row is there already, so there is nothing to carry; only a visitor nobody knows cannot have it."""
        if not await self._desk.knows(address):
            raise SendError(Failure.REFUSED, "no_visitor", "这位网页访客已不存在，无法送达。")
        return Sent()

    async def fetch_picture(self, media: str) -> Picture:
        """Pictures come with their message here; nothing waits elsewhere."""
        raise SendError(Failure.REFUSED, "no_picture", "网页渠道的图片随消息一起保存，没有可取的图片。")

    async def check(self) -> Sequence[Check]:
        """No platform stands between; residents only have to find the page."""
        name, host = Words("对外网址", "public address"), self._desk.station.public_host
        if host:
            return [Check(name, True, Words(host, host))]
        remedy = Words(
            "请在设置里填写 server.public_url，二维码和联系卡才能用。",
            "set server.public_url, so that QR codes lead somewhere",
        )
        return [Check(name, False, Words("没有填写", "not set"), remedy)]

    async def end_streams(self, _app: web.Application) -> None:
        """Let open pages go, so that the program stops at once; they come back by themselves."""
        self._stopping = True
        for streams in self._streams.values():
            for stream in streams:
                stream.end("stop")

    async def close(self) -> None:
        """Nothing is held outside."""

    # -- pages -----------------------------------------------------------------------------------------------------

    async def _show(self, request: web.Request) -> web.Response:
        chosen = self._choose_look(request)
        if chosen is not None:
            return chosen
        visitor = self._visitor(request)
        before = _number(request.query.get("before", ""))
        visit = await self._desk.visit(visitor, before=before, most=PAGE_LINES) if visitor else Visit()
        look = self._look(request, visit)
        code = request.query.get("c", "")[:_CODE_CHARACTERS]
        community = await self._desk.community(code) if code else ""
        if visitor is None or not visit.consented:
            html = self._page.consent(
                look,
                code=code if community else "",
                community=community,
                declined="declined" in request.query,
                deleted=visit.known,
            )
            response = _html(html)
            if self._cookie.name in request.cookies:
                response.del_cookie(self._cookie.name, path="/chat")  # forged, lost or deleted: begin anew
            return response
        join = (code, community) if community and community != visit.community else None
        html = self._page.chat(visit, look, nonce=self._cookie.new_visitor(), older=before is not None, join=join)
        response = _html(html)
        self._set_cookie(request, response, visitor)  # a year from the last visit
        return response

    async def _static(self, request: web.Request) -> web.Response:
        file = self._page.static.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        newest = request.query.get("v") == file.version
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable" if newest else "no-cache",
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
            "X-Content-Type-Options": "nosniff",
        }
        return web.Response(body=file.body, content_type=file.content_type, charset="utf-8", headers=headers)

    def _choose_look(self, request: web.Request) -> web.Response | None:
        """Large type or the language was chosen by a button that works without script."""
        wanted = {
            "chat_size": (request.query.get("size"), ("large", "normal")),
            "chat_language": (request.query.get("lang"), ("zh", "en")),
        }
        chosen = {name: value for name, (value, allowed) in wanted.items() if value in allowed}
        if not chosen:
            return None
        code = request.query.get("c", "")
        response = _redirect("/chat" if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", code) else f"/chat?c={code}")
        for name, value in chosen.items():
            response.set_cookie(
                name,
                str(value),
                path="/chat",
                max_age=int(KEPT.total_seconds()),
                samesite="Lax",
                secure=self._connection(request).https,
            )
        return response

    def _look(self, request: web.Request, visit: Visit | None = None) -> Look:
        size = request.cookies.get("chat_size", "")
        language = request.cookies.get("chat_language", "")
        return Look(
            language="en" if language == "en" else "zh",
            large=size == "large" or (size != "normal" and visit is not None and visit.large_type),
        )

    # -- consent and deletion --------------------------------------------------------------------------------------

    async def _consent(self, request: web.Request) -> web.StreamResponse:
        self._check_same_origin(request)
        form = await _form(request)
        code = form.get("c", "")[:_CODE_CHARACTERS]
        if form.get("agree") != "yes":
            raise _RefusedError(400, "not_consented")
        self._check_limit(self._consents, self._connection(request).ip, "too_many")
        visitor = self._visitor(request)
        visit = await self._desk.visit(visitor) if visitor else Visit()
        if visitor is None or not visit.consented:
            visitor = self._cookie.new_visitor()  # who had everything deleted is somebody new
            await self._desk.consent(visitor, language=self._look(request).language)
            await self._say(visitor, f"consent:{visitor}", event=Event(EventKind.SUBSCRIBE, code, "consent"))
        elif code:
            await self._say(visitor, f"scan:{self._cookie.new_visitor()}", event=Event(EventKind.SCAN, code, "join"))
        response = _redirect("/chat")
        self._set_cookie(request, response, visitor)
        return response

    async def _forget(self, request: web.Request) -> web.StreamResponse:
        """The same dialogue as in the chat: it asks first, and says why not while an officer is busy with a matter."""
        visitor, _ = await self._access(request)
        sent = await self._read(request)
        self._check_limit(self._messages, visitor, "too_fast")
        ask, confirm = _DELETE_WORDS[self._look(request).language]
        return await self._take(visitor, replace(sent, text=confirm if sent.fields.get("confirm") == "yes" else ask))

    # -- messages --------------------------------------------------------------------------------------------------

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        visitor, _ = await self._access(request)
        sent = await self._read(request)
        if not sent.text.strip():
            raise _RefusedError(422, "nothing_written")
        if len(sent.text) > TEXT_MOST:
            raise _RefusedError(422, "too_long", most=TEXT_MOST, now=len(sent.text), draft=sent.text)
        self._check_hurry(visitor, self._connection(request), sent.text)
        return await self._take(visitor, sent)

    async def _take(self, visitor: str, sent: _Sent) -> web.StreamResponse:
        """Store the words and answer; to a script at once, to a form when the reply is there."""
        key = sent.key
        if not sent.by_script:  # the page of a form may be sent twice, or again with other words
            key = f"{key}-{hashlib.sha256(sent.text.encode()).hexdigest()[:16]}"
        await self._say(visitor, key, text=sent.text, wait_seconds=0 if sent.by_script else FORM_WAIT_SECONDS)
        return _json({"id": sent.key, "state": "sent"}) if sent.by_script else _redirect("/chat")

    async def _receive_picture(self, request: web.Request) -> web.StreamResponse:
        visitor, _ = await self._access(request)
        by_script = "application/json" in request.headers.get(hdrs.ACCEPT, "")
        key, data = await _picture_of(request)
        if not by_script:
            key = f"{key}-{hashlib.sha256(data).hexdigest()[:16]}"
        self._check_limit(self._addresses, self._connection(request).ip, "too_many")
        self._check_limit(self._pictures, visitor, "too_fast")
        if not await self._desk.has(visitor, key):
            try:
                number = await self._desk.keep_picture(visitor, data)
            except PictureRefusedError:
                raise _RefusedError(422, "picture_refused") from None
            await self._say(visitor, key, picture=number, wait_seconds=0 if by_script else FORM_WAIT_SECONDS)
        return _json({"id": key, "state": "sent"}) if by_script else _redirect("/chat")

    async def _say(
        self,
        visitor: str,
        key: str,
        *,
        text: str = "",
        event: Event | None = None,
        picture: int | None = None,
        wait_seconds: float = FORM_WAIT_SECONDS,
    ) -> None:
        """Feed one message. What is waited for is confirmed at once: its row is its delivery."""
        kind = MessageKind.EVENT if event else MessageKind.IMAGE if picture else MessageKind.TEXT
        message = Message(
            channel=self.name,
            sender=visitor,
            platform_id=key,
            kind=kind,
            sent_at=clock.now(),
            text=text,
            media=str(picture) if picture else "",
            event=event,
        )
        try:
            answer = await self._feed(message, wait_seconds=wait_seconds)
        except Exception as error:
            UNSTORED_MESSAGES.labels(self.name).inc()
            _log.error("message not stored", channel=self.name, error=type(error).__name__)
            raise _RefusedError(503, "not_stored", after=5, draft=text) from None
        if answer is not None:
            answer.confirm()

    async def _media(self, request: web.Request) -> web.Response:
        visitor, _ = await self._access(request)
        try:
            picture = await self._desk.picture(visitor, int(request.match_info["number"]))
        except LookupError:
            raise web.HTTPNotFound from None
        headers = _HEADERS | {
            "Cache-Control": "private, max-age=86400, immutable",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        return web.Response(body=picture.data, content_type=picture.content_type, headers=headers)

    # -- what is new -----------------------------------------------------------------------------------------------

    async def _history(self, request: web.Request) -> web.Response:
        """Lines after or before a number, for a page that was away or reads on."""
        after, before = _number(request.query.get("after", "")), _number(request.query.get("before", ""))
        _, visit = await self._access(request, after=after, before=before, most=PAGE_LINES)
        look = self._look(request, visit)
        return _json(
            {
                "lines": [self._item(line, look) for line in visit.lines],
                "earlier": visit.earlier,
                **self._state(visit, look),
            }
        )

    def _item(self, line: Line, look: Look) -> dict[str, Any]:
        return {"id": line.id, "author": line.author.value, "key": line.key, "html": self._page.line(line, look)}

    def _state(self, visit: Visit, look: Look) -> dict[str, Any]:
        return {"owner": self._page.owner(visit, look), "waiting": visit.waiting}

    async def _live(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events until the page goes away; `Last-Event-ID` or `after` says what it has already."""
        visitor = self._visitor(request)
        visit = await self._desk.visit(visitor) if visitor else Visit()
        if visitor is None or not visit.known:
            raise _RefusedError(403, "not_consented")
        response = web.StreamResponse(headers=_HEADERS | {"X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
        stream = _Stream()
        streams = self._streams[visitor]
        streams.append(stream)
        if len(streams) > STREAMS_MOST:
            streams[0].end("elsewhere")
        if self._stopping:
            stream.end("stop")
        try:
            await response.prepare(request)
            if not visit.consented:
                await _write(response, "forgotten", {})
                return response
            async with self._desk.watch(visitor, stream.wake):
                await self._tell(request, response, visitor, stream)
        except (ConnectionError, LookupError):
            pass  # the page went away; or all was deleted between two looks, which the next connection says
        finally:
            streams.remove(stream)
            if not streams:
                self._streams.pop(visitor, None)
        return response

    async def _tell(self, request: web.Request, response: web.StreamResponse, visitor: str, stream: _Stream) -> None:
        await response.write(b"retry: 2000\n\n")
        look = self._look(request)
        latest = _number(request.headers.get("Last-Event-ID", "")) or _number(request.query.get("after", ""))
        told: set[int] = set()
        state: dict[str, Any] = {}
        if latest is None:  # a stranger to the page: only what comes from now on
            visit = await self._desk.visit(visitor, most=OVERLAP)
            told = {line.id for line in visit.lines}
            latest = max(told, default=0)
        while not stream.ended:
            visit = await self._desk.visit(visitor, after=max(0, latest - OVERLAP), most=STREAM_LINES)
            if not visit.consented:
                await _write(response, "forgotten", {})
                return
            if state != (state := self._state(visit, look)):
                await _write(response, "state", state)
            for line in visit.lines:
                if line.id not in told:
                    await _write(response, "line", self._item(line, look), number=line.id)
                latest = max(latest, line.id)
            told = {line.id for line in visit.lines}
            if len(visit.lines) == STREAM_LINES:
                continue
            while not await stream.wait(self._heartbeat_seconds):
                await response.write(b": still here\n\n")
            if stream.take_typing():
                await _write(response, "typing", {})
        if stream.ended != "stop":
            await _write(response, stream.ended, {})

    # -- who may -----------------------------------------------------------------------------------------------------

    def _visitor(self, request: web.Request) -> str | None:
        return self._cookie.visitor(request.cookies.get(self._cookie.name, ""))

    async def _access(
        self, request: web.Request, *, after: int | None = None, before: int | None = None, most: int = 0
    ) -> tuple[str, Visit]:
        """The visitor of this request, if he consented and it comes from our own page."""
        if request.method == hdrs.METH_POST:
            self._check_same_origin(request)
        visitor = self._visitor(request)
        visit = await self._desk.visit(visitor, after=after, before=before, most=most) if visitor else Visit()
        if visitor is None or not visit.consented:
            raise _RefusedError(403, "not_consented")
        return visitor, visit

    def _check_same_origin(self, request: web.Request) -> None:
        """Another site can make a browser post here. Browsers say where it comes from; where nothing is said: no."""
        fetch_site = request.headers.get("Sec-Fetch-Site")
        if fetch_site is not None:
            if fetch_site == "same-origin":
                return
            raise _RefusedError(403, "foreign")
        origin = request.headers.get(hdrs.ORIGIN) or request.headers.get(hdrs.REFERER, "")
        host = urlsplit(origin).netloc
        if not host or host not in {request.host, self._desk.station.public_host}:
            raise _RefusedError(403, "foreign")

    def _check_hurry(self, visitor: str, connection: Connection, text: str) -> None:
        """Who is in danger now is not held up by what he, or somebody at the same address, wrote before."""
        seconds = self._addresses.take(connection.ip, clock.now()) or self._messages.take(visitor, clock.now())
        if not seconds:
            return
        if self._desk.is_urgent(text) and not self._urgent.take(visitor, clock.now()):
            return
        raise _RefusedError(429, "too_fast", after=seconds, seconds=seconds, draft=text)

    def _check_limit(self, limit: Limit, key: str, sentence: str) -> None:
        seconds = limit.take(key, clock.now())
        if seconds:
            raise _RefusedError(429, sentence, after=seconds, seconds=seconds)

    def _connection(self, request: web.Request) -> Connection:
        return self._desk.connection(
            request.remote or "",
            request.scheme,
            ",".join(request.headers.getall("X-Forwarded-For", [])),
            ",".join(request.headers.getall("X-Forwarded-Proto", [])),
        )

    def _set_cookie(self, request: web.Request, response: web.Response, visitor: str) -> None:
        response.set_cookie(
            self._cookie.name,
            self._cookie.value(visitor),
            path="/chat",
            max_age=int(KEPT.total_seconds()),
            httponly=True,
            samesite="Lax",
            secure=self._connection(request).https,
        )

    # -- in and out of HTTP ------------------------------------------------------------------------------------------

    def _guarded(self, handler: _Handler) -> _Handler:
        """A refusal becomes a sentence: JSON for the script, a page for a form."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except _RefusedError as refusal:
                return await self._refuse(request, refusal)

        return handle

    async def _refuse(self, request: web.Request, refusal: _RefusedError) -> web.Response:
        look = self._look(request)
        sentence = self._page.text(refusal.key, look.language, **refusal.values)
        headers = {"Retry-After": str(refusal.after)} if refusal.after else {}
        if not _is_form(request):
            return _json({"error": sentence}, status=refusal.status, headers=headers)
        visitor = self._visitor(request)
        visit = await self._desk.visit(visitor, most=PAGE_LINES) if visitor else Visit()
        if not visit.consented:
            html = self._page.consent(look, code="", community="", error=sentence)
        else:
            look = self._look(request, visit)
            nonce = self._cookie.new_visitor()
            html = self._page.chat(visit, look, nonce=nonce, older=False, error=sentence, draft=refusal.draft)
        return _html(html, status=refusal.status, headers=headers)

    async def _read(self, request: web.Request) -> _Sent:
        """The id and the words of a POST, from JSON or from a form."""
        by_script = request.content_type == "application/json"
        fields = await _json_fields(request) if by_script else await _form(request)
        key = fields.get("id", "")
        if not _KEY.fullmatch(key):
            raise _RefusedError(400, "bad_request")
        text = fields.get("choice") or fields.get("text", "")
        return _Sent(key, _clean(text), by_script, fields)


def _clean(text: str) -> str:
    """Forms write line ends in their own way, and JSON can carry halves of characters that no database takes."""
    return text.replace("\r\n", "\n").encode("utf-8", "replace").decode().replace("\0", "")


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _is_form(request: web.Request) -> bool:
    """Whether a person waits for a page rather than a script for JSON."""
    if "application/json" in request.headers.get(hdrs.ACCEPT, "") or request.content_type == "application/json":
        return False
    return request.method == hdrs.METH_POST


async def _json_fields(request: web.Request) -> dict[str, str]:
    try:
        loaded = json.loads(await request.read())
    except (ValueError, RecursionError):
        raise _RefusedError(400, "bad_request") from None
    if not isinstance(loaded, dict):
        raise _RefusedError(400, "bad_request")
    fields = {name: "yes" if value is True else value for name, value in loaded.items()}
    return {name: value for name, value in fields.items() if isinstance(value, str)}


async def _form(request: web.Request) -> dict[str, str]:
    if request.content_type != "application/x-www-form-urlencoded":
        raise _RefusedError(415, "bad_request")
    try:
        form = await request.post()
    except ValueError:
        raise _RefusedError(400, "bad_request") from None
    return {name: value for name, value in form.items() if isinstance(value, str)}


async def _picture_of(request: web.Request) -> tuple[str, bytes]:
    """The id and the bytes of an upload; reading stops where it gets too large."""
    if request.content_type != "multipart/form-data":
        raise _RefusedError(415, "bad_request")
    key, data = "", b""
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                continue
            content = bytearray()
            while chunk := await part.read_chunk(64 * 1024):
                content += chunk
                if len(content) > PICTURE_LIMIT_BYTES:
                    raise _RefusedError(413, "picture_too_large")
            if part.name == "id":
                key = content.decode("ascii", "replace")
            elif part.name == "picture":
                data = bytes(content)
    except (ValueError, EOFError, web.RequestPayloadError):
        raise _RefusedError(400, "bad_request") from None
    if not _KEY.fullmatch(key):
        raise _RefusedError(400, "bad_request")
    if not data:
        raise _RefusedError(422, "no_picture")
    return key, data


async def _write(response: web.StreamResponse, event: str, data: dict[str, Any], *, number: int | None = None) -> None:
    words = json.dumps(data, ensure_ascii=False)
    line = f"id: {number}\n" if number is not None else ""
    await response.write(f"event: {event}\n{line}data: {words}\n\n".encode())


def _html(html: str, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(text=html, status=status, content_type="text/html", headers=_HEADERS | (headers or {}))


def _json(data: dict[str, Any], *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    words = json.dumps(data, ensure_ascii=False)
    return web.Response(text=words, status=status, content_type="application/json", headers=_HEADERS | (headers or {}))


def _redirect(path: str) -> web.Response:
    return web.Response(status=303, headers=_HEADERS | {"Location": path})

"""The web chat as a channel: its routes, who may use them, and the stream of what is new."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import structlog
from aiohttp import hdrs, web

from bot import clock
from bot.channels.base import Failure, Feed, Picture, SendError, Sent
from bot.channels.metrics import UNSTORED_MESSAGES
from bot.channels.webchat.answers import HEADERS, html_page, json_answer, redirect
from bot.channels.webchat.cookie import KEPT, VisitorCookie
from bot.channels.webchat.desk import Connection, Line, PictureRefusedError, Visit, VisitorDesk
from bot.channels.webchat.limits import Limit
from bot.channels.webchat.page import TEXT_MOST, Look, Page
from bot.channels.webchat.posts import Posted, RefusedError, form_fields, is_form, number_of, posted, posted_picture
from bot.channels.webchat.streams import Stream, write_event
from bot.checks import Check, Words
from bot.config import WebChatSettings
from bot.message import CONSENT_EVENT, Event, EventKind, Message, MessageKind, Reply
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

_CODE_CHARACTERS = 40
_DELETE_WORDS = {"zh": ("删除我的信息", "确认删除"), "en": ("delete my data", "confirm delete")}
_log = structlog.get_logger(__name__)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


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
        self._streams: defaultdict[str, list[Stream]] = defaultdict(list)
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
        before = number_of(request.query.get("before", ""))
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
            response = html_page(html)
            if self._cookie.name in request.cookies:
                response.del_cookie(self._cookie.name, path="/chat")  # forged, lost or deleted: begin anew
            return response
        join = (code, community) if community and community != visit.community else None
        html = self._page.chat(visit, look, nonce=self._cookie.new_visitor(), older=before is not None, join=join)
        response = html_page(html)
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
        response = redirect("/chat" if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", code) else f"/chat?c={code}")
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
        form = await form_fields(request)
        code = form.get("c", "")[:_CODE_CHARACTERS]
        if form.get("agree") != "yes":
            raise RefusedError(400, "not_consented")
        self._check_limit(self._consents, self._connection(request).ip, "too_many")
        visitor = self._visitor(request)
        visit = await self._desk.visit(visitor) if visitor else Visit()
        if visitor is None or not visit.consented:
            visitor = self._cookie.new_visitor()  # who had everything deleted is somebody new
            await self._desk.consent(visitor, language=self._look(request).language)
            await self._say(visitor, f"consent:{visitor}", event=Event(EventKind.SUBSCRIBE, code, CONSENT_EVENT))
        elif code:
            await self._say(visitor, f"scan:{self._cookie.new_visitor()}", event=Event(EventKind.SCAN, code, "join"))
        response = redirect("/chat")
        self._set_cookie(request, response, visitor)
        return response

    async def _forget(self, request: web.Request) -> web.StreamResponse:
        """The same dialogue as in the chat: it asks first, and says why not while a matter is open."""
        visitor, _ = await self._access(request)
        sent = await posted(request)
        self._check_limit(self._messages, visitor, "too_fast")
        ask, confirm = _DELETE_WORDS[self._look(request).language]
        return await self._take(visitor, replace(sent, text=confirm if sent.fields.get("confirm") == "yes" else ask))

    # -- messages --------------------------------------------------------------------------------------------------

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        visitor, _ = await self._access(request)
        sent = await posted(request)
        if not sent.text.strip():
            raise RefusedError(422, "nothing_written")
        if len(sent.text) > TEXT_MOST:
            raise RefusedError(422, "too_long", most=TEXT_MOST, now=len(sent.text), draft=sent.text)
        self._check_hurry(visitor, self._connection(request), sent.text)
        return await self._take(visitor, sent)

    async def _take(self, visitor: str, sent: Posted) -> web.StreamResponse:
        """Store the words and answer; to a script at once, to a form when the reply is there."""
        key = sent.key
        if not sent.by_script:  # the page of a form may be sent twice, or again with other words
            key = f"{key}-{hashlib.sha256(sent.text.encode()).hexdigest()[:16]}"
        await self._say(visitor, key, text=sent.text, wait_seconds=0 if sent.by_script else FORM_WAIT_SECONDS)
        return json_answer({"id": sent.key, "state": "sent"}) if sent.by_script else redirect("/chat")

    async def _receive_picture(self, request: web.Request) -> web.StreamResponse:
        visitor, _ = await self._access(request)
        by_script = "application/json" in request.headers.get(hdrs.ACCEPT, "")
        key, data = await posted_picture(request)
        if not by_script:
            key = f"{key}-{hashlib.sha256(data).hexdigest()[:16]}"
        self._check_limit(self._addresses, self._connection(request).ip, "too_many")
        self._check_limit(self._pictures, visitor, "too_fast")
        if not await self._desk.has(visitor, key):
            try:
                number = await self._desk.keep_picture(visitor, data)
            except PictureRefusedError:
                raise RefusedError(422, "picture_refused") from None
            await self._say(visitor, key, picture=number, wait_seconds=0 if by_script else FORM_WAIT_SECONDS)
        return json_answer({"id": key, "state": "sent"}) if by_script else redirect("/chat")

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
            raise RefusedError(503, "not_stored", after=5, draft=text) from None
        if answer is not None:
            answer.confirm()

    async def _media(self, request: web.Request) -> web.Response:
        visitor, _ = await self._access(request)
        try:
            picture = await self._desk.picture(visitor, int(request.match_info["number"]))
        except LookupError:
            raise web.HTTPNotFound from None
        headers = HEADERS | {
            "Cache-Control": "private, max-age=86400, immutable",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        return web.Response(body=picture.data, content_type=picture.content_type, headers=headers)

    # -- what is new -----------------------------------------------------------------------------------------------

    async def _history(self, request: web.Request) -> web.Response:
        """Lines after or before a number, for a page that was away or reads on."""
        after, before = number_of(request.query.get("after", "")), number_of(request.query.get("before", ""))
        _, visit = await self._access(request, after=after, before=before, most=PAGE_LINES)
        look = self._look(request, visit)
        return json_answer(
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
            raise RefusedError(403, "not_consented")
        response = web.StreamResponse(headers=HEADERS | {"X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
        stream = Stream()
        streams = self._streams[visitor]
        streams.append(stream)
        if len(streams) > STREAMS_MOST:
            streams[0].end("elsewhere")
        if self._stopping:
            stream.end("stop")
        try:
            await response.prepare(request)
            if not visit.consented:
                await write_event(response, "forgotten", {})
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

    async def _tell(self, request: web.Request, response: web.StreamResponse, visitor: str, stream: Stream) -> None:
        await response.write(b"retry: 2000\n\n")
        look = self._look(request)
        latest = number_of(request.headers.get("Last-Event-ID", "")) or number_of(request.query.get("after", ""))
        told: set[int] = set()
        state: dict[str, Any] = {}
        if latest is None:  # a stranger to the page: only what comes from now on
            visit = await self._desk.visit(visitor, most=OVERLAP)
            told = {line.id for line in visit.lines}
            latest = max(told, default=0)
        while not stream.ended:
            visit = await self._desk.visit(visitor, after=max(0, latest - OVERLAP), most=STREAM_LINES)
            if not visit.consented:
                await write_event(response, "forgotten", {})
                return
            if state != (state := self._state(visit, look)):
                await write_event(response, "state", state)
            for line in visit.lines:
                if line.id not in told:
                    await write_event(response, "line", self._item(line, look), number=line.id)
                latest = max(latest, line.id)
            told = {line.id for line in visit.lines}
            if len(visit.lines) == STREAM_LINES:
                continue
            while not await stream.wait(self._heartbeat_seconds):
                await response.write(b": still here\n\n")
            if stream.take_typing():
                await write_event(response, "typing", {})
        if stream.ended != "stop":
            await write_event(response, stream.ended, {})

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
            raise RefusedError(403, "not_consented")
        return visitor, visit

    def _check_same_origin(self, request: web.Request) -> None:
        """Another site can make a browser post here. Browsers say where it comes from; where nothing is said: no."""
        fetch_site = request.headers.get("Sec-Fetch-Site")
        if fetch_site is not None:
            if fetch_site == "same-origin":
                return
            raise RefusedError(403, "foreign")
        origin = request.headers.get(hdrs.ORIGIN) or request.headers.get(hdrs.REFERER, "")
        host = urlsplit(origin).netloc
        if not host or host not in {request.host, self._desk.station.public_host}:
            raise RefusedError(403, "foreign")

    def _check_hurry(self, visitor: str, connection: Connection, text: str) -> None:
        """Who is in danger now is not held up by what he, or somebody at the same address, wrote before."""
        seconds = self._addresses.take(connection.ip, clock.now()) or self._messages.take(visitor, clock.now())
        if not seconds:
            return
        if self._desk.is_urgent(text) and not self._urgent.take(visitor, clock.now()):
            return
        raise RefusedError(429, "too_fast", after=seconds, seconds=seconds, draft=text)

    def _check_limit(self, limit: Limit, key: str, sentence: str) -> None:
        seconds = limit.take(key, clock.now())
        if seconds:
            raise RefusedError(429, sentence, after=seconds, seconds=seconds)

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
            except RefusedError as refusal:
                return await self._refuse(request, refusal)

        return handle

    async def _refuse(self, request: web.Request, refusal: RefusedError) -> web.Response:
        look = self._look(request)
        sentence = self._page.text(refusal.key, look.language, **refusal.values)
        headers = {"Retry-After": str(refusal.after)} if refusal.after else {}
        if not is_form(request):
            return json_answer({"error": sentence}, status=refusal.status, headers=headers)
        visitor = self._visitor(request)
        visit = await self._desk.visit(visitor, most=PAGE_LINES) if visitor else Visit()
        if not visit.consented:
            html = self._page.consent(look, code="", community="", error=sentence)
        else:
            look = self._look(request, visit)
            nonce = self._cookie.new_visitor()
            html = self._page.chat(visit, look, nonce=nonce, older=False, error=sentence, draft=refusal.draft)
        return html_page(html, status=refusal.status, headers=headers)

"""微信客服: the platform calls to wake us, we fetch what residents wrote, and send within their 48 hours."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import structlog
from aiohttp import web

from bot import clock
from bot.channels.base import (
    Failure,
    Follower,
    NowOrNever,
    Picture,
    PictureStore,
    SendError,
    Sent,
    Stream,
    TokenStore,
    Unanswered,
)
from bot.channels.callback import BODY_SECONDS, callback_routes, read_body, refused, taken
from bot.channels.kf_messages import TEXT_LIMIT_BYTES, Page, Part, number_of, page_of, parts
from bot.channels.metrics import UNKNOWN_MESSAGES, UNSTORED_MESSAGES
from bot.channels.platform_api import TOTAL_SECONDS
from bot.channels.platform_checks import check_api
from bot.channels.platform_errors import CREDENTIAL_CODES
from bot.channels.uploads import Uploads
from bot.channels.wechat_envelope import RefusedError, WeComEnvelope
from bot.channels.wecom_api import WeComApi
from bot.checks import Check, Words
from bot.config import KfSettings
from bot.message import CODE_LASTS, EventKind, MessageKind, Reply
from bot.parts import parts_of
from bot.reach import Rules

_ACCOUNT = Words("客服账号", "the account")
_CALLBACK = Words("平台回调", "callback")
_ACCOUNT_REMEDY = "hand the account to the app in WeCom's console: 微信客服, API"
_PAGE_ROWS = 100  # a thousand are allowed; forwarded conversations are long and an answer may have 1 MiB
AGAIN_SECONDS = (1.0, 5.0, 15.0)  # after a fetch that failed; later the clock's tick tries again
_STALE_TOKEN = "95007"  # noqa: S105 (an error code) the callback's token is over; the cursor alone is enough
_SESSION_CODES = {"95013", "95018"}  # ended, or somebody serves him in the client
_FORBIDDEN_MOVE = "95016"
_CANNOT_SERVE = {"95014", "95019", "60030"}  # no servicer or not active, has stopped, not visible to the app
_MEDIA_CODES = {"40007", "40008", "40145"}
_POOL, _SERVED = 2, 3  # states of a session; 0 new, 1 with us, 4 ended
_SERVED_REASON = "这位居民正由接待人员在企业微信里接待，这里发不出。请在企业微信里回复，或请接待人员先结束会话。"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Session:
    """A resident's session at the platform."""

    state: int
    servicer: str

    @property
    def served_by(self) -> str | None:
        """As in bot.message.SessionMoved."""
        return self.servicer if self.state == _SERVED else "" if self.state == _POOL else None


class Kf:
    """The channel for one 微信客服 account."""

    kind = "kf"
    rules = Rules(windowed=True, repeatable=True, part_bytes=TEXT_LIMIT_BYTES)
    verified = True

    def __init__(
        self,
        settings: KfSettings,
        *,
        stream: Stream,
        tokens: TokenStore,
        pictures: PictureStore,
        body_seconds: float = BODY_SECONDS,
        call_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self.name = settings.name
        self._account = settings.open_kfid
        self._servicers = settings.servicers
        self._app = settings.app  # the channel whose callback wakes us; "": our own
        self._stream = stream
        self._body_seconds = body_seconds
        self._envelope = WeComEnvelope.of(settings, settings.corp_id)
        self._api = WeComApi(
            channel=settings.app or settings.name,
            corp_id=settings.corp_id,
            secret=settings.secret,
            api_base=settings.api_base,
            tokens=tokens,
            total_seconds=call_seconds,
        )
        self._uploads = Uploads(pictures, self._api.upload_picture)
        self._token = ""  # of the newest callback; good for ten minutes and a higher rate
        self._woken = self._stopped = False
        self._reading: asyncio.Task[None] | None = None
        self._failures = 0  # fetches that failed one after the other
        self._again: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        if self._app:
            return []
        return callback_routes(self.name, self._envelope, self._receive)

    async def stop(self, _app: web.Application | None = None) -> None:
        """Read no further; what has been read is stored."""
        self._stopped = True
        if self._again is not None:
            self._again.cancel()
        if self._reading is not None:
            await asyncio.wait({self._reading})
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def check(self) -> Sequence[Check]:
        """See bot.channels.base.Channel; and whether the account is one that the app may speak for."""
        checks = list(await check_api(self._api))
        if self._app:
            found = Words(f"由渠道 {self._app} 的回调代收", f"comes by that of the channel {self._app}")
            checks.insert(0, Check(_CALLBACK, True, found))
        try:
            listed = (await self._api.ask("/cgi-bin/kf/account/list", {"offset": 0, "limit": 100})).get("account_list")
        except SendError as error:
            found = Words(f"平台没有列出（代码 {error.code}）", f"not told (code {error.code})")
            return [*checks, Check(_ACCOUNT, False, found, Words(error.reason, _ACCOUNT_REMEDY))]
        ours = any(one.get("open_kfid") == self._account for one in listed or [] if isinstance(one, dict))
        if ours:
            return [*checks, Check(_ACCOUNT, True, Words("由本程序接待", "handed to this program"))]
        found = Words("不在应用可管理的账号里", "not among those the app may manage")
        remedy = Words("请在企业微信后台“微信客服 → API”里把这个账号交给应用管理。", _ACCOUNT_REMEDY)
        return [*checks, Check(_ACCOUNT, False, found, remedy)]

    async def followers(self, addresses: Sequence[str]) -> Sequence[Follower]:
        """See bot.channels.base.Acquainted; the platform knows those who came within two days."""
        wanted = {"external_userid_list": list(addresses)}
        listed = (await self._api.ask("/cgi-bin/kf/customer/batchget", wanted)).get("customer_list")
        return [
            Follower(str(one["external_userid"]), following=True, union_id=str(one.get("unionid") or ""))
            for one in listed or []
            if isinstance(one, dict) and one.get("external_userid")
        ]

    async def is_mended(self, code: str) -> bool | None:
        """See bot.channels.base.Mendable."""
        if code not in CREDENTIAL_CODES:
            return None
        return await self._api.is_answered("/cgi-bin/kf/account/list", {"offset": 0, "limit": 1})

    async def close(self) -> None:
        await self.stop()
        await self._api.close()

    # -- woken ------------------------------------------------------------------------------------------------------

    async def _receive(self, request: web.Request) -> web.Response:
        """Says only that there is something to fetch: answered at once, whatever fetching it may take."""
        try:
            stamp = self._envelope.check_stamp(request.query)
            opened = self._envelope.open(stamp, await read_body(request, seconds=self._body_seconds))
        except RefusedError as refusal:
            return refused(self.name, refusal.reason)
        fields = opened.fields
        is_ours = fields.get("Event").strip().lower() == "kf_msg_or_event"
        if is_ours and fields.get("OpenKfId") == self._account:
            self.wake(fields.get("Token"))
        else:  # another account of the corp, or kf_account_auth_change
            UNKNOWN_MESSAGES.labels(self.name, "event").inc()
            _log.info("callback about something else", channel=self.name, about_messages=is_ours)
        return taken()

    def wake(self, token: str = "") -> None:
        """Fetch what is new, soon: a storm of callbacks is one reading, and one more for what came during it."""
        self._token = token if 0 < len(token) <= 128 else self._token
        self._woken = True
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_while_woken())

    async def pull(self) -> None:
        """Fetch what no callback told us of."""
        self.wake()
        if self._reading is not None:
            await asyncio.wait({self._reading})

    async def _read_while_woken(self) -> None:
        try:
            while self._woken and not self._stopped:
                self._woken = False
                await self._read()
            self._failures = 0
        except SendError as error:
            _log.warning("messages not fetched", channel=self.name, code=error.code)
            if self._failures < len(AGAIN_SECONDS) and error.retryable and error.after is None and not self._stopped:
                pause = AGAIN_SECONDS[self._failures]
                self._failures += 1
                self._again = asyncio.get_running_loop().call_later(pause, self.wake)
        except Exception as error:
            # Nothing is lost: without its cursor the page is fetched again, at the next callback or tick.
            UNSTORED_MESSAGES.labels(self.name).inc()
            _log.error("messages not stored", channel=self.name, error=type(error).__name__)

    async def _read(self) -> None:
        """From the cursor to the end, page by page."""
        cursor = await self._stream.claim()
        if cursor is None:
            return
        while not self._stopped:
            page = await self._page(cursor)
            following = page.cursor or cursor
            waiting = await self._stream.keep(page.happened, cursor=following)
            if waiting is None:
                return
            await self._handle(waiting)
            is_moving = following != cursor
            cursor = following
            # An empty page may stand in the middle; one that leads nowhere would be read for ever.
            if not (page.has_more and is_moving) and not await self._stream.release():
                return
        await self._stream.release()

    async def _page(self, cursor: str) -> Page:
        rows = _PAGE_ROWS
        while True:
            body = {"open_kfid": self._account, "cursor": cursor, "limit": rows, "voice_format": 0}
            if self._token:
                body["token"] = self._token
            try:
                answer = await self._api.ask("/cgi-bin/kf/sync_msg", body)
            except SendError as error:
                if error.code == _STALE_TOKEN and self._token:
                    self._token = ""
                elif error.code == "answer_size" and rows > 1:
                    rows //= 10
                else:
                    raise
                continue
            page = page_of(self.name, answer, series=await self._stream.series())
            if page.unreadable:
                UNKNOWN_MESSAGES.labels(self.name, "row").inc(page.unreadable)
                _log.warning("rows not understood", channel=self.name, rows=page.unreadable)
            return page

    # -- answered ---------------------------------------------------------------------------------------------------

    async def _handle(self, waiting: Sequence[Unanswered]) -> None:
        """Begin the turns of a page in its order; what a code answers first, they last 20 seconds."""
        coded = [one for one in waiting if _has_moment(one)]
        written = [one for one in waiting if not _has_moment(one)]
        for one in coded:
            self._begin(self._speak_by_code(one))
        await asyncio.sleep(0)  # they have begun
        for one in written:
            if one.message.kind is MessageKind.UNKNOWN:
                UNKNOWN_MESSAGES.labels(self.name, "message").inc()
            if not one.served:
                await self._stream.handle(one, wait_seconds=0)
        served = sorted((one for one in written if one.served), key=lambda one: one.message.sender)
        for sender, theirs in groupby(served, key=lambda one: one.message.sender):
            self._begin(self._handle_served(sender, list(theirs)))

    async def _handle_served(self, sender: str, waiting: Sequence[Unanswered]) -> None:
        """Sessions end without a word, after 48 hours: look before staying silent because of one."""
        try:
            session = await self._session_of(sender)
            if session.served_by is None:
                await self._stream.moved(sender, None)
        except SendError as error:
            _log.warning("session not known", channel=self.name, code=error.code)
        for one in waiting:
            await self._stream.handle(one, wait_seconds=0)

    async def _speak_by_code(self, happened: Unanswered) -> None:
        """The platform's code lets us speak before the resident does, and after a session: once, and only now."""
        code = happened.message.extra.get("code", "")
        left = (happened.message.sent_at + CODE_LASTS - clock.now()).total_seconds() if code else 0.0
        ready = await self._stream.handle(happened, wait_seconds=max(0.0, left))
        if ready is None:
            return
        try:
            await self._send_by_code(code, ready)
        except SendError as error:
            _log.info("nothing sent by a code", channel=self.name, code=error.code)
            if error.failure is not Failure.UNKNOWN:  # else the outbox asks under the same number
                ready.decline(error.reason)
        else:
            ready.confirm()

    async def _send_by_code(self, code: str, ready: NowOrNever) -> None:
        made = parts(ready.reply)
        if len(made) != 1:  # one message is all there is
            text = next(parts_of(ready.reply.text, TEXT_LIMIT_BYTES), "")
            made = [Part("text", {"content": text})]
        number = number_of(await self._stream.series(), ready.delivery_id, 0, made[0])
        body = {"code": code, "msgid": number, "msgtype": made[0].kind, made[0].kind: made[0].content}
        await self._api.post("/cgi-bin/kf/send_msg_on_event", body)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("handling not begun", channel=self.name, error=type(error).__name__)

    # -- out --------------------------------------------------------------------------------------------------------

    async def send(self, address: str, reply: Reply, *, delivery_id: int) -> Sent:
        """Send a reply in parts whose numbers follow from the delivery: what was taken before is not sent again, so
        that even an unknown outcome is safe to repeat."""
        waiting = parts(reply)
        if not waiting:
            raise SendError(Failure.REFUSED, "empty", "消息没有内容，请写好后再发。")
        if reply.picture is not None:
            await self._uploads.media_id(reply.picture)  # first, so that an upload that fails leaves nothing half said
        series = await self._stream.series()
        for accepted, part in enumerate(waiting):
            try:
                await self._send_part(address, part, number_of(series, delivery_id, accepted, part))
            except SendError as error:
                _log.warning("delivery failed", channel=self.name, delivery=delivery_id, code=error.code, sent=accepted)
                raise _after_parts(await self._explained(address, error), accepted, len(waiting)) from None
        if reply.hands_over and self._servicers:
            await self._hand_over(address)
        return Sent(number_of(series, delivery_id, 0, waiting[0]))

    async def fetch_picture(self, media: str) -> Picture:
        """A picture a resident sent, while the platform keeps it; raises SendError."""
        return await self._api.download_picture(media)

    async def _send_part(self, address: str, part: Part, number: str) -> None:
        content: Mapping[str, Any] = part.content
        for is_last in (False, True):
            if part.picture is not None:
                content = {"media_id": await self._uploads.media_id(part.picture)}
            body = {
                "touser": address,
                "open_kfid": self._account,
                "msgid": number,
                "msgtype": part.kind,
                part.kind: content,
            }
            try:
                await self._api.post("/cgi-bin/kf/send_msg", body)
            except SendError as error:
                if is_last or part.picture is None or error.code not in _MEDIA_CODES:
                    raise
                self._uploads.forget(part.picture)
            else:
                return

    async def _explained(self, address: str, error: SendError) -> SendError:
        """The error as the outbox shall take it."""
        if error.code not in _SESSION_CODES:
            return error
        try:
            session = await self._session_of(address)
        except SendError:
            return error
        await self._stream.moved(address, session.served_by)
        if session.served_by is None:
            return error  # it has ended: with his next message there is a new one
        return SendError(Failure.REFUSED, error.code, _SERVED_REASON)

    # -- the platform's own desk ------------------------------------------------------------------------------------

    async def _session_of(self, address: str) -> _Session:
        body = {"open_kfid": self._account, "external_userid": address}
        answer = await self._api.ask("/cgi-bin/kf/service_state/get", body)
        state, servicer = answer.get("service_state"), answer.get("servicer_userid")
        return _Session(state if isinstance(state, int) else 0, servicer if isinstance(servicer, str) else "")

    async def _hand_over(self, address: str) -> None:
        """Pass the session to the first servicer who receives, else into the waiting pool.

        Whatever comes of it, the ticket stands in our own queue.
        """
        is_decided_again = False
        candidates = [*self._servicers, ""]
        while candidates:
            try:
                await self._pass_to(address, candidates[0])
            except SendError as error:
                if error.code in _CANNOT_SERVE:
                    candidates.pop(0)
                    continue
                _log.warning("session not passed on", channel=self.name, code=error.code)
                if is_decided_again or (error.code != _FORBIDDEN_MOVE and error.failure is not Failure.UNKNOWN):
                    return
                is_decided_again = True
                if not await self._may_be_passed(address):
                    return
            else:
                await self._stream.moved(address, candidates[0])
                return

    async def _pass_to(self, address: str, servicer: str) -> None:
        body: dict[str, object] = {"open_kfid": self._account, "external_userid": address, "service_state": _POOL}
        if servicer:
            body |= {"service_state": _SERVED, "servicer_userid": servicer}
        await self._api.post("/cgi-bin/kf/service_state/trans", body)

    async def _may_be_passed(self, address: str) -> bool:
        """Look at the session anew: somebody has it already, or it has ended, or it is still ours to pass."""
        try:
            session = await self._session_of(address)
        except SendError:
            return False
        await self._stream.moved(address, session.served_by)
        return session.state in (0, 1)


def _has_moment(one: Unanswered) -> bool:
    return one.message.event is not None and one.message.event.kind in (EventKind.ENTER, EventKind.SERVED)


def _after_parts(error: SendError, accepted: int, all_parts: int) -> SendError:
    """Only a final failure says how much has arrived: any other is tried again and sends the rest."""
    if accepted == 0 or error.failure is not Failure.REFUSED:
        return error
    reason = f"只送出了前 {accepted} 段（共 {all_parts} 段），其余没有送出：{error.reason}"
    return SendError(error.failure, error.code, reason[:200])

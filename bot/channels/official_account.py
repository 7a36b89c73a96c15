"""A WeChat official account: residents' messages in, answers out."""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog
from aiohttp import web

from bot.channels.base import (
    Answer,
    Failure,
    Feed,
    Follower,
    FollowerPage,
    Picture,
    PictureStore,
    SendError,
    Sent,
    TokenStore,
    Waiting,
)
from bot.channels.callback import BODY_SECONDS, NO_STORE, callback_routes, read_body, refused, taken
from bot.channels.metrics import UNKNOWN_MESSAGES, UNSTORED_MESSAGES
from bot.channels.platform_api import LOST, TOTAL_SECONDS
from bot.channels.platform_checks import check_api
from bot.channels.platform_errors import CREDENTIAL_CODES
from bot.channels.uploads import Uploads
from bot.channels.wechat_account import WeChatAccount
from bot.channels.wechat_api import WeChatApi
from bot.channels.wechat_envelope import Envelope, Opened, RefusedError, words_for_xml
from bot.channels.wechat_errors import MEDIA_CODES, TOO_LONG
from bot.channels.wechat_messages import (
    PART_LIMIT_BYTES,
    cut_for_passive,
    fits_passive,
    message_of,
    notice_fields,
    with_choices,
)
from bot.checks import Check
from bot.config import OfficialAccountSettings
from bot.message import EventKind, MassOutcome, Message, MessageKind, Reply
from bot.parts import parts_of
from bot.reach import Rules

# The platform hangs up after 5 seconds and delivers again.
ANSWER_SECONDS = 4.0  # what we wait for an answer to be ready
_WHOLE_SECONDS = 4.5  # from the first byte to our last

_MASS_OUTCOMES = {
    "SENDING": MassOutcome.SENDING,
    "SEND_SUCCESS": MassOutcome.SENT,
    "SEND_FAIL": MassOutcome.FAILED,
    "DELETE": MassOutcome.DELETED,
}

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Part:
    """One customer-service message: words or a picture. Each costs one of the five."""

    text: str = ""
    picture: int | None = None
    tried_again: bool = False


class OfficialAccount:
    """The channel for one official account of either kind (服务号, 订阅号)."""

    kind = "official_account"

    def __init__(
        self,
        settings: OfficialAccountSettings,
        *,
        feed: Feed,
        tokens: TokenStore,
        pictures: PictureStore,
        body_seconds: float = BODY_SECONDS,
        call_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self.name = settings.name
        self._feed = feed
        notice = settings.notice
        self.template_id = notice.template_id if notice is not None else ""
        self._notice = notice
        self.rules = Rules(
            windowed=True,
            writes_later=settings.is_verified,
            mass=settings.is_verified and settings.account_type == "service",  # the others cannot send to a list
            notice=settings.is_verified and notice is not None,
            consent_template=self.template_id if notice is not None and notice.kind == "subscription" else "",
            part_bytes=PART_LIMIT_BYTES,
        )
        self._body_seconds = body_seconds
        self._envelope = Envelope.of(settings, settings.app_id, allow_plaintext=settings.allow_plaintext)
        self._api = WeChatApi(
            channel=settings.name,
            app_id=settings.app_id,
            secret=settings.secret,
            api_base=settings.api_base,
            tokens=tokens,
            total_seconds=call_seconds,
        )
        self._uploads = Uploads(pictures, self._api.upload_picture)
        self.verified = settings.is_verified
        self.account = WeChatAccount(self._api)
        self._menu = settings.menu

    def routes(self) -> list[web.RouteDef]:
        return callback_routes(self.name, self._envelope, self._receive)

    async def close(self) -> None:
        await self._api.close()

    # -- the account itself ------------------------------------------------------------------------------------------

    async def check(self) -> Sequence[Check]:
        """See bot.channels.base.Channel; only a verified account has a quota of messages."""
        return await check_api(self._api, self.account.quota if self.verified else None)

    async def is_mended(self, code: str) -> bool | None:
        """See bot.channels.base.Mendable."""
        return await self._api.is_answered("/cgi-bin/getcallbackip") if code in CREDENTIAL_CODES else None

    async def set_menu(self) -> None:
        """Put the menu of the settings under the chat; raises SendError."""
        await self.account.set_menu(self._menu)

    async def followers(self, addresses: Sequence[str]) -> Sequence[Follower]:
        """See bot.channels.base.FollowerKeeper."""
        return await self.account.followers(addresses)

    async def follower_page(self, after: str) -> FollowerPage:
        """See bot.channels.base.FollowerKeeper."""
        return await self.account.follower_page(after)

    async def sync_tags(self, wanted: Mapping[str, Collection[str]]) -> int:
        """See bot.channels.base.FollowerKeeper."""
        return await self.account.sync_tags(wanted)

    async def scene_address(self, scene: str) -> str:
        """See bot.channels.base.FollowerKeeper."""
        return await self.account.scene_address(scene)

    # -- in --------------------------------------------------------------------------------------------------------

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        monotonic = asyncio.get_running_loop().time
        arrived_at = monotonic()
        try:
            stamp = self._envelope.check_stamp(request.query)
            opened = self._envelope.open(stamp, await read_body(request, seconds=self._body_seconds))
            message = message_of(self.name, opened)
        except RefusedError as refusal:
            return refused(self.name, refusal.reason)
        self._count_unknown(message)
        # A slow body has eaten of the platform's five seconds.
        wait_seconds = max(0.0, min(ANSWER_SECONDS, _WHOLE_SECONDS - (monotonic() - arrived_at)))
        try:
            answer = await self._feed(message, wait_seconds=wait_seconds)
        except Exception as error:
            # The message is not stored (the database is down): it exists on the platform only. Any 200 would tell the
            # platform that we have it, so it gets an error and delivers again.
            UNSTORED_MESSAGES.labels(self.name).inc()
            _log.error("message not stored", channel=self.name, error=type(error).__name__)
            return web.Response(status=500)
        words = "" if answer is None else self._in_response(answer.reply)
        if answer is None or not words:
            return taken()
        return await self._answer(request, opened, words, answer)

    def _count_unknown(self, message: Message) -> None:
        if message.kind is MessageKind.UNKNOWN:
            UNKNOWN_MESSAGES.labels(self.name, "message").inc()
        elif message.event is not None and message.event.kind is EventKind.OTHER:
            UNKNOWN_MESSAGES.labels(self.name, "event").inc()

    def _in_response(self, reply: Reply) -> str:
        """The words of a reply that the response can carry as a whole; "" for another, which is not confirmed, so that
        the outbox sends it all. Cut only where nothing can follow: on an account that cannot write later."""
        if reply.picture is not None:
            return ""
        words = words_for_xml(with_choices(reply))
        if fits_passive(words):
            return words
        return "" if self.rules.writes_later else cut_for_passive(words)

    async def _answer(self, request: web.Request, opened: Opened, words: str, answer: Answer) -> web.StreamResponse:
        xml = self._envelope.answer_text(opened, words)
        response = web.Response(body=xml.encode(), content_type="application/xml", charset="utf-8", headers=NO_STORE)
        try:
            await response.prepare(request)
            await response.write_eof()
        except ConnectionError:
            _log.warning("answer not taken, the platform hung up", channel=self.name)
            return response
        answer.confirm()  # only now: until it is written the outbox still owes the reply
        return response

    # -- out -------------------------------------------------------------------------------------------------------

    async def send(self, address: str, reply: Reply, *, delivery_id: int) -> Sent:
        """Send by customer-service message. custom/send has no idempotency key, so `delivery_id` only marks the log."""
        waiting = deque(_parts(reply))
        if not waiting:
            raise SendError(Failure.REFUSED, "empty", "消息没有内容，请写好后再发。")
        accepted = 0
        if reply.picture is not None:
            await self._uploads.media_id(reply.picture)  # first, so that an upload that fails leaves nothing half said
        while waiting:
            try:
                instead = await self._send_part(address, waiting[0])
            except SendError as error:
                _log.warning("delivery failed", channel=self.name, delivery=delivery_id, code=error.code, sent=accepted)
                if accepted == 0:
                    raise
                # The resident has read the beginning: whatever the failure, to send all again would be twice.
                reason = f"只送出了前 {accepted} 段（共 {accepted + len(waiting)} 段），其余没有送出：{error.reason}"
                raise SendError(Failure.UNKNOWN, error.code, reason[:200]) from None
            waiting.popleft()
            waiting.extendleft(reversed(instead))
            accepted += not instead
        return Sent()

    async def send_mass(self, addresses: Sequence[str], reply: Reply, *, client_id: str) -> Sent:
        """See bot.channels.base.MassSender. The same `client_id` again gives the first call's number (45065)."""
        body = {
            "touser": list(addresses),
            "msgtype": "text",
            "text": {"content": words_for_xml(reply.text)},
            "clientmsgid": client_id,
        }
        answer = await self._api.post("/cgi-bin/message/mass/send", body)
        number = answer.get("msg_id")
        if isinstance(number, bool) or not isinstance(number, int | str) or not number:
            raise SendError(Failure.UNKNOWN, "bad_answer", LOST.reason)
        _log.info("mass job submitted", channel=self.name, size=len(addresses))
        return Sent(str(number))

    async def mass_outcome(self, number: str) -> MassOutcome:
        """See bot.channels.base.MassSender."""
        answer = await self._api.ask("/cgi-bin/message/mass/get", {"msg_id": number})
        outcome = _MASS_OUTCOMES.get(str(answer.get("msg_status")))
        if outcome is None:
            raise SendError(Failure.RETRY, "bad_answer", "微信没有说明群发的结果，稍后再问。")
        return outcome

    async def send_notice(self, address: str, waiting: Waiting, *, client_id: str) -> Sent:
        """See bot.channels.base.NoticeSender."""
        if self._notice is None:
            raise SendError(Failure.REFUSED, "no_notice", "公众号没有设置通知模板，没有通知居民。")
        body: dict[str, object] = {
            "touser": address,
            "template_id": self._notice.template_id,
            "data": notice_fields(self._notice.fields, waiting),
        }
        if self._notice.kind == "subscription":
            answer = await self._api.post("/cgi-bin/message/subscribe/bizsend", body)
        else:
            try:
                answer = await self._api.post("/cgi-bin/message/template/send", {**body, "client_msg_id": client_id})
            except SendError as error:
                if error.failure is not Failure.UNKNOWN:
                    raise
                # The platform knows the call by its client_msg_id, so that a second one is harmless.
                raise SendError(Failure.RETRY, error.code, error.reason) from None
        return Sent(str(answer.get("msgid") or ""))

    async def fetch_picture(self, media: str) -> Picture:
        """A picture a resident sent, while the platform keeps it; raises SendError."""
        return await self._api.download_picture(media)

    async def _send_part(self, address: str, part: _Part) -> tuple[_Part, ...]:
        """Give one part to the platform. What comes back is to be sent in its place; nothing when it was accepted."""
        content: dict[str, object]
        if part.picture is not None:
            kind, content = "image", {"media_id": await self._uploads.media_id(part.picture)}
        else:
            kind, content = "text", {"content": part.text}
        body = {"touser": address, "msgtype": kind, kind: content}
        try:
            await self._api.post("/cgi-bin/message/custom/send", body)
        except SendError as error:
            instead = self._instead(part, error.code)
            if not instead:
                raise
            return instead
        return ()

    def _instead(self, part: _Part, code: str) -> tuple[_Part, ...]:
        """What to send when the platform refused a part for its form; nothing if there is no other form."""
        if part.tried_again:
            return ()
        if part.picture is not None and code in {str(known) for known in MEDIA_CODES}:
            self._uploads.forget(part.picture)
            return (replace(part, tried_again=True),)
        if part.picture is None and code == str(TOO_LONG):
            halves = parts_of(part.text, PART_LIMIT_BYTES // 2)  # nobody wrote the limit down: once with half of it
            return tuple(replace(part, text=half, tried_again=True) for half in halves)
        return ()


def _parts(reply: Reply) -> list[_Part]:
    """The messages one reply makes, in the order the resident shall read them."""
    parts = [_Part(part) for part in parts_of(words_for_xml(with_choices(reply)), PART_LIMIT_BYTES)]
    if reply.picture is not None:
        parts.append(_Part(picture=reply.picture))
    return parts

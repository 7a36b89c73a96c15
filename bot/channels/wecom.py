"""WeCom as a channel: who became an officer's friend or left him; the program itself says nothing there."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

import structlog
from aiohttp import web

from bot import clock
from bot.channels.base import Failure, Picture, PictureStore, SendError, Sent, TokenStore
from bot.channels.callback import callback_routes, read_body, refused, taken
from bot.channels.metrics import UNKNOWN_MESSAGES, UNSTORED_MESSAGES
from bot.channels.platform_api import TOTAL_SECONDS
from bot.channels.wechat_envelope import Fields, Reason, RefusedError, WeComEnvelope
from bot.channels.wecom_app import WeCom
from bot.checks import Check
from bot.config import USERID, WeComSettings
from bot.message import Reply
from bot.reach import Rules
from bot.wecom import EXTERNAL_USERID, WeComRefused, folded

STORE_SECONDS = 4.0  # the platform hangs up after 5 and delivers again
CHANGES: Final = frozenset(
    {"add_external_contact", "add_half_external_contact", "del_external_contact", "del_follow_user"}
)
_BY_OFFICER = "程序不能在企业微信好友里代发消息。请民警直接在企业微信里与他聊天。"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ContactEvent:
    """What happened between a member and a resident, as WeCom tells it. `change` is one of CHANGES."""

    change: str
    userid: str  # folded
    external_userid: str
    at: datetime
    state: str = ""  # of the QR code he came by
    welcome_code: str = ""


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first words to a new friend; `contact` is our number of the two."""

    contact: int
    code: str
    text: str


class ContactDesk(Protocol):
    """What the channel asks of the program; the database in the running one."""

    async def note(self, event: ContactEvent) -> Greeting | None:
        """Take an event in, once; what is to be said to the resident at once, if anything."""
        ...

    async def greeted(self, contact: int, *, arrived: bool) -> None:
        """How the greeting ended: the resident has it, or will never have it."""
        ...


class WeComChannel:
    """The callback of the station's WeCom app."""

    kind = "wecom"

    def __init__(
        self,
        settings: WeComSettings,
        *,
        desk: ContactDesk,
        tokens: TokenStore,
        pictures: PictureStore,
        call_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self.name = settings.name
        self.rules = Rules(by_officer=True)
        self.app = WeCom(settings, tokens=tokens, pictures=pictures, call_seconds=call_seconds)
        self._desk = desk
        self._envelope = WeComEnvelope.of(settings, settings.corp_id)
        self._greetings: set[asyncio.Task[None]] = set()
        self._accounts: dict[str, Callable[[str], None]] = {}

    def serve_account(self, open_kfid: str, wake: Callable[[str], None]) -> None:
        """An account of 微信客服 in the care of this app, whose one callback is ours: `wake` it with its token."""
        self._accounts[open_kfid] = wake

    def routes(self) -> list[web.RouteDef]:
        return callback_routes(self.name, self._envelope, self._receive)

    async def close(self) -> None:
        if self._greetings:
            await asyncio.wait(self._greetings)
        await self.app.close()

    async def check(self) -> Sequence[Check]:
        """See bot.channels.base.Channel."""
        return await self.app.check()

    # -- in --------------------------------------------------------------------------------------------------------

    async def _receive(self, request: web.Request) -> web.Response:
        try:
            stamp = self._envelope.check_stamp(request.query)
            fields = self._envelope.open(stamp, await read_body(request)).fields
            event = _contact_event(fields)
        except RefusedError as refusal:
            return refused(self.name, refusal.reason)
        if fields.get("Event").strip().lower() == "kf_msg_or_event" and fields.get("OpenKfId") in self._accounts:
            self._accounts[fields.get("OpenKfId")](fields.get("Token"))
            return taken()
        if event is None or not self.app.customer_contact:
            if fields.get("MsgType") == "event" and fields.get("Event") not in _OF_THE_APP:
                UNKNOWN_MESSAGES.labels(self.name, "event").inc()
            return taken()  # what officers write to the app is for nobody
        try:
            async with asyncio.timeout(STORE_SECONDS):
                greeting = await self._desk.note(event)
        except Exception as error:
            # Not taken in (the database is down or slow): only an error makes WeCom deliver it again.
            UNSTORED_MESSAGES.labels(self.name).inc()
            _log.error("contact not stored", channel=self.name, error=type(error).__name__)
            return web.Response(status=500)
        if greeting is not None:  # its code lives 20 seconds; what is cut short here the clock tries again
            task = asyncio.create_task(self._greet(greeting))
            self._greetings.add(task)
            task.add_done_callback(self._greetings.discard)
        return taken()

    async def _greet(self, greeting: Greeting) -> None:
        try:
            await self._desk.greeted(greeting.contact, arrived=await self.app.welcome(greeting.code, greeting.text))
        except WeComRefused as error:
            _log.warning("welcome not sent", channel=self.name, contact=greeting.contact, code=error.code)
        except Exception as error:
            _log.error("end of a welcome not written", channel=self.name, error=type(error).__name__)

    # -- out -------------------------------------------------------------------------------------------------------

    async def send(self, address: str, reply: Reply, *, delivery_id: int) -> Sent:
        """Never: a friend's chat is the officer's own."""
        raise SendError(Failure.REFUSED, "by_officer", _BY_OFFICER)

    async def fetch_picture(self, media: str) -> Picture:
        raise SendError(Failure.REFUSED, "by_officer", _BY_OFFICER)


_OF_THE_APP = frozenset({"subscribe", "unsubscribe", "enter_agent", "click", "view", "LOCATION"})


def _contact_event(fields: Fields) -> ContactEvent | None:
    """The event about a member and a resident; None for all else. RefusedError when it is not what WeCom sends."""
    if fields.get("MsgType") != "event" or fields.get("Event").lower() != "change_external_contact":
        return None
    change = fields.get("ChangeType")
    if change not in CHANGES:
        return None
    userid, external_userid, when = (fields.get(name) for name in ("UserID", "ExternalUserID", "CreateTime"))
    if not (re.fullmatch(USERID, userid) and re.fullmatch(EXTERNAL_USERID, external_userid)):
        raise RefusedError(Reason.INNER_XML)
    at = datetime.fromtimestamp(int(when), UTC) if re.fullmatch("[0-9]{1,10}", when) else clock.now()
    return ContactEvent(
        change=change,
        userid=folded(userid),
        external_userid=external_userid,
        at=at,
        state=fields.get("State")[:100],
        welcome_code=fields.get("WelcomeCode")[:500],
    )

"""WeChat customer service (微信客服): accounts, sessions, and what customers and servicers do on their phones."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.fakes.wechat.chat import Bubble
from tests.fakes.wechat.clock import DAY
from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.wecom.contacts import Contacts, Outsider
from tests.fakes.wechat.wecom.members import Members
from tests.support import leaks

UNHANDLED, BOT, POOL, HUMAN, ENDED = range(5)
STATES: Mapping[int, frozenset[int]] = {  # from → to, as the API allows it
    UNHANDLED: frozenset({BOT, POOL, HUMAN, ENDED}),
    BOT: frozenset({POOL, HUMAN, ENDED}),
    POOL: frozenset({HUMAN, ENDED}),
    HUMAN: frozenset({HUMAN, ENDED}),
    ENDED: frozenset(),
}
WINDOW_SECONDS, WINDOW_MESSAGES = 2 * DAY, 5
_FROM_CUSTOMER, _FROM_SYSTEM, _FROM_SERVICER = 3, 4, 5
PushEvent = Callable[[str, str, str, dict[str, str]], Awaitable[object]]
Moment = Literal["welcome", "pool", "human", "end"]


@dataclass
class Servicer:
    """`receiving`: he takes customers; a stopped one does not."""

    userid: str
    receiving: bool = True


@dataclass
class EventCode:
    """A code for send_msg_on_event: used once, while its session is in the state that made it."""

    moment: Moment
    customer: str
    issued_at: float
    used: bool = False


@dataclass
class KfSession:
    """One customer at one account. `chat` is what his phone shows."""

    customer: str
    state: int = ENDED
    servicer: str = ""
    active_at: float = 0
    wrote_at: float | None = None
    welcomed_at: float | None = None
    left: int = 0
    rejects: bool = False
    scene: tuple[str, str] = ("", "")
    chat: list[Bubble] = field(default_factory=list)


@dataclass
class KfAccount:
    open_kfid: str
    name: str
    servicers: dict[str, Servicer] = field(default_factory=dict)
    sessions: dict[str, KfSession] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)  # what sync_msg gives, oldest first
    msgids: set[str] = field(default_factory=set)
    codes: dict[str, EventCode] = field(default_factory=dict)


class CustomerService:
    """`fail_next`: fail types of the next accepted messages. `empty_pages`: so many pages come empty first."""

    def __init__(self, platform: Platform, members: Members, contacts: Contacts, push: PushEvent) -> None:
        self.platform, self.members, self.contacts, self._push = platform, members, contacts, push
        self.accounts: dict[str, KfAccount] = {}
        self.fail_next: list[int] = []
        self.empty_pages = 0
        self.silent = False  # rows come, but no callback: what the platform does when a delivery is lost
        self.tokens: dict[str, tuple[str, float]] = {}

    # -- set-up and what one sees ----------------------------------------------------------------------------------

    def add_account(self, open_kfid: str, name: str = "枫林派出所", servicers: tuple[str, ...] = ()) -> KfAccount:
        account = self.accounts[open_kfid] = KfAccount(open_kfid, name)
        account.servicers = {userid: Servicer(userid) for userid in servicers}
        return account

    def session(self, open_kfid: str, customer: str) -> KfSession:
        """The session as it is now: after 48 hours in which nothing happened it has ended."""
        session = self.accounts[open_kfid].sessions.setdefault(customer, KfSession(customer))
        leaks.secret(customer)
        self.contacts.outsiders.setdefault(customer, Outsider(customer, "居民"))
        if self.platform.now() - session.active_at > WINDOW_SECONDS:
            session.state, session.servicer = ENDED, ""
        return session

    def chat(self, open_kfid: str, customer: str) -> list[Bubble]:
        """What this customer's phone shows, in order."""
        return self.session(open_kfid, customer).chat

    # -- what customers do -----------------------------------------------------------------------------------------

    async def enters(self, open_kfid: str, customer: str, scene: str = "", scene_param: str = "") -> str:
        """He enters by a link or QR code: enter_session; the welcome_code it carries, "" if none."""
        session, now = self.session(open_kfid, customer), self.platform.now()
        session.scene = (scene, scene_param)
        event: dict[str, Any] = {"scene": scene, "scene_param": scene_param}
        welcomed = session.welcomed_at is not None and now - session.welcomed_at < WINDOW_SECONDS
        if not welcomed and not self.in_window(session):
            session.welcomed_at = now
            event["welcome_code"] = self.code(open_kfid, customer, "welcome")
        await self.event(open_kfid, "enter_session", customer, event)
        return str(event.get("welcome_code", ""))

    async def writes(self, open_kfid: str, customer: str, text: str, *, menu_id: str = "") -> str:
        """He writes, or taps a choice of a menu message; the row's msgid."""
        content = {"content": text} | ({"menu_id": menu_id} if menu_id else {})
        return await self.sends(open_kfid, customer, "text", content, words=text)

    async def sends(self, open_kfid: str, customer: str, kind: str, content: dict[str, Any], *, words: str = "") -> str:
        """He sends a message of any kind: image {media_id}, voice {media_id}, location {latitude, …}, link, …"""
        session, now = self.session(open_kfid, customer), self.platform.now()
        if session.state == ENDED:
            session.state = UNHANDLED
        session.active_at, session.wrote_at, session.left = now, now, WINDOW_MESSAGES
        leaks.said(words)
        session.chat.append(Bubble("person", kind, words or f"[{kind}]", now, "", {kind: content}))
        return await self._row(open_kfid, customer, _FROM_CUSTOMER, {"msgtype": kind, kind: content})

    async def recalls(self, open_kfid: str, customer: str, msgid: str) -> None:
        await self.event(open_kfid, "user_recall_msg", customer, {"recall_msgid": msgid})

    async def rejects(self, open_kfid: str, customer: str, *, on: bool = True) -> None:
        """He switches the account's messages off (or on again)."""
        self.session(open_kfid, customer).rejects = on
        await self.event(open_kfid, "reject_customer_msg_switch_change", customer, {"reject_switch": 1 if on else 0})

    # -- what servicers do in their client -------------------------------------------------------------------------

    async def servicer_takes(self, open_kfid: str, customer: str, userid: str) -> str:
        """Takes a customer from the pool; the msg_code of the event."""
        session = self.session(open_kfid, customer)
        if session.state != POOL:
            raise LookupError("nobody waits in the pool")
        session.state, session.servicer = HUMAN, userid
        return await self._changed(open_kfid, customer, 1, "", userid, "human")

    async def servicer_transfers(self, open_kfid: str, customer: str, userid: str) -> None:
        session = self.session(open_kfid, customer)
        before, session.servicer = session.servicer, userid
        await self._changed(open_kfid, customer, 2, before, userid, None)

    async def servicer_ends(self, open_kfid: str, customer: str) -> str:
        """Ends the session; the msg_code of the event."""
        session = self.session(open_kfid, customer)
        before, session.state, session.servicer = session.servicer, ENDED, ""
        return await self._changed(open_kfid, customer, 3, before, "", "end")

    async def servicer_writes(self, open_kfid: str, customer: str, userid: str, text: str) -> str:
        """Writes in the client; an ended session is human again. The row's msgid."""
        session, now = self.session(open_kfid, customer), self.platform.now()
        if session.state == ENDED:
            session.state, session.servicer = HUMAN, userid
            await self._changed(open_kfid, customer, 4, "", userid, None)
        session.active_at = now
        session.chat.append(Bubble("account", "text", text, now, "servicer"))
        message = {"msgtype": "text", "text": {"content": text}, "servicer_userid": userid}
        return await self._row(open_kfid, customer, _FROM_SERVICER, message)

    async def servicer_recalls(self, open_kfid: str, customer: str, msgid: str) -> None:
        await self.event(open_kfid, "servicer_recall_msg", customer, {"recall_msgid": msgid})

    async def servicer_status(self, open_kfid: str, userid: str, *, receiving: bool) -> None:
        """Starts or stops receiving. The event counts 1 and 2 where servicer/list counts 0 and 1."""
        self.accounts[open_kfid].servicers[userid].receiving = receiving
        event = {"servicer_userid": userid, "status": 1 if receiving else 2, "stop_type": 0}
        await self.event(open_kfid, "servicer_status_change", "", event)

    # -- rows ------------------------------------------------------------------------------------------------------

    async def wake(self, open_kfid: str) -> object:
        """The callback kf_msg_or_event with a fresh token; it carries no message."""
        token = f"ENC{secrets.token_urlsafe(30)}"
        self.tokens[token] = (open_kfid, self.platform.now())
        if self.silent:
            return None
        return await self._push("kf", "", "kf_msg_or_event", {"Token": token, "OpenKfId": open_kfid})

    def add_row(self, open_kfid: str, customer: str, origin: int, message: dict[str, Any]) -> str:
        """A row of the list without a callback; its msgid."""
        msgid = secrets.token_urlsafe(24)
        head = {"msgid": msgid, "open_kfid": open_kfid, "send_time": int(self.platform.now()), "origin": origin}
        whom = {"external_userid": customer} if customer else {}
        self.accounts[open_kfid].rows.append({**head, **whom, **message})
        return msgid

    async def _row(self, open_kfid: str, customer: str, origin: int, message: dict[str, Any]) -> str:
        msgid = self.add_row(open_kfid, customer, origin, message)
        await self.wake(open_kfid)
        return msgid

    async def event(self, open_kfid: str, event_type: str, customer: str, fields: dict[str, Any]) -> None:
        whom = {"external_userid": customer} if customer else {}
        event = {"event_type": event_type, "open_kfid": open_kfid, **whom, **fields}
        # the row of an event names nobody outside its event object
        self.add_row(open_kfid, "", _FROM_SYSTEM, {"msgtype": "event", "event": event})
        await self.wake(open_kfid)

    async def _changed(
        self, open_kfid: str, customer: str, change: int, old: str, new: str, moment: Moment | None
    ) -> str:
        code = self.code(open_kfid, customer, moment) if moment else ""
        event = {"change_type": change, "old_servicer_userid": old, "new_servicer_userid": new}
        await self.event(open_kfid, "session_status_change", customer, event | ({"msg_code": code} if code else {}))
        return code

    def code(self, open_kfid: str, customer: str, moment: Moment) -> str:
        code = secrets.token_urlsafe(24)
        self.accounts[open_kfid].codes[code] = EventCode(moment, customer, self.platform.now())
        return code

    def in_window(self, session: KfSession) -> bool:
        return session.wrote_at is not None and self.platform.now() - session.wrote_at <= WINDOW_SECONDS

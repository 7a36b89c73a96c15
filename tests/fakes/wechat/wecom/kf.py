"""WeChat customer service (微信客服): accounts, servicers, the list that is pulled, sending, session states."""

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.fakes.wechat.chat import Bubble, words_of
from tests.fakes.wechat.clock import DAY
from tests.fakes.wechat.media import MediaStore
from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.serving import OK, Asked, Endpoints, Refusal, part, several, whole, words
from tests.fakes.wechat.wecom.contacts import Contacts, Outsider
from tests.fakes.wechat.wecom.members import Members, cut

UNHANDLED, BOT, POOL, HUMAN, ENDED = range(5)
STATES: Mapping[int, frozenset[int]] = {  # from → to, as the API allows it
    UNHANDLED: frozenset({BOT, POOL, HUMAN, ENDED}),
    BOT: frozenset({POOL, HUMAN, ENDED}),
    POOL: frozenset({HUMAN, ENDED}),
    HUMAN: frozenset({HUMAN, ENDED}),
    ENDED: frozenset(),
}
WINDOW_SECONDS, WINDOW_MESSAGES = 2 * DAY, 5
TOKEN_SECONDS = 600
HISTORY_SECONDS = 3 * DAY
FAIL_OVER_FIVE, FAIL_REFUSED, FAIL_SECURITY = 6, 10, 13
_KINDS = {"text", "image", "voice", "video", "file", "link", "miniprogram", "msgmenu", "location", "ca_link"}
_ID = re.compile(r"[0-9a-zA-Z_-]{1,32}")
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


_CODES: Mapping[Moment, tuple[float, int | None, frozenset[str]]] = {  # seconds, state, types
    "welcome": (20, None, frozenset({"text", "msgmenu"})),
    "pool": (2 * DAY, POOL, frozenset({"text"})),
    "human": (2 * DAY, HUMAN, frozenset({"text"})),
    "end": (20, ENDED, frozenset({"text", "msgmenu"})),
}


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

    def __init__(
        self, platform: Platform, members: Members, contacts: Contacts, media: MediaStore, push: PushEvent
    ) -> None:
        self.platform, self.members, self.contacts, self.media, self._push = platform, members, contacts, media, push
        self.accounts: dict[str, KfAccount] = {}
        self.fail_next: list[int] = []
        self.empty_pages = 0
        self.silent = False  # rows come, but no callback: what the platform does when a delivery is lost
        self._tokens: dict[str, tuple[str, float]] = {}
        self._cursors: dict[str, tuple[str, int]] = {}
        self._without_token: list[float] = []

    def endpoints(self) -> Endpoints:
        table = {
            "account/list": self._list_accounts,
            "add_contact_way": self._contact_way,
            "servicer/add": self._add_servicers,
            "servicer/del": self._delete_servicers,
            "sync_msg": self._sync,
            "send_msg": self._send,
            "send_msg_on_event": self._send_on_event,
            "service_state/get": self._get_state,
            "service_state/trans": self._trans,
            "customer/batchget": self._customers,
        }
        posts: Endpoints = {("POST", f"kf/{path}"): serve for path, serve in table.items()}
        gets: Endpoints = {
            ("GET", "kf/servicer/list"): self._list_servicers,
            ("GET", "kf/account/list"): self._list_accounts,
        }
        return posts | gets

    # -- set-up and what one sees ----------------------------------------------------------------------------------

    def add_account(self, open_kfid: str, name: str = "枫林派出所", servicers: tuple[str, ...] = ()) -> KfAccount:
        account = self.accounts[open_kfid] = KfAccount(open_kfid, name)
        account.servicers = {userid: Servicer(userid) for userid in servicers}
        return account

    def session(self, open_kfid: str, customer: str) -> KfSession:
        """The session as it is now: after 48 hours in which nothing happened it has ended."""
        session = self.accounts[open_kfid].sessions.setdefault(customer, KfSession(customer))
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
        if not welcomed and not self._in_window(session):
            session.welcomed_at = now
            event["welcome_code"] = self._code(open_kfid, customer, "welcome")
        await self._event(open_kfid, "enter_session", customer, event)
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
        session.chat.append(Bubble("person", kind, words or f"[{kind}]", now, "", {kind: content}))
        return await self._row(open_kfid, customer, _FROM_CUSTOMER, {"msgtype": kind, kind: content})

    async def recalls(self, open_kfid: str, customer: str, msgid: str) -> None:
        await self._event(open_kfid, "user_recall_msg", customer, {"recall_msgid": msgid})

    async def rejects(self, open_kfid: str, customer: str, *, on: bool = True) -> None:
        """He switches the account's messages off (or on again)."""
        self.session(open_kfid, customer).rejects = on
        await self._event(open_kfid, "reject_customer_msg_switch_change", customer, {"reject_switch": 1 if on else 0})

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
        await self._event(open_kfid, "servicer_recall_msg", customer, {"recall_msgid": msgid})

    async def servicer_status(self, open_kfid: str, userid: str, *, receiving: bool) -> None:
        """Starts or stops receiving. The event counts 1 and 2 where servicer/list counts 0 and 1."""
        self.accounts[open_kfid].servicers[userid].receiving = receiving
        event = {"servicer_userid": userid, "status": 1 if receiving else 2, "stop_type": 0}
        await self._event(open_kfid, "servicer_status_change", "", event)

    # -- rows ------------------------------------------------------------------------------------------------------

    async def wake(self, open_kfid: str) -> object:
        """The callback kf_msg_or_event with a fresh token; it carries no message."""
        token = f"ENC{secrets.token_urlsafe(30)}"
        self._tokens[token] = (open_kfid, self.platform.now())
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

    async def _event(self, open_kfid: str, event_type: str, customer: str, fields: dict[str, Any]) -> None:
        whom = {"external_userid": customer} if customer else {}
        event = {"event_type": event_type, "open_kfid": open_kfid, **whom, **fields}
        # the row of an event names nobody outside its event object
        self.add_row(open_kfid, "", _FROM_SYSTEM, {"msgtype": "event", "event": event})
        await self.wake(open_kfid)

    async def _changed(
        self, open_kfid: str, customer: str, change: int, old: str, new: str, moment: Moment | None
    ) -> str:
        code = self._code(open_kfid, customer, moment) if moment else ""
        event = {"change_type": change, "old_servicer_userid": old, "new_servicer_userid": new}
        await self._event(open_kfid, "session_status_change", customer, event | ({"msg_code": code} if code else {}))
        return code

    def _code(self, open_kfid: str, customer: str, moment: Moment) -> str:
        code = secrets.token_urlsafe(24)
        self.accounts[open_kfid].codes[code] = EventCode(moment, customer, self.platform.now())
        return code

    def _in_window(self, session: KfSession) -> bool:
        return session.wrote_at is not None and self.platform.now() - session.wrote_at <= WINDOW_SECONDS

    # -- accounts and servicers ------------------------------------------------------------------------------------

    def _account(self, open_kfid: object) -> KfAccount:
        account = self.accounts.get(str(open_kfid))
        if account is None:
            raise Refusal(95000, "invalid open_kfid")
        return account

    async def _list_accounts(self, asked: Asked) -> dict[str, Any]:
        rows = [
            {"open_kfid": one.open_kfid, "name": one.name, "avatar": "", "manage_privilege": True}
            for one in self.accounts.values()
        ]
        start = whole(asked.body, "offset", 0)
        return {**OK, "account_list": rows[start : start + whole(asked.body, "limit", 100)]}

    async def _contact_way(self, asked: Asked) -> dict[str, Any]:
        account, scene = self._account(asked.body.get("open_kfid")), words(asked.body, "scene")
        if scene and not _ID.fullmatch(scene):
            raise Refusal(40058, "invalid scene")
        return {**OK, "url": f"https://work.weixin.qq.com/kfid/{account.open_kfid}?enc_scene={scene}"}

    async def _add_servicers(self, asked: Asked) -> dict[str, Any]:
        account = self._account(asked.body.get("open_kfid"))
        results = []
        for userid in self._named(asked):
            member = self.members.find(userid)
            code = 0 if member is not None and member.visible else 60030
            if code == 0:
                account.servicers.setdefault(userid, Servicer(userid))
            results.append({"userid": userid, "errcode": code, "errmsg": "ok" if code == 0 else "not visible"})
        return {**OK, "result_list": results}

    async def _delete_servicers(self, asked: Asked) -> dict[str, Any]:
        account = self._account(asked.body.get("open_kfid"))
        results = []
        for userid in self._named(asked):
            code = 0 if account.servicers.pop(userid, None) else 95014
            results.append({"userid": userid, "errcode": code, "errmsg": "ok" if code == 0 else "not a servicer"})
        return {**OK, "result_list": results}

    def _named(self, asked: Asked) -> list[str]:
        """The members named by userid_list or by their departments."""
        userids = several(asked.body, "userid_list")
        departments = asked.body.get("department_id_list") or []
        if len(userids) > 100 or len(departments) > 20 or not (userids or departments):
            raise Refusal(40058, "invalid userid_list or department_id_list")
        inside = [one.userid for one in self.members.held.values() if set(one.departments) & set(departments)]
        return [*userids, *inside]

    async def _list_servicers(self, asked: Asked) -> dict[str, Any]:
        account = self._account(asked.query.get("open_kfid"))
        rows = [{"userid": one.userid, "status": 0 if one.receiving else 1} for one in account.servicers.values()]
        return {**OK, "servicer_list": rows}

    # -- pulling ---------------------------------------------------------------------------------------------------

    async def _sync(self, asked: Asked) -> dict[str, Any]:
        body, now = asked.body, self.platform.now()
        account = self._account(body.get("open_kfid"))
        self._check_sync_token(words(body, "token"), account)
        limit = whole(body, "limit", 1000) or 1000
        if not 1 <= limit <= 1000 or whole(body, "voice_format", 0) not in {0, 1}:
            raise Refusal(40058, "invalid limit or voice_format")
        start = self._start(words(body, "cursor"), account)
        while start < len(account.rows) and now - account.rows[start]["send_time"] > HISTORY_SECONDS:
            start += 1
        size = min(limit, self.platform.rules.kf_page)
        if self.empty_pages > 0:
            self.empty_pages -= 1
            return {**OK, "next_cursor": self._cursor(account, start), "has_more": 1, "msg_list": []}
        rows = account.rows[start : start + size]
        more = 1 if start + size < len(account.rows) else 0
        return {**OK, "next_cursor": self._cursor(account, start + len(rows)), "has_more": more, "msg_list": rows}

    def _check_sync_token(self, token: str, account: KfAccount) -> None:
        now = self.platform.now()
        if token:
            open_kfid, issued_at = self._tokens.get(token, ("", float("-inf")))
            if open_kfid != account.open_kfid or now - issued_at > TOKEN_SECONDS:
                raise Refusal(95007, "invalid msg token")
            return
        self._without_token = [at for at in self._without_token if now - at < 60]
        if len(self._without_token) >= self.platform.rules.kf_calls_without_token_per_minute:
            raise Refusal(45009, "api freq out of limit")
        self._without_token.append(now)

    def _start(self, cursor: str, account: KfAccount) -> int:
        if not cursor:
            return 0
        open_kfid, start = self._cursors.get(cursor, ("", 0))
        if open_kfid != account.open_kfid:
            raise Refusal(40058, "invalid cursor")
        return start

    def _cursor(self, account: KfAccount, start: int) -> str:
        cursor = secrets.token_urlsafe(24)  # says nothing, and is another one each time
        self._cursors[cursor] = (account.open_kfid, start)
        return cursor

    # -- sending ---------------------------------------------------------------------------------------------------

    async def _send(self, asked: Asked) -> dict[str, Any]:
        body = asked.body
        account = self._account(body.get("open_kfid"))
        customer = words(body, "touser")
        if customer not in account.sessions:
            raise Refusal(40096, "invalid external userid")
        session = self.session(account.open_kfid, customer)
        msgid = self._check_msgid(account, body)
        self._check_open(session)
        kind, content = self._content(body)
        session.left -= 1
        account.msgids.add(msgid)
        await self._deliver(account, session, msgid, kind, content)
        return {**OK, "msgid": msgid}

    def _check_msgid(self, account: KfAccount, body: dict[str, Any]) -> str:
        msgid = words(body, "msgid") or secrets.token_hex(16)
        if not _ID.fullmatch(msgid):
            raise Refusal(40058, "invalid msgid")
        if msgid in account.msgids:
            raise Refusal(95033, "msgid already used")
        return msgid

    def _check_open(self, session: KfSession) -> None:
        if session.wrote_at is None:
            raise Refusal(95031, "customer has not written within 48 hours")
        if not self._in_window(session):
            raise Refusal(95002, "over 48 hours since the last message of the customer")
        if session.state == ENDED:
            raise Refusal(95013, "session ended")
        if session.state in {POOL, HUMAN}:
            raise Refusal(95018, "send is forbidden in this session state")
        if session.left <= 0:
            raise Refusal(95001, "out of message count limit")

    def _content(self, body: dict[str, Any], kinds: frozenset[str] = frozenset(_KINDS)) -> tuple[str, dict[str, Any]]:
        kind = words(body, "msgtype")
        content = part(body, kind)
        if kind not in kinds or not content:
            raise Refusal(40008, "invalid msgtype")
        if kind == "text":
            if not content.get("content"):
                raise Refusal(44004, "empty content")
            content = {**content, "content": cut(str(content["content"]), 2048)}
        if kind in {"image", "voice", "video", "file"}:
            self.media.check(content.get("media_id"))
        if kind == "msgmenu":
            _check_menu(content)
        return kind, content

    async def _deliver(
        self, account: KfAccount, session: KfSession, msgid: str, kind: str, content: dict[str, Any]
    ) -> None:
        """Onto the phone, or, although the call was answered with 0, a msg_send_fail later."""
        now = self.platform.now()
        fail = FAIL_REFUSED if session.rejects else self.fail_next.pop(0) if self.fail_next else None
        if fail is None:
            message = {"msgtype": kind, kind: content, "msgid": msgid}
            session.chat.append(Bubble("account", kind, words_of(kind, content), now, "api", message))
            return
        event = {"fail_msgid": msgid, "fail_type": fail}
        customer = session.customer
        self.platform.clock.later(0, lambda: self._event(account.open_kfid, "msg_send_fail", customer, event))

    async def _send_on_event(self, asked: Asked) -> dict[str, Any]:
        body, refused = asked.body, self.platform.rules.kf_code_refused
        given = words(body, "code")
        found = next(((one, one.codes[given]) for one in self.accounts.values() if given in one.codes), None)
        if found is None or found[1].used:
            raise Refusal(refused, "invalid code")
        account, code = found
        seconds, state, kinds = _CODES[code.moment]
        session = self.session(account.open_kfid, code.customer)
        if self.platform.now() - code.issued_at > seconds or (state is not None and session.state != state):
            raise Refusal(refused, "invalid code")
        msgid = self._check_msgid(account, body)
        kind, content = self._content(body, kinds)
        code.used = True
        account.msgids.add(msgid)
        await self._deliver(account, session, msgid, kind, content)
        return {**OK, "msgid": msgid}

    # -- states ----------------------------------------------------------------------------------------------------

    async def _get_state(self, asked: Asked) -> dict[str, Any]:
        account = self._account(asked.body.get("open_kfid"))
        session = self.session(account.open_kfid, words(asked.body, "external_userid"))
        return {**OK, "service_state": session.state, "servicer_userid": session.servicer}

    async def _trans(self, asked: Asked) -> dict[str, Any]:
        body = asked.body
        account = self._account(body.get("open_kfid"))
        session = self.session(account.open_kfid, words(body, "external_userid"))
        wanted, userid = whole(body, "service_state", -1), words(body, "servicer_userid")
        if wanted not in STATES[session.state]:
            raise Refusal(95016, "invalid state transition")
        if wanted == HUMAN:
            self._check_servicer(account, userid)
            if session.state == HUMAN and session.servicer == userid:
                raise Refusal(95016, "already with this servicer")
        session.state, session.servicer = wanted, userid if wanted == HUMAN else ""
        session.active_at = self.platform.now()
        moments: dict[int, Moment] = {POOL: "pool", HUMAN: "human", ENDED: "end"}
        if wanted not in moments:
            return dict(OK)
        return {**OK, "msg_code": self._code(account.open_kfid, session.customer, moments[wanted])}

    def _check_servicer(self, account: KfAccount, userid: str) -> None:
        servicer, member = account.servicers.get(userid), self.members.find(userid)
        if servicer is None or member is None or member.status != 1:
            raise Refusal(95014, "not a servicer, or not activated")
        if not servicer.receiving:
            raise Refusal(95019, "servicer has stopped receiving")

    async def _customers(self, asked: Asked) -> dict[str, Any]:
        wanted = several(asked.body, "external_userid_list")
        if not 1 <= len(wanted) <= 100:
            raise Refusal(40058, "invalid external_userid_list")
        active: dict[str, KfSession] = {}
        for account in self.accounts.values():
            for customer, session in account.sessions.items():
                entered = (
                    session.welcomed_at is not None and self.platform.now() - session.welcomed_at <= WINDOW_SECONDS
                )
                if self._in_window(session) or entered:
                    active[customer] = session
        context = bool(asked.body.get("need_enter_session_context"))
        rows = [self._customer(active[one], context=context) for one in wanted if one in active]
        invalid = [one for one in wanted if one not in active]
        return {**OK, "customer_list": rows, "invalid_external_userid": invalid}

    def _customer(self, session: KfSession, *, context: bool) -> dict[str, Any]:
        outsider = self.contacts.outsiders[session.customer]
        found: dict[str, Any] = {
            "external_userid": session.customer,
            "nickname": outsider.name,
            "avatar": "",
            "gender": 0,
        }
        if outsider.unionid:
            found["unionid"] = outsider.unionid
        if context:
            found["enter_session_context"] = {"scene": session.scene[0], "scene_param": session.scene[1]}
        return found


def _check_menu(content: dict[str, Any]) -> None:
    choices = content.get("list")
    if not isinstance(choices, list) or len(choices) > 50:
        raise Refusal(40058, "invalid msgmenu list")
    if sum(one.get("type") in {"click", "view", "miniprogram"} for one in choices) > 10:
        raise Refusal(95008, "more than ten choices")
    for one in choices:
        click = part(one, "click")
        if one.get("type") == "click" and not (
            0 < len(str(click.get("content", "")).encode()) <= 128 and len(str(click.get("id", "")).encode()) <= 128
        ):
            raise Refusal(40058, "invalid click")
    for name in ("head_content", "tail_content"):
        if len(words(content, name).encode()) > 1024:
            raise Refusal(45002, f"{name} is too long")

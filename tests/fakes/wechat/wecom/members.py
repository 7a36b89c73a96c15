"""The corporation's members (officers): app messages to them, their log-in codes."""

import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from tests.fakes.wechat.chat import Bubble, words_of
from tests.fakes.wechat.clock import DAY
from tests.fakes.wechat.media import MediaStore
from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.serving import OK, Asked, Endpoints, Refusal, part, several, whole, words
from tests.fakes.wechat.wecom.apps import Apps

CODE_SECONDS = 300
TICKET_SECONDS = 1800
CARD_SECONDS = 72 * 3600
TEXT_LIMIT_BYTES = 2048
_KINDS = {"text", "markdown", "textcard", "news", "image", "voice", "video", "file", "template_card"}
PushEvent = Callable[[str, str, str, dict[str, str]], Awaitable[object]]


@dataclass
class Member:
    """`status`: 1 active, 2 disabled, 4 not activated, 5 left. `visible`: in the app's range. `chat`: what it sent."""

    userid: str
    name: str = ""
    status: int = 1
    mobile: str = ""
    departments: list[int] = field(default_factory=lambda: [1])
    tags: list[int] = field(default_factory=list)
    visible: bool = True
    real_name: bool = True
    has_contacts: bool = True  # 客户联系 is switched on for him
    chat: list[Bubble] = field(default_factory=list)
    got_at: list[float] = field(default_factory=list)

    @property
    def inbox(self) -> list[dict[str, Any]]:
        """The app messages on his phone, as they were sent."""
        return [bubble.message for bubble in self.chat if bubble.by == "account"]


@dataclass
class AppMessage:
    msgid: str
    message: dict[str, Any]
    sent_at: float
    userids: list[str]
    response_code: str = ""
    response_used: bool = False


@dataclass
class LoginCode:
    """Who logs in: a member, or an outsider by openid."""

    userid: str
    openid: str
    issued_at: float
    used: bool = False


class Members:
    def __init__(self, platform: Platform, apps: Apps, media: MediaStore, push: PushEvent) -> None:
        self.platform, self.apps, self.media, self._push = platform, apps, media, push
        self.held: dict[str, Member] = {}
        self.messages: dict[str, AppMessage] = {}
        self.codes: dict[str, LoginCode] = {}
        self.tickets: dict[str, tuple[str, float]] = {}
        self.at_the_screen = ""  # who answers the log-in page; "" shows an outsider
        self._sent_before: dict[str, float] = {}

    def endpoints(self) -> Endpoints:
        return {
            ("POST", "message/send"): self._send,
            ("POST", "message/recall"): self._recall,
            ("POST", "message/update_template_card"): self._update_card,
            ("GET", "auth/getuserinfo"): self._user_info,
            ("POST", "auth/getuserdetail"): self._user_detail,
            ("GET", "user/get"): self._get,
        }

    # -- what members are and do -----------------------------------------------------------------------------------

    def add(self, userid: str, name: str = "", **more: Any) -> Member:
        member = self.held[userid.lower()] = Member(userid, name or userid, **more)
        return member

    def find(self, userid: str) -> Member | None:
        """User ids know no case."""
        return self.held.get(userid.lower())

    def access(self, userid: object) -> Member:
        member = self.find(str(userid))
        if member is None:
            raise Refusal(60111, "userid not found")
        if not member.visible:
            raise Refusal(60011, "no privilege to access/modify this member")
        return member

    def login_code(self, userid: str = "", openid: str = "") -> str:
        """A fresh log-in code of this member, or of an outsider: single use, five minutes."""
        code = secrets.token_urlsafe(24)
        self.codes[code] = LoginCode(userid, openid, self.platform.now())
        return code

    async def press(self, userid: str, key: str, msgid: str = "") -> object:
        """A member presses a button of the newest (or this) template card: pushes template_card_event."""
        cards = [one for one in self.messages.values() if one.response_code and userid in one.userids]
        card = self.messages[msgid] if msgid else cards[-1]
        inner = part(card.message, "template_card")
        card.response_code, card.response_used, card.sent_at = secrets.token_urlsafe(24), False, self.platform.now()
        fields = {
            "EventKey": key,
            "TaskId": str(inner.get("task_id", "")),
            "CardType": str(inner.get("card_type", "")),
            "ResponseCode": card.response_code,
        }
        return await self._push("app", userid, "template_card_event", fields)

    async def enter(self, userid: str) -> object:
        """A member opens the app."""
        return await self._push("app", userid, "enter_agent", {"EventKey": ""})

    # -- messages --------------------------------------------------------------------------------------------------

    async def _send(self, asked: Asked) -> dict[str, Any]:
        body = asked.body
        self._check_agent(asked)
        kind = words(body, "msgtype")
        content = body.get(kind)
        if kind not in _KINDS or not isinstance(content, dict):
            raise Refusal(40008, "invalid message type")
        if kind in {"text", "markdown"} and not content.get("content"):
            raise Refusal(44004, "empty content")
        if kind in {"image", "voice", "video", "file"}:
            self.media.check(content.get("media_id"))
        members, invalid = self._recipients(body)
        message = AppMessage(secrets.token_urlsafe(32), body, self.platform.now(), [one.userid for one in members])
        self.messages[message.msgid] = message
        if kind == "template_card":
            message.response_code = secrets.token_urlsafe(24)
        if not self._is_duplicate(body):
            for member in members:
                self._deliver(member, kind, content, message)
        answer = {**OK, "msgid": message.msgid, **invalid}
        return answer | ({"response_code": message.response_code} if message.response_code else {})

    def _check_agent(self, asked: Asked) -> None:
        if whole(asked.body, "agentid", -1) != self.apps.of(asked).agent_id:
            raise Refusal(40056, "invalid agentid")

    def _recipients(self, body: dict[str, Any]) -> tuple[list[Member], dict[str, str]]:
        """The members addressed, and the answer's invalid…, in lower case, for those who cannot be."""
        users, parties, tags = (words(body, name) for name in ("touser", "toparty", "totag"))
        if not (users or parties or tags):
            raise Refusal(82001, "all recipients missing")
        if users == "@all":
            return [one for one in self.held.values() if _reachable(one)], {}
        userids = [one for one in users.split("|") if one]
        if len(userids) > 1000:
            raise Refusal(40058, "touser exceeds 1000")
        found: dict[str, Member] = {}
        invalid: dict[str, list[str]] = {"invaliduser": [], "invalidparty": [], "invalidtag": []}
        for userid in userids:
            member = self.find(userid)
            if member is not None and _reachable(member):
                found[userid.lower()] = member
            else:
                invalid["invaliduser"].append(userid.lower())
        for name, group in (("invalidparty", parties), ("invalidtag", tags)):
            for number in (one for one in group.split("|") if one):
                inside = [
                    one
                    for one in self.held.values()
                    if number in map(str, one.departments if name == "invalidparty" else one.tags) and _reachable(one)
                ]
                found |= {one.userid.lower(): one for one in inside}
                if not inside:
                    invalid[name].append(number)
        if not found:
            raise Refusal(81013, "user & party & tag all invalid")
        return list(found.values()), {name: "|".join(ids) for name, ids in invalid.items() if ids}

    def _is_duplicate(self, body: dict[str, Any]) -> bool:
        if not body.get("enable_duplicate_check"):
            return False
        key = json.dumps(body, sort_keys=True)
        now, seconds = self.platform.now(), min(whole(body, "duplicate_check_interval", 1800), 14_400)
        before = self._sent_before.get(key, float("-inf"))
        self._sent_before[key] = now
        return now - before < seconds

    def _deliver(self, member: Member, kind: str, content: dict[str, Any], message: AppMessage) -> None:
        """Onto the member's phone; more than 30 a minute or 1000 an hour are dropped without a word."""
        now, rules = self.platform.now(), self.platform.rules
        member.got_at = [at for at in member.got_at if now - at < 3600]
        if sum(now - at < 60 for at in member.got_at) >= rules.app_messages_per_minute:
            return
        if len(member.got_at) >= rules.app_messages_per_hour:
            return
        member.got_at.append(now)
        if kind in {"text", "markdown"}:
            content = {**content, "content": cut(str(content["content"]), TEXT_LIMIT_BYTES)}
        shown = {"msgtype": kind, kind: content, "at": now, "msgid": message.msgid}
        member.chat.append(Bubble("account", kind, _card_words(kind, content), now, "api", shown))

    async def _recall(self, asked: Asked) -> dict[str, Any]:
        message = self.messages.get(words(asked.body, "msgid"))
        if message is None or self.platform.now() - message.sent_at > DAY:
            raise Refusal(40058, "invalid msgid")
        for member in self.held.values():
            member.chat = [one for one in member.chat if one.message.get("msgid") != message.msgid]
        return OK

    async def _update_card(self, asked: Asked) -> dict[str, Any]:
        self._check_agent(asked)
        code, now = words(asked.body, "response_code"), self.platform.now()
        card = next((one for one in self.messages.values() if code and one.response_code == code), None)
        if card is None or card.response_used or now - card.sent_at > CARD_SECONDS:
            raise Refusal(40058, "invalid response_code")
        card.response_used = True
        label = str(part(asked.body, "button").get("replace_name", "")) or "[卡片已更新]"
        for userid in several(asked.body, "userids") or card.userids:
            if (member := self.find(userid)) is not None:
                member.chat.append(Bubble("notice", "card", label, now, "api", dict(asked.body)))
        return OK

    # -- log-in ----------------------------------------------------------------------------------------------------

    async def _user_info(self, asked: Asked) -> dict[str, Any]:
        code = self.codes.get(asked.query.get("code", ""))
        if code is None or self.platform.now() - code.issued_at > CODE_SECONDS:
            raise Refusal(40029, "invalid code")
        if code.used:
            raise Refusal(42022, "code has been used")
        code.used = True
        if not code.userid:
            return {**OK, "openid": code.openid}
        ticket = secrets.token_urlsafe(24)
        self.tickets[ticket] = (code.userid, self.platform.now())
        return {**OK, "userid": code.userid, "user_ticket": ticket}  # also for members outside the app's range

    async def _user_detail(self, asked: Asked) -> dict[str, Any]:
        userid, at = self.tickets.get(words(asked.body, "user_ticket"), ("", float("-inf")))
        if self.platform.now() - at > TICKET_SECONDS:
            raise Refusal(40001, "invalid user_ticket")
        return {**OK, "userid": userid, "mobile": self.access(userid).mobile}

    async def _get(self, asked: Asked) -> dict[str, Any]:
        member = self.access(asked.query.get("userid", ""))
        found = {"userid": member.userid, "name": member.name, "status": member.status, "mobile": member.mobile}
        return {**OK, **found, "department": member.departments}

    async def authorise(self, request: web.Request) -> web.Response:
        """The log-in page: sends whoever is `at_the_screen` back to redirect_uri with a code and the state."""
        asked = request.query
        address = asked.get("redirect_uri", "")
        host = urlsplit(address).netloc
        trusted = self.platform.rules.trusted_host
        if asked.get("appid") != self.apps.corp_id or not host or (trusted and host != trusted):
            return web.Response(text="50001 redirect_uri 与配置的授权完成回调域名不一致", status=200)
        openid = "" if self.at_the_screen else "o-outsider"
        code = self.login_code(self.at_the_screen, openid)
        query = urlencode({"code": code, "state": asked.get("state", "")})
        raise web.HTTPFound(f"{address}{'&' if '?' in address else '?'}{query}")


def cut(text: str, limit_bytes: int) -> str:
    """At most so many UTF-8 bytes, whole characters."""
    return text.encode()[:limit_bytes].decode(errors="ignore")


def _reachable(member: Member) -> bool:
    return member.visible and member.status == 1


def _card_words(kind: str, content: dict[str, Any]) -> str:
    if kind != "template_card":
        return words_of(kind, content)
    title = part(content, "main_title")
    buttons = " ".join(f"[{one.get('text')}]" for one in content.get("button_list") or ())
    return "\n".join(filter(None, [str(title.get("title", "")), str(title.get("desc", "")), buttons]))

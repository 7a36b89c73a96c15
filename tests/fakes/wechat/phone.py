"""The page on which a person plays a resident's phone (and an officer's), beside clock, journal and faults."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from tests.fakes.wechat.chat import Bubble
from tests.fakes.wechat.clock import CHINA
from tests.fakes.wechat.delivery import Push
from tests.fakes.wechat.faults import Effect, Fault
from tests.fakes.wechat.journal import Call
from tests.fakes.wechat.media import type_of
from tests.fakes.wechat.wecom.groupmsg import UNSENT
from tests.fakes.wechat.wecom.kf import POOL

if TYPE_CHECKING:
    from tests.fakes.wechat.emulator import FakeWeChat

_PAGE = (Path(__file__).parent / "phone.html").read_text(encoding="utf-8")
_SHOWN_CALLS = 60
_STATES = ("未处理", "机器人接待", "排队中", "人工接待", "已结束")
_OFFICIAL, _KF, _CONTACT, _OFFICER = "account", "kf", "contact", "officer"


@dataclass(frozen=True)
class Deed:
    """What somebody does on the page: on which `desk`, as which `person`, with the rest of the form."""

    desk: str
    person: str
    what: str
    given: Mapping[str, Any]

    def text(self, name: str) -> str:
        return str(self.given.get(name, "")).strip()


class NotNow(Exception):
    """It cannot be done; the sentence is shown on the page."""


def routes(wechat: "FakeWeChat") -> list[web.RouteDef]:
    phone = Phone(wechat)
    return [
        web.get("/", phone.page),
        web.get("/phone/state", phone.state),
        web.post("/phone/do", phone.do),
        web.post("/phone/picture", phone.picture),
        web.get("/phone/media/{media_id}", phone.medium),
    ]


class Phone:
    def __init__(self, wechat: "FakeWeChat") -> None:
        self.wechat = wechat

    async def page(self, _: web.Request) -> web.Response:
        return web.Response(text=_PAGE, content_type="text/html")

    # -- what is seen ----------------------------------------------------------------------------------------------

    async def state(self, request: web.Request) -> web.Response:
        desk, person = request.query.get("desk", _OFFICIAL), request.query.get("person", "")
        views = {_OFFICIAL: self._account, _KF: self._kf, _CONTACT: self._contact, _OFFICER: self._officer}
        if desk not in views:
            raise web.HTTPNotFound
        shared = {
            "now": datetime.fromtimestamp(self.wechat.now(), UTC).astimezone(CHINA).strftime("%m月%d日 %H:%M:%S"),
            "journal": self._journal(),
            "faults": [{"path": one.path, "effect": one.effect, "value": one.value} for one in self.wechat.faults],
            "effects": get_args(Effect),
        }
        return web.json_response(shared | views[desk](person))

    def _account(self, openid: str) -> dict[str, Any]:
        person = self.wechat.followers.get(openid)
        left = 0
        if person is not None and self.wechat.now() < person.window.until:
            left = person.window.left
        return {
            "people": sorted(self.wechat.followers),
            "following": person is not None and person.following,
            "chat": [_bubble(one) for one in person.chat] if person is not None else [],
            "menu": self.wechat.menu.seen_by(openid) if person is not None else self.wechat.menu.buttons,
            "note": f"还可发客服消息 {left} 条",
            "scenes": sorted({code.scene for code in self.wechat.scenes.codes.values()}),
            "connected": self.wechat.pusher is not None,
            "templates": sorted(self.wechat.notices.subscriptions),
        }

    def _kf(self, customer: str) -> dict[str, Any]:
        kf = self.wechat.wecom.kf
        customers = sorted({one for account in kf.accounts.values() for one in account.sessions})
        open_kfid = next(iter(kf.accounts), "")
        seen = {"people": customers, "chat": [], "note": "没有客服帐号", "connected": "kf" in self.wechat.wecom.pushers}
        if open_kfid and customer:
            session = kf.session(open_kfid, customer)
            state = _STATES[session.state] + (f"（{session.servicer}）" if session.servicer else "")
            seen |= {"chat": [_bubble(one) for one in session.chat], "note": f"{state} · 还可发 {session.left} 条"}
        return seen

    def _contact(self, external_userid: str) -> dict[str, Any]:
        contacts = self.wechat.wecom.contacts
        own = [one for one in contacts.friendships.values() if one.external_userid == external_userid]
        friend = next((one for one in own if not one.removed), None)
        return {
            "people": sorted(contacts.outsiders),
            "following": friend is not None,
            "chat": [_bubble(one) for one in (friend or own[0]).chat] if own else [],
            "note": f"民警 {friend.userid}" if friend else "还没有加民警",
            "scenes": sorted(contacts.ways),
            "connected": "contact" in self.wechat.wecom.pushers,
        }

    def _officer(self, userid: str) -> dict[str, Any]:
        corp = self.wechat.wecom
        member = corp.members.find(userid)
        waiting = [
            {"id": task.msgid, "text": str((task.body.get("text") or {}).get("content", "[附件]")), "count": len(mine)}
            for task in corp.mass.tasks.values()
            if not task.cancelled
            and (mine := [one for one in task.recipients if one.userid == userid and one.status == UNSENT])
            and userid not in task.confirmed
        ]
        served = [
            {"customer": session.customer, "state": _STATES[session.state], "waits": session.state == POOL}
            for account in corp.kf.accounts.values()
            for session in account.sessions.values()
            if session.state == POOL or session.servicer == userid
        ]
        return {
            "people": sorted(one.userid for one in corp.members.held.values()),
            "chat": [_bubble(one) for one in member.chat] if member else [],
            "note": member.name if member else "",
            "tasks": waiting,
            "served": served,
            "connected": "app" in corp.pushers,
        }

    def _journal(self) -> list[dict[str, Any]]:
        """API calls of the program and pushes to it, the newest first."""
        rows = [(call.at, _call_row(call)) for call in self.wechat.journal[-_SHOWN_CALLS:]]
        pushers = {id(one): one for one in (self.wechat.pusher, *self.wechat.wecom.pushers.values()) if one is not None}
        for pusher in pushers.values():
            rows += [(push.at, _push_row(push)) for push in pusher.pushes[-_SHOWN_CALLS:]]
        rows.sort(key=lambda row: row[0], reverse=True)
        return [
            {"at": datetime.fromtimestamp(at, UTC).astimezone(CHINA).strftime("%H:%M:%S"), **row}
            for at, row in rows[:_SHOWN_CALLS]
        ]

    async def medium(self, request: web.Request) -> web.Response:
        media_id = request.match_info["media_id"]
        medium = self.wechat.media.get(media_id) or self.wechat.wecom.media.held.get(media_id)
        if medium is None:
            raise web.HTTPNotFound
        return web.Response(body=medium.data, content_type=medium.content_type)

    # -- what is done ----------------------------------------------------------------------------------------------

    async def do(self, request: web.Request) -> web.Response:
        given = await request.json()
        deed = Deed(str(given.get("desk")), str(given.get("person", "")), str(given.get("what")), given)
        table = {
            (_OFFICIAL, "follow"): self._follow,
            (_OFFICIAL, "unfollow"): self._unfollow,
            (_OFFICIAL, "write"): self._write,
            (_OFFICIAL, "tap"): self._tap,
            (_OFFICIAL, "link"): self._link,
            (_OFFICIAL, "voice"): self._voice,
            (_OFFICIAL, "location"): self._location,
            (_OFFICIAL, "accept"): self._accept,
            (_KF, "follow"): self._kf_enter,
            (_KF, "write"): self._kf_write,
            (_KF, "choose"): self._kf_choose,
            (_KF, "voice"): self._kf_voice,
            (_KF, "location"): self._kf_location,
            (_CONTACT, "follow"): self._befriend,
            (_CONTACT, "unfollow"): self._unfriend,
            (_CONTACT, "write"): self._talk,
            (_OFFICER, "confirm"): self._confirm,
            (_OFFICER, "press"): self._press,
            (_OFFICER, "take"): self._take,
            (_OFFICER, "end"): self._end,
            (_OFFICER, "serve"): self._serve,
        }
        shared = {"clock": self._clock, "fault": self._fault, "clear": self._clear, "expire": self._expire}
        act = shared.get(deed.what) or table.get((deed.desk, deed.what))
        try:
            if act is None:
                raise NotNow("这里没有这个功能")
            await act(deed)
        except (NotNow, LookupError, ValueError) as refusal:
            return web.json_response({"error": str(refusal) or "现在做不了"})
        return web.json_response({})

    async def picture(self, request: web.Request) -> web.Response:
        form = await request.post()
        file, desk, person = form.get("file"), str(form.get("desk")), str(form.get("person"))
        if not isinstance(file, web.FileField):
            raise web.HTTPBadRequest
        data = file.file.read()
        if desk == _KF:
            media_id = self.wechat.wecom.media.add(data, type_of(data))
            await self.wechat.wecom.kf.sends(self._open_kfid(), person, "image", {"media_id": media_id})
        elif self.wechat.pusher is not None:
            media_id = self.wechat.add_media(data, type_of(data))
            address = f"{self.wechat.url}/phone/media/{media_id}"
            await self.wechat.pusher.message(person, "image", {"PicUrl": address, "MediaId": media_id})
        return web.json_response({})

    @property
    def _pusher(self) -> Any:
        if self.wechat.pusher is None:
            raise NotNow("没有连接回调地址：用 --callback 启动")
        return self.wechat.pusher

    async def _follow(self, deed: Deed) -> None:
        if scene := deed.text("scene"):
            await self.wechat.scan(scene, deed.person)
        else:
            self.wechat.follower(deed.person)
            await self._pusher.event(deed.person, "subscribe", {"EventKey": ""})

    async def _unfollow(self, deed: Deed) -> None:
        await self._pusher.event(deed.person, "unsubscribe", {"EventKey": ""})

    async def _write(self, deed: Deed) -> None:
        if words := deed.text("words"):
            await self._pusher.text(deed.person, words)

    async def _tap(self, deed: Deed) -> None:
        await self.wechat.tap(deed.person, deed.text("key"))

    async def _link(self, deed: Deed) -> None:
        """A tap-to-send link: weixin://bizmsgmenu?msgmenucontent=…&msgmenuid=…"""
        query = parse_qs(urlsplit(deed.text("href")).query)
        fields = {"Content": query["msgmenucontent"][0], "bizmsgmenuid": query.get("msgmenuid", ["0"])[0]}
        await self._pusher.message(deed.person, "text", fields)

    async def _voice(self, deed: Deed) -> None:
        """Without recognition, as is usual."""
        media_id = self.wechat.add_media(b"#!AMR\n" + secrets.token_bytes(64), "audio/amr")
        fields = {"MediaId": media_id, "Format": "amr"}
        await self._pusher.message(deed.person, "voice", fields)

    async def _location(self, deed: Deed) -> None:
        fields = {"Location_X": "29.7201", "Location_Y": "120.2403", "Scale": "15", "Label": deed.text("words")}
        await self._pusher.message(deed.person, "location", fields)

    async def _accept(self, deed: Deed) -> None:
        await self.wechat.notices.accept(deed.person, deed.text("template"))

    def _open_kfid(self) -> str:
        accounts = self.wechat.wecom.kf.accounts
        if not accounts:
            raise NotNow("没有客服帐号")
        return next(iter(accounts))

    async def _kf_enter(self, deed: Deed) -> None:
        await self.wechat.wecom.kf.enters(self._open_kfid(), deed.person, deed.text("scene"))

    async def _kf_write(self, deed: Deed) -> None:
        if words := deed.text("words"):
            await self.wechat.wecom.kf.writes(self._open_kfid(), deed.person, words)

    async def _kf_choose(self, deed: Deed) -> None:
        kf = self.wechat.wecom.kf
        await kf.writes(self._open_kfid(), deed.person, deed.text("words"), menu_id=deed.text("id"))

    async def _kf_voice(self, deed: Deed) -> None:
        media_id = self.wechat.wecom.media.add(b"#!AMR\n" + secrets.token_bytes(64), "audio/amr")
        await self.wechat.wecom.kf.sends(self._open_kfid(), deed.person, "voice", {"media_id": media_id})

    async def _kf_location(self, deed: Deed) -> None:
        place = {"latitude": 29.7201, "longitude": 120.2403, "name": deed.text("words"), "address": ""}
        await self.wechat.wecom.kf.sends(self._open_kfid(), deed.person, "location", place, words=deed.text("words"))

    async def _befriend(self, deed: Deed) -> None:
        ways = self.wechat.wecom.contacts.ways
        if not ways:
            raise NotNow("还没有「联系我」二维码")
        await self.wechat.wecom.contacts.scan(deed.text("scene") or next(iter(ways)), deed.person)

    def _friend(self, deed: Deed) -> str:
        friends = self.wechat.wecom.contacts.friendships.values()
        for one in friends:
            if one.external_userid == deed.person and not one.removed:
                return one.userid
        raise NotNow("先扫码加民警")

    async def _unfriend(self, deed: Deed) -> None:
        await self.wechat.wecom.contacts.customer_removes(self._friend(deed), deed.person)

    async def _talk(self, deed: Deed) -> None:
        if words := deed.text("words"):
            self.wechat.wecom.contacts.talk(self._friend(deed), deed.person, words)

    async def _confirm(self, deed: Deed) -> None:
        self.wechat.wecom.mass.confirm(deed.text("id"), deed.person)

    async def _press(self, deed: Deed) -> None:
        await self.wechat.wecom.members.press(deed.person, deed.text("key"), deed.text("id"))

    async def _take(self, deed: Deed) -> None:
        await self.wechat.wecom.kf.servicer_takes(self._open_kfid(), deed.text("customer"), deed.person)

    async def _end(self, deed: Deed) -> None:
        await self.wechat.wecom.kf.servicer_ends(self._open_kfid(), deed.text("customer"))

    async def _serve(self, deed: Deed) -> None:
        kf, words = self.wechat.wecom.kf, deed.text("words")
        await kf.servicer_writes(self._open_kfid(), deed.text("customer"), deed.person, words)

    async def _clock(self, deed: Deed) -> None:
        await self.wechat.settle(float(deed.given.get("seconds", 0)))

    async def _fault(self, deed: Deed) -> None:
        effect, value = deed.text("effect"), deed.text("value")
        if effect not in get_args(Effect):
            raise NotNow("没有这种故障")
        if effect in {"errcode", "status", "status_after"}:
            number: Any = int(value)
        else:
            number = float(value) if effect in {"delay", "delay_after"} else value or None
        times = int(deed.text("times")) if deed.text("times") else None
        self.wechat.faults.append(Fault(deed.text("path"), effect, number, times=times))  # type: ignore[arg-type]

    async def _clear(self, _: Deed) -> None:
        self.wechat.faults.clear()

    async def _expire(self, _: Deed) -> None:
        self.wechat.expire_tokens()


def _bubble(one: Bubble) -> dict[str, Any]:
    """For the page: the words, and what can be tapped or looked at."""
    at = datetime.fromtimestamp(one.at, UTC).astimezone(CHINA).strftime("%H:%M")
    content = one.message.get(one.kind)
    inner = content if isinstance(content, dict) else one.message
    media_id = inner.get("media_id") or inner.get("MediaId") or next(iter(inner.get("media_ids") or ()), "")
    shown = {"by": one.by, "kind": one.kind, "words": one.words, "at": at, "via": one.via}
    if one.kind == "image" and media_id:
        shown["picture"] = f"/phone/media/{media_id}"
    if one.kind == "msgmenu":
        shown["words"] = str(inner.get("head_content", ""))
        shown["tail"] = str(inner.get("tail_content", ""))
        shown["choices"] = [_choice(choice) for choice in inner.get("list") or ()]  # type: ignore[assignment]
    if one.kind == "template_card":
        title = inner.get("main_title") or {}
        shown["words"] = "\n".join(filter(None, [str(title.get("title", "")), str(title.get("desc", ""))]))
        buttons = [{"text": str(b.get("text")), "key": str(b.get("key"))} for b in inner.get("button_list") or ()]
        shown |= {"buttons": buttons, "id": str(one.message.get("msgid", ""))}  # type: ignore[dict-item]
    return shown


def _choice(choice: dict[str, Any]) -> dict[str, str]:
    """One line of a menu message: of the account {id, content}, of kf {type, click: {id, content}}."""
    kind = str(choice.get("type", "click"))
    inner = choice.get(kind) if isinstance(choice.get(kind), dict) else choice
    assert isinstance(inner, dict)
    names = {"id": "id", "text": "content", "url": "url"}
    return {"type": kind} | {shown: str(inner.get(name, "")) for shown, name in names.items()}


def _call_row(call: Call) -> dict[str, str]:
    none = "无应答" if call.fault else "文件"
    code = none if call.errcode is None else f"errcode {call.errcode}"
    fault = f" · 故障 {call.fault}" if call.fault else ""
    return {"way": "调用", "what": f"{call.method} {call.path}", "result": code + fault}


def _push_row(push: Push) -> dict[str, str]:
    name = push.fields.get("Event") or push.fields.get("MsgType", "")
    last = push.attempts[-1]
    spent = f"{last.status or last.error} · {last.seconds * 1000:.0f} ms"
    bad = "没有应答" if last.status is None else "应答不合格"
    verdict = {"silent": "无回复", "reply": "有回复", "fault notice": bad}[push.verdict]
    again = f" · {len(push.attempts)} 次" if len(push.attempts) > 1 else ""
    return {"way": "推送", "what": name, "result": f"{spent} · {verdict}{again}"}

"""External contacts (客户联系): contact ways with a QR code, who added whom, remarks, tags, the welcome message."""

import io
import itertools
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import segno
from aiohttp import web

from tests.fakes.wechat.chat import Bubble, words_of
from tests.fakes.wechat.clock import DAY
from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.serving import OK, Asked, Endpoints, Refusal, part, several, whole, words
from tests.fakes.wechat.wecom.apps import App, Apps
from tests.fakes.wechat.wecom.members import Members

WELCOME_SECONDS = 20
TEXT_LIMIT_BYTES = 4000
PushEvent = Callable[[str, str, str, dict[str, str]], Awaitable[object]]


@dataclass
class ContactWay:
    """What add_contact_way made; `given` is its body."""

    config_id: str
    userids: list[str]
    state: str
    given: dict[str, Any]
    created_at: float


@dataclass
class Friendship:
    """One member and one resident who are in each other's contacts. `chat` is what the resident's phone shows."""

    userid: str
    external_userid: str
    added_at: float
    state: str = ""
    remark: str = ""
    description: str = ""
    mobiles: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    add_way: int = 1  # 1: by a QR code; 202: an admin gave him
    removed: bool = False  # the resident removed the officer
    chatting: bool = False  # both have written already
    talked_at: float = 0
    chat: list[Bubble] = field(default_factory=list)


@dataclass
class Outsider:
    """A resident as WeCom knows him."""

    external_userid: str
    name: str
    unionid: str = ""
    mass_in_month: dict[str, int] = field(default_factory=dict)


@dataclass
class Welcome:
    code: str
    userid: str
    external_userid: str
    issued_at: float
    used_by: App | None = None


@dataclass
class CorpTag:
    id: str
    name: str
    group_id: str
    group_name: str
    by: App | None


class Contacts:
    def __init__(self, platform: Platform, apps: Apps, members: Members, push: PushEvent) -> None:
        self.platform, self.apps, self.members, self._push = platform, apps, members, push
        self.ways: dict[str, ContactWay] = {}
        self.outsiders: dict[str, Outsider] = {}
        self.friendships: dict[tuple[str, str], Friendship] = {}
        self.welcomes: dict[str, Welcome] = {}
        self.tags: dict[str, CorpTag] = {}
        self._numbers = itertools.count(1)

    def endpoints(self) -> Endpoints:
        table = {
            "add_contact_way": self._add_way,
            "get_contact_way": self._get_way,
            "list_contact_way": self._list_ways,
            "update_contact_way": self._update_way,
            "del_contact_way": self._delete_way,
            "batch/get_by_user": self._batch,
            "remark": self._remark,
            "mark_tag": self._mark_tag,
            "get_corp_tag_list": self._list_tags,
            "add_corp_tag": self._add_tags,
            "edit_corp_tag": self._edit_tag,
            "del_corp_tag": self._delete_tags,
            "send_welcome_msg": self._send_welcome,
        }
        posts: Endpoints = {("POST", f"externalcontact/{path}"): serve for path, serve in table.items()}
        return posts | {
            ("GET", "externalcontact/list"): self._list,
            ("GET", "externalcontact/get"): self._get,
            ("GET", "externalcontact/get_follow_user_list"): self._members_with_contacts,
        }

    # -- what residents and officers do ----------------------------------------------------------------------------

    async def scan(self, config_id: str, external_userid: str, *, userid: str = "", name: str = "居民") -> object:
        """A resident scans a contact way and is added: add_external_contact with State and WelcomeCode."""
        way = self.ways[config_id]
        return await self.add(userid or way.userids[0], external_userid, state=way.state, name=name)

    async def add(self, userid: str, external_userid: str, *, state: str = "", name: str = "居民") -> object:
        """A resident and a member become contacts, however that came; no WelcomeCode if they chat already."""
        now = self.platform.now()
        member = self.members.access(userid)
        self.outsiders.setdefault(external_userid, Outsider(external_userid, name))
        before = self.friendships.get((member.userid, external_userid))
        friendship = before or Friendship(member.userid, external_userid, now)
        friendship.removed, friendship.state, friendship.talked_at = False, state, now
        self.friendships[member.userid, external_userid] = friendship
        fields = {"UserID": member.userid, "ExternalUserID": external_userid} | ({"State": state} if state else {})
        if not friendship.chatting:
            code = secrets.token_urlsafe(24)
            self.welcomes[code] = Welcome(code, member.userid, external_userid, now)
            fields["WelcomeCode"] = code
        return await self._change("add_external_contact", fields)

    async def customer_removes(self, userid: str, external_userid: str) -> object:
        """The resident removes the officer: del_follow_user."""
        self.friendships[userid, external_userid].removed = True
        return await self._change("del_follow_user", {"UserID": userid, "ExternalUserID": external_userid})

    async def officer_removes(self, userid: str, external_userid: str) -> object:
        """The officer removes the resident: del_external_contact."""
        del self.friendships[userid, external_userid]
        return await self._change("del_external_contact", {"UserID": userid, "ExternalUserID": external_userid})

    async def transfer(self, external_userid: str, giver: str, taker: str) -> object:
        """An admin gives a member's resident to another member: an event for each of the two, and no WelcomeCode."""
        given = self.friendships.pop((giver, external_userid))
        taken = Friendship(self.members.access(taker).userid, external_userid, self.platform.now(), given.state)
        taken.add_way, taken.talked_at = 202, self.platform.now()
        self.friendships[taken.userid, external_userid] = taken
        lost = {"UserID": giver, "ExternalUserID": external_userid, "Source": "DELETE_BY_TRANSFER"}
        await self._change("del_external_contact", lost)
        return await self._change("add_external_contact", {"UserID": taken.userid, "ExternalUserID": external_userid})

    async def officer_edits(self, userid: str, external_userid: str, remark: str) -> object:
        """The officer writes a remark in his client: edit_external_contact."""
        self.friendships[userid, external_userid].remark = remark
        return await self._change("edit_external_contact", {"UserID": userid, "ExternalUserID": external_userid})

    def chat(self, userid: str, external_userid: str) -> list[Bubble]:
        """What the resident sees in his chat with this officer."""
        return self.friendships[userid, external_userid].chat

    def talk(self, userid: str, external_userid: str, words: str, *, by_officer: bool = False) -> None:
        """They write to each other; no program reads or hears of it."""
        friendship = self.friendships[userid, external_userid]
        friendship.chatting, friendship.talked_at = True, self.platform.now()
        side = "account" if by_officer else "person"
        friendship.chat.append(Bubble(side, "text", words, self.platform.now()))  # type: ignore[arg-type]

    async def _change(self, change: str, fields: dict[str, str]) -> object:
        return await self._push("contact", "sys", "change_external_contact", {"ChangeType": change, **fields})

    def living(self, userid: str) -> list[Friendship]:
        return [one for one in self.friendships.values() if one.userid == userid and not one.removed]

    def access(self, userid: object, external_userid: object) -> Friendship:
        member = self.members.access(userid)
        friendship = self.friendships.get((member.userid, str(external_userid)))
        if friendship is None:
            raise Refusal(84061, "not external contact")
        return friendship

    # -- contact ways ----------------------------------------------------------------------------------------------

    async def _add_way(self, asked: Asked) -> dict[str, Any]:
        body = asked.body
        kind, scene = whole(body, "type", 0), whole(body, "scene", 0)
        userids = several(body, "user")
        if kind not in {1, 2} or scene not in {1, 2} or (kind == 1 and len(userids) != 1):
            raise Refusal(40058, "invalid type, scene or user")
        self._check_way(body)
        config_id = secrets.token_hex(16)
        self.ways[config_id] = ContactWay(config_id, userids, words(body, "state"), dict(body), self.platform.now())
        answer = {**OK, "config_id": config_id}
        return answer | ({"qr_code": f"{self.platform.url}/wwpic/{config_id}/0"} if scene == 2 else {})

    async def picture(self, request: web.Request) -> web.Response:
        """The QR code as a picture; the real one lies on wework.qpic.cn."""
        picture = io.BytesIO()
        address = f"https://work.weixin.qq.com/ca/{request.match_info['config_id']}"
        segno.make(address, error="m").save(picture, kind="png", scale=4)
        return web.Response(body=picture.getvalue(), content_type="image/png")

    def _check_way(self, body: dict[str, Any]) -> None:
        if len(words(body, "state")) > 30 or len(words(body, "remark")) > 30 or len(several(body, "user")) > 100:
            raise Refusal(40058, "state or remark is too long, or too many users")
        for userid in several(body, "user"):
            member = self.members.access(userid)
            if member.status != 1 or not member.real_name:
                raise Refusal(40098, "the member is not activated or not real-name verified")
            if not member.has_contacts:
                raise Refusal(84074, "no permission for external contacts")

    def _way(self, asked: Asked) -> ContactWay:
        if (way := self.ways.get(words(asked.body, "config_id"))) is None:
            raise Refusal(40058, "invalid config_id")
        return way

    async def _get_way(self, asked: Asked) -> dict[str, Any]:
        way = self._way(asked)
        return {**OK, "contact_way": {**way.given, "config_id": way.config_id, "state": way.state, "user": way.userids}}

    async def _list_ways(self, asked: Asked) -> dict[str, Any]:
        start = whole(asked.body, "start_time", int(self.platform.now() - 90 * DAY))
        end = whole(asked.body, "end_time", int(self.platform.now()) + 1)
        ids = [{"config_id": one.config_id} for one in self.ways.values() if start <= one.created_at <= end]
        rows, cursor = page(ids, asked.body, default=100, most=1000)
        return {**OK, "contact_way": rows, "next_cursor": cursor}

    async def _update_way(self, asked: Asked) -> dict[str, Any]:
        way = self._way(asked)
        self._check_way(asked.body)
        way.given |= asked.body
        way.state, way.userids = words(way.given, "state"), several(way.given, "user")
        return OK

    async def _delete_way(self, asked: Asked) -> dict[str, Any]:
        del self.ways[self._way(asked).config_id]
        return OK

    async def _members_with_contacts(self, _asked: Asked) -> dict[str, Any]:
        able = [
            one.userid for one in self.members.held.values() if one.has_contacts and one.visible and one.status == 1
        ]
        return {**OK, "follow_user": able}

    # -- who they are ----------------------------------------------------------------------------------------------

    async def _list(self, asked: Asked) -> dict[str, Any]:
        member = self.members.access(asked.query.get("userid", ""))
        found = [one.external_userid for one in self.living(member.userid)]
        if not found:
            raise Refusal(84061, "not external contact")
        return {**OK, "external_userid": found}

    def _person(self, external_userid: str) -> dict[str, Any]:
        outsider = self.outsiders.get(external_userid)
        if outsider is None:
            raise Refusal(40096, "invalid external userid")
        found = {"external_userid": external_userid, "name": outsider.name, "avatar": "", "type": 1, "gender": 0}
        return found | ({"unionid": outsider.unionid} if outsider.unionid else {})

    def _follow(self, friendship: Friendship) -> dict[str, Any]:
        found: dict[str, Any] = {
            "userid": friendship.userid,
            "remark": friendship.remark,
            "description": friendship.description,
            "createtime": int(friendship.added_at),
            "remark_mobiles": friendship.mobiles,
            "add_way": friendship.add_way,
            "state": friendship.state,
        }
        return found

    async def _get(self, asked: Asked) -> dict[str, Any]:
        external_userid = asked.query.get("external_userid", "")
        person = self._person(external_userid)
        followers = [
            one for one in self.friendships.values() if one.external_userid == external_userid and not one.removed
        ]
        if not followers:
            raise Refusal(84061, "not external contact")
        follow = [{**self._follow(one), "tags": [self._tag_row(tag) for tag in one.tags]} for one in followers]
        return {**OK, "external_contact": person, "follow_user": follow}

    async def _batch(self, asked: Asked) -> dict[str, Any]:
        userids = several(asked.body, "userid_list")
        if not 1 <= len(userids) <= 100:
            raise Refusal(40058, "invalid userid_list")
        wanted = {self.members.access(userid).userid for userid in userids}
        rows = [
            {
                "external_contact": self._person(one.external_userid),
                "follow_info": {**self._follow(one), "tag_id": list(one.tags)},
            }
            for one in self.friendships.values()
            if one.userid in wanted and not one.removed
        ]
        shown, cursor = page(rows, asked.body, default=50, most=100)
        return {**OK, "external_contact_list": shown, "next_cursor": cursor}

    async def _remark(self, asked: Asked) -> dict[str, Any]:
        body = asked.body
        friendship = self.access(body.get("userid"), body.get("external_userid"))
        if len(words(body, "remark")) > 20 or len(words(body, "description")) > 150:
            raise Refusal(40058, "remark or description is too long")
        if "remark" in body:
            friendship.remark = words(body, "remark")
        if "description" in body:
            friendship.description = words(body, "description")
        if "remark_mobiles" in body:  # replaces all
            friendship.mobiles = several(body, "remark_mobiles")
        return OK

    # -- tags ------------------------------------------------------------------------------------------------------

    def _tag_row(self, tag_id: str) -> dict[str, Any]:
        tag = self.tags[tag_id]
        return {"group_name": tag.group_name, "tag_name": tag.name, "tag_id": tag.id, "type": 1}

    async def _mark_tag(self, asked: Asked) -> dict[str, Any]:
        body = asked.body
        friendship = self.access(body.get("userid"), body.get("external_userid"))
        added, removed = several(body, "add_tag"), several(body, "remove_tag")
        if (not added and not removed) or any(tag not in self.tags for tag in (*added, *removed)):
            raise Refusal(40068, "invalid tagid")
        friendship.tags = [tag for tag in dict.fromkeys((*friendship.tags, *added)) if tag not in removed]
        return OK

    def _groups(self, tags: list[CorpTag]) -> list[dict[str, Any]]:
        groups: dict[str, dict[str, Any]] = {}
        for tag in tags:
            row = groups.setdefault(tag.group_id, {"group_id": tag.group_id, "group_name": tag.group_name, "tag": []})
            row["tag"].append({"id": tag.id, "name": tag.name})
        return list(groups.values())

    async def _list_tags(self, asked: Asked) -> dict[str, Any]:
        tag_ids, group_ids = several(asked.body, "tag_id"), several(asked.body, "group_id")
        tags = [one for one in self.tags.values() if not tag_ids or one.id in tag_ids]
        return {**OK, "tag_group": self._groups([one for one in tags if not group_ids or one.group_id in group_ids])}

    async def _add_tags(self, asked: Asked) -> dict[str, Any]:
        body = asked.body
        names = [words(one, "name") for one in body.get("tag") or ()]
        if not names or any(not 0 < len(name) <= 30 for name in names):
            raise Refusal(40058, "invalid tag name")
        group_name = words(body, "group_name")
        same = [
            one for one in self.tags.values() if one.group_name == group_name or one.group_id == body.get("group_id")
        ]
        if {one.name for one in same} & set(names):
            raise Refusal(40071, "tag name already exists")
        group_id = same[0].group_id if same else f"et-group-{next(self._numbers)}"
        made = []
        for name in names:
            tag = CorpTag(f"et-tag-{next(self._numbers)}", name, group_id, group_name, self.apps.of(asked))
            self.tags[tag.id] = tag
            made.append(tag)
        return {**OK, "tag_group": self._groups(made)[0]}

    def _own_tag(self, tag_id: str, asked: Asked) -> CorpTag:
        tag = self.tags.get(tag_id)
        if tag is None:
            raise Refusal(40068, "invalid tagid")
        if tag.by != self.apps.of(asked):
            raise Refusal(81011, "no permission to change a tag of another app")
        return tag

    async def _edit_tag(self, asked: Asked) -> dict[str, Any]:
        self._own_tag(words(asked.body, "id"), asked).name = words(asked.body, "name")
        return OK

    async def _delete_tags(self, asked: Asked) -> dict[str, Any]:
        for tag in [self._own_tag(one, asked) for one in several(asked.body, "tag_id")]:
            del self.tags[tag.id]
            for friendship in self.friendships.values():
                friendship.tags = [one for one in friendship.tags if one != tag.id]
        return OK

    # -- welcome ---------------------------------------------------------------------------------------------------

    async def _send_welcome(self, asked: Asked) -> dict[str, Any]:
        welcome = self.welcomes.get(words(asked.body, "welcome_code"))
        now, app = self.platform.now(), self.apps.of(asked)
        if welcome is None or now - welcome.issued_at > WELCOME_SECONDS or welcome.used_by == app:
            raise Refusal(41050, "welcome code invalid or expired")
        if welcome.used_by is not None:
            raise Refusal(41096, "welcome message already sent by another app")
        friendship = self.friendships[welcome.userid, welcome.external_userid]
        if friendship.chatting:
            raise Refusal(41051, "the chat has started already")
        check_message(asked.body)
        welcome.used_by = app
        show(friendship, asked.body, now, "welcome")
        return OK


def check_message(body: dict[str, Any]) -> None:
    """Of a welcome or a mass message: text up to 4000 bytes, nine attachments at most, one of both present."""
    text = part(body, "text").get("content", "")
    attachments = body.get("attachments") or []
    if not text and not attachments:
        raise Refusal(40058, "text or attachments must be present")
    if len(str(text).encode()) > TEXT_LIMIT_BYTES:
        raise Refusal(45002, "text is too long")
    if len(attachments) > 9:
        raise Refusal(41064, "too many attachments")
    for one in attachments:
        kind = one.get("msgtype")
        if kind not in {"image", "link", "miniprogram", "video", "file"} or not isinstance(one.get(kind), dict):
            raise Refusal(41065, "invalid attachment")


def show(friendship: Friendship, body: dict[str, Any], at: float, via: str) -> None:
    """Onto the resident's phone, as words of the officer."""
    if text := part(body, "text").get("content"):
        friendship.chat.append(Bubble("account", "text", str(text), at, via, dict(body)))
    for one in body.get("attachments") or ():
        kind = str(one["msgtype"])
        friendship.chat.append(Bubble("account", kind, words_of(kind, one[kind]), at, via, one))


def page(rows: list[Any], body: dict[str, Any], *, default: int, most: int) -> tuple[list[Any], str]:
    """One page and the next cursor, "" at the end."""
    limit = whole(body, "limit", default) or default
    if not 1 <= limit <= most:
        raise Refusal(40058, "invalid limit")
    cursor = words(body, "cursor")
    if cursor and not cursor.removeprefix("c-").isdigit():
        raise Refusal(40058, "invalid cursor")
    start = int(cursor.removeprefix("c-") or 0)
    return rows[start : start + limit], f"c-{start + limit}" if start + limit < len(rows) else ""

"""The official account's followers: who they are, what their phones show, the user/… calls."""

from dataclasses import dataclass, field
from typing import Any

from tests.fakes.wechat.chat import Bubble, words_of
from tests.fakes.wechat.ledger import Window
from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.serving import OK, Asked, Endpoints, Refusal, several, words
from tests.support import leaks

BLACKLISTED = 43019


@dataclass
class Follower:
    """A resident as the platform sees him. `refuses`: every send to him ends with this code (43019, 48002, 50002 …)."""

    openid: str
    following: bool = True
    window: Window = field(default_factory=Window)
    chat: list[Bubble] = field(default_factory=list)
    refuses: int | None = None
    unionid: str = ""  # given only if the account is bound to an Open Platform account
    remark: str = ""
    tags: list[int] = field(default_factory=list)
    phone: str = "2"  # 1 iOS, 2 Android, 3 others
    scene: str = ""  # of the QR code he followed by
    subscribed_at: float = 0
    seen_at: float = float("-inf")
    typing_until: float = 0
    mass_in_month: dict[str, int] = field(default_factory=dict)

    @property
    def inbox(self) -> list[dict[str, Any]]:
        """The messages the API brought him, as they were sent."""
        return [bubble.message for bubble in self.chat if bubble.via not in {"", "answer"}]

    def show(self, message: dict[str, Any], at: float, via: str) -> None:
        kind = str(message["msgtype"])
        content = message.get(kind)
        words = words_of(kind, content if isinstance(content, dict) else {})
        self.chat.append(Bubble("account", kind, words, at, via, message))


class People:
    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.followers: dict[str, Follower] = {}

    def endpoints(self) -> Endpoints:
        return {
            ("GET", "user/info"): self._info,
            ("POST", "user/info/batchget"): self._batch,
            ("GET", "user/get"): self._list,
            ("POST", "user/info/updateremark"): self._remark,
            ("POST", "tags/members/batchblacklist"): self._blacklist,
            ("POST", "tags/members/batchunblacklist"): self._unblacklist,
            ("POST", "tags/members/getblacklist"): self._blacklisted,
        }

    def follower(self, openid: str) -> Follower:
        """The resident with this openid; known, and following, from now on."""
        if openid not in self.followers:
            leaks.secret(openid)
            self.followers[openid] = Follower(openid, subscribed_at=self.platform.now())
        return self.followers[openid]

    def access(self, openid: object) -> Follower:
        if (person := self.followers.get(str(openid))) is None:
            raise Refusal(40003, "invalid openid")
        return person

    def inbound(self, openid: str, trigger: str) -> None:
        """The resident did something towards the account: what it grants is in ledger.GRANTS."""
        person, trigger = self.follower(openid), trigger.lower()
        now = self.platform.now()
        if trigger == "subscribe" and not person.following:
            person.following, person.subscribed_at = True, now
        if trigger == "unsubscribe":
            person.following, person.window = False, Window()
        person.seen_at = now
        person.window.grant(trigger, now, once_only=self.platform.rules.second_grant_refused)

    def info(self, person: Follower) -> dict[str, Any]:
        if not person.following:
            return {"subscribe": 0, "openid": person.openid}
        scene_id = int(person.scene) if person.scene.isdigit() else 0
        found = {
            "subscribe": 1,
            "openid": person.openid,
            "nickname": "",
            "headimgurl": "",
            "language": "zh_CN",
            "subscribe_time": int(person.subscribed_at),
            "remark": person.remark,
            "groupid": person.tags[0] if person.tags else 0,
            "tagid_list": list(person.tags),
            "subscribe_scene": "ADD_SCENE_QR_CODE" if person.scene else "ADD_SCENE_SEARCH",
            "qr_scene": scene_id,
            "qr_scene_str": "" if scene_id else person.scene,
        }
        return found | ({"unionid": person.unionid} if person.unionid else {})

    async def _info(self, asked: Asked) -> dict[str, Any]:
        return self.info(self.access(asked.query.get("openid")))

    async def _batch(self, asked: Asked) -> dict[str, Any]:
        wanted = asked.body.get("user_list")
        if not isinstance(wanted, list) or not 1 <= len(wanted) <= 100:
            raise Refusal(40032, "invalid openid list size")
        return {"user_info_list": [self.info(self.access(one.get("openid"))) for one in wanted]}

    async def _list(self, asked: Asked) -> dict[str, Any]:
        openids = [one.openid for one in self.followers.values() if one.following]
        return page_of(openids, asked.query.get("next_openid", ""), self.platform.rules.follower_page) | {
            "total": len(openids)
        }

    async def _remark(self, asked: Asked) -> dict[str, Any]:
        remark = words(asked.body, "remark")
        if len(remark.encode()) >= 30:
            raise Refusal(40035, "invalid parameter: remark")
        self.access(asked.body.get("openid")).remark = remark
        return OK

    async def _blacklist(self, asked: Asked) -> dict[str, Any]:
        for person in self._at_most_twenty(asked):
            person.refuses = BLACKLISTED
        return OK

    async def _unblacklist(self, asked: Asked) -> dict[str, Any]:
        for person in self._at_most_twenty(asked):
            person.refuses = None
        return OK

    def _at_most_twenty(self, asked: Asked) -> list[Follower]:
        openids = several(asked.body, "openid_list")
        if not 1 <= len(openids) <= 20:
            raise Refusal(40032, "invalid openid list size")
        return [self.access(one) for one in openids]

    async def _blacklisted(self, asked: Asked) -> dict[str, Any]:
        openids = [one.openid for one in self.followers.values() if one.refuses == BLACKLISTED]
        return page_of(openids, words(asked.body, "begin_openid"), 1000) | {"total": len(openids)}


def page_of(openids: list[str], after: str, size: int) -> dict[str, Any]:
    """The page behind `after` ("" is the first); `next_openid` is "" when nothing came."""
    start = openids.index(after) + 1 if after in openids else 0
    page = openids[start : start + size]
    found: dict[str, Any] = {"count": len(page), "next_openid": page[-1] if page else ""}
    return found | ({"data": {"openid": page}} if page else {})

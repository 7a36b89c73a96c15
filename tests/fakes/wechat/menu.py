"""The menus under the chat: sizes, raw Chinese only, who sees which, and what a tap pushes."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakes.wechat.cipher import Markup
from tests.fakes.wechat.people import Follower, People
from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.serving import OK, Asked, Endpoints, Refusal, part, words

_SCANS = {"scancode_push", "scancode_waitmsg"}
_PHOTOS = {"pic_sysphoto", "pic_photo_or_album", "pic_weixin"}
_KEYED = {"click", "location_select"} | _SCANS | _PHOTOS
_KINDS = _KEYED | {"view", "miniprogram", "media_id", "article_id", "article_view_limited"}


_PRIVATE = {"sex", "country", "province", "city", "language", "group_id"}  # conditions that are taken no more


@dataclass(frozen=True)
class Conditional:
    """A menu for those with a tag, or on one kind of phone (1 iOS, 2 Android, 3 others); "" stands for all."""

    menuid: str
    buttons: list[dict[str, Any]]
    tag_id: str
    client_platform_type: str

    def is_for(self, person: Follower) -> bool:
        newest_tag = str(person.tags[-1]) if person.tags else ""  # of several only the one put on last counts
        return self.tag_id in {"", newest_tag} and self.client_platform_type in {"", person.phone}

    def shown(self) -> dict[str, Any]:
        rule = {"tag_id": self.tag_id, "client_platform_type": self.client_platform_type}
        named = {name: value for name, value in rule.items() if value}
        return {"button": self.buttons, "matchrule": named, "menuid": int(self.menuid)}


class Menu:
    def __init__(
        self, platform: Platform, people: People, push: Callable[[str, str, dict[str, str]], Awaitable[Any]]
    ) -> None:
        self.platform, self.people, self._push = platform, people, push
        self.buttons: list[dict[str, Any]] = []
        self.conditional: list[Conditional] = []  # oldest first; the newest that is for somebody is his

    def endpoints(self) -> Endpoints:
        return {
            ("POST", "menu/create"): self._create,
            ("GET", "menu/get"): self._get,
            ("GET", "menu/delete"): self._delete,
            ("POST", "menu/addconditional"): self._add_conditional,
            ("POST", "menu/delconditional"): self._delete_conditional,
            ("POST", "menu/trymatch"): self._try,
        }

    def leaves(self, openid: str = "") -> Iterator[dict[str, Any]]:
        """The buttons that do something: of everybody's menu, or of the one a resident sees."""
        for button in self.seen_by(openid) if openid else self.buttons:
            yield from button.get("sub_button") or [button]

    def seen_by(self, openid: str) -> list[dict[str, Any]]:
        """The buttons under this resident's chat."""
        person = self.people.follower(openid)
        return next((one.buttons for one in reversed(self.conditional) if one.is_for(person)), self.buttons)

    async def tap(self, openid: str, key: str, result: str = "") -> Any:
        """A resident taps the button with this key, address or name. LookupError: the menu has none.

        `result` is what the camera read (scancode_…). The picture of a pic_… button follows as an image message.
        """
        for button in self.leaves(openid):
            if key in {button.get("key"), button.get("url"), button.get("name")}:
                name, fields = event_of(button, result)
                return await self._push(openid, name, fields)
        raise LookupError(f"no button {key!r} in the menu")

    async def _create(self, asked: Asked) -> dict[str, Any]:
        self.buttons = _buttons_of(asked)
        return OK

    async def _get(self, _: Asked) -> dict[str, Any]:
        if not self.buttons:
            raise Refusal(46003, "menu no exist")
        found: dict[str, Any] = {"menu": {"button": self.buttons}}
        if self.conditional:
            found["menu"]["menuid"] = 1
            found["conditionalmenu"] = [one.shown() for one in reversed(self.conditional)]
        return found

    async def _delete(self, _: Asked) -> dict[str, Any]:
        self.buttons = []
        self.conditional.clear()
        return OK

    async def _add_conditional(self, asked: Asked) -> dict[str, Any]:
        if not self.buttons:
            raise Refusal(65303, "there is no selfmenu, please create selfmenu first")
        rule = part(asked.body, "matchrule")
        if any(rule.get(name) for name in _PRIVATE):
            raise Refusal(65320, "invalid matchrule: private information")
        tag, phone = str(rule.get("tag_id") or ""), str(rule.get("client_platform_type") or "")
        if not tag and not phone:
            raise Refusal(65304, "match rule empty")
        if phone not in {"", "1", "2", "3"}:
            raise Refusal(40035, "invalid parameter: client_platform_type")
        made = Conditional(str(next(self.platform.numbers)), _buttons_of(asked), tag, phone)
        self.conditional.append(made)
        return {"menuid": made.menuid}

    async def _delete_conditional(self, asked: Asked) -> dict[str, Any]:
        found = [one for one in self.conditional if one.menuid == str(asked.body.get("menuid"))]
        if not found:
            raise Refusal(65301, "no such conditional menu")
        self.conditional.remove(found[0])
        return OK

    async def _try(self, asked: Asked) -> dict[str, Any]:
        """What the menu of this resident is; `user_id` may be a WeChat name too, which nobody has here."""
        openid = words(asked.body, "user_id")
        if openid not in self.people.followers:
            raise Refusal(65302, "no such user")
        return {"button": self.seen_by(openid)}


def _buttons_of(asked: Asked) -> list[dict[str, Any]]:
    if asked.escaped:
        raise Refusal(40033, "invalid charset: do not escape")
    buttons = asked.body.get("button")
    if not isinstance(buttons, list) or not 1 <= len(buttons) <= 3:
        raise Refusal(40016, "invalid button size")
    for button in buttons:
        _check(button, top=True)
    return buttons


def _check(button: Any, *, top: bool) -> None:
    if not isinstance(button, dict):
        raise Refusal(47001, "data format error")
    name = button.get("name")
    if not isinstance(name, str) or not 0 < len(name.encode()) <= (16 if top else 60):
        raise Refusal(40018 if top else 40025, "invalid button name size")
    if top and (inner := button.get("sub_button")):
        if not isinstance(inner, list) or len(inner) > 5:
            raise Refusal(40023, "invalid sub button size")
        for one in inner:
            _check(one, top=False)
        return
    kind, key, url = button.get("type"), button.get("key"), button.get("url")
    if kind not in _KINDS:
        raise Refusal(40017 if top else 40024, "invalid button type")
    if kind in _KEYED and (not isinstance(key, str) or not 0 < len(key.encode()) <= 128):
        raise Refusal(40019 if top else 40026, "invalid button key size")
    if kind == "view" and (not isinstance(url, str) or not 0 < len(url.encode()) <= 1024):
        raise Refusal(40020 if top else 40027, "invalid button url size")


def event_of(button: dict[str, Any], result: str) -> tuple[str, dict[str, str]]:
    """The event a tap on this button pushes."""
    kind, key = str(button["type"]), str(button.get("key", ""))
    if kind == "click":
        return "CLICK", {"EventKey": key}
    if kind == "view":
        return "VIEW", {"EventKey": str(button["url"]), "MenuId": "428099011"}
    if kind == "miniprogram":
        return "view_miniprogram", {"EventKey": str(button.get("pagepath", "")), "MenuId": "428099011"}
    if kind in _SCANS:
        inner = f"<ScanType><![CDATA[qrcode]]></ScanType><ScanResult><![CDATA[{result}]]></ScanResult>"
        return kind, {"EventKey": key, "ScanCodeInfo": Markup(inner)}
    if kind in _PHOTOS:
        return kind, {"EventKey": key, "SendPicsInfo": Markup("<Count>1</Count><PicList></PicList>")}
    if kind == "location_select":
        inner = "<Location_X>29.72</Location_X><Location_Y>120.24</Location_Y><Scale>15</Scale><Label></Label>"
        return kind, {"EventKey": key, "SendLocationInfo": Markup(inner)}
    raise LookupError(f"a tap on {kind} pushes nothing")

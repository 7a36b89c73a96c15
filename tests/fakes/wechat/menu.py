"""The menu under the chat: sizes, raw Chinese only, and what a tap pushes."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from tests.fakes.wechat.cipher import Markup
from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.serving import OK, Asked, Endpoints, Refusal

_SCANS = {"scancode_push", "scancode_waitmsg"}
_PHOTOS = {"pic_sysphoto", "pic_photo_or_album", "pic_weixin"}
_KEYED = {"click", "location_select"} | _SCANS | _PHOTOS
_KINDS = _KEYED | {"view", "miniprogram", "media_id", "article_id", "article_view_limited"}


class Menu:
    def __init__(self, platform: Platform, push: Callable[[str, str, dict[str, str]], Awaitable[Any]]) -> None:
        self.platform, self._push = platform, push
        self.buttons: list[dict[str, Any]] = []

    def endpoints(self) -> Endpoints:
        return {
            ("POST", "menu/create"): self._create,
            ("GET", "menu/get"): self._get,
            ("GET", "menu/delete"): self._delete,
        }

    def leaves(self) -> Iterator[dict[str, Any]]:
        """The buttons that do something."""
        for button in self.buttons:
            yield from button.get("sub_button") or [button]

    async def tap(self, openid: str, key: str, result: str = "") -> Any:
        """A resident taps the button with this key, address or name. LookupError: the menu has none.

        `result` is what the camera read (scancode_…). The picture of a pic_… button follows as an image message.
        """
        for button in self.leaves():
            if key in {button.get("key"), button.get("url"), button.get("name")}:
                name, fields = event_of(button, result)
                return await self._push(openid, name, fields)
        raise LookupError(f"no button {key!r} in the menu")

    async def _create(self, asked: Asked) -> dict[str, Any]:
        if asked.escaped:
            raise Refusal(40033, "invalid charset: do not escape")
        buttons = asked.body.get("button")
        if not isinstance(buttons, list) or not 1 <= len(buttons) <= 3:
            raise Refusal(40016, "invalid button size")
        for button in buttons:
            _check(button, top=True)
        self.buttons = buttons
        return OK

    async def _get(self, _: Asked) -> dict[str, Any]:
        if not self.buttons:
            raise Refusal(46003, "menu no exist")
        return {"menu": {"button": self.buttons}}

    async def _delete(self, _: Asked) -> dict[str, Any]:
        self.buttons = []
        return OK


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

"""QR codes with a scene: made by the account, scanned by residents."""

import io
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import segno
from aiohttp import web

from tests.fakes.wechat.people import People
from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.serving import Asked, Endpoints, Refusal, part, whole

LONGEST_SECONDS = 2_592_000
PERMANENT_CODES = 100_000
_TEMPORARY = {"QR_SCENE", "QR_STR_SCENE"}
_BY_TEXT = {"QR_STR_SCENE", "QR_LIMIT_STR_SCENE"}


@dataclass(frozen=True)
class Code:
    ticket: str
    scene: str
    expires_at: float  # for ever: infinity


class Scenes:
    def __init__(
        self, platform: Platform, people: People, push: Callable[[str, str, dict[str, str]], Awaitable[Any]]
    ) -> None:
        self.platform, self.people, self._push = platform, people, push
        self.codes: dict[str, Code] = {}

    def endpoints(self) -> Endpoints:
        return {("POST", "qrcode/create"): self._create}

    async def scan(self, ticket: str, openid: str) -> Any:
        """A resident scans: `subscribe` with qrscene_… if he did not follow yet, else SCAN. ValueError: too late."""
        code = self.codes[ticket]
        if self.platform.now() >= code.expires_at:
            raise ValueError("the code has expired; the phone says so and nothing is pushed")
        known = self.people.followers.get(openid)
        if known is not None and known.following:
            return await self._push(openid, "SCAN", {"EventKey": code.scene, "Ticket": ticket})
        person = self.people.follower(openid)
        person.following, person.scene, person.subscribed_at = True, code.scene, self.platform.now()
        return await self._push(openid, "subscribe", {"EventKey": f"qrscene_{code.scene}", "Ticket": ticket})

    def ticket_of(self, scene: str) -> str:
        """The newest living ticket with this scene; one is made up if there is none: anybody can print a code."""
        living = [one for one in self.codes.values() if one.scene == scene and self.platform.now() < one.expires_at]
        return living[-1].ticket if living else self._add(scene, float("inf")).ticket

    async def show(self, request: web.Request) -> web.Response:
        """showqrcode?ticket=…, without a token."""
        code = self.codes.get(request.query.get("ticket", ""))
        if code is None or self.platform.now() >= code.expires_at:
            raise web.HTTPNotFound
        picture = io.BytesIO()
        segno.make(_url(code)).save(picture, kind="png", scale=6)
        return web.Response(body=picture.getvalue(), content_type="image/png")

    async def _create(self, asked: Asked) -> dict[str, Any]:
        action = asked.body.get("action_name")
        if action not in {"QR_SCENE", "QR_STR_SCENE", "QR_LIMIT_SCENE", "QR_LIMIT_STR_SCENE"}:
            raise Refusal(40052, "invalid action name")
        scene = self._scene(str(action), part(part(asked.body, "action_info"), "scene"))
        if action not in _TEMPORARY:
            if sum(code.expires_at == float("inf") for code in self.codes.values()) >= PERMANENT_CODES:
                raise Refusal(45029, "qrcode count out of limit")
            code = self._add(scene, float("inf"))
            return {"ticket": code.ticket, "url": _url(code)}
        seconds = whole(asked.body, "expire_seconds", 60)
        if not 0 < seconds <= LONGEST_SECONDS:
            raise Refusal(40053, "invalid action info: expire_seconds")
        code = self._add(scene, self.platform.now() + seconds)
        return {"ticket": code.ticket, "expire_seconds": seconds, "url": _url(code)}

    def _scene(self, action: str, given: dict[str, Any]) -> str:
        if action in _BY_TEXT:
            scene = given.get("scene_str")
            if not isinstance(scene, str) or not 1 <= len(scene) <= 64:
                raise Refusal(40053, "invalid action info: scene_str")
            return scene
        number = whole(given, "scene_id", 0)
        if not 1 <= number <= (100_000 if action == "QR_LIMIT_SCENE" else 2**32 - 1):
            raise Refusal(40053, "invalid action info: scene_id")
        return str(number)

    def _add(self, scene: str, expires_at: float) -> Code:
        ticket = f"gQ{secrets.token_urlsafe(60)}=="
        code = self.codes[ticket] = Code(ticket, scene, expires_at)
        return code


def _url(code: Code) -> str:
    return f"http://weixin.qq.com/q/{code.ticket[2:24]}"

"""The whole fake platform on 127.0.0.1: an official account under /cgi-bin/, WeCom under /wecom/cgi-bin/, its control.

In a test's own process it is an object (`async with FakeWeChat() as wechat`); over `/_ctl/…` another process or a
person does the same. Whatever the platform's documents leave open is a field of `Rules`.
"""

import asyncio
from collections import Counter
from typing import Any, Literal, Self

from aiohttp import web

from tests.fakes.wechat import control, media, phone
from tests.fakes.wechat.chat import Bubble
from tests.fakes.wechat.custom import CustomService
from tests.fakes.wechat.delivery import Push
from tests.fakes.wechat.faults import Effect, Fault
from tests.fakes.wechat.journal import Call, Journal
from tests.fakes.wechat.mass import MassJob, MassSending
from tests.fakes.wechat.media import MediaStore, Medium
from tests.fakes.wechat.menu import Menu
from tests.fakes.wechat.notices import Notices
from tests.fakes.wechat.people import Follower, People
from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.pusher import Pusher
from tests.fakes.wechat.quota import Quota
from tests.fakes.wechat.rules import Rules
from tests.fakes.wechat.scenes import Scenes
from tests.fakes.wechat.serving import Gate
from tests.fakes.wechat.tags import Tags
from tests.fakes.wechat.tokens import Token, Tokens
from tests.fakes.wechat.wecom.corp import Corp

LIMIT_BYTES = 32 * 1024 * 1024


class FakeWeChat:
    """One official account and one WeCom corporation. Time is `clock.now()` plus what `advance` added."""

    def __init__(
        self, *, app_id: str = "wx0000000000000001", secret: str = "s3cr3t-of-the-account", port: int = 0
    ) -> None:
        self.app_id, self.secret, self.port = app_id, secret, port
        self.url = ""
        self.pusher: Pusher | None = None  # the bot's callback, once a Pusher is connected
        self.platform = Platform()
        self.desk = Tokens(self.platform, app_id, secret)
        self.people = People(self.platform)
        self.store = MediaStore(self.platform, media.ACCOUNT_KINDS)
        self.custom = CustomService(self.platform, self.people, self.store)
        self.tags = Tags(self.platform, self.people)
        self.mass = MassSending(self.platform, self.people, self.tags, self.store, self._notify)
        self.notices = Notices(self.platform, self.people, self._notify)
        self.scenes = Scenes(self.platform, self.people, self._resident_does)
        self.menu = Menu(self.platform, self.people, self._resident_does)
        self.quota = Quota(self.platform, app_id)
        self.wecom = Corp(self.platform)
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=LIMIT_BYTES)
        parts = (self.custom, self.people, self.store, self.tags, self.mass, self.notices, self.scenes, self.menu)
        endpoints = self.quota.endpoints()
        for part in parts:
            endpoints |= part.endpoints()
        gate = Gate(
            self.platform,
            public=self.desk.public(),
            endpoints=endpoints,
            check_token=self.desk.check,
            expire_token=self.desk.expire,
            failed=self.mass.failed,
        )
        app.router.add_get("/cgi-bin/showqrcode", self.scenes.show)
        app.router.add_route("*", "/cgi-bin/{path:.+}", gate.handle)
        app.add_routes(self.wecom.routes())
        app.add_routes(control.routes(self))
        app.add_routes(phone.routes(self))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        self.url = self.platform.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    # -- time ------------------------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.platform.now()

    def advance(self, seconds: float) -> None:
        self.platform.clock.advance(seconds)

    async def settle(self, seconds: float = 0) -> int:
        """Advance, then push every event that is due (a mass job is done, a notice arrived, …); how many."""
        self.advance(seconds)
        return await self.platform.clock.settle()

    # -- script and journal ----------------------------------------------------------------------------------------

    @property
    def rules(self) -> Rules:
        return self.platform.rules

    @property
    def faults(self) -> list[Fault]:
        return self.platform.faults

    @property
    def journal(self) -> Journal:
        return self.platform.journal

    @property
    def counters(self) -> Counter[str]:
        return self.platform.counters

    def fault(self, path: str, effect: Effect, value: Any = None, **when: Any) -> Fault:
        rule = Fault(path, effect, value, **when)
        self.faults.append(rule)
        return rule

    def hold(self, path: str, effect: Literal["delay", "delay_after"] = "delay", **when: Any) -> asyncio.Event:
        """Such calls get no answer before this is set."""
        go_on = asyncio.Event()
        self.fault(path, effect, go_on, **when)
        return go_on

    def calls(self, path: str) -> list[Call]:
        return self.journal.calls(path)

    # -- the official account --------------------------------------------------------------------------------------

    @property
    def tokens(self) -> dict[str, Token]:
        return self.desk.held

    @property
    def revoked(self) -> set[str]:
        return self.desk.revoked

    @property
    def media(self) -> dict[str, Medium]:
        return self.store.held

    @property
    def jobs(self) -> dict[str, MassJob]:
        return self.mass.jobs

    @property
    def followers(self) -> dict[str, Follower]:
        return self.people.followers

    def expire_tokens(self) -> None:
        for token in self.tokens:
            self.desk.expire(token)

    def add_media(self, data: bytes, content_type: str = "image/jpeg") -> str:
        """A picture a resident sent; its media id."""
        return self.store.add(data, content_type)

    def follower(self, openid: str) -> Follower:
        """The resident with this openid; known from now on."""
        return self.people.follower(openid)

    def inbound(self, openid: str, trigger: str = "message") -> None:
        """The resident did something towards the account, without pushing it: opens what ledger.GRANTS says."""
        self.people.inbound(openid, trigger)

    def texts(self, openid: str) -> list[str]:
        """The words the API brought into one resident's chat, in order."""
        return [str(one["text"]["content"]) for one in self.follower(openid).inbox if one["msgtype"] == "text"]

    def chat(self, openid: str) -> list[Bubble]:
        """Everything one resident's phone shows, in order: his own words, answers, messages, fault notices."""
        return self.follower(openid).chat

    async def scan(self, scene_or_ticket: str, openid: str) -> Push:
        """A resident scans a QR code: pushes `subscribe` with qrscene_…, or SCAN if he follows already."""
        codes = self.scenes.codes
        ticket = scene_or_ticket if scene_or_ticket in codes else self.scenes.ticket_of(scene_or_ticket)
        push: Push = await self.scenes.scan(ticket, openid)
        return push

    async def tap(self, openid: str, key: str, result: str = "") -> Push:
        """A resident taps the menu's button with this key, address or name; LookupError if there is none."""
        push: Push = await self.menu.tap(openid, key, result)
        return push

    async def _resident_does(self, openid: str, name: str, fields: dict[str, str]) -> Push | None:
        if self.pusher is not None:
            return await self.pusher.event(openid, name, fields)
        self.inbound(openid, name)
        return None

    async def _notify(self, sender: str, name: str, fields: dict[str, str]) -> Push | None:
        return await self.pusher.notify(sender, name, fields) if self.pusher is not None else None

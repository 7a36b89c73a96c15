"""The emulator at noon, a bot's callback that remembers, and callers of both APIs."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bot import clock
from tests.fakes.wechat import FakeWeChat
from tests.fakes.wechat.cipher import children, decrypt
from tests.fakes.wechat.pusher import AES_KEY, Pusher
from tests.fakes.wechat.wecom.apps import CORP_ID, CORP_SECRET
from tests.fakes.wechat.wecom.corp import Corp
from tests.fakes.wechat.wecom.pusher import CORP_AES_KEY, CorpPusher

OPENID = "o-resident-1"


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    clock.set_source(lambda: datetime(2026, 11, 22, 4, 0, tzinfo=UTC))
    yield
    clock.set_source(None)


@pytest.fixture
async def wechat() -> AsyncIterator[FakeWeChat]:
    async with FakeWeChat() as wechat:
        wechat.rules.tag_write_seconds = 0.001
        yield wechat


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


@dataclass
class Bot:
    """A callback that opens what it gets, remembers it and answers 200 with `answer`."""

    aes_key: str
    url: str = ""
    answer: bytes = b"success"
    status: int = 200
    got: list[dict[str, str]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        outer = children(await request.read())
        message, _ = decrypt(outer["Encrypt"], self.aes_key)
        self.got.append(children(message))
        return web.Response(status=self.status, body=self.answer)

    def events(self, name: str) -> list[dict[str, str]]:
        return [one for one in self.got if one.get("Event") == name]


@pytest.fixture
async def bots() -> AsyncIterator[tuple[Bot, Bot]]:
    """One for the official account, one for the corporation."""
    account, corp = Bot(AES_KEY), Bot(CORP_AES_KEY)
    app = web.Application()
    app.add_routes([web.post("/account", account.handle), web.post("/corp", corp.handle)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    account.url, corp.url = f"{base}/account", f"{base}/corp"
    yield account, corp
    await runner.cleanup()


@pytest.fixture
async def bot(bots: tuple[Bot, Bot], wechat: FakeWeChat) -> AsyncIterator[Bot]:
    """The official account's callback; the emulator's events go there."""
    async with Pusher(bots[0].url, wechat=wechat):
        yield bots[0]


@pytest.fixture
async def corp_bot(bots: tuple[Bot, Bot], wechat: FakeWeChat) -> AsyncIterator[Bot]:
    """The corporation's callback; all its events go there."""
    async with CorpPusher(bots[1].url, corp=wechat.wecom):
        yield bots[1]


class Caller:
    """A program that uses one of the two APIs."""

    def __init__(self, wechat: FakeWeChat, http: aiohttp.ClientSession, prefix: str = "/cgi-bin") -> None:
        self.wechat, self.http, self.prefix, self.token = wechat, http, prefix, ""

    async def stable_token(self, **changed: Any) -> dict[str, Any]:
        body = {"grant_type": "client_credential", "appid": self.wechat.app_id, "secret": self.wechat.secret, **changed}
        async with self.http.post(f"{self.wechat.url}/cgi-bin/stable_token", json=body) as response:
            found: dict[str, Any] = await response.json(content_type=None)
            self.token = found.get("access_token", self.token)
            return found

    async def corp_token(self, secret: str = CORP_SECRET, corp_id: str = CORP_ID) -> dict[str, Any]:
        found = await self.get("gettoken", corpid=corp_id, corpsecret=secret)
        self.token = found.get("access_token", self.token)
        return found

    async def post(self, path: str, body: object) -> dict[str, Any]:
        """The body goes as raw UTF-8, as the menu wants it."""
        url = f"{self.wechat.url}{self.prefix}/{path}?access_token={self.token}"
        data = aiohttp.JsonPayload(body, dumps=_raw_json)
        async with self.http.post(url, data=data) as response:
            found: dict[str, Any] = await response.json(content_type=None)
            return found

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        query = {"access_token": self.token} | query
        async with self.http.get(f"{self.wechat.url}{self.prefix}/{path}", params=query) as response:
            found: dict[str, Any] = await response.json(content_type=None)
            return found

    async def code(self, path: str, body: object) -> int:
        """The errcode; 0 if the answer has none."""
        return int((await self.post(path, body)).get("errcode", 0))

    async def upload(self, kind: str, data: bytes) -> dict[str, Any]:
        form = aiohttp.FormData()
        form.add_field("media", data, filename="a", content_type="application/octet-stream")
        url = f"{self.wechat.url}{self.prefix}/media/upload?type={kind}&access_token={self.token}"
        async with self.http.post(url, data=form) as response:
            found: dict[str, Any] = await response.json(content_type=None)
            return found

    async def send(self, openid: str = OPENID, words: str = "好") -> int:
        return await self.code("message/custom/send", {"touser": openid, "msgtype": "text", "text": {"content": words}})


@pytest.fixture
async def caller(wechat: FakeWeChat, http: aiohttp.ClientSession) -> Caller:
    caller = Caller(wechat, http)
    await caller.stable_token()
    return caller


@pytest.fixture
async def corp(wechat: FakeWeChat) -> Corp:
    """Three officers; 张伟 and 李娜 work with contacts."""
    for userid, name in (("zhang", "张伟"), ("li", "李娜"), ("suo", "所长")):
        wechat.wecom.members.add(userid, name)
    return wechat.wecom


@pytest.fixture
async def office(wechat: FakeWeChat, http: aiohttp.ClientSession) -> Caller:
    """A program that uses the corporation's API."""
    caller = Caller(wechat, http, "/wecom/cgi-bin")
    await caller.corp_token()
    return caller


def _raw_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)

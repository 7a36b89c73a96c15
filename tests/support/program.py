"""The whole program in a test: a web chat and an official account on the emulator, served on port 0."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import ClientSession, CookieJar, web
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from playwright.async_api import Page
from sqlalchemy import update

from bot import clock
from bot.app import _CLOCKWORK, create_app
from bot.config import parse_config
from bot.security.passwords import hash_password
from bot.store.models import Officer
from scheduler.jobs import Desk
from tests.fakes.wechat import FakeWeChat, Pusher
from tests.fakes.wechat.pusher import AES_KEY, APP_ID, TOKEN
from tests.support.knowledge import KnownSayings
from tests.support.station import DATA_KEY, NAME, House

PASSWORD = "plum blossom 47"


@dataclass
class Running:
    root: str
    wechat: FakeWeChat
    pusher: Pusher
    house: House
    clockwork: AsyncIOScheduler

    def tick(self, job: Callable[[Desk], Awaitable[None]]) -> None:
        """The next time of a job is now, as it would be within its interval."""
        self.clockwork.modify_job(job.__name__, next_run_time=clock.now())


@asynccontextmanager
async def running(url: str, *pages: Page) -> AsyncIterator[Running]:
    """The whole program on a furnished database, with a web chat and an official account.

    `pages` are left before it stops: a page whose server is gone complains.
    """
    async with AsyncExitStack() as stack:
        wechat = await stack.enter_async_context(FakeWeChat())
        account = {
            "kind": "official_account", "name": "gongzhong", "app_id": APP_ID, "secret": wechat.secret, "token": TOKEN,
            "encoding_aes_key": AES_KEY, "api_base": wechat.url,
        }  # fmt: skip
        raw = {
            "station": {"name": NAME},
            "server": {"public_url": "https://police.example.org"},
            "security": {"data_key": DATA_KEY},
            "database": {"url": url},
            "channels": [{"kind": "webchat", "name": "web"}, account],
        }
        app = await create_app(parse_config(raw, {}), KnownSayings())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        root = f"http://127.0.0.1:{runner.addresses[0][1]}"
        pusher = await stack.enter_async_context(Pusher(f"{root}/callback/gongzhong", wechat=wechat))
        house = await stack.enter_async_context(House.opened(url))
        hashed = await hash_password(PASSWORD)
        async with house.store.write() as session:
            await session.execute(update(Officer).values(password_hash=hashed))
        for page in pages:
            stack.push_async_callback(page.context.close)
        yield Running(root, wechat, pusher, house, app[_CLOCKWORK].scheduler)


@dataclass
class Visitor:
    """Somebody with a browser that runs no script."""

    root: str
    session: ClientSession

    async def consent(self, code: str = "") -> str:
        await self.session.post(f"{self.root}/chat/consent", data={"agree": "yes", "c": code})
        return await self.page()

    async def page(self) -> str:
        async with self.session.get(f"{self.root}/chat") as response:
            assert response.status == 200
            return await response.text()

    async def say(self, words: str) -> str:
        """The page with the answer to it."""
        found = re.search(r'name="id" value="([^"]+)"', await self.page())
        assert found
        await self.session.post(f"{self.root}/chat/messages", data={"id": found[1], "text": words})
        return await self.page()


@asynccontextmanager
async def visitor(root: str, *, code: str = "") -> AsyncIterator[Visitor]:
    """Somebody who agreed that his conversation is kept; `code` is of the community's QR code he scanned."""
    async with ClientSession(cookie_jar=CookieJar(unsafe=True), headers={"Origin": root}) as session:
        somebody = Visitor(root, session)
        await somebody.consent(code)
        yield somebody


async def log_in(page: Page, root: str, username: str) -> None:
    await page.goto(f"{root}/console")
    await page.get_by_label("用户名").fill(username)
    await page.get_by_label("密码").fill(PASSWORD)
    await page.get_by_role("button", name="登录").click()
    await page.wait_for_url(re.compile("/console/(?!login)"))

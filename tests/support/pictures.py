"""Takes the README's pictures from a fresh demo station: python -m tests.support.pictures"""

import asyncio
import tempfile
from pathlib import Path

from aiohttp import web
from playwright.async_api import Page

from bot.app import create_app, load_keys
from bot.demo.fill import PASSWORD, fill
from bot.demo.settings import demo_config
from bot.store import migrations
from bot.store.engine import Store
from knowledge import Knowledge
from tests.support.browser import People, launched

FOLDER = Path(__file__).parents[2] / "docs"


async def _resident(page: Page) -> None:
    await page.goto("/chat")
    await page.get_by_role("button", name="同意").first.click()
    for words in ("身份证丢了，要多少钱补办", "骗子让我正在转账"):
        await page.locator("textarea").fill(words)
        await page.get_by_role("button", name="发送").click()
        await page.get_by_text(words).last.wait_for()
        await page.wait_for_timeout(2500)
    await page.screenshot(path=FOLDER / "chat.png")


async def _log_in(page: Page, username: str) -> None:
    await page.goto("/console")
    await page.get_by_label("用户名").fill(username)
    await page.get_by_label("密码").fill(PASSWORD)
    await page.get_by_role("button", name="登录").click()
    await page.wait_for_load_state("networkidle")


async def _officer(page: Page) -> None:
    await _log_in(page, "zhangwei")
    await page.locator("#alarm a").first.click()
    await page.get_by_role("button", name="接手").click()
    await page.get_by_label("回复居民").fill("您好，我是社区民警张卫民。请马上停止转账，告诉我收款账号和金额。")
    await page.wait_for_timeout(800)
    await page.screenshot(path=FOLDER / "console.png")


async def _reviewer(page: Page) -> None:
    await _log_in(page, "shencha")
    await page.goto("/console/review")
    await page.get_by_label("查阅原因").fill("核查防骗答复质量")
    await page.get_by_label("词语").fill("转账")
    await page.get_by_role("button", name="查阅", exact=True).click()
    await page.wait_for_timeout(800)
    await page.screenshot(path=FOLDER / "review.png")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings, knowledge = demo_config(Path(folder), 0), Knowledge.load()
        load_keys(settings)
        store = Store.open(settings.database.url)
        await migrations.migrate(store)
        await fill(store, knowledge)
        await store.close()
        runner = web.AppRunner(await create_app(settings, knowledge), access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        await asyncio.sleep(8)  # the week's messages become searchable
        async with launched() as browser:
            people = People(browser)
            await _resident(await people.open("phone", base_url=address))
            await _officer(await people.open("desk", base_url=address))
            await _reviewer(await people.open("desk", base_url=address))
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())

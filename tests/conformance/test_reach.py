"""What officers see of all this before and after they send: on the ticket, on the resident, on the warning."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Page, expect

from bot.actions import officers
from bot.actions.audit import Actor
from bot.console.app import ConsoleDesk, add_console
from bot.store.models import Officer
from tests.conformance.account import WANG, Account, opened
from tests.conformance.test_mass import reported, warn
from tests.support import browser as browsers
from tests.support.station import CHANNEL, FrozenClock
from tests.support.two_stations import PASSWORD, PASSWORD_HASH

pytestmark = [pytest.mark.browser]


@asynccontextmanager
async def console(account: Account, people: browsers.People) -> AsyncIterator[str]:
    """The console of the account's station on a port."""
    house = account.house
    async with house.store.write() as session:
        for username in ("zhang", "suo", "guan"):
            officer = await session.get_one(Officer, (await house.officer(username)).id)
            himself = Actor(house.station.id, officer.id)  # who chose it need not change it
            await officers.set_password(session, officer, PASSWORD_HASH, actor=himself)
    app = web.Application(client_max_size=3 * 1024 * 1024)
    rules = {CHANNEL: account.channel.rules}
    add_console(app, ConsoleDesk(runtime=house.runtime, channels={CHANNEL: "official_account"}, rules=rules))
    async with TestServer(app) as server:
        yield f"http://127.0.0.1:{server.port}"
        for context in people.browser.contexts:  # a page whose server is gone complains
            await context.close()


async def log_in(page: Page, username: str) -> None:
    await page.goto("/console")
    await page.get_by_label("用户名").fill(username)
    await page.get_by_label("密码").fill(PASSWORD)
    await page.get_by_role("button", name="登录").click()
    await expect(page.get_by_role("navigation", name="主菜单")).to_be_visible()


async def say(page: Page, words: str) -> None:
    await page.get_by_label("回复居民").fill(words)
    await page.get_by_role("button", name="发送").click()


@pytest.mark.slow
async def test_an_officer_knows_before_he_sends_when_it_arrives_and_afterwards_whether_it_did(
    people: browsers.People, furnished_sqlite_url: str, frozen: FrozenClock
) -> None:
    async with opened(furnished_sqlite_url, frozen) as account, console(account, people) as root:
        await account.hears("楼上太吵了")
        ticket = await account.officer_takes()
        page = await people.open("phone", base_url=root)
        await log_in(page, "zhang")
        await page.goto(f"/console/tickets/{ticket}")
        await expect(page.locator("#reply .reach")).to_have_text("现在能送达")

        # The platform's answer is lost: nobody knows, and nobody sends it again unasked.
        account.wechat.fault("custom/send", "status_after", 502, times=1)
        await say(page, "请把门牌号告诉我")
        await expect(page.get_by_text("回复已提交，正在发送")).to_be_visible()
        await account.works()
        await expect(page.locator("#timeline .delivery.unknown")).to_contain_text("不知是否送达")
        await expect(page.get_by_role("button", name="仍要重发")).to_be_visible()

        # Two days later his window is over.
        account.clock.forward(hours=49)
        await page.reload()
        await log_in(page, "zhang")
        await page.goto(f"/console/tickets/{ticket}")
        await expect(page.locator("#reply .reach")).to_contain_text("居民下次来消息时送达")
        await expect(page.locator("#reply .reach")).to_contain_text("48 小时内没有来消息")
        await say(page, "社区已经去看过了")
        await expect(page.get_by_text("回复已保存，居民下次来消息时自动送达")).to_be_visible()
        await account.works()
        await expect(page.locator("#timeline .delivery.waiting")).to_contain_text("等居民来消息")
        await account.hears("怎么样了")
        await account.works()
        await expect(page.locator("#timeline .delivery.waiting")).to_have_count(0)
        assert account.texts()[-1] == "社区已经去看过了"

        # He leaves.
        await account.pusher.event(WANG, "unsubscribe", {})
        await account.house.dispatcher.close()
        await page.reload()
        await expect(page.locator("#reply .reach")).to_contain_text("无法送达")
        await page.get_by_role("link", name="居民资料").click()
        resident = (await account.house.resident()).id
        await page.goto(f"/console/residents/{resident}")
        await expect(page.get_by_text("居民已取消关注，请改用电话或上门联系")).to_be_visible()


@pytest.mark.slow
async def test_a_channel_that_stands_still_is_a_red_bar_for_who_can_have_it_mended(
    people: browsers.People, furnished_sqlite_url: str, frozen: FrozenClock
) -> None:
    async with opened(furnished_sqlite_url, frozen) as account, console(account, people) as root:
        await account.hears("楼上太吵了")
        ticket = await account.officer_takes()
        account.wechat.fault("custom/send", "errcode", 48004)
        await account.officer_says(ticket, "马上到")
        await account.works()
        for username, sees in (("suo", 1), ("guan", 1), ("zhang", 0)):
            page = await people.open("desk", base_url=root)
            await log_in(page, username)
            bar = page.locator("#alarm .alarm", has_text="请管理员立即登录公众平台处理")
            await expect(bar).to_have_count(sees)


@pytest.mark.slow
async def test_a_mass_warning_is_called_submitted_and_its_filtered_recipients_are_counted(
    people: browsers.People, furnished_sqlite_url: str, frozen: FrozenClock
) -> None:
    async with opened(furnished_sqlite_url, frozen) as account, console(account, people) as root:
        residents = await account.people(5)
        account.wechat.follower(residents[0]).mass_in_month["2026-11"] = 4
        number = await warn(account)
        await account.works()
        page = await people.open("desk", base_url=root)
        await log_in(page, "suo")
        await page.goto(f"/console/broadcasts/{number}")
        await expect(page.get_by_text("5 人已提交微信群发")).to_be_visible()
        await expect(page.get_by_text("微信还没有全部回报结果")).to_be_visible()
        await expect(page.get_by_text("已送达")).to_have_count(0)
        await reported(account)
        await page.reload()
        await expect(page.locator("#mass")).to_contain_text("平台过滤 1 人")

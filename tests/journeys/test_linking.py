"""A resident on the web and in WeChat, his officer at the console: one person, one conversation, over HTTP."""

import asyncio
import re
from collections.abc import Awaitable, Callable

from playwright.async_api import Page, expect
from sqlalchemy import select

from bot import clock
from bot.actions import residents
from bot.store.models import Resident, ResidentAddress
from scheduler.jobs import look_up_followers
from tests.support.program import Visitor, log_in, running, visitor
from tests.support.station import House

OPENID = "o9AgO5Kd5ggOC-bXrbNODIiE3bGY"
SECONDS = 15


async def persons(house: House) -> int:
    rows = await house.all(select(ResidentAddress))
    return len({row.resident_id for row in rows})


async def is_one(house: House) -> bool:
    return await persons(house) == 1


async def said_on(somebody: Visitor, words: str) -> bool:
    return words in await somebody.page()


async def became(true: Callable[[], Awaitable[bool]]) -> bool:
    """Whether something becomes so while the program's clockwork runs."""
    for _ in range(SECONDS * 10):
        if await true():
            return True
        await asyncio.sleep(0.1)
    return False


async def test_a_resident_links_the_web_with_wechat_and_his_officer_sees_one_conversation(
    furnished_sqlite_url: str, desk: Page
) -> None:
    async with running(furnished_sqlite_url, desk) as here, visitor(here.root) as wang:
        await here.pusher.text(OPENID, "楼上太吵了")  # opens a ticket
        given = await here.pusher.text(OPENID, "绑定")
        code = re.search(r"\b[0-9]{6}\b", given.text)
        assert code
        assert await persons(here.house) == 2
        assert "关联成功" in await wang.say(f"绑定 {code[0]}")
        assert await persons(here.house) == 1

        page = desk
        await log_in(page, here.root, "zhang")
        await page.get_by_role("link", name=re.compile("邻里噪声")).first.click()
        await page.get_by_role("button", name="接手").click()
        await expect(page.get_by_text("楼上太吵了").first).to_be_visible()
        await expect(page.locator(".timeline").get_by_text("网页").first).to_be_visible()
        await expect(page.locator(".timeline").get_by_text("公众号").first).to_be_visible()

        assert "关联成功" in await wang.say("现在又开始吵了")  # the bot says nothing more: the officer speaks
        assert (await here.pusher.text(OPENID, "身份证丢了怎么办")).verdict == "silent"
        await expect(page.get_by_text("现在又开始吵了")).to_be_visible(timeout=SECONDS * 1000)

        await wang.say("听得见吗")  # he wrote on the web last: the reply goes there
        await page.get_by_label("回复居民").fill("我是张伟，马上到。")
        await page.get_by_role("button", name="发送").click()
        await expect(page.locator(".timeline .out.officer")).to_contain_text("马上到")
        assert await became(lambda: said_on(wang, "马上到"))
        assert not any("马上到" in text for text in here.wechat.texts(OPENID))


async def test_the_same_person_in_two_official_accounts_is_known_by_his_union_id(furnished_sqlite_url: str) -> None:
    async with running(furnished_sqlite_url) as here:
        here.wechat.follower(OPENID).unionid = "u-wang"
        async with here.house.store.write() as session:
            known = Resident(station_id=here.house.station.id, created_at=clock.now(), birth_year=1958)
            residents.set_name(known, "王小明")
            session.add(known)
            await session.flush()
            session.add(
                ResidentAddress(
                    station_id=here.house.station.id,
                    resident_id=known.id,
                    channel="another",
                    address="o-elsewhere",
                    union_id="u-wang",
                    looked_up_at=clock.now(),
                    created_at=clock.now(),
                )
            )
        await here.pusher.event(OPENID, "subscribe", {"EventKey": ""})
        here.tick(look_up_followers)
        assert await became(lambda: is_one(here.house))
        said = await here.pusher.text(OPENID, "我的信息")
        assert "1958" in said.text

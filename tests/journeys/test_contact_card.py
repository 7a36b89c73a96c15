"""The card on the door: an officer prints it, a resident scans it; and the page that says whether the channels work."""

import re

import pytest
from playwright.async_api import Page, expect
from sqlalchemy import select

from bot.store.models import Resident
from tests.support.program import log_in, running, visitor

OPENID = "o9AgO5Kd5ggOC-bXrbNODIiE3bGY"


async def pages_of(page: Page) -> list[str]:
    """The sheets the page prints on, each by its size in points."""
    printed = (await page.pdf(prefer_css_page_size=True)).decode("latin-1")
    return re.findall(r"/MediaBox \[0 0 (\d+)", printed)


async def test_the_cards_of_all_communities_are_printed_one_on_each_sheet(
    furnished_sqlite_url: str, page: Page
) -> None:
    async with running(furnished_sqlite_url, page) as here:
        await log_in(page, here.root, "zhang")
        await page.goto(f"{here.root}/console/communities")
        await page.get_by_role("link", name="打印全部警民联系卡").click()
        await expect(page.locator(".contact")).to_have_count(3)
        card = page.locator(".contact", has_text="柳河村")
        for words in ("枫林派出所", "警民联系卡", "张伟", "警号 033101", "13900001111", "关注后", "110"):
            await expect(card).to_contain_text(words)
        assert await pages_of(page) == ["420"] * 3  # A6 lying
        await page.get_by_role("link", name="A4 张贴").click()
        await expect(page.locator("[aria-current=page]", has_text="A4 张贴")).to_be_visible()
        assert await pages_of(page) == ["594"] * 3  # A4 standing


async def test_a_card_leads_to_the_account_and_its_code_is_made_once(furnished_sqlite_url: str, desk: Page) -> None:
    async with running(furnished_sqlite_url, desk) as here:
        await log_in(desk, here.root, "zhang")
        addresses = []
        for _ in range(3):
            await desk.goto(f"{here.root}/console/communities/3/card")
            shown = await desk.get_by_text("由公众号生成").inner_text()
            addresses.append(shown.partition("：")[2])
        assert len(set(addresses)) == 1
        assert len(here.wechat.calls("qrcode/create")) == 1
        await here.wechat.scan("liuhe", OPENID)  # what the printed code carries
        resident: Resident = await here.house.one(select(Resident))
        assert resident.community_id == await here.house.community("柳河村")


async def test_without_an_answer_of_the_platform_the_card_leads_to_the_web_chat(
    furnished_sqlite_url: str, desk: Page
) -> None:
    async with running(furnished_sqlite_url, desk) as here:
        here.wechat.fault("qrcode/create", "errcode", 48001)
        await log_in(desk, here.root, "zhang")
        await desk.goto(f"{here.root}/console/communities/3/card")
        await expect(desk.get_by_text("https://police.example.org/chat?c=liuhe")).to_be_visible()
        await expect(desk.locator(".contact")).to_contain_text("手机扫一扫")
        async with visitor(here.root, code="liuhe"):
            resident: Resident = await here.house.one(select(Resident))
        assert resident.community_id == await here.house.community("柳河村")


@pytest.mark.parametrize("wrong", [False, True])
async def test_the_chief_sees_whether_the_channels_work_and_what_to_do(
    furnished_sqlite_url: str, page: Page, wrong: bool
) -> None:
    async with running(furnished_sqlite_url, page) as here:
        await here.pusher.text(OPENID, "你好")
        if wrong:
            here.wechat.fault("stable_token", "errcode", 40164)
        await log_in(page, here.root, "suo")
        await page.goto(f"{here.root}/console/channels")
        account = page.locator(".checks", has_text="公众号")
        await expect(account).to_contain_text("需要处理" if wrong else "正常")
        if wrong:
            await expect(account).to_contain_text("请管理员")

"""Residents at the console: found by exact name or phone, masked, revealed with a reason, ours only."""

import re

import pytest
from sqlalchemy import select

from bot import clock
from bot.store.models import AuditEvent, Broadcast, BroadcastState, Delivery, DeliveryState
from tests.console.house import Browser, House

SECRETS = ("王小明", "13812345678", "3幢502室")


async def find(browser: Browser, who: str) -> str:
    await browser.read("/console/residents")
    response = await browser.post("/console/residents", who=who)
    assert response.status == 303, await response.text()
    assert not any(secret in response.headers["Location"] for secret in SECRETS)
    return await browser.read(response.headers["Location"])


async def events(house: House, action: str) -> list[AuditEvent]:
    async with house.store.read() as session:
        rows = await session.execute(select(AuditEvent).where(AuditEvent.action == action))
        return list(rows.scalars())


@pytest.mark.parametrize("who", ["王小明", "13812345678", "138 1234-5678"])
async def test_found_by_name_or_phone_and_masked(house: House, who: str) -> None:
    page = await find(await house.logged_in("zhang"), who)
    assert "王**" in page
    assert "138****5678" in page
    assert not any(secret in page for secret in SECRETS)
    (event,) = await events(house, "resident.searched")
    assert event.actor_id == house.first.officers["zhang"]
    assert "王" not in str(event.details)


@pytest.mark.parametrize("who", ["王小", "小明", "1381234567", "查无此人", "' OR 1=1 --", "%"])
async def test_who_is_not_exactly_named_is_not_found(house: House, who: str) -> None:
    assert "没有找到" in await find(await house.logged_in("zhang"), who)


async def test_an_empty_search_says_what_to_type(house: House) -> None:
    browser = await house.logged_in("zhang")
    response = await browser.post("/console/residents", who=" ")
    assert response.status == 422
    assert "请输入完整的姓名，或 11 位手机号码" in await response.text()


async def test_a_search_is_good_for_the_officer_who_made_it(house: House) -> None:
    response = await (await house.logged_in("zhang")).post("/console/residents", who="王小明")
    assert "王**" not in await (await house.logged_in("chen")).read(response.headers["Location"])


async def test_the_card_shows_tickets_addresses_and_warnings(house: House) -> None:
    now = clock.now()
    async with house.store.write() as session:
        warning = Broadcast(
            station_id=house.first.station.id, title="谨防刷单", body="问民警", audience={}, state=BroadcastState.DONE,
            author_id=house.first.officers["chen"], created_at=now,
        )  # fmt: skip
        session.add(warning)
        await session.flush()
        session.add(
            Delivery(
                station_id=house.first.station.id,
                broadcast_id=warning.id,
                resident_id=house.first.residents[0],
                channel="web",
                state=DeliveryState.FAILED,
                reason="居民未关注",
                created_at=now,
            )
        )
    page = await (await house.logged_in("zhang")).read(f"/console/residents/{house.first.residents[0]}")
    for words in ("王**", "3幢****", "网页", "身份证", "谨防刷单", "居民未关注", "枫林1社区"):
        assert words in page, words
    assert not any(secret in page for secret in SECRETS)


async def test_a_reveal_needs_a_reason_and_is_recorded(house: House) -> None:
    browser = await house.logged_in("zhang")
    path = f"/console/residents/{house.first.residents[0]}"
    await browser.read(path)
    response = await browser.post(f"{path}/reveal", why=" ")
    page = await response.text()
    assert response.status == 422
    assert "请写明查看完整信息的原因" in page
    assert not any(secret in page for secret in SECRETS)
    assert await events(house, "resident.revealed") == []
    page = await (await browser.post(f"{path}/reveal", why="电话核实被骗情况")).text()
    assert all(secret in page for secret in SECRETS)
    (event,) = await events(house, "resident.revealed")
    assert (event.why, event.actor_id) == ("电话核实被骗情况", house.first.officers["zhang"])
    assert event.subject == f"resident:{house.first.residents[0]}"
    page = await browser.read(path)
    assert not any(secret in page for secret in SECRETS), "hidden again"


@pytest.mark.parametrize("username", ["fu", "shen", "guan"])
async def test_who_may_not_look_residents_up_cannot(house: House, username: str) -> None:
    browser = await house.logged_in(username)
    path = f"/console/residents/{house.first.residents[0]}"
    assert (await browser.get("/console/residents")).status == 403
    assert (await browser.get(path)).status == 403
    assert (await browser.post("/console/residents", who="王小明")).status == 403
    response = await browser.post(f"{path}/reveal", why="想看看")
    page = await response.text()
    assert response.status == 403
    assert not any(secret in page for secret in SECRETS)
    assert await events(house, "resident.revealed") == []


async def test_another_stations_resident_does_not_exist(house: House) -> None:
    stranger = await house.logged_in("zhang", station=1)
    path = f"/console/residents/{house.first.residents[0]}"
    assert (await stranger.get(path)).status == 404
    assert (await stranger.post(f"{path}/reveal", why="核实情况")).status == 404
    found = re.findall(r"/console/residents/(\d+)", await find(stranger, "王小明"))
    assert house.first.residents[0] not in map(int, found)

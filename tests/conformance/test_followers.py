"""Events get lost: once a day who follows is compared with the platform's own list, against the emulator."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest
from sqlalchemy import select

from bot import checkup
from bot.actions import followers as corrections
from bot.checks import Check
from bot.store.models import AuditEvent, ResidentAddress
from scheduler import followers, jobs
from tests.conformance.account import Account, opened
from tests.support.station import CHANNEL, FrozenClock

LIST = "user/get$"


@pytest.fixture
async def account(furnished_url: str, frozen: FrozenClock) -> AsyncIterator[Account]:
    async with opened(furnished_url, frozen) as account:
        yield account


@pytest.fixture
async def small(furnished_sqlite_url: str, frozen: FrozenClock) -> AsyncIterator[Account]:
    async with opened(furnished_sqlite_url, frozen) as account:
        yield account


async def follow(account: Account, count: int) -> list[str]:
    """So many who have followed for some time."""
    openids = await account.people(count)
    account.clock.forward(minutes=1)
    return openids


async def leaves(account: Account, *openids: str) -> None:
    """They leave, and the event is lost."""
    for openid in openids:
        account.wechat.follower(openid).following = False


async def following(account: Account) -> dict[str, bool]:
    rows: Sequence[ResidentAddress] = await account.house.all(select(ResidentAddress))
    return {row.address: row.following for row in rows}


async def line(account: Account) -> Check:
    house = account.house
    (report,) = await checkup.report(house.store, house.station.id, {CHANNEL: account.channel}, "https://a.example")
    (found,) = [check for check in report.checks if check.name.zh == "关注者名单"]
    return found


async def test_who_left_or_came_back_unheard_is_found_in_the_platforms_list(account: Account) -> None:
    openids = await follow(account, 5)
    await account.pusher.event(openids[4], "unsubscribe", {})
    await account.house.dispatcher.close()
    account.clock.forward(minutes=1)
    await leaves(account, *openids[:2])
    account.wechat.follower(openids[4]).following = True
    account.wechat.follower("o-never-met")
    await jobs.reconcile_followers(account.desk)
    assert await following(account) == dict(zip(openids, (False, False, True, True, True), strict=True))
    assert (await account.address(openids[4])).looked_up_at is None, "the platform is asked who he is"
    left = await account.house.all(select(AuditEvent).where(AuditEvent.action == "address.platform_data_deleted"))
    assert len(left) == 3
    assert (await line(account)).found.zh == "刚刚核对过"


async def test_a_list_of_many_pages_is_read_to_its_end(small: Account) -> None:
    openids = await follow(small, 25)
    small.wechat.rules.follower_page = 10
    await leaves(small, openids[3])
    await jobs.reconcile_followers(small.desk)
    assert len(small.wechat.calls(LIST)) == 3
    assert [openid for openid, here in (await following(small)).items() if not here] == [openids[3]]


async def test_it_is_done_at_the_first_start_and_then_once_a_day(small: Account) -> None:
    await follow(small, 3)
    for _ in range(3):
        await jobs.reconcile_followers(small.desk)
    assert len(small.wechat.calls(LIST)) == 1
    small.clock.forward(days=1)
    await jobs.reconcile_followers(small.desk)
    assert len(small.wechat.calls(LIST)) == 2


async def test_a_page_that_is_lost_marks_nobody_and_is_asked_for_in_an_hour(small: Account) -> None:
    openids = await follow(small, 25)
    small.wechat.rules.follower_page = 10
    await leaves(small, openids[3])
    small.wechat.fault(LIST, "status", 502, nth=[2], times=1)
    await jobs.reconcile_followers(small.desk)
    assert all((await following(small)).values())
    small.clock.forward(seconds=followers.AGAIN.total_seconds() + 1)
    await jobs.reconcile_followers(small.desk)
    assert not (await following(small))[openids[3]]


async def test_an_account_that_may_not_ask_is_refused_once_and_the_self_check_says_so(small: Account) -> None:
    await follow(small, 3)
    small.wechat.fault(LIST, "errcode", 48001)
    for _ in range(30):
        await jobs.reconcile_followers(small.desk)
        small.clock.forward(hours=12)
    assert len(small.wechat.calls(LIST)) == 1
    found = await line(small)
    assert (found.good, found.found.zh) == (None, "平台不提供（代码 48001）")
    small.wechat.faults.clear()
    small.clock.now += timedelta(days=16)
    await jobs.reconcile_followers(small.desk)
    assert (await line(small)).good is True


async def test_settings_that_were_wrong_for_a_while_do_not_stop_the_comparing(small: Account) -> None:
    openids = await follow(small, 3)
    await leaves(small, openids[0])
    small.wechat.fault(LIST, "errcode", 40164)
    await jobs.reconcile_followers(small.desk)
    small.wechat.faults.clear()
    small.clock.forward(seconds=followers.AGAIN.total_seconds() + 1)
    await jobs.reconcile_followers(small.desk)
    assert not (await following(small))[openids[0]]
    assert (await line(small)).good is True


async def test_an_account_that_is_not_verified_does_not_ask_at_all(
    furnished_sqlite_url: str, frozen: FrozenClock
) -> None:
    async with opened(furnished_sqlite_url, frozen, account_type="subscription") as account:
        await follow(account, 3)
        await jobs.reconcile_followers(account.desk)
        assert account.wechat.calls(LIST) == []
        assert (await line(account)).found.zh == "平台不提供（未认证）"


async def test_a_list_without_most_of_our_residents_is_not_believed(small: Account) -> None:
    """The settings name another account, or the platform has a bad day: nobody loses anything by it."""
    openids = await follow(small, 60)
    await leaves(small, *openids[:40])
    await jobs.reconcile_followers(small.desk)
    assert all((await following(small)).values())
    assert (await line(small)).good is False
    small.clock.forward(days=1)
    for openid in openids[:40]:
        small.wechat.follower(openid).following = True
    await jobs.reconcile_followers(small.desk)
    assert (await line(small)).good is True


async def test_who_moves_while_the_list_is_made_stays_as_his_own_event_says(small: Account) -> None:
    """He is not in the list, and writes before it has been worked through."""
    openids = await follow(small, 3)
    await leaves(small, openids[0])
    listed_at = small.clock.now
    address = await small.address(openids[0])
    small.clock.forward(seconds=1)
    await small.hears("我又关注了", openids[0])
    async with small.house.store.write() as session:
        await corrections.correct(session, [address.id], following=False, listed_at=listed_at)
    assert all((await following(small)).values())


async def test_of_several_processes_one_asks(account: Account, furnished_url: str) -> None:
    await follow(account, 3)
    async with opened(furnished_url, account.clock) as other:
        other.wechat.follower("o-many-000000")
        await jobs.reconcile_followers(account.desk)
        await jobs.reconcile_followers(other.desk)
        assert (len(account.wechat.calls(LIST)), len(other.wechat.calls(LIST))) == (1, 0)

"""The official account's own affairs against the emulator: menu, tags, QR scenes, user details, who leaves."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from bot import clock
from bot.config import ConfigError, parse_config
from bot.store.models import AuditEvent, ResidentAddress, StoredMessage
from knowledge import Knowledge
from scheduler import jobs
from tests.conformance.station import Account, account_of, open_account
from tests.fakes.wechat import FakeWeChat
from tests.support.station import CHANNEL, FrozenClock, House

OPENID = "o9AgO5Kd5ggOC-bXrbNODIiE3bGY"


@pytest.fixture
async def wechat(frozen: FrozenClock) -> AsyncIterator[FakeWeChat]:
    async with FakeWeChat() as wechat:
        wechat.rules.tag_write_seconds = 0.01
        yield wechat


@pytest.fixture
async def account(house: House, wechat: FakeWeChat) -> AsyncIterator[Account]:
    async with open_account(house, wechat) as account:
        yield account


async def address(house: House, openid: str = OPENID) -> ResidentAddress:
    found: ResidentAddress = await house.one(select(ResidentAddress).where(ResidentAddress.address == openid))
    return found


# -- menu -------------------------------------------------------------------------------------------------------------


async def test_45_the_menu_goes_out_in_raw_chinese_and_the_platform_takes_it(
    account: Account, wechat: FakeWeChat
) -> None:
    await account.channel.set_menu()
    assert [button["name"] for button in wechat.menu.buttons] == ["咨询办事", "防骗求助", "我的民警"]
    (call,) = wechat.calls("menu/create")
    assert (call.errcode, call.escaped) == (0, False)


async def test_every_button_of_the_menu_is_answered(
    furnished_sqlite_url: str, wechat: FakeWeChat, knowledge: Knowledge
) -> None:
    async with (
        House.opened(furnished_sqlite_url, knowledge=knowledge) as house,
        open_account(house, wechat) as account,
    ):
        await account.channel.set_menu()
        for button in list(wechat.menu.leaves()):
            answered = await wechat.tap(OPENID, str(button["name"]))
            assert answered.status == 200
            assert answered.text, button["name"]


async def test_a_tap_says_the_words_of_its_button(account: Account, wechat: FakeWeChat, house: House) -> None:
    await account.channel.set_menu()
    tapped = await wechat.tap(OPENID, "身份证丢了")
    assert "身份证丢了补办" in tapped.text
    (row,) = await house.heard()
    assert (row.topic, row.kind) == ("idcard.lost", "event")


def channel(menu: object) -> dict[str, object]:
    account = {
        "kind": "official_account", "name": "fenglin", "app_id": "wx1", "secret": "s", "token": "abc",
        "encoding_aes_key": "a" * 43, "menu": menu,
    }  # fmt: skip
    return {"station": {"name": "枫林"}, "security": {"data_key": "k"}, "channels": [account]}


@pytest.mark.parametrize(
    ("menu", "complaint"),
    [
        ([{"name": "找我们咨询办事", "says": "菜单"}], "too long for WeChat: 21 bytes of 16"),
        ([{"name": "咨询", "says": "问" * 43}], "129 bytes of 128"),
        ([{"name": "咨询", "url": "https://a.example/" + "x" * 1024}], "of 1024"),
        ([{"name": "咨询"}], "needs one of: says, url, buttons"),
        ([{"name": "咨询", "says": "菜单", "url": "https://a.example"}], "needs one of"),
        ([{"name": "咨询", "buttons": [{"name": "问" * 21, "says": "菜单"}]}], "63 bytes of 60"),
        (
            [{"name": "一", "buttons": [{"name": "二", "buttons": [{"name": "三", "says": "x"}]}]}],
            "cannot hold buttons",
        ),
        ([{"name": "一", "says": "一"}] * 4, "at most 3"),
        ([{"name": "一", "buttons": [{"name": "二", "says": "二"}] * 6}], "at most 5"),
        ([], "at least 1"),
    ],
)
def test_a_menu_the_platform_would_refuse_is_refused_at_the_start(menu: object, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_config(channel(menu), {})


# -- QR codes with a scene --------------------------------------------------------------------------------------------


async def test_25_following_by_a_communitys_code_and_scanning_it_later_bind_to_the_community(
    account: Account, wechat: FakeWeChat, house: House
) -> None:
    printed = await account.channel.scene_address("liuhe")
    assert printed.startswith("http")
    await wechat.scan("liuhe", OPENID)
    assert (await house.resident(OPENID)).community_id == await house.community("柳河村")
    assert {call.body["action_name"] for call in wechat.calls("qrcode/create")} == {"QR_LIMIT_STR_SCENE"}
    await wechat.scan("hubin", OPENID)  # he follows already: SCAN
    assert (await house.resident(OPENID)).community_id == await house.community("湖滨社区")


@pytest.mark.parametrize("scene", ["beat:7", "liuhe ", "LIUHE", "x" * 64, "1", "柳河村", "'; drop table"])
async def test_25_a_forged_scene_binds_to_nothing_and_is_no_error(
    account: Account, wechat: FakeWeChat, house: House, scene: str
) -> None:
    first, second = await wechat.scan(scene, OPENID), await wechat.scan(scene, OPENID)
    assert [first.status, second.status] == [200, 200]
    assert (await house.resident(OPENID)).community_id is None
    assert {row.state for row in await house.heard()} == {"handled"}


# -- user details -----------------------------------------------------------------------------------------------------


async def test_who_follows_is_looked_up_once(account: Account, wechat: FakeWeChat, house: House) -> None:
    wechat.follower(OPENID).unionid = "u-wang"
    await account.pusher.event(OPENID, "subscribe", {"EventKey": ""})
    for _ in range(3):
        await jobs.look_up_followers(account.desk)
    assert (await address(house)).union_id == "u-wang"
    assert len(wechat.calls("user/info/batchget")) == 1


async def test_the_same_union_id_on_another_channel_makes_one_resident(
    account: Account, wechat: FakeWeChat, house: House
) -> None:
    elsewhere = {"channel": "kf", "union_id": "u-wang", "looked_up_at": clock.now()}
    known = await house.add_resident("wm-wang", birth_year=1958, address=elsewhere)
    wechat.follower(OPENID).unionid = "u-wang"
    await account.pusher.event(OPENID, "subscribe", {"EventKey": ""})
    await jobs.look_up_followers(account.desk)
    assert (await house.resident(OPENID)).id == known


async def test_one_openid_the_platform_does_not_know_spoils_nothing_for_the_others(
    account: Account, wechat: FakeWeChat, house: House
) -> None:
    for n in range(7):
        await house.add_resident(f"o-known-{n}")
        wechat.follower(f"o-known-{n}").unionid = f"u-{n}"
    await house.add_resident("o-of-another-account")
    await jobs.look_up_followers(account.desk)
    rows = await house.all(select(ResidentAddress.union_id).where(ResidentAddress.union_id.is_not(None)))
    assert len(rows) == 7
    before = len(wechat.calls("user/info/batchget"))
    await jobs.look_up_followers(account.desk)
    assert len(wechat.calls("user/info/batchget")) == before


@pytest.mark.parametrize("code", [-1, 40164], ids=["busy", "our address is not on its list"])
async def test_a_platform_that_does_not_answer_now_is_asked_again_later(
    account: Account, wechat: FakeWeChat, house: House, code: int
) -> None:
    wechat.follower(OPENID).unionid = "u-wang"
    await account.pusher.event(OPENID, "subscribe", {"EventKey": ""})
    wechat.fault("user/info/batchget", "errcode", code, times=1)
    await jobs.look_up_followers(account.desk)
    assert (await address(house)).union_id is None
    await jobs.look_up_followers(account.desk)
    assert (await address(house)).union_id == "u-wang"


async def test_an_account_that_is_not_verified_asks_for_none_of_it(house: House, wechat: FakeWeChat) -> None:
    async with open_account(house, wechat, account_type="subscription") as account:
        await account.pusher.event(OPENID, "subscribe", {"EventKey": ""})
        await jobs.look_up_followers(account.desk)
        await jobs.tag_followers(account.desk)
    assert [call.path for call in wechat.journal if "qrcode" in call.path or "user" in call.path] == []


# -- leaving ----------------------------------------------------------------------------------------------------------


async def test_26_who_leaves_gets_nothing_more_and_the_platforms_data_on_him_is_deleted(
    account: Account, wechat: FakeWeChat, house: House, frozen: FrozenClock
) -> None:
    wechat.follower(OPENID).unionid = "u-wang"
    await account.pusher.event(OPENID, "subscribe", {"EventKey": ""})
    await jobs.look_up_followers(account.desk)
    await account.pusher.text(OPENID, "楼上太吵了")
    ticket = await house.take("zhang", OPENID)
    await account.pusher.event(OPENID, "unsubscribe", {"EventKey": ""})
    await house.close_ticket("zhang", ticket, farewell="已经办好。")
    await account.outbox.work()
    sent = wechat.calls("message/custom/send")
    assert not any("已经办好" in str(call.body) for call in sent)  # not even tried: no 43004 needed

    left = await address(house)
    assert (left.following, left.union_id, left.window_until, left.window_left) == (False, None, None, 0)
    events = await house.all(select(AuditEvent).where(AuditEvent.action == "address.platform_data_deleted"))
    assert len(events) == 1
    kept: list[StoredMessage] = await house.heard()
    assert "楼上太吵了" in [row.body for row in kept]  # the station's record goes by its own retention

    frozen.forward(minutes=1)
    await account.pusher.event(OPENID, "subscribe", {"EventKey": ""})  # and he comes back
    await jobs.look_up_followers(account.desk)
    assert (await address(house)).union_id == "u-wang"


@pytest.mark.parametrize("name", ["user_authorization_revoke", "user_authorization_cancellation"])
async def test_26_who_takes_back_his_authorisation_has_the_platforms_data_deleted(
    account: Account, wechat: FakeWeChat, house: House, name: str
) -> None:
    wechat.follower(OPENID).unionid = "u-wang"
    await account.pusher.event(OPENID, "subscribe", {"EventKey": ""})
    await jobs.look_up_followers(account.desk)
    fields = {"OpenID": OPENID, "AppID": wechat.app_id, "RevokeInfo": "301"}
    told = await account.pusher.event("gh_platform", name, fields)
    assert told.status == 200
    assert (await address(house)).union_id is None
    assert len(await house.all(select(ResidentAddress))) == 1  # the platform is no resident


# -- tags -------------------------------------------------------------------------------------------------------------


async def settle(house: House, wechat: FakeWeChat, community: str, count: int) -> list[str]:
    """So many followers who belong to a community."""
    place = await house.community(community)
    openids = [f"o-{place}-{n:03d}" for n in range(count)]
    for openid in openids:
        await house.add_resident(openid, community_id=place)
        wechat.follower(openid)
    return openids


def tagged(wechat: FakeWeChat, name: str) -> list[str]:
    (tag,) = [tag.id for tag in wechat.tags.held.values() if tag.name == name]
    return sorted(wechat.tags.members(tag))


async def test_44_a_hundred_and_twenty_followers_are_tagged_in_three_calls(
    account: Account, wechat: FakeWeChat, house: House
) -> None:
    openids = await settle(house, wechat, "柳河村", 120)
    await jobs.tag_followers(account.desk)
    assert tagged(wechat, "柳河村") == openids
    sizes = [len(call.body["openid_list"]) for call in wechat.calls("batchtagging")]
    assert sizes == [50, 50, 20]


async def test_44_those_a_call_left_out_are_tried_again_and_only_those(
    account: Account, wechat: FakeWeChat, house: House
) -> None:
    openids = await settle(house, wechat, "柳河村", 60)
    wechat.tags.fail_once = set(openids[10:13])
    await jobs.tag_followers(account.desk)
    assert tagged(wechat, "柳河村") == openids
    bodies = [call.body["openid_list"] for call in wechat.calls("batchtagging")]
    assert [len(body) for body in bodies] == [50, 3, 10]
    assert bodies[1] == openids[10:13]


async def test_44_two_changes_at_once_are_made_one_after_the_other(
    account: Account, wechat: FakeWeChat, house: House
) -> None:
    openids = await settle(house, wechat, "柳河村", 30)
    sync = account.channel.sync_tags
    await asyncio.gather(sync({"甲": openids}), sync({"乙": openids}), sync({"甲": openids[:20]}))
    assert [call.errcode for call in wechat.journal if call.errcode == 45169] == []
    assert tagged(wechat, "甲") == openids[:20]
    assert tagged(wechat, "乙") == openids


async def test_who_moves_or_leaves_loses_the_tag_and_tags_of_others_stay(
    account: Account, wechat: FakeWeChat, house: House, frozen: FrozenClock
) -> None:
    openids = await settle(house, wechat, "柳河村", 3)
    await account.channel.sync_tags({"党员": [openids[0]]})
    await jobs.tag_followers(account.desk)
    await wechat.scan("hubin", openids[1])
    await account.pusher.event(openids[2], "unsubscribe", {"EventKey": ""})
    await jobs.tag_followers(account.desk)  # too early: once an hour
    assert len(tagged(wechat, "柳河村")) == 2
    frozen.forward(hours=1)
    await jobs.tag_followers(account.desk)
    assert tagged(wechat, "柳河村") == [openids[0]]
    assert tagged(wechat, "湖滨社区") == [openids[1]]
    assert tagged(wechat, "党员") == [openids[0]]


async def test_of_several_processes_one_brings_the_tags_into_order(furnished_url: str, wechat: FakeWeChat) -> None:
    async with House.opened(furnished_url) as one, House.opened(furnished_url) as two:
        openids = await settle(one, wechat, "柳河村", 5)
        desks = []
        for house in (one, two):
            channel = account_of(house, wechat)
            desks.append(jobs.Desk(**{**vars(house.desk), "channels": {CHANNEL: channel}}))
        await asyncio.gather(*(jobs.tag_followers(desk) for desk in desks))
        for desk in desks:
            await desk.channels[CHANNEL].close()
    assert tagged(wechat, "柳河村") == openids
    assert len(wechat.calls("tags/get")) == 1


async def test_a_subscriber_whose_page_of_followers_goes_round_in_a_circle_ends(
    account: Account, wechat: FakeWeChat, house: House
) -> None:
    openids = await settle(house, wechat, "柳河村", 9)
    wechat.rules.follower_page = 4
    await jobs.tag_followers(account.desk)
    await account.channel.sync_tags({"柳河村": openids[:2]})
    assert tagged(wechat, "柳河村") == openids[:2]

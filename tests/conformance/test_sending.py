"""What leaves for residents of an official account: the ledger, the errors, long texts, notices."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from bot.actions import conversations, ledger, media, parcels, parking, residents, tickets
from bot.actions.audit import Actor
from bot.actions.conversations import Address
from bot.actions.tickets import REPLY_CHARACTERS
from bot.channels.metrics import PLATFORM_ERRORS
from bot.message import Choice, Reply
from bot.reach import When
from bot.store.models import (
    Author,
    Broadcast,
    BroadcastState,
    Delivery,
    DeliveryRoute,
    DeliveryState,
    NoticeConsent,
    ParkedChannel,
    Resident,
    ResidentAddress,
    StoredMessage,
    Ticket,
)
from scheduler import jobs
from scheduler.metrics import PARKED_CHANNELS
from scheduler.outbox import PARKED_FOR
from tests.conformance.account import WANG, Account, opened, saying
from tests.conformance.test_mass import warn
from tests.fakes.wechat.pusher import AES_KEY
from tests.support.rows import first_fast
from tests.support.small_pictures import jpeg
from tests.support.station import CHANNEL, FrozenClock

SEND = "custom/send"
JPEG = jpeg()
TEMPLATE = {
    "kind": "template",
    "template_id": "TPL-WAITS",
    "fields": {"thing1": "您有一条{officer}的新消息", "time2": "{time}", "thing3": "打开公众号回复任意内容即可查看"},
}
SUBSCRIPTION = {**TEMPLATE, "kind": "subscription", "template_id": "SUB-WAITS"}


@pytest.fixture
async def account(furnished_url: str, frozen: FrozenClock) -> AsyncIterator[Account]:
    async with opened(furnished_url, frozen) as account:
        yield account


async def in_talk(account: Account, openid: str = WANG) -> int:
    """A resident wrote, and an officer took his ticket; its number."""
    await account.hears("楼上太吵了", openid)
    return await account.officer_takes(openid)


async def window(account: Account, openid: str = WANG) -> tuple[int, float]:
    """How many messages are left, and for how many seconds."""
    address = await account.address(openid)
    assert address.window_until is not None
    return address.window_left, (address.window_until - account.clock.now).total_seconds()


async def reach(account: Account, openid: str = WANG) -> When:
    return ledger.reach_at(await account.address(openid), account.channel.rules, account.clock.now).when


# -- 25, 26: coming and going -----------------------------------------------------------------------------------------


async def test_a_communitys_code_links_the_resident_whether_he_follows_or_scans_again(account: Account) -> None:
    community = await account.house.community("湖滨社区")
    await account.pusher.event("o-new", "subscribe", {"EventKey": "qrscene_hubin"})
    await account.pusher.event("o-old", "SCAN", {"EventKey": "hubin"})
    await account.pusher.event("o-forged", "SCAN", {"EventKey": "hubin' OR 1=1"})
    await account.house.dispatcher.close()
    linked = {openid: (await account.house.resident(openid)).community_id for openid in ("o-new", "o-old", "o-forged")}
    assert linked == {"o-new": community, "o-old": community, "o-forged": None}


async def test_who_leaves_gets_nothing_that_was_still_waiting(account: Account) -> None:
    ticket = await in_talk(account)
    await account.officer_says(ticket, "请带身份证来")
    await account.pusher.event(WANG, "unsubscribe", {})
    await account.works()
    assert account.wechat.calls(SEND) == []
    row = await account.row_of("请带身份证来")
    assert (row.state, row.reason) == (DeliveryState.SKIPPED, "居民已取消关注")
    assert await reach(account) is When.NEVER


async def test_what_he_told_of_himself_goes_some_time_after_he_left(account: Account) -> None:
    await account.hears("楼上太吵了")
    ticket = await account.officer_takes()
    async with account.house.store.write() as session:
        resident = await session.get_one(Resident, (await account.house.resident()).id)
        residents.set_phone(resident, "13900001111")
        resident.birth_year = 1950
    await account.pusher.event(WANG, "unsubscribe", {})
    await account.house.dispatcher.close()

    async def kept_after(days: int) -> bool:
        account.clock.forward(days=days)
        await jobs.forget(account.desk)
        return (await account.house.resident()).birth_year is not None

    assert await kept_after(29), "he may have left by mistake"
    assert await kept_after(2), "his matter is still open"
    await account.house.close_ticket("zhang", ticket)
    assert not await kept_after(0)
    assert (await account.house.resident()).phone is None
    assert "楼上太吵了" in [row.body for row in await account.house.heard()]


# -- 34: the ledger ---------------------------------------------------------------------------------------------------


async def test_five_replies_go_out_after_a_message_and_the_sixth_waits_for_the_next(account: Account) -> None:
    ticket = await in_talk(account)
    said = [saying() for _ in range(7)]
    for words in said:
        await account.officer_says(ticket, words)
        await account.works()
    assert account.texts() == said[:5]
    assert len(account.wechat.calls(SEND)) == 5, "what the platform would refuse it is not asked"
    waiting = await account.rows(DeliveryState.QUEUED)
    assert [row.waits for row in waiting] == [True, True]
    assert await reach(account) is When.NEXT
    await account.hears("好的")
    await account.works()
    assert account.texts() == [*said[:5], "\n\n".join(said[5:])]
    assert (await window(account))[0] == 4


async def test_after_48_hours_a_reply_waits_and_the_platform_is_not_asked(account: Account) -> None:
    ticket = await in_talk(account)
    account.clock.forward(hours=48, seconds=1)
    await account.officer_says(ticket, "还在吗")
    await account.works()
    assert account.wechat.calls(SEND) == []
    assert (await account.row_of("还在吗")).waits
    await account.hears("在的")
    await account.works()
    assert account.texts() == ["还在吗"]


async def test_a_tap_on_a_menu_grants_three_within_a_minute(account: Account) -> None:
    ticket = await in_talk(account)
    account.clock.forward(hours=49)
    await account.pusher.event(WANG, "CLICK", {"EventKey": "找民警"})
    await account.house.dispatcher.close()
    assert await window(account) == (3, 60)
    said = [saying() for _ in range(4)]
    for words in said:
        await account.officer_says(ticket, words)
        await account.works()
    assert account.texts() == said[:3]
    account.clock.forward(seconds=61)
    assert await reach(account) is When.NEXT


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("scancode_push", 3),
        ("scancode_waitmsg", 3),
        ("SCAN", 3),
        ("VIEW", 0),
        ("view_miniprogram", 0),
        ("pic_sysphoto", 0),
        ("LOCATION", 0),
    ],
)
async def test_what_each_event_grants(account: Account, name: str, left: int) -> None:
    await in_talk(account)
    account.clock.forward(hours=49)
    await account.pusher.event(WANG, name, {"EventKey": "x"})
    await account.house.dispatcher.close()
    address = await account.address()
    assert address.window_until is not None
    assert (address.window_left if address.window_until > account.clock.now else 0) == left


async def test_a_tap_takes_nothing_from_a_window_that_gives_more(account: Account) -> None:
    await in_talk(account)
    account.clock.forward(minutes=5)
    await account.pusher.event(WANG, "CLICK", {"EventKey": "找民警"})
    await account.house.dispatcher.close()
    assert await window(account) == (5, 48 * 3600 - 300)


async def test_a_tap_on_our_own_choices_is_no_grant_for_two_days(account: Account) -> None:
    await account.pusher.message(WANG, "text", {"Content": "找民警", "bizmsgmenuid": "0"})
    await account.house.dispatcher.close()
    assert await window(account) == (3, 60)


async def test_an_answer_in_the_response_costs_nothing(account: Account) -> None:
    assert await account.hears("身份证丢了怎么办")
    assert (await window(account))[0] == 5


# -- 35: the platform knows better ------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [45015, 45047])
async def test_a_window_the_platform_finds_closed_is_closed_in_the_ledger_and_nothing_is_repeated(
    account: Account, code: int
) -> None:
    ticket = await in_talk(account)
    account.wechat.fault(SEND, "errcode", code, times=1)
    await account.officer_says(ticket, "第一句", "第二句")
    await account.works()
    await account.works()
    assert len(account.wechat.calls(SEND)) == 1
    assert await reach(account) is When.NEXT
    assert [row.waits for row in await account.rows(DeliveryState.QUEUED)] == [True, True]
    await account.hears("我在")
    await account.works()
    assert account.texts() == ["第一句\n\n第二句"]


# -- 36: every row of A.10 --------------------------------------------------------------------------------------------

AGAIN, WAITS, FAILS, PARKED, PUT_OFF = "again", "waits", "fails", "parked", "put off"
ROWS = {
    AGAIN: "-1 268487001 268487002 268488001 45066",
    WAITS: "45015 45047 43101",
    FAILS: "40003 49003 40007 40008 40130 40031 40032 43004 43019 43116 44004 47001 47003 45002 45008 45067 45080 "
    "45081 48002 48008 50002 50005 70000 40037 99999",
    PARKED: "40001 40014 42001 41001 40013 40125 40164 40243 40200 48001 48004",
    PUT_OFF: "45009 45011 45028 89504 89505",
}
LEAVES = {43004, 50005}
REFUSES = {40003, 49003, 43019, 48002, 50002}
CODES = [row for what, codes in ROWS.items() for row in first_fast([(int(code), what) for code in codes.split()], 3)]


@pytest.mark.parametrize(("code", "what"), CODES)
async def test_each_error_code_has_its_action(
    furnished_sqlite_url: str, frozen: FrozenClock, code: int, what: str
) -> None:
    async with opened(furnished_sqlite_url, frozen) as account:
        ticket = await in_talk(account)
        known = str(code) if code != 99999 else "other"
        before = PLATFORM_ERRORS.labels(CHANNEL, known)._value.get()
        account.wechat.fault(SEND, "errcode", code)
        await account.officer_says(ticket, "请带身份证来")
        await account.works()
        row = await account.row_of("请带身份证来")
        address = await account.address()
        parked = await account.house.all(select(ParkedChannel))
        assert PLATFORM_ERRORS.labels(CHANNEL, known)._value.get() > before, "each code has its counter"
        assert row.reason
        assert re.search("[一-鿿]", row.reason)
        token_codes = code in {40001, 40014, 42001}
        assert len(account.wechat.calls(SEND)) == (2 if token_codes or code == 45002 else 1)
        if what in (AGAIN, PUT_OFF):
            assert (row.state, row.waits) == (DeliveryState.QUEUED, False)
            assert row.retry_at is not None
            assert row.retry_at > frozen.now
            assert bool(parked) == (what == PUT_OFF or code == 45066)
        elif what == WAITS:
            assert (row.state, row.waits) == (DeliveryState.QUEUED, True)
        elif what == FAILS:
            assert (row.state, row.code, row.unknown) == (DeliveryState.FAILED, str(code), False)
            assert address.following == (code not in LEAVES)
            assert (address.refused_until is not None) == (code in REFUSES)
        else:
            assert row.state is DeliveryState.QUEUED
            assert [one.alarm for one in parked] == [True]


async def test_a_frozen_account_is_asked_again_after_a_week(account: Account) -> None:
    ticket = await in_talk(account)
    account.wechat.follower(WANG).refuses = 50002
    await account.officer_says(ticket, "第一句")
    await account.works()
    await account.officer_says(ticket, "第二句")
    await account.works()
    assert len(account.wechat.calls(SEND)) == 1, "what was refused for good is not asked for the next message"
    assert (await account.row_of("第二句")).reason == (await account.row_of("第一句")).reason
    assert await reach(account) is When.NEVER
    account.clock.forward(days=7, seconds=1)
    assert await reach(account) is When.NEXT
    account.wechat.follower(WANG).refuses = None
    await account.hears("我回来了")
    assert await reach(account) is When.NOW


async def test_whoever_writes_again_can_be_reached_again(account: Account) -> None:
    ticket = await in_talk(account)
    account.wechat.fault(SEND, "errcode", 48002, times=1)
    await account.officer_says(ticket, "第一句")
    await account.works()
    assert await reach(account) is When.NEVER
    await account.hears("刚才关了消息")
    assert await reach(account) is When.NOW
    await account.officer_says(ticket, "第二句")
    await account.works()
    assert account.texts() == ["第二句"]


async def test_after_too_fast_the_whole_channel_waits_a_minute(account: Account) -> None:
    tickets = [await in_talk(account, f"o-{n}") for n in range(3)]
    account.wechat.fault(SEND, "errcode", 45011, nth=[1])
    for ticket in tickets:
        await account.officer_says(ticket, f"回复{ticket}")
    await account.works()
    tried = len(account.wechat.calls(SEND))
    account.clock.forward(seconds=59)
    await account.works()
    assert len(account.wechat.calls(SEND)) == tried
    account.clock.forward(seconds=2)
    await account.works()
    assert sum(len(account.texts(f"o-{n}")) for n in range(3)) == 3


# -- 37: nobody knows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("effect", ["close_after", "status_after", "truncated", "no_errcode"])
async def test_a_reply_whose_answer_was_lost_is_shown_as_unknown_and_not_repeated(
    account: Account, effect: Any
) -> None:
    ticket = await in_talk(account)
    account.wechat.fault(SEND, effect, 502, times=1)
    await account.officer_says(ticket, "请带身份证来")
    for _ in range(3):
        await account.works()
        account.clock.forward(minutes=5)
    row = await account.row_of("请带身份证来")
    assert (row.state, row.unknown) == (DeliveryState.FAILED, True)
    assert "不知是否送达" in str(row.reason)
    assert account.texts() == ["请带身份证来"]
    assert (await window(account))[0] == 4, "it is counted as if it had arrived"


async def test_a_reply_the_platform_took_too_long_over_is_unknown(
    furnished_sqlite_url: str, frozen: FrozenClock
) -> None:
    async with opened(furnished_sqlite_url, frozen, call_seconds=1) as account:
        ticket = await in_talk(account)
        account.wechat.fault(SEND, "delay_after", 60, times=1)
        await account.officer_says(ticket, "请带身份证来")
        await account.works()
        assert (await account.row_of("请带身份证来")).unknown


async def test_the_officer_may_decide_to_send_again_what_is_unknown(account: Account) -> None:
    ticket = await in_talk(account)
    account.wechat.fault(SEND, "status_after", 502, times=1)
    await account.officer_says(ticket, "请带身份证来")
    await account.works()
    row, officer = await account.row_of("请带身份证来"), await account.house.officer("zhang")
    async with account.house.store.write() as session:
        matter = await session.get_one(Ticket, ticket)
        actor = Actor(officer.station_id, officer.id)
        await tickets.resend(session, matter, officer, row.message_id or 0, actor=actor)
    await account.works()
    assert account.texts() == ["请带身份证来"] * 2
    assert (await account.row_of("请带身份证来")).state is DeliveryState.SENT


# -- 38: long texts ---------------------------------------------------------------------------------------------------


def long_text(bytes_: int) -> str:
    return "".join(f"第{n}条，请带好材料。\n" for n in range(bytes_ // 36))


async def test_a_long_reply_arrives_in_parts_in_order_each_counted(account: Account) -> None:
    ticket = await in_talk(account)
    text = long_text(5000).strip()
    await account.officer_says(ticket, text)
    await account.works()
    parts = account.texts()
    assert len(parts) == 3
    assert all(len(part.encode()) <= 2048 for part in parts)
    assert "".join(parts).replace("\n", "") == text.replace("\n", "")
    assert (await window(account))[0] == 2


async def test_what_the_window_has_no_room_for_is_offered_and_comes_when_asked_for(account: Account) -> None:
    ticket = await in_talk(account)
    for words in ("一", "二", "三"):
        await account.officer_says(ticket, words)
        await account.works()
    text = long_text(9000).strip()
    await account.officer_says(ticket, text)
    await account.works()
    shown = account.texts()[3:]
    assert len(shown) == 2
    assert shown[-1].endswith(parcels.MORE_HINT)
    assert all(len(part.encode()) <= 2048 for part in shown)
    assert (await account.row_of(text)).waits
    assert await account.hears("继续") == ""
    await account.works()
    shown = account.texts()[3:]
    together = "".join(shown).replace(parcels.MORE_HINT, "")
    assert together.replace("\n", "") == text.replace("\n", "")


async def test_the_bot_says_nothing_to_continue_when_something_waits(account: Account) -> None:
    """No officer holds the conversation any more, and the rest is the answer."""
    ticket = await in_talk(account)
    for words in ("一", "二", "三", "四", long_text(5000)):
        await account.officer_says(ticket, words)
        await account.works()
    await account.house.close_ticket("zhang", ticket)
    assert await account.hears("继续") == ""
    await account.works()
    assert len(account.texts()) > 5
    assert await account.hears("继续") != "", "nothing waits any more: a word like any other"


# -- short texts that wait --------------------------------------------------------------------------------------------


async def test_short_texts_that_waited_go_as_one_message_and_each_is_shown_as_sent(account: Account) -> None:
    ticket = await in_talk(account)
    account.clock.forward(hours=49)
    said = [saying() for _ in range(4)]
    for words in said:
        await account.officer_says(ticket, words)
        await account.works()
    await account.hears("在的")
    await account.works()
    assert account.texts() == ["\n\n".join(said)]
    assert len(account.wechat.calls(SEND)) == 1
    assert [(await account.row_of(words)).state for words in said] == [DeliveryState.SENT] * 4
    assert (await window(account))[0] == 4, "they have cost one of five"


async def test_one_message_holds_no_more_than_the_platform_takes_and_the_order_stays(account: Account) -> None:
    ticket = await in_talk(account)
    said = ["甲" * 300, "乙" * 300, "丙" * 81, "丁" * 3, "戊" * 600]
    await account.officer_says(ticket, *said)
    await account.works()
    assert account.texts() == ["\n\n".join(said[:3]), "\n\n".join(said[3:])]
    assert len(account.texts()[0].encode()) == 2047


async def test_a_picture_goes_by_itself_between_the_texts_around_it(account: Account) -> None:
    ticket = await in_talk(account)
    await account.officer_says(ticket, "请看图", "红圈处")
    await officer_shows(account, ticket)
    await account.officer_says(ticket, "看到了吗", "请回复")
    await account.works()
    assert [one["msgtype"] for one in account.wechat.follower(WANG).inbox] == ["text", "image", "text"]
    assert account.texts() == ["请看图\n\n红圈处", "看到了吗\n\n请回复"]


async def test_words_with_choices_go_by_themselves(account: Account) -> None:
    """The bot's answer was not taken in the response: it goes by the outbox, and an officer's words after it."""
    await account.hears("楼上太吵了")
    async with account.house.store.write() as session:
        found = await conversations.find(session, account.house.station.id, Address(CHANNEL, WANG))
        assert found is not None
        for reply in (Reply("请选择", (Choice("办身份证", "身份证"),)), Reply("也可以直接说"), Reply("我在听")):
            await conversations.say(session, found, reply, author=Author.BOT, now=account.clock.now)
    await account.works()
    first, second = account.texts()
    assert first.startswith("请选择")
    assert second == "也可以直接说\n\n我在听"


@pytest.mark.parametrize(
    ("effect", "value", "state", "unknown"),
    [("errcode", 48002, DeliveryState.FAILED, False), ("status_after", 502, DeliveryState.FAILED, True)],
)
async def test_what_went_as_one_message_ends_as_one(
    account: Account, effect: Any, value: int, state: DeliveryState, unknown: bool
) -> None:
    ticket = await in_talk(account)
    account.wechat.fault(SEND, effect, value, times=1)
    await account.officer_says(ticket, "第一句", "第二句")
    await account.works()
    rows = await account.rows()
    assert [(row.state, row.unknown) for row in rows if row.message_id is not None][-2:] == [(state, unknown)] * 2
    assert (await window(account))[0] == (4 if unknown else 5)
    assert len(account.wechat.calls(SEND)) == 1


async def test_what_the_platform_was_too_busy_for_is_tried_again_together(account: Account) -> None:
    ticket = await in_talk(account)
    account.wechat.fault(SEND, "errcode", -1, times=1)
    await account.officer_says(ticket, "第一句", "第二句")
    await account.works()
    assert [row.attempts for row in await account.rows(DeliveryState.QUEUED)] == [1, 1]
    account.clock.forward(seconds=3)
    await account.works()
    assert account.texts() == ["第一句\n\n第二句"]


async def test_warnings_that_waited_are_joined_to_warnings_and_each_ends(account: Account) -> None:
    (person,) = await account.people(1)
    numbers = [await warn(account, title=title) for title in ("防诈提醒", "防溺水提醒")]
    await account.works()
    await account.hears("你好", person)
    await account.works()
    assert account.texts(person) == ["【防诈提醒】\n不要转账。\n\n【防溺水提醒】\n不要转账。"]
    broadcasts = await account.house.all(select(Broadcast).where(Broadcast.id.in_(numbers)))
    assert {row.state for row in broadcasts} == {BroadcastState.DONE}
    said = await account.house.all(select(StoredMessage).where(StoredMessage.author == Author.STATION))
    assert len(said) == 2, "each stands in the conversation by itself"


async def test_who_wants_no_more_warnings_is_not_sent_the_one_that_waited_for_his_next_message(
    account: Account,
) -> None:
    (person,) = await account.people(1)
    await warn(account)
    await account.works()
    assert [row.waits for row in await account.rows()] == [True]
    assert "不再" in await account.hears("退订", person)
    await account.works()
    assert account.texts(person) == []
    (delivery,) = await account.rows()
    assert (delivery.state, delivery.reason) == (DeliveryState.SKIPPED, "居民已选择不再接收提醒")
    assert (await account.house.one(select(Broadcast))).state is BroadcastState.DONE


async def officer_shows(account: Account, ticket_id: int) -> None:
    """An officer sends a picture."""
    officer = await account.house.officer("zhang")
    async with account.house.store.write() as session:
        ticket = await session.get_one(Ticket, ticket_id)
        kept = await media.keep(session, ticket.station_id, JPEG, None)
        actor = Actor(officer.station_id, officer.id)
        await tickets.reply(session, ticket, officer, Reply("", picture=kept.id), actor=actor)


# -- 32: credentials --------------------------------------------------------------------------------------------------


async def test_wrong_credentials_stop_the_channel_alarm_the_station_and_keep_the_queue(account: Account) -> None:
    tickets = [await in_talk(account, f"o-{n}") for n in range(5)]
    await account.officer_says(tickets[0], "早")
    await account.works()
    account.wechat.fault(SEND, "errcode", 40001)
    for ticket in tickets:
        await account.officer_says(ticket, f"回复{ticket}")
    before = account.wechat.counters["stable_token"]
    for _ in range(6):
        await account.works()
        account.clock.forward(seconds=10)
    assert account.wechat.counters["stable_token"] - before <= 2, "not more than two tokens a minute"
    (parked,) = await account.house.all(select(ParkedChannel))
    assert PARKED_CHANNELS.labels(CHANNEL)._value.get() == 1
    assert (parked.channel, parked.alarm, parked.code) == (CHANNEL, True, "40001")
    assert parked.reason.endswith("。")
    assert len(await account.rows(DeliveryState.QUEUED)) == 5
    account.wechat.faults.clear()
    account.clock.forward(seconds=PARKED_FOR.total_seconds() + 60)
    await account.works()
    assert [account.texts(f"o-{n}") for n in range(5)] == [
        *(["早", f"回复{ticket}"] for ticket in tickets[:1]),
        *([f"回复{ticket}"] for ticket in tickets[1:]),
    ]
    assert await account.house.all(select(ParkedChannel)) == []
    assert PARKED_CHANNELS.labels(CHANNEL)._value.get() == 0


async def parked(account: Account) -> list[ParkedChannel]:
    return await account.house.all(select(ParkedChannel))


@pytest.mark.parametrize("code", [40164, 40125])
async def test_the_red_bar_goes_when_the_credentials_are_right_again_though_nothing_is_to_be_sent(
    account: Account, code: int
) -> None:
    ticket = await in_talk(account)
    account.wechat.fault("stable_token", "errcode", code)
    await account.officer_says(ticket, "请带身份证来")
    await account.works()
    async with account.house.store.write() as session:  # he leaves: nothing waits any more
        address = await session.get_one(ResidentAddress, (await account.address()).id)
        await residents.set_following(session, address, False, actor=Actor(account.house.station.id))
    account.clock.forward(seconds=PARKED_FOR.total_seconds() - 1)
    asked = len(account.wechat.calls("stable_token"))
    await jobs.try_parked(account.desk)
    assert len(account.wechat.calls("stable_token")) == asked, "not before its time"
    for _ in range(5):
        account.clock.forward(seconds=2)
        await jobs.try_parked(account.desk)
    assert len(account.wechat.calls("stable_token")) == asked + 1, "and then once in five minutes"
    assert [row.alarm for row in await parked(account)] == [True]
    account.wechat.faults.clear()
    account.clock.forward(seconds=PARKED_FOR.total_seconds() + 1)
    await jobs.try_parked(account.desk)
    assert await parked(account) == []
    assert account.wechat.calls(SEND) == []


async def test_the_red_bar_goes_when_the_channel_was_taken_out_of_the_settings(account: Account) -> None:
    now, station_id = account.clock.now, account.house.station.id
    async with account.house.store.write() as session:
        await parking.park(
            session, station_id, "closed", until=now, code="48001", reason="停用", alarm=True, heals=False, now=now
        )
    await jobs.try_parked(account.desk)
    assert await account.house.all(select(ParkedChannel)) == []


async def test_a_permission_that_was_taken_away_is_tried_by_the_next_message_only(account: Account) -> None:
    """That a token is given says nothing of it."""
    ticket = await in_talk(account)
    account.wechat.fault(SEND, "errcode", 48001)
    await account.officer_says(ticket, "请带身份证来")
    await account.works()
    account.clock.forward(seconds=PARKED_FOR.total_seconds() + 1)
    await jobs.try_parked(account.desk)
    assert [row.code for row in await parked(account)] == ["48001"]
    account.wechat.faults.clear()
    await account.works()
    assert await parked(account) == []
    assert account.texts() == ["请带身份证来"]


async def test_a_days_quota_needs_no_message_to_be_over(account: Account) -> None:
    ticket = await in_talk(account)
    account.wechat.fault(SEND, "errcode", 45009, times=1)
    await account.officer_says(ticket, "请带身份证来")
    await account.works()
    assert [row.alarm for row in await parked(account)] == [True]
    account.clock.forward(hours=15)
    await jobs.try_parked(account.desk)
    assert await parked(account) == []


async def test_the_station_is_alarmed_once_and_not_with_each_attempt(account: Account) -> None:
    ticket = await in_talk(account)
    account.wechat.fault(SEND, "errcode", 48001)
    await account.officer_says(ticket, "请带身份证来")
    async with account.house.store.live.listen() as changes:
        for _ in range(4):
            await account.works()
            account.clock.forward(seconds=PARKED_FOR.total_seconds() + 1)
        told = [changes.get_nowait() for _ in range(changes.qsize())]
    assert len(account.wechat.calls(SEND)) == 4
    assert [change.what for change in told].count("channel") == 1


async def test_a_parked_channel_stays_parked_after_a_restart(furnished_sqlite_url: str, frozen: FrozenClock) -> None:
    async with opened(furnished_sqlite_url, frozen) as account:
        ticket = await in_talk(account)
        account.wechat.fault(SEND, "errcode", 48004)
        await account.officer_says(ticket, "请带身份证来")
        await account.works()
    async with opened(furnished_sqlite_url, frozen) as account:
        await account.works()
        assert account.wechat.journal == []
        assert account.outbox.parked
        account.clock.forward(seconds=PARKED_FOR.total_seconds() + 1)
        account.wechat.inbound(WANG, "message")
        await account.works()
        assert account.texts() == ["请带身份证来"]


@pytest.mark.parametrize(
    ("effect", "value"),
    [("errcode", 40164), ("errcode", 40125), ("status", 500), ("html", None), ("truncated", None), ("delay", 60)],
)
async def test_a_token_call_that_fails_is_bounded_and_loses_nothing(
    furnished_sqlite_url: str, frozen: FrozenClock, effect: Any, value: Any
) -> None:
    async with opened(furnished_sqlite_url, frozen, call_seconds=1) as account:
        ticket = await in_talk(account)
        account.wechat.fault("stable_token", effect, value)
        await account.officer_says(ticket, "请带身份证来")
        for _ in range(6):
            await account.works()
            account.clock.forward(seconds=10)
        assert 1 <= len(account.wechat.calls("stable_token")) <= 6
        account.wechat.faults.clear()
        account.clock.forward(minutes=20)
        await account.works()
        assert account.texts() == ["请带身份证来"]


async def test_a_token_that_expires_in_the_middle_is_fetched_once_and_nobody_is_written_to_twice(
    account: Account,
) -> None:
    tickets = [await in_talk(account, f"o-{n}") for n in range(20)]
    await account.officer_says(tickets[0], "早")
    await account.works()
    before = account.wechat.counters["stable_token"]
    account.wechat.expire_tokens()
    for ticket in tickets:
        await account.officer_says(ticket, f"回复{ticket}")
    await account.works()
    assert account.wechat.counters["stable_token"] - before == 1
    assert [account.texts(f"o-{n}")[-1] for n in range(20)] == [f"回复{ticket}" for ticket in tickets]
    assert sum(len(account.texts(f"o-{n}")) for n in range(20)) == 21


@pytest.mark.slow
async def test_fifty_sends_with_no_token_at_all_fetch_one(account: Account) -> None:
    tickets = [await in_talk(account, f"o-{n}") for n in range(50)]
    assert account.wechat.counters["stable_token"] == 0
    for ticket in tickets:
        await account.officer_says(ticket, "好")
    await account.works()
    assert account.wechat.counters["stable_token"] == 1
    assert sum(len(account.texts(f"o-{n}")) for n in range(50)) == 50


# -- an account that may only answer ----------------------------------------------------------------------------------


async def test_an_account_that_cannot_write_later_says_in_its_answers_what_waited(
    furnished_url: str, frozen: FrozenClock
) -> None:
    async with opened(furnished_url, frozen, account_type="subscription") as account:
        ticket = await in_talk(account)
        assert await reach(account) is When.NEXT
        await account.officer_says(ticket, "请带身份证来", "下午两点")
        await account.works()
        assert account.wechat.calls(SEND) == []
        assert [row.waits for row in await account.rows()] == [True, True]
        assert await account.hears("怎么办") == "请带身份证来\n\n下午两点"
        await account.works()
        assert (await account.row_of("下午两点")).state is DeliveryState.SENT
        await account.house.close_ticket("zhang", ticket)
        assert await account.hears("再问一句") != ""
        assert account.wechat.calls(SEND) == []


async def test_such_an_account_says_a_warning_in_its_answers_too(furnished_url: str, frozen: FrozenClock) -> None:
    async with opened(furnished_url, frozen, account_type="subscription") as account:
        (person,) = await account.people(1)
        await warn(account)
        await account.works()
        assert [row.waits for row in await account.rows()] == [True]
        assert (await account.hears("你好", person)).startswith("【防诈提醒】\n不要转账。\n\n")
        await account.works()
        (delivery,) = [row for row in await account.rows(route=DeliveryRoute.RESPONSE) if row.broadcast_id]
        assert delivery.state is DeliveryState.SENT
        assert (await account.house.one(select(Broadcast))).state is BroadcastState.DONE
        (said,) = await account.house.all(select(StoredMessage).where(StoredMessage.author == Author.STATION))
        assert (said.address, delivery.message_id) == (person, said.id)
        assert "不要转账" not in await account.hears("你好", person)


async def test_such_an_account_says_no_warning_that_was_stopped(furnished_url: str, frozen: FrozenClock) -> None:
    async with opened(furnished_url, frozen, account_type="subscription") as account:
        (person,) = await account.people(1)
        await warn(account, expires_at=frozen.now + timedelta(hours=1))
        await account.works()
        frozen.forward(hours=2)
        assert "不要转账" not in await account.hears("你好", person)


async def test_the_longest_reply_of_an_officer_has_room_in_an_answer(furnished_url: str, frozen: FrozenClock) -> None:
    async with opened(furnished_url, frozen, account_type="subscription") as account:
        ticket = await in_talk(account)
        longest = "甲" * REPLY_CHARACTERS
        await account.officer_says(ticket, longest)
        await account.works()
        assert await account.hears("怎么办") == longest


async def test_an_answer_holds_no_more_than_one_response_may(furnished_url: str, frozen: FrozenClock) -> None:
    """600 characters and 2,000 bytes: what has no room waits for the message after."""
    async with opened(furnished_url, frozen, account_type="subscription") as account:
        ticket = await in_talk(account)
        said = ["甲" * 400, "乙" * 400, "丙" * 100]
        await account.officer_says(ticket, *said)
        await account.works()
        heard = [await account.hears("怎么办") for _ in range(2)]
        assert heard == [said[0], "\n\n".join(said[1:])]
        assert all(len(one) <= 600 and len(one.encode()) <= 2000 for one in heard)


# -- 33: what logs say ------------------------------------------------------------------------------------------------


async def test_no_log_line_holds_a_token_a_secret_an_address_or_words(
    account: Account, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    ticket = await in_talk(account)
    faults: list[tuple[Any, int | None]] = [
        ("errcode", 43019),
        ("close_after", None),
        ("errcode", 42001),
        ("html", None),
    ]
    for effect, value in faults:
        account.wechat.fault(SEND, effect, value, times=1)
        await account.officer_says(ticket, "居民的话")
        await account.works()
        await account.hears("居民的话")
    written = "".join(capsys.readouterr()) + caplog.text
    assert "platform call failed" in written
    for hidden in (WANG, "居民的话", account.wechat.secret, AES_KEY, *account.wechat.desk.held):
        assert hidden not in written


# -- 43: notices ------------------------------------------------------------------------------------------------------


async def waiting_reply(account: Account) -> None:
    """An officer wrote to somebody whose window is over."""
    ticket = await in_talk(account)
    account.clock.forward(hours=49)
    await account.officer_says(ticket, "请回电", "请尽快")
    for _ in range(3):
        await account.works()


async def notices(account: Account) -> list[Delivery]:
    return await account.rows(route=DeliveryRoute.NOTICE)


async def test_who_cannot_be_reached_is_told_once_that_a_message_waits(furnished_url: str, frozen: FrozenClock) -> None:
    async with opened(furnished_url, frozen, notice=TEMPLATE) as account:
        account.wechat.notices.add_template("TPL-WAITS", ("thing1", "time2", "thing3"))
        await waiting_reply(account)
        (call,) = account.wechat.calls("template/send")
        assert call.body["data"] == {
            "thing1": {"value": "您有一条张伟的新消息"},
            "time2": {"value": "2026-11-25 10:30"},
            "thing3": {"value": "打开公众号回复任意内容即可查看"},
        }
        assert [row.state for row in await notices(account)] == [DeliveryState.SENT]
        await account.wechat.settle(60)
        await account.house.dispatcher.close()
        assert [row.state for row in await notices(account)] == [DeliveryState.DELIVERED]
        assert [row.state for row in await account.rows(DeliveryState.QUEUED)] == [DeliveryState.QUEUED] * 2, (
            "the report of the platform is no act of the resident"
        )
        await account.hears("看到了")
        await account.works()
        assert account.texts() == ["请回电\n\n请尽快"]


async def test_he_is_told_of_an_officer_s_words_that_were_joined_to_the_bot_s(
    furnished_url: str, frozen: FrozenClock
) -> None:
    async with opened(furnished_url, frozen, notice=TEMPLATE) as account:
        account.wechat.notices.add_template("TPL-WAITS", ("thing1", "time2", "thing3"))
        ticket = await in_talk(account)
        async with account.house.store.write() as session:
            talk = await conversations.find(session, account.house.station.id, Address(CHANNEL, WANG))
            assert talk is not None
            await conversations.say(session, talk, Reply("工单已受理"), author=Author.BOT, now=frozen.now)
        await account.officer_says(ticket, "请回电", "请尽快")
        account.wechat.fault(SEND, "errcode", 45015, times=1)
        await account.works()
        assert [row.waits for row in await account.rows(DeliveryState.QUEUED)] == [True] * 3
        assert [row.state for row in await notices(account)] == [DeliveryState.SENT]


async def test_a_notice_is_not_sent_when_no_template_is_set(account: Account) -> None:
    await waiting_reply(account)
    assert await notices(account) == []


async def test_a_notice_whose_answer_was_lost_is_repeated_and_arrives_once(
    furnished_sqlite_url: str, frozen: FrozenClock
) -> None:
    async with opened(furnished_sqlite_url, frozen, notice=TEMPLATE) as account:
        account.wechat.notices.add_template("TPL-WAITS", ("thing1", "time2", "thing3"))
        account.wechat.fault("template/send", "close_after", times=1)
        await waiting_reply(account)
        account.clock.forward(seconds=3)
        await account.works()
        assert len(account.wechat.calls("template/send")) == 2
        assert [bubble.via for bubble in account.wechat.chat(WANG)].count("template") == 1


@pytest.mark.parametrize(("code", "follows"), [(43004, False), (47003, True), (40037, True)])
async def test_a_refused_notice_is_not_repeated(
    furnished_sqlite_url: str, frozen: FrozenClock, code: int, follows: bool
) -> None:
    async with opened(furnished_sqlite_url, frozen, notice=TEMPLATE) as account:
        account.wechat.fault("template/send", "errcode", code)
        await waiting_reply(account)
        account.clock.forward(hours=1)
        await account.works()
        assert len(account.wechat.calls("template/send")) == 1
        (notice,) = await notices(account)
        assert (notice.state, notice.code) == (DeliveryState.FAILED, str(code))
        assert (await account.address()).following == follows


async def test_who_blocks_the_account_is_marked(furnished_sqlite_url: str, frozen: FrozenClock) -> None:
    async with opened(furnished_sqlite_url, frozen, notice=TEMPLATE) as account:
        account.wechat.notices.add_template("TPL-WAITS", ("thing1", "time2", "thing3"))
        account.wechat.rules.template_status = "failed: user block"
        await waiting_reply(account)
        await account.wechat.settle(60)
        await account.house.dispatcher.close()
        (notice,) = await notices(account)
        assert notice.state is DeliveryState.FAILED
        assert "拒收" in str(notice.reason)
        assert await reach(account) is When.NEVER


async def test_subscription_notices_go_only_to_who_accepted_them(furnished_url: str, frozen: FrozenClock) -> None:
    async with opened(furnished_url, frozen, notice=SUBSCRIPTION) as account:
        for template in ("SUB-WAITS", "SUB-OTHER"):
            account.wechat.notices.add_subscription(template, ("thing1", "time2", "thing3"))
        await account.hears("你好")
        consents = select(NoticeConsent.template_id).order_by(NoticeConsent.template_id)
        await account.wechat.notices.accept(WANG, "SUB-WAITS", "SUB-OTHER")  # a List of two
        await account.house.dispatcher.close()
        assert await account.house.all(consents) == ["SUB-OTHER", "SUB-WAITS"]
        await account.wechat.notices.reject(WANG, "SUB-OTHER")  # a List of one
        await account.house.dispatcher.close()
        assert await account.house.all(consents) == ["SUB-WAITS"]
        await waiting_reply(account)
        (notice,) = await notices(account)
        assert notice.state is DeliveryState.SENT
        await account.wechat.settle(60)
        await account.house.dispatcher.close()


async def test_a_consent_that_is_used_up_is_forgotten(furnished_sqlite_url: str, frozen: FrozenClock) -> None:
    async with opened(furnished_sqlite_url, frozen, notice=SUBSCRIPTION) as account:
        account.wechat.notices.add_subscription("SUB-WAITS", ("thing1", "time2", "thing3"))
        await account.hears("你好")
        await account.wechat.notices.accept(WANG, "SUB-WAITS")
        await account.house.dispatcher.close()
        account.wechat.notices.consents.clear()
        await waiting_reply(account)
        (notice,) = await notices(account)
        assert (notice.state, notice.code) == (DeliveryState.FAILED, "43101")
        assert await account.house.all(select(NoticeConsent)) == []


async def test_without_consent_no_notice_is_tried(furnished_sqlite_url: str, frozen: FrozenClock) -> None:
    async with opened(furnished_sqlite_url, frozen, notice=SUBSCRIPTION) as account:
        await waiting_reply(account)
        assert await notices(account) == []
        assert account.wechat.calls("bizsend") == []

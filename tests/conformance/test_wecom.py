"""WeCom, checks 46 to 50: addresses, new friends, warnings by an officer's tap, officers told of tickets, log-in."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import structlog
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from sqlalchemy import select
from structlog.testing import capture_logs
from yarl import URL

from bot.actions import linking, officer_notices, officers, residents, wecom_planning, wecom_tasks
from bot.actions.audit import Actor
from bot.app import PROGRAM, check_channels, create_app
from bot.store.models import (
    Broadcast,
    BroadcastState,
    ContactState,
    NoticeState,
    Officer,
    OfficerNotice,
    PlatformToken,
    Resident,
    ResidentAddress,
    StoredMessage,
    TaskState,
    TicketNotice,
    WelcomeState,
)
from bot.wecom import WeComRefused
from scheduler import jobs, wecom
from tests.conformance import corp
from tests.conformance.corp import USERIDS, WANG, Office, community_of, follows
from tests.fakes.wechat import FakeWeChat
from tests.fakes.wechat.cipher import children
from tests.fakes.wechat.wecom.apps import CORP_SECRET
from tests.fakes.wechat.wecom.pusher import CORP_AES_KEY, CORP_TOKEN, CorpPusher
from tests.support.knowledge import KnownSayings
from tests.support.station import FrozenClock, House, until

LI_NA = "wmLiNa-0002"


@pytest.fixture(autouse=True)
def nothing_leaks(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No secret, no token, no resident's number and no word of his in any log."""
    structlog.reset_defaults()
    with capture_logs() as logs:
        yield
    wechat = request.node.funcargs["wechat"]
    forbidden = {CORP_SECRET, CORP_AES_KEY, CORP_TOKEN, WANG, LI_NA, "六万", *wechat.wecom.apps.held}
    forbidden |= {*wechat.wecom.contacts.welcomes, *wechat.wecom.members.codes}
    written = json.dumps(logs, default=str, ensure_ascii=False) + caplog.text
    assert not [word for word in forbidden if word in written]


@pytest.fixture
async def wechat(frozen: FrozenClock) -> AsyncIterator[FakeWeChat]:
    async with FakeWeChat() as wechat:
        yield wechat


@pytest.fixture
async def office(any_house: House, wechat: FakeWeChat, frozen: FrozenClock) -> AsyncIterator[Office]:
    """A station whose officers are in WeCom, once on each kind of database."""
    async with corp.opened(any_house, wechat, frozen) as office:
        yield office


def opened(
    house: House, wechat: FakeWeChat, frozen: FrozenClock, **channel: Any
) -> AbstractAsyncContextManager[Office]:
    return corp.opened(house, wechat, frozen, channel=channel)


# -- 46: the callback ------------------------------------------------------------------------------------------------


async def test_46_an_address_check_is_answered_with_the_plain_number_within_a_second(office: Office) -> None:
    answer = await office.pusher.check_address("1616140317555161061")
    assert (answer.status, answer.body) == (200, b"1616140317555161061")
    assert answer.seconds < 1
    again = await office.pusher.check_address("1616140317555161061")
    assert again.body == answer.body


async def test_46_a_raw_plus_in_the_echo_still_verifies(office: Office) -> None:
    query = next(found for _ in range(50) if "+" in (found := _check_query(office))["echostr"])
    raw = "&".join(f"{name}={value}" for name, value in query.items())  # the plus stands as it is
    async with ClientSession() as http, http.get(URL(f"{office.pusher.url}?{raw}", encoded=True)) as response:
        assert (response.status, await response.read()) == (200, b"1616140317555161061")


def _check_query(office: Office) -> dict[str, str]:
    signed = office.pusher.sign(b"1616140317555161061")
    return {**signed.query, "echostr": children(signed.body)["Encrypt"]}


@pytest.mark.parametrize("corrupt", ["other_app", "msg_signature", "no_msg_signature", "pad_33", "base64", "other_key"])
async def test_46_a_check_or_an_event_for_another_corp_is_refused_and_nothing_is_stored(
    office: Office, corrupt: Any
) -> None:
    checked = await office.pusher.check_address(corrupt=corrupt) if corrupt in ("other_app", "base64") else None
    assert checked is None or (checked.status, checked.body) == (403, b"")
    way = await office.way()
    fields = {"ChangeType": "add_external_contact", "UserID": "zhangwei", "ExternalUserID": WANG, "State": way.code}
    pushed = await office.pusher.event(
        "sys", "change_external_contact", fields, module="contact", corrupt=corrupt, deliveries=1
    )
    assert (pushed.status, pushed.body) == (403, b"")
    assert not await office.contacts()


async def test_46_what_officers_write_to_the_app_is_taken_and_kept_nowhere(office: Office) -> None:
    member = {"ToUserName": "ww1", "FromUserName": "zhangwei", "CreateTime": "1763865000", "MsgType": "text"}
    pushed = await office.pusher.push({**member, "Content": "你好", "MsgId": "1", "AgentID": "1000002"})
    assert pushed.verdict == "silent"
    assert (await office.corp.members.enter("zhangwei")).verdict == "silent"  # type: ignore[attr-defined]
    assert not await office.house.heard()


# -- 47: new friends -------------------------------------------------------------------------------------------------


async def test_47_a_new_friend_is_greeted_at_once_and_belongs_to_the_officer_and_the_community_of_the_code(
    office: Office,
) -> None:
    await office.befriend(WANG)
    await until(lambda: bool(office.words_to()))
    (greeting,) = office.words_to()
    assert "张伟" in greeting
    assert "枫林社区" in greeting
    assert "110" in greeting
    assert f"{corp.PUBLIC_URL}/chat" in greeting
    (contact,) = await office.contacts()
    assert (contact.state, contact.officer_id) == (ContactState.FRIEND, (await office.house.officer("zhang")).id)
    assert await community_of(office, WANG) == "枫林社区"
    await office.greeted()
    assert [row.welcome_state for row in await office.contacts()] == [WelcomeState.SENT]


async def test_47_the_event_comes_three_times_and_the_welcome_once(office: Office) -> None:
    way = await office.way()
    await office.corp.contacts.scan(way.config_id, WANG)
    ((code, _),) = office.corp.contacts.welcomes.items()
    fields = {
        "ChangeType": "add_external_contact",
        "UserID": "zhangwei",
        "ExternalUserID": WANG,
        "State": way.code,
        "WelcomeCode": code,
    }
    await office.pusher.event("sys", "change_external_contact", fields, module="contact", deliveries=2, always=True)
    await office.greeted()
    assert len(office.words_to()) == 1
    assert len(office.wechat.calls("send_welcome_msg")) == 1
    assert len(await office.contacts()) == 1
    assert len(await office.audited("contact.added")) == 1


@pytest.mark.parametrize("code", [41050, 41051, 41096])
async def test_47_a_welcome_that_comes_too_late_or_second_ends_quietly(office: Office, code: int) -> None:
    office.wechat.fault("send_welcome_msg", "errcode", code)
    await office.befriend(WANG)
    await office.greeted()
    (contact,) = await office.contacts()
    assert (contact.welcome_state, contact.state) == (WelcomeState.OVER, ContactState.FRIEND)
    await wecom.send_welcomes(office.wecom)
    assert len(office.wechat.calls("send_welcome_msg")) == 1


async def test_47_an_event_that_arrives_after_21_seconds_is_bound_but_not_greeted(office: Office) -> None:
    way = await office.way()
    del office.corp.pushers["contact"]  # the callback is lost
    await office.corp.contacts.scan(way.config_id, WANG)
    ((code, welcome),) = office.corp.contacts.welcomes.items()
    at = str(int(welcome.issued_at))
    office.forward(seconds=21)
    fields = {
        "ChangeType": "add_external_contact",
        "UserID": "zhangwei",
        "ExternalUserID": WANG,
        "State": way.code,
        "WelcomeCode": code,
        "CreateTime": at,
    }
    await office.pusher.event("sys", "change_external_contact", fields, module="contact")
    await office.greeted()
    assert office.words_to() == []
    (contact,) = await office.contacts()
    assert contact.welcome_state is WelcomeState.OVER
    assert await community_of(office, WANG) == "枫林社区"


async def test_47_a_welcome_cut_short_goes_out_by_the_clock_while_it_may(office: Office) -> None:
    office.wechat.fault("send_welcome_msg", "errcode", -1)
    await office.befriend(WANG)
    await office.greeted()
    assert office.words_to() == []
    office.wechat.faults.clear()
    office.forward(seconds=6)
    await wecom.send_welcomes(office.wecom)
    assert len(office.words_to()) == 1
    assert [row.welcome_state for row in await office.contacts()] == [WelcomeState.SENT]
    office.forward(seconds=6)
    await wecom.send_welcomes(office.wecom)
    assert len(office.wechat.calls("send_welcome_msg")) == 2


async def test_47_a_welcome_whose_answer_was_lost_is_not_read_twice(office: Office) -> None:
    office.wechat.fault("send_welcome_msg", "close_after")
    await office.befriend(WANG)
    await office.greeted()
    office.wechat.faults.clear()
    office.forward(seconds=6)
    await wecom.send_welcomes(office.wecom)
    assert len(office.words_to()) == 1
    office.forward(seconds=20)
    await wecom.send_welcomes(office.wecom)
    assert len(office.words_to()) == 1


async def test_47_a_forged_or_unknown_state_binds_to_no_community(office: Office) -> None:
    await office.way()
    await office.corp.contacts.add("zhangwei", WANG, state="1-OR-1--forged")
    await office.corp.contacts.add("zhangwei", LI_NA)
    await office.greeted()
    assert await community_of(office, WANG) is None
    assert await community_of(office, LI_NA) is None
    assert len(office.words_to(WANG)) == 1


async def test_47_a_half_contact_is_bound_and_becomes_a_friend_without_a_second_welcome(office: Office) -> None:
    way = await office.way()
    del office.corp.pushers["contact"]
    await office.corp.contacts.scan(way.config_id, WANG)
    ((code, _),) = office.corp.contacts.welcomes.items()
    office.corp.pushers["contact"] = office.pusher
    fields = {"UserID": "zhangwei", "ExternalUserID": WANG, "State": way.code, "WelcomeCode": code}
    half = {"ChangeType": "add_half_external_contact", **fields}
    await office.pusher.event("sys", "change_external_contact", half, module="contact")
    assert [row.state for row in await office.contacts()] == [ContactState.HALF]
    whole = {"ChangeType": "add_external_contact", **fields}
    await office.pusher.event("sys", "change_external_contact", whole, module="contact")
    await office.greeted()
    assert [row.state for row in await office.contacts()] == [ContactState.FRIEND]
    assert await community_of(office, WANG) == "枫林社区"
    assert len(office.wechat.calls("send_welcome_msg")) == 1


async def test_47_who_removes_the_officer_is_no_longer_reached_and_stands_in_the_list_until_somebody_asked(
    office: Office,
) -> None:
    await office.befriend(WANG)
    office.forward(hours=1)
    await office.corp.contacts.customer_removes("zhangwei", WANG)
    assert [row.state for row in await office.contacts()] == [ContactState.LEFT]
    assert not await follows(office, WANG)
    browser = await office.at_the_desk("suo")
    page = await (await browser.get("/console/contacts")).text()
    assert "离开张伟" in page
    (contact,) = await office.contacts()
    empty = await browser.post(f"/console/contacts/{contact.id}/follow-up", note="")
    assert empty.status == 422
    done = await browser.post(f"/console/contacts/{contact.id}/follow-up", note="电话联系，换了手机")
    assert done.status == 303
    page = await (await browser.get("/console/contacts")).text()
    assert "已回访" in page
    assert "电话联系，换了手机" in page
    await office.corp.contacts.add("zhangwei", WANG)
    assert await follows(office, WANG)
    assert "电话联系" not in await (await browser.get("/console/contacts")).text()


async def test_47_who_still_has_another_officer_stays_reachable(office: Office) -> None:
    await office.befriend(WANG)
    await office.corp.contacts.add("lina", WANG)
    office.forward(minutes=1)
    await office.corp.contacts.customer_removes("zhangwei", WANG)
    assert await follows(office, WANG)
    await office.corp.contacts.officer_removes("lina", WANG)
    assert not await follows(office, WANG)
    assert {row.state for row in await office.contacts()} == {ContactState.LEFT, ContactState.REMOVED}


async def test_47_what_a_friend_told_of_himself_goes_some_time_after_he_left(office: Office) -> None:
    await office.befriend(WANG)
    (address,) = await office.house.all(select(ResidentAddress).where(ResidentAddress.address == WANG))
    async with office.house.store.write() as session:
        (await session.get_one(Resident, address.resident_id)).birth_year = 1950
    await office.corp.contacts.customer_removes("zhangwei", WANG)

    async def birth_year_after(days: int) -> int | None:
        office.forward(days=days)
        await jobs.forget(office.desk)
        found: Resident = await office.house.one(select(Resident).where(Resident.id == address.resident_id))
        return found.birth_year

    assert await birth_year_after(29) == 1950
    assert await birth_year_after(2) is None


async def test_47_who_is_erased_leaves_no_note_of_why_he_left(office: Office) -> None:
    follower = await office.house.add_resident("o-wang", address={"union_id": "u-wang"})
    await office.befriend(WANG)
    office.corp.contacts.outsiders[WANG].unionid = "u-wang"
    await office.look_up()  # he is the follower, too
    await office.corp.contacts.customer_removes("zhangwei", WANG)
    browser = await office.at_the_desk("suo")
    (contact,) = await office.contacts()
    await browser.get("/console/contacts")
    await browser.post(f"/console/contacts/{contact.id}/follow-up", note="电话联系，换了手机")
    async with office.house.store.write() as session:
        resident = await session.get_one(Resident, follower)
        actor = Actor(office.house.station.id)
        await residents.erase(session, resident, now=office.frozen.now, actor=actor, why="本人要求")
    assert [row.follow_up for row in await office.contacts()] == [None]


async def test_47_an_old_event_that_comes_late_changes_nothing(office: Office) -> None:
    await office.befriend(WANG)
    before = str(int(office.wechat.now()) - 60)
    fields = {"ChangeType": "del_follow_user", "UserID": "zhangwei", "ExternalUserID": WANG, "CreateTime": before}
    await office.pusher.event("sys", "change_external_contact", fields, module="contact")
    assert [row.state for row in await office.contacts()] == [ContactState.FRIEND]


# -- 48: warnings by an officer's tap --------------------------------------------------------------------------------


async def test_48_a_warning_waits_for_the_officer_and_is_never_called_sent_before_he_tapped(office: Office) -> None:
    await office.befriend(WANG, LI_NA)
    warning = await office.warn()
    await office.move()
    (task,) = await office.tasks()
    assert task.state is TaskState.WAITING
    assert await office.ends(warning) == {
        WANG: ("queued", "等待民警在企业微信确认"),
        LI_NA: ("queued", "等待民警在企业微信确认"),
    }
    for minutes in (1, 5, 15, 60):
        office.forward(minutes=minutes)
        await office.move()
    assert {state for state, _ in (await office.ends(warning)).values()} == {"queued"}
    assert len(office.wechat.calls("get_groupmsg_task")) == 4
    assert not office.wechat.calls("get_groupmsg_send_result")
    page = await (await (await office.at_the_desk("zhang")).get(f"/console/broadcasts/{warning}")).text()
    assert "等待民警在企业微信确认" in page
    office.corp.mass.confirm(task.msgid, "zhangwei")
    office.forward(days=1)
    await office.move()
    assert await office.ends(warning) == {WANG: ("sent", ""), LI_NA: ("sent", "")}
    assert [row.state for row in await office.tasks()] == [TaskState.DONE]
    assert "防骗提醒" in office.words_to(WANG)[-1]
    row = await office.house.one(select(Broadcast))
    assert row.state is BroadcastState.DONE


async def test_48_a_warning_with_a_picture_carries_it_in_every_officers_task_and_uploads_it_once(
    office: Office,
) -> None:
    await office.befriend(WANG)
    await office.befriend(LI_NA, username="li", community="湖滨社区")
    warning = await office.warn(picture=await office.keep_picture())
    await office.move()
    attached = [call.body["attachments"] for call in office.wechat.calls("add_msg_template")]
    assert len(attached) == 2
    assert attached[0] == attached[1]
    assert attached[0][0]["msgtype"] == "image"
    assert len(office.wechat.calls("media/upload")) == 1
    for task in await office.tasks():
        office.corp.mass.confirm(task.msgid, task.userid)
    office.forward(minutes=1)
    await office.move()
    assert [bubble.kind for bubble in office.corp.contacts.chat("zhangwei", WANG)][-2:] == ["text", "image"]
    row = await office.house.one(select(Broadcast).where(Broadcast.id == warning))
    said = await office.house.all(select(StoredMessage).where(StoredMessage.broadcast_id == warning))
    assert {message.media_id for message in said} == {row.media_id}


async def test_48_a_picture_that_wecom_keeps_no_longer_is_uploaded_anew(office: Office) -> None:
    await office.befriend(WANG)
    picture = await office.keep_picture()
    await office.warn(picture=picture)
    await office.move()
    office.corp.media.held.clear()
    office.forward(days=1)
    await office.warn(picture=picture)
    await office.move()
    assert [row.state for row in await office.tasks()] == [TaskState.WAITING, TaskState.WAITING]
    assert len(office.wechat.calls("media/upload")) == 2


async def test_48_a_picture_that_wecom_does_not_take_leaves_the_warning_unsent_with_a_reason(office: Office) -> None:
    await office.befriend(WANG)
    office.wechat.fault("media/upload", "errcode", 40005)
    warning = await office.warn(picture=await office.keep_picture())
    await office.move()
    assert not office.wechat.calls("add_msg_template")
    ((state, reason),) = (await office.ends(warning)).values()
    assert state == "failed"
    assert reason


async def test_48_polling_shows_who_got_it_who_is_no_friend_and_who_had_another(office: Office) -> None:
    await office.befriend(WANG, LI_NA, "wmFull-0003", "wmGone-0004")
    office.wechat.rules.customer_mass_per_month = 1
    month = office.wechat.platform.clock.local().strftime("%Y-%m")
    office.corp.contacts.outsiders["wmFull-0003"].mass_in_month[month] = 1
    warning = await office.warn()
    await office.move()
    (task,) = await office.tasks()
    del office.corp.pushers["contact"]  # the event that he left is lost
    await office.corp.contacts.customer_removes("zhangwei", "wmGone-0004")
    office.corp.mass.confirm(task.msgid, "zhangwei")
    office.forward(minutes=1)
    await office.move()
    assert await office.ends(warning) == {
        WANG: ("sent", ""),
        LI_NA: ("sent", ""),
        "wmFull-0003": ("failed", "本期已收到其他群发"),
        "wmGone-0004": ("failed", "不再是好友"),
    }
    assert not await follows(office, "wmGone-0004")  # found by asking
    assert [row.state for row in await office.tasks()] == [TaskState.DONE]


async def test_48_whom_wecom_did_not_take_is_known_at_once(office: Office) -> None:
    await office.befriend(WANG, LI_NA)
    del office.corp.pushers["contact"]
    await office.corp.contacts.customer_removes("zhangwei", LI_NA)
    warning = await office.warn()
    await office.move()
    ends = await office.ends(warning)
    assert ends[WANG][0] == "queued"
    assert ends[LI_NA][0] == "failed"
    assert "没有接受" in ends[LI_NA][1]


async def test_48_nobody_sendable_fails_with_its_reason(office: Office) -> None:
    await office.befriend(WANG)
    office.wechat.fault("add_msg_template", "errcode", 41048)
    warning = await office.warn()
    await office.move()
    ((state, reason),) = (await office.ends(warning)).values()
    assert state == "failed"
    assert "没有可以发送的居民" in reason
    assert [row.state for row in await office.tasks()] == [TaskState.FAILED]


@pytest.mark.parametrize("code", [41063, 45033, 45009, -1])
async def test_48_a_busy_platform_is_asked_again_with_longer_pauses(office: Office, code: int) -> None:
    await office.befriend(WANG)
    office.wechat.fault("add_msg_template", "errcode", code, times=2)
    await office.warn()
    await office.move()
    await office.move()
    assert len(office.wechat.calls("add_msg_template")) == 1
    office.forward(minutes=1, seconds=1)
    await office.move()
    assert len(office.wechat.calls("add_msg_template")) == 2
    office.forward(minutes=1, seconds=1)
    await office.move()
    assert len(office.wechat.calls("add_msg_template")) == 2  # the second pause is longer
    office.forward(minutes=1)
    await office.move()
    assert len(office.wechat.calls("add_msg_template")) == 3
    assert [row.state for row in await office.tasks()] == [TaskState.WAITING]


@pytest.mark.parametrize("code", [41063, 45033])
async def test_48_asking_for_results_too_early_is_asked_again_later(office: Office, code: int) -> None:
    await office.befriend(WANG)
    warning = await office.warn()
    await office.move()
    (task,) = await office.tasks()
    office.corp.mass.confirm(task.msgid, "zhangwei")
    office.wechat.fault("get_groupmsg_task", "errcode", code, times=1)
    office.forward(minutes=1)
    await office.move()
    await office.move()
    assert len(office.wechat.calls("get_groupmsg_task")) == 1
    assert (await office.ends(warning))[WANG][0] == "queued"
    office.forward(minutes=1, seconds=1)
    await office.move()
    assert (await office.ends(warning))[WANG][0] == "sent"


async def test_48_a_task_whose_answer_was_lost_is_found_in_wecoms_list_and_goes_on(office: Office) -> None:
    await office.befriend(WANG, LI_NA)
    del office.corp.pushers["contact"]  # nobody tells us that Li Na left
    await office.corp.contacts.customer_removes("zhangwei", LI_NA)
    office.wechat.fault("add_msg_template", "close_after")
    warning = await office.warn()
    await office.move()
    (task,) = await office.tasks()
    assert (task.state, task.msgid) == (TaskState.SEEKING, "")
    assert (await office.ends(warning))[WANG][0] == "queued"
    page = await (await (await office.at_the_desk("zhang")).get(f"/console/broadcasts/{warning}")).text()
    assert "正在向企业微信核对" in page
    office.forward(minutes=1)
    await office.move()
    ((msgid, _),) = office.corp.mass.tasks.items()
    assert [(row.state, row.msgid, row.reason) for row in await office.tasks()] == [(TaskState.WAITING, msgid, None)]
    assert "没有接受" in (await office.ends(warning))[LI_NA][1]  # whom the lost answer would have named
    office.corp.mass.confirm(msgid, "zhangwei")
    office.forward(minutes=1)
    await office.move()
    assert (await office.ends(warning))[WANG] == ("sent", "")
    assert len(office.wechat.calls("add_msg_template")) == 1


async def test_48_what_is_not_in_wecoms_list_after_ten_minutes_is_handed_in_anew(office: Office) -> None:
    await office.befriend(WANG)
    office.wechat.fault("add_msg_template", "status", 502, times=1)  # nothing was made, but who knows
    warning = await office.warn()
    for _ in range(9):
        await office.move()
        office.forward(minutes=1)
    assert len(office.wechat.calls("add_msg_template")) == 1
    assert [row.state for row in await office.tasks()] == [TaskState.SEEKING]
    office.forward(minutes=2)
    await office.move()
    await office.move()
    assert len(office.wechat.calls("get_groupmsg_list_v2")) == 3
    assert len(office.wechat.calls("add_msg_template")) == 2
    (task,) = await office.tasks()
    assert task.state is TaskState.WAITING
    office.corp.mass.confirm(task.msgid, "zhangwei")
    office.forward(minutes=1)
    await office.move()
    assert await office.ends(warning) == {WANG: ("sent", "")}


async def test_48_the_same_words_of_others_are_not_taken_for_ours(office: Office) -> None:
    await office.befriend(WANG)
    await office.befriend(LI_NA, username="li", community="湖滨社区")
    office.wechat.fault("add_msg_template", "status", 502, times=1)
    await office.warn()
    await office.move()
    lost = next(row for row in await office.tasks() if row.state is TaskState.SEEKING)
    his, resident = ("zhangwei", WANG) if lost.userid == "zhangwei" else ("lina", LI_NA)
    words = office.wechat.calls("add_msg_template")[0].body["text"]["content"]
    make = office.corp.mass.make_by_hand
    make(his, words, [resident])  # in the admin's console
    make(his, words, [resident], creator=his, personal=True)  # in his own client
    make(his, "别的内容", [resident], creator="")
    make(his, words, ["wmSomebody-0009"], creator="")  # another app's, for others
    office.forward(minutes=1)
    await office.move()
    assert next(row for row in await office.tasks() if row.id == lost.id).state is TaskState.SEEKING
    for _ in range(2):
        office.forward(minutes=11)
        await office.move()
    await office.move()
    assert {row.state for row in await office.tasks()} == {TaskState.WAITING}
    assert len(office.wechat.calls("add_msg_template")) == 3


async def test_48_of_two_that_look_alike_nobody_can_say_which_and_the_officer_is_told(office: Office) -> None:
    await office.befriend(WANG)
    office.wechat.fault("add_msg_template", "close_after")
    warning = await office.warn()
    await office.move()
    words = office.wechat.calls("add_msg_template")[0].body["text"]["content"]
    office.corp.mass.make_by_hand("zhangwei", words, [WANG], creator="")  # by another app
    office.forward(minutes=1)
    await office.move()
    assert [row.state for row in await office.tasks()] == [TaskState.FAILED]
    ((state, reason),) = (await office.ends(warning)).values()
    assert (state, "只发一条" in reason) == ("failed", True)
    page = await (await (await office.at_the_desk("zhang")).get(f"/console/broadcasts/{warning}")).text()
    assert "只发一条" in page


async def test_48_a_list_that_cannot_be_had_for_a_day_leaves_an_unknown_end(office: Office) -> None:
    await office.befriend(WANG)
    office.wechat.fault("add_msg_template", "close_after")
    office.wechat.fault("get_groupmsg_list_v2", "errcode", -1)
    warning = await office.warn()
    await office.move()
    for _ in range(25):
        office.forward(hours=1)
        await office.move()
    assert len(office.wechat.calls("add_msg_template")) == 1
    ((state, reason),) = (await office.ends(warning)).values()
    assert state == "failed"
    assert "没有回执" in reason


async def test_48_a_stopped_warning_whose_answer_was_lost_is_found_and_taken_back(office: Office) -> None:
    await office.befriend(WANG)
    office.wechat.fault("add_msg_template", "close_after")
    warning = await office.warn()
    await office.move()
    await office.stop(warning)
    for _ in range(3):
        office.forward(minutes=1)
        await office.move()
    (made,) = office.corp.mass.tasks.values()
    assert made.cancelled
    assert await office.ends(warning) == {WANG: ("skipped", "已停止发送")}


async def test_48_what_a_process_that_died_may_have_handed_in_is_looked_for_first(office: Office) -> None:
    await office.befriend(WANG)
    warning = await office.warn()
    await jobs.move_broadcasts(office.desk)
    await _die_while_handing_in(office)
    office.forward(minutes=2)
    await office.move()
    assert not office.wechat.calls("add_msg_template")
    assert [row.state for row in await office.tasks()] == [TaskState.SEEKING]
    for _ in range(11):
        office.forward(minutes=1)
        await office.move()
    await office.move()
    assert len(office.wechat.calls("add_msg_template")) == 1
    assert (await office.ends(warning))[WANG][0] == "queued"
    assert [row.state for row in await office.tasks()] == [TaskState.WAITING]


async def _die_while_handing_in(office: Office) -> None:
    """Claimed, and then nothing more."""
    now = office.frozen.now
    async with office.house.store.write() as session:
        await wecom_planning.make(session, office.house.station.id, a_day=1, timezone="Asia/Shanghai", now=now)
        assert await wecom_tasks.claim_new(session, office.house.station.id, now=now) is not None


async def test_48_one_task_for_each_officer_and_the_residents_own_officer_sends(office: Office) -> None:
    await office.befriend(WANG)
    await office.befriend(LI_NA, username="li", community="湖滨社区")
    await office.corp.contacts.add("lina", WANG)  # later, but Zhang answers for his community
    await office.warn()
    await office.move()
    officers = {row.userid: row for row in await office.tasks()}
    assert set(officers) == {"zhangwei", "lina"}
    bodies = {call.body["sender"]: call.body["external_userid"] for call in office.wechat.calls("add_msg_template")}
    assert bodies == {"zhangwei": [WANG], "lina": [LI_NA]}


async def test_48_more_friends_than_a_task_takes_are_several_tasks(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.actions.wecom_planning.CUSTOMERS_AT_ONCE", 3)  # 10,000 in WeCom
    monkeypatch.setattr("bot.actions.wecom_planning._GROUPED_AT_ONCE", 2)
    monkeypatch.setattr("scheduler.wecom.WRITTEN_AT_ONCE", 2)
    await office.befriend(*(f"wmMany-{number}" for number in range(7)))
    warning = await office.warn()
    await office.move()
    sizes = [len(call.body["external_userid"]) for call in office.wechat.calls("add_msg_template")]
    assert sizes == [3, 3, 1]
    for task in await office.tasks():
        office.corp.mass.confirm(task.msgid, "zhangwei")
    office.forward(minutes=1)
    await office.move()
    assert set((await office.ends(warning)).values()) == {("sent", "")}


async def test_48_a_resident_gets_one_warning_a_day_by_an_officer_and_the_next_one_tomorrow(office: Office) -> None:
    await office.befriend(WANG)
    await office.warn()
    await office.move()
    second = await office.warn(expires_at=office.frozen.now + timedelta(days=3))
    await office.move()
    assert len(await office.tasks()) == 1
    assert await office.ends(second) == {WANG: ("queued", "今天已收到过企业微信群发，明天再发")}
    office.forward(hours=14)  # 23:30 in Shanghai
    await office.move()
    assert len(await office.tasks()) == 1
    office.forward(hours=1)
    await office.move()
    assert len(await office.tasks()) == 2


async def test_48_a_stopped_warning_is_taken_back_and_what_was_sent_before_stays_sent(office: Office) -> None:
    await office.befriend(WANG)
    await office.befriend(LI_NA, username="li", community="湖滨社区")
    warning = await office.warn()
    await office.move()
    tasks = {row.userid: row for row in await office.tasks()}
    office.corp.mass.confirm(tasks["zhangwei"].msgid, "zhangwei")  # at the last moment
    await office.stop(warning)
    await office.move()
    assert all(office.corp.mass.tasks[row.msgid].cancelled for row in tasks.values())
    assert await office.ends(warning) == {WANG: ("sent", ""), LI_NA: ("skipped", "已停止发送")}
    assert {row.state for row in await office.tasks()} == {TaskState.CANCELLED}


async def test_48_an_expired_warning_is_taken_back(office: Office) -> None:
    await office.befriend(WANG)
    warning = await office.warn(expires_at=office.frozen.now + timedelta(hours=2))
    await office.move()
    (task,) = await office.tasks()
    office.forward(hours=3)
    await office.move()
    assert office.corp.mass.tasks[task.msgid].cancelled
    assert await office.ends(warning) == {WANG: ("skipped", "已过失效时间，不再发送")}


async def test_48_what_nobody_tapped_at_in_seven_days_was_not_sent(office: Office) -> None:
    await office.befriend(WANG)
    warning = await office.warn()
    await office.move()
    for _ in range(8):
        office.forward(days=1)
        await office.move()
    ((state, reason),) = (await office.ends(warning)).values()
    assert state == "skipped"
    assert "7 天内没有" in reason
    assert 7 <= len(office.wechat.calls("get_groupmsg_task")) <= 12


async def test_48_an_officer_is_reminded_three_times_a_day_at_most(office: Office) -> None:
    await office.befriend(WANG)
    warning = await office.warn()
    await office.move()
    (task,) = await office.tasks()
    browser = await office.at_the_desk("suo")
    await browser.get("/console/me")
    for _ in range(3):
        office.forward(minutes=10)
        response = await browser.post(f"/console/broadcasts/{warning}/remind/{task.id}")
        assert response.status == 303
    refused = await browser.post(f"/console/broadcasts/{warning}/remind/{task.id}")
    assert refused.status == 422
    assert "24 小时内已提醒 3 次" in await refused.text()
    assert len(office.wechat.calls("remind_groupmsg_send")) == 3
    assert len(await office.audited("wecom_task.reminded")) == 3


async def test_48_who_can_be_reached_at_once_elsewhere_needs_no_tap(office: Office) -> None:
    """The address used last wins; a WeCom friend who also writes in the web chat gets it there."""
    await office.house.add_resident("o-one")
    await office.befriend(WANG)
    warning = await office.warn()
    await office.move()
    await office.house.work()
    ends = await office.ends(warning)
    assert ends["o-one"][0] == "sent"
    assert ends[WANG][0] == "queued"
    assert [given.address for given in office.house.channel.given] == ["o-one"]


# -- what its events did not tell ------------------------------------------------------------------------------------


async def test_a_friend_whose_event_was_lost_is_found_with_his_community_and_not_greeted(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = await office.way()
    del office.corp.pushers["contact"]
    monkeypatch.setattr("bot.channels.wecom_app._FRIENDS_ROWS", 10)  # 100 in WeCom
    for number in range(23):  # three pages
        await office.corp.contacts.scan(way.config_id, f"wmLost-{number}")
    await office.compare()
    assert not await office.contacts()  # their events may still be under way
    office.forward(minutes=6)
    await office.compare_at_its_time()
    found = await office.contacts()
    assert {(row.state, row.officer_id) for row in found} == {
        (ContactState.FRIEND, (await office.house.officer("zhang")).id)
    }
    assert len(found) == 23
    assert await community_of(office, "wmLost-7") == "枫林社区"
    assert await follows(office, "wmLost-22")
    assert not office.wechat.calls("send_welcome_msg")
    assert len(await office.audited("contact.added")) == 23


async def test_who_left_and_whose_event_was_lost_is_found_among_those_who_left(office: Office) -> None:
    await office.befriend(WANG, LI_NA)
    office.forward(hours=1)
    del office.corp.pushers["contact"]
    await office.corp.contacts.customer_removes("zhangwei", WANG)
    await office.compare_at_its_time()
    assert {row.external_userid: row.state for row in await office.contacts()} == {
        WANG: ContactState.LEFT,
        LI_NA: ContactState.FRIEND,
    }
    assert not await follows(office, WANG)
    page = await (await (await office.at_the_desk("suo")).get("/console/contacts")).text()
    assert "离开张伟" in page
    office.corp.contacts.friendships["zhangwei", WANG].removed = False  # he came back, unheard
    await office.compare_at_its_time()
    assert {row.state for row in await office.contacts()} == {ContactState.FRIEND}
    assert await follows(office, WANG)


async def test_whom_an_admin_gave_to_another_officer_is_that_ones_friend_and_did_not_leave(office: Office) -> None:
    await office.befriend(WANG, LI_NA)
    office.forward(hours=1)
    await office.corp.contacts.transfer(LI_NA, "zhangwei", "lina")
    del office.corp.pushers["contact"]
    await office.corp.contacts.transfer(WANG, "zhangwei", "lina")  # unheard
    await office.compare_at_its_time()
    states = {(row.userid, row.external_userid): row.state for row in await office.contacts()}
    assert states == {
        ("zhangwei", WANG): ContactState.REMOVED,
        ("lina", WANG): ContactState.FRIEND,
        ("zhangwei", LI_NA): ContactState.REMOVED,
        ("lina", LI_NA): ContactState.FRIEND,
    }
    assert await follows(office, WANG)
    page = await (await (await office.at_the_desk("suo")).get("/console/contacts")).text()
    assert "离开张伟" not in page


async def test_a_list_that_is_cut_short_makes_nobody_leave(office: Office) -> None:
    await office.befriend(WANG, LI_NA)
    office.forward(hours=1)
    office.wechat.fault("batch/get_by_user", "errcode", 84061)  # as if he had no friends
    await office.compare_at_its_time()
    assert {row.state for row in await office.contacts()} == {ContactState.FRIEND}
    office.wechat.faults.clear()
    office.wechat.fault("batch/get_by_user", "truncated")
    await office.compare_at_its_time()
    assert {row.state for row in await office.contacts()} == {ContactState.FRIEND}


async def test_each_officer_is_compared_four_times_a_day_and_again_soon_when_wecom_was_away(office: Office) -> None:
    for _ in range(24 * 2):
        await office.compare()
        office.forward(minutes=30)
    assert len(office.wechat.calls("batch/get_by_user")) == len(USERIDS) * 4
    office.wechat.fault("batch/get_by_user", "errcode", 45009, times=1)
    office.forward(hours=6)
    before = len(office.wechat.calls("batch/get_by_user"))
    await office.compare()
    assert len(office.wechat.calls("batch/get_by_user")) == before + 1  # it does not beat on the door
    office.forward(minutes=10)
    await office.compare()
    assert len(office.wechat.calls("batch/get_by_user")) == before + 1 + len(USERIDS)


async def test_an_officer_who_left_is_not_compared_and_his_friends_stay_as_they_are(office: Office) -> None:
    await office.befriend(WANG)
    await office.befriend(LI_NA, username="li", community="湖滨社区")
    await _disable(office, "zhang")
    office.corp.members.held["lina"].status = 5
    del office.corp.members.held["lina"]  # gone from the address book
    await office.compare_at_its_time()
    asked = {userid for call in office.wechat.calls("batch/get_by_user") for userid in call.body["userid_list"]}
    assert "zhangwei" not in asked
    assert {row.state for row in await office.contacts()} == {ContactState.FRIEND}


async def test_an_event_that_comes_after_the_comparison_still_counts(office: Office) -> None:
    await office.befriend(WANG)
    office.forward(hours=1)
    await office.compare()
    await office.corp.contacts.customer_removes("zhangwei", WANG)
    assert [row.state for row in await office.contacts()] == [ContactState.LEFT]
    await office.compare_at_its_time()
    assert [row.state for row in await office.contacts()] == [ContactState.LEFT]


# -- one resident on all of the station's platforms ------------------------------------------------------------------


async def test_the_friend_the_follower_and_the_customer_of_one_union_are_one_resident(office: Office) -> None:
    follower = await office.house.add_resident("o-wang", name="王芳", address={"union_id": "u-wang"})
    customer = await office.house.add_resident("wmWang-0001", address={"union_id": "u-wang", "channel": "kefu"})
    await office.befriend(WANG, LI_NA)
    office.corp.contacts.outsiders[WANG].unionid = "u-wang"
    ticket = await office.open_ticket(sender="visitor-9")
    await office.look_up()
    addresses = await office.house.all(select(ResidentAddress).where(ResidentAddress.union_id == "u-wang"))
    assert {row.channel: row.resident_id for row in addresses} == {
        "fenglin": follower,
        "kefu": follower,
        "corp": follower,
    }
    assert customer != follower
    await office.corp.contacts.customer_removes("zhangwei", WANG)  # the friend is found by who he is now
    page = await (await (await office.at_the_desk("suo")).get("/console/contacts")).text()
    assert f"/console/residents/{follower}" in page
    assert ticket.resident_id not in {follower, customer}
    await office.look_up()
    assert len(office.wechat.calls("externalcontact/get")) == 2  # each was asked about once


async def test_whom_a_chief_separated_stays_separated(office: Office) -> None:
    follower = await office.house.add_resident("o-wang", address={"union_id": "u-wang"})
    await office.befriend(WANG)
    office.corp.contacts.outsiders[WANG].unionid = "u-wang"
    await office.look_up()
    query = select(ResidentAddress).where(ResidentAddress.channel == corp.CHANNEL)
    address = await office.house.one(query)
    assert address.resident_id == follower
    async with office.house.store.write() as session:
        row = await session.get_one(ResidentAddress, address.id)
        actor = Actor(office.house.station.id)
        parted = await linking.separate(session, row, why="不是同一个人", now=office.frozen.now, actor=actor)
    office.forward(minutes=1)
    await office.look_up()
    await office.compare_at_its_time()
    await office.look_up()
    assert (await office.house.one(query)).resident_id == parted.id


async def test_a_platform_that_is_away_is_asked_again_who_they_are(office: Office) -> None:
    await office.befriend(WANG, LI_NA)
    for external_userid in (WANG, LI_NA):
        office.corp.contacts.outsiders[external_userid].unionid = f"u-{external_userid}"
    office.wechat.fault("externalcontact/get", "errcode", -1, times=1)
    await office.look_up()
    await office.look_up()
    found = await office.house.all(select(ResidentAddress.union_id).where(ResidentAddress.channel == corp.CHANNEL))
    assert set(found) == {f"u-{WANG}", f"u-{LI_NA}"}


# -- 49: officers are told of tickets --------------------------------------------------------------------------------


async def test_49_the_officer_of_the_community_is_told_without_the_residents_words(office: Office) -> None:
    ticket = await office.open_ticket()
    await office.tell()
    (card,) = office.inbox("zhang")
    assert card["title"] == f"新工单 {ticket.number}"
    assert card["url"] == f"{corp.PUBLIC_URL}/console/tickets/{ticket.id}"
    assert "枫林社区" in card["description"]
    assert not any(words in str(card) for words in ("转账", "502", "六万"))
    assert (office.inbox("li"), office.inbox("suo")) == ([], [])
    await office.tell()
    office.forward(minutes=5)
    await office.tell()
    assert len(office.inbox("zhang")) == 1


async def test_49_the_card_opens_the_ticket_by_a_log_in_inside_wecom(office: Office) -> None:
    ticket = await office.open_ticket()
    await office.tell()
    (card,) = office.inbox("zhang")
    office.corp.members.at_the_screen = "zhangwei"
    browser = await office.browser()
    asked = await browser.get(card["url"])
    assert asked.status == 303
    assert "/console/login?next=" in asked.headers["Location"]
    page = await (await browser.get(asked.headers["Location"])).text()
    assert "企业微信登录" in page
    response = await browser.get(
        await browser.press_wecom(following=f"%2Fconsole%2Ftickets%2F{ticket.id}", inside=True)
    )
    assert response.headers["Location"] == f"/console/tickets/{ticket.id}"
    assert (await browser.get(response.headers["Location"])).status == 200


async def test_49_an_urgent_one_goes_to_all_and_again_each_minute_until_somebody_takes_it(office: Office) -> None:
    ticket = await office.open_ticket(urgent=True)
    await office.tell()
    for username in USERIDS:
        assert office.titles(username) == [f"紧急求助 {ticket.number}"]
    for minute in (1, 2, 3):
        office.forward(seconds=59)
        await office.tell()
        assert len(office.inbox("zhang")) == minute
        office.forward(seconds=1)
        await office.tell()
        assert len(office.inbox("zhang")) == minute + 1
    assert "第 4 次提醒" in office.inbox("li")[-1]["description"]
    await office.take(ticket, "li")
    for _ in range(3):
        office.forward(minutes=1)
        await office.tell()
    assert len(office.inbox("zhang")) == 4


async def test_49_a_ticket_that_becomes_urgent_is_told_of_again_at_once(office: Office) -> None:
    await office.open_ticket()
    await office.tell()
    office.forward(seconds=10)
    await office.open_ticket(urgent=True)  # the same resident: his ticket is raised
    await office.tell()
    assert [title[:4] for title in office.titles("zhang")] == ["新工单 ", "紧急求助"]


async def test_49_at_night_the_officer_of_the_community_is_told_and_without_a_community_who_is_on_duty(
    office: Office,
) -> None:
    await office.open_ticket(community=None)
    await office.tell()
    assert len(office.inbox("zhang")) == len(office.inbox("li")) == 1  # both on duty
    assert office.inbox("suo") == []
    office.forward(hours=14)
    await office.open_ticket(community="湖滨社区", sender="visitor-2")
    await office.tell()
    assert (len(office.inbox("zhang")), len(office.inbox("li"))) == (1, 2)


async def test_49_who_is_not_reached_is_shown_to_the_admin_and_the_others_are_told(office: Office) -> None:
    office.corp.members.held["lina"].visible = False
    await office.open_ticket(urgent=True)
    await office.tell()
    assert len(office.inbox("zhang")) == 1
    (notice,) = await office.house.all(select(OfficerNotice))
    assert notice.state is NoticeState.SENT
    assert "没有送达" in (await office.house.officer("li")).wecom_problem
    assert (await office.house.officer("zhang")).wecom_problem == ""
    await _give_admin_an_account(office)
    page = await (await (await office.at_the_desk("guan")).get("/console/officers")).text()
    assert "企业微信收不到" in page
    office.corp.members.held["lina"].visible = True
    office.forward(minutes=1)
    await office.tell()
    assert (await office.house.officer("li")).wecom_problem == ""


async def _give_admin_an_account(office: Office) -> None:
    USERIDS.setdefault("guan", "guanli")
    office.corp.members.add("guanli", "管理")
    admin = await office.house.officer("guan")
    async with office.house.store.write() as session:
        row = await session.get_one(Officer, admin.id)
        await officers.set_wecom(session, row, "guanli", actor=Actor(office.house.station.id))


async def test_49_when_nobody_is_reached_those_on_call_are_told(
    house: House, wechat: FakeWeChat, frozen: FrozenClock
) -> None:
    async with opened(house, wechat, frozen, on_call=["ZhiBan"]) as office:
        office.corp.members.add("zhiban", "值班室")
        for userid in USERIDS.values():
            office.corp.members.held[userid.lower()].status = 4
        ticket = await office.open_ticket(urgent=True)
        await office.tell()
        member = office.corp.members.find("zhiban")
        assert member is not None
        assert [message["textcard"]["title"] for message in member.inbox] == [f"紧急求助 {ticket.number}"]
        assert "没有送达" in (await office.house.officer("zhang")).wecom_problem
        office.corp.members.held["zhiban"].status = 4
        office.forward(minutes=1)
        await office.tell()
        newest = (await office.house.all(select(OfficerNotice).order_by(OfficerNotice.id)))[-1]
        assert newest.state is NoticeState.FAILED
        assert "备用值班人员" in (newest.reason or "")


async def test_49_userids_are_the_same_in_capitals_and_small_letters(office: Office) -> None:
    assert (await office.house.officer("fu")).wecom_userid == "fujing"  # FuJing in the corporation
    await office.open_ticket(urgent=True)
    await office.tell()
    assert len(office.inbox("fu")) == 1
    assert (await office.house.officer("fu")).wecom_problem == ""
    office.corp.members.held["fujing"].status = 4
    office.forward(minutes=1)
    await office.tell()
    assert "没有送达" in (await office.house.officer("fu")).wecom_problem
    await office.corp.contacts.add("FuJing", WANG)
    (contact,) = await office.contacts()
    assert contact.officer_id == (await office.house.officer("fu")).id


async def test_49_more_than_a_thousand_officers_are_told_in_parts(office: Office) -> None:
    async with office.house.store.write() as session:
        for number in range(1001):
            office.corp.members.add(f"aux{number:04d}")
            session.add(
                Officer(
                    station_id=office.house.station.id,
                    username=f"aux{number}",
                    name="辅警",
                    role="auxiliary",
                    duty={},
                    wecom_userid=f"aux{number:04d}",
                    created_at=office.frozen.now,
                )
            )
    await office.open_ticket(urgent=True)
    await office.tell()
    sizes = [len(call.body["touser"].split("|")) for call in office.wechat.calls("message/send")]
    assert sorted(sizes) == [5, 1000]
    assert all(len(office.corp.members.held[f"aux{number:04d}"].inbox) == 1 for number in (0, 500, 1000))


async def test_49_many_tickets_at_once_are_one_card_and_no_minute_has_more_than_thirty(office: Office) -> None:
    for number in range(8):
        await office.open_ticket(sender=f"visitor-{number}")
    await office.tell()
    (card,) = office.inbox("zhang")
    assert card["title"] == "待接工单共 8 条"
    assert card["url"] == f"{corp.PUBLIC_URL}/console/tickets"
    for second in range(60):
        await office.open_ticket(sender=f"later-{second}", urgent=second % 2 == 0)
        await office.tell()
        office.forward(seconds=1)
    calls = [call for call in office.wechat.calls("message/send") if "zhangwei" in call.body["touser"].split("|")]
    assert 15 < len(calls) <= 30
    assert len(office.inbox("zhang")) == len(calls)  # WeCom dropped none
    office.forward(seconds=3)
    await office.tell()
    assert await office.house.count(TicketNotice) == 68  # each ticket was told of


async def test_49_a_card_whose_answer_was_lost_is_seen_once(office: Office) -> None:
    office.wechat.fault("message/send", "close_after", times=1)
    await office.open_ticket()
    await office.tell()
    office.forward(seconds=6)
    await office.tell()
    assert len(office.wechat.calls("message/send")) == 2
    assert len(office.inbox("zhang")) == 1
    (notice,) = await office.house.all(select(OfficerNotice))
    assert notice.state is NoticeState.SENT


async def test_49_a_process_that_died_between_claim_and_sending_loses_and_doubles_nothing(office: Office) -> None:
    await office.open_ticket()
    now = office.frozen.now
    async with office.house.store.write() as session:
        await officer_notices.plan(
            session, office.house.station.id, on_call=False, timezone="Asia/Shanghai", titles=str, now=now
        )
        assert len(await officer_notices.claim(session, office.house.station.id, now=now)) == 1
    await office.tell()
    assert office.inbox("zhang") == []
    office.forward(seconds=31)
    await office.tell()
    await office.tell()
    assert len(office.inbox("zhang")) == 1


async def test_49_a_wrong_secret_keeps_the_notice_and_beats_on_no_door(
    house: House, wechat: FakeWeChat, frozen: FrozenClock
) -> None:
    async with opened(house, wechat, frozen, secret="wrong") as office:
        await office.open_ticket()
        for _ in range(30):
            await office.tell()
            office.forward(seconds=1)
        assert len(office.wechat.calls("gettoken")) <= 2
        (notice,) = await office.house.all(select(OfficerNotice))
        assert notice.state is NoticeState.QUEUED
        assert notice.code == "40001"


async def test_49_an_hour_without_wecom_does_not_end_in_sixty_cards(office: Office) -> None:
    office.wechat.fault("message/send", "status", 500)
    ticket = await office.open_ticket(urgent=True)
    for _ in range(20):
        await office.tell()
        office.forward(minutes=1)
    office.wechat.faults.clear()
    await office.tell()
    assert len(office.inbox("zhang")) == 1
    office.forward(seconds=3)
    await office.tell()
    assert len(office.inbox("zhang")) == 2  # the round that is due now
    await office.take(ticket, "li")


async def test_49_a_card_that_could_not_leave_before_somebody_took_the_ticket_never_leaves(office: Office) -> None:
    office.wechat.fault("message/send", "errcode", -1)
    ticket = await office.open_ticket()
    await office.tell()
    await office.take(ticket, "li")
    office.wechat.faults.clear()
    office.forward(seconds=10)
    await office.tell()
    assert office.inbox("zhang") == []
    (notice,) = await office.house.all(select(OfficerNotice))
    assert notice.state is NoticeState.OVER


# -- 50: log-in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [True, False])
async def test_50_a_member_with_a_role_comes_in(office: Office, inside: bool) -> None:
    office.corp.members.at_the_screen = "ZHANGWEI"
    browser = await office.browser()
    response = await browser.log_in(following="%2Fconsole%2Ftickets", inside=inside)
    assert (response.status, response.headers["Location"]) == (303, "/console/tickets")
    assert "张伟" in await (await browser.get("/console/me")).text()
    assert (await office.audited("login"))[-1] == {"by": "wecom"}


async def test_50_the_way_there_has_the_fixed_host_and_a_state_wecom_takes(office: Office) -> None:
    browser = await office.browser()
    for inside, path in ((True, "/wecom/connect/oauth2/authorize"), (False, "/wecom/wwlogin/sso/login")):
        agent = "wxwork" if inside else "Mozilla"
        begun = await browser.get("/console/login/wecom", headers={"User-Agent": agent, "Host": "evil.example.org"})
        address = urlsplit(begun.headers["Location"])
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        assert address.path == path
        assert asked["redirect_uri"].startswith(f"{corp.PUBLIC_URL}/console/login/wecom/back?next=")
        assert asked["state"].isalnum()
        assert len(asked["state"]) <= 128
        assert (asked.get("scope"), address.fragment) == (("snsapi_base", "wechat_redirect") if inside else (None, ""))
        cookie = begun.headers["Set-Cookie"]
        assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=Lax", "Max-Age=600"))


async def _refused(office: Office, response: Any, words: str) -> None:
    page = await response.text()
    assert response.status == 403
    assert words in page
    assert "企业微信登录" in page  # the log-in page, to try again
    assert 'name="password"' in page
    assert not (await office.audited("login"))


async def test_50_a_wrong_a_missing_or_a_strangers_state_is_refused(office: Office) -> None:
    office.corp.members.at_the_screen = "zhangwei"
    mine, his = await office.browser(), await office.browser()
    back = await his.press_wecom()
    await _refused(office, await mine.get(back), "不是从本页面发起")  # somebody sent me his link
    await mine.press_wecom()
    await _refused(office, await mine.get(back), "不是从本页面发起")
    bare = f"/console/login/wecom/back?code={office.corp.members.login_code('zhangwei')}"
    await _refused(office, await mine.get(bare), "不是从本页面发起")
    assert not office.wechat.calls("getuserinfo")


async def test_50_a_state_comes_back_once_and_soon(office: Office) -> None:
    office.corp.members.at_the_screen = "zhangwei"
    browser = await office.browser()
    back = await browser.press_wecom()
    cookies = {cookie.key: cookie.value for cookie in browser.session.cookie_jar}
    office.corp.members.at_the_screen = ""
    refused = await browser.get(back.replace(back.partition("code=")[2].partition("&")[0], "forged"))
    await _refused(office, refused, "登录链接已失效")
    thief = await office.browser()
    replayed = await thief.get(back, headers={"Cookie": f"officer_wecom={cookies['officer_wecom']}"})
    await _refused(office, replayed, "已过期")
    office.corp.members.at_the_screen = "zhangwei"
    late = await office.browser()
    back = await late.press_wecom()
    office.forward(minutes=11)
    await _refused(office, await late.get(back), "已过期")


@pytest.mark.parametrize("code", [42022, 40029])
async def test_50_a_used_or_wrong_code_leads_back_to_the_log_in_page(office: Office, code: int) -> None:
    office.corp.members.at_the_screen = "zhangwei"
    office.wechat.fault("getuserinfo", "errcode", code)
    await _refused(office, await (await office.browser()).log_in(), "登录链接已失效")


async def test_50_an_outsider_a_member_without_a_role_and_one_who_left_are_refused(office: Office) -> None:
    browser = await office.browser()
    office.corp.members.at_the_screen = ""
    await _refused(office, await browser.log_in(), "只有本单位的企业微信成员")
    office.corp.members.add("cook", "厨师")
    office.corp.members.at_the_screen = "cook"
    await _refused(office, await browser.log_in(), "没有绑定工作台账号")
    office.corp.members.at_the_screen = "zhangwei"
    office.corp.members.held["zhangwei"].status = 2
    await _refused(office, await browser.log_in(), "没有激活或已停用")
    office.corp.members.held["zhangwei"].status = 1
    await _disable(office, "zhang")
    await _refused(office, await browser.log_in(), "没有绑定工作台账号，或账号已停用")
    assert [details.get("by") for details in await office.audited("login.failed")] == ["wecom"] * 4


async def _disable(office: Office, username: str) -> None:
    officer = await office.house.officer(username)
    async with office.house.store.write() as session:
        row = await session.get_one(Officer, officer.id)
        await officers.set_active(session, row, False, actor=Actor(office.house.station.id))


async def test_50_wecom_counts_as_the_first_factor_only(house: House, wechat: FakeWeChat, frozen: FrozenClock) -> None:
    async with corp.opened(house, wechat, frozen, security={"second_factor": True}) as office:
        office.corp.members.at_the_screen = "zhangwei"
        browser = await office.browser()
        response = await browser.log_in(following="%2Fconsole%2Ftickets")
        assert response.headers["Location"] == "/console/second-factor?next=%2Fconsole%2Ftickets"
        assert (await browser.get("/console/tickets")).headers["Location"].startswith("/console/second-factor")


async def test_50_a_platform_that_is_away_says_so_and_the_password_still_works(office: Office) -> None:
    office.corp.members.at_the_screen = "zhangwei"
    office.wechat.fault("getuserinfo", "status", 500)
    await _refused(office, await (await office.browser()).log_in(), "请")


async def test_50_nobody_is_led_elsewhere_afterwards(office: Office) -> None:
    office.corp.members.at_the_screen = "zhangwei"
    response = await (await office.browser()).log_in(following="https%3A%2F%2Fevil.example.org%2F")
    assert response.headers["Location"] == "/console"


async def test_50_many_wrong_codes_from_one_address_are_throttled(office: Office) -> None:
    browser = await office.browser()
    statuses = [(await browser.get("/console/login/wecom/back?code=x&state=y")).status for _ in range(35)]
    assert statuses[0] == 403
    assert statuses[-1] == 422
    assert not office.wechat.calls("getuserinfo")


# -- the app itself --------------------------------------------------------------------------------------------------


async def test_the_token_is_asked_for_once_and_renewed_once_when_it_was_voided(office: Office) -> None:
    await office.way()
    await office.way("zhang", "柳河村")
    assert office.wechat.counters["gettoken"] == 1
    for token in list(office.corp.apps.held):
        office.corp.apps.expire(token)
    await office.way("li", "湖滨社区")
    assert office.wechat.counters["gettoken"] == 2


async def test_near_its_end_the_same_token_is_not_asked_for_at_each_call(office: Office) -> None:
    """WeCom gives the old one until it is over."""
    await office.way()
    office.forward(seconds=7200 - 200)
    for place in ("柳河村", "湖滨社区"):
        await office.way("zhang", place)
    assert office.wechat.counters["gettoken"] == 2


async def test_a_code_is_made_once_and_its_picture_is_kept(office: Office) -> None:
    browser = await office.at_the_desk("zhang")
    page = await (await browser.get("/console/contacts")).text()
    assert "生成二维码" in page
    place = await office.house.community("枫林社区")
    for _ in range(2):
        response = await browser.post("/console/contacts/ways", community=str(place))
        assert response.status == 303
    assert len(office.corp.contacts.ways) == 1
    (way,) = office.corp.contacts.ways.values()
    assert (way.userids, len(way.state)) == (["zhangwei"], 16)
    page = await (await browser.get("/console/contacts")).text()
    address = page.partition('<img src="')[2].partition('"')[0]
    picture = await browser.session.get(browser.root + address)
    assert (picture.status, picture.content_type) == (200, "image/png")
    other = await office.at_the_desk("li")
    assert (await other.session.get(other.root + address)).status == 404


async def test_an_officer_sees_how_many_friends_he_has_and_where_he_still_needs_a_code(office: Office) -> None:
    await office.befriend(WANG, LI_NA)
    browser = await office.at_the_desk("zhang")
    page = await (await browser.get("/console/contacts")).text()
    assert "您现有 <b>2</b> 位好友。" in page
    assert "柳河村</option>" in page
    assert "枫林社区</option>" not in page  # he has that one
    office.forward(hours=1)
    await office.compare()
    page = await (await browser.get("/console/contacts")).text()
    assert "与企业微信核对过" in page
    await office.way("zhang", "柳河村")
    page = await (await browser.get("/console/contacts")).text()
    assert "生成二维码" not in page
    assert "还没有负责的社区" not in page


async def test_the_self_check_says_whether_the_app_may_see_the_officers_friends(office: Office) -> None:
    async def contact() -> Any:
        return next(check for check in await office.channel.check() if check.name.en == "customer contact")

    assert (await contact()).good
    office.wechat.fault("get_follow_user_list", "errcode", 48002, times=1)
    refused = await contact()
    assert refused.good is False
    assert "48002" in refused.found.zh
    assert "授权" in refused.remedy.zh
    for member in office.corp.members.held.values():
        member.has_contacts = False
    nobody = await contact()
    assert nobody.good is False
    assert "客户联系" in nobody.remedy.zh


async def test_the_admin_sets_an_officers_account_and_no_two_have_the_same(office: Office) -> None:
    await _give_admin_an_account(office)
    browser = await office.at_the_desk("guan")
    officer = await office.house.officer("shen")
    page = await (await browser.get(f"/console/officers/{officer.id}")).text()
    assert 'name="wecom_userid"' in page
    form = {"save": "1", "name": "沈察", "role": "reviewer"}
    taken = await browser.post(f"/console/officers/{officer.id}", **form, wecom_userid="LiNa")
    assert taken.status == 409
    assert "已绑定给李娜" in await taken.text()
    strange = await browser.post(f"/console/officers/{officer.id}", **form, wecom_userid="沈察")
    assert strange.status == 422
    done = await browser.post(f"/console/officers/{officer.id}", **form, wecom_userid="ShenCha")
    assert done.status == 303
    assert (await office.house.officer("shen")).wecom_userid == "shencha"
    assert (await office.audited("officer.wecom"))[-1] == {"userid": "shencha"}


async def test_an_officer_makes_codes_for_his_own_communities_only(office: Office) -> None:
    browser = await office.at_the_desk("zhang")
    await browser.get("/console/contacts")
    place = await office.house.community("湖滨社区")
    response = await browser.post("/console/contacts/ways", community=str(place), officer="1")
    assert response.status == 422
    assert "自己负责的社区" in await response.text()
    assert not office.corp.contacts.ways


async def test_a_member_without_client_contact_is_named(office: Office) -> None:
    office.corp.members.held["zhangwei"].has_contacts = False
    with pytest.raises(WeComRefused) as refused:
        await office.way()
    assert "客户联系权限" in refused.value.reason


async def test_on_either_database_a_friend_comes_is_warned_and_an_officer_is_told(
    any_house: House, wechat: FakeWeChat, frozen: FrozenClock
) -> None:
    async with corp.opened(any_house, wechat, frozen) as office:
        await office.befriend(WANG, LI_NA)
        await office.greeted()
        assert len(office.words_to()) == 1
        warning = await office.warn()
        await asyncio.gather(*(office.move() for _ in range(3)))  # as several processes do
        await office.move()  # who found the warning locked by another comes again
        (task,) = await office.tasks()
        (call,) = office.wechat.calls("add_msg_template")
        assert call.body["external_userid"] == [WANG, LI_NA]
        await office.corp.contacts.customer_removes("zhangwei", LI_NA)
        office.corp.mass.confirm(task.msgid, "zhangwei")
        office.forward(minutes=1)
        await office.move()
        ends = await office.ends(warning)
        assert ends[WANG] == ("sent", "")
        assert ends[LI_NA][0] == "skipped"  # he had left before: what waited for him was taken back
        await office.open_ticket(urgent=True)
        await asyncio.gather(*(office.tell() for _ in range(5)))
        assert len(office.inbox("zhang")) == 1
        assert len(office.wechat.calls("message/send")) == 1
        browser = await office.at_the_desk("zhang")
        for path in ("/console/contacts", f"/console/broadcasts/{warning}", "/console/tickets"):
            assert (await browser.get(path)).status == 200, path


async def test_the_whole_program_has_all_of_it(house: House, wechat: FakeWeChat, frozen: FrozenClock) -> None:
    async with corp.opened(house, wechat, frozen) as office:  # furnishes the officers
        way = await office.way()
    url = str(house.store.engine.url.render_as_string(hide_password=False))
    app = await create_app(corp.settings(wechat, database={"url": url}), house.knowledge)
    async with TestServer(app) as server, CorpPusher(str(server.make_url("/callback/corp")), corp=wechat.wecom):
        await wechat.wecom.contacts.scan(way.config_id, WANG)
        chat = wechat.wecom.contacts.chat("zhangwei", WANG)
        await until(lambda: bool(chat))
        program = app[PROGRAM]
        assert program.desk.wecom is not None
        assert program.channels["corp"].rules.by_officer
        assert {job.work.__name__ for job in jobs.JOBS} >= {"tell_officers", "send_welcomes", "move_tasks"}
        async with ClientSession() as http, http.get(server.make_url("/console/login")) as page:
            assert "企业微信登录" in await page.text()


async def test_one_app_serves_officers_friends_and_customer_service_at_one_callback(
    house: House, wechat: FakeWeChat, frozen: FrozenClock
) -> None:
    async with corp.opened(house, wechat, frozen) as office:  # furnishes the officers
        way = await office.way()
    wechat.wecom.kf.add_account("wk-fenglin")
    url = str(house.store.engine.url.render_as_string(hide_password=False))
    config = corp.settings(wechat, database={"url": url}, kf={"open_kfid": "wk-fenglin", "app": corp.CHANNEL})
    before = wechat.counters["gettoken"]
    app = await create_app(config, KnownSayings())
    async with TestServer(app) as server, CorpPusher(str(server.make_url("/callback/corp")), corp=wechat.wecom):
        async with CorpPusher(str(server.make_url("/callback/kefu"))) as elsewhere:
            assert (await elsewhere.check_address()).status == 404
        await wechat.wecom.contacts.scan(way.config_id, LI_NA)
        greeted = wechat.wecom.contacts.chat("zhangwei", LI_NA)
        await until(lambda: bool(greeted))
        await wechat.wecom.kf.writes("wk-fenglin", WANG, "身份证丢了怎么办")
        answered = wechat.wecom.kf.chat("wk-fenglin", WANG)
        await until(lambda: any(bubble.via == "api" for bubble in answered))
        await office.open_ticket()
        await until(lambda: bool(office.inbox("zhang")))
        reports = {
            report.channel: report for report in await check_channels(app[PROGRAM].runtime, app[PROGRAM].channels)
        }
        kefu = {check.name.en: check for check in reports["kefu"].checks}
        assert kefu["callback"].found.en == "comes by that of the channel corp"
        assert kefu["the account"].good
        assert reports["corp"].checks[0].good
    tokens = await house.all(select(PlatformToken.channel))
    assert tokens == ["corp"]
    assert wechat.counters["gettoken"] - before <= 3  # the self-check asks for itself, once for each channel


async def test_two_callback_addresses_share_nothing(office: Office) -> None:
    async with CorpPusher(f"{office.root}/callback/other") as stranger:
        assert (await stranger.check_address()).status == 404

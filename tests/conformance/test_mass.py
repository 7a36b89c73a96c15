"""A warning to thousands by the mass sending of a service account, and what the platform does to it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from bot.actions import broadcasts, mass, mass_planning, recipients, results
from bot.actions.audiences import Audience
from bot.actions.audit import Actor
from bot.actions.broadcasts import Draft
from bot.store import access
from bot.store.models import (
    Author,
    Broadcast,
    BroadcastState,
    DeliveryRoute,
    DeliveryState,
    MassJobState,
    ParkedChannel,
    Resident,
    ResidentAddress,
    StoredMessage,
)
from scheduler import jobs
from scheduler.outbox import PARKED_FOR
from tests.conformance.account import Account, opened
from tests.support.small_pictures import png
from tests.support.station import CHANNEL, FrozenClock, until

SEND = "mass/send"
TEXT = "【防诈提醒】\n不要转账。"


@pytest.fixture
async def account(furnished_url: str, frozen: FrozenClock) -> AsyncIterator[Account]:
    async with opened(furnished_url, frozen) as account:
        yield account


async def warn(account: Account, **draft: Any) -> int:
    """A warning written by 张伟 and approved by the chief; its number."""
    house = account.house
    author, chief = await house.officer("zhang"), await house.officer("suo")
    wanted = Draft(**{"title": "防诈提醒", "body": "不要转账。", "audience": Audience(), **draft})
    actor = Actor(house.station.id, author.id)
    async with house.store.write() as session:
        row = await broadcasts.create(session, author, wanted, actor=actor)
        await broadcasts.submit(session, row, actor=actor)
    async with house.store.write() as session:
        read = await access.access_broadcast(session, house.station.id, row.id, lock=True)
        await broadcasts.approve(session, read, chief, seal=broadcasts.seal_of(read), actor=actor)
    return row.id


async def state(account: Account, number: int) -> BroadcastState:
    row: Broadcast = await account.house.one(select(Broadcast).where(Broadcast.id == number))
    return row.state


async def progress(account: Account, number: int) -> results.Progress:
    async with account.house.store.read() as session:
        return await results.progress(session, number)


async def summary(account: Account, number: int) -> results.MassSummary:
    async with account.house.store.read() as session:
        found = await results.mass_summary(session, number)
    assert found is not None
    return found


async def reported(account: Account) -> None:
    """The platform's reports arrive, and the clock ticks."""
    account.clock.forward(minutes=5)
    await account.wechat.settle()
    await account.house.dispatcher.close()
    await account.works()


# -- 39: lists --------------------------------------------------------------------------------------------------------


async def test_a_warning_goes_in_one_call_and_stands_in_each_conversation(account: Account) -> None:
    people = await account.people(5)
    number = await warn(account)
    await account.works()
    (call,) = account.wechat.calls(SEND)
    assert sorted(call.body["touser"]) == people
    assert call.body["text"] == {"content": TEXT}
    assert len(call.body["clientmsgid"].encode()) <= 32
    assert all(account.texts(openid) == [TEXT] for openid in people)
    assert await state(account, number) is BroadcastState.SENDING, "submitted is not delivered"
    found = await progress(account, number)
    assert (found.submitted, found.arrived) == (5, 0)
    said = await account.house.all(select(StoredMessage).where(StoredMessage.author == Author.STATION))
    assert sorted(row.address for row in said) == people
    assert len({row.conversation_id for row in said}) == 5
    assert {row.body for row in said} == {TEXT}
    assert {row.message_id for row in await account.rows(route=DeliveryRoute.MASS)} == {row.id for row in said}
    await reported(account)
    assert await state(account, number) is BroadcastState.DONE
    assert (await summary(account, number)).filtered == 0


async def test_a_mass_message_carries_the_words_and_the_chat_log_shows_no_picture_that_nobody_got(
    account: Account,
) -> None:
    people = await account.people(2)
    async with account.house.store.write() as session:
        picture = await broadcasts.keep_picture(session, account.house.station.id, png(b"a poster"))
    await warn(account, picture=picture)
    await account.works()
    (call,) = account.wechat.calls(SEND)
    assert call.body["msgtype"] == "text"
    assert all(account.texts(openid) == [TEXT] for openid in people)
    said = await account.house.all(select(StoredMessage).where(StoredMessage.author == Author.STATION))
    assert [row.media_id for row in said] == [None, None]


async def test_one_more_than_a_list_holds_makes_two_lists_of_half_the_size(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10,001 residents are two calls, and none of them has a single recipient; here with a list of ten."""
    monkeypatch.setattr(mass_planning, "BATCH_MOST", 10)
    people = await account.people(11)
    await warn(account)
    await account.works()
    calls = account.wechat.calls(SEND)
    assert sorted(len(call.body["touser"]) for call in calls) == [5, 6]
    assert sorted(openid for call in calls for openid in call.body["touser"]) == people, "each once"
    numbers = [call.body["clientmsgid"] for call in calls]
    assert len(set(numbers)) == 2
    assert all(len(number.encode()) <= 32 for number in numbers)


@pytest.mark.slow
async def test_ten_thousand_and_one_are_two_calls(furnished_sqlite_url: str, frozen: FrozenClock) -> None:
    async with opened(furnished_sqlite_url, frozen) as account:
        await many(account, 10_001)
        await warn(account)
        await account.works()
        assert sorted(len(call.body["touser"]) for call in account.wechat.calls(SEND)) == [5000, 5001]
        found = await progress(account, 1)
        assert (found.submitted, found.total) == (10_001, 10_001)


async def many(account: Account, count: int) -> None:
    """So many residents who follow, written at once."""
    base = {"station_id": account.house.station.id, "created_at": account.clock.now}
    async with account.house.store.write() as session:
        rows = await session.execute(
            insert(Resident).returning(Resident.id), [{**base, "language": "zh"} for _ in range(count)]
        )
        addresses = [
            {**base, "resident_id": number, "channel": CHANNEL, "address": f"o-{n:07d}"}
            for n, number in enumerate(rows.scalars())
        ]
        await session.execute(insert(ResidentAddress), addresses)
    for address in addresses:
        account.wechat.follower(str(address["address"]))


async def test_a_single_recipient_is_no_mass_call(account: Account) -> None:
    """He has written lately: a customer-service message reaches him."""
    await account.hears("你好", "o-one")
    await warn(account)
    await account.works()
    assert account.wechat.calls(SEND) == []
    assert account.texts("o-one") == [TEXT]


async def test_a_single_recipient_who_has_not_written_gets_it_when_he_does(account: Account) -> None:
    (person,) = await account.people(1)
    number = await warn(account)
    await account.works()
    assert account.wechat.calls("message") == []
    found = await progress(account, number)
    assert (found.waiting, await state(account, number)) == (1, BroadcastState.SENDING)
    await account.hears("你好", person)
    await account.works()
    assert account.texts(person) == [TEXT]
    assert await state(account, number) is BroadcastState.DONE


async def test_a_recipient_who_never_writes_is_skipped_when_the_warning_is_over(account: Account) -> None:
    await account.people(1)
    number = await warn(account)
    await account.works()
    account.clock.now += broadcasts.DEFAULT_LIFE + timedelta(seconds=1)
    await account.works()
    found = await progress(account, number)
    assert found.states == {DeliveryState.SKIPPED: 1}
    assert "没有来消息" in found.reasons[0][0]
    assert await state(account, number) is BroadcastState.DONE


async def test_who_left_or_is_refused_stands_in_no_list(account: Account) -> None:
    await account.people(3)
    (left,) = await account.people(1, "o-left", following=False)
    (blocked,) = await account.people(
        1, "o-blocked", refused_until=account.clock.now + timedelta(days=3), refused_why="居民拒收。"
    )
    number = await warn(account)
    await account.works()
    (call,) = account.wechat.calls(SEND)
    assert not {left, blocked} & set(call.body["touser"])
    assert dict((await progress(account, number)).reasons) == {"居民没有可用的联系渠道": 1, "居民拒收。": 1}


async def test_a_subscription_account_sends_to_no_list(furnished_sqlite_url: str, frozen: FrozenClock) -> None:
    async with opened(furnished_sqlite_url, frozen, account_type="subscription", verified=True) as account:
        await account.people(3)
        await account.hears("你好", "o-here")
        await warn(account)
        await account.works()
        assert account.wechat.calls("mass/") == []
        assert account.texts("o-here") == [TEXT], "who has written lately gets it as a reply"
        assert len([row for row in await account.rows(DeliveryState.QUEUED) if row.waits]) == 3


# -- 40: lost answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("effect", ["close_after", "status_after", "truncated", "no_errcode"])
async def test_a_lost_answer_is_asked_for_again_with_the_same_number(account: Account, effect: Any) -> None:
    people = await account.people(4)
    number = await warn(account)
    account.wechat.fault(SEND, effect, 502, times=1)
    await account.works()
    assert len(account.wechat.calls(SEND)) == 1, "not at once"
    account.clock.forward(seconds=61)
    await account.works()
    first, second = account.wechat.calls(SEND)
    assert first.body["clientmsgid"] == second.body["clientmsgid"]
    assert second.errcode == 45065
    assert all(account.texts(openid) == [TEXT] for openid in people), "each once"
    (job,) = await account.mass_jobs()
    assert job.msg_id == str(account.wechat.jobs[job.client_id].msg_id)
    await reported(account)
    assert await state(account, number) is BroadcastState.DONE


async def test_too_fast_a_repetition_waits_a_minute(account: Account) -> None:
    await account.people(4)
    await warn(account)
    account.wechat.fault(SEND, "errcode", 45066, times=1)
    await account.works()
    account.clock.forward(seconds=59)
    await account.works()
    assert len(account.wechat.calls(SEND)) == 1
    account.clock.forward(seconds=2)
    await account.works()
    assert len(account.wechat.calls(SEND)) == 2
    assert (await account.mass_jobs())[0].state is MassJobState.SUBMITTED


async def test_a_process_killed_while_submitting_leaves_a_job_that_is_taken_again(account: Account) -> None:
    people = await account.people(4)
    await warn(account)
    async with account.house.store.write() as session:
        for row in await broadcasts.claim_due(session, account.house.station.id):
            await broadcasts.start(session, row)
            rules = {account.channel.name: account.channel.rules}
            while not row.expanded:
                await recipients.expand(session, row, rules)
            await mass_planning.plan(session, row, rules, now=account.clock.now)
    async with account.house.store.write() as session:  # given to the platform, and then the power went
        bundle = await mass.claim(session, account.house.station.id, now=account.clock.now)
    assert bundle is not None
    await account.channel.send_mass(bundle.addresses, bundle.reply, client_id=bundle.client_id)
    await account.works()
    assert len(account.wechat.calls(SEND)) == 1
    account.clock.forward(seconds=61)
    await account.works()
    assert [call.errcode for call in account.wechat.calls(SEND)] == [0, 45065]
    assert all(account.texts(openid) == [TEXT] for openid in people)
    assert (await account.mass_jobs())[0].state is MassJobState.SUBMITTED


# -- 41: the platform's report ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "times", "lost"), [("after", 1, 0), ("before", 1, 0), ("after", 2, 0), ("before", 2, 1)]
)
async def test_a_report_before_or_after_the_answer_once_or_twice_ends_the_warning(
    account: Account, when: Any, times: int, lost: int
) -> None:
    await account.people(4)
    account.wechat.rules.mass_finish, account.wechat.rules.mass_finish_times = when, times
    account.wechat.rules.mass_lost = lost
    number = await warn(account)
    await account.works()
    await reported(account)
    (job,) = await account.mass_jobs()
    assert (job.state, job.total, job.filtered, job.sent) == (MassJobState.DONE, 4, 4, 4 - lost)
    assert await state(account, number) is BroadcastState.DONE


@pytest.mark.parametrize("name", ["MassSendJobFinish", "masssendjobfinish", "MASSSENDJOBFINISH"])
async def test_a_report_in_any_spelling_is_taken(account: Account, name: str) -> None:
    await account.people(4)
    account.wechat.rules.mass_finish = "never"
    number = await warn(account)
    await account.works()
    (job,) = await account.mass_jobs()
    figures = {"TotalCount": "4", "FilterCount": "4", "SentCount": "3", "ErrorCount": "2"}
    fields = {"MsgID": job.msg_id or "", "Status": "sendsuccess", **figures}
    await account.pusher.event("mphelper", name, fields)
    await account.house.dispatcher.close()
    await account.works()
    assert (await account.mass_jobs())[0].state is MassJobState.DONE
    assert await state(account, number) is BroadcastState.DONE


async def test_a_report_on_a_job_of_somebody_else_is_passed_over(account: Account) -> None:
    await account.pusher.event("mphelper", "MASSSENDJOBFINISH", {"MsgID": "99", "Status": "send success"})
    await account.house.dispatcher.close()
    assert await account.mass_jobs() == []


async def test_what_the_platform_takes_for_a_fraud_is_said_with_its_reason(account: Account) -> None:
    people = await account.people(4)
    account.wechat.rules.mass_status = "err(20008)"
    number = await warn(account)
    await account.works()
    await reported(account)
    assert await state(account, number) is BroadcastState.DONE
    found = await progress(account, number)
    assert found.states == {DeliveryState.FAILED: 4}
    assert (found.arrived, found.submitted) == (0, 0)
    assert "欺诈" in found.reasons[0][0]
    assert "改写" in found.reasons[0][0]
    assert [(await account.address(openid)).mass_count for openid in people] == [0] * 4, "nothing was used up"


async def test_the_number_the_platform_left_out_is_shown_and_nobody_is_named(account: Account) -> None:
    people = await account.people(5)
    account.wechat.follower(people[0]).mass_in_month["2026-11"] = 4  # sent by hand, of which we know nothing
    number = await warn(account)
    await account.works()
    await reported(account)
    assert (await summary(account, number)).filtered == 1
    assert (await progress(account, number)).states == {DeliveryState.SENT: 5}


async def test_a_platform_that_never_reports_is_not_waited_for_for_ever(account: Account) -> None:
    await account.people(4)
    account.wechat.rules.mass_finish = "never"
    number = await warn(account)
    await account.works()
    account.clock.forward(seconds=mass.REPORT_WITHIN.total_seconds() + 1)
    await account.works()
    await account.works()
    assert await state(account, number) is BroadcastState.DONE
    assert (await summary(account, number)).reasons == [mass.NO_REPORT]


async def unreported(account: Account) -> int:
    """A warning to four whose report is lost, ten minutes later."""
    await account.people(4)
    account.wechat.rules.mass_finish = "lost"
    number = await warn(account)
    await account.works()
    account.clock.forward(seconds=mass.ASK_AFTER.total_seconds() - 1)
    await account.wechat.settle()
    await account.works()
    assert account.wechat.calls("mass/get") == [], "it reports within minutes"
    account.clock.forward(seconds=2)
    return number


async def test_a_report_that_was_lost_is_asked_for(account: Account) -> None:
    number = await unreported(account)
    await account.works()
    await account.works()
    (call,) = account.wechat.calls("mass/get")
    (job,) = await account.mass_jobs()
    assert (str(call.body["msg_id"]), job.state, job.total) == (job.msg_id, MassJobState.DONE, None)
    assert "没有报告人数" in str(job.reason)
    assert await state(account, number) is BroadcastState.DONE
    assert (await progress(account, number)).states == {DeliveryState.SENT: 4}


async def test_the_report_that_comes_after_the_question_brings_its_figures(account: Account) -> None:
    await unreported(account)
    await account.works()
    (job,) = await account.mass_jobs()
    figures = {"TotalCount": "4", "FilterCount": "4", "SentCount": "3", "ErrorCount": "1"}
    fields = {"MsgID": job.msg_id or "", "Status": "send success", **figures}
    await account.pusher.event("mphelper", "MASSSENDJOBFINISH", fields)
    await account.house.dispatcher.close()
    (job,) = await account.mass_jobs()
    assert (job.state, job.sent, job.reason) == (MassJobState.DONE, 3, None)


async def test_a_job_the_platform_sent_to_nobody_fails_when_it_is_asked(account: Account) -> None:
    account.wechat.rules.mass_status = "err(20008)"
    number = await unreported(account)
    await account.works()
    assert (await progress(account, number)).states == {DeliveryState.FAILED: 4}
    assert [(await account.address(f"o-many-{n:06d}")).mass_count for n in range(4)] == [0] * 4


async def test_a_job_that_takes_long_is_asked_about_each_ten_minutes_and_a_lost_answer_does_no_harm(
    account: Account,
) -> None:
    await account.people(4)
    account.wechat.rules.mass_finish = "never"
    number = await warn(account)
    account.wechat.fault("mass/get", "status", 502, nth=[2])
    for _ in range(5):
        await account.works()
        account.clock.forward(seconds=mass.ASK_AFTER.total_seconds() + 1)
    assert len(account.wechat.calls("mass/get")) == 4
    assert await state(account, number) is BroadcastState.SENDING


async def test_a_refusal_that_comes_after_we_stopped_waiting_still_counts(account: Account) -> None:
    await account.people(4)
    account.wechat.rules.mass_finish = "never"
    number = await warn(account)
    await account.works()
    account.clock.forward(seconds=mass.REPORT_WITHIN.total_seconds() + 1)
    await account.works()
    (job,) = await account.mass_jobs()
    await account.pusher.event("mphelper", "MASSSENDJOBFINISH", {"MsgID": job.msg_id or "", "Status": "err(40002)"})
    await account.house.dispatcher.close()
    assert (await progress(account, number)).states == {DeliveryState.FAILED: 4}


# -- 42: quotas -------------------------------------------------------------------------------------------------------


async def test_the_fifth_warning_of_a_month_is_not_submitted_to_him(account: Account) -> None:
    people = await account.people(3)
    for _ in range(4):
        await warn(account)
        await account.works()
        await reported(account)
    assert len(account.wechat.calls(SEND)) == 4
    assert [(await account.address(openid)).mass_count for openid in people] == [4] * 3
    await account.hears("你好", people[0])
    await warn(account)
    await account.works()
    assert len(account.wechat.calls(SEND)) == 4, "the platform would drop it in silence"
    assert len(account.texts(people[0])) == 5, "who has written lately gets it as a reply"
    assert len([row for row in await account.rows(DeliveryState.QUEUED) if row.waits]) == 2


async def test_a_month_ends_at_midnight_in_china(account: Account) -> None:
    account.clock.now = datetime(2026, 11, 30, 15, 0, tzinfo=UTC)
    people = await account.people(3, mass_month="2026-11", mass_count=4)
    await warn(account)
    await account.works()
    assert account.wechat.calls(SEND) == []
    account.clock.now = datetime(2026, 11, 30, 16, 0, 1, tzinfo=UTC)
    await warn(account)
    await account.works()
    (call,) = account.wechat.calls(SEND)
    assert sorted(call.body["touser"]) == people
    assert [((row := await account.address(openid)).mass_month, row.mass_count) for openid in people] == [
        ("2026-12", 1)
    ] * 3


async def put_off_to_december(account: Account) -> int:
    """A warning of the last evening of November that the platform puts off to the next day, which has begun."""
    account.clock.now = datetime(2026, 11, 30, 15, 30, tzinfo=UTC)
    number = await warn(account, expires_at=account.clock.now + timedelta(days=2))
    account.wechat.fault(SEND, "errcode", 45028, times=1)
    await account.works()
    assert [job.month for job in await account.mass_jobs()] == ["2026-11"]
    account.clock.now = datetime(2026, 11, 30, 16, 0, 1, tzinfo=UTC)
    return number


async def test_what_slips_into_the_next_month_takes_that_months_quota(account: Account) -> None:
    people = await account.people(4, mass_month="2026-11", mass_count=2)
    number = await put_off_to_december(account)
    full = people[0]
    async with account.house.store.write() as session:  # other warnings of the new month were first
        row = await session.get_one(ResidentAddress, (await account.address(full)).id)
        row.mass_month, row.mass_count = "2026-12", 4
    await account.works()
    assert sorted(account.wechat.calls(SEND)[-1].body["touser"]) == people[1:]
    counts = [((row := await account.address(openid)).mass_month, row.mass_count) for openid in people]
    assert counts == [("2026-12", 4), *[("2026-12", 1)] * 3]
    assert (await progress(account, number)).waiting == 1, "he gets it as a reply, with his next message"
    (job,) = await account.mass_jobs()
    assert (job.size, job.month) == (3, "2026-12")


async def test_what_is_refused_in_the_next_month_gives_that_months_quota_back(account: Account) -> None:
    people = await account.people(3, mass_month="2026-11", mass_count=2)
    await put_off_to_december(account)
    account.wechat.fault(SEND, "errcode", 45067, times=1)
    await account.works()
    counts = [((row := await account.address(openid)).mass_month, row.mass_count) for openid in people]
    assert counts == [("2026-12", 0)] * 3


async def test_a_list_the_platform_may_have_stays_as_it_is_over_the_end_of_the_month(account: Account) -> None:
    people = await account.people(3)
    account.clock.now = datetime(2026, 11, 30, 15, 59, 30, tzinfo=UTC)
    await warn(account)
    account.wechat.fault(SEND, "close_after", times=1)
    await account.works()
    async with account.house.store.write() as session:
        row = await session.get_one(ResidentAddress, (await account.address(people[0])).id)
        row.mass_month, row.mass_count = "2026-12", 4
    account.clock.forward(seconds=61)
    await account.works()
    first, second = account.wechat.calls(SEND)
    assert (first.body["touser"], second.errcode) == (second.body["touser"], 45065)


async def test_two_warnings_at_once_are_not_both_the_fourth(account: Account) -> None:
    await account.people(3, mass_month="2026-11", mass_count=3)
    await warn(account)
    await warn(account)
    await account.works()
    assert len(account.wechat.calls(SEND)) == 1


@pytest.mark.parametrize(
    ("code", "seconds"),
    [(45028, 14 * 3600 + 1800), (45009, 14 * 3600 + 1800), (45011, 60), (89504, 1800), (89505, 1800)],
)
async def test_a_mass_call_the_platform_puts_off_comes_again_then_and_says_why(
    account: Account, code: int, seconds: int
) -> None:
    """It is half past nine in the morning in China."""
    await account.people(3)
    number = await warn(account, expires_at=account.clock.now + timedelta(days=2))
    account.wechat.fault(SEND, "errcode", code, times=1)
    await account.works()
    (job,) = await account.mass_jobs()
    assert (job.state, job.code) == (MassJobState.QUEUED, str(code))
    assert job.reason
    assert (await summary(account, number)).reasons == [job.reason]
    account.clock.forward(seconds=seconds - 1)
    await account.works()
    assert len(account.wechat.calls(SEND)) == 1
    account.clock.forward(seconds=2)
    await account.works()
    assert len(account.wechat.calls(SEND)) == 2
    assert (await account.mass_jobs())[0].state is MassJobState.SUBMITTED


@pytest.mark.parametrize("code", [40130, 40031, 45067, 44004])
async def test_a_mass_call_refused_for_good_is_not_repeated(account: Account, code: int) -> None:
    people = await account.people(3)
    number = await warn(account)
    account.wechat.fault(SEND, "errcode", code)
    await account.works()
    account.clock.forward(hours=1)
    await account.works()
    assert len(account.wechat.calls(SEND)) == 1
    found = await progress(account, number)
    assert found.states == {DeliveryState.FAILED: 3}
    assert await state(account, number) is BroadcastState.DONE
    assert (await account.address(people[0])).mass_count == 0


async def test_wrong_credentials_stop_mass_sending_too_and_lose_nothing(account: Account) -> None:
    await account.people(3)
    number = await warn(account)
    account.wechat.fault(SEND, "errcode", 48004, times=1)
    await account.works()
    account.clock.forward(minutes=1)
    await account.works()
    assert len(account.wechat.calls(SEND)) == 1
    account.clock.forward(minutes=5)
    await account.works()
    assert (await progress(account, number)).submitted == 3


# -- stopping ---------------------------------------------------------------------------------------------------------


async def stop(account: Account, number: int) -> None:
    async with account.house.store.write() as session:
        row = await access.access_broadcast(session, account.house.station.id, number, lock=True)
        await broadcasts.stop(session, row, why="文字有误", actor=Actor(account.house.station.id))


async def test_a_warning_stopped_before_its_calls_submits_nothing(account: Account) -> None:
    people = await account.people(3)
    number = await warn(account)
    account.wechat.fault(SEND, "errcode", 45011, times=1)
    await account.works()
    await stop(account, number)
    account.clock.forward(minutes=2)
    await account.works()
    assert len(account.wechat.calls(SEND)) == 1
    assert (await progress(account, number)).states == {DeliveryState.SKIPPED: 3}
    assert all(account.texts(openid) == [] for openid in people)


async def test_a_warning_stopped_while_nobody_knows_says_so(account: Account) -> None:
    """The platform may have it: nobody is told that it was stopped in time."""
    await account.people(3)
    number = await warn(account)
    account.wechat.fault(SEND, "close_after", times=1)
    await account.works()
    await stop(account, number)
    account.clock.forward(minutes=2)
    await account.works()
    found = await progress(account, number)
    assert found.states == {DeliveryState.FAILED: 3}
    assert found.reasons[0][0] == mass.UNKNOWN_REASON


async def test_a_reply_does_not_wait_for_a_mass_call(account: Account) -> None:
    """The mass call hangs; the officer's reply goes out all the same."""
    await account.people(3)
    await account.hears("楼上太吵了", "o-chat")
    ticket = await account.officer_takes("o-chat")
    await warn(account)
    go_on = account.wechat.hold(SEND)
    sending = asyncio.create_task(account.works())
    await until(lambda: bool(account.wechat.calls(SEND)))
    await account.officer_says(ticket, "马上到")
    await account.outbox.work()
    assert account.texts("o-chat") == ["马上到"]
    assert not sending.done()
    go_on.set()
    await sending


async def test_the_red_bar_goes_when_a_mass_message_went_though_nobody_writes(account: Account) -> None:
    await account.people(3)
    await warn(account)
    account.wechat.fault(SEND, "errcode", 48001, times=1)
    await account.works()
    assert [row.code for row in await account.house.all(select(ParkedChannel))] == ["48001"]
    account.clock.forward(seconds=PARKED_FOR.total_seconds() + 1)
    await account.works()
    assert [call.errcode for call in account.wechat.calls(SEND)] == [48001, 0]
    assert await account.house.all(select(ParkedChannel)) == []


async def test_who_refuses_warnings_when_the_list_is_out_is_shown_as_what_the_platform_did(account: Account) -> None:
    first, *_ = await account.people(3)
    await warn(account)
    await jobs.move_broadcasts(account.desk)
    async with account.house.store.write() as session:
        bundle = await mass.claim(session, account.house.station.id, now=account.clock.now)
    assert bundle is not None
    await account.hears("退订", first)
    async with account.house.store.write() as session:
        await mass.submitted(session, bundle.id, "100", now=account.clock.now)
    await account.works()
    assert {row.state for row in await account.rows(route=DeliveryRoute.MASS)} == {DeliveryState.SENT}

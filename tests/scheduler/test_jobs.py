"""The clock: what ticks how often, a job that fails, several processes on one list of rows."""

import asyncio
import logging
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger
from sqlalchemy import select, text, update

from bot import clock
from bot.actions import audit, deliveries
from bot.channels.base import Failure, SendError
from bot.security.logging import redact
from bot.store.models import ConsoleSession, Delivery, DeliveryState, LoginFailure, StoredMessage
from scheduler import jobs
from scheduler.outbox import AT_ONCE
from tests.support.station import FakeChannel, FrozenClock, House, text_message, until


async def promises(house: House, number: int, prefix: str = "o") -> None:
    """Answers that wait in the outbox, each for a resident of its own."""
    for n in range(number):
        await house.feed(text_message("身份证丢了怎么办", f"{prefix}-{n}"), wait_seconds=0)
    await house.dispatcher.close()


# -- the table --------------------------------------------------------------------------------------------------------


async def test_every_job_is_ticked_at_its_time(house: House) -> None:
    clockwork = jobs.Clockwork(house.desk)
    try:
        triggers = {job.id: job.trigger for job in clockwork.scheduler.get_jobs()}
        assert set(triggers) == {job.work.__name__ for job in jobs.JOBS}
        for job in jobs.JOBS:
            trigger = triggers[job.work.__name__]
            if job.every is not None:
                assert isinstance(trigger, IntervalTrigger)
                assert trigger.interval == job.every
            else:
                assert isinstance(trigger, CronTrigger)
                assert str(trigger.timezone) == "Asia/Shanghai"
        assert all(job.max_instances == 1 and job.coalesce for job in clockwork.scheduler.get_jobs())
        starts = [trigger.start_date for trigger in triggers.values() if isinstance(trigger, IntervalTrigger)]
        assert len({start.microsecond for start in starts}) == len(starts)  # never all at the database in one moment
    finally:
        await clockwork.stop()


async def test_messages_are_fetched_as_soon_as_the_program_starts(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came while it was stopped does not wait for the first interval."""

    class Fetching(FakeChannel):
        pulled = 0

        async def pull(self) -> None:
            self.pulled += 1

    channel = Fetching()
    monkeypatch.setattr(jobs, "JOBS", [job for job in jobs.JOBS if job.work is jobs.pull_messages])
    clock.set_source(None)
    clockwork = jobs.Clockwork(replace(house.desk, channels={"kf": channel, "other": FakeChannel("other")}))
    try:
        await until(lambda: channel.pulled == 1)
    finally:
        await clockwork.stop()


async def test_who_stops_waits_for_the_job_under_way(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job cut short still has to let go of the database, which is closed right after."""
    begun, ended = asyncio.Event(), False

    async def slow(desk: jobs.Desk) -> None:
        nonlocal ended
        begun.set()
        try:
            async with desk.store.write() as session:
                await session.execute(select(StoredMessage))
                await asyncio.Event().wait()
        finally:
            async with desk.store.read() as session:
                await session.execute(select(StoredMessage))
            ended = True

    monkeypatch.setattr(jobs, "JOBS", [jobs.Job(slow, every=timedelta(hours=1), first_at_once=True)])
    clock.set_source(None)
    clockwork = jobs.Clockwork(house.desk)
    await begun.wait()
    await clockwork.stop()
    assert ended


async def test_a_job_that_fails_is_logged_and_runs_again(house: House, caplog: pytest.LogCaptureFixture) -> None:
    ran = 0

    async def fails(_desk: jobs.Desk) -> None:
        nonlocal ran
        ran += 1
        raise OSError("the database went away")

    guarded = jobs._guarded(jobs.Job(fails, every=timedelta(seconds=1)), house.desk)
    await guarded()
    await guarded()
    assert ran == 2
    assert [record.message for record in caplog.records] == ["job failed"] * 2


async def test_all_jobs_have_nothing_to_do_in_a_new_station(any_house: House) -> None:
    for job in jobs.JOBS:
        await job.work(any_house.desk)
    assert any_house.channel.tried == 0


async def test_the_night_forgets_log_ins_that_are_over(house: House, frozen: FrozenClock) -> None:
    officer = await house.officer("zhang")
    async with house.store.write() as session:
        session.add(
            ConsoleSession(
                id="x",
                station_id=house.station.id,
                officer_id=officer.id,
                csrf="c",
                ip="",
                created_at=frozen.now,
                seen_at=frozen.now,
                expires_at=frozen.now + timedelta(hours=12),
            )
        )
        session.add(LoginFailure(station_id=house.station.id, username="x", ip="", at=frozen.now))
    await jobs.forget(house.desk)
    assert await house.count(ConsoleSession) == await house.count(LoginFailure) == 1
    frozen.forward(days=31)
    await jobs.forget(house.desk)
    assert await house.count(ConsoleSession) == await house.count(LoginFailure) == 0


async def test_the_end_of_the_audit_log_stands_in_the_programs_log(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await jobs.anchor_audit_log(house.desk)
    async with house.store.read() as session:
        end = await audit.newest(session, house.station.id)
    assert end is not None
    (line,) = [record for record in caplog.records if record.message == "end of the audit log"]
    assert (line.__dict__["seq"], line.__dict__["hash"].replace("-", "")) == (end.seq, end.hash)
    assert redact(line.__dict__["hash"]) == line.__dict__["hash"]


# -- the outbox -------------------------------------------------------------------------------------------------------


async def test_two_processes_share_the_rows_and_send_each_once(
    furnished_postgres_url: str, frozen: FrozenClock
) -> None:
    async with House.opened(furnished_postgres_url) as one, House.opened(furnished_postgres_url) as two:
        await promises(one, AT_ONCE + 40)  # more than one process takes at once
        claimed, both = Counter[str](), asyncio.Event()

        def slow(house: House, name: str) -> Any:
            async def before() -> None:
                claimed[name] += 1
                if len(claimed) == 2:
                    both.set()
                await both.wait()  # one takes 32 at most, and there are 60

            house.channel.before_taking = before

        slow(one, "one")
        slow(two, "two")
        await asyncio.gather(one.work(), two.work())
        sent = Counter(given.delivery_id for given in one.channel.given + two.channel.given)
        assert len(sent) == AT_ONCE + 40
        assert set(sent.values()) == {1}
        assert set(claimed) == {"one", "two"}, "both worked"


async def test_no_more_than_so_many_are_under_way_at_once(house: House) -> None:
    await promises(house, AT_ONCE + 8)
    go_on, under_way = asyncio.Event(), 0

    async def before() -> None:
        nonlocal under_way
        under_way += 1
        await go_on.wait()

    house.channel.before_taking = before
    working = asyncio.create_task(house.work())
    await until(lambda: under_way == AT_ONCE)
    for _ in range(20):
        await asyncio.sleep(0)
    assert under_way == AT_ONCE
    go_on.set()
    assert await working == AT_ONCE + 8


async def test_a_second_call_while_it_works_returns_at_once(house: House) -> None:
    await promises(house, 1)
    go_on = asyncio.Event()
    house.channel.before_taking = go_on.wait
    working = asyncio.create_task(house.work())
    await until(lambda: house.channel.tried == 1)
    assert await house.work() == 0
    go_on.set()
    assert await working == 1


async def test_closing_waits_for_what_is_under_way_and_begins_nothing_new(house: House) -> None:
    await promises(house, 1)
    go_on = asyncio.Event()
    house.channel.before_taking = go_on.wait
    working = asyncio.create_task(house.work())
    await until(lambda: house.channel.tried == 1)
    closing = asyncio.create_task(house.outbox.close())
    await promises(house, 1, "late")
    assert not closing.done()
    go_on.set()
    await asyncio.gather(working, closing)
    assert len(house.channel.given) == 1
    assert await house.work() == 0
    assert (await house.deliveries())[-1].state is DeliveryState.QUEUED


async def test_chat_goes_before_warnings_and_the_oldest_first(house: House) -> None:
    await promises(house, 4)
    async with house.store.write() as session:
        await session.execute(update(Delivery).where(Delivery.id <= 2).values(rank=10))
    house.outbox._store = house.store
    order: list[int] = []
    send = house.channel.send

    async def remember(address: str, reply: Any, *, delivery_id: int) -> Any:
        order.append(delivery_id)
        return await send(address, reply, delivery_id=delivery_id)

    house.channel.send = remember  # type: ignore[method-assign]
    await house.work()
    assert order == [3, 4, 1, 2]


async def test_the_end_of_a_sending_that_cannot_be_written_stops_nobody(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, frozen: FrozenClock
) -> None:
    await promises(house, 2)
    ends = 0

    async def away(*_arguments: Any) -> None:
        nonlocal ends
        ends += 1
        raise OSError("the database went away")

    with monkeypatch.context() as broken:
        broken.setattr(deliveries, "sent", away)
        await house.work()
    assert ends  # both in one transaction, which failed
    assert "end of a sending not written" in caplog.text
    frozen.forward(seconds=deliveries.LEASE.total_seconds() + 1)
    await house.work()
    assert {(row.state, row.reason) for row in await house.deliveries()} == {
        (DeliveryState.FAILED, deliveries.INTERRUPTED_REASON)
    }
    assert len(house.channel.given) == 2  # and not a third time


async def test_a_wait_the_platform_asked_for_is_kept(house: House, frozen: FrozenClock) -> None:
    await promises(house, 1)
    house.channel.script.append(SendError(Failure.RETRY, "45009", "太快", after=timedelta(minutes=30)))
    await house.work()
    frozen.forward(minutes=29)
    await house.work()
    assert house.channel.tried == 1
    frozen.forward(minutes=1)
    await house.work()
    assert len(house.channel.given) == 1


async def test_an_officer_may_send_a_failed_reply_again(house: House) -> None:
    await promises(house, 1)
    house.channel.script.append(SendError(Failure.REFUSED, "43004", "居民没有关注"))
    await house.work()
    async with house.store.write() as session:
        failed = (await session.execute(select(Delivery))).scalar_one()
        await deliveries.resend(session, failed)
    await house.work()
    first, second = await house.deliveries()
    assert (first.state, second.state) == (DeliveryState.FAILED, DeliveryState.SENT)
    assert first.message_id == second.message_id


async def test_one_process_claims_a_message_to_resume(furnished_postgres_url: str, frozen: FrozenClock) -> None:
    async with House.opened(furnished_postgres_url) as one, House.opened(furnished_postgres_url) as two:
        await promises(one, 10)
        async with one.store.write() as session:
            await session.execute(text("UPDATE messages SET state = 'received', retry_at = created_at"))
            await session.execute(text("DELETE FROM deliveries"))
        frozen.forward(seconds=1)
        resumed: list[int] = []

        async def remember(message_id: int) -> None:
            resumed.append(message_id)

        for house in (one, two):
            object.__setattr__(house.desk, "resume", remember)
        await asyncio.gather(jobs.resume_messages(one.desk), jobs.resume_messages(two.desk))
        everything = {row.id for row in await one.all(select(StoredMessage))}
        assert len(resumed) == len(set(resumed))
        assert set(resumed) <= everything
        assert len(resumed) == len(everything)

"""What the station promises whatever happens (DESIGN.md §7): one test or more for each promise, named after it."""

import asyncio
import io
import json
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestServer
from sqlalchemy import delete, select, text, update

import handlers
from bot.actions import (
    audit,
    broadcasts,
    deliveries,
    messages,
    parcels,
    recipients,
    residents,
    results,
    review,
    tickets,
    turns,
    waiting,
)
from bot.actions.audiences import Audience
from bot.actions.audit import Actor
from bot.actions.broadcasts import Draft
from bot.actions.errors import ActionError, Conflict, NotAllowed
from bot.adapters import StoredPictures, StoredTokens
from bot.channels.base import Failure, SendError
from bot.channels.official_account import OfficialAccount
from bot.config import ConfigError, OfficialAccountSettings, parse_config
from bot.dispatcher import APOLOGY
from bot.message import Reply
from bot.router import Answer, Context
from bot.security import logging as logs
from bot.store import access
from bot.store.engine import Store
from bot.store.models import (
    DELIVERY_ARROWS,
    AuditEvent,
    AuditHead,
    Base,
    Broadcast,
    BroadcastState,
    Delivery,
    DeliveryRoute,
    DeliveryState,
    MessageState,
    Priority,
    Resident,
    StoredMessage,
)
from bot.store.search import Criteria
from scheduler import jobs
from scheduler.outbox import PARKED_FOR
from tests.fakes.wechat.pusher import AES_KEY, APP_ID, TOKEN, Pusher
from tests.support.child import ANSWERING, COMMITTED, HANDLING, KILLED_QUESTION, killed_while
from tests.support.station import (
    CHANNEL,
    OTHER_NAME,
    SOON_SECONDS,
    WANG,
    FrozenClock,
    House,
    somebody_waits,
    text_message,
    until,
)

QUESTION, TITLE = "身份证丢了怎么办", "身份证丢了补办"
OPENID = "o9AgO5Kd5ggOC-bXrbNODIiE3bGY"


# -- 1. No callback without a valid signature stores anything; no secret, no start ------------------------------------


@asynccontextmanager
async def callback(house: House) -> AsyncIterator[str]:
    """The address WeChat calls, served in front of the house."""
    settings = OfficialAccountSettings.model_validate(
        {
            "kind": "official_account",
            "name": CHANNEL,
            "app_id": APP_ID,
            "secret": "made-up",
            "token": TOKEN,
            "encoding_aes_key": AES_KEY,
        }
    )
    channel = OfficialAccount(
        settings,
        feed=house.dispatcher.feed,
        tokens=StoredTokens(house.store, house.station.id),
        pictures=StoredPictures(house.store, house.station.id),
    )
    app = web.Application()
    app.add_routes(channel.routes())
    async with TestServer(app) as server:
        yield str(server.make_url(f"/callback/{CHANNEL}"))
    await channel.close()


async def test_1_a_callback_that_wechat_did_not_sign_stores_nothing(any_house: House) -> None:
    async with callback(any_house) as url, Pusher(url) as pusher:
        for corruption in ("msg_signature", "no_msg_signature", "stripped", "other_key", "other_app"):
            forged = await pusher.text(OPENID, QUESTION, corrupt=corruption)
            assert forged.status == 403, corruption
        assert await any_house.heard() == []
        assert await any_house.count(Resident) == 0

        real = await pusher.text(OPENID, QUESTION)
        assert TITLE in real.text
        assert len(await any_house.heard()) == 1


@pytest.mark.parametrize("missing", ["DATA_KEY", "WECHAT_SECRET", "WECHAT_TOKEN", "WECHAT_AES_KEY"])
@pytest.mark.parametrize("how", ["not set", "empty"])
def test_1_without_a_secret_nothing_starts(missing: str, how: str) -> None:
    account = {
        "kind": "official_account", "name": "fenglin", "app_id": "wx1", "secret": "${WECHAT_SECRET}",
        "token": "${WECHAT_TOKEN}", "encoding_aes_key": "${WECHAT_AES_KEY}",
    }  # fmt: skip
    raw = {"station": {"name": "枫林"}, "security": {"data_key": "${DATA_KEY}"}, "channels": [account]}
    environment = {"DATA_KEY": "k", "WECHAT_SECRET": "s", "WECHAT_TOKEN": TOKEN, "WECHAT_AES_KEY": AES_KEY}
    parse_config(raw, environment)
    environment = {**environment, missing: ""} if how == "empty" else {
        name: value for name, value in environment.items() if name != missing
    }  # fmt: skip
    with pytest.raises(ConfigError, match=missing):
        parse_config(raw, environment)


@pytest.mark.parametrize("place", ["data_key", "secret", "token", "encoding_aes_key"])
def test_1_a_secret_written_down_as_nothing_is_missing_too(place: str) -> None:
    account = {
        "kind": "official_account", "name": "fenglin", "app_id": "wx1", "secret": "s", "token": TOKEN,
        "encoding_aes_key": AES_KEY,
    }  # fmt: skip
    security = {"data_key": "k"}
    (security if place == "data_key" else account)[place] = ""
    with pytest.raises(ConfigError, match=place):
        parse_config({"station": {"name": "枫林"}, "security": security, "channels": [account]}, {})


# -- 2. The same platform message three times: one Message, one handling, one reply -----------------------------------


class Counting:
    """Routes as the program does and counts how often."""

    def __init__(self) -> None:
        self.handled: Counter[str] = Counter()

    async def __call__(self, context: Context) -> Answer:
        self.handled[context.message.platform_id] += 1
        return await handlers.answer(context)


async def test_2_a_message_delivered_three_times_is_answered_once(furnished_url: str, frozen: FrozenClock) -> None:
    counting = Counting()
    async with House.opened(furnished_url, route=counting) as house:
        again = text_message(QUESTION, platform_id="same")
        first, second, third = [await house.hear(again) for _ in range(3)]
        assert first is not None
        assert TITLE in first
        assert second == third == first  # whichever response the platform shows, it is the one reply
        await house.dispatcher.close()
        frozen.forward(minutes=5)
        await house.work()

        assert counting.handled == {"same": 1}
        assert len(await house.heard()) == 1
        assert len(await house.said()) == 1
        (delivery,) = await house.deliveries()
        assert delivery.state is DeliveryState.SENT
        assert house.channel.given == []


async def test_2_also_when_all_three_come_at_once_into_two_processes(furnished_url: str, frozen: FrozenClock) -> None:
    counting = Counting()
    async with House.opened(furnished_url, route=counting) as one, House.opened(furnished_url, route=counting) as two:
        again = [text_message(QUESTION, f"o-{n % 4}", platform_id=f"same-{n % 4}") for n in range(12)]
        fed = [one.feed(message) if n % 2 else two.feed(message) for n, message in enumerate(again)]
        answers = await asyncio.gather(*fed)
        for ready in answers:
            if ready is not None:
                ready.confirm()
        assert len({ready.delivery_id for ready in answers if ready}) == 4
        await asyncio.gather(one.dispatcher.close(), two.dispatcher.close())
        frozen.forward(minutes=5)
        await asyncio.gather(one.work(), two.work())

        assert counting.handled == {f"same-{n}": 1 for n in range(4)}
        assert len(await one.heard()) == len(await one.said()) == len(await one.deliveries()) == 4
        assert one.channel.given == two.channel.given == []


async def test_2_two_messages_of_one_sender_in_one_batch_are_two(any_house: House) -> None:
    await asyncio.gather(*(any_house.hear(text_message(QUESTION, platform_id=f"n{n}")) for n in (1, 2, 1, 2)))
    assert [row.platform_id for row in await any_house.heard()] == ["n1", "n2"]
    assert len(await any_house.said()) == 2


async def test_2_two_processes_storing_the_same_messages_in_opposite_order_do_not_lock_each_other_out(
    furnished_postgres_url: str, frozen: FrozenClock
) -> None:
    async with House.opened(furnished_postgres_url) as one, House.opened(furnished_postgres_url) as two:
        for turn in range(5):
            batch = [text_message(QUESTION, f"o-{n}", platform_id=f"{turn}-{n}") for n in range(40)]
            await asyncio.gather(
                *(one.feed(message, wait_seconds=0) for message in batch),
                *(two.feed(message, wait_seconds=0) for message in reversed(batch)),
            )
        await asyncio.gather(one.dispatcher.close(), two.dispatcher.close())
        assert len(await one.heard()) == 200
        assert {row.state for row in await one.heard()} == {MessageState.HANDLED}
        assert APOLOGY.text not in await one.said()


async def test_2_storing_never_waits_in_a_circle(furnished_postgres_url: str, frozen: FrozenClock) -> None:
    first, second = text_message(QUESTION, "o-1"), text_message(QUESTION, "o-2")
    async with House.opened(furnished_postgres_url) as house:
        station_id = house.station.id

        async def other_process() -> list[bool]:
            async with house.store.write() as session:
                stored = await messages.store(session, station_id, [second, first], now=frozen.now)
                return [row.fresh for row in stored]

        async with house.store.write() as session:
            await messages.store(session, station_id, [first], now=frozen.now)
            other = asyncio.create_task(other_process())
            await somebody_waits(house)
            await messages.store(session, station_id, [second], now=frozen.now)
        assert await other == [False, False]
        assert len(await house.heard()) == 2


async def test_2_a_slow_handling_and_its_resumption_elsewhere_answer_once(
    furnished_url: str, frozen: FrozenClock
) -> None:
    go_on, counting = asyncio.Event(), Counting()

    async def slow(context: Context) -> Answer:
        await go_on.wait()
        return await counting(context)

    async with House.opened(furnished_url, route=slow) as one, House.opened(furnished_url, route=counting) as two:
        waiting = asyncio.create_task(one.feed(text_message(QUESTION), wait_seconds=0))
        await waiting
        frozen.forward(seconds=31)  # its lease is over: another process takes the message up
        await jobs.resume_messages(two.desk)
        go_on.set()
        await one.dispatcher.close()
        assert len(await one.said()) == 1
        await asyncio.gather(one.work(), two.work())
        assert len(one.channel.given + two.channel.given) == 1


# -- 3. A message whose handling crashed is still there and is handled after the restart ------------------------------


class Failing:
    """Fails the first `times`, then answers."""

    def __init__(self, times: int) -> None:
        self.left = times

    async def __call__(self, context: Context) -> Answer:
        if self.left:
            self.left -= 1
            raise RuntimeError("made to fail")
        return await handlers.answer(context)


async def test_3_a_message_that_failed_is_answered_later_with_one_apology(
    furnished_url: str, frozen: FrozenClock
) -> None:
    async with House.opened(furnished_url, route=Failing(3)) as house:
        assert await house.hear(QUESTION) == APOLOGY.text
        for pause in turns.RETRY_AFTER:
            await jobs.resume_messages(house.desk)  # too early: nothing
            frozen.forward(seconds=pause.total_seconds() + 1)
            await jobs.resume_messages(house.desk)
        await house.dispatcher.close()
        await house.work()
        apology, answer = await house.said()
        assert apology == APOLOGY.text
        assert TITLE in answer
        assert house.channel.texts == [answer]
        (message,) = await house.heard()
        assert message.state is MessageState.HANDLED
        assert await house.tickets() == []


async def test_3_after_the_last_try_an_officer_has_a_ticket(furnished_url: str, frozen: FrozenClock) -> None:
    async with House.opened(furnished_url, route=Failing(99)) as house:
        assert await house.hear(QUESTION) == APOLOGY.text
        for pause in (*turns.RETRY_AFTER, turns.RETRY_AFTER[-1]):
            frozen.forward(seconds=pause.total_seconds() + 1)
            await jobs.resume_messages(house.desk)
        (message,) = await house.heard()
        assert (message.state, message.retry_at) == (MessageState.FAILED, None)
        (ticket,) = await house.tickets()
        assert ticket.priority is Priority.HIGH
        assert ticket.first_message_id == message.id
        assert ticket.conversation_id == message.conversation_id
        assert await house.said() == [APOLOGY.text]


async def test_3_a_failure_while_saying_sorry_still_leaves_the_message(house: House, frozen: FrozenClock) -> None:
    async def fails(_context: Context) -> Answer:
        raise RuntimeError("made to fail")

    async def cannot_give_up(_turn: Any) -> None:
        raise OSError("the database went away")

    house.dispatcher._route, house.dispatcher._give_up = fails, cannot_give_up
    await house.hear(QUESTION)
    async with house.store.write() as session:
        await session.execute(update(StoredMessage).values(attempts=3, retry_at=frozen.now))
    frozen.forward(seconds=1)
    await jobs.resume_messages(house.desk)  # does not raise: the others in the list must have their turn
    (message,) = await house.heard()
    assert message.state is MessageState.RECEIVED


# -- 3 and 5. The process is killed ---------------------------------------------------------------------------------


async def test_3_and_5_a_process_killed_amid_three_turns_loses_nothing_and_says_nothing_twice(
    furnished_url: str, frozen: FrozenClock
) -> None:
    async with killed_while("talking", furnished_url), House.opened(furnished_url) as house:
        committed, answering = await house.deliveries()
        assert (committed.state, committed.route) == (DeliveryState.QUEUED, DeliveryRoute.OUTBOX)
        assert (answering.state, answering.route) == (DeliveryState.SENDING, DeliveryRoute.RESPONSE)

        # At once: what was committed for the outbox goes out. The other two might still be alive.
        await house.work()
        await jobs.resume_messages(house.desk)
        assert [given.address for given in house.channel.given] == [COMMITTED]

        # The platform repeats both messages: the same answer from its row, and nothing for the undecided one.
        repeated = await house.feed(text_message(KILLED_QUESTION, ANSWERING, platform_id="killed"))
        assert repeated is not None
        assert (TITLE in repeated.reply.text, repeated.delivery_id) == (True, answering.id)
        assert await house.feed(text_message(KILLED_QUESTION, HANDLING, platform_id="killed")) is None

        for _ in range(3):  # leases end; nothing is done a second time however often the clock ticks
            frozen.forward(seconds=31)
            await jobs.resume_messages(house.desk)
            await house.work()
        assert Counter(given.address for given in house.channel.given) == {COMMITTED: 1, ANSWERING: 1, HANDLING: 1}
        assert all(TITLE in said for said in house.channel.texts)
        assert {row.state for row in await house.heard()} == {MessageState.HANDLED}
        assert {row.state for row in await house.deliveries()} == {DeliveryState.SENT}
        assert (len(await house.heard()), len(await house.said())) == (3, 3)


async def test_5_a_sender_killed_in_the_middle_never_sends_twice(furnished_url: str, frozen: FrozenClock) -> None:
    async with House.opened(furnished_url) as house:
        await house.feed(text_message(QUESTION), wait_seconds=0)
        await house.dispatcher.close()
        async with killed_while("sending", furnished_url):
            await house.work()
            assert house.channel.tried == 0  # claimed by the dead process until its lease is over
            frozen.forward(seconds=deliveries.LEASE.total_seconds() + 1)
            await house.work()
            frozen.forward(hours=1)
            await house.work()
        (delivery,) = await house.deliveries()
        assert (delivery.state, delivery.code) == (DeliveryState.FAILED, deliveries.UNKNOWN_CODE)
        assert delivery.reason == deliveries.INTERRUPTED_REASON
        assert delivery.finished_at is not None
        assert house.channel.tried == 0


# -- 4. While an officer owns a conversation the bot says nothing but what is urgent ----------------------------------


async def test_4_the_bot_is_silent_while_an_officer_holds_the_conversation(any_house: House) -> None:
    house = any_house
    await house.hear("找民警")
    ticket = await house.take("zhang")
    for said in (QUESTION, "登记", "你好", "身份证", "家里停水了", "菜单", "没听懂的话", "谢谢"):
        assert await house.hear(said) is None, said
    urgent = await house.hear("骗子让我正在转账")
    assert urgent is not None
    assert "正在转账给骗子" in urgent
    assert (await house.tickets())[0].priority is Priority.URGENT

    await house.close_ticket("zhang", ticket, farewell="已处理完毕。")
    answer = await house.hear(QUESTION)
    assert answer is not None
    assert TITLE in answer


async def test_4_an_officer_who_takes_over_while_the_bot_decides_is_not_talked_over(
    furnished_url: str, frozen: FrozenClock
) -> None:
    """Both ways of writing an answer: one that only says something, and one that does something."""
    deciding, go_on = asyncio.Event(), asyncio.Event()
    seen: list[int | None] = []

    async def slow(context: Context) -> Answer:
        answer = await handlers.answer(context)
        seen.append(context.conversation.owner_id)
        deciding.set()
        await go_on.wait()
        return answer

    async with House.opened(furnished_url, route=slow) as house:
        for question in (QUESTION, "楼上太吵了"):
            deciding.clear()
            go_on.clear()
            seen.clear()
            sender = f"o-{question}"
            turn = asyncio.create_task(house.feed(text_message(question, sender)))
            await deciding.wait()
            ticket = await house.take("zhang", sender)
            go_on.set()
            assert await turn is None
            officer = await house.officer("zhang")
            assert seen == [None, officer.id]  # decided a second time, as the officer's conversation
            assert (await house.heard())[-1].decision == "held"
            await house.close_ticket("zhang", ticket)
        assert await house.said() == []


async def test_4_an_officer_who_leaves_while_the_bot_decides_leaves_no_silence(
    furnished_url: str, frozen: FrozenClock
) -> None:
    deciding, go_on = asyncio.Event(), asyncio.Event()

    async def slow(context: Context) -> Answer:
        answer = await handlers.answer(context)
        deciding.set()
        await go_on.wait()
        return answer

    async with House.opened(furnished_url, route=slow) as house:
        ticket = await house.take("zhang")
        turn = asyncio.create_task(house.feed(text_message(QUESTION)))
        await deciding.wait()
        await house.close_ticket("zhang", ticket)
        go_on.set()
        ready = await turn
        assert ready is not None
        assert TITLE in ready.reply.text


async def test_4_a_failure_during_an_officers_conversation_makes_no_apology(
    furnished_url: str, frozen: FrozenClock
) -> None:
    async with House.opened(furnished_url, route=Failing(1)) as house:
        await house.take("zhang")
        assert await house.hear("我还有一个问题") is None
        assert await house.said() == []
        frozen.forward(seconds=31)
        await jobs.resume_messages(house.desk)
        (message,) = await house.heard()
        assert (message.state, message.decision) == (MessageState.HANDLED, "held")


# -- 5. Every delivery ends as sent, delivered, failed with a reason, or skipped with a reason ------------------------


async def promise(house: House, said: str = QUESTION, sender: str = WANG) -> int:
    """An answer waits in the outbox; its delivery's number."""
    await house.feed(text_message(said, sender), wait_seconds=0)
    await house.dispatcher.close()
    return (await house.deliveries())[-1].id


FAILURES = {
    Failure.RETRY: (DeliveryState.QUEUED, "平台说不行"),
    Failure.LATER: (DeliveryState.QUEUED, waiting.WAITS_REASON),
    Failure.REFUSED: (DeliveryState.FAILED, "平台说不行"),
    Failure.UNKNOWN: (DeliveryState.FAILED, "平台说不行"),
    Failure.CHANNEL_DOWN: (DeliveryState.QUEUED, "平台说不行"),
}


async def test_5_each_way_of_failing_is_written_down(any_house: House) -> None:
    assert set(FAILURES) == set(Failure)
    for number, (failure, (state, reason)) in enumerate(FAILURES.items(), 1):
        await promise(any_house, sender=f"o-{failure}")
        any_house.channel.script.append(SendError(failure, "45015", "平台说不行"))
        await any_house.work()
        delivery = (await any_house.deliveries())[-1]
        assert (delivery.state, delivery.reason, delivery.code) == (state, reason, "45015")
        assert any_house.channel.tried == number  # and not again at once


async def test_5_a_failure_nobody_foresaw_counts_as_perhaps_sent(house: House, frozen: FrozenClock) -> None:
    await promise(house)
    house.channel.script.append(ValueError("a bug in the channel"))
    await house.work()
    frozen.forward(hours=1)
    await house.work()
    (delivery,) = await house.deliveries()
    assert (delivery.state, delivery.reason) == (DeliveryState.FAILED, deliveries.UNKNOWN_REASON)
    assert house.channel.tried == 1


async def test_5_a_retry_waits_longer_each_time_and_ends(house: House, frozen: FrozenClock) -> None:
    await promise(house)
    house.channel.script.extend(SendError(Failure.RETRY, "-1", "平台繁忙") for _ in range(9))
    for pause in deliveries.BACKOFF:
        tried = house.channel.tried
        await house.work()
        assert house.channel.tried == tried + 1
        frozen.forward(seconds=pause.total_seconds() - 1)
        await house.work()
        assert house.channel.tried == tried + 1
        frozen.forward(seconds=1)
    await house.work()
    (delivery,) = await house.deliveries()
    assert delivery.state is DeliveryState.FAILED
    assert delivery.reason == "多次重试仍未成功：平台繁忙"
    assert house.channel.tried == len(deliveries.BACKOFF) + 1


async def test_5_a_reply_held_back_leaves_with_the_residents_next_message(house: House, frozen: FrozenClock) -> None:
    await promise(house)
    house.channel.script.append(SendError(Failure.LATER, "45015", "回复时间已过"))
    await house.work()
    frozen.forward(hours=5)
    await house.work()
    assert house.channel.tried == 1
    await house.hear("你好")
    await house.work()
    assert TITLE in house.channel.texts[0]


async def test_5_a_reply_held_back_for_a_week_is_given_up(house: House, frozen: FrozenClock) -> None:
    await promise(house)
    house.channel.script.extend(SendError(Failure.LATER, "45015", "回复时间已过") for _ in range(5))
    for _ in range(4):
        await house.work()
        frozen.forward(days=7, seconds=1)
    (delivery,) = await house.deliveries()
    assert (delivery.state, delivery.reason) == (DeliveryState.FAILED, "回复时间已过")
    assert delivery.finished_at is not None


async def test_5_a_channel_that_is_down_is_left_alone_and_loses_nothing(house: House, frozen: FrozenClock) -> None:
    for n in range(3):
        await promise(house, sender=f"o-{n}")
    house.channel.script.append(SendError(Failure.CHANNEL_DOWN, "40001", "密钥不对，请管理员检查"))
    await house.work()
    assert CHANNEL in house.outbox.parked
    tried = house.channel.tried
    for _ in range(20):  # far more often than the retries an ordinary failure has
        frozen.forward(seconds=10)
        await house.work()
    assert house.channel.tried == tried
    frozen.forward(seconds=PARKED_FOR.total_seconds())
    await house.work()
    assert len(house.channel.given) == 3
    assert {delivery.state for delivery in await house.deliveries()} == {DeliveryState.SENT}


async def test_5_what_has_no_channel_any_more_fails_with_a_reason(house: House) -> None:
    await promise(house)
    async with house.store.write() as session:
        await session.execute(update(Delivery).values(channel="gone"))
    await house.work()
    (delivery,) = await house.deliveries()
    assert delivery.state is DeliveryState.FAILED
    assert "gone" in str(delivery.reason)


async def test_5_one_end_that_cannot_be_written_does_not_take_others_with_it(
    furnished_postgres_url: str, frozen: FrozenClock
) -> None:
    """A platform's number longer than its column made every delivery of that moment look interrupted."""
    async with House.opened(furnished_postgres_url) as house:
        for n in range(3):
            await promise(house, sender=f"o-{n}")
        send = house.channel.send

        async def long_number(address: str, reply: Reply, *, delivery_id: int) -> Any:
            sent = await send(address, reply, delivery_id=delivery_id)
            return type(sent)("9" * 300) if address == "o-1" else sent

        house.channel.send = long_number  # type: ignore[method-assign]
        await house.work()
        assert {delivery.state for delivery in await house.deliveries()} == {DeliveryState.SENT}


async def test_5_an_end_the_database_refuses_does_not_take_others_with_it(
    furnished_postgres_url: str, frozen: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sent = deliveries.sent

    async def refused_for_one(session: Any, taken: Sequence[parcels.Taken]) -> None:
        await write_sent(session, taken)
        if any(one.parcel.id == 2 for one in taken):
            await session.execute(update(Delivery).where(Delivery.id == 2).values(code="9" * 300))

    async with House.opened(furnished_postgres_url) as house:
        for n in range(3):
            await promise(house, sender=f"o-{n}")
        monkeypatch.setattr(deliveries, "sent", refused_for_one)
        await house.work()
        states = [delivery.state for delivery in await house.deliveries()]
        assert states == [DeliveryState.SENT, DeliveryState.SENDING, DeliveryState.SENT]


async def test_5_what_is_said_to_one_resident_arrives_in_its_order(furnished_url: str, frozen: FrozenClock) -> None:
    """Two processes send at once: no later message of a resident overtakes an earlier one."""
    async with House.opened(furnished_url) as one, House.opened(furnished_url) as two:
        for n in range(5):
            await promise(one, QUESTION if n % 2 else "身份证到期换领", sender="o-1")
            await promise(one, QUESTION, sender="o-2")
        order: list[int] = []
        under_way, most = Counter[str](), Counter[str]()

        def remember(house: House) -> Callable[..., Awaitable[Any]]:
            send = house.channel.send

            async def slow(address: str, reply: Reply, *, delivery_id: int) -> Any:
                under_way[address] += 1
                most[address] = max(most[address], under_way[address])
                await asyncio.sleep(0.002 if address == "o-1" else 0.02)
                order.append(delivery_id)
                under_way[address] -= 1
                return await send(address, reply, delivery_id=delivery_id)

            return slow

        for house in (one, two):
            house.channel.send = remember(house)  # type: ignore[method-assign, assignment]
        while len(order) < 10:
            await asyncio.gather(one.work(), two.work())
        by_address = {row.id: row.address_id for row in await one.deliveries()}
        for address in set(by_address.values()):
            own = [number for number in order if by_address[number] == address]
            assert own == sorted(own)
        assert set(most.values()) == {1}  # the next one only when the one before has its end


async def test_5_a_chatty_resident_does_not_hold_up_the_others(house: House) -> None:
    for _ in range(40):
        await promise(house, sender="o-chatty")
    await promise(house, sender="o-quiet")
    stuck, waiting = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        waiting.set()
        if not house.channel.given:
            await stuck.wait()

    house.channel.before_taking = slow
    send = house.channel.send

    async def only_chatty_waits(address: str, reply: Reply, *, delivery_id: int) -> Any:
        house.channel.before_taking = slow if address == "o-chatty" else None
        return await send(address, reply, delivery_id=delivery_id)

    house.channel.send = only_chatty_waits  # type: ignore[method-assign]
    working = asyncio.create_task(house.work())
    await until(lambda: any(given.address == "o-quiet" for given in house.channel.given))
    stuck.set()
    await working
    assert len(house.channel.given) == 41


def test_5_a_delivery_that_ended_stays_ended() -> None:
    ends = {DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.SKIPPED}
    assert {state for state, arrows in DELIVERY_ARROWS.items() if not arrows} == ends
    assert set(DELIVERY_ARROWS) == set(DeliveryState)


# -- 6. A broadcast reaches each recipient at most once, and each recipient has a row ---------------------------------


async def warn(house: House, *, audience: Audience | None = None, **draft: Any) -> int:
    """A warning written by 张伟 and approved by the chief; its number."""
    author, chief = await house.officer("zhang"), await house.officer("suo")
    wanted = Draft(title="防范冒充公检法", body="民警不会让您转账。", audience=audience or Audience(), **draft)
    async with house.store.write() as session:
        broadcast = await broadcasts.create(session, author, wanted, actor=Actor(house.station.id, author.id))
        await broadcasts.submit(session, broadcast, actor=Actor(house.station.id, author.id))
        number = broadcast.id
    async with house.store.write() as session:
        broadcast = await access.access_broadcast(session, house.station.id, number, lock=True)
        seal = broadcasts.seal_of(broadcast)
        await broadcasts.approve(session, broadcast, chief, seal=seal, actor=Actor(house.station.id, chief.id))
    return number


async def broadcast_row(house: House, number: int) -> Broadcast:
    row: Broadcast = await house.one(select(Broadcast).where(Broadcast.id == number))
    return row


async def run_broadcasts(*houses: House) -> None:
    """As the clock would: all processes at once, until nothing is left."""
    for _ in range(4):
        await asyncio.gather(*(jobs.move_broadcasts(house.desk) for house in houses))
        await asyncio.gather(*(jobs.send_deliveries(house.desk) for house in houses))


async def test_6_two_processes_send_one_warning_to_everybody_once(
    furnished_url: str, frozen: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipients, "CHUNK_RESIDENTS", 7)
    async with House.opened(furnished_url) as one, House.opened(furnished_url) as two:
        for n in range(40):
            await one.add_resident(f"o-{n}")
        without_channel = await one.add_resident(None)
        number = await warn(one)
        await run_broadcasts(one, two)

        given = Counter(given.address for given in one.channel.given + two.channel.given)
        assert given == {f"o-{n}": 1 for n in range(40)}
        rows = await one.deliveries()
        assert Counter(row.state for row in rows) == {DeliveryState.SENT: 40, DeliveryState.SKIPPED: 1}
        (skipped,) = [row for row in rows if row.state is DeliveryState.SKIPPED]
        assert skipped.resident_id == without_channel
        assert skipped.reason
        assert (await broadcast_row(one, number)).state is BroadcastState.DONE


async def test_6_a_process_killed_while_writing_the_rows_leaves_nobody_out_and_nobody_twice(
    furnished_url: str, frozen: FrozenClock
) -> None:
    async with House.opened(furnished_url) as house:
        everybody = {await house.add_resident(f"o-{n}") for n in range(10)}
        number = await warn(house)
        async with killed_while("expanding", furnished_url):
            half = await house.deliveries()
            assert len(half) == 3  # the first chunk; the second died with its transaction
            await run_broadcasts(house)
        rows = await house.deliveries()
        assert Counter(row.resident_id for row in rows) == dict.fromkeys(everybody, 1)
        assert {row.state for row in rows} == {DeliveryState.SENT}
        assert Counter(given.address for given in house.channel.given) == {f"o-{n}": 1 for n in range(10)}
        assert (await broadcast_row(house, number)).state is BroadcastState.DONE


async def test_6_a_warning_stopped_midway_sends_nothing_more(house: House) -> None:
    for n in range(6):
        await house.add_resident(f"o-{n}")
    number = await warn(house)
    house.outbox._closing = True  # nobody sends yet
    await jobs.move_broadcasts(house.desk)
    house.outbox._closing = False
    async with house.store.write() as session:
        broadcast = await access.access_broadcast(session, house.station.id, number, lock=True)
        assert await broadcasts.stop(session, broadcast, why="内容有误", actor=Actor(house.station.id)) == 6
    await run_broadcasts(house)
    assert house.channel.given == []
    rows = await house.deliveries()
    assert {(row.state, row.reason) for row in rows} == {(DeliveryState.SKIPPED, "已由民警停止发送")}


async def half_expanded(house: House, monkeypatch: pytest.MonkeyPatch, **draft: Any) -> int:
    """A warning for ten residents, of whom the first three have a row; its number."""
    for n in range(9):
        await house.add_resident(f"o-{n}")
    await house.add_resident(None)
    number = await warn(house, **draft)
    monkeypatch.setattr(recipients, "CHUNK_RESIDENTS", 3)
    async with house.store.write() as session:
        for broadcast in await broadcasts.claim_due(session, house.station.id):
            await broadcasts.start(session, broadcast)
            assert await recipients.expand(session, broadcast, {})
    return number


async def stop_warning(house: House, number: int) -> int:
    async with house.store.write() as session:
        broadcast = await access.access_broadcast(session, house.station.id, number, lock=True)
        return await broadcasts.stop(session, broadcast, why="内容有误", actor=Actor(house.station.id))


@pytest.mark.parametrize("end", ["stopped", "expired"])
async def test_6_a_warning_cut_short_in_its_expansion_leaves_a_row_for_each_recipient(
    any_house: House, frozen: FrozenClock, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    house = any_house
    monkeypatch.setattr(recipients, "CHUNK_SKIPPED", 4)
    number = await half_expanded(house, monkeypatch, expires_at=frozen.now.replace(hour=2))
    if end == "stopped":
        assert await stop_warning(house, number) == 3
    else:
        async with house.store.write() as session:
            frozen.forward(hours=1)
            broadcast = await access.access_broadcast(session, house.station.id, number, lock=True)
            assert await broadcasts.finish_if_ended(session, broadcast)
    frozen.forward(minutes=1)
    await house.add_resident("o-came-later")
    await run_broadcasts(house)
    assert house.channel.given == []
    rows = await house.deliveries()
    assert sorted(row.resident_id for row in rows) == list(range(1, 11))
    assert {row.state for row in rows} == {DeliveryState.SKIPPED}
    assert len({row.reason for row in rows}) == 1
    assert rows[0].reason
    assert (await broadcast_row(house, number)).expanded
    async with house.store.read() as session:
        progress = await results.progress(session, number)
    assert (progress.total, progress.ended) == (10, 10)


@pytest.mark.slow
async def test_6_a_process_killed_while_skipping_leaves_nobody_without_a_row(
    furnished_url: str, frozen: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with House.opened(furnished_url) as house:
        number = await half_expanded(house, monkeypatch)
        await stop_warning(house, number)
        async with killed_while("skipping", furnished_url):
            assert len(await house.deliveries()) == 6  # the second chunk died with its transaction
            await run_broadcasts(house)
        assert sorted(row.resident_id for row in await house.deliveries()) == list(range(1, 11))
        assert (await broadcast_row(house, number)).expanded


async def test_6_a_warning_changed_after_it_was_stopped_holds_nobody_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await half_expanded(house, monkeypatch)
    await stop_warning(house, number)
    async with house.store.write() as session:
        await session.execute(update(Broadcast).where(Broadcast.id == number).values(audience={"nonsense": 1}))
    await run_broadcasts(house)
    assert (await broadcast_row(house, number)).expanded
    assert len(await house.deliveries()) == 3


async def test_6_a_stale_warning_is_not_sent(house: House, frozen: FrozenClock) -> None:
    await house.add_resident("o-1")
    await warn(house, expires_at=frozen.now.replace(hour=2))
    house.outbox._closing = True
    await jobs.move_broadcasts(house.desk)
    house.outbox._closing = False
    frozen.forward(hours=1)
    await jobs.send_deliveries(house.desk)  # before anybody ended the warning
    await run_broadcasts(house)
    assert house.channel.given == []
    (row,) = await house.deliveries()
    assert row.state is DeliveryState.SKIPPED
    assert row.reason


async def test_6_a_second_warning_need_not_wait_for_the_first(house: House) -> None:
    """The first one's sending took hours, and nothing else could start or expire meanwhile."""
    await house.add_resident("o-1")
    await warn(house)
    stuck = asyncio.Event()
    house.channel.before_taking = stuck.wait
    sending = asyncio.create_task(run_broadcasts(house))
    await until(lambda: house.channel.tried == 1)
    second = await warn(house)
    await asyncio.wait_for(jobs.move_broadcasts(house.desk), SOON_SECONDS)
    assert (await broadcast_row(house, second)).state is BroadcastState.SENDING
    stuck.set()
    await sending


# -- 7. What was approved is what is sent -----------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["title", "body", "audience"])
@pytest.mark.parametrize("when", ["approved", "sending"])
async def test_7_a_row_changed_behind_the_approval_is_not_sent(any_house: House, change: str, when: str) -> None:
    house = any_house
    await house.add_resident("o-1")
    number = await warn(house, audience=Audience(age_from=0, age_to=120))
    if when == "sending":
        async with house.store.write() as session:
            for broadcast in await broadcasts.claim_due(session, house.station.id):
                await broadcasts.start(session, broadcast)
    changed: Any = Audience().as_json() if change == "audience" else "换成别的内容"
    async with house.store.write() as session:
        await session.execute(update(Broadcast).where(Broadcast.id == number).values({change: changed}))
    await run_broadcasts(house)
    assert house.channel.given == []
    row = await broadcast_row(house, number)
    assert row.state is (BroadcastState.DRAFT if when == "approved" else BroadcastState.CANCELLED)


async def test_7_a_text_changed_after_the_rows_were_written_is_not_sent(any_house: House) -> None:
    """The last moment at which somebody with a hand in the database could change what leaves."""
    house = any_house
    await house.add_resident("o-1")
    number = await warn(house)
    house.outbox._closing = True
    await jobs.move_broadcasts(house.desk)
    house.outbox._closing = False
    async with house.store.write() as session:
        await session.execute(update(Broadcast).where(Broadcast.id == number).values(body="请点开这个链接"))
    await jobs.send_deliveries(house.desk)
    await run_broadcasts(house)
    assert (await broadcast_row(house, number)).state is BroadcastState.CANCELLED
    assert house.channel.given == []
    (row,) = await house.deliveries()
    assert row.state is DeliveryState.SKIPPED
    assert row.reason


async def test_7_an_edit_voids_the_approval_and_what_was_read_must_be_what_is_there(any_house: House) -> None:
    house = any_house
    number = await warn(house)
    author, chief = await house.officer("zhang"), await house.officer("suo")
    actor = Actor(house.station.id, author.id)
    async with house.store.write() as session:
        broadcast = await access.access_broadcast(session, house.station.id, number, lock=True)
        read = broadcasts.seal_of(broadcast)
        other = Draft(title="另一条", body="另一个内容", audience=Audience())
        with pytest.raises(Conflict):
            await broadcasts.edit(session, broadcast, author, other, version=99, actor=actor)
        await broadcasts.edit(session, broadcast, author, other, version=1, actor=actor)
        assert (broadcast.state, broadcast.seal, broadcast.approver_id) == (BroadcastState.DRAFT, None, None)
        await broadcasts.submit(session, broadcast, actor=actor)
        with pytest.raises(Conflict):
            await broadcasts.approve(session, broadcast, chief, seal=read, actor=Actor(house.station.id, chief.id))
    await run_broadcasts(house)
    assert (await broadcast_row(house, number)).state is BroadcastState.SUBMITTED


async def test_7_nobody_approves_his_own_warning_nor_without_the_right(house: House) -> None:
    chief, officer = await house.officer("suo"), await house.officer("li")
    draft = Draft(title="标题", body="正文", audience=Audience())
    async with house.store.write() as session:
        broadcast = await broadcasts.create(session, chief, draft, actor=Actor(house.station.id, chief.id))
        await broadcasts.submit(session, broadcast, actor=Actor(house.station.id, chief.id))
        for who in (chief, officer, await house.officer("fu")):
            seal = broadcasts.seal_of(broadcast)
            with pytest.raises(NotAllowed):
                await broadcasts.approve(session, broadcast, who, seal=seal, actor=Actor(house.station.id, who.id))


# -- 8. An officer sees his station's rows only; views, exports and reveals are logged --------------------------------


async def test_8_rows_of_another_station_are_spoken_of_as_if_they_were_not_there(any_house: House) -> None:
    house, station_id = any_house, any_house.station.id
    await house.hear("找民警")
    media_owner = await house.conversation()
    broadcast = await warn(house)
    url = house.store.engine.url.render_as_string(hide_password=False)
    async with House.opened(url, name=OTHER_NAME) as other:
        other_id = other.station.id
        assert other_id != station_id
    rows: list[tuple[Any, int]] = [
        (access.access_ticket, (await house.tickets())[0].id),
        (access.access_conversation, media_owner.id),
        (access.access_message, (await house.heard())[0].id),
        (access.access_delivery, (await house.deliveries())[0].id),
        (access.access_resident, media_owner.resident_id),
        (access.access_community, await house.community("枫林社区")),
        (access.access_officer, (await house.officer("zhang")).id),
        (access.access_broadcast, broadcast),
    ]
    async with house.store.read() as session:
        for accessor, row_id in rows:
            assert (await accessor(session, station_id, row_id)).id == row_id
            with pytest.raises(access.NotFound) as foreign:
                await accessor(session, other_id, row_id)
            with pytest.raises(access.NotFound) as missing:
                await accessor(session, station_id, row_id + 10_000)
            assert str(foreign.value).replace(str(row_id), "") == str(missing.value).replace(str(row_id + 10_000), "")


async def test_8_no_accessor_is_without_a_station() -> None:
    accessors = [name for name in vars(access) if name.startswith("access_")]
    assert len(accessors) >= 8
    for name in accessors:
        assert "station_id" in vars(access)[name].__annotations__, name


async def test_8_a_view_a_search_an_export_and_a_reveal_are_in_the_log_with_who_when_and_why(
    any_house: House, frozen: FrozenClock
) -> None:
    house, why = any_house, "核实11月20日投诉"
    await house.hear(QUESTION)
    conversation = await house.conversation()
    reviewer = await house.officer("shen")
    actor = Actor(house.station.id, reviewer.id, "10.0.0.7")
    async with house.store.write() as session:
        resident = await access.access_resident(session, house.station.id, conversation.resident_id)
        await review.opened(session, conversation.id, [1, 2], why=why, actor=actor)
        await review.searched(session, Criteria(words=("身份证",)), why=why, page=1, total=1, actor=actor)
        await review.exported(
            session, "conversation:1", criteria=None, rows=2, form="xlsx", sha256="0" * 64, why=why, actor=actor
        )
        await residents.reveal(session, resident, why=why, actor=actor)
        for nothing in ("", " ", "x"):
            with pytest.raises(ActionError):
                await residents.reveal(session, resident, why=nothing, actor=actor)
            with pytest.raises(ActionError):
                review.check_why(nothing)
    events = await house.all(select(AuditEvent).where(AuditEvent.actor_id == reviewer.id).order_by(AuditEvent.seq))
    assert [event.action for event in events] == [
        "review.opened", "review.searched", "review.exported", "resident.revealed",
    ]  # fmt: skip
    assert {(event.why, event.at, event.ip) for event in events} == {(why, frozen.now, "10.0.0.7")}
    assert "身份证" not in json.dumps([event.details for event in events], ensure_ascii=False)


# -- 9. Personal data is encrypted at rest and masked on screen; logs hold ids, never words ---------------------------

SECRETS = ("王小明", "13812345678", "幸福路九号", "我叫王小明", "电话13812345678", "身份证丢了怎么办", "悄悄话")


async def tell_everything(house: House) -> None:
    """A resident tells all there is to tell, in every way that is kept."""
    await house.add_resident("o-list", name="王小明", phone="13812345678", home="幸福路九号")
    await house.hear("我叫王小明，电话13812345678，住幸福路九号，有句悄悄话")
    await house.hear("找民警")
    await house.hear(QUESTION)
    ticket_id = await house.take("zhang")
    officer = await house.officer("zhang")
    actor = Actor(house.station.id, officer.id)
    async with house.store.write() as session:
        ticket = await access.access_ticket(session, house.station.id, ticket_id, lock=True)
        await tickets.note(session, ticket, officer, "王小明来过，悄悄话", actor=actor)
        await tickets.reply(session, ticket, officer, Reply("王小明您好，电话13812345678记下了"), actor=actor)
    await house.hear("再说一句悄悄话")
    await jobs.index_messages(house.desk)
    await house.work()
    await house.dispatcher.close()


async def test_9_the_database_holds_no_name_no_phone_and_no_word_in_clear(any_house: House) -> None:
    house = any_house
    await tell_everything(house)
    stored = await raw_rows(house.store)
    assert "fenglin" in stored  # the look reaches what is not encrypted
    words = set(house.knowledge.words("".join(SECRETS)))
    assert "身份" in words
    found = {secret for secret in {*SECRETS, *words} if secret in stored}
    assert not found
    assert (await house.heard())[0].body.startswith("我叫王小明")  # and with the key it is all there


async def raw_rows(store: Store) -> str:
    """All that stands in the tables, as somebody without the key reads it."""
    lines = []
    async with store.read() as session:
        for table in Base.metadata.tables:
            rows = await session.execute(text(f"SELECT * FROM {table}"))
            for row in rows:
                cells = (cell.decode("utf-8", "ignore") if isinstance(cell, bytes) else str(cell) for cell in row)
                lines.append(" ".join(cells))
    everything = "\n".join(lines)
    return everything + re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), everything)  # JSON: \u4e2d


async def test_9_the_file_on_disk_holds_nothing_in_clear_either(house: House, tmp_path: Path) -> None:
    await tell_everything(house)
    kept = b"".join(path.read_bytes() for path in sorted(tmp_path.glob("officer.db*")))  # noqa: ASYNC240
    assert kept.startswith(b"SQLite format 3")
    assert "枫林社区".encode() in kept
    for secret in SECRETS:
        assert secret.encode() not in kept, secret
        assert json.dumps(secret).strip('"').encode() not in kept, secret


async def test_9_a_conversation_with_all_its_failures_leaves_no_words_in_the_logs(
    any_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, written = any_house, io.StringIO()
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    monkeypatch.setattr("sys.stderr", written)
    level = root.level
    logs.set_up()
    try:
        await tell_everything(house)
        house.channel.script.append(ValueError("made to fail"))
        await promise(house, "身份证丢了怎么办", "o-second")
        await house.work()
        with pytest.raises(Exception, match="surrogates"):  # a text no database takes
            await house.feed(text_message("悄悄话\ud800", "o-third"))
        house.dispatcher._route = Failing(1)
        await house.hear("我叫王小明，有句悄悄话", "o-fourth")
        logging.getLogger("bot").warning("made up", extra={"message_id": 7, "phone": "13812345678"})
    finally:
        root.setLevel(level)
        structlog.reset_defaults()
    lines = written.getvalue()
    assert "handling failed" in lines
    assert "sending failed unexpectedly" in lines
    assert '"message_id": 7' in lines
    for secret in SECRETS:
        assert secret not in lines, secret
        assert json.dumps(secret).strip('"') not in lines, secret


# -- 10. The audit log is a hash chain --------------------------------------------------------------------------------


async def problems(house: House) -> list[str]:
    async with house.store.read() as session:
        return [broken.problem for broken in (await audit.check_chain(session, house.station.id)).broken]


async def test_10_a_chain_nobody_touched_holds(any_house: House) -> None:
    await any_house.hear("找民警")
    assert await any_house.count(AuditEvent) > 5
    assert await problems(any_house) == []


CHANGES: dict[str, Any] = {
    "action": "nothing.happened",
    "subject": "ticket:99",
    "why": "另一个理由",
    "actor_id": 99,
    "ip": "1.2.3.4",
    "details": {"role": "admin"},
    "hash": "f" * 64,
}


async def test_10_a_changed_row_is_found(any_house: House) -> None:
    for column, value in CHANGES.items():
        async with any_house.store.write() as session:
            event = await session.get_one(AuditEvent, (any_house.station.id, 3))
            was = getattr(event, column)
            setattr(event, column, value)
        assert "was changed after it was written" in await problems(any_house), column
        async with any_house.store.write() as session:
            event = await session.get_one(AuditEvent, (any_house.station.id, 3))
            setattr(event, column, was)
        assert await problems(any_house) == []


async def test_10_a_removed_row_is_found(any_house: House) -> None:
    async with any_house.store.write() as session:
        await session.execute(delete(AuditEvent).where(AuditEvent.seq == 3))
    assert await problems(any_house) == ["rows 3 to 3 are missing"]


@pytest.mark.parametrize("head_too", [False, True])
async def test_10_a_cut_off_end_is_found(any_house: House, head_too: bool) -> None:
    last = await any_house.count(AuditEvent)
    async with any_house.store.write() as session:
        await session.execute(delete(AuditEvent).where(AuditEvent.seq == last))
        if head_too:
            await session.execute(delete(AuditHead))
    assert await problems(any_house) == ["the end of the log was cut off or added to"]


async def test_10_a_log_that_was_emptied_is_found(any_house: House) -> None:
    """A station's log begins with the station: one without any event was wiped."""
    async with any_house.store.write() as session:
        await session.execute(delete(AuditEvent))
        await session.execute(delete(AuditHead))
    assert await problems(any_house) == ["the log is empty, but a station's log begins when it is made"]


@pytest.mark.parametrize("where", ["at the end", "in the middle"])
async def test_10_an_added_row_is_found(any_house: House, where: str) -> None:
    rows = await any_house.all(select(AuditEvent).order_by(AuditEvent.seq))
    last = rows[-1]
    forged = {column.name: getattr(last, column.name) for column in AuditEvent.__table__.columns}
    async with any_house.store.write() as session:
        if where == "in the middle":  # what came after moves on by one
            for row in reversed(rows[3:]):
                await session.execute(update(AuditEvent).where(AuditEvent.seq == row.seq).values(seq=row.seq + 1))
            forged |= {"seq": 4, "previous_hash": rows[2].hash}
        else:
            forged |= {"seq": last.seq + 1, "previous_hash": last.hash}
        event = AuditEvent(**forged)
        event.hash = audit._hash(event)
        session.add(event)
    found = await problems(any_house)
    assert found
    if where == "at the end":
        assert found == ["the end of the log was cut off or added to"]


async def test_10_two_stations_have_two_chains(any_house: House) -> None:
    url = any_house.store.engine.url.render_as_string(hide_password=False)
    async with House.opened(url, name=OTHER_NAME) as other:
        await other.add_people()
        async with other.store.write() as session:
            await session.execute(
                update(AuditEvent).where(AuditEvent.station_id == other.station.id, AuditEvent.seq == 2).values(ip="x")
            )
        assert await problems(other)
    assert await problems(any_house) == []


async def test_10_many_at_once_make_one_chain(furnished_postgres_url: str, frozen: FrozenClock) -> None:
    async with House.opened(furnished_postgres_url) as one, House.opened(furnished_postgres_url) as two:

        async def act(house: House, n: int) -> None:
            async with house.store.write() as session:
                await audit.record(session, Actor(house.station.id), "made.up", f"thing:{n}")

        await asyncio.gather(*(act(house, n) for n in range(20) for house in (one, two)))
        assert await one.count(AuditEvent, AuditEvent.action == "made.up") == 40
        assert await problems(one) == []

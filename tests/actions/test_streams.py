"""A page that was fetched: written once with its cursor, by one reader at a time, on both databases."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from bot.actions import streams
from bot.actions.streams import LEASE, Kept, StreamKey
from bot.message import Happening, MessageKind, NotDelivered, Recalled, SaidElsewhere, SessionMoved
from bot.store.models import Author, DeliveryState, Direction, MessageState, PulledStream, StoredMessage
from tests.support.station import CHANNEL, WANG, FrozenClock, House, text_message

AGE = timedelta(minutes=10)
ZHAO = "o-zhao-in-fenglin"


def key_of(house: House) -> StreamKey:
    return StreamKey(house.station.id, CHANNEL, "wk1")


async def claim(house: House, frozen: FrozenClock, reader: str = "one") -> str | None:
    async with house.store.write() as session:
        return await streams.claim(session, key_of(house), reader=reader, answer_age=AGE, now=frozen.now)


async def keep(
    house: House, frozen: FrozenClock, *happened: Happening, cursor: str = "c1", reader: str = "one"
) -> list[Kept] | None:
    async with house.store.write() as session:
        return await streams.keep(session, key_of(house), happened, cursor=cursor, reader=reader, now=frozen.now)


async def test_everything_a_page_can_hold_is_written_in_its_order(any_house: House, frozen: FrozenClock) -> None:
    house = any_house
    await house.hear("身份证丢了怎么办")
    await house.dispatcher.close()
    (delivery,) = await house.deliveries()
    frozen.forward(hours=5)
    assert await claim(house, frozen) == ""
    frozen.forward(seconds=5)
    said = SaidElsewhere(text_message("我是民警", platform_id="s-1"), "zhang")
    frozen.forward(seconds=-3600)
    old = text_message("一小时前", ZHAO, platform_id="old")
    frozen.forward(seconds=3600)
    first, second = text_message("一", platform_id="m-1"), text_message("二", platform_id="m-2")
    kept = await keep(
        house, frozen, first, said, second, old, first, SessionMoved(ZHAO, ""), Recalled(WANG, "m-1"),
        NotDelivered(delivery.id, "fail_13", "没有送达。"), NotDelivered(999_999, "fail_1", "不是我们的。"),
    )  # fmt: skip
    assert kept is not None
    assert [(one.message.text, one.served) for one in kept] == [("一", True), ("二", True)]
    rows = {row.platform_id: row for row in await house.all(select(StoredMessage)) if row.platform_id}
    assert (rows["m-1"].recalled, rows["m-2"].recalled) == (True, False)
    assert (rows["s-1"].direction, rows["s-1"].author, rows["s-1"].kind) == (
        Direction.OUT,
        Author.OFFICER,
        MessageKind.TEXT,
    )
    assert rows["m-1"].id < rows["s-1"].id < rows["m-2"].id
    assert (rows["old"].state, rows["m-1"].state) == (MessageState.HANDLED, MessageState.RECEIVED)
    assert [(await house.conversation(who)).served_by for who in (WANG, ZHAO)] == ["zhang", ""]
    (delivery,) = await house.deliveries()
    assert (delivery.state, delivery.code) == (DeliveryState.FAILED, "fail_13")
    assert (await house.one(select(PulledStream))).cursor == "c1"


async def test_the_same_page_again_brings_nothing_to_answer(any_house: House, frozen: FrozenClock) -> None:
    await claim(any_house, frozen)
    page = (text_message("一"), SaidElsewhere(text_message("我是民警"), "zhang"), SessionMoved(WANG, None))
    assert len(await keep(any_house, frozen, *page) or ()) == 1
    assert await keep(any_house, frozen, *page) == []
    assert (await any_house.conversation()).served_by is None  # a repeated word does not take the session back
    assert await any_house.count(StoredMessage) == 2


async def test_one_reader_at_a_time_and_the_second_is_heard(any_house: House, frozen: FrozenClock) -> None:
    key = key_of(any_house)
    assert await claim(any_house, frozen) == ""
    assert await claim(any_house, frozen, "two") is None
    for expected in (True, False):  # once more for the second, then the end
        async with any_house.store.write() as session:
            assert await streams.release(session, key, reader="one", now=frozen.now) is expected
    assert await claim(any_house, frozen, "two") == ""


async def test_who_lost_his_lease_writes_nothing(any_house: House, frozen: FrozenClock) -> None:
    await claim(any_house, frozen)
    frozen.forward(seconds=LEASE.total_seconds() + 1)
    assert await claim(any_house, frozen, "two") == ""
    assert await keep(any_house, frozen, text_message("一"), cursor="c9") is None
    assert await any_house.count(StoredMessage) == 0
    async with any_house.store.write() as session:
        assert not await streams.release(session, key_of(any_house), reader="one", now=frozen.now)
    assert (await any_house.one(select(PulledStream))).reader == "two"


async def test_another_station_s_delivery_is_not_touched(house: House, frozen: FrozenClock) -> None:
    await house.hear("你好")
    await house.dispatcher.close()
    (delivery,) = await house.deliveries()
    elsewhere = StreamKey(house.station.id, "another-channel", "wk1")
    async with house.store.write() as session:
        await streams.claim(session, elsewhere, reader="one", answer_age=AGE, now=frozen.now)
        lost = NotDelivered(delivery.id, "fail_1", "没有送达。")
        await streams.keep(session, elsewhere, [lost], cursor="c", reader="one", now=frozen.now)
    assert (await house.deliveries())[0].state is DeliveryState.SENT


@pytest.mark.parametrize("days", [0, 3])
async def test_each_database_has_a_series_of_its_own_that_stays(house: House, frozen: FrozenClock, days: int) -> None:
    async def series(account: str) -> str:
        async with house.store.write() as session:
            key = StreamKey(house.station.id, CHANNEL, account)
            return await streams.series(session, key, answer_age=AGE, now=frozen.now)

    first = await series("wk1")
    frozen.forward(days=days)
    assert await series("wk1") == first
    assert await series("wk2") != first

"""Warnings by the clock: at once, at a set time, every week; on which address; what the result page counts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select

from bot.actions import broadcasts, results, waiting
from bot.actions.audiences import Audience
from bot.actions.audit import Actor
from bot.actions.broadcasts import Draft
from bot.channels.base import Failure, SendError
from bot.reach import Rules
from bot.store import access
from bot.store.models import (
    Author,
    Broadcast,
    BroadcastState,
    DeliveryState,
    Media,
    Repeat,
    ResidentAddress,
    StoredMessage,
)
from scheduler import jobs
from tests.support.small_pictures import png
from tests.support.station import CHANNEL, MONDAY_MORNING, FrozenClock, House

SHANGHAI = ZoneInfo("Asia/Shanghai")


async def warn(house: House, **draft: object) -> int:
    """A warning written by 张伟 and approved by the chief; its number."""
    author, chief = await house.officer("zhang"), await house.officer("suo")
    wanted = Draft(**{"title": "防诈提醒", "body": "不要转账。", "audience": Audience(), **draft})  # type: ignore[arg-type]
    actor = Actor(house.station.id, author.id)
    async with house.store.write() as session:
        broadcast = await broadcasts.create(session, author, wanted, actor=actor)
        await broadcasts.submit(session, broadcast, actor=actor)
        seal = broadcasts.seal_of(broadcast)
    async with house.store.write() as session:  # the approver reads the row, not the form
        read = await access.access_broadcast(session, house.station.id, broadcast.id, lock=True)
        assert broadcasts.seal_of(read) == seal
        await broadcasts.approve(session, read, chief, seal=seal, actor=actor)
    return broadcast.id


async def keep_picture(house: House) -> int:
    async with house.store.write() as session:
        return await broadcasts.keep_picture(session, house.station.id, png(b"a poster"))


async def tick(house: House) -> None:
    await jobs.move_broadcasts(house.desk)
    await jobs.send_deliveries(house.desk)
    await jobs.move_broadcasts(house.desk)


async def states(house: House) -> list[BroadcastState]:
    return [row.state for row in await house.all(select(Broadcast).order_by(Broadcast.id))]


async def test_a_warning_without_a_time_goes_at_once_and_stands_in_the_conversation(house: House) -> None:
    await house.add_resident("o-1")
    await house.hear("你好", "o-2")
    await warn(house)
    await tick(house)
    assert house.channel.texts == ["【防诈提醒】\n不要转账。"] * 2
    messages = await house.all(select(StoredMessage).where(StoredMessage.author == Author.STATION))
    assert len(messages) == 2
    assert all(message.conversation_id for message in messages)
    assert await states(house) == [BroadcastState.DONE]


async def test_a_warning_with_a_picture_shows_it_in_the_conversation_and_keeps_it_while_it_is_kept(
    any_house: House, frozen: FrozenClock
) -> None:
    house = any_house
    await house.add_resident("o-1")
    await house.add_resident("o-2")
    picture = await keep_picture(house)
    number = await warn(house, picture=picture)
    await tick(house)
    assert [given.reply.picture for given in house.channel.given] == [picture, picture]
    messages = await house.all(select(StoredMessage).where(StoredMessage.author == Author.STATION))
    assert [message.media_id for message in messages] == [picture, picture]
    frozen.forward(days=2000)
    await jobs.forget(house.desk)
    messages = await house.all(select(StoredMessage).where(StoredMessage.author == Author.STATION))
    assert [message.media_id for message in messages] == [None, None]
    assert (await house.one(select(Broadcast).where(Broadcast.id == number))).media_id == picture


async def test_another_picture_is_another_seal_and_each_week_has_the_same(house: House, frozen: FrozenClock) -> None:
    await house.add_resident("o-1")
    picture, other = await keep_picture(house), await keep_picture(house)
    await warn(house, picture=picture, repeat=Repeat.WEEKLY, send_at=frozen.now)
    await tick(house)
    weekly, child = await house.all(select(Broadcast).order_by(Broadcast.id))
    assert child.media_id == picture
    assert broadcasts.is_sealed(weekly)
    weekly.media_id = other
    assert not broadcasts.is_sealed(weekly)


async def test_where_the_window_has_no_room_for_the_picture_the_words_go_alone(house: House) -> None:
    await house.add_resident("o-1", address={"window_until": MONDAY_MORNING + timedelta(hours=1), "window_left": 1})
    await house.add_resident("o-2", address={"window_until": MONDAY_MORNING + timedelta(hours=1), "window_left": 2})
    house.channel.rules = Rules(windowed=True, part_bytes=2048)
    picture = await keep_picture(house)
    await warn(house, picture=picture)
    await tick(house)
    await tick(house)
    assert {given.address: given.reply.picture for given in house.channel.given} == {"o-1": None, "o-2": picture}
    messages = await house.all(select(StoredMessage).where(StoredMessage.author == Author.STATION))
    assert {message.address: message.media_id for message in messages} == {"o-1": None, "o-2": picture}
    assert await states(house) == [BroadcastState.DONE]


async def test_a_picture_that_was_taken_out_of_a_draft_is_deleted(house: House) -> None:
    author = await house.officer("zhang")
    actor = Actor(house.station.id, author.id)
    draft = Draft("防诈提醒", "不要转账。", Audience(), picture=await keep_picture(house))
    async with house.store.write() as session:
        row = await broadcasts.create(session, author, draft, actor=actor)
    async with house.store.write() as session:
        read = await access.access_broadcast(session, house.station.id, row.id, lock=True)
        without = replace(draft, picture=None)
        await broadcasts.edit(session, read, author, without, version=read.version, actor=actor)
    assert await house.count(Media) == 0


async def test_a_warning_with_a_time_waits_for_it_whatever_zone_it_was_written_in(
    house: House, frozen: FrozenClock
) -> None:
    await house.add_resident("o-1")
    local = datetime(2026, 11, 23, 18, 0, tzinfo=SHANGHAI)
    await warn(house, send_at=local, expires_at=local + timedelta(hours=3))
    frozen.now = local.astimezone(UTC) - timedelta(seconds=1)
    await tick(house)
    assert house.channel.given == []
    frozen.forward(seconds=1)
    await tick(house)
    assert len(house.channel.given) == 1


async def test_a_weekly_warning_goes_each_week_once_and_makes_nothing_up(house: House, frozen: FrozenClock) -> None:
    await house.add_resident("o-1")
    first = MONDAY_MORNING + timedelta(hours=1)
    number = await warn(house, repeat=Repeat.WEEKLY, send_at=first)
    for week in range(3):
        frozen.now = first + timedelta(weeks=week)
        await tick(house)
        await tick(house)
        assert len(house.channel.given) == week + 1
    frozen.now = first + timedelta(weeks=6, hours=1)  # the program was down for a month
    await tick(house)
    await tick(house)
    assert len(house.channel.given) == 4
    weekly: Broadcast = await house.one(select(Broadcast).where(Broadcast.id == number))
    assert weekly.state is BroadcastState.APPROVED
    assert weekly.send_at == first + timedelta(weeks=7)
    children = await house.all(select(Broadcast).where(Broadcast.parent_id == number).order_by(Broadcast.id))
    assert [child.state for child in children] == [BroadcastState.DONE] * 4
    assert [child.send_at for child in children] == [first + timedelta(weeks=week) for week in range(4)]


async def test_a_warning_past_its_time_expires_unsent(house: House, frozen: FrozenClock) -> None:
    await house.add_resident("o-1")
    await warn(house, send_at=frozen.now + timedelta(hours=1), expires_at=frozen.now + timedelta(hours=2))
    frozen.forward(hours=3)
    await tick(house)
    assert house.channel.given == []
    assert await states(house) == [BroadcastState.EXPIRED]


async def test_it_goes_to_the_address_used_last_that_is_still_followed(house: House, frozen: FrozenClock) -> None:
    resident = await house.add_resident("o-old", address={"last_inbound_at": frozen.now - timedelta(days=9)})
    async with house.store.write() as session:
        for address, days, following in (("o-new", 1, True), ("o-left", 0, False)):
            session.add(
                ResidentAddress(
                    station_id=house.station.id,
                    resident_id=resident,
                    channel=CHANNEL,
                    address=address,
                    following=following,
                    last_inbound_at=frozen.now - timedelta(days=days),
                    created_at=frozen.now,
                )
            )
    await warn(house)
    await tick(house)
    assert [given.address for given in house.channel.given] == ["o-new"]


async def test_chat_overtakes_a_warning(house: House) -> None:
    for n in range(3):
        await house.add_resident(f"o-{n}")
    await warn(house)
    await jobs.move_broadcasts(house.desk)
    await house.hear("楼上太吵了", "o-2")
    ticket = await house.take("zhang", "o-2")
    await house.close_ticket("zhang", ticket, farewell="已处理。")
    await house.work()
    assert house.channel.texts[0] == "已处理。"
    to_the_same = [given.text for given in house.channel.given if given.address == "o-2"]
    assert to_the_same == ["已处理。", "【防诈提醒】\n不要转账。"]


async def test_the_result_page_counts_states_and_names_reasons(house: House, frozen: FrozenClock) -> None:
    await house.add_resident(None)
    for n in range(4):
        await house.add_resident(f"o-{n}")
    number = await warn(house)
    refused = SendError(Failure.REFUSED, "43004", "居民没有关注")
    house.channel.script.extend([refused, None, refused, SendError(Failure.LATER, "45015", "48小时内没有互动")])
    await tick(house)
    async with house.store.read() as session:
        progress = await results.progress(session, number)
    ends = {DeliveryState.FAILED: 2, DeliveryState.SENT: 1, DeliveryState.SKIPPED: 1}
    assert progress.states == {**ends, DeliveryState.QUEUED: 1}
    assert (progress.total, progress.arrived, progress.ended, progress.waiting) == (5, 1, 4, 1)
    assert await states(house) == [BroadcastState.SENDING]
    house.channel.rules = Rules(windowed=True)  # he never wrote again, and the warning got old
    frozen.now += broadcasts.DEFAULT_LIFE
    await tick(house)
    async with house.store.read() as session:
        progress = await results.progress(session, number)
    assert dict(progress.reasons) == {
        "居民没有关注": 2, waiting.STALE_WARNING_REASON: 1, "居民没有可用的联系渠道": 1
    }  # fmt: skip
    assert await states(house) == [BroadcastState.DONE]

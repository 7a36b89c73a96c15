"""One resident behind several addresses: by a code, by the platform's number, merged and parted again."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot import clock
from bot.actions import audit, broadcasts, conversations, linking, residents, tickets
from bot.actions.audiences import Audience
from bot.actions.audit import Actor
from bot.actions.broadcasts import Draft
from bot.actions.conversations import Address
from bot.actions.errors import Conflict
from bot.message import EventKind, Reply
from bot.store.access import access_ticket
from bot.store.encryption import blind_index
from bot.store.models import (
    AuditEvent,
    Conversation,
    Delivery,
    DeliveryState,
    LinkCode,
    Resident,
    ResidentAddress,
    StoredMessage,
    Ticket,
    TicketState,
)
from scheduler import jobs
from tests.support.station import CHANNEL, FrozenClock, House, event

HERE, THERE, STRANGER = "o-wang-here", "o-wang-there", "o-stranger"
QUESTION = "身份证丢了怎么办"


async def code_at(house: House, sender: str = HERE) -> str:
    said = await house.hear("绑定", sender)
    assert said is not None
    found = re.search(r"\b[0-9]{6}\b", said)
    assert found, said
    return found[0]


async def link(house: House, one: str = HERE, two: str = THERE) -> None:
    said = await house.hear(f"绑定 {await code_at(house, one)}", two)
    assert said is not None
    assert "关联成功" in said


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


@asynccontextmanager
async def ticket_of(house: House, ticket_id: int) -> AsyncIterator[tuple[AsyncSession, Ticket]]:
    async with house.store.write() as session:
        yield session, await access_ticket(session, house.station.id, ticket_id, lock=True)


async def same_person(house: House, *senders: str) -> bool:
    return len({(await house.resident(sender)).id for sender in senders}) == 1


# -- the code ---------------------------------------------------------------------------------------------------------


async def test_a_code_typed_at_the_other_address_makes_one_resident(any_house: House) -> None:
    await any_house.hear(QUESTION, HERE)
    await any_house.hear(QUESTION, THERE)
    assert not await same_person(any_house, HERE, THERE)
    await link(any_house)
    assert await same_person(any_house, HERE, THERE)


async def test_a_code_alone_without_the_word_is_enough(house: House) -> None:
    code = await code_at(house)
    assert "关联成功" in (await house.hear(code, THERE) or "")


async def test_the_address_that_gave_the_code_hears_that_it_was_used(house: House) -> None:
    await link(house)
    await house.work()
    (given,) = [given for given in house.channel.given if given.address == HERE]
    assert "如果不是您本人操作" in given.text


async def test_a_code_is_kept_as_a_blind_index_and_not_as_digits(house: House) -> None:
    code = await code_at(house)
    row: LinkCode = await house.one(select(LinkCode))
    assert row.code == blind_index(code, "link code")
    assert row.code != int(code)


async def test_a_code_works_once(house: House) -> None:
    code = await code_at(house)
    await house.hear(f"绑定{code}", THERE)
    assert "不对" in (await house.hear(f"绑定{code}", STRANGER) or "")
    assert not await same_person(house, HERE, STRANGER)


async def test_a_code_is_good_for_ten_minutes(house: House, frozen: FrozenClock) -> None:
    code = await code_at(house)
    frozen.forward(minutes=10, seconds=1)
    assert "超过 10 分钟" in (await house.hear(f"绑定 {code}", THERE) or "")
    assert not await same_person(house, HERE, THERE)


async def test_a_second_code_ends_the_first(house: House) -> None:
    first, second = await code_at(house), await code_at(house)
    assert "不对" in (await house.hear(f"绑定 {first}", THERE) or "")
    assert "关联成功" in (await house.hear(f"绑定 {second}", THERE) or "")


async def test_a_code_typed_where_it_was_given_says_where_it_belongs(house: House) -> None:
    code = await code_at(house)
    assert "另一个渠道" in (await house.hear(code, HERE) or "")
    assert "关联成功" in (await house.hear(code, THERE) or "")  # and is not used up


async def test_who_is_linked_already_hears_so(house: House) -> None:
    await link(house)
    code = await code_at(house)
    assert "已经关联好" in (await house.hear(code, THERE) or "")


async def test_codes_are_given_five_times_an_hour(house: House, frozen: FrozenClock) -> None:
    for _ in range(linking.CODES_PER_HOUR):
        await code_at(house)
    assert "领取多次" in (await house.hear("绑定", HERE) or "")
    frozen.forward(hours=1, seconds=1)
    await code_at(house)


async def test_who_guesses_is_stopped_after_five_tries_an_hour(any_house: House, frozen: FrozenClock) -> None:
    code = await code_at(any_house)
    for _ in range(linking.TRIES_PER_HOUR):
        assert "不对" in (await any_house.hear(f"绑定 {wrong(code)}", STRANGER) or "")
    code = await code_at(any_house)
    assert "一小时后再试" in (await any_house.hear(f"绑定 {code}", STRANGER) or "")  # even the right one
    assert not await same_person(any_house, HERE, STRANGER)
    assert "关联成功" in (await any_house.hear(f"绑定 {code}", THERE) or "")  # nobody else is held up
    frozen.forward(hours=1, seconds=1)
    assert "关联成功" in (await any_house.hear(f"绑定 {await code_at(any_house)}", STRANGER) or "")


async def test_many_addresses_that_guess_together_are_stopped_too(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linking, "STATION_TRIES_PER_HOUR", 12)
    code = await code_at(house)
    for n in range(12):
        await house.hear(f"绑定 {wrong(code)}", f"o-guesser-{n // 4}")
    assert "一小时后再试" in (await house.hear(f"绑定 {code}", "o-guesser-9") or "")


async def test_six_digits_in_a_registration_are_its_answer(house: House) -> None:
    await house.hear("登记", HERE)
    assert "关联码" not in (await house.hear("199003", HERE) or "")


# -- what a merged resident is ----------------------------------------------------------------------------------------


async def test_what_was_told_at_either_address_is_known(any_house: House) -> None:
    here = await any_house.add_resident(HERE, birth_year=1958)
    place = await any_house.community("枫林社区")
    told = {"name": "王小明", "phone": "13812345678", "occupation": "退休", "community_id": place}
    there = await any_house.add_resident(THERE, birth_year=1990, wants_warnings=False, **told)
    await link(any_house)
    resident = await any_house.resident(THERE)
    assert resident.id == here
    assert (resident.name, resident.phone, resident.occupation) == ("王小明", "13812345678", "退休")
    assert resident.community_id == place
    assert resident.birth_year == 1958  # both told: the first stays
    assert resident.wants_warnings is False
    async with any_house.store.read() as session:
        by_phone = await residents.find_by_phone(session, any_house.station.id, "13812345678")
        by_name = await residents.find_by_name(session, any_house.station.id, "王小明")
        empty = await session.get_one(Resident, there)
    assert by_phone is not None
    assert [by_phone.id, *(row.id for row in by_name)] == [here, here]
    assert (empty.merged_into_id, empty.name, empty.phone) == (here, None, None)


async def test_merging_is_in_the_audit_log_and_the_chain_holds(any_house: House) -> None:
    await link(any_house)
    event: AuditEvent = await any_house.one(select(AuditEvent).where(AuditEvent.action == "resident.merged"))
    assert event.details["how"] == "code"
    async with any_house.store.read() as session:
        assert (await audit.check_chain(session, any_house.station.id)).broken == ()


async def test_tickets_and_conversations_of_both_addresses_are_his(any_house: House) -> None:
    await any_house.hear("找民警", HERE)
    await any_house.hear("找民警", THERE)
    await link(any_house)
    resident = await any_house.resident(HERE)
    assert {ticket.resident_id for ticket in await any_house.tickets()} == {resident.id}
    assert {row.resident_id for row in await any_house.all(select(Conversation))} == {resident.id}
    assert {row.resident_id for row in await any_house.all(select(ResidentAddress))} == {resident.id}


async def test_a_second_question_at_the_other_address_joins_the_open_ticket(any_house: House) -> None:
    await link(any_house)
    await any_house.hear("找民警", HERE)
    await any_house.hear("找民警", THERE)
    assert len(await any_house.tickets()) == 1


# -- who speaks -------------------------------------------------------------------------------------------------------


async def test_4_an_officer_who_takes_a_ticket_holds_all_conversations_of_the_person(any_house: House) -> None:
    await link(any_house)
    ticket = await any_house.take("zhang", HERE)
    assert await any_house.hear(QUESTION, THERE) is None
    assert await any_house.hear(QUESTION, HERE) is None
    await any_house.close_ticket("zhang", ticket)
    assert await any_house.hear(QUESTION, THERE) is not None
    assert await any_house.hear(QUESTION, HERE) is not None


async def test_4_whoever_is_linked_while_an_officer_speaks_is_held_at_the_new_address_too(any_house: House) -> None:
    code = await code_at(any_house, HERE)
    await any_house.take("zhang", HERE)
    await any_house.hear(f"绑定 {code}", THERE)
    zhang = await any_house.officer("zhang")
    assert (await any_house.conversation(THERE)).owner_id == zhang.id
    assert await any_house.hear(QUESTION, THERE) is None
    await any_house.work()
    assert not any("如果不是您本人" in text for text in any_house.channel.texts)  # the bot is silent there


async def test_4_a_known_address_that_never_spoke_is_held_from_its_first_message(any_house: House) -> None:
    await any_house.hear(QUESTION, HERE)
    resident = await any_house.resident(HERE)
    async with any_house.store.write() as session:
        session.add(
            ResidentAddress(
                station_id=any_house.station.id,
                resident_id=resident.id,
                channel=CHANNEL,
                address=THERE,
                created_at=clock.now(),
            )
        )
    await any_house.take("zhang", HERE)
    assert await any_house.hear(QUESTION, THERE) is None


async def test_4_when_one_of_two_tickets_is_closed_the_other_officer_holds_on(any_house: House) -> None:
    await any_house.take("zhang", HERE)
    li = await any_house.take("li", THERE)
    here, there = await any_house.conversation(HERE), await any_house.conversation(THERE)
    async with any_house.store.write() as session:
        await linking.merge(
            session,
            (here.resident_id, there.resident_id),
            how="union_id",
            now=clock.now(),
            actor=Actor(any_house.station.id),
        )
    zhang = await any_house.officer("zhang")
    assert (await any_house.conversation(THERE)).owner_id == zhang.id  # he took his ticket first
    await any_house.close_ticket("li", li)
    assert await any_house.hear(QUESTION, THERE) is None
    assert (await any_house.conversation(THERE)).owner_id == zhang.id


async def test_the_officers_reply_goes_where_the_resident_wrote_last(any_house: House, frozen: FrozenClock) -> None:
    await link(any_house)
    number = await any_house.take("zhang", HERE)
    officer, actor = await any_house.officer("zhang"), Actor(any_house.station.id)
    for sender in (THERE, HERE, THERE):
        frozen.forward(minutes=1)
        await any_house.hear("在吗", sender)
        async with ticket_of(any_house, number) as (session, ticket):
            await tickets.reply(session, ticket, officer, Reply(f"答复{frozen.now:%M}"), actor=actor)
        await any_house.work()
        assert any_house.channel.given[-1].address == sender


async def test_the_reply_goes_to_the_address_that_is_left_when_the_last_one_was_unfollowed(
    house: House, frozen: FrozenClock
) -> None:
    await link(house)
    number = await house.take("zhang", HERE)
    frozen.forward(minutes=1)
    await house.hear("在吗", THERE)
    async with house.store.write() as session:
        address = (await house.conversation(THERE)).address
        row = await session.get_one(ResidentAddress, address.id)
        await residents.set_following(session, row, False, actor=Actor(house.station.id))
    officer = await house.officer("zhang")
    async with ticket_of(house, number) as (session, ticket):
        await tickets.reply(session, ticket, officer, Reply("答复"), actor=Actor(house.station.id))
    await house.work()
    assert house.channel.given[-1].address == HERE


async def test_a_failed_reply_at_the_other_address_can_be_sent_again_from_the_ticket(house: House) -> None:
    await link(house)
    number = await house.take("zhang", HERE)
    await house.hear("在吗", THERE)
    officer, actor = await house.officer("zhang"), Actor(house.station.id)
    await house.work()
    house.channel.script.append(RuntimeError("lost"))
    async with ticket_of(house, number) as (session, ticket):
        said = await tickets.reply(session, ticket, officer, Reply("答复"), actor=actor)
    await house.work()
    async with ticket_of(house, number) as (session, ticket):
        await tickets.resend(session, ticket, officer, said.id, actor=actor)
    await house.work()
    assert house.channel.texts[-1] == "答复"


# -- warnings ---------------------------------------------------------------------------------------------------------


async def sending(house: House) -> int:
    author, chief = await house.officer("zhang"), await house.officer("suo")
    actor = Actor(house.station.id)
    async with house.store.write() as session:
        warning = await broadcasts.create(session, author, Draft("防骗", "不要转账", Audience()), actor=actor)
        await broadcasts.submit(session, warning, actor=actor)
        await broadcasts.approve(session, warning, chief, seal=broadcasts.seal_of(warning), actor=actor)
    await jobs.move_broadcasts(house.desk)
    return warning.id


async def test_6_a_warning_reaches_a_merged_resident_once(any_house: House) -> None:
    await any_house.hear(QUESTION, HERE)
    await any_house.hear(QUESTION, THERE)
    await link(any_house)
    await sending(any_house)
    await any_house.work()
    assert sum("不要转账" in text for text in any_house.channel.texts) == 1


async def test_6_who_is_merged_while_a_warning_waits_gets_it_once(any_house: House) -> None:
    await any_house.hear(QUESTION, HERE)
    await any_house.hear(QUESTION, THERE)
    number = await sending(any_house)
    await link(any_house)
    await jobs.move_broadcasts(any_house.desk)
    await any_house.work()
    assert sum("不要转账" in text for text in any_house.channel.texts) == 1
    rows = await any_house.all(select(Delivery).where(Delivery.broadcast_id == number))
    assert sorted(row.state for row in rows) == [DeliveryState.SENT, DeliveryState.SKIPPED]


async def test_who_refused_warnings_at_one_address_gets_none_that_waits_at_the_other(any_house: House) -> None:
    await any_house.hear(QUESTION, HERE)
    await any_house.hear("退订", THERE)
    await sending(any_house)
    await link(any_house)
    await any_house.work()
    assert not any("不要转账" in text for text in any_house.channel.texts)
    (delivery,) = [row for row in await any_house.deliveries() if row.broadcast_id]
    assert (delivery.state, delivery.reason) == (DeliveryState.SKIPPED, "居民已选择不再接收提醒")


# -- the platform's number --------------------------------------------------------------------------------------------


async def known_as(house: House, sender: str, union_id: str) -> bool:
    async with house.store.write() as session:
        conversation = await conversations.ensure(session, house.station.id, Address(CHANNEL, sender), now=clock.now())
        return await linking.recognise(
            session, conversation.address, union_id, now=clock.now(), actor=Actor(house.station.id)
        )


async def test_the_same_union_id_at_two_addresses_is_one_resident(any_house: House) -> None:
    assert await known_as(any_house, HERE, "u-1") is False
    assert await known_as(any_house, STRANGER, "u-2") is False
    assert await known_as(any_house, THERE, "u-1") is True
    assert await same_person(any_house, HERE, THERE)
    assert not await same_person(any_house, HERE, STRANGER)
    assert await known_as(any_house, THERE, "u-1") is False  # nothing more to do


async def test_three_addresses_of_one_person_end_as_one_resident(house: House) -> None:
    await link(house, HERE, THERE)
    await known_as(house, STRANGER, "u-1")
    await known_as(house, THERE, "u-1")
    assert await same_person(house, HERE, THERE, STRANGER)


# -- parting, erasing -------------------------------------------------------------------------------------------------


async def part(house: House, sender: str) -> None:
    """The chief says that this address is another person's."""
    address, chief = (await house.conversation(sender)).address, await house.officer("suo")
    async with house.store.write() as session:
        row = await session.get_one(ResidentAddress, address.id)
        actor = Actor(house.station.id, chief.id)
        await linking.separate(session, row, why="母女共用一部手机", now=clock.now(), actor=actor)


async def test_an_address_that_was_somebody_elses_is_parted_again(any_house: House) -> None:
    await any_house.hear(QUESTION, HERE)
    await known_as(any_house, HERE, "u-1")
    await known_as(any_house, THERE, "u-1")
    await any_house.hear("找民警", THERE)
    ticket = await any_house.take("zhang", THERE)
    await part(any_house, THERE)
    chief = await any_house.officer("suo")
    assert not await same_person(any_house, HERE, THERE)
    there = await any_house.resident(THERE)
    (his,) = await any_house.tickets()
    assert (his.id, his.resident_id) == (ticket, there.id)
    assert await any_house.hear(QUESTION, HERE) is not None  # the officer holds only the other one now
    assert await any_house.hear(QUESTION, THERE) is None
    event: AuditEvent = await any_house.one(select(AuditEvent).where(AuditEvent.action == "resident.separated"))
    assert (event.actor_id, event.why) == (chief.id, "母女共用一部手机")


async def test_who_was_parted_stays_so_when_he_follows_anew(any_house: House) -> None:
    """Mother and daughter write from one WeChat account: its number says that they are one person each time."""
    await known_as(any_house, HERE, "u-1")
    await known_as(any_house, THERE, "u-1")
    await part(any_house, THERE)
    for kind in (EventKind.UNSUBSCRIBE, EventKind.SUBSCRIBE):
        await any_house.hear(event(kind, sender=THERE))
    assert await known_as(any_house, THERE, "u-1") is False
    assert await known_as(any_house, HERE, "u-1") is False
    assert not await same_person(any_house, HERE, THERE)
    assert await known_as(any_house, STRANGER, "u-1") is True
    assert await same_person(any_house, HERE, STRANGER)
    await link(any_house, HERE, THERE)  # they say so themselves
    assert await same_person(any_house, HERE, THERE)


async def test_who_was_parted_is_not_joined_by_way_of_a_third_address(any_house: House) -> None:
    await known_as(any_house, HERE, "u-1")
    await known_as(any_house, THERE, "u-1")
    await part(any_house, THERE)
    await link(any_house, THERE, STRANGER)  # the daughter's other channel
    assert await known_as(any_house, STRANGER, "u-1") is False
    assert not await same_person(any_house, HERE, THERE)


async def test_a_resident_with_one_address_cannot_be_parted(house: House) -> None:
    await house.hear(QUESTION, HERE)
    address = (await house.conversation(HERE)).address
    async with house.store.write() as session:
        row = await session.get_one(ResidentAddress, address.id)
        with pytest.raises(Conflict, match="只有一个联系渠道"):
            await linking.separate(session, row, why="试试", now=clock.now(), actor=Actor(house.station.id))


async def test_who_has_himself_erased_is_erased_at_all_his_addresses(any_house: House) -> None:
    await any_house.hear("我叫王小明，身份证丢了", HERE)
    await any_house.hear("我叫王小明，楼上太吵", THERE)
    await known_as(any_house, HERE, "u-1")
    await known_as(any_house, THERE, "u-1")
    for ticket in await any_house.tickets():
        assert ticket.state is TicketState.CLOSED
    await any_house.hear("删除我的信息", THERE)
    assert "已" in (await any_house.hear("确认删除", THERE) or "")
    rows: list[StoredMessage] = await any_house.heard()
    assert not any("王小明" in row.body for row in rows)
    assert {row.union_id for row in await any_house.all(select(ResidentAddress))} == {None}


async def test_an_open_ticket_at_one_address_keeps_the_other_from_erasing(house: House) -> None:
    await link(house)
    await house.hear("找民警", HERE)
    assert "还没有办结" in (await house.hear("删除我的信息", THERE) or "")

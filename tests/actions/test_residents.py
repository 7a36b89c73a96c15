"""Residents: what they tell, what is erased, what an import does with good and bad rows, what retention takes."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from bot.actions import imports, media, residents, tickets
from bot.actions.audit import Actor
from bot.actions.errors import ActionError
from bot.channels.base import Failure, Picture, SendError
from bot.message import MessageKind
from bot.store import search
from bot.store.models import AuditEvent, Media, Note, Resident, SearchWord, StoredMessage, Ticket
from bot.store.search import Criteria
from scheduler import jobs
from tests.support.small_pictures import gif, jpeg, png, webp
from tests.support.station import WANG, FrozenClock, House, text_message

PNG = png()
GOOD = {"姓名": "王小明", "电话": "138 1234-5678", "性别": "女", "出生年份": "1958", "职业": "退休", "社区": "枫林社区"}


async def imported(house: House, *rows: dict[str, str], skip_bad: bool = False) -> imports.Imported:
    async with house.store.write() as session:
        return await imports.import_residents(session, house.station.id, list(enumerate(rows, 2)), skip_bad=skip_bad)


# -- imports ----------------------------------------------------------------------------------------------------------


async def test_a_good_row_becomes_a_resident_who_is_found_by_name_and_phone(any_house: House) -> None:
    done = await imported(any_house, {**GOOD, "语言": "English", "住址": "1幢101室"})
    assert (done.added, done.updated, done.bad) == (1, 0, [])
    async with any_house.store.read() as session:
        found = await residents.find_by_phone(session, any_house.station.id, "13812345678")
        (by_name,) = await residents.find_by_name(session, any_house.station.id, "王小明")
        assert await residents.find_by_name(session, any_house.station.id + 1, "王小明") == []
    assert found is not None
    assert found.id == by_name.id
    assert (found.gender, found.birth_year, found.occupation, found.language) == ("female", 1958, "退休", "en")
    assert found.community_id == await any_house.community("枫林社区")
    assert found.home == "1幢101室"


async def test_who_is_known_by_his_phone_is_updated_and_an_empty_cell_wipes_nothing_out(house: House) -> None:
    await imported(house, GOOD)
    done = await imported(house, {"姓名": "王晓明", "电话": "13812345678", "职业": "司机", "出生年份": ""})
    assert (done.added, done.updated) == (0, 1)
    resident: Resident = await house.one(select(Resident))
    assert (resident.name, resident.occupation, resident.birth_year) == ("王晓明", "司机", 1958)


BAD = {
    "姓名": ("", "姓名 (name) is empty"),
    "电话": ("12-ab", "电话 (phone) is no telephone number"),
    "性别": ("X", "性别 (gender) must be 男 or 女"),
    "出生年份": ("58", "出生年份 (birth year) must be four digits, such as 1958"),
    "职业": ("宇航员", "职业 (occupation) must be one of 退休、"),
    "社区": ("月球社区", "社区 (community) '月球社区' is not one of the station's"),
    "语言": ("法语", "语言 (language) must be 中文 or English"),
}


@pytest.mark.parametrize("column", BAD)
async def test_a_bad_cell_is_named_with_its_line_and_nothing_is_written(house: House, column: str) -> None:
    value, reason = BAD[column]
    other = {**GOOD, "姓名": "李四", "电话": "13900000000"}
    done = await imported(house, other, {**GOOD, column: value})
    assert (done.added, done.updated) == (0, 0)
    ((line, said),) = [(bad.line, bad.reason) for bad in done.bad]
    assert line == 3
    assert reason in said
    assert await house.count(Resident) == 0
    done = await imported(house, other, {**GOOD, column: value}, skip_bad=True)
    assert (done.added, len(done.bad)) == (1, 1)
    assert [row.name for row in await house.all(select(Resident))] == ["李四"]


@pytest.mark.parametrize("year", ["1899", "2027", "19580", "一九五八", "1958.5", "-1958"])
async def test_a_year_that_is_none(house: House, year: str) -> None:
    assert len((await imported(house, {**GOOD, "出生年份": year})).bad) == 1


async def test_a_number_from_a_spreadsheet_is_a_year_too(house: House) -> None:
    assert (await imported(house, {**GOOD, "出生年份": "1958.0"})).added == 1


async def test_the_same_phone_twice_in_one_list_is_an_error(house: House) -> None:
    done = await imported(house, GOOD, {**GOOD, "姓名": "李四"})
    assert [bad.reason for bad in done.bad] == ["the phone number stands in line 2 too"]


# -- pictures ---------------------------------------------------------------------------------------------------------


async def send_picture(house: House, media_id: str) -> None:
    await house.hear(text_message("", kind=MessageKind.IMAGE, media=media_id))


async def test_a_picture_is_fetched_while_the_platform_has_it(house: House, frozen: FrozenClock) -> None:
    house.channel.pictures["there"] = Picture("image/png", PNG)
    house.channel.pictures["slow"] = SendError(Failure.RETRY, "-1", "平台繁忙")
    house.channel.pictures["gone"] = SendError(Failure.REFUSED, "40007", "图片已过期")
    for name in ("there", "slow", "gone"):
        await send_picture(house, name)
    await jobs.fetch_pictures(house.desk)
    there, slow, gone = await house.heard()
    kept: Media = await house.one(select(Media))
    assert (there.media_id, kept.data) == (kept.id, PNG)
    assert slow.details == {"media": "slow"}
    assert not (gone.details or {}).get("media")
    house.channel.pictures["slow"] = Picture("image/png", PNG)
    frozen.forward(hours=1)
    await jobs.fetch_pictures(house.desk)
    assert await house.count(Media) == 2


async def asked_for(house: House, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the platform is asked for from now on."""
    asked: list[str] = []
    fetch = house.channel.fetch_picture

    async def remember(name: str) -> Picture:
        asked.append(name)
        return await fetch(name)

    monkeypatch.setattr(house.channel, "fetch_picture", remember)
    return asked


async def test_pictures_the_platform_does_not_give_hold_up_nobody_elses(
    any_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = any_house
    asked = await asked_for(house, monkeypatch)
    for n in range(30):
        house.channel.pictures[f"slow-{n}"] = SendError(Failure.RETRY, "-1", "平台繁忙")
        house.channel.pictures[f"gone-{n}"] = SendError(Failure.REFUSED, "40007", "图片已过期")
        for name in ("slow", "gone"):
            await house.hear(text_message("", f"o-{name}", kind=MessageKind.IMAGE, media=f"{name}-{n}"))
    house.channel.pictures["there"] = Picture("image/png", PNG)
    await house.hear(text_message("", "o-last", kind=MessageKind.IMAGE, media="there"))
    await jobs.fetch_pictures(house.desk)
    assert "there" in asked
    assert await house.count(Media) == 1
    for _ in range(5):
        await jobs.fetch_pictures(house.desk)
    assert len(asked) == len(set(asked)) == 60, "the others one after the other, and none a second time so soon"


async def test_a_picture_is_asked_for_ever_more_seldom_and_not_after_the_platform_threw_it_away(
    house: House, frozen: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = await asked_for(house, monkeypatch)
    house.channel.pictures["slow"] = SendError(Failure.RETRY, "-1", "平台繁忙")
    await send_picture(house, "slow")
    minutes, since = [], frozen.now
    for _ in range(4 * 24 * 60):
        before = len(asked)
        await jobs.fetch_pictures(house.desk)
        minutes += [int((frozen.now - since).total_seconds() // 60)] * (len(asked) - before)
        if not (await house.heard())[0].fetch_at:
            break
        frozen.now = max(frozen.now + timedelta(minutes=1), (await house.heard())[0].fetch_at or frozen.now)
    assert minutes[:5] == [0, 1, 2, 12, 72]
    assert 12 < len(asked) < 20
    assert not ((await house.heard())[0].details or {}).get("media")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PNG, "image/png"),
        (jpeg(), "image/jpeg"),
        (gif(), "image/gif"),
        (webp(), "image/webp"),
    ],
)
def test_a_picture_is_known_by_its_first_bytes(data: bytes, kind: str) -> None:
    assert media.content_type_of(data) == kind


@pytest.mark.parametrize("data", [b"", b"<svg onload=alert(1)>", b"%PDF-1.4", b"MZ", b"RIFF0000WAVE"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ActionError, match="只能发送"):
        media.content_type_of(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n" + b"junk" * 20,
        png()[:-4],
        b"\xff\xd8\xff\xe0" + b"junk" * 20,
        jpeg()[:-2],
        b"\xff\xd8\xff\xd9",
        gif()[:-1],
        b"GIF89a;",
        webp()[:-1],
    ],
)
def test_a_picture_that_is_not_whole_is_refused(data: bytes) -> None:
    with pytest.raises(ActionError, match="不完整"):
        media.content_type_of(data)


def test_what_a_telephone_appends_to_a_picture_does_not_matter() -> None:
    assert media.content_type_of(jpeg() + b"a short film") == "image/jpeg"
    assert media.content_type_of(png() + b"\0\0") == "image/png"


def test_a_picture_too_large_is_refused() -> None:
    with pytest.raises(ActionError, match="2 MB"):
        media.content_type_of(PNG + b"x" * (2 * 1024 * 1024))


# -- erasing and retention --------------------------------------------------------------------------------------------


async def test_erasing_takes_every_word_and_what_still_waits_to_be_sent(any_house: House, frozen: FrozenClock) -> None:
    house = any_house
    await house.hear("我叫王小明，停水了")
    await house.hear("楼上太吵了")
    ticket = await house.take("zhang")
    await house.close_ticket("zhang", ticket, farewell="王小明您好，已处理。")
    await house.hear("阿巴阿巴王小明")  # a dialogue that remembers the question
    await jobs.index_messages(house.desk)
    assert await house.count(SearchWord) > 0
    async with house.store.write() as session:
        resident = await session.get_one(Resident, (await house.resident()).id)
        await residents.erase(session, resident, now=frozen.now, actor=Actor(house.station.id), why="居民要求")
    await house.work()
    assert house.channel.given == []
    assert {row.body for row in await house.all(select(StoredMessage))} == {residents.ERASED_TEXT}
    assert await house.count(SearchWord) == 0
    assert (await house.conversation()).dialogue is None
    assert {row.subject for row in await house.all(select(Ticket))} == {residents.ERASED_TEXT}
    event: AuditEvent = await house.one(select(AuditEvent).where(AuditEvent.action == "resident.erased"))
    assert (event.subject, event.why) == (f"resident:{resident.id}", "居民要求")


async def note(house: House, ticket_id: int, body: str) -> None:
    officer = await house.officer("zhang")
    async with house.store.write() as session:
        ticket = await session.get_one(Ticket, ticket_id)
        await tickets.note(session, ticket, officer, body, actor=Actor(house.station.id, officer.id))


async def test_retention_takes_words_and_pictures_and_leaves_figures(any_house: House, frozen: FrozenClock) -> None:
    house = any_house
    house.channel.pictures["p"] = Picture("image/png", PNG)
    await house.hear("楼上太吵了")
    await send_picture(house, "p")
    await jobs.fetch_pictures(house.desk)
    await jobs.index_messages(house.desk)
    ticket = await house.take("zhang")
    await note(house, ticket, "他家在三楼")
    await house.close_ticket("zhang", ticket)
    frozen.forward(days=1094)
    await house.hear("你好")
    await jobs.forget(house.desk)
    assert (await house.heard())[0].body == "楼上太吵了"
    frozen.forward(days=2)
    await jobs.forget(house.desk)
    bodies = [row.body for row in await house.all(select(StoredMessage).order_by(StoredMessage.id))]
    assert bodies[-2:] == ["你好", "您好，请讲。"]
    assert set(bodies[:-2]) == {"(已过保存期限)"}
    assert await house.count(Media) == 0
    assert (await house.heard())[0].topic == "dispute.noise"
    assert [row.subject for row in await house.tickets()] == ["(已过保存期限)"]
    assert [row.body for row in await house.all(select(Note))] == ["(已过保存期限)"]
    async with house.store.read() as session:
        _, found = await search.search(session, house.station.id, Criteria(words=("太吵",)))
    assert found == 0


# -- search -----------------------------------------------------------------------------------------------------------


async def test_messages_are_found_by_all_their_words_and_by_who_when_and_how(
    any_house: House, frozen: FrozenClock
) -> None:
    house, station_id = any_house, any_house.station.id
    await house.hear("身份证丢了怎么办", "o-1")
    frozen.forward(days=1)
    await house.hear("楼上太吵了", "o-2")
    ticket = await house.take("zhang", "o-2")
    await house.close_ticket("zhang", ticket, farewell="已上门劝说。")
    await jobs.index_messages(house.desk)
    resident = (await house.resident("o-1")).id
    officer = (await house.officer("zhang")).id
    asked: list[tuple[Criteria, set[str]]] = [
        (Criteria(words=("丢了", "怎么")), {"身份证丢了怎么办"}),
        (Criteria(words=("身份", "太吵")), set()),
        (Criteria(words=("劝说",)), {"已上门劝说。"}),
        (Criteria(officer_id=officer), {"已上门劝说。"}),
        (Criteria(decision="officer"), {"楼上太吵了"}),
        (Criteria(words=("太吵",), outcome="answered"), {"楼上太吵了"}),
        (Criteria(words=("怎么",), resident_ids=(resident,)), {"身份证丢了怎么办"}),
        (Criteria(words=("太吵",), resident_ids=(resident,)), set()),
        (Criteria(words=("怎么",), until=frozen.now), {"身份证丢了怎么办"}),
        (Criteria(words=("丢了",), since=frozen.now), set()),
        (Criteria(words=("丢了",), channel="other"), set()),
    ]
    async with house.store.read() as session:
        for criteria, expected in asked:
            rows, total = await search.search(session, station_id, criteria)
            found = {row.body for row in rows}
            assert (found, total) == (expected, len(expected)), criteria
        assert (await search.search(session, station_id + 1, Criteria(words=("身份",))))[1] == 0


async def test_more_messages_than_one_go_are_indexed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "INDEXED_AT_ONCE", 1)
    monkeypatch.setattr(search, "MARKED_AT_ONCE", 3)
    for n in range(5):
        await house.hear("身份证丢了怎么办", f"o-{n}")
    await jobs.index_messages(house.desk)
    assert await house.count(StoredMessage, StoredMessage.indexed.is_(False)) == 0
    async with house.store.read() as session:
        rows, total = await search.search(session, house.station.id, Criteria(words=("怎么",)))
    assert total == 5
    assert len(rows) == 5


async def test_a_page_holds_the_newest_first(house: House) -> None:
    for n in range(search.PAGE_ROWS + 2):
        await house.hear("身份证丢了怎么办", f"o-{n}")
    await jobs.index_messages(house.desk)
    async with house.store.read() as session:
        first, total = await search.search(session, house.station.id, Criteria(words=("怎么",)))
        second, _ = await search.search(session, house.station.id, Criteria(words=("怎么",)), page=2)
    assert (len(first), len(second), total) == (search.PAGE_ROWS, 2, search.PAGE_ROWS + 2)
    numbers = [row.id for row in (*first, *second)]
    assert numbers == sorted(numbers, reverse=True)


async def test_who_came_back_after_being_erased_is_somebody_again(house: House, frozen: FrozenClock) -> None:
    await house.hear("删除我的信息")
    await house.hear("确认删除")
    await house.hear("登记")
    await house.hear("枫林社区")
    await house.hear("1958")
    resident = await house.resident(WANG)
    assert resident.erased_at is None
    assert resident.birth_year == 1958


async def test_a_web_visitor_who_never_came_back_is_erased(house: House, frozen: FrozenClock) -> None:
    fields: dict[str, Any] = {"address": {"last_inbound_at": frozen.now, "channel": "web"}}
    gone = await house.add_resident("v-gone", birth_year=1958, **fields)
    known = await house.add_resident("v-known", phone="13812345678", birth_year=1958, **fields)
    house.desk.channels["web"] = _web_channel()  # type: ignore[index]
    frozen.forward(days=181)
    await jobs.forget(house.desk)
    rows = {row.id: row.birth_year for row in await house.all(select(Resident))}
    assert rows == {gone: None, known: 1958}


def _web_channel() -> Any:
    channel: Any = type("WebChat", (), {"name": "web", "kind": "webchat"})()
    return channel


async def test_an_import_is_in_the_log_without_names(house: House) -> None:
    await imported(house, GOOD)
    event: AuditEvent = await house.one(select(AuditEvent).where(AuditEvent.action == "residents.imported"))
    assert event.details == {"rows": 1}


async def test_a_phone_of_a_station_belongs_to_that_station(house: House) -> None:
    await imported(house, GOOD)
    async with house.store.write() as session:
        await session.execute(update(Resident).values(station_id=house.station.id + 1))
    assert (await imported(house, GOOD)).added == 1

"""Reading chat logs: found by words, recorded with a reason, never another station's, exported with proof."""

import csv
import hashlib
import io
import re
from datetime import timedelta

import pytest
from openpyxl import load_workbook
from sqlalchemy import select

from bot import clock
from bot.console.export import harmless
from bot.console.review import excerpt, highlighted
from bot.store import search
from bot.store.models import AuditEvent, Conversation, StoredMessage
from tests.console.house import Browser, House

WHY = "核实投诉2026-118"


async def index(house: House) -> None:
    for runtime, furnished in zip(house.runtimes, house.houses, strict=True):
        async with house.store.write() as session:
            await search.index_pending(session, furnished.station.id, runtime.knowledge.words)


async def look(browser: Browser, **fields: str) -> str:
    """Fill in the form and read the results."""
    await browser.read("/console/review")
    response = await browser.post("/console/review", **({"why": WHY} | fields))
    assert response.status == 303, await response.text()
    return await browser.read(response.headers["Location"].partition("#")[0])


async def events(house: House, action: str) -> list[AuditEvent]:
    async with house.store.read() as session:
        rows = await session.execute(
            select(AuditEvent)
            .where(AuditEvent.station_id == house.first.station.id, AuditEvent.action == action)
            .order_by(AuditEvent.seq)
        )
        return list(rows.scalars())


def numbers(page: str) -> list[int]:
    return [int(number) for number in re.findall(r"&amp;m=(\d+)#m\1", page)]


async def test_a_reviewer_finds_what_was_said_by_its_words(house: House) -> None:
    said = await house.resident_says("open", "昨天有人冒充银行客服让我转账三万元")
    await house.resident_says("open", "客服说可以退货")
    await index(house)
    reviewer = await house.logged_in("shen")
    page = await look(reviewer, words="银行 转账")
    assert numbers(page) == [said]
    assert "<mark>转账</mark>" in page
    assert "王**" in page
    assert "王小明" not in page


async def test_a_message_that_was_taken_back_is_found_and_not_shown(house: House) -> None:
    said = await house.resident_says("open", "我把银行密码发错了")
    await index(house)
    async with house.store.write() as session:
        (await session.get_one(StoredMessage, said)).recalled = True
    page = await look(await house.logged_in("shen"), words="密码")
    assert numbers(page) == [said]
    assert "（已撤回）" in page
    assert "发错了" not in page


async def test_words_are_words_and_not_letters(house: House) -> None:
    """「公安」 is not in 「办公安排」."""
    await house.resident_says("open", "请问办公安排在几点")
    found = await house.resident_says("open", "我想找公安报案")
    await index(house)
    assert numbers(await look(await house.logged_in("shen"), words="公安")) == [found]


async def test_traditional_and_wide_letters_find_the_same(house: House) -> None:
    said = await house.resident_says("open", "护照丢了怎么办")
    await index(house)
    assert numbers(await look(await house.logged_in("shen"), words="護照")) == [said]


async def test_a_resident_is_found_by_exact_name_or_phone(house: House) -> None:
    await index(house)
    reviewer = await house.logged_in("shen")
    by_name = numbers(await look(reviewer, resident="王小明"))
    assert by_name
    assert numbers(await look(reviewer, resident="138 1234-5678")) == by_name
    assert numbers(await look(reviewer, resident="王小")) == []
    assert "没有符合条件的消息" in await look(reviewer, resident="没有这个人")


async def test_filters_narrow(house: House) -> None:
    await index(house)
    reviewer = await house.logged_in("shen")
    everything = numbers(await look(reviewer))
    assert len(everything) == 4
    today = f"{clock.now() + timedelta(hours=8):%Y-%m-%d}"
    tomorrow = f"{clock.now() + timedelta(hours=32):%Y-%m-%d}"
    assert numbers(await look(reviewer, since=today, until=today)) == everything
    assert numbers(await look(reviewer, since=tomorrow)) == []
    assert len(numbers(await look(reviewer, decision="officer"))) == 2
    assert numbers(await look(reviewer, outcome="resolved")) == []
    assert numbers(await look(reviewer, channel="web")) == everything
    assert len(numbers(await look(reviewer, author="bot"))) == 2
    assert numbers(await look(reviewer, author="officer")) == []
    assert numbers(await look(reviewer, officer=str(house.first.officers["zhang"]))) == []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"why": ""}, "请写明查阅的原因"),
        ({"why": "长" * 101}, "原因最多 100 个字"),
        ({"words": "长" * 61}, "搜索的词语最多"),
        ({"since": "昨天"}, "开始日期请按"),
        ({"since": "0001-01-01"}, "开始日期的年份不对"),
        ({"since": "2026-05-02", "until": "2026-05-01"}, "开始日期不能晚于结束日期"),
        ({"officer": "x"}, "请从列表中选择民警"),
        ({"outcome": "x"}, "有一项条件不在列表中"),
        ({"decision": "x"}, "有一项条件不在列表中"),
        ({"author": "x"}, "有一项条件不在列表中"),
        ({"channel": "x"}, "有一项条件不在列表中"),
    ],
)
async def test_a_refused_search_says_why_and_keeps_what_was_typed(
    house: House, wrong: dict[str, str], sentence: str
) -> None:
    reviewer = await house.logged_in("shen")
    response = await reviewer.post("/console/review", **({"why": WHY, "resident": "留住我"} | wrong))
    page = await response.text()
    assert response.status == 422
    assert sentence in page
    assert "留住我" in page
    assert await events(house, "review.searched") == []


async def test_each_search_is_recorded_without_the_words(house: House) -> None:
    await house.resident_says("open", "我被骗了三万元")
    await index(house)
    reviewer = await house.logged_in("shen")
    for words in ("被骗", "被骗", "银行"):
        await look(reviewer, words=words, resident="王小明")
    recorded = await events(house, "review.searched")
    assert [event.why for event in recorded] == [WHY] * 3
    assert {event.actor_id for event in recorded} == {house.first.officers["shen"]}
    assert recorded[0].details["words"] == 1
    assert recorded[0].details["words_hash"] == recorded[1].details["words_hash"] != recorded[2].details["words_hash"]
    assert recorded[0].details["residents"] == [house.first.residents[0]]
    assert "被骗" not in str([event.details for event in recorded])
    assert "王小明" not in str([event.details for event in recorded])


async def test_the_address_of_a_search_tells_nothing_and_is_good_for_one_officer(house: House) -> None:
    reviewer = await house.logged_in("shen")
    response = await reviewer.post("/console/review", why=WHY, words="被骗", resident="王小明")
    address = response.headers["Location"].partition("#")[0]
    assert "被骗" not in address
    assert re.fullmatch(r"/console/review\?s=[\w-]+", address)
    chief = await house.logged_in("suo")
    page = await chief.read(address)
    assert "这次查阅已经过期" in page
    assert "王小明" not in page
    assert len(await events(house, "review.searched")) == 0


async def test_a_search_ends_with_the_log_in(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    reviewer = await house.logged_in("shen")
    response = await reviewer.post("/console/review", why=WHY)
    start = clock.now()
    monkeypatch.setattr("bot.console.sealed.LASTS", timedelta(hours=1))
    monkeypatch.setattr(clock, "_source", lambda: start + timedelta(minutes=61))
    assert "这次查阅已经过期" in await reviewer.read(response.headers["Location"].partition("#")[0])


async def test_results_come_in_pages(house: House) -> None:
    said = [await house.resident_says("open", f"噪音扰民第{n}次") for n in range(35)]
    await index(house)
    reviewer = await house.logged_in("shen")
    page = await look(reviewer, words="噪音")
    assert numbers(page) == said[:4:-1]
    following = re.search(r'href="(\?s=[\w-]+&amp;page=2)#results">下一页', page)
    assert following
    page = await reviewer.read("/console/review" + following[1].replace("&amp;", "&"))
    assert numbers(page) == said[4::-1]
    assert [event.details["page"] for event in await events(house, "review.searched")] == [1, 2]


async def test_opening_a_conversation_is_recorded_with_the_reason_of_the_search(house: House) -> None:
    said = await house.resident_says("open", "我被骗了三万元", decision="unknown")
    await index(house)
    reviewer = await house.logged_in("shen")
    page = await look(reviewer, words="被骗")
    link = re.search(r'href="(/console/review/\d+\?[^"]+)"', page)
    assert link
    page = await reviewer.read(link[1].replace("&amp;", "&").partition("#")[0])
    assert "身份证丢了怎么补办" in page, "the whole log, not only what was found"
    assert f'class="in hit" id="m{said}"' in page
    assert "没听懂" in page
    assert "王小明" not in page
    assert 'name="text"' not in page, "read-only"
    (event,) = await events(house, "review.opened")
    assert (event.subject, event.why) == (f"conversation:{house.first.conversations[0]}", WHY)
    assert event.details["to"] == said


async def test_a_conversation_opened_by_its_address_asks_for_the_reason_first(house: House) -> None:
    reviewer = await house.logged_in("shen")
    path = f"/console/review/{house.first.conversations[0]}"
    page = await reviewer.read(path)
    assert "身份证丢了" not in page
    assert await events(house, "review.opened") == []
    assert (await reviewer.post(path, why=" ")).status == 422
    response = await reviewer.post(path, why="督察抽查")
    assert "身份证丢了" in await reviewer.read(response.headers["Location"])
    assert [event.why for event in await events(house, "review.opened")] == ["督察抽查"]


async def test_a_long_conversation_is_opened_where_the_words_are(house: House) -> None:
    said = [await house.resident_says("open", f"第{n}句") for n in range(250)]
    reviewer = await house.logged_in("shen")
    path = f"/console/review/{house.first.conversations[0]}"
    start = (await reviewer.post(path, why=WHY)).headers["Location"]
    page = await reviewer.read(f"{start}&m={said[20]}")
    assert f'id="m{said[20]}"' in page
    assert f'id="m{said[200]}"' not in page
    newer = re.search(r'href="(\?s=[^"]+)">查看更新的消息', page)
    assert newer
    page = await reviewer.read(path + newer[1].replace("&amp;", "&"))
    assert f'id="m{said[60]}"' in page
    assert "第249句" in await reviewer.read(start)


@pytest.mark.parametrize("username", ["chen", "fu", "guan"])
async def test_who_may_not_review_reads_nothing(house: House, username: str) -> None:
    browser = await house.logged_in(username)
    number = house.first.conversations[0]
    assert (await browser.get("/console/review")).status == 403
    assert (await browser.get(f"/console/review/{number}")).status == 403
    for path in ("", "/export", f"/{number}", f"/{number}/export"):
        assert (await browser.post(f"/console/review{path}", why=WHY)).status == 403, path


async def test_another_station_finds_and_opens_nothing_of_ours(house: House) -> None:
    await house.resident_says("open", "我被骗了三万元")
    await index(house)
    stranger = await house.logged_in("shen", station=1)
    assert numbers(await look(stranger, words="三万")) == []
    assert numbers(await look(stranger, officer=str(house.first.officers["zhang"]))) == []
    path = f"/console/review/{house.first.conversations[0]}"
    assert (await stranger.get(path)).status == 404
    start = (await stranger.post(path, why=WHY)).headers["Location"]
    assert (await stranger.get(start)).status == 404
    slip = start.partition("?s=")[2]
    assert (await stranger.post(f"{path}/export", s=slip, form="csv")).status == 404


async def slip_of(browser: Browser, **fields: str) -> str:
    response = await browser.post("/console/review", **({"why": WHY} | fields))
    return response.headers["Location"].partition("?s=")[2].partition("#")[0]


async def test_an_export_says_who_when_why_and_its_hash_is_in_the_log(house: House) -> None:
    await house.resident_says("open", '=HYPERLINK("http://evil.example","中奖")')
    await index(house)
    reviewer = await house.logged_in("shen")
    response = await reviewer.post("/console/review/export", s=await slip_of(reviewer), form="csv")
    content = await response.read()
    assert response.status == 200
    assert content.startswith(b"\xef\xbb\xbf")
    assert response.headers["Content-Disposition"].startswith('attachment; filename="search-')
    lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    head = dict(line for line in lines if len(line) == 2)
    assert head["导出人"] == "沈静 330004"
    assert head["导出原因"] == WHY
    assert head["记录条数"] == "5"
    assert any("'=HYPERLINK" in cell for line in lines for cell in line)
    assert not any(cell.startswith("=") for line in lines for cell in line)
    assert "王小明" not in content.decode()
    (event,) = await events(house, "review.exported")
    assert event.why == WHY
    assert event.details["sha256"] == hashlib.sha256(content).hexdigest()
    assert event.details["rows"] == 5


async def test_a_conversation_is_exported_as_a_spreadsheet(house: House) -> None:
    await house.resident_says("open", "=1+1\x0b控制符")
    reviewer = await house.logged_in("shen")
    path = f"/console/review/{house.first.conversations[0]}"
    slip = (await reviewer.post(path, why=WHY)).headers["Location"].partition("?s=")[2]
    response = await reviewer.post(f"{path}/export", s=slip, form="xlsx")
    content = await response.read()
    sheet = load_workbook(io.BytesIO(content)).worksheets[0]
    cells = [cell for row in sheet.iter_rows() for cell in row if cell.value is not None]
    assert {cell.data_type for cell in cells} == {"s"}
    assert "'=1+1控制符" in [cell.value for cell in cells]
    (event,) = await events(house, "review.exported")
    assert event.subject == f"conversation:{house.first.conversations[0]}"
    assert event.details["sha256"] == hashlib.sha256(content).hexdigest()


async def test_an_export_without_a_search_is_refused(house: House) -> None:
    reviewer = await house.logged_in("shen")
    chief = await house.logged_in("suo")
    for slip in ("", "nonsense", "AAAA", await slip_of(chief)):
        response = await reviewer.post("/console/review/export", s=slip, form="csv")
        assert response.status == 422
        assert "请重新搜索后再导出" in await response.text()
    response = await reviewer.post("/console/review/export", s=await slip_of(reviewer), form="exe")
    assert response.status == 422
    assert await events(house, "review.exported") == []


async def test_too_large_an_export_asks_for_a_smaller_one(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.console.review.EXPORT_ROWS", 3)
    reviewer = await house.logged_in("shen")
    response = await reviewer.post("/console/review/export", s=await slip_of(reviewer), form="csv")
    assert response.status == 422
    assert "结果有 4 条，一次最多导出 3 条" in await response.text()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "＝", " ="])
def test_nobodys_words_become_a_formula(start: str) -> None:
    assert harmless(f"{start}1+1").startswith("'")


def test_a_long_message_is_shown_around_the_word() -> None:
    text = "前" * 300 + "转账" + "后" * 300
    part = excerpt(text, ("转账",))
    assert "转账" in part
    assert len(part) < 200
    assert [(piece.text, piece.found) for piece in highlighted("请转账给我", ("转账",))] == [
        ("请", False),
        ("转账", True),
        ("给我", False),
    ]


async def test_markup_in_a_message_stays_text(house: House) -> None:
    await house.resident_says("open", "<img src=x onerror=alert(1)> 转账")
    await index(house)
    page = await look(await house.logged_in("shen"), words="转账")
    assert "<img src=x" not in page
    assert "&lt;img" in page


async def test_review_on_postgres(make_house: object, postgres_url: str) -> None:
    house: House = await make_house(postgres_url)  # type: ignore[operator]
    said = await house.resident_says("open", "昨天有人冒充银行客服让我转账三万元")
    await index(house)
    reviewer = await house.logged_in("shen")
    assert numbers(await look(reviewer, words="银行 转账", decision="", channel="web")) == [said]
    async with house.store.read() as session:
        assert await session.get(Conversation, house.first.conversations[0]) is not None

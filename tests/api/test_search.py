"""Searching the chat logs: by words and by who, with a reason that stays."""

from typing import Any

import pytest

from bot.store import search as stored

from .conftest import QUESTION, House


@pytest.fixture
async def indexed(house: House) -> House:
    async with house.store.write() as session:
        await stored.index_pending(
            session, house.station.id, lambda text: {text[start : start + 2] for start in range(len(text))} | {"身份证"}
        )
    return house


async def test_a_search_finds_and_stands_in_the_audit_log_with_its_reason(indexed: House) -> None:
    shen = await indexed.caller("shen")
    found = await shen.do("/search", {"q": "身份证", "reason": "核实投诉"})
    [message] = found["messages"]
    assert (message["text"], message["resident"]["name"], message["topic"]) == (QUESTION, "王**", "idcard.lost")
    assert (found["total"], found["more"]) == (1, False)
    [event] = await indexed.audit("review.searched")
    assert (event.actor_id, event.why) == (indexed.furniture.officers["shen"], "核实投诉")
    assert event.details["total"] == 1
    assert "身份证" not in str(event.details)


NARROWED: tuple[tuple[dict[str, Any], set[str]], ...] = (
    ({}, {"resident", "bot"}),
    ({"decision": "officer"}, {"resident"}),
    ({"decision": "answer"}, set()),
    ({"channel": "web"}, {"resident", "bot"}),
    ({"channel": "fenglin"}, set()),
    ({"until": "2001-01-01T00:00:00Z"}, set()),
    ({"since": "2001-01-01T00:00:00+08:00"}, {"resident", "bot"}),
    ({"outcome": "answered"}, set()),
    ({"page": 2}, set()),
)


async def test_a_search_can_be_narrowed(house: House) -> None:
    chief = await house.caller("suo")
    for asked, authors in NARROWED:
        found = await chief.do("/search", {"reason": "核实投诉", **asked})
        assert {message["author"] for message in found["messages"]} == authors, asked


async def test_an_officers_own_words_are_found_by_him(house: House) -> None:
    chen = await house.caller("chen")
    await chen.do(f"/tickets/{house.ticket}/take")
    await chen.do(f"/tickets/{house.ticket}/reply", {"text": "请带户口簿。"})
    number = house.furniture.officers["chen"]
    found = await (await house.caller("shen")).do("/search", {"reason": "抽查答复", "officer_id": number})
    assert [(message["text"], message["officer"]["name"]) for message in found["messages"]] == [
        ("请带户口簿。", "陈建国")
    ]


WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "reason"),
    ({"reason": " "}, "reason"),
    ({"reason": "长" * 101}, "reason"),
    ({"reason": "核实投诉", "page": 0}, "page"),
    ({"reason": "核实投诉", "page": 1001}, "page"),
    ({"reason": "核实投诉", "since": "昨天"}, "since"),
    ({"reason": "核实投诉", "outcome": "x"}, "outcome"),
    ({"reason": "核实投诉", "q": "，。！"}, "q"),
    ({"reason": "核实投诉", "q": "一二三四五六七八九十甲乙丙丁戊己庚辛壬癸子丑寅卯辰巳午未申酉戌亥"}, "q"),
    ({"reason": "核实投诉", "name": "王小明"}, "name"),
)


async def test_a_search_without_a_reason_or_with_a_wrong_field_shows_nothing(house: House) -> None:
    shen = await house.caller("shen")
    for asked, field in WRONG:
        heard = await shen.post("/search", asked)
        assert (heard.status, heard.slug, heard.fields) == (422, "invalid", [field]), asked
    assert await house.audit("review.searched") == []


async def test_a_field_given_twice_is_wrong(house: House) -> None:
    chen = await house.caller("chen")
    heard = await chen.call("GET", "/tickets", params=[("state", "open"), ("page", "1"), ("page", "2")])
    assert (heard.slug, heard.fields) == ("invalid", ["page"])


async def test_the_words_looked_for_stand_in_no_address(house: House) -> None:
    heard = await (await house.caller("shen")).get("/search", q="身份证", reason="核实投诉")
    assert (heard.status, heard.slug, heard.headers["Allow"]) == (405, "wrong-method", "POST")


async def test_communities_and_who_answers_for_them(house: House) -> None:
    listed = (await (await house.caller("guan")).read("/communities"))["communities"]
    assert [(row["code"], [person["name"] for person in row["officers"]]) for row in listed] == [
        ("c1", []),
        ("c2", ["张敏"]),
    ]

"""What sync_msg brings, row by row, and what a reply becomes."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.channels.kf_messages import MENU_HEAD_BYTES, Page, Part, happening_of, number_of, page_of, parts
from bot.message import (
    Choice,
    EventKind,
    Message,
    MessageKind,
    NotDelivered,
    Recalled,
    Reply,
    SaidElsewhere,
    SessionMoved,
)
from bot.reach import Grant
from tests.support.station import FrozenClock

WHEN = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
SERIES = "0a1b2c3d"


def row(kind: str = "text", content: Any = None, **changed: Any) -> dict[str, Any]:
    whole = {
        "msgid": "m-1",
        "open_kfid": "wk1",
        "external_userid": "wmWang",
        "send_time": int(WHEN.timestamp()),
        "origin": 3,
        "msgtype": kind,
        kind: {"content": "你好"} if content is None else content,
    }
    return {name: value for name, value in (whole | changed).items() if value is not ...}


def event(name: str, **fields: Any) -> dict[str, Any]:
    content = {"event_type": name, "open_kfid": "wk1", "external_userid": "wmWang", **fields}
    return row("event", content, origin=4, external_userid=...)


def read(one: dict[str, Any]) -> Any:
    return happening_of("fenglin", one, series=SERIES)


def message(one: dict[str, Any]) -> Message:
    found = read(one)
    assert isinstance(found, Message)
    return found


# -- messages ---------------------------------------------------------------------------------------------------------


def test_words_with_what_they_allow_us() -> None:
    found = message(row())
    assert (found.sender, found.platform_id, found.text, found.sent_at) == ("wmWang", "m-1", "你好", WHEN)
    assert found.kind is MessageKind.TEXT


def test_a_choice_of_ours_is_its_words_and_a_servicer_s_menu_is_what_the_resident_sees() -> None:
    (menu,) = parts(Reply("您是想问：", (Choice("身份证丢了补办", "1"),)))
    click = menu.content["list"][0]["click"]
    assert click["content"] == "身份证丢了补办"
    assert message(row(content={"content": click["content"], "menu_id": click["id"]})).text == "1"
    assert message(row(content={"content": "满意", "menu_id": "101"})).text == "满意"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("image", MessageKind.IMAGE), ("voice", MessageKind.VOICE), ("video", MessageKind.VIDEO)],
)
def test_what_is_kept_at_the_platform(kind: str, expected: MessageKind) -> None:
    found = message(row(kind, {"media_id": "MEDIA"}))
    assert (found.kind, found.media, found.text) == (expected, "MEDIA", "")


def test_a_place() -> None:
    found = message(row("location", {"latitude": 30.5, "longitude": 120, "name": "枫林广场", "address": "1号"}))
    assert found.location is not None
    assert (found.location.latitude, found.location.longitude, found.text) == (30.5, 120.0, "枫林广场 1号")
    far = message(row("location", {"latitude": 300, "longitude": 120}))
    assert (far.kind, far.location) == (MessageKind.UNKNOWN, None)


def test_a_link_and_a_mini_program_are_ways_to_a_page() -> None:
    link = message(row("link", {"title": "中奖了", "desc": "点我", "url": "http://bad.example"}))
    assert (link.kind, link.url, link.extra) == (
        MessageKind.LINK,
        "http://bad.example",
        {"title": "中奖了", "description": "点我"},
    )
    program = message(row("miniprogram", {"title": "刷单", "appid": "wx1", "pagepath": "p.html"}))
    assert (program.kind, program.url, program.extra["title"]) == (MessageKind.LINK, "p.html", "刷单")


@pytest.mark.parametrize(
    ("kind", "content", "shown"),
    [
        ("file", {"media_id": "M"}, "文件"),
        ("business_card", {"userid": "zhang"}, "名片：zhang"),
        ("msgmenu", {"head_content": "请选择", "list": []}, "菜单：请选择"),
        ("channels", {"sub_type": 1, "nickname": "某号", "title": "稳赚"}, "视频号：稳赚"),
        ("channels_shop_product", {"title": "玉石"}, "视频号商品：玉石"),
        ("channels_shop_order", {"order_id": "9"}, "视频号订单：9"),
        ("meeting", {}, "会议"),
        ("schedule", {}, "日程"),
        ("note", {}, "笔记"),
        ("hologram", {"angle": 3}, ""),
        ("text", {"words": "no content"}, ""),
    ],
)
def test_what_is_neither_words_nor_a_picture_is_named_for_the_officer(
    kind: str, content: dict[str, Any], shown: str
) -> None:
    found = message(row(kind, content))
    assert (found.kind, found.text, found.extra["type"]) == (MessageKind.UNKNOWN, shown, kind)


def test_a_forwarded_conversation_can_be_read() -> None:
    items = [
        {
            "msgtype": "text",
            "sender_name": "客服小王",
            "msg_content": json.dumps({"text": {"content": "转到安全账户"}}),
        },
        {"msgtype": "image", "sender_name": "我", "msg_content": "no json"},
    ]
    found = message(row("merged_msg", {"title": "群聊的聊天记录", "item": items}))
    assert found.text == "聊天记录：群聊的聊天记录\n客服小王：转到安全账户\n我：[image]"
    assert len(message(row("merged_msg", {"title": "长" * 9999, "item": items * 99})).text) == 2000


def test_a_servicer_s_words_are_an_officer_s_and_grant_nothing() -> None:
    found = read(row(origin=5, servicer_userid="zhang"))
    assert isinstance(found, SaidElsewhere)
    assert (found.servicer, found.message.text, found.message.grant) == ("zhang", "你好", None)


# -- events -----------------------------------------------------------------------------------------------------------


def test_entering_carries_the_community_of_the_link_and_the_welcome_code() -> None:
    found = message(event("enter_session", scene="card", scene_param="%E6%9E%AB", welcome_code="CODE"))
    assert found.event is not None
    assert (found.event.kind, found.event.key, found.extra["code"]) == (EventKind.ENTER, "枫", "CODE")
    assert (found.sender, found.grant) == ("wmWang", None)


@pytest.mark.parametrize(
    ("change", "servicer", "expected"),
    [(1, "zhang", "zhang"), (2, "li", "li"), (3, "", None), (3, "zhang", None), (4, "zhang", "zhang"), (9, "", None)],
)
def test_who_serves_after_a_change_in_the_client(change: int, servicer: str, expected: str | None) -> None:
    found = read(event("session_status_change", change_type=change, new_servicer_userid=servicer))
    assert found == SessionMoved("wmWang", expected)


@pytest.mark.parametrize(("change", "code", "speaks"), [(3, "CODE", True), (3, "", False), (1, "CODE", False)])
def test_the_end_of_a_session_is_an_event_too_when_its_code_lets_us_speak(change: int, code: str, speaks: bool) -> None:
    ended = event("session_status_change", change_type=change, new_servicer_userid="zhang", msg_code=code)
    moved, *more = page([ended]).happened
    assert isinstance(moved, SessionMoved)
    assert [(one.event.kind, one.extra) for one in more if isinstance(one, Message) and one.event] == (
        [(EventKind.SERVED, {"code": "CODE"})] if speaks else []
    )
    assert not any(one.is_act for one in more if isinstance(one, Message))


@pytest.mark.parametrize("name", ["user_recall_msg", "servicer_recall_msg"])
def test_a_recall(name: str) -> None:
    assert read(event(name, recall_msgid="m-0")) == Recalled("wmWang", "m-0")


@pytest.mark.parametrize("fail_type", [0, 1, 2, 4, 5, 6, 8, 10, 11, 12, 13, 99])
def test_every_reason_of_a_failure_is_a_sentence_for_the_officer(fail_type: int) -> None:
    number = number_of(SERIES, 17, 0, Part("text", {"content": "好"}))
    found = read(event("msg_send_fail", fail_msgid=number, fail_type=fail_type))
    assert isinstance(found, NotDelivered)
    assert (found.delivery_id, found.code) == (17, f"fail_{fail_type if fail_type != 99 else 0}")
    assert found.reason.endswith("。")


def test_an_event_nobody_knows_is_kept_and_one_about_nobody_is_passed_over() -> None:
    found = message(event("moon_landing"))
    assert found.event is not None
    assert (found.event.kind, found.event.name) == (EventKind.OTHER, "moon_landing")
    assert page([event("servicer_status_change", external_userid=...)]).happened == ()


# -- pages ------------------------------------------------------------------------------------------------------------


def page(rows: object, **changed: Any) -> Page:
    return page_of("fenglin", {"msg_list": rows, "next_cursor": "c", "has_more": 0, **changed}, series=SERIES)


def test_rows_that_are_none_are_counted_and_hold_up_no_other() -> None:
    bad = ["words", {}, row(msgid=""), row(msgid="x" * 101), row(send_time="soon"), row(external_userid="a b"), None]
    found = page([*bad, row()])
    assert (len(found.happened), found.unreadable) == (1, len(bad))


def test_half_a_character_is_replaced() -> None:
    assert message(row(content=json.loads('{"content": "好\\ud83d"}'))).text == "好?"


def test_a_page_without_rows_and_one_with_more_behind_it() -> None:
    assert page(None, has_more=1) == Page((), "c", has_more=True)
    assert page([], next_cursor=None) == Page((), "", has_more=False)


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
_named = st.dictionaries(
    st.sampled_from(
        [
            *("msgid", "msgtype", "send_time", "origin", "external_userid", "servicer_userid", "text", "event", "link"),
            *("location", "merged_msg", "item", "content", "event_type", "fail_msgid", "scene_param", "title"),
        ]
    ),
    _anything | st.sampled_from(["text", "event", "merged_msg", "location", "m-1", "wmWang", "msg_send_fail", 3, 4, 5]),
)


@given(st.dictionaries(st.text(), _anything) | _named, _named)
def test_whatever_a_row_is_it_is_read_or_passed_over(one: dict[str, Any], inner: dict[str, Any]) -> None:
    kind = one.get("msgtype")
    page([one, {**row(), **one}, {**one, str(kind): inner}, {**row(), "msgtype": str(kind), str(kind): inner}])


# -- out --------------------------------------------------------------------------------------------------------------


def test_words_and_choices_are_one_menu_where_they_fit() -> None:
    (menu,) = parts(Reply("要找民警吗？", (Choice("找民警", "找民警"), Choice("不用", "不用"))))
    assert (menu.kind, menu.content["head_content"], len(menu.content["list"])) == ("msgmenu", "要找民警吗？", 2)


def test_words_too_long_for_a_menu_go_before_it() -> None:
    text, menu = parts(Reply("字" * 500, (Choice("好", "好"),)))
    assert (text.kind, text.content["content"], menu.kind) == ("text", "字" * 500, "msgmenu")
    assert len(menu.content["head_content"].encode()) <= MENU_HEAD_BYTES


def test_a_menu_holds_ten_choices_of_128_bytes() -> None:
    choices = [Choice("题" * 90, f"{n}") for n in range(12)]
    (menu,) = parts(Reply("选", (Choice("长", "长" * 90), *choices)))
    assert len(menu.content["list"]) == 10
    assert all(len(one["click"]["content"].encode()) <= 128 for one in menu.content["list"])


def test_a_picture_comes_after_its_words_and_nothing_makes_nothing() -> None:
    assert [part.kind for part in parts(Reply("请看", picture=3))] == ["text", "image"]
    assert parts(Reply("  ")) == []


def test_a_part_has_the_same_number_each_time_and_other_words_another() -> None:
    first, second = parts(Reply("一", picture=3))
    assert number_of(SERIES, 10**13, 0, first) == number_of(SERIES, 10**13, 0, *parts(Reply("一")))
    assert len({number_of(SERIES, 7, 0, part) for part in (first, second, *parts(Reply("二")))}) == 3
    assert number_of(SERIES, 7, 0, first) != number_of(SERIES, 7, 1, first)  # the same words twice in one text
    assert len(number_of(SERIES, 10**13, 99, first)) <= 32


def test_what_a_message_allows_counts_from_when_it_was_written(frozen: FrozenClock) -> None:
    frozen.now = WHEN + timedelta(hours=3)
    assert message(row()).grant == Grant(5, timedelta(hours=45))
    frozen.now = WHEN + timedelta(hours=48)
    assert message(row()).grant is None


def test_the_end_of_a_session_is_about_the_resident_wherever_the_row_names_him() -> None:
    inside = event("session_status_change", change_type=3, msg_code="CODE")
    beside = event("session_status_change", change_type=3, msg_code="CODE", external_userid="")
    beside["external_userid"] = "wmWang"
    for one in (inside, beside):
        moved, served = page_of("fenglin", {"msg_list": [one]}, series=SERIES).happened
        assert isinstance(moved, SessionMoved)
        assert isinstance(served, Message)
        assert (moved.sender, served.sender) == ("wmWang", "wmWang")

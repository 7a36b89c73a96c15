"""What WeChat pushes becomes the right Message; long answers are cut and parted between characters."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from bot.channels.wechat_envelope import RefusedError
from bot.channels.wechat_messages import cut_for_passive, fits_passive, message_of, with_choices
from bot.message import Choice, Event, EventKind, Location, Message, MessageKind, Reply
from bot.parts import parts_of
from bot.reach import Grant
from tests.channels.conftest import OPENID, Moment
from tests.channels.test_wechat_envelope import envelope, open_signed
from tests.fakes.wechat.cipher import xml_of
from tests.fakes.wechat.pusher import ACCOUNT, Pusher

SENT = "1795334100"
MSG_ID = "23456789012345679"


def received(kind: str | None, body: str = "", **fields: str) -> Message:
    head = {"ToUserName": ACCOUNT, "FromUserName": OPENID, "CreateTime": SENT}
    if kind is not None:
        head["MsgType"] = kind
    if kind != "event":
        head["MsgId"] = MSG_ID
    xml = xml_of({**head, **fields}).replace(b"</xml>", f"{body}</xml>".encode())
    return message_of("fenglin", open_signed(Pusher("").sign(xml)))


@pytest.fixture(autouse=True)
def _present(moment: Moment) -> None:
    """All of this happens at one moment."""


def test_a_text_with_all_that_identifies_it() -> None:
    assert received("text", Content="身份证丢了怎么办") == Message(
        channel="fenglin",
        sender=OPENID,
        platform_id=MSG_ID,  # above 2**53 and not rounded
        kind=MessageKind.TEXT,
        sent_at=datetime.fromtimestamp(int(SENT), UTC),
        text="身份证丢了怎么办",
        grant=Grant(5, timedelta(hours=48)),
    )


@pytest.mark.parametrize(
    "words", ["", "   ", " 前后空格 ", "两行\n文字", "好" * 3000, "😀𠮷", "\u202eRTL\u200b零宽", "]]>", "0", "<a>&amp;"]
)
def test_words_are_kept_as_they_were_typed(words: str) -> None:
    message = received("text", Content=words)
    assert (message.kind, message.text) == (MessageKind.TEXT, words)


def test_a_tapped_menu_choice_is_a_text_whatever_its_id() -> None:
    message = received("text", Content="补办身份证", bizmsgmenuid="0")
    assert (message.kind, message.text, message.extra) == (MessageKind.TEXT, "补办身份证", {"menu_id": "0"})


def test_a_picture() -> None:
    message = received("image", PicUrl="http://mmbiz.example/1", MediaId="media-1")
    assert (message.kind, message.media, message.url) == (MessageKind.IMAGE, "media-1", "http://mmbiz.example/1")


@pytest.mark.parametrize(
    ("fields", "words"), [({}, ""), ({"Recognition": ""}, ""), ({"Recognition": "我被骗了。"}, "我被骗了。")]
)
def test_a_voice_with_and_without_recognition(fields: dict[str, str], words: str) -> None:
    message = received("voice", MediaId="media-2", Format="amr", **fields)
    assert (message.kind, message.media, message.text) == (MessageKind.VOICE, "media-2", words)
    assert message.extra["format"] == "amr"


@pytest.mark.parametrize("kind", ["video", "shortvideo"])
def test_a_video(kind: str) -> None:
    message = received(kind, MediaId="media-3", ThumbMediaId="thumb-3")
    assert (message.kind, message.media) == (MessageKind.VIDEO, "media-3")


def test_a_place() -> None:
    message = received("location", Location_X="30.27415", Location_Y="120.15515", Scale="15", Label="枫林路 8 号")
    assert message.kind is MessageKind.LOCATION
    assert message.location == Location(30.27415, 120.15515, "枫林路 8 号")


@pytest.mark.parametrize("latitude", ["", "north", "nan", "inf", "91", "1e400"])
def test_a_place_that_is_nowhere_is_kept_without_coordinates(latitude: str) -> None:
    message = received("location", Location_X=latitude, Location_Y="120.1", Label="枫林路 8 号")
    assert (message.kind, message.location, message.text) == (MessageKind.LOCATION, None, "枫林路 8 号")


def test_a_link() -> None:
    message = received("link", Title="中奖通知", Description="点这里", Url="http://fraud.example/")
    assert (message.kind, message.url) == (MessageKind.LINK, "http://fraud.example/")
    assert message.extra == {"title": "中奖通知", "description": "点这里"}


@pytest.mark.parametrize(
    ("name", "fields", "event"),
    [
        ("subscribe", {"EventKey": ""}, Event(EventKind.SUBSCRIBE, "", "subscribe")),
        ("subscribe", {}, Event(EventKind.SUBSCRIBE, "", "subscribe")),
        (
            "subscribe",
            {"EventKey": "qrscene_beat:7", "Ticket": "t"},
            Event(EventKind.SUBSCRIBE, "beat:7", "subscribe"),
        ),
        ("unsubscribe", {"EventKey": ""}, Event(EventKind.UNSUBSCRIBE, "", "unsubscribe")),
        ("SCAN", {"EventKey": "beat:7", "Ticket": "t"}, Event(EventKind.SCAN, "beat:7", "SCAN")),
        ("scan", {"EventKey": "beat:7"}, Event(EventKind.SCAN, "beat:7", "scan")),
        ("Scan", {"EventKey": "qrscene_1"}, Event(EventKind.SCAN, "qrscene_1", "Scan")),
        ("CLICK", {"EventKey": "MY_OFFICER"}, Event(EventKind.CLICK, "MY_OFFICER", "CLICK")),
        ("click", {"EventKey": "MY_OFFICER"}, Event(EventKind.CLICK, "MY_OFFICER", "click")),
        ("VIEW", {"EventKey": "https://a.example/"}, Event(EventKind.VIEW, "https://a.example/", "VIEW")),
        ("LOCATION", {"Latitude": "30.1", "Longitude": "120.1"}, Event(EventKind.OTHER, "", "LOCATION")),
        (
            "scancode_push",
            {"EventKey": "k", "ScanCodeInfo": "<ScanType>qrcode</ScanType>"},
            Event(EventKind.OTHER, "k", "scancode_push"),
        ),
        ("subscribe_msg_popup_event", {}, Event(EventKind.OTHER, "", "subscribe_msg_popup_event")),
        ("brand_new_event", {"EventKey": "k"}, Event(EventKind.OTHER, "k", "brand_new_event")),
    ],
)
def test_events_whatever_their_case(name: str, fields: dict[str, str], event: Event) -> None:
    message = received("event", Event=name, **fields)
    assert (message.kind, message.event) == (MessageKind.EVENT, event)
    assert message.location is None  # where a resident is is kept only when he sends it


@pytest.mark.parametrize("name", ["MASSSENDJOBFINISH", "MassSendJobFinish", "verify_expired"])
def test_an_event_of_the_account_itself_is_marked(name: str) -> None:
    assert received("event", Event=name, FromUserName="mphelper").extra["about"] == "account"


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("file", {"Title": "证据.pdf"}),
        ("miniprogrampage", {"Title": "小程序", "AppId": "wx1", "PagePath": "p"}),
        ("", {"Content": "没有类型"}),
        (None, {"Content": "没有类型"}),
        ("image", {}),  # without its picture
        ("event", {"Event": "", "EventKey": "k"}),
        ("text", {}),  # without its words
        ("TEXTT", {"Content": "x"}),
    ],
)
def test_what_we_do_not_know_is_kept(kind: str | None, fields: dict[str, str]) -> None:
    message = received(kind, **fields)
    assert (message.kind, message.sender) == (MessageKind.UNKNOWN, OPENID)
    assert message.text == fields.get("Content", "")
    assert message.extra["type"] == (kind or "").lower()
    if "Title" in fields:
        assert message.extra["title"] == fields["Title"]


def test_a_doubled_content_is_kept_whole_and_left_to_a_person() -> None:
    message = received("text", Content="甲", body="<Content>乙</Content>")
    assert (message.kind, message.text) == (MessageKind.UNKNOWN, "甲\n乙")


@pytest.mark.parametrize("field", ["FromUserName", "MsgType", "MsgId", "CreateTime"])
def test_a_doubled_identity_is_refused(field: str) -> None:
    with pytest.raises(RefusedError):
        received("text", Content="甲", body=f"<{field}>1</{field}>")


@pytest.mark.parametrize("sender", ["", " ", "o" * 65, "a b", "张三", "<x>"])
def test_a_message_from_nobody_is_refused(sender: str) -> None:
    with pytest.raises(RefusedError):
        received("text", Content="甲", FromUserName=sender)


@pytest.mark.parametrize("when", ["", "yesterday", "-5", "99999999999999999999"])
def test_a_message_without_a_time_happened_now(when: str, moment: Moment) -> None:
    assert received("text", Content="甲", CreateTime=when).sent_at == moment.now


# -- what stays the same when the platform delivers again -------------------------------------------------------------


def test_an_event_is_known_by_time_name_and_key() -> None:
    assert received("event", Event="CLICK", EventKey="MENU").platform_id == f"event:{SENT}:click:MENU"
    different = {
        received("event", Event=name, EventKey=key, CreateTime=when).platform_id
        for name in ("CLICK", "SCAN")
        for key in ("a", "b")
        for when in ("1795334100", "1795334101")
    }
    assert len(different) == 8


@pytest.mark.parametrize("key", ["k" * 2000, "https://a.example/" + "长" * 90, "a\tb"])
def test_a_long_or_odd_key_still_fits_its_column(key: str) -> None:
    first, again = (received("event", Event="VIEW", EventKey=key) for _ in range(2))
    other = received("event", Event="VIEW", EventKey=key + "x")
    assert first.platform_id == again.platform_id != other.platform_id
    assert len(first.platform_id) <= 100
    assert first.event is not None
    assert first.event.key == key


def test_the_report_of_a_job_is_known_by_the_job() -> None:
    reports = [
        received("event", Event="MASSSENDJOBFINISH", MsgID="3000001", CreateTime=when)
        for when in ("1795334100", "1795334200")
    ]
    assert {report.platform_id for report in reports} == {"event:job:masssendjobfinish:3000001"}


def test_a_message_without_a_number_is_known_by_its_content() -> None:
    one, again, other = (received("text", MsgId="", Content=words) for words in ("甲", "甲", "乙"))
    assert one.platform_id == again.platform_id != other.platform_id
    assert len(one.platform_id) <= 100


# -- out --------------------------------------------------------------------------------------------------------------


def link(label: str, sends: str) -> str:
    return f'<a href="weixin://bizmsgmenu?msgmenucontent={quote(sends)}&msgmenuid=1">{label}</a>'


def test_choices_are_tapped_where_they_stand_in_the_words() -> None:
    choices = (Choice("补办身份证", "1"), Choice("补办", "2"), Choice("都不是", "0"))
    assert with_choices(Reply("您是想问：\n1. 补办身份证\n2. 补办", choices)) == (
        f"您是想问：\n1. {link('补办身份证', '1')}\n2. {link('补办', '2')}\n\n▸ {link('都不是', '0')}"
    )
    assert with_choices(Reply("", choices[2:])) == link("都不是", "0")
    assert with_choices(Reply("好")) == "好"


def test_choices_never_make_an_answer_too_long_for_its_response() -> None:
    choices = (Choice("找民警", "找民警"), Choice("有用", "有用"))
    assert with_choices(Reply("好" * 560, choices)) == "好" * 560 + "\n\n▸ 找民警 · 有用"
    assert with_choices(Reply("好" * 600, choices)) == "好" * 600
    named = "或者找民警。" + "好" * 460  # what the words name is tappable first
    assert with_choices(Reply(named, choices)) == named.replace("找民警", link("找民警", "找民警")) + "\n\n▸ 有用"


@pytest.mark.parametrize("text", ["好" * 600, "a" * 600, "😀" * 500])
def test_what_fits_is_not_cut(text: str) -> None:
    assert cut_for_passive(text) == text


@pytest.mark.parametrize("text", ["好" * 601, "好" * 5000, "a" * 601, "😀" * 501, "好😀" * 400, "a" + "😀" * 600])
def test_what_is_too_long_is_cut_between_characters_and_says_so(text: str) -> None:
    cut = cut_for_passive(text)
    assert fits_passive(cut)
    kept, hint, _ = cut.partition("……")
    assert text.startswith(kept)
    assert len(kept) > 380
    assert "再问一次" in cut and hint  # noqa: PT018


def test_both_limits_hold() -> None:
    assert fits_passive("a" * 600)
    assert not fits_passive("a" * 601)
    assert fits_passive("😀" * 500)
    assert not fits_passive("😀" * 500 + "a")


@given(
    text=st.text(st.sampled_from("好a😀。\n ，\u200d"), max_size=3000),
    limit=st.sampled_from([64, 1024, 2048]),
)
def test_parts_keep_order_and_lose_nothing_but_line_ends(text: str, limit: int) -> None:
    parts = list(parts_of(text, limit))
    assert all(len(part.encode()) <= limit and part.strip() for part in parts)
    assert (
        "".join(parts).replace("\n", "").replace(" ", "") == text.replace("\n", "").replace(" ", "") or not text.strip()
    )


def test_a_long_text_is_parted_between_sentences() -> None:
    text = "\n".join(f"第{n}条：" + "请带好材料。" * 20 for n in range(20))
    parts = list(parts_of(text, 2048))
    assert len(parts) == -(-len(text.encode()) // 2048) or len(parts) <= 5
    assert all(part.startswith("第") and part.endswith("。") for part in parts)
    assert "\n".join(parts) == text


def test_headers_of_the_wire_do_not_matter() -> None:
    """Only what is signed counts: an openid in the query names nobody."""
    signed = Pusher("").sign(
        {
            "ToUserName": ACCOUNT,
            "FromUserName": OPENID,
            "CreateTime": SENT,
            "MsgType": "text",
            "Content": "甲",
            "MsgId": "1",
        }
    )
    signed.query["openid"] = "somebody-else"
    opener = envelope()
    assert message_of("fenglin", opener.open(opener.check_stamp(MultiDict(signed.query)), signed.body)).sender == OPENID

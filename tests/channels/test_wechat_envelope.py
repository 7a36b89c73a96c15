"""The envelope of WeChat's callbacks: official vectors, hostile input, keys that change."""

import base64
import contextlib
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from multidict import MultiDict

from bot import clock
from bot.channels.wechat_envelope import BODY_LIMIT_BYTES, Envelope, Opened, Reason, RefusedError, Stamp
from bot.channels.wechat_messages import message_of
from tests.channels.conftest import OPENID, Moment
from tests.fakes.wechat import cipher as platform
from tests.fakes.wechat.cipher import signature, xml_of
from tests.fakes.wechat.delivery import Signed
from tests.fakes.wechat.pusher import ACCOUNT, AES_KEY, APP_ID, PREVIOUS_AES_KEY, TOKEN, Mode, Pusher

OFFICIAL: dict[str, Any] = {"token": "AAAAA", "aes_keys": ["A" * 43], "receive_id": "wxba5fad812f8e6fb9"}
WECOM: dict[str, Any] = {
    "token": "QDG6eK",
    "aes_keys": ["jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"],
    "receive_id": "wx5823bf96d3bd56c7",
}
SAFE_ENCRYPT = (
    "+qdx1OKCy+5JPCBFWw70tm0fJGb2Jmeia4FCB7kao+/Q5c/ohsOzQHi8khUOb05JCpj0JB4RvQMkUyus8TPxLKJGQqcvZqzDpVzazhZv6JsXUnnR8XGT"
    "740XgXZUXQ7vJVnAG+tE8NUd4yFyjPy7GgiaviNrlCTj+l5kdfMuFUPpRSrfMZuMcp3Fn2Pede2IuQrKEYwKSqFIZoNqJ4M8EajAsjLY2km32IIjdf8Y"
    "L/P50F7mStwntrA2cPDrM1kb6mOcfBgRtWygb3VIYnSeOBrebufAlr7F9mFUPAJGj04="
)
WECOM_ENCRYPT = (
    "RypEvHKD8QQKFhvQ6QleEB4J58tiPdvo+rtK1I9qca6aM/wvqnLSV5zEPeusUiX5L5X/0lWfrf0QADHHhGd3QczcdCUpj911L3vg3W/sYYvuJTs3TUUk"
    "SUXxaccAS0qhxchrRYt66wiSpGLYL42aM6A8dTT+6k4aSknmPj48kzJs8qLjvd4Xgpue06DOdnLxAUHzM6+kDZ+HMZfJYuR+LtwGc2hgf5gsijff0ekU"
    "NXZiqATP7PF5mZxZ3Izoun1s4zG4LUMnvw2r+KqCKIw+3IQH03v+BCA9nMELNqbSf6tiWSrXJB3LAVGUcallcrw8V2t9EL4EhzJWrQUax5wLVMNS0+rU"
    "PA3k22Ncx4XXZS9o0MBH27Bo6BpNelZpS+/uh9KsNlY6bHCmJU9p8g7m3fVKn28H3KDYA5Pl/T8Z1ptDAVe0lXdQ2YoyyH2uyPIGHBZZIs2pDBS8R07+"
    "qN+E7Q=="
)
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


def at(timestamp: int) -> None:
    clock.set_source(lambda: datetime.fromtimestamp(timestamp, UTC))


def envelope(**changed: Any) -> Envelope:
    whole: dict[str, Any] = {
        "token": TOKEN,
        "aes_keys": [AES_KEY, PREVIOUS_AES_KEY],
        "receive_id": APP_ID,
        "skew_seconds": 300,
    }
    return Envelope(**(whole | changed))


def open_signed(signed: Signed, opener: Envelope | None = None) -> Opened:
    opener = opener or envelope()
    return opener.open(opener.check_stamp(MultiDict(signed.query)), signed.body)


def text(words: str = "你好", **changed: str) -> dict[str, str]:
    head = {"ToUserName": ACCOUNT, "FromUserName": OPENID, "CreateTime": "1795334400", "MsgType": "text"}
    return {**head, "Content": words, "MsgId": "23456789012345678", **changed}


@pytest.fixture
def wire(moment: Moment) -> Pusher:
    """The platform's signing hand; nothing is delivered."""
    return Pusher("")


@pytest.fixture(autouse=True)
def time_again() -> Iterator[None]:
    yield
    clock.set_source(None)


def refusal(signed: Signed, opener: Envelope | None = None) -> Reason:
    with pytest.raises(RefusedError) as refused:
        open_signed(signed, opener)
    assert str(refused.value) == refused.value.reason.value
    return refused.value.reason


# -- official vectors -------------------------------------------------------------------------------------------------


def test_the_official_address_check() -> None:
    at(1714036504)
    query = MultiDict(
        signature="f464b24fc39322e44b38aa78f5edd27bd1441696",
        timestamp="1714036504",
        nonce="1514711492",
        echostr="4375120948345356249",
    )
    opener = envelope(**OFFICIAL)
    assert opener.check_echo(query) == "4375120948345356249"
    assert opener.check_echo(query) == "4375120948345356249"  # it may ask again


def test_the_official_plain_post() -> None:
    at(1714037059)
    query = MultiDict(
        signature="899cf89e464efb63f54ddac96b0a0a235f53aa78", timestamp="1714037059", nonce="486452656", openid=OPENID
    )
    stamp = envelope(**OFFICIAL, allow_plaintext=True).check_stamp(query)
    assert not stamp.encrypted
    with pytest.raises(RefusedError) as refused:
        envelope(**OFFICIAL).check_stamp(query)
    assert refused.value.reason is Reason.PLAINTEXT


def test_the_official_safe_message() -> None:
    opener = envelope(**OFFICIAL)
    msg_signature = "046e02f8204d34f8ba5fa3b1db94908f3df2e9b3"
    inner, key_number = opener.open_cipher(msg_signature, "1714112445", "415670741", SAFE_ENCRYPT)
    assert key_number == 0
    assert inner == (
        b'{"ToUserName":"gh_97417a04a28d","FromUserName":"o9AgO5Kd5ggOC-bXrbNODIiE3bGY","CreateTime":1714112445,'
        b'"MsgType":"event","Event":"debug_demo","debug_str":"hello world"}'
    )
    at(1714112445)
    query = MultiDict(
        signature="6c5c811b55cc85e0e1b54100749188c20beb3f5d",
        timestamp="1714112445",
        nonce="415670741",
        encrypt_type="aes",
        msg_signature=msg_signature,
    )
    assert opener.check_stamp(query) == Stamp("1714112445", "415670741", msg_signature, encrypted=True)


def test_the_official_answer() -> None:
    """Our pusher encrypts as the official page does, so what the program is judged by is right."""
    sealed = platform.encrypt(
        b'{"demo_resp":"good luck"}', "A" * 43, "wxba5fad812f8e6fb9", random_bytes=b"707722b803182950"
    )
    assert sealed == "ELGduP2YcVatjqIS+eZbp80MNLoAUWvzzyJxgGzxZO/5sAvd070Bs6qrLARC9nVHm48Y4hyRbtzve1L32tmxSQ=="


def test_the_official_wecom_check_and_message() -> None:
    opener = envelope(**WECOM)
    echo = "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ=="
    plain, _ = opener.open_cipher("5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3", "1409659589", "263014780", echo)
    assert plain == b"1616140317555161061"
    message, _ = opener.open_cipher(
        "477715d11cdb4164915debcba66cb864d751f3e6", "1409659813", "1372623149", WECOM_ENCRYPT
    )
    fields = platform.children(message)
    assert len(message) == 284
    assert (fields["Content"], fields["MsgId"]) == ("hello", "4561255354251345929")


@pytest.mark.parametrize(
    ("message", "msg_signature", "encrypt"),
    [
        (
            b"ab",
            "d4f0e68020fb15f2e4ead913859e5cc927af58da",
            "Q3stYC6hdFzMh9T8HCvyDDtVtCezroC4WnU6SNBSPBOjnQBgD6fa3b7djcYATfHhJlxyVJxs+yXpkqxAK6uhAg==",
        ),
        (
            b"x" * 26,
            "426b13449a17f82224b3756b0c5a06233e0628bb",
            "Q3stYC6hdFzMh9T8HCvyDHDxbrF7f8TfmYxXSN1y2Vbjja9RgRLcXPjzJF67v90VIR4n0EhLgJkxUYoW8N7oiNM9PDdzFYm1/MAqCAKAvD+P"
            "mOnRPNIS1ac9jOypo67o",
        ),
    ],
)
def test_the_two_awkward_pads(message: bytes, msg_signature: str, encrypt: str) -> None:
    assert envelope().open_cipher(msg_signature, "1700000000", "n1", encrypt) == (message, 0)
    assert platform.encrypt(message, AES_KEY, APP_ID, random_bytes=b"0123456789abcdef") == encrypt


@pytest.mark.parametrize("pad", [1, 7, 19, 24, 30, 31, 32])
def test_every_pad_opens(pad: int) -> None:
    length = (-(20 + len(APP_ID) + pad)) % 32 + 32
    sealed = platform.encrypt(b"x" * length, AES_KEY, APP_ID)
    assert (20 + length + len(APP_ID) + pad) % 32 == 0
    assert envelope().open_cipher(signature(TOKEN, "1", "n", sealed), "1", "n", sealed)[0] == b"x" * length


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_a_safe_message_opens(wire: Pusher) -> None:
    opened = open_signed(wire.sign(text(" 居民的话 ")))
    assert (opened.fields.get("Content"), opened.key_number) == (" 居民的话 ", 0)


@pytest.mark.parametrize(
    ("corrupt", "reason"),
    [
        ("base64", Reason.BASE64),
        ("empty", Reason.OUTER_XML),
        ("length_1", Reason.LENGTH),
        ("length_15", Reason.LENGTH),
        ("length_33", Reason.LENGTH),
        ("pad_zero", Reason.PADDING),
        ("pad_33", Reason.PADDING),
        ("pad_mixed", Reason.PADDING),
        ("inner_length_huge", Reason.INNER_LENGTH),
        ("inner_length_one_more", Reason.INNER_LENGTH),
        ("inner_not_utf8", Reason.INNER_XML),
        ("inner_not_xml", Reason.INNER_XML),
        ("other_app", Reason.RECEIVER),
        ("msg_signature", Reason.SIGNATURE),
        ("no_msg_signature", Reason.PARAMETERS),
        ("stripped", Reason.PLAINTEXT),
    ],
)
def test_a_broken_cipher_is_refused_with_its_reason(wire: Pusher, corrupt: platform.Corruption, reason: Reason) -> None:
    assert refusal(wire.sign(text(), corrupt=corrupt), envelope(aes_keys=[AES_KEY])) is reason


def test_a_message_under_a_key_we_never_had_is_refused(wire: Pusher) -> None:
    for _ in range(20):  # under a wrong key the pad is chance
        assert refusal(wire.sign(text(), corrupt="other_key")) in {Reason.PADDING, Reason.INNER_LENGTH, Reason.RECEIVER}


def test_nothing_is_decrypted_without_the_right_msg_signature(wire: Pusher, monkeypatch: pytest.MonkeyPatch) -> None:
    opener = envelope()
    touched: list[bytes] = []
    for cipher in opener._openers:
        monkeypatch.setattr(cipher, "decrypt", touched.append)
    for corrupt in ("msg_signature", "no_msg_signature"):
        refusal(wire.sign(text(), corrupt=corrupt), opener)
    assert touched == []


def test_the_previous_key_opens_and_seals_the_answer_and_an_older_one_does_not(wire: Pusher) -> None:
    opener = envelope()
    opened = open_signed(wire.sign(text(), aes_key=PREVIOUS_AES_KEY), opener)
    assert opened.key_number == 1
    answer = platform.children(opener.answer_text(opened, "好").encode())
    assert platform.children(wire.open_answer(answer, PREVIOUS_AES_KEY))["Content"] == "好"
    with pytest.raises(ValueError, match=r"padding|length|another|utf-8"):
        wire.open_answer(answer, AES_KEY)
    refusal(wire.sign(text(), aes_key="Z" * 42 + "E"), opener)


@pytest.mark.parametrize(
    ("skew", "believed"), [(-301, False), (301, False), (-299, True), (299, True), (-300, True), (-86400 * 365, False)]
)
def test_only_the_present_is_believed(wire: Pusher, skew: float, believed: bool) -> None:
    signed = wire.sign(text(), clock_skew=skew)
    if believed:
        open_signed(signed)
    else:
        assert refusal(signed) is Reason.TIMESTAMP


def test_the_skew_is_a_setting(wire: Pusher) -> None:
    assert refusal(wire.sign(text(), clock_skew=-31), envelope(skew_seconds=30)) is Reason.TIMESTAMP
    open_signed(wire.sign(text(), clock_skew=-29), envelope(skew_seconds=30))


@pytest.mark.parametrize("timestamp", ["now", "-1795334400", "1" * 20, "１７９５３３４４００", "1795334400.0", "1e9"])
def test_a_timestamp_is_a_plain_number(wire: Pusher, timestamp: str) -> None:
    assert refusal(wire.sign(text(), timestamp=timestamp)) is Reason.TIMESTAMP


@pytest.mark.parametrize("name", ["timestamp", "nonce", "msg_signature", "encrypt_type", "signature", "openid"])
def test_a_doubled_parameter_is_refused(wire: Pusher, name: str) -> None:
    signed = wire.sign(text())
    query = MultiDict(signed.query)
    query.add(name, query[name])
    with pytest.raises(RefusedError) as refused:
        envelope().check_stamp(query)
    assert refused.value.reason is Reason.PARAMETERS


@pytest.mark.parametrize("name", ["timestamp", "nonce", "msg_signature"])
@pytest.mark.parametrize("value", [None, "", "x" * 600])
def test_a_missing_empty_or_endless_parameter_is_refused(wire: Pusher, name: str, value: str | None) -> None:
    signed = wire.sign(text())
    del signed.query[name]
    if value is not None:
        signed.query[name] = value
    assert refusal(signed) in {Reason.PARAMETERS, Reason.TIMESTAMP}


def test_upper_case_hex_is_refused(wire: Pusher) -> None:
    signed = wire.sign(text())
    signed.query["msg_signature"] = signed.query["msg_signature"].upper()
    assert refusal(signed) is Reason.SIGNATURE


def test_a_signature_that_is_not_ascii_is_a_refusal_and_no_crash(wire: Pusher) -> None:
    signed = wire.sign(text())
    signed.query |= {"msg_signature": "签名\ud800", "nonce": "\udfff随机"}
    assert refusal(signed) is Reason.SIGNATURE


def test_a_downgrade_is_refused_even_where_plaintext_is_allowed(wire: Pusher) -> None:
    lenient = envelope(allow_plaintext=True)
    assert open_signed(wire.sign(text(), mode="plain"), lenient).key_number is None
    plain = wire.sign(text(), mode="plain")
    plain.query["msg_signature"] = "0" * 40
    assert refusal(plain, lenient) is Reason.PLAINTEXT
    compat = wire.sign(text(), mode="compat")
    del compat.query["encrypt_type"]
    assert refusal(compat, lenient) is Reason.PLAINTEXT
    del compat.query["msg_signature"]
    assert refusal(compat, lenient) is Reason.PLAINTEXT
    compat.query["encrypt_type"] = "none"
    assert refusal(compat, lenient) is Reason.PLAINTEXT


def test_in_compat_mode_only_the_encrypted_part_counts(wire: Pusher) -> None:
    opened = open_signed(wire.sign(text("乙"), mode="compat", clear_fields=text("甲")))
    assert opened.fields.get("Content") == "乙"
    assert "甲" not in repr(opened)


@pytest.mark.parametrize("bad", [b"", b"x", b"A" * 42, b"A" * 44])
def test_a_key_of_the_wrong_length_stops_the_start(bad: bytes) -> None:
    with pytest.raises(ValueError, match=r"EncodingAESKey|padding|base64"):
        envelope(aes_keys=[bad.decode()])


# -- hostile XML ------------------------------------------------------------------------------------------------------

LAUGHS = b'<!DOCTYPE xml [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><xml><Content>&b;</Content></xml>'
HOSTILE = {
    "entities": LAUGHS,
    "doctype": b"<!DOCTYPE xml><xml><MsgType>text</MsgType></xml>",
    "external": b'<!DOCTYPE xml [<!ENTITY x SYSTEM "http://127.0.0.1:9/">]><xml><Content>&x;</Content></xml>',
    "file": b'<!DOCTYPE xml [<!ENTITY x SYSTEM "file:///etc/passwd">]><xml><Content>&x;</Content></xml>',
    "parameter entity": b'<!DOCTYPE xml [<!ENTITY % p SYSTEM "http://127.0.0.1:9/"> %p;]><xml></xml>',
    "nine deep": b"<xml>" + b"<a>" * 8 + b"x" + b"</a>" * 8 + b"</xml>",
    "deep": b"<xml>" + b"<a>" * 10_000 + b"</a>" * 10_000 + b"</xml>",
    "many": b"<xml>" + b"<a/>" * 10_000 + b"</xml>",
    "attributes": b"<xml><a " + b" ".join(b'a%d=""' % n for n in range(5_000)) + b"/></xml>",
    "one attribute": b"<xml><MsgType x='1'>text</MsgType></xml>",
    "nul": b"<xml><Content>a\0b</Content></xml>",
    "nul reference": b"<xml><Content>&#0;</Content></xml>",
    "lone surrogate": b"<xml><Content>&#xD800;</Content></xml>",
    "utf-16 declared": '<?xml version="1.0" encoding="utf-16"?><xml><Content>a</Content></xml>'.encode("utf-16"),
    "latin": "<?xml version='1.0' encoding='latin-1'?><xml><Content>é</Content></xml>".encode("latin-1"),
    "empty": b"",
    "blank": b"  \n ",
    "json": b'{"ToUserName": "gh_1", "Encrypt": "abc"}',
    "html": b"<html><body>hello</body></html>",
    "text": b"hello",
    "two roots": b"<xml></xml><xml></xml>",
    "unknown entity": b"<xml><Content>&nbsp;</Content></xml>",
    "half": b"<xml><Content><![CDATA[",
    "too large": b"<xml><Content>" + b"x" * BODY_LIMIT_BYTES + b"</Content></xml>",
    "doubled sender": b"<xml><FromUserName>a</FromUserName><FromUserName>b</FromUserName></xml>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_xml_is_refused_at_once_inside_and_outside(wire: Pusher, name: str) -> None:
    body = HOSTILE[name]
    started = time.perf_counter()
    with pytest.raises(RefusedError):
        envelope().open(envelope().check_stamp(MultiDict(wire.sign(text()).query)), body)  # as the outer XML
    with pytest.raises(RefusedError):
        open_signed(wire.sign(body[:40_000] if name == "too large" else body))  # inside, rightly signed
    assert time.perf_counter() - started < 0.2


def test_a_plain_declaration_and_numeric_references_are_fine(wire: Pusher) -> None:
    body = b'<?xml version="1.0" encoding="UTF-8"?>\n' + xml_of(text("x")).replace(
        b"<![CDATA[x]]>", b"&#20320;&amp;<![CDATA[]]>"
    )
    assert open_signed(wire.sign(body)).fields.get("Content") == "你&"


# -- answers ----------------------------------------------------------------------------------------------------------

NASTY = [
    "]]>",
    "]]></Content><Content>又一条</Content>",
    "a]]]]>>b]]]>",
    "<xml>&amp;&lt;</xml>",
    "\x00\x01\x0b\x1f\ufffe\uffff\ud800",
    "第一行\n第二行\t",
    "😀𠮷\u200b\u202e",
    "{0} {name} %s",
]


@pytest.mark.parametrize("words", NASTY)
@pytest.mark.parametrize("mode", ["plain", "safe"])
def test_the_answer_has_exactly_its_children_whatever_the_words(wire: Pusher, words: str, mode: Mode) -> None:
    opener = envelope(allow_plaintext=True)
    opened = open_signed(wire.sign(text(), mode=mode), opener)
    xml = opener.answer_text(opened, words)
    outer = platform.children(xml.encode())
    answer = outer if mode == "plain" else platform.children(wire.open_answer(outer))
    assert set(answer) == {"MsgType", "FromUserName", "ToUserName", "CreateTime", "Content"}
    assert (answer["FromUserName"], answer["ToUserName"]) == (ACCOUNT, OPENID)
    assert answer["CreateTime"] == str(int(clock.now().timestamp()))
    kept = "".join(one for one in words if one not in "\x00\x01\x0b\x1f\ufffe\uffff\ud800")
    assert answer["Content"] == kept


def test_a_sender_cannot_break_the_answer(wire: Pusher) -> None:
    opener = envelope()
    opened = open_signed(wire.sign(text(ToUserName="gh]]></FromUserName><Content>x</Content>")), opener)
    answer = platform.children(wire.open_answer(platform.children(opener.answer_text(opened, "好").encode())))
    assert answer["Content"] == "好"


def test_two_answers_never_look_alike(wire: Pusher) -> None:
    opener = envelope()
    opened = open_signed(wire.sign(text()), opener)
    sealed = {opener.answer_text(opened, "好") for _ in range(20)}
    assert len(sealed) == 20


# -- properties -------------------------------------------------------------------------------------------------------

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
XML_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"))
NAMES = st.sampled_from(
    "ToUserName FromUserName CreateTime MsgType MsgId Event EventKey Content Encrypt Label Location_X Location_Y "
    "MediaId ScanCodeInfo SendPicsInfo Recognition Url MsgID Ticket".split()
)
VALUES = st.one_of(
    XML_TEXT,
    st.sampled_from(["text", "event", "image", "voice", "location", "link", "device_event", "subscribe", "SCAN", "1"]),
)


def _refused_or_a_message(opener: Envelope, query: MultiDict[str], body: bytes) -> None:
    """What may happen to a request: it is a message, or it is refused. Anything else is a hole."""
    with contextlib.suppress(RefusedError):
        message_of("fenglin", opener.open(opener.check_stamp(query), body))


@QUICK
@given(body=st.binary(max_size=400))
@example(body=b"\xef\xbb\xbf<xml/>")
def test_any_bytes_are_a_message_or_refused(body: bytes) -> None:
    clock.set_source(lambda: NOW)
    wire = Pusher("")
    for opener in (envelope(), envelope(allow_plaintext=True)):
        _refused_or_a_message(opener, MultiDict(wire.sign(text()).query), body)
        _refused_or_a_message(opener, MultiDict(wire.sign(text(), mode="plain").query), body)
        signed = wire.sign(body)
        _refused_or_a_message(opener, MultiDict(signed.query), signed.body)


@QUICK
@given(children=st.lists(st.tuples(NAMES, VALUES, st.integers(0, 3)), max_size=12))
def test_any_fields_rightly_signed_are_a_message_or_refused(children: list[tuple[str, str, int]]) -> None:
    clock.set_source(lambda: NOW)
    nodes = []
    for name, value, depth in children:
        inner = f"<![CDATA[{value.replace(']]>', '')}]]>"
        for _ in range(depth):
            inner = f"<item>{inner}</item>"
        nodes.append(f"<{name}>{inner}</{name}>")
    signed = Pusher("").sign(f"<xml>{''.join(nodes)}</xml>".encode())
    _refused_or_a_message(envelope(), MultiDict(signed.query), signed.body)


@QUICK
@given(plain=st.binary(min_size=16, max_size=256), blocks=st.integers(1, 12))
def test_any_cipher_rightly_signed_is_opened_or_refused(plain: bytes, blocks: int) -> None:
    """An attacker with the token but without the key."""
    opener = envelope()
    for sealed in (base64.b64encode(plain).decode(), base64.b64encode(os.urandom(16 * blocks)).decode()):
        try:
            opener.open_cipher(signature(TOKEN, "1", "n", sealed), "1", "n", sealed)
        except RefusedError:
            continue


@QUICK
@given(
    query=st.lists(
        st.tuples(st.sampled_from(["timestamp", "nonce", "signature", "msg_signature", "echostr"]), st.text())
    )
)
def test_any_query_is_checked_or_refused(query: list[tuple[str, str]]) -> None:
    for kind in ("aes", "raw"):
        try:
            envelope().check_stamp(MultiDict([*query, ("encrypt_type", kind)]))
        except RefusedError:
            continue
    with pytest.raises(RefusedError):
        envelope().check_echo(MultiDict(query))


@QUICK
@given(words=XML_TEXT)
def test_words_arrive_unchanged(words: str) -> None:
    clock.set_source(lambda: NOW)
    opened = open_signed(Pusher("").sign(text(words)))
    assert message_of("fenglin", opened).text == words

"""The envelope of WeCom's callbacks: the official sample, and what is refused."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from multidict import MultiDict

from bot import clock
from bot.channels.wechat_envelope import Reason, RefusedError, WeComEnvelope
from tests.channels.test_wechat_envelope import WECOM, WECOM_ENCRYPT
from tests.fakes.wechat import cipher as platform
from tests.fakes.wechat.cipher import signature

CHECKED_AT, POSTED_AT = 1409659589, 1409659813
ECHO = "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ=="
SAMPLE = {
    "msg_signature": "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3",
    "timestamp": str(CHECKED_AT),
    "nonce": "263014780",
    "echostr": ECHO,
}


def at(timestamp: int) -> None:
    clock.set_source(lambda: datetime.fromtimestamp(timestamp, UTC))


@pytest.fixture(autouse=True)
def time_again() -> Iterator[None]:
    at(CHECKED_AT)
    yield
    clock.set_source(None)


def envelope(**changed: Any) -> WeComEnvelope:
    whole: dict[str, Any] = {**WECOM, "skew_seconds": 300}
    return WeComEnvelope(**(whole | changed))


def refusal(query: MultiDict[str], **changed: Any) -> Reason:
    with pytest.raises(RefusedError) as refused:
        envelope(**changed).check_echo(query)
    return refused.value.reason


def echo_query(plain: bytes, receive_id: str) -> MultiDict[str]:
    sealed = platform.encrypt(plain, WECOM["aes_keys"][0], receive_id)
    stamp = (str(CHECKED_AT), "n1")
    return MultiDict(
        msg_signature=signature(WECOM["token"], *stamp, sealed), timestamp=stamp[0], nonce=stamp[1], echostr=sealed
    )


def test_the_official_address_check_is_answered_with_the_plain_number() -> None:
    assert envelope().check_echo(MultiDict(SAMPLE)) == "1616140317555161061"


def test_a_plus_that_became_a_space_on_the_way_still_verifies() -> None:
    assert "+" in ECHO
    assert envelope().check_echo(MultiDict(SAMPLE | {"echostr": ECHO.replace("+", " ")})) == "1616140317555161061"


def test_an_echo_for_another_corp_is_refused() -> None:
    assert envelope().check_echo(echo_query(b"123", WECOM["receive_id"])) == "123"
    assert refusal(echo_query(b"123", "wx0000000000000000")) is Reason.RECEIVER


@pytest.mark.parametrize("missing", SAMPLE)
def test_an_address_check_needs_all_its_parameters(missing: str) -> None:
    query = MultiDict({name: value for name, value in SAMPLE.items() if name != missing})
    assert refusal(query) is Reason.PARAMETERS


def test_an_address_check_with_another_signature_a_doubled_parameter_or_an_old_time_is_refused() -> None:
    assert refusal(MultiDict(SAMPLE | {"msg_signature": "0" * 40})) is Reason.SIGNATURE
    assert refusal(MultiDict(SAMPLE | {"msg_signature": SAMPLE["msg_signature"].upper()})) is Reason.SIGNATURE
    assert refusal(MultiDict([*SAMPLE.items(), ("nonce", "1")])) is Reason.PARAMETERS
    at(CHECKED_AT + 301)
    assert refusal(MultiDict(SAMPLE)) is Reason.TIMESTAMP


def test_an_echo_that_is_no_text_is_refused() -> None:
    assert refusal(echo_query(b"\xff\xfe", WECOM["receive_id"])) is Reason.PARAMETERS


def posted(**changed: str) -> MultiDict[str]:
    stamp = {
        "msg_signature": "477715d11cdb4164915debcba66cb864d751f3e6",
        "timestamp": str(POSTED_AT),
        "nonce": "1372623149",
    }
    return MultiDict(stamp | changed)


def body(encrypt: str = WECOM_ENCRYPT) -> bytes:
    return (
        "<xml><ToUserName><![CDATA[wx5823bf96d3bd56c7]]></ToUserName><AgentID><![CDATA[218]]></AgentID>"
        f"<Encrypt><![CDATA[{encrypt}]]></Encrypt></xml>"
    ).encode()


def test_the_official_message_opens() -> None:
    at(POSTED_AT)
    opener = envelope()
    opened = opener.open(opener.check_stamp(posted()), body())
    assert opened.key_number == 0
    wanted = {"Content": "hello", "MsgId": "4561255354251345929", "AgentID": "218", "MsgType": "text"}
    assert {name: opened.fields.get(name) for name in wanted} == wanted


def test_a_post_without_msg_signature_or_with_a_clear_body_is_refused() -> None:
    at(POSTED_AT)
    opener = envelope()
    without = posted()
    del without["msg_signature"]
    with pytest.raises(RefusedError) as refused:
        opener.check_stamp(without)
    assert refused.value.reason is Reason.PARAMETERS
    with pytest.raises(RefusedError) as refused:
        opener.open(opener.check_stamp(posted()), b"<xml><MsgType>text</MsgType></xml>")
    assert refused.value.reason is Reason.OUTER_XML


def test_the_fields_that_say_who_became_whose_customer_count_once() -> None:
    """Two of them would let two readers bind a resident to two officers."""
    at(POSTED_AT)
    inner = "<xml><MsgType>event</MsgType><UserID>zhangwei</UserID><UserID>lina</UserID></xml>"
    sealed = platform.encrypt(inner.encode(), WECOM["aes_keys"][0], WECOM["receive_id"])
    query = posted(msg_signature=signature(WECOM["token"], str(POSTED_AT), "1372623149", sealed))
    opener = envelope()
    with pytest.raises(RefusedError) as refused:
        opener.open(opener.check_stamp(query), body(sealed))
    assert refused.value.reason is Reason.INNER_XML


def test_the_key_before_still_opens_what_is_on_its_way() -> None:
    rotated = envelope(aes_keys=["A" * 43, *WECOM["aes_keys"]])
    assert re.fullmatch("[0-9]{19}", rotated.check_echo(MultiDict(SAMPLE)))

"""Every error code of WeCom and 微信客服 has its meaning and its sentence."""

import re
from datetime import timedelta

import pytest

from bot.channels.base import Failure
from bot.channels.platform_errors import error_of
from bot.channels.wecom_errors import WECOM
from tests.channels.conftest import Moment

RETRY, LATER, REFUSED, DOWN = Failure.RETRY, Failure.LATER, Failure.REFUSED, Failure.CHANNEL_DOWN

EXPECTED: dict[Failure, str] = {
    RETRY: "-1 6000 45009 45033 45035 41063 95007",
    LATER: "95001 95002 95013 95018 95031",
    REFUSED: "40003 40029 42022 40058 40096 40145 41047 41048 41050 41051 41053 41096 41064 41094 45002 50001 50002 "
    "60011 60030 60111 81013 82001 84061 84074 610023 610024 701008 95003 95005 95008 95014 95016 95019 95027 12345",
    DOWN: "40014 42001 40001 40013 40056 41001 48001 48002 48007 60020 95000 95004 95011 95012 95017",
}
ROWS = [(int(code), failure) for failure, codes in EXPECTED.items() for code in codes.split()]


@pytest.mark.parametrize(("code", "failure"), ROWS)
def test_every_code_has_its_meaning_and_a_sentence_that_says_what_to_do(
    code: int, failure: Failure, moment: Moment
) -> None:
    error = error_of(WECOM.row_for(code), code)
    assert (error.failure, error.code) == (failure, str(code))
    assert error.reason.endswith("。") and 8 <= len(error.reason) <= 120  # noqa: PT018  # the column takes 200
    assert re.search("[一-鿿]", error.reason)
    assert error.after == (timedelta(seconds=60) if code in {45009, 41063} else None)


def test_what_only_a_person_can_mend_raises_an_alarm() -> None:
    alarming = {code for code, row in WECOM.rows.items() if row.alarm}
    assert {int(code) for code in EXPECTED[DOWN].split()} <= alarming
    assert not alarming & {-1, 41050, 41051, 41096, 84061, 95001}
    assert WECOM.row_for(99999).alarm


def test_a_refused_ip_is_named() -> None:
    error = error_of(WECOM.row_for(60020), 60020, "not allow to access from your ip, from ip: 203.0.113.9, more info")
    assert "203.0.113.9" in error.reason


@pytest.mark.parametrize("code", [40001, 40013, 60020, 50002, 77777])
def test_without_a_token_the_channel_is_down(code: int) -> None:
    row = WECOM.token_row_for(code)
    assert (row.failure, row.alarm) == (DOWN, True)


def test_a_message_id_given_twice_is_a_message_sent_once() -> None:
    assert WECOM.accepted_codes == {0, 95033}
    assert WECOM.token_codes == {40014, 42001}  # 40001 is a wrong secret here: a new token does not cure it


def test_the_sentences_are_for_people() -> None:
    known = {"Secret", "IP", "ID", "AgentId"}
    assert {word for row in WECOM.rows.values() for word in re.findall("[A-Za-z]+", row.reason)} <= known

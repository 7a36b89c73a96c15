"""Every error code of WeChat has its meaning, its sentence and its time to come back."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from bot import clock
from bot.channels.base import Failure
from bot.channels.platform_errors import error_of, request_id_in
from bot.channels.wechat_errors import OFFICIAL_ACCOUNT
from tests.channels.conftest import Moment

RETRY, LATER, REFUSED, DOWN = Failure.RETRY, Failure.LATER, Failure.REFUSED, Failure.CHANNEL_DOWN

EXPECTED: dict[Failure, str] = {
    RETRY: "-1 268487001 268487002 268488001 45009 45011 45028 45066 89504 89505",
    LATER: "45015 45047 43101",
    REFUSED: "40003 49003 40007 40008 40130 40031 40032 43004 43019 43116 44004 47001 47003 45002 45008 45067 45080 "
    "45081 48002 48008 50002 50005 70000 12345",
    DOWN: "40001 40014 42001 41001 40013 40125 40164 40243 40200 48001 48004",
}
ROWS = [(int(code), failure) for failure, codes in EXPECTED.items() for code in codes.split()]


@pytest.mark.parametrize(("code", "failure"), ROWS)
def test_every_code_has_its_meaning_and_a_sentence_that_says_what_to_do(
    code: int, failure: Failure, moment: Moment
) -> None:
    error = error_of(OFFICIAL_ACCOUNT.row_for(code), code)
    assert (error.failure, error.code) == (failure, str(code))
    assert error.reason.endswith("。") and 8 <= len(error.reason) <= 120  # noqa: PT018  # the column takes 200
    assert re.search("[一-鿿]", error.reason)
    assert (error.after is not None) == (code in {45009, 45011, 45028, 45066, 89504, 89505})
    assert len(error.code) <= 20
    assert error.reason not in str(error)


def test_what_only_a_person_can_mend_raises_an_alarm() -> None:
    alarming = {code for code, row in OFFICIAL_ACCOUNT.rows.items() if row.alarm}
    assert {int(code) for code in EXPECTED[DOWN].split()} <= alarming
    assert {40130, 40031, 40032, 43116, 44004, 47001, 47003, 45008, 45067, 45009, 45028} <= alarming
    assert not alarming & {-1, 45015, 45047, 43004, 50005, 45011}
    assert OFFICIAL_ACCOUNT.row_for(99999).alarm  # never seen: somebody must look


@pytest.mark.parametrize(("code", "after"), [(45011, 60), (45066, 60), (89504, 1800)])
def test_when_to_try_again(code: int, after: int, moment: Moment) -> None:
    assert error_of(OFFICIAL_ACCOUNT.row_for(code), code).after == timedelta(seconds=after)


@pytest.mark.parametrize(
    ("now", "hours"), [((2026, 11, 22, 15, 0), 1), ((2026, 11, 22, 16, 0), 24), ((2026, 12, 31, 15, 30), 0.5)]
)
def test_a_daily_quota_begins_anew_at_midnight_in_china(now: tuple[int, int, int, int, int], hours: float) -> None:
    clock.set_source(lambda: datetime(*now, tzinfo=UTC))
    try:
        assert error_of(OFFICIAL_ACCOUNT.row_for(45009), 45009).after == timedelta(hours=hours)
    finally:
        clock.set_source(None)


def test_a_refused_ip_is_named_and_nothing_else_of_the_text() -> None:
    error = error_of(
        OFFICIAL_ACCOUNT.row_for(40164), 40164, "invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, secret abc rid: 1-2"
    )
    assert "203.0.113.9" in error.reason
    assert "abc" not in error.reason
    assert "白名单" in error_of(OFFICIAL_ACCOUNT.row_for(40164), 40164, "no address here").reason


@pytest.mark.parametrize(
    "code",
    [40001, 40002, 40013, 40125, 40164, 40243, 41002, 41004, 43002, 50004, 50007, 89503, 89506, 89507, 77777, 45015],
)
def test_without_a_token_the_channel_is_down(code: int) -> None:
    row = OFFICIAL_ACCOUNT.token_row_for(code)
    assert (row.failure, row.alarm) == (DOWN, True)


@pytest.mark.parametrize("code", [-1, 45009, 45011])
def test_a_busy_token_call_is_tried_again(code: int) -> None:
    assert OFFICIAL_ACCOUNT.token_row_for(code).failure is RETRY


def test_the_number_of_the_call_is_found() -> None:
    assert request_id_in("invalid credential rid: 65f0a1b2-1234abcd-0000ffff") == "65f0a1b2-1234abcd-0000ffff"
    assert request_id_in("ok") == ""


def test_the_sentences_are_for_people() -> None:
    """No officer should read an English word other than the names on the platform's own pages."""
    known = {"AppID", "AppSecret", "IP"}
    source = {word for row in OFFICIAL_ACCOUNT.rows.values() for word in re.findall("[A-Za-z]+", row.reason)}
    assert source <= known

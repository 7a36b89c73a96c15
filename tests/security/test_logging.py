"""What the logs must not say, and what stands on the screen until somebody asks to see it."""

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from bot import clock
from bot.actions.messages import columns_of
from bot.security import logging as logs
from bot.security.masking import mask_address, mask_name, mask_phone
from bot.store.models import StoredMessage
from tests.support.station import House, text_message

OPENID = "o9AgO5Kd5ggOC-bXrbNODIiE3bGY"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("call 13812345678 now", "call ***phone*** now"),
        ("id 330106195801011234", "id ***id***"),
        ("id 33010619580101123X", "id ***id***"),
        (f"to {OPENID}", "to ***openid***"),
        ("GET /?access_token=abc.def&x=1", "GET /?access_token=***&x=1"),
        ("secret=topsecret", "secret=***"),
        ("order 20261123-0001 of 138123456789", "order 20261123-0001 of 138123456789"),  # no phone: 12 digits
        ("nothing", "nothing"),
    ],
)
def test_what_looks_like_a_secret_a_phone_or_an_openid_is_blotted_out(text: str, redacted: str) -> None:
    assert logs.redact(text) == redacted


def test_numbers_stay() -> None:
    assert logs.redact(13812345678) == 13812345678
    assert logs.redact(None) is None


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr("sys.stderr", stream)
    logs.set_up()
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_line_is_a_phrase_and_ids(written: io.StringIO) -> None:
    log = logging.getLogger("bot.dispatcher")
    log.warning("handling failed", extra={"message_id": 7, "openid": OPENID, "token": "abc", "reason": "13812345678"})
    (line,) = [json.loads(text) for text in written.getvalue().splitlines()]
    assert (line["event"], line["message_id"], line["level"]) == ("handling failed", 7, "warning")
    assert (line["openid"], line["token"], line["reason"]) == ("***", "***", "***phone***")
    assert line["timestamp"].endswith("Z")


def test_an_exception_comes_with_its_trace_and_without_secrets(written: io.StringIO) -> None:
    def fail() -> None:
        raise RuntimeError(f"no answer from ?access_token=abc for {OPENID}")

    try:
        fail()
    except RuntimeError:
        logging.getLogger("bot").exception("sending failed")
    line = json.loads(written.getvalue())
    assert line["exception"].startswith("builtins.RuntimeError\n  ")
    assert "test_logging:" in line["exception"]
    assert " fail" in line["exception"]
    assert "no answer" not in written.getvalue()


SECRET_WORDS = "我把银行卡密码告诉了骗子"


async def test_what_a_resident_wrote_is_not_in_the_log_of_a_database_error(
    any_house: House, written: io.StringIO
) -> None:
    """SQLAlchemy's own texts hide the parameters; the database's do not: PostgreSQL quotes the value it refuses."""
    first, again = text_message(SECRET_WORDS), text_message(SECRET_WORDS)
    try:
        async with any_house.store.write() as session:
            for message in (first, again):
                columns = columns_of(message, any_house.station.id, clock.now())
                await session.execute(insert(StoredMessage), columns | {"platform_id": SECRET_WORDS})
    except IntegrityError:
        logging.getLogger("bot.dispatcher").exception("handling failed", extra={"message_id": 7})
    line = json.loads(written.getvalue())
    assert line["exception"].startswith("sqlalchemy.exc.IntegrityError\n")
    assert "behind it:" in line["exception"]
    for words in (SECRET_WORDS, json.dumps(SECRET_WORDS), "DETAIL", "INSERT"):
        assert words not in written.getvalue()


def test_errors_within_errors_are_named_and_say_nothing(written: io.StringIO) -> None:
    try:
        try:
            raise KeyError(SECRET_WORDS)
        except KeyError as error:
            raise ExceptionGroup(SECRET_WORDS, [ValueError(SECRET_WORDS), error]) from error
    except ExceptionGroup:
        structlog.get_logger("bot.channels").error("message not stored", exc_info=True)
    line = json.loads(written.getvalue())
    for name in ("ExceptionGroup", "KeyError", "ValueError"):
        assert line["exception"].count(f"builtins.{name}") == 1
    assert SECRET_WORDS not in written.getvalue()


async def test_what_asyncio_says_of_a_forgotten_task_says_nothing_of_the_resident(written: io.StringIO) -> None:
    async def fails() -> None:
        raise ValueError(SECRET_WORDS)

    task = asyncio.create_task(fails())
    await asyncio.wait({task})
    error = task.exception()
    asyncio.get_running_loop().default_exception_handler(
        {"message": "Task exception was never retrieved", "exception": error, "future": task}
    )
    line = json.loads(written.getvalue())
    assert line["event"] == "Task exception was never retrieved"
    assert "builtins.ValueError" in line["exception"]
    assert SECRET_WORDS not in written.getvalue()


def test_structlog_lines_go_the_same_way(written: io.StringIO) -> None:
    structlog.get_logger("bot.channels").warning("callback refused", reason="13812345678", channel="fenglin")
    line = json.loads(written.getvalue())
    assert (line["event"], line["reason"], line["channel"]) == ("callback refused", "***phone***", "fenglin")
    assert (line["level"], line["timestamp"][-1]) == ("warning", "Z")


@pytest.mark.parametrize(
    ("name", "masked"),
    [("王小明", "王**"), ("王明", "王*"), ("欧阳修文忠", "欧**"), ("王", "王*"), ("", "未登记"), (None, "未登记")],
)
def test_a_name_on_the_screen(name: str | None, masked: str) -> None:
    assert mask_name(name) == masked


@pytest.mark.parametrize(
    ("phone", "masked"),
    [
        ("13812345678", "138****5678"),
        ("8600110", "****"),
        ("+8613812345678", "+86****5678"),
        (None, "未登记"),
        ("", "未登记"),
    ],
)
def test_a_phone_on_the_screen(phone: str | None, masked: str) -> None:
    assert mask_phone(phone) == masked


@given(st.from_regex(re.compile(r"1[3-9]\d{9}", re.ASCII), fullmatch=True))
def test_no_phone_gets_through_either_way(phone: str) -> None:
    assert phone not in str(logs.redact(f"({phone})"))
    assert phone[3:7] not in mask_phone(phone).replace(phone[-4:], "") or phone[3:7] == phone[-4:]


def test_an_address_on_the_screen() -> None:
    assert mask_address("幸福路九号") == "幸福****"
    assert mask_address("") == mask_address(None) == "未登记"

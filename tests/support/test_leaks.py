"""A log line that says too much fails its test, however the line was made."""

import logging

import structlog

from bot.security import logging as logs
from tests.support import leaks

OPENID, WORDS, TOKEN = "o-li-in-the-lane", "楼上太吵了", "a-token-of-the-platform"


def test_what_a_line_must_not_say_is_found_in_each_part_of_it() -> None:
    log, channel = logging.getLogger("bot.made_up"), structlog.get_logger("bot.channels.made_up")
    leaks.secret(OPENID, TOKEN)
    leaks.said(WORDS)
    log.info("heard %s", WORDS)
    log.debug("sent", extra={"address": OPENID})
    channel.info("token fetched", url=f"/cgi-bin?access_token={TOKEN}")
    log.info("all is well", extra={"message_id": 7})
    found = leaks.found()
    leaks.begin()
    assert [next(value for value in (OPENID, WORDS, TOKEN) if value in line) for line in found] == [
        WORDS if "heard" in line else OPENID if "sent" in line else TOKEN for line in found
    ]
    assert len(found) == 3


def test_a_program_that_sets_up_its_own_logs_is_heard_all_the_same() -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    leaks.secret(OPENID)
    try:
        logs.set_up()
        logging.getLogger("bot.made_up").warning("handling failed", extra={"address": OPENID})
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert len(leaks.found()) == 1
    leaks.begin()


def test_what_an_exception_says_is_not_written_and_does_not_count() -> None:
    leaks.said(WORDS)
    try:
        raise ValueError(WORDS)
    except ValueError:
        logging.getLogger("bot.made_up").exception("handling failed")
    assert leaks.found() == []


def test_a_word_the_program_may_use_itself_is_no_secret() -> None:
    leaks.said("officer")
    leaks.secret("o-1")
    logging.getLogger("bot.made_up").info("the officer has o-1 open")
    assert leaks.found() == []

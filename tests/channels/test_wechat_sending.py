"""Sending to residents through WeChat: one token, each message once, every error with its meaning."""

import asyncio
import json
import socket
from datetime import timedelta
from typing import Any

import pytest
from structlog.typing import EventDict

from bot import clock
from bot.channels.base import Failure, Picture, SendError
from bot.channels.metrics import PLATFORM_ERRORS
from bot.message import PICTURE_LIMIT_BYTES, Choice, Reply
from tests.channels.conftest import JPEG, OPENID, Moment, Start, Station
from tests.channels.test_wechat_errors import ROWS
from tests.fakes.wechat import Effect, FakeWeChat

SEND = "custom/send"
TOKEN_CALL = "stable_token"
HELLO = Reply("居民的话")


async def send(station: Station, reply: Reply = HELLO, address: str = OPENID) -> None:
    await station.channel.send(address, reply, delivery_id=7)


async def failing(station: Station, reply: Reply = HELLO) -> SendError:
    with pytest.raises(SendError) as failed:
        await send(station, reply)
    error = failed.value
    for hidden in (OPENID, "居民的话", station.wechat.secret, *station.wechat.tokens):
        assert hidden not in f"{error} {error!r} {error.reason} {error.__cause__!r}"
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    assert error.reason.endswith("。") and len(error.reason) <= 200 and len(error.code) <= 20  # noqa: PT018
    return error


@pytest.fixture
def station(station: Station) -> Station:
    """A resident has just written: five messages within 48 hours."""
    station.wechat.inbound(OPENID)
    return station


@pytest.fixture
async def impatient(start: Start) -> Station:
    station = await start(call_seconds=1)
    station.wechat.inbound(OPENID)
    return station


# -- what arrives -----------------------------------------------------------------------------------------------------


async def test_a_text_arrives_once(station: Station) -> None:
    await send(station)
    assert station.wechat.texts(OPENID) == ["居民的话"]
    assert [call.path for call in station.wechat.journal] == ["/cgi-bin/stable_token", "/cgi-bin/message/custom/send"]


async def test_a_second_text_needs_no_second_token(station: Station) -> None:
    await send(station)
    await send(station)
    assert len(station.wechat.calls(TOKEN_CALL)) == 1


async def test_chinese_goes_over_the_wire_as_it_is(station: Station) -> None:
    await send(station)
    assert not station.wechat.journal[-1].escaped


async def test_choices_can_be_tapped_in_a_message_sent_later_too(station: Station) -> None:
    await send(station, Reply("您是想问：\n1. 补办身份证", (Choice("补办身份证", "1"), Choice("找民警", "找民警"))))
    (shown,) = station.wechat.texts(OPENID)
    assert shown.startswith('您是想问：\n1. <a href="weixin://bizmsgmenu?msgmenucontent=1&msgmenuid=1">补办身份证</a>')
    assert shown.endswith(">找民警</a>")


async def test_a_long_text_arrives_in_order_in_parts(station: Station) -> None:
    text = "\n".join(f"第{n}条：" + "请带好材料。" * 12 for n in range(22))
    assert len(text.encode()) > 5000
    await send(station, Reply(text))
    parts = station.wechat.texts(OPENID)
    assert 2 < len(parts) <= 5
    assert all(len(part.encode()) <= 2048 for part in parts)
    assert "\n".join(parts) == text


async def test_a_part_the_platform_finds_too_long_is_halved_once(station: Station) -> None:
    station.wechat.rules.text_limit_bytes = 1100
    await send(station, Reply("请带好材料。" * 100))
    assert "".join(station.wechat.texts(OPENID)) == "请带好材料。" * 100
    station.wechat.inbound(OPENID)
    station.wechat.rules.text_limit_bytes = 100
    error = await failing(station, Reply("请带好材料。" * 100))
    assert (error.failure, error.code) == (Failure.REFUSED, "45002")


async def test_control_characters_are_left_out_and_an_empty_reply_is_not_sent(station: Station) -> None:
    await send(station, Reply("好\x00\x0b的"))
    assert station.wechat.texts(OPENID) == ["好的"]
    before = len(station.wechat.journal)
    for reply in (Reply(""), Reply(" \n"), Reply("\x00")):
        assert (await failing(station, reply)).failure is Failure.REFUSED
    assert len(station.wechat.journal) == before


# -- pictures ---------------------------------------------------------------------------------------------------------


async def test_a_picture_is_uploaded_once_for_many(station: Station, moment: Moment) -> None:
    await asyncio.gather(send(station, Reply("", picture=7)), send(station, Reply("", picture=7)))
    await send(station, Reply("看图", picture=7))
    inbox = station.wechat.follower(OPENID).inbox
    assert [shown["msgtype"] for shown in inbox] == ["image", "image", "text", "image"]
    (media_id,) = {shown["image"]["media_id"] for shown in inbox if "image" in shown}
    assert station.wechat.media[media_id][:2] == ("image/jpeg", JPEG)
    moment.advance(2 * 86400 + 1)
    station.wechat.inbound(OPENID)
    await send(station, Reply("", picture=7))
    assert len(station.wechat.calls("media/upload")) == 2


@pytest.mark.parametrize("code", [40007, 40008])
async def test_a_picture_the_platform_no_longer_has_is_uploaded_again_once(station: Station, code: int) -> None:
    await send(station, Reply("", picture=7))
    station.wechat.media.clear()
    await send(station, Reply("", picture=7))
    assert len(station.wechat.calls("media/upload")) == 2
    station.wechat.fault(SEND, "errcode", code)
    assert (await failing(station, Reply("", picture=7))).failure is Failure.REFUSED
    assert len(station.wechat.calls("media/upload")) == 3


async def test_an_upload_that_fails_leaves_nothing_half_said(station: Station) -> None:
    station.wechat.fault("media/upload", "status", 502)
    error = await failing(station, Reply("看图", picture=7))
    assert error.failure is Failure.RETRY
    assert station.wechat.follower(OPENID).inbox == []


async def test_an_upload_after_a_token_expired_sends_the_whole_picture(station: Station) -> None:
    station.wechat.fault("media/upload", "expire_token", times=1)
    await send(station, Reply("", picture=7))
    assert [data for _, data, _ in station.wechat.media.values()] == [JPEG]


@pytest.mark.parametrize(
    "data", [b"<svg onload=alert(1)>", b"", b"\xff\xd8\xff" + b"x" * PICTURE_LIMIT_BYTES], ids=["svg", "empty", "large"]
)
async def test_what_is_no_picture_is_not_uploaded(station: Station, data: bytes) -> None:
    station.pictures.kept[8] = Picture("image/jpeg", data)
    assert (await failing(station, Reply("", picture=8))).failure is Failure.REFUSED
    assert (await failing(station, Reply("", picture=404))).failure is Failure.REFUSED
    assert station.wechat.calls("media/upload") == []


async def test_a_resident_s_picture_is_fetched(station: Station) -> None:
    for data, content_type in (
        (JPEG, "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"GIF89a...", "image/gif"),
    ):
        media_id = station.wechat.add_media(data, "application/octet-stream")  # the header alone is not believed
        assert await station.channel.fetch_picture(media_id) == Picture(content_type, data)


async def test_a_resident_s_picture_that_cannot_be_had(station: Station, moment: Moment) -> None:
    gone = station.wechat.add_media(JPEG)
    moment.advance(3 * 86400 + 1)
    large = station.wechat.add_media(JPEG + b"x" * PICTURE_LIMIT_BYTES)
    page = station.wechat.add_media(b"<html>", "image/jpeg")
    video = station.wechat.add_media(b'{"video_url": "http://x/"}', "text/plain")
    for media_id, code in ((gone, "40007"), (large, "answer_size"), (page, "bad_answer"), (video, "no_picture")):
        with pytest.raises(SendError) as failed:
            await station.channel.fetch_picture(media_id)
        assert (failed.value.failure, failed.value.code) == (Failure.REFUSED, code)


async def test_a_picture_is_fetched_again_when_the_platform_is_away(station: Station) -> None:
    station.wechat.fault("media/get", "status", 503, times=1)
    media_id = station.wechat.add_media(JPEG)
    with pytest.raises(SendError) as failed:
        await station.channel.fetch_picture(media_id)
    assert failed.value.retryable
    assert (await station.channel.fetch_picture(media_id)).data == JPEG


# -- errors in a 200 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "failure"), [row for row in ROWS if row[0] not in {40001, 40014, 42001}])
async def test_invariant_5_every_code_in_a_200_is_an_error_and_not_repeated(
    station: Station, code: int, failure: Failure, logs: list[EventDict]
) -> None:
    station.wechat.fault(SEND, "errcode", code)
    error = await failing(station)
    assert (error.failure, error.code) == (failure, str(code))
    assert error.retryable == (failure is Failure.RETRY)
    tries = 2 if code == 45002 else 1  # a text found too long is tried once more in halves
    assert len(station.wechat.calls(SEND)) == tries
    assert len(station.wechat.calls(TOKEN_CALL)) == 1
    (entry, *_) = [entry for entry in logs if entry["event"] == "platform call failed"]
    assert entry["rid"] == "0a1b2c3d-0a1b2c3d-0a1b2c3d"


async def test_a_strange_code_is_counted_without_filling_the_metrics(station: Station) -> None:
    before = PLATFORM_ERRORS.labels("fenglin", "other")._value.get()
    station.wechat.fault(SEND, "errcode", 987654321)
    await failing(station)
    assert PLATFORM_ERRORS.labels("fenglin", "other")._value.get() == before + 1


async def test_the_header_of_an_answer_does_not_matter(station: Station) -> None:
    station.wechat.rules.text_plain = True
    await send(station)
    station.wechat.followers[OPENID].window.left = 0
    assert (await failing(station)).code == "45047"


async def test_the_sixth_message_waits_and_goes_after_the_next_word_of_the_resident(station: Station) -> None:
    for _ in range(5):
        await send(station)
    error = await failing(station)
    assert (error.failure, error.code, error.retryable) == (Failure.LATER, "45047", False)
    station.wechat.inbound(OPENID)
    await send(station)
    station.wechat.advance(48 * 3600 + 1)
    assert (await failing(station)).code == "45015"
    station.wechat.inbound(OPENID, "VIEW")
    assert (await failing(station)).code == "45015"
    station.wechat.inbound(OPENID, "CLICK")
    for _ in range(3):
        await send(station)
    assert (await failing(station)).code == "45047"


# -- outcome unknown --------------------------------------------------------------------------------------------------

AFTER_SENDING: list[tuple[Effect, Any]] = [
    ("close_after", None),
    ("status_after", 502),
    ("delay_after", 60),
    ("truncated", None),
    ("no_errcode", None),
]


@pytest.mark.parametrize(("effect", "value"), AFTER_SENDING)
async def test_a_lost_answer_is_unknown_and_never_repeated(impatient: Station, effect: Effect, value: Any) -> None:
    """The platform has delivered it; whoever sent it again would say it twice."""
    impatient.wechat.fault(SEND, effect, value, times=1)
    error = await failing(impatient)
    assert (error.failure, error.retryable) == (Failure.UNKNOWN, False)
    assert impatient.wechat.texts(OPENID) == ["居民的话"]
    assert len(impatient.wechat.calls(SEND)) == 1


@pytest.mark.parametrize(("effect", "value"), [("close_before", None), ("html", None), ("delay", 60), ("status", 500)])
async def test_whether_it_was_delivered_cannot_be_seen_from_here(
    impatient: Station, effect: Effect, value: Any
) -> None:
    impatient.wechat.fault(SEND, effect, value, times=1)
    assert (await failing(impatient)).failure is Failure.UNKNOWN
    assert len(impatient.wechat.calls(SEND)) == 1


async def test_a_redirect_is_not_followed(station: Station) -> None:
    station.wechat.fault(SEND, "redirect", f"{station.wechat.url}/cgi-bin/elsewhere")
    assert (await failing(station)).failure is Failure.RETRY
    assert station.wechat.calls("elsewhere") == []


async def test_a_platform_that_is_not_there_is_tried_again(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        station = await start(api_base=f"http://127.0.0.1:{taken.getsockname()[1]}")
        station.tokens.held["fenglin"] = ("token", clock.now() + timedelta(hours=1))
        error = await failing(station)
    assert (error.failure, error.code) == (Failure.RETRY, "client_connector")


async def test_what_was_half_said_is_not_said_again(station: Station) -> None:
    """Two parts were accepted, the third is refused: the resident has read the beginning."""
    station.wechat.followers[OPENID].window.left = 2
    error = await failing(station, Reply("请带好材料。" * 300))
    assert (error.failure, error.code) == (Failure.UNKNOWN, "45047")
    assert error.reason.startswith("只送出了前 2 段（共 3 段）")
    assert len(station.wechat.texts(OPENID)) == 2


# -- tokens -----------------------------------------------------------------------------------------------------------


async def test_fifty_sends_with_a_cold_cache_ask_for_one_token(station: Station) -> None:
    openids = [f"o-resident-{n}" for n in range(50)]
    for openid in openids:
        station.wechat.inbound(openid)
    await asyncio.gather(*(send(station, address=openid) for openid in openids))
    assert len(station.wechat.calls(TOKEN_CALL)) == 1
    assert all(station.wechat.texts(openid) == ["居民的话"] for openid in openids)


async def test_a_token_that_expires_in_the_middle_is_renewed_once_and_nobody_gets_it_twice(station: Station) -> None:
    openids = [f"o-resident-{n}" for n in range(30)]
    for openid in openids:
        station.wechat.inbound(openid)
    await asyncio.gather(*(send(station, address=openid) for openid in openids[:10]))
    station.wechat.expire_tokens()
    await asyncio.gather(*(send(station, address=openid) for openid in openids[10:]))
    assert len(station.wechat.calls(TOKEN_CALL)) == 2
    assert station.wechat.counters["force_refresh"] == 0  # there are twenty a day
    assert [station.wechat.texts(openid) for openid in openids] == [["居民的话"]] * 30
    expired = [call for call in station.wechat.calls(SEND) if call.errcode == 42001]
    assert 1 <= len(expired) <= 20
    assert len(station.wechat.calls(SEND)) == 30 + len(expired)


@pytest.mark.parametrize("unknown_code", [40001, 40014])
async def test_a_token_the_platform_does_not_know_is_replaced(station: Station, unknown_code: int) -> None:
    station.wechat.rules.unknown_token_code = unknown_code
    station.tokens.held["fenglin"] = ("of-yesterday", clock.now() + timedelta(hours=1))
    await send(station)
    assert len(station.wechat.calls(SEND)) == 2
    assert len(station.wechat.calls(TOKEN_CALL)) == 1


async def test_a_revoked_token_that_the_platform_still_gives_is_renewed_by_force_once(station: Station) -> None:
    await send(station)
    station.wechat.revoked.update(station.wechat.tokens)
    await asyncio.gather(*(send(station) for _ in range(4)))
    assert station.wechat.texts(OPENID) == ["居民的话"] * 5
    assert station.wechat.counters["force_refresh"] == 1


@pytest.mark.parametrize("code", [40001, 40014, 42001])
async def test_a_token_refused_for_good_stops_the_channel_and_asks_no_more(
    station: Station, moment: Moment, code: int, logs: list[EventDict]
) -> None:
    """Sending on would burn the account's tokens and mend nothing."""
    station.wechat.fault(SEND, "errcode", code)
    for _ in range(20):
        error = await failing(station)
        assert (error.failure, error.code) == (Failure.CHANNEL_DOWN, str(code))
        moment.advance(1)
    assert len(station.wechat.calls(TOKEN_CALL)) <= 3
    assert len([call for call in station.wechat.calls(TOKEN_CALL) if call.at > station.wechat.journal[0].at]) <= 2
    assert len(station.wechat.calls(SEND)) == 2
    assert any(entry["log_level"] == "error" and entry["code"] == code for entry in logs)
    station.wechat.faults.clear()
    moment.advance(60)
    await send(station)  # mended


async def test_a_token_is_renewed_five_minutes_early(station: Station, moment: Moment) -> None:
    await send(station)
    moment.advance(7200 - 301)
    await send(station)
    assert len(station.wechat.calls(TOKEN_CALL)) == 1
    moment.advance(32)  # every process has a moment of its own within 30 seconds
    await asyncio.gather(*(send(station) for _ in range(3)))
    assert len(station.wechat.calls(TOKEN_CALL)) == 2
    assert [call.errcode for call in station.wechat.calls(SEND)] == [0] * 5


async def test_when_the_early_renewal_fails_the_token_serves_to_its_end(station: Station, moment: Moment) -> None:
    await send(station)
    moment.advance(7200 - 250)
    station.wechat.fault(TOKEN_CALL, "status", 500)
    for _ in range(4):
        await send(station)
    assert len(station.wechat.calls(TOKEN_CALL)) == 2  # tried once, then left alone for a minute
    moment.advance(251)
    station.wechat.inbound(OPENID)
    assert (await failing(station)).failure is Failure.RETRY


@pytest.mark.parametrize(
    ("effect", "value", "failure", "code"),
    [
        ("errcode", 40164, Failure.CHANNEL_DOWN, "40164"),
        ("errcode", 40125, Failure.CHANNEL_DOWN, "40125"),
        ("errcode", 40001, Failure.CHANNEL_DOWN, "40001"),
        ("errcode", -1, Failure.RETRY, "-1"),
        ("status", 500, Failure.RETRY, "http_500"),
        ("status", 404, Failure.RETRY, "http_404"),
        ("delay", 60, Failure.RETRY, "timeout"),
        ("html", None, Failure.RETRY, "bad_answer"),
        ("truncated", None, Failure.RETRY, "bad_answer"),
        ("no_errcode", None, Failure.RETRY, "bad_answer"),
        ("close_before", None, Failure.RETRY, "server_disconnected"),
    ],
)
async def test_a_token_call_that_fails_is_bounded(
    impatient: Station, moment: Moment, effect: Effect, value: Any, failure: Failure, code: str
) -> None:
    """Nothing was sent, so nothing is unknown; and a queue of deliveries does not beat on the door."""
    impatient.wechat.fault(TOKEN_CALL, effect, value)
    errors = await asyncio.gather(*(failing(impatient) for _ in range(10)))
    assert {(error.failure, error.code) for error in errors} == {(failure, code)}
    assert len(impatient.wechat.calls(TOKEN_CALL)) == 1
    assert impatient.wechat.calls(SEND) == []
    impatient.wechat.faults.clear()
    moment.advance(61)
    await send(impatient)


async def test_the_wrong_secret_says_so(start: Start, wechat: FakeWeChat) -> None:
    station = await start(secret="not-the-secret")
    error = await failing(station)
    assert (error.failure, error.code) == (Failure.CHANNEL_DOWN, "40125")
    assert "AppSecret" in error.reason


async def test_nothing_secret_is_in_an_error_even_with_its_origins(impatient: Station, logs: list[EventDict]) -> None:
    """aiohttp's own errors hold the address with the token; a log that prints the chain must not see them."""
    effects: list[tuple[Effect, Any]] = [("close_before", None), ("delay", 60), ("status", 500), ("errcode", 40003)]
    for effect, value in effects:
        impatient.wechat.faults.clear()
        impatient.wechat.fault(SEND, effect, value)
        await failing(impatient)
    assert "access_token" not in json.dumps(logs, default=str)

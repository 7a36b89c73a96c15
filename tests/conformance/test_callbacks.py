"""The callback edge of the whole program, as WeChat's own client meets it."""

import asyncio
import gzip
import itertools
import signal
import sys
import time
import tracemalloc
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlencode, urlsplit

import aiohttp
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from wechatpy.crypto.base import WeChatCipher

import handlers
from bot.channels import official_account
from bot.channels.wechat_envelope import BODY_LIMIT_BYTES, words_for_xml
from bot.message import Reply
from bot.router import Answer, Context
from bot.store.models import DeliveryRoute, DeliveryState, MessageState
from scheduler import jobs
from tests.conformance.conftest import Start, Station, refused, unknown
from tests.fakes.wechat.chat import FAULT_NOTICE
from tests.fakes.wechat.cipher import Corruption, children, encrypt, signature, xml_of
from tests.fakes.wechat.delivery import Attempt, Signed
from tests.fakes.wechat.pusher import ACCOUNT, AES_KEY, APP_ID, PREVIOUS_AES_KEY, TOKEN
from tests.support.station import SOON_SECONDS, until

QUESTION, TITLE = "身份证丢了怎么办", "身份证丢了补办"
OPENID, OTHER = "o9AgO5Kd5ggOC-bXrbNODIiE3bGY", "oZZZZ5Kd5ggOC-bXrbNODIiE3bGY"
PROJECT = Path(__file__).parent.parent.parent
MEBIBYTE = 1024 * 1024
_numbers = itertools.count(10**16)  # of messages and residents

# One program for many examples: what they leave in it does not matter to the next one.
many = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def text_of(words: str, openid: str = OPENID, number: str = "23456789012345678") -> dict[str, str]:
    return {
        "ToUserName": ACCOUNT,
        "FromUserName": openid,
        "CreateTime": "1795311000",
        "MsgType": "text",
        "Content": words,
        "MsgId": number,
    }


def is_refused(attempt: Attempt) -> bool:
    return (attempt.status, attempt.body) == (403, b"")


Route = Callable[[Context], Awaitable[Answer]]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The program says the last of these words to whatever a resident writes; events are handled as always."""
    words, handle = [""], handlers.answer

    async def answer(context: Context) -> Answer:
        if context.message.event is not None:
            return await handle(context)
        return Answer(Reply(words[-1]), "chat")

    monkeypatch.setattr("handlers.answer", answer)
    return words


# -- the address check ------------------------------------------------------------------------------------------------


async def test_the_address_check_of_the_documents_gives_back_the_echo_as_often_as_asked(start: Start) -> None:
    station = await start(token="AAAAA")
    station.clock.now = datetime.fromtimestamp(1714036504, UTC)
    query = {
        "signature": "f464b24fc39322e44b38aa78f5edd27bd1441696",
        "timestamp": "1714036504",
        "nonce": "1514711492",
        "echostr": "4375120948345356249",
    }
    for _ in range(2):
        attempt = await station.pusher.check(query)
        assert (attempt.status, attempt.body) == (200, b"4375120948345356249")


async def test_an_address_check_that_is_not_quite_right_gets_no_echo(station: Station) -> None:
    when, nonce = str(int(station.clock.now.timestamp())), "n1"
    right = {"signature": signature(TOKEN, when, nonce), "timestamp": when, "nonce": nonce, "echostr": "42"}
    assert (await station.pusher.check(right)).status == 200
    wrong = [right | {"signature": "0" * 40}, right | {"signature": right["signature"].upper()}]
    wrong += [{name: value for name, value in right.items() if name != missing} for missing in right]
    for query in wrong:
        assert is_refused(await station.pusher.check(query)), query
    for doubled in right:
        address = f"{station.url}?{urlencode([*right.items(), (doubled, right[doubled])])}"
        async with station.pusher.http.get(address) as response:
            assert (response.status, await response.read()) == (403, b""), doubled


# -- modes ------------------------------------------------------------------------------------------------------------


async def test_plaintext_is_taken_only_where_the_settings_allow_it(start: Start) -> None:
    strict, lenient = await start(), await start(allow_plaintext=True)
    push = await strict.pusher.text(OPENID, QUESTION, mode="plain")
    assert is_refused(push.attempts[-1])
    assert await strict.heard() == []
    push = await lenient.pusher.text(OPENID, QUESTION, mode="plain")
    assert TITLE in push.text


async def test_a_question_in_safe_mode_is_answered_sealed_and_signed_for_our_account(station: Station) -> None:
    push = await station.pusher.text(OPENID, QUESTION)
    outer = children(push.body)
    assert set(outer) == {"Encrypt", "MsgSignature", "TimeStamp", "Nonce"}
    assert (push.verdict, TITLE in push.text) == ("reply", True)  # opened by the platform, receiver and signature held
    assert station.shown(OPENID) == [push.text]


async def test_in_compat_mode_only_the_sealed_part_counts(station: Station) -> None:
    clear = text_of("楼上太吵了", OTHER)
    push = await station.pusher.text(OPENID, QUESTION, mode="compat", clear_fields=clear)
    assert TITLE in push.text
    assert [(row.address, row.body) for row in await station.heard()] == [(OPENID, QUESTION)]


async def test_without_the_right_msg_signature_nothing_is_even_opened(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    decrypt = WeChatCipher.decrypt

    def noted(self: Any, *arguments: Any) -> Any:
        opened.append(arguments)
        return decrypt(self, *arguments)

    monkeypatch.setattr(WeChatCipher, "decrypt", noted)
    for corrupt in ("msg_signature", "no_msg_signature"):
        push = await station.pusher.text(OPENID, QUESTION, corrupt=corrupt)
        assert is_refused(push.attempts[-1]), corrupt
    assert opened == []
    assert await station.heard() == []
    assert (await station.pusher.text(OPENID, QUESTION)).verdict == "reply"
    assert len(opened) == 1


async def test_a_request_that_lost_its_encryption_on_the_way_is_refused(start: Start) -> None:
    for allow_plaintext in (False, True):
        station = await start(allow_plaintext=allow_plaintext)
        push = await station.pusher.text(OPENID, QUESTION, corrupt="stripped")
        assert is_refused(push.attempts[-1])
        assert await station.heard() == []


async def test_a_message_for_another_account_is_refused_and_counted(station: Station) -> None:
    before = refused("receiver")
    push = await station.pusher.text(OPENID, QUESTION, corrupt="other_app")
    assert is_refused(push.attempts[-1])
    assert refused("receiver") == before + 1
    assert await station.heard() == []


# -- ciphers ----------------------------------------------------------------------------------------------------------


BROKEN = sorted(set(get_args(Corruption)) - {"other_app", "msg_signature", "no_msg_signature", "stripped"})


async def test_each_broken_cipher_gets_the_one_refusal(station: Station) -> None:
    for corrupt in BROKEN:
        push = await station.pusher.text(OPENID, QUESTION, corrupt=corrupt)
        assert is_refused(push.attempts[-1]), corrupt
    assert await station.heard() == []


@given(sealed=st.binary(max_size=300) | st.binary(min_size=16, max_size=320).map(lambda b: b[: len(b) // 16 * 16]))
@many
async def test_noise_with_a_right_signature_gets_the_one_refusal(station: Station, sealed: bytes) -> None:
    whole = encrypt(sealed, AES_KEY, APP_ID) if len(sealed) % 2 else sealed.hex()
    when, nonce = str(int(station.clock.now.timestamp())), "n1"
    query = {"timestamp": when, "nonce": nonce, "encrypt_type": "aes"}
    query["msg_signature"] = signature(TOKEN, when, nonce, whole)
    body = f"<xml><ToUserName>{ACCOUNT}</ToUserName><Encrypt>{whole}</Encrypt></xml>".encode()
    assert is_refused(await station.pusher.deliver(Signed(query, body)))
    assert await station.heard() == []


def _padding(words: str) -> int:
    return 32 - (20 + len(xml_of(text_of(words))) + len(APP_ID)) % 32


async def test_every_length_of_padding_opens(station: Station) -> None:
    by_padding = {_padding(words): words for n in range(32) if (words := QUESTION + "!" * n)}
    for pad in (1, 7, 19, 24, 30, 31, 32):
        push = await station.pusher.push(text_of(by_padding[pad], number=str(pad)))
        assert push.status == 200, pad
    assert [row.body for row in await station.heard()] == [by_padding[pad] for pad in (1, 7, 19, 24, 30, 31, 32)]


async def test_while_the_key_changes_the_old_one_is_answered_and_an_older_one_refused(
    station: Station,
) -> None:
    pusher = station.pusher
    pusher.aes_key = PREVIOUS_AES_KEY
    assert TITLE in (await pusher.text(OPENID, QUESTION)).text
    pusher.aes_key = "z" * 42 + "A"
    assert is_refused((await pusher.text(OPENID, QUESTION)).attempts[-1])


# -- time and repetition ----------------------------------------------------------------------------------------------


async def test_a_message_is_taken_five_minutes_around_now(station: Station) -> None:
    for seconds, status in ((-301, 403), (301, 403), (-299, 200), (299, 200)):
        assert (await station.pusher.text(OPENID, QUESTION, clock_skew=seconds)).status == status, seconds
    assert len(await station.heard()) == 2


async def test_how_far_a_clock_may_be_off_is_a_setting(start: Start) -> None:
    station = await start(clock_skew_seconds=10)
    assert (await station.pusher.text(OPENID, QUESTION, clock_skew=-11)).status == 403
    assert (await station.pusher.text(OPENID, QUESTION, clock_skew=-9)).status == 200


@given(timestamp=st.text(max_size=25) | st.integers().map(str) | st.integers(min_value=10**19).map(str))
@example("-1")
@example("")
@example("1" * 20)
@example("１７９５３１１０００")
@example("1795311000.0")
@many
async def test_a_time_that_is_none_is_refused(station: Station, timestamp: str) -> None:
    before = len(await station.heard())
    push = await station.pusher.text(OPENID, QUESTION, timestamp=timestamp)
    assert is_refused(push.attempts[-1])
    assert len(await station.heard()) == before


async def test_the_same_bytes_again_change_nothing_and_are_refused_after_the_window(station: Station) -> None:
    signed = station.pusher.sign(text_of(QUESTION))
    answers = []
    for seconds in (0, 1, 60, 240):
        station.clock.forward(seconds=seconds)
        attempt = await station.pusher.deliver(signed)
        answers.append((attempt.status, attempt.body == b"success" or b"Encrypt" in attempt.body))
    assert answers == [(200, True), (200, True), (200, True), (403, False)]
    assert (len(await station.heard()), len(await station.said())) == (1, 1)


@pytest.mark.parametrize("how", [{"always": True}, {"concurrent": True}])
async def test_three_deliveries_of_one_message_are_one_turn_with_one_answer(
    station: Station, how: dict[str, bool]
) -> None:
    push = await station.pusher.text(OPENID, QUESTION, deliveries=3, **how)
    judged = [station.pusher.judge(attempt, push.fields, encrypted=True) for attempt in push.attempts]
    assert len({(verdict, reply.get("Content")) for verdict, reply in judged}) == 1
    assert TITLE in judged[0][1]["Content"]
    assert (len(await station.heard()), len(await station.said())) == (1, 1)
    assert station.wechat.journal == []


async def test_one_number_from_two_residents_is_two_messages(station: Station) -> None:
    for openid in (OPENID, OTHER):
        push = await station.pusher.push(text_of(QUESTION, openid))
        assert TITLE in push.text
    assert len(await station.heard()) == 2


async def test_a_tap_and_a_scan_in_one_second_are_two_and_a_tap_delivered_three_times_is_one(station: Station) -> None:
    await station.pusher.event(OPENID, "CLICK", {"EventKey": "officer"}, deliveries=3, always=True)
    await station.pusher.event(OPENID, "SCAN", {"EventKey": "fenglin", "Ticket": "t"})
    assert [row.kind.value for row in await station.heard()] == ["event", "event"]


# -- slow and killed --------------------------------------------------------------------------------------------------


async def test_an_answer_that_takes_too_long_goes_out_once_by_message(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, turns = asyncio.Event(), 0

    async def slow(context: Context) -> Answer:
        nonlocal turns
        turns += 1
        await go_on.wait()
        return Answer(Reply(f"关于{context.message.text}：已办好"), "chat")

    monkeypatch.setattr("handlers.answer", slow)
    monkeypatch.setattr(official_account, "ANSWER_SECONDS", 0.05)  # of the platform's five
    monkeypatch.setattr("bot.dispatcher.GRACE_SECONDS", 0.05)
    station = await start()
    push = await station.pusher.text(OPENID, "慢", deliveries=3, always=True)
    assert [(attempt.status, attempt.body) for attempt in push.attempts] == [(200, b"success")] * 3
    go_on.set()
    await until(lambda: bool(station.wechat.texts(OPENID)))
    await station.program.outbox.work()
    assert station.shown(OPENID) == ["关于慢：已办好"]
    assert (turns, len(station.wechat.calls("custom/send"))) == (1, 1)


async def test_an_answer_in_time_costs_no_message(station: Station) -> None:
    await station.pusher.text(OPENID, QUESTION)
    await station.program.outbox.work()
    assert station.wechat.calls("custom/send") == []
    (delivery,) = await station.deliveries()
    assert delivery.route is DeliveryRoute.RESPONSE


async def test_a_program_killed_while_it_thinks_loses_nothing_and_answers_once(
    start: Start, furnished_sqlite_url: str
) -> None:
    station = await start()
    fields = text_of(QUESTION)
    child = await _child(furnished_sqlite_url, station)
    try:
        station.wechat.inbound(OPENID)
        address = f"http://127.0.0.1:{await _line(child)}/callback/fenglin"
        first = asyncio.create_task(_deliver_to(address, station.pusher.sign(fields)))
        assert await _line(child) == "handling"
        child.send_signal(signal.SIGKILL)
        assert await child.wait() == -signal.SIGKILL
        assert await first is None  # no answer: the platform delivers again
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    again = await station.pusher.push(fields)
    assert (again.status, again.body) == (200, b"success")  # the dead process might still be at it
    for _ in range(3):
        station.clock.forward(seconds=31)
        await jobs.resume_messages(station.program.desk)
        await station.program.outbox.work()
    await until(lambda: bool(station.shown(OPENID)))
    (message,) = await station.heard()
    assert message.state is MessageState.HANDLED
    (shown,) = station.shown(OPENID)
    assert TITLE in shown
    await station.reach(DeliveryState.SENT)


async def _child(database_url: str, station: Station) -> Process:
    now = station.clock.now.isoformat()
    command = ("-m", "tests.conformance.hanging", database_url, station.wechat.url, now)
    return await asyncio.create_subprocess_exec(sys.executable, *command, cwd=PROJECT, stdout=PIPE)


async def _line(child: Process) -> str:
    assert child.stdout is not None
    return (await asyncio.wait_for(child.stdout.readline(), 60)).decode().strip()


async def _deliver_to(address: str, signed: Signed) -> int | None:
    async with aiohttp.ClientSession() as http:
        try:
            async with http.post(address, params=signed.query, data=signed.body) as response:
                return response.status
        except aiohttp.ClientError:
            return None


# -- hostile bodies ---------------------------------------------------------------------------------------------------


async def _post(station: Station, body: object, **headers: str) -> tuple[int | None, float]:
    """The status (None: it hung up while we were still sending) and the processor seconds it took, on both sides."""
    signed = station.pusher.sign(text_of("x"))
    started = time.process_time()
    try:
        async with station.pusher.http.post(station.url, params=signed.query, data=body, headers=headers) as response:
            assert await response.read() == b""
            return response.status, time.process_time() - started
    except aiohttp.ClientOSError:
        return None, time.process_time() - started


async def _quickest(station: Station, body: bytes) -> tuple[int | None, float]:
    """Of three times the one in which the program's own clock disturbed least."""
    tries = [await _post(station, body) for _ in range(3)]
    assert len({status for status, _ in tries}) == 1
    return min(tries, key=lambda one: one[1])


async def _chunks() -> AsyncIterator[bytes]:
    for _ in range(32):
        yield b"x" * 65_536


async def test_a_body_too_large_is_refused_with_flat_memory_and_others_are_served(station: Station) -> None:
    await station.pusher.text(OPENID, QUESTION)  # everything is loaded
    bomb = gzip.compress(b"\0" * 64 * MEBIBYTE)
    tracemalloc.start()
    try:
        assert (await _post(station, b"x" * (BODY_LIMIT_BYTES + 1)))[0] in {413, None}
        assert (await _post(station, _chunks()))[0] in {413, None}
        assert (await _post(station, bomb, **{"Content-Encoding": "gzip"}))[0] in {413, None}
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MEBIBYTE
    assert TITLE in (await station.pusher.text(OPENID, QUESTION)).text


async def test_a_body_that_drips_holds_nobody_up_and_is_given_up(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    station = await start()
    monkeypatch.setattr(station.program.channels["fenglin"], "_body_seconds", 1.0)
    signed, address = station.pusher.sign(text_of("x")), urlsplit(station.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"POST {address.path}?{urlencode(signed.query)} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n"
    writer.write(head.encode() + b"<xml>")
    await writer.drain()
    assert TITLE in (await station.pusher.text(OPENID, QUESTION)).text
    async with asyncio.timeout(SOON_SECONDS):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
    writer.close()


def _declarations(port: int) -> list[str]:
    nested = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "ha"}">' for n in range(12))
    outside = f"http://127.0.0.1:{port}/x"
    return [
        f"<!DOCTYPE xml [{nested}]><xml><Encrypt>&e11;</Encrypt></xml>",
        f'<!DOCTYPE xml [<!ENTITY e SYSTEM "{outside}">]><xml><Encrypt>&e;</Encrypt></xml>',
        '<!DOCTYPE xml [<!ENTITY e SYSTEM "file:///etc/hostname">]><xml><Encrypt>&e;</Encrypt></xml>',
        f'<!DOCTYPE xml [<!ENTITY % e SYSTEM "{outside}"> %e;]><xml><Encrypt>x</Encrypt></xml>',
        f'<!DOCTYPE xml SYSTEM "{outside}"><xml><Encrypt>x</Encrypt></xml>',
    ]


async def test_declarations_and_entities_are_refused_at_once_and_nothing_is_fetched(station: Station) -> None:
    await station.pusher.text(OPENID, QUESTION)
    hits = 0

    async def listener(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal hits
        hits += 1
        writer.close()

    server = await asyncio.start_server(listener, "127.0.0.1", 0)
    async with server:
        for body in _declarations(server.sockets[0].getsockname()[1]):
            status, seconds = await _quickest(station, body.encode())
            assert (status, seconds < 0.05) == (403, True), body[:60]
            sealed = await station.pusher.deliver(station.pusher.sign(body.encode()))  # and inside the cipher
            assert is_refused(sealed)
    assert hits == 0


HOSTILE = {
    "nested": b"<xml>" + b"<a>" * 15_000,
    "nested and closed": b"<xml>" + b"<a>" * 6_000 + b"</a>" * 6_000 + b"</xml>",
    "attributes": b"<xml " + b" ".join(b'a%d=""' % n for n in range(5_000)) + b"/>",
    "NUL": b"<xml><Encrypt>\0</Encrypt></xml>",
    "UTF-16 declared": b'<?xml version="1.0" encoding="UTF-16"?><xml><Encrypt>x</Encrypt></xml>',
    "UTF-16": "<xml><Encrypt>x</Encrypt></xml>".encode("utf-16"),
    "empty": b"",
    "JSON": b'{"Encrypt": "x"}',
    "HTML": b"<!doctype html><html><body>hello</body></html>",
    "not XML": b"\xff\xfe\xfd",
    "two roots": b"<xml/><xml/>",
    "processing": b"<?php system('id') ?><xml/>",
}


async def test_each_hostile_body_is_refused_quickly(station: Station) -> None:
    await station.pusher.text(OPENID, QUESTION)
    for kind, body in HOSTILE.items():
        assert len(body) <= BODY_LIMIT_BYTES
        status, seconds = await _quickest(station, body)
        assert (status, seconds < 0.2) == (403, True), kind
        sealed = await station.pusher.deliver(station.pusher.sign(body))
        assert is_refused(sealed), kind
    assert len(await station.heard()) == 1


# -- what residents write ---------------------------------------------------------------------------------------------


@given(words=st.text(st.characters(codec="utf-8"), min_size=1, max_size=300))
@example(" \n\t ")
@example("好" * 10_000)
@example("👮🏻‍♀️ 𠮷野家 \u202e倒着写\u200b零宽\ufeff")
@example("]]><x>&amp;</x>")
@many
async def test_what_a_resident_writes_is_kept_as_it_was_written(station: Station, words: str) -> None:
    sound = words_for_xml(words).replace("\r", "")  # what XML cannot carry does not come
    push = await station.pusher.push(text_of(sound, number=str(next(_numbers))))
    assert push.status == 200
    assert (await station.heard())[-1].body == sound


async def test_a_message_that_can_be_read_in_two_ways_is_kept_as_unknown(station: Station) -> None:
    head = b"<xml><ToUserName>gh</ToUserName><FromUserName>o-1</FromUserName>"
    before = unknown("message")
    for rest in (
        b"<Content>no type</Content></xml>",
        b"<MsgType>text</MsgType><MsgId>1</MsgId><Content>a</Content><Content>b</Content></xml>",
    ):
        attempt = await station.pusher.deliver(station.pusher.sign(head + rest))
        assert attempt.status == 200, rest
    assert unknown("message") == before + 2
    assert len(await station.heard()) == 2


async def test_unknown_kinds_and_events_are_kept_and_counted(station: Station) -> None:
    messages, events = unknown("message"), unknown("event")
    file = await station.pusher.message(OPENID, "file", {"Title": "x.pdf"})
    event = await station.pusher.event(OPENID, "brand_new", {"EventKey": "x"})
    assert file.status == 200
    assert (event.status, event.body) == (200, b"success")
    assert FAULT_NOTICE not in station.shown(OPENID)
    assert (unknown("message"), unknown("event")) == (messages + 1, events + 1)
    assert len(await station.heard()) == 2


async def test_the_case_of_an_event_s_name_does_not_matter(station: Station) -> None:
    for number, name in enumerate(("scan", "SCAN", "Scan")):
        push = await station.pusher.event(f"o-{number}", name, {"EventKey": "fenglin", "Ticket": "t"})
        assert "枫林社区" in push.text, name


async def test_a_finished_job_is_known_in_any_case_and_says_nothing(station: Station) -> None:
    for number, name in enumerate(("MASSSENDJOBFINISH", "MassSendJobFinish", "masssendjobfinish")):
        push = await station.pusher.notify("mphelper", name, {"MsgID": str(number), "Status": "send success"})
        assert push.body == b"success"
    assert await station.said() == []
    assert await station.conversation("mphelper") is None


async def test_a_place_that_was_sent_is_not_where_the_resident_is(station: Station) -> None:
    place = {"Location_X": "29.7", "Location_Y": "120.2", "Scale": "15", "Label": "枫林路"}
    await station.pusher.message(OPENID, "location", place)
    report = {"Latitude": "29.7", "Longitude": "120.2", "Precision": "30"}
    push = await station.pusher.event(OPENID, "LOCATION", report)
    assert push.body == b"success"
    sent, seen = await station.heard()
    assert (sent.kind.value, sent.body) == ("location", "枫林路")
    assert (seen.kind.value, "29.7" in repr(vars(seen))) == ("event", False)


# -- codes, leaving, voices -------------------------------------------------------------------------------------------


async def test_a_code_binds_to_its_community_when_following_and_when_coming_back(station: Station) -> None:
    await station.wechat.scan("fenglin", OPENID)
    first = await station.conversation(OPENID)
    assert first is not None
    await station.wechat.scan("liuhe", OPENID)
    second = await station.conversation(OPENID)
    assert second is not None
    shown = station.shown(OPENID)
    assert ("枫林社区" in shown[0], "柳河村" in shown[1]) == (True, True)
    assert first.resident.community_id != second.resident.community_id


async def test_a_forged_code_binds_to_nothing_and_breaks_nothing(station: Station) -> None:
    for number, scene in enumerate(("beat:7", "'; DROP TABLE community; --", "", "123123")):
        openid = f"o-{number}"
        for name, key in (("subscribe", f"qrscene_{scene}"), ("SCAN", scene)):
            push = await station.pusher.event(openid, name, {"EventKey": key, "Ticket": "t"})
            assert push.verdict == "reply", scene
        conversation = await station.conversation(openid)
        assert conversation is not None
        assert conversation.resident.community_id is None, scene


async def test_whoever_leaves_gets_nothing_more_not_even_what_was_on_its_way(say: list[str], station: Station) -> None:
    say.append("请带好材料。" * 200)  # too long for the response: it goes by the outbox
    station.wechat.fault("custom/send", "errcode", -1)
    await station.pusher.text(OPENID, "说")
    station.clock.forward(seconds=31)
    await station.program.outbox.work()
    await until(lambda: bool(station.wechat.calls("custom/send")))
    await station.reach(DeliveryState.QUEUED)  # for its next try
    station.wechat.faults.clear()
    push = await station.pusher.event(OPENID, "unsubscribe", {"EventKey": ""})
    assert push.body == b"success"
    tried = len(station.wechat.calls("custom/send"))
    station.clock.forward(hours=1)
    await station.program.outbox.work()
    await station.reach(DeliveryState.SKIPPED)
    assert len(station.wechat.calls("custom/send")) == tried
    conversation = await station.conversation(OPENID)
    assert conversation is not None
    assert not conversation.address.following


async def test_a_voice_is_answered_by_its_words_or_asked_for_them(station: Station) -> None:
    fields = {"MediaId": station.wechat.add_media(b"#!AMR\n", "audio/amr"), "Format": "amr"}
    rows: list[tuple[dict[str, str], str]] = [
        ({}, "没能听清"),
        ({"Recognition": ""}, "没能听清"),
        ({"Recognition": QUESTION}, TITLE),
    ]
    for number, (recognised, answer) in enumerate(rows):
        push = await station.pusher.message(f"o-{number}", "voice", fields | recognised)
        assert answer in push.text, recognised


async def test_a_tapped_choice_is_understood_by_its_words_whatever_number_it_brings(station: Station) -> None:
    push = await station.pusher.message(OPENID, "text", {"Content": QUESTION, "bizmsgmenuid": "0"})
    assert TITLE in push.text


# -- what is answered -------------------------------------------------------------------------------------------------


@given(words=st.text(min_size=1, max_size=200))
@example("]]>")
@example("]]]]><![CDATA[>")
@example("a & b <xml> </xml> &amp;")
@example("\0\x0b\x1b[31m")
@example("]]></Content><MsgType><![CDATA[news")
@many
async def test_no_words_of_ours_break_the_answer(say: list[str], station: Station, words: str) -> None:
    say.append(words)
    push = await station.pusher.push(text_of("说", number=str(next(_numbers))))
    sound = words_for_xml(words).replace("\r\n", "\n").replace("\r", "\n")
    if push.body == b"success":
        assert not words_for_xml(words).strip()
        return
    assert push.verdict == "reply"
    assert set(push.reply) == {"ToUserName", "FromUserName", "CreateTime", "MsgType", "Content"}
    assert push.reply["Content"] == sound


@given(
    words=st.text(st.sampled_from("好a。，\n👮𠮷e\u0301"), min_size=1, max_size=40).map(lambda text: text * 60)
    | st.integers(1, 2200).map(lambda count: "好" * count)
)
@example("a" * 2000)
@example("好" * 600)
@example("好" * 601)
@example("👮" * 500)
@example("👮" * 501)
@many
async def test_a_long_answer_is_never_cut_within_a_character(say: list[str], station: Station, words: str) -> None:
    say.append(words)
    openid = f"o-{next(_numbers)}"
    push = await station.pusher.push(text_of("说", openid, number=str(next(_numbers))))
    station.wechat.inbound(openid)
    if push.verdict == "reply":
        assert push.text == words.strip("\n") or push.text == words
        assert len(push.text) <= 600
        assert len(push.text.encode()) <= 2000
        return
    assert push.body == b"success"
    station.clock.forward(seconds=31)  # nobody took it in the response: the outbox sends it
    await station.program.outbox.work()
    parts = station.wechat.texts(openid)
    assert all(len(part.encode()) <= 2048 for part in parts)
    assert not any("\ufffd" in part for part in parts)
    assert words.replace("\n", "").startswith("".join(parts).replace("\n", ""))


async def test_an_account_that_cannot_write_later_cuts_the_answer_and_says_so(say: list[str], start: Start) -> None:
    station = await start(account_type="subscription")
    say.append("请带好材料。" * 200)
    push = await station.pusher.text(OPENID, "说")
    assert push.verdict == "reply"
    assert (len(push.text) <= 600, len(push.text.encode()) <= 2000) == (True, True)
    assert "内容较长" in push.text

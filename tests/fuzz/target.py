"""What is fuzzed: one callback from its bytes to its Message and the answer to it; only RefusedError may come out."""

import base64
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from multidict import MultiDict

from bot import clock
from bot.channels.wechat_envelope import Envelope, Opened, RefusedError, words_for_xml
from bot.channels.wechat_messages import cut_for_passive, fits_passive, message_of, parts_of
from tests.fakes.wechat.cipher import Markup, children, encrypt, signature, xml_of
from tests.fakes.wechat.pusher import ACCOUNT, AES_KEY, APP_ID, PREVIOUS_AES_KEY, TOKEN

NOW: Final = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
_WHEN, _NONCE, _RANDOM = str(int(NOW.timestamp())), "n0nce", b"0123456789abcdef"
_ENVELOPE = Envelope(
    token=TOKEN,
    aes_keys=[AES_KEY, PREVIOUS_AES_KEY],
    receive_id=APP_ID,
    skew_seconds=300,
    allow_plaintext=True,
)
_PLAIN, _SEALED, _CIPHER, _COMPAT, _QUERY = range(5)  # what the first byte makes of the others


def one_callback(data: bytes) -> None:
    """Take `data` as a callback in one of five ways; an AssertionError or any other exception is a finding."""
    if not data:
        return
    way, rest = data[0] % 5, data[1:]
    try:
        query, body = _request(way, rest)
        opened = _ENVELOPE.open(_ENVELOPE.check_stamp(query), body)
        message = message_of("fenglin", opened)
    except RefusedError:
        return
    assert message.sender
    assert 0 < len(message.platform_id) <= 100
    assert "\0" not in message.text
    _check_answers(opened, message.text or "好")


def _request(way: int, rest: bytes) -> tuple[MultiDict[str], bytes]:
    query = MultiDict({"timestamp": _WHEN, "nonce": _NONCE})
    if way == _PLAIN:
        query["signature"] = signature(TOKEN, _WHEN, _NONCE)
        return query, rest
    query["encrypt_type"] = "aes"
    if way == _QUERY:  # the parameters themselves
        words = rest.decode("utf-8", "replace").split("&")
        return MultiDict([("encrypt_type", "aes"), *((name, value) for name, _, value in _pairs(words))]), b"<xml/>"
    sealed = base64.b64encode(rest).decode() if way == _CIPHER else encrypt(rest, AES_KEY, APP_ID, None, _RANDOM)
    query["msg_signature"] = signature(TOKEN, _WHEN, _NONCE, sealed)
    outer = f"<xml><ToUserName>{ACCOUNT}</ToUserName><Encrypt>{sealed}</Encrypt></xml>".encode()
    if way == _COMPAT:  # clear words before the cipher: they must not matter
        outer = b"<xml><MsgType>text</MsgType><Content>clear</Content>" + outer.removeprefix(b"<xml>")
    return query, outer


def _pairs(words: list[str]) -> Iterator[tuple[str, str, str]]:
    return (one.partition("=") for one in words)


def _check_answers(opened: Opened, words: str) -> None:
    """What we would answer with the resident's own words is XML with the known children, and cut between characters."""
    passive = cut_for_passive(words_for_xml(words))
    assert fits_passive(passive)
    answer = children(_ENVELOPE.answer_text(opened, passive).encode())
    known = {"Encrypt", "MsgSignature", "TimeStamp", "Nonce"}
    if opened.key_number is None:
        known = {"ToUserName", "FromUserName", "CreateTime", "MsgType", "Content"}
    assert set(answer) - {"FuncFlag"} == known
    assert all(len(part.encode()) <= 2048 for part in parts_of(words))


# -- seeds ------------------------------------------------------------------------------------------------------------


def seeds() -> list[bytes]:
    """One callback of each kind and way, well-formed: where the fuzzing starts."""
    head = {"ToUserName": ACCOUNT, "FromUserName": "o-resident", "CreateTime": _WHEN}
    scanned = Markup("<ScanType>qrcode</ScanType><ScanResult>x</ScanResult>")
    consents = Markup("<List><TemplateId>T</TemplateId><SubscribeStatusString>accept</SubscribeStatusString></List>")
    kinds: list[dict[str, str]] = [
        {"MsgType": "text", "Content": "身份证丢了怎么办", "MsgId": "23456789012345678", "bizmsgmenuid": "0"},
        {"MsgType": "image", "PicUrl": "http://a.example/1", "MediaId": "m", "MsgId": "1"},
        {"MsgType": "voice", "MediaId": "m", "Format": "amr", "Recognition": "在吗", "MsgId": "2"},
        {"MsgType": "shortvideo", "MediaId": "m", "ThumbMediaId": "t", "MsgId": "3"},
        {
            "MsgType": "location",
            "Location_X": "29.7",
            "Location_Y": "120.2",
            "Scale": "15",
            "Label": "路",
            "MsgId": "4",
        },
        {"MsgType": "link", "Title": "t", "Description": "d", "Url": "http://a.example", "MsgId": "5"},
        {"MsgType": "file", "Title": "x.pdf", "MsgId": "6"},
        {"MsgType": "event", "Event": "subscribe", "EventKey": "qrscene_fenglin", "Ticket": "t"},
        {"MsgType": "event", "Event": "unsubscribe"},
        {"MsgType": "event", "Event": "CLICK", "EventKey": "officer"},
        {"MsgType": "event", "Event": "LOCATION", "Latitude": "1", "Longitude": "2", "Precision": "3"},
        {"MsgType": "event", "Event": "scancode_waitmsg", "EventKey": "k", "ScanCodeInfo": scanned},
        {"MsgType": "event", "Event": "MASSSENDJOBFINISH", "MsgID": "7", "Status": "err(20008)", "TotalCount": "2"},
        {"MsgType": "event", "Event": "subscribe_msg_popup_event", "SubscribeMsgPopupEvent": consents},
    ]
    whole = [xml_of(head | kind) for kind in kinds]
    made = [bytes([way]) + xml for xml in whole for way in (_PLAIN, _SEALED)]
    made += [bytes([_COMPAT]) + whole[0], bytes([_CIPHER]) + bytes(64)]
    return [*made, bytes([_QUERY]) + f"timestamp={_WHEN}&nonce=n&msg_signature=0".encode()]


_INSERTS = (b"]]>", b"<![CDATA[", b"<!DOCTYPE x>", b"&amp;", b"&x;", b"\0", b"\xff", b"<a>", b"</xml>", "好".encode())


def mutated(chance: random.Random) -> bytes:
    """A seed with a few bytes turned, cut, doubled or put in, for those who fuzz without a fuzzer."""
    data = bytearray(chance.choice(_SEEDS))
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0 if place < len(data):
                data[place] ^= 1 << chance.randrange(8)
            case 1:
                del data[place : place + chance.randint(1, 20)]
            case 2:
                data[place:place] = data[place : place + chance.randint(1, 60)]
            case 3:
                data[place:place] = chance.choice(_INSERTS)
            case _:
                other = chance.choice(_SEEDS)
                data[place:] = other[chance.randrange(len(other)) :]
    return bytes(data)


_SEEDS: Final = seeds()


def stop_the_clock() -> None:
    """The fuzzed signatures are of one moment."""
    clock.set_source(lambda: NOW)

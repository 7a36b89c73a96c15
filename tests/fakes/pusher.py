"""WeChat's own client: pushes what residents do to the bot's callback, signed and encrypted, and judges the answer.

The signature and the cipher are written here once more on purpose, so that the program is not measured by itself.
"""

import asyncio
import base64
import hashlib
import itertools
import os
import struct
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from xml.etree import ElementTree

import aiohttp
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bot import clock
from tests.fakes.wechat import FakeWeChat

Mode = Literal["plain", "compat", "safe"]
Corruption = Literal[
    "base64",
    "empty",
    "length_1",
    "length_15",
    "length_33",
    "pad_zero",
    "pad_33",
    "pad_mixed",
    "inner_length_huge",
    "inner_length_one_more",
    "inner_not_utf8",
    "inner_not_xml",
    "other_app",
    "other_key",
    "msg_signature",
    "no_msg_signature",
    "stripped",  # encrypt_type and msg_signature taken away
]
Verdict = Literal["silent", "reply", "fault notice"]

TOKEN = "police110"
AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
PREVIOUS_AES_KEY = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
APP_ID = "wx0000000000000001"
ACCOUNT = "gh_0123456789ab"

_KNOWN_REPLIES = {"text", "image", "voice", "video", "music", "news", "transfer_customer_service"}


@dataclass(frozen=True)
class Attempt:
    """One delivery: the answer, or why there was none."""

    status: int | None
    body: bytes
    seconds: float
    error: str = ""


@dataclass
class Push:
    """One message with all its deliveries. `verdict` is what the resident's phone shows."""

    fields: dict[str, str]
    attempts: list[Attempt] = field(default_factory=list)
    verdict: Verdict = "fault notice"
    reply: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int | None:
        return self.attempts[-1].status

    @property
    def body(self) -> bytes:
        return self.attempts[-1].body

    @property
    def text(self) -> str:
        """The words of the answer, "" if there is none."""
        return self.reply.get("Content", "")


@dataclass
class Signed:
    """A request as it goes over the wire; sent again as it is, it is a replay."""

    query: dict[str, str]
    body: bytes


class Pusher:
    """Delivers to one callback. `again_on_error`: whether an HTTP error also brings a new delivery; not documented."""

    def __init__(
        self,
        url: str,
        *,
        token: str = TOKEN,
        aes_key: str = AES_KEY,
        app_id: str = APP_ID,
        account: str = ACCOUNT,
        mode: Mode = "safe",
        wechat: FakeWeChat | None = None,
        again_on_error: bool = False,
    ) -> None:
        self.url, self.token, self.aes_key, self.app_id = url, token, aes_key, app_id
        self.account, self.mode, self.wechat, self.again_on_error = account, mode, wechat, again_on_error
        self.chats: dict[str, list[str]] = defaultdict(list)  # what each resident's phone shows
        self._numbers = itertools.count(23_456_789_012_345_678)  # above 2**53: a float would round it
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    @property
    def http(self) -> aiohttp.ClientSession:
        assert self._http is not None, "use it as `async with Pusher(…)`"
        return self._http

    # -- what residents do -----------------------------------------------------------------------------------------

    async def text(self, openid: str, words: str, **how: Any) -> Push:
        return await self.message(openid, "text", {"Content": words}, **how)

    async def message(self, openid: str, kind: str, fields: Mapping[str, str], **how: Any) -> Push:
        """A message of any kind; the platform numbers it, unless `fields` has a MsgId."""
        whole = {**self._head(openid, kind), **fields}
        whole.setdefault("MsgId", str(next(self._numbers)))
        if self.wechat is not None:
            self.wechat.inbound(openid, "message")
        return await self.push(whole, **how)

    async def event(self, openid: str, name: str, fields: Mapping[str, str] | None = None, **how: Any) -> Push:
        if self.wechat is not None:
            self.wechat.inbound(openid, name)
        return await self.push({**self._head(openid, "event"), "Event": name, **(fields or {})}, **how)

    def _head(self, openid: str, kind: str) -> dict[str, str]:
        when = str(int(self._now()))
        return {"ToUserName": self.account, "FromUserName": openid, "CreateTime": when, "MsgType": kind}

    # -- how the platform delivers ---------------------------------------------------------------------------------

    async def push(
        self,
        fields: Mapping[str, str],
        *,
        deliveries: int = 3,
        always: bool = False,
        timeout_seconds: float = 5.0,
        same_bytes: bool = False,
        concurrent: bool = False,
        **how: Any,
    ) -> Push:
        """Deliver until somebody answers, `deliveries` times at most; with `always` or `concurrent`, exactly so often.

        `same_bytes` repeats timestamp, nonce and ciphertext; the platform's documents do not say whether it does.
        """
        push = Push(dict(fields))
        first = self.sign(fields, **how)
        requests = [first if same_bytes or n == 0 else self.sign(fields, **how) for n in range(deliveries)]
        if concurrent:
            push.attempts = list(await asyncio.gather(*(self.deliver(one, timeout_seconds) for one in requests)))
        else:
            for request in requests:
                push.attempts.append(await self.deliver(request, timeout_seconds))
                if not always and not self._delivers_again(push.attempts[-1]):
                    break
        answered = next((one for one in push.attempts if one.status is not None), push.attempts[-1])
        push.verdict, push.reply = self.judge(answered, fields, encrypted=how.get("mode", self.mode) != "plain")
        self._show(fields.get("FromUserName", ""), push)
        return push

    async def deliver(self, request: Signed, timeout_seconds: float = 5.0) -> Attempt:
        started = time.perf_counter()
        try:
            async with self.http.post(
                self.url,
                params=request.query,
                data=request.body,
                headers={"Content-Type": "text/xml"},
                timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            ) as response:
                body = await response.read()
                return Attempt(response.status, body, time.perf_counter() - started)
        except (TimeoutError, aiohttp.ClientError) as error:
            return Attempt(None, b"", time.perf_counter() - started, type(error).__name__)

    async def check_address(self, echo: str = "4375120948345356249", **changed: str) -> Attempt:
        """The GET with which the platform checks an address; `changed` replaces parameters."""
        timestamp, nonce = str(int(self._now())), os.urandom(4).hex()
        query = {"signature": signature(self.token, timestamp, nonce), "timestamp": timestamp, "nonce": nonce}
        query |= {"echostr": echo, **changed}
        started = time.perf_counter()
        async with self.http.get(self.url, params=query) as response:
            return Attempt(response.status, await response.read(), time.perf_counter() - started)

    def sign(
        self,
        fields: Mapping[str, str] | bytes,
        *,
        mode: Mode | None = None,
        clock_skew: float = 0,
        timestamp: str | None = None,
        corrupt: Corruption | None = None,
        aes_key: str | None = None,
        clear_fields: Mapping[str, str] | None = None,
    ) -> Signed:
        """A request ready to deliver. `fields` may be raw bytes; `clear_fields` is the clear part in compat mode."""
        mode = mode or self.mode
        inner = fields if isinstance(fields, bytes) else xml_of(fields)
        when = timestamp if timestamp is not None else str(int(self._now() + clock_skew))
        nonce = os.urandom(5).hex()
        query = {"signature": signature(self.token, when, nonce), "timestamp": when, "nonce": nonce}
        if not isinstance(fields, bytes):
            query["openid"] = fields.get("FromUserName", "")
        if mode == "plain":
            return Signed(query, inner)
        sealed = encrypt(inner, aes_key or self.aes_key, self.app_id, corrupt)
        clear = dict(clear_fields or (fields if not isinstance(fields, bytes) else {})) if mode == "compat" else {}
        body = xml_of({**clear, "ToUserName": self.account, "Encrypt": sealed})
        query |= {"encrypt_type": "aes", "msg_signature": signature(self.token, when, nonce, sealed)}
        if corrupt == "msg_signature":
            query["msg_signature"] = query["signature"]
        if corrupt in {"no_msg_signature", "stripped"}:
            del query["msg_signature"]
        if corrupt == "stripped":
            del query["encrypt_type"]
        return Signed(query, body)

    def judge(self, attempt: Attempt, fields: Mapping[str, str], *, encrypted: bool) -> tuple[Verdict, dict[str, str]]:
        """What the resident sees: nothing, an answer, or "this account cannot serve you now"."""
        if attempt.status != 200:
            return "fault notice", {}
        if attempt.body in {b"", b"success"}:
            return "silent", {}
        try:
            reply = children(attempt.body)
            if encrypted:
                reply = children(self.open_answer(reply))
        except (ElementTree.ParseError, ValueError, KeyError, AssertionError):
            return "fault notice", {}
        swapped = (reply.get("ToUserName"), reply.get("FromUserName")) == (fields["FromUserName"], fields["ToUserName"])
        if not swapped or reply.get("MsgType") not in _KNOWN_REPLIES or not reply.get("CreateTime", "").isdigit():
            return "fault notice", {}
        return "reply", reply

    def open_answer(self, outer: Mapping[str, str], aes_key: str | None = None) -> bytes:
        """The XML inside an encrypted answer; ValueError or KeyError if the platform would not read it."""
        expected = signature(self.token, outer["TimeStamp"], outer["Nonce"], outer["Encrypt"])
        if outer["MsgSignature"] != expected or set(outer) != {"Encrypt", "MsgSignature", "TimeStamp", "Nonce"}:
            raise ValueError("the answer is not signed as it should be")
        message, app_id = decrypt(outer["Encrypt"], aes_key or self.aes_key)
        if app_id != self.app_id:
            raise ValueError("the answer is for another account")
        return message

    def _delivers_again(self, attempt: Attempt) -> bool:
        return attempt.status is None or (self.again_on_error and attempt.status >= 500)

    def _show(self, openid: str, push: Push) -> None:
        if push.verdict == "reply":
            self.chats[openid].append(push.text or f"[{push.reply['MsgType']}]")
        elif push.verdict == "fault notice":
            self.chats[openid].append("该公众号提供的服务出现故障，请稍后再试")

    def _now(self) -> float:
        return self.wechat.now() if self.wechat is not None else clock.now().timestamp()


def signature(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324  # the platform's choice


def xml_of(fields: Mapping[str, str]) -> bytes:
    """The platform's XML: numbers bare, words in CDATA."""
    nodes = []
    for name, value in fields.items():
        if value.startswith("<") and name.endswith(("Info", "Event", "Count", "Result")):
            nodes.append(f"<{name}>{value}</{name}>")  # already XML: ScanCodeInfo and the like
        elif name in {"CreateTime", "MsgId", "MsgID"} and value.isdigit():
            nodes.append(f"<{name}>{value}</{name}>")
        else:
            nodes.append(f"<{name}><![CDATA[{value.replace(']]>', ']]]]><![CDATA[>')}]]></{name}>")
    return f"<xml>{''.join(nodes)}</xml>".encode()


def children(xml: bytes) -> dict[str, str]:
    """The children of the root; AssertionError if one comes twice."""
    root = ElementTree.fromstring(xml)  # noqa: S314  # our own program's answer
    found = {child.tag: child.text or "" for child in root}
    assert root.tag == "xml" and len(found) == len(root), "a child comes twice"  # noqa: PT018
    return found


def encrypt(
    message: bytes,
    aes_key: str,
    app_id: str,
    corrupt: Corruption | None = None,
    random_bytes: bytes | None = None,
) -> str:
    """The Encrypt of one message, wrong in one way if `corrupt` says so."""
    if corrupt == "empty":
        return ""
    if corrupt == "base64":
        return "这不是 base64!"
    if corrupt is not None and corrupt.startswith("length_"):
        return base64.b64encode(os.urandom(int(corrupt.removeprefix("length_")))).decode()
    if corrupt == "other_key":
        aes_key = aes_key[::-1]
    if corrupt == "other_app":
        app_id = "wx9999999999999999"
    if corrupt == "inner_not_utf8":
        message = b"<xml><MsgType>text</MsgType><Content>\xff\xfe\xfd</Content></xml>"
    if corrupt == "inner_not_xml":
        message = b"<xml><MsgType>text</Content></xml>"
    length = len(message)
    if corrupt == "inner_length_huge":
        length = 0xFFFFFFFF
    if corrupt == "inner_length_one_more":
        length = len(message) + len(app_id) + 1
    plain = (random_bytes or os.urandom(16)) + struct.pack(">I", length) + message + app_id.encode()
    pad = 32 - len(plain) % 32
    padding = bytes([pad]) * pad
    if corrupt == "pad_zero":
        padding = padding[:-1] + b"\0"
    if corrupt == "pad_33":
        padding = padding[:-1] + b"\x21"
    if corrupt == "pad_mixed":
        if pad < 2:  # one byte cannot be mixed
            return encrypt(message + b" ", aes_key, app_id, corrupt, random_bytes)
        padding = bytes([pad ^ 1]) + padding[1:]
    key = base64.b64decode(aes_key + "=")
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain + padding) + encryptor.finalize()).decode()


def decrypt(sealed: str, aes_key: str) -> tuple[bytes, str]:
    """The message in an Encrypt and whom it is for; ValueError if it is not laid out as it should be."""
    key = base64.b64decode(aes_key + "=")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    plain = decryptor.update(base64.b64decode(sealed, validate=True)) + decryptor.finalize()
    pad = plain[-1]
    if len(plain) % 32 or not 1 <= pad <= 32 or plain[-pad:] != bytes([pad]) * pad:
        raise ValueError("bad padding")
    (length,) = struct.unpack(">I", plain[16:20])
    content = plain[20:-pad]
    if length > len(content):
        raise ValueError("bad length")
    return content[:length], content[length:].decode()

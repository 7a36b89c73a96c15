"""The envelope of WeChat's callbacks: looks at everything before believing it, opens it, and seals what we answer.

wechatpy 1.8.18 does the cipher, the parsing and the rendering. It trusts its input, so every check stands here, in
front of it; the layout is the same for official accounts and WeCom (`receive_id` is the appid or the corpid).
"""

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any, Self
from xml.parsers import expat

from multidict import MultiMapping
from wechatpy import parse_message
from wechatpy.crypto import PrpCrypto, WeChatCrypto
from wechatpy.crypto.base import WeChatCipher
from wechatpy.messages import UnknownMessage
from wechatpy.replies import TextReply
from wechatpy.utils import WeChatSigner

from bot import clock
from bot.config import CallbackSettings

BODY_LIMIT_BYTES = 64 * 1024  # a compat-mode text message of the longest kind is under 12 KiB

_BLOCK = 32  # PKCS#7 with a block of 32, so pads of 17 to 32 occur
_RANDOM = 16
_HEAD = _RANDOM + 4  # random bytes, then the length of the message
_DEPTH_LIMIT = 8  # the platform's deepest message has 5 levels
_ELEMENT_LIMIT = 1000  # a notice about a mass send lists at most 8 articles; the consent lists are short
_PARAMETER_LIMIT = 512

# One of these twice would let two readers see two different messages.
_IDENTITY = frozenset(
    {"ToUserName", "FromUserName", "CreateTime", "MsgType", "MsgId", "MsgID", "Event", "EventKey"}
    # WeCom's
    | {"AgentID", "ChangeType", "UserID", "ExternalUserID", "State", "WelcomeCode", "OpenKfId", "Token"}
)
_ONCE = ("timestamp", "nonce", "signature", "msg_signature", "encrypt_type", "echostr", "openid")
# What XML 1.0 has no place for; expat refuses it on the way in, so we must not write it on the way out.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Reason(StrEnum):
    """Why a callback was refused: for our log and counter, never for the sender."""

    PARAMETERS = "parameters"
    TIMESTAMP = "timestamp"
    PLAINTEXT = "plaintext"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    BAD_BODY = "bad_body"
    JSON = "json"
    OUTER_XML = "outer_xml"
    SIGNATURE = "signature"
    BASE64 = "base64"
    LENGTH = "length"
    PADDING = "padding"
    INNER_LENGTH = "inner_length"
    RECEIVER = "receiver"
    INNER_XML = "inner_xml"


class RefusedError(Exception):
    """A callback that is not believed. One kind for everything that can be wrong, so that outside all look the same."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Stamp:
    """The parameters of one callback, each given once, well-formed and in time."""

    timestamp: str
    nonce: str
    signature: str
    encrypted: bool


@dataclass(frozen=True, slots=True)
class Fields:
    """The children of `<xml>` with their words exactly as sent; of one given several times, all its words."""

    values: Mapping[str, str]
    doubled: frozenset[str] = frozenset()

    def get(self, name: str) -> str:
        return self.values.get(name, "")


@dataclass(frozen=True)
class Opened:
    """A callback that is believed; `key_number` is the key that opened it (clear: None)."""

    fields: Fields
    xml: bytes
    key_number: int | None

    @cached_property
    def parsed(self) -> Any:
        """wechatpy's object, for what is more than words: a text costs no second parser."""
        try:
            parsed = parse_message(self.xml)
        except Exception:
            # Sound XML from the platform that wechatpy stumbles over, e.g. no MsgType: kept as unknown, not lost.
            parsed = None
        return parsed or UnknownMessage(dict(self.fields.values))


class Envelope:
    """Checks, opens and seals for one account. `aes_keys`: the current key, then the previous one while it changes."""

    def __init__(
        self, *, token: str, aes_keys: Sequence[str], receive_id: str, skew_seconds: int, allow_plaintext: bool = False
    ) -> None:
        self._token = token
        self._receive_id = receive_id.encode()
        self._skew = timedelta(seconds=skew_seconds)
        self._allow_plaintext = allow_plaintext
        keys = [base64.b64decode(key + "=") for key in aes_keys]
        if not token or not keys or any(len(key) != 32 for key in keys):  # wechatpy only asserts this
            raise ValueError("a callback needs a token and an EncodingAESKey of 43 letters and digits")
        self._openers = [WeChatCipher(key) for key in keys]
        self._sealers = [_Crypto(token, key, receive_id) for key in aes_keys]

    @classmethod
    def of(cls, settings: CallbackSettings, receive_id: str, *, allow_plaintext: bool = False) -> Self:
        """The envelope of a channel with these settings."""
        return cls(
            token=settings.token.get_secret_value(),
            aes_keys=settings.aes_keys,
            receive_id=receive_id,
            skew_seconds=settings.clock_skew_seconds,
            allow_plaintext=allow_plaintext,
        )

    # -- in --------------------------------------------------------------------------------------------------------

    def check_echo(self, query: MultiMapping[str]) -> str:
        """The echostr of a rightly signed address check of an official account."""
        _check_once(query)
        timestamp, nonce = self._check_time(query)
        self._check_signature(_required(query, "signature"), timestamp, nonce)
        echo = _required(query, "echostr")
        # The signature does not cover it: keep to what the platform sends, so that nobody has pages echoed here.
        if not re.fullmatch(r"[\x21-\x7e]+", echo):
            raise RefusedError(Reason.PARAMETERS)
        return echo

    def check_stamp(self, query: MultiMapping[str]) -> Stamp:
        """The parameters of a POST, before its body is read."""
        _check_once(query)
        timestamp, nonce = self._check_time(query)
        encrypt_type = query.get("encrypt_type", "raw")
        if encrypt_type == "aes":
            return Stamp(timestamp, nonce, _required(query, "msg_signature"), encrypted=True)
        # `signature` does not cover the body: whoever saw one can post anything. So a request that lost its
        # encrypt_type on the way is refused even where plaintext is allowed.
        if encrypt_type != "raw" or not self._allow_plaintext or "msg_signature" in query:
            raise RefusedError(Reason.PLAINTEXT)
        signature = _required(query, "signature")
        self._check_signature(signature, timestamp, nonce)
        return Stamp(timestamp, nonce, signature, encrypted=False)

    def open(self, stamp: Stamp, body: bytes) -> Opened:
        """The message inside a body; raises RefusedError. In compat mode only what was encrypted counts."""
        if len(body) > BODY_LIMIT_BYTES:
            raise RefusedError(Reason.TOO_LARGE)
        if body.lstrip()[:1] == b"{":
            raise RefusedError(Reason.JSON)  # the console is set to JSON: its setting must be XML
        outer = _read(body, Reason.OUTER_XML)
        if not stamp.encrypted:
            if "Encrypt" in outer.values:
                raise RefusedError(Reason.PLAINTEXT)
            return _believed(body, outer, None)
        if not outer.get("Encrypt") or "Encrypt" in outer.doubled:
            raise RefusedError(Reason.OUTER_XML)
        inner, key_number = self.open_cipher(stamp.signature, stamp.timestamp, stamp.nonce, outer.get("Encrypt"))
        return _believed(inner, _read(inner, Reason.INNER_XML), key_number)

    def open_cipher(self, msg_signature: str, timestamp: str, nonce: str, encrypt: str) -> tuple[bytes, int]:
        """The bytes inside one Encrypt (or WeCom echostr) and the number of the key that opened it."""
        self._check_signature(msg_signature, timestamp, nonce, encrypt)
        try:
            cipher = base64.b64decode(encrypt, validate=True)
        except (binascii.Error, ValueError):  # ValueError: not ASCII
            raise RefusedError(Reason.BASE64) from None
        if not cipher or len(cipher) % 16:
            raise RefusedError(Reason.LENGTH)
        reasons = []
        for number, opener in enumerate(self._openers):
            try:
                return self._unpack(opener.decrypt(cipher)), number
            except RefusedError as refusal:
                reasons.append(refusal.reason)
        # A message for another account is worth more attention than the noise the other key made of it.
        raise RefusedError(Reason.RECEIVER if Reason.RECEIVER in reasons else reasons[0])

    def _unpack(self, plain: bytes) -> bytes:
        pad = plain[-1]
        if not 1 <= pad <= _BLOCK or pad > len(plain) or plain[-pad:] != bytes([pad]) * pad:
            raise RefusedError(Reason.PADDING)
        content = plain[:-pad]
        length = int.from_bytes(content[_RANDOM:_HEAD], "big")
        if len(content) < _HEAD or _HEAD + length > len(content):
            raise RefusedError(Reason.INNER_LENGTH)
        if not hmac.compare_digest(content[_HEAD + length :], self._receive_id):
            raise RefusedError(Reason.RECEIVER)
        return content[_HEAD : _HEAD + length]

    def _check_signature(self, given: str, *signed: str) -> None:
        signer = WeChatSigner()
        signer.add_data(self._token, *(part.encode("utf-8", "replace") for part in signed))
        # Bytes, because compare_digest raises on text that is not ASCII. Lower-case hex only, as the platform sends it.
        if not hmac.compare_digest(signer.signature.encode(), given.encode("utf-8", "replace")):
            raise RefusedError(Reason.SIGNATURE)

    def _check_time(self, query: MultiMapping[str]) -> tuple[str, str]:
        timestamp, nonce = _required(query, "timestamp"), _required(query, "nonce")
        if not re.fullmatch(r"[0-9]{1,10}", timestamp):
            raise RefusedError(Reason.TIMESTAMP)
        if abs(datetime.fromtimestamp(int(timestamp), UTC) - clock.now()) > self._skew:
            raise RefusedError(Reason.TIMESTAMP)
        return timestamp, nonce

    # -- out -------------------------------------------------------------------------------------------------------

    def answer_text(self, opened: Opened, text: str) -> str:
        """The XML that answers a callback with words, encrypted if the callback was, under the same key."""
        reply = TextReply(
            source=_cdata(opened.fields.get("ToUserName")),
            target=_cdata(opened.fields.get("FromUserName")),
            time=int(clock.now().timestamp()),
            content=_cdata(text),
        )
        xml: str = reply.render()
        return xml if opened.key_number is None else self.seal(xml, opened.key_number)

    def seal(self, xml: str, key_number: int) -> str:
        """An answer in its envelope, signed over a time and nonce of our own."""
        nonce, timestamp = secrets.token_hex(8), str(int(clock.now().timestamp()))
        sealed: str = self._sealers[key_number].encrypt_message(xml, nonce, timestamp)
        return sealed


class WeComEnvelope(Envelope):
    """The envelope of a WeCom app: `receive_id` is the corpid, and all there is comes encrypted, the address check
    too."""

    def check_echo(self, query: MultiMapping[str]) -> str:
        """The words inside the echostr of an address check, which are to be sent back bare."""
        _check_once(query)
        timestamp, nonce = self._check_time(query)
        # The echostr is base64, which has no spaces: what was a raw + in the address has become one.
        sealed = _required(query, "echostr").replace(" ", "+")
        echo, _ = self.open_cipher(_required(query, "msg_signature"), timestamp, nonce, sealed)
        try:
            return echo.decode()
        except UnicodeDecodeError:
            raise RefusedError(Reason.PARAMETERS) from None

    def check_stamp(self, query: MultiMapping[str]) -> Stamp:
        """The parameters of a POST, before its body is read."""
        _check_once(query)
        timestamp, nonce = self._check_time(query)
        return Stamp(timestamp, nonce, _required(query, "msg_signature"), encrypted=True)


class _SecretRandom(PrpCrypto):  # type: ignore[misc]  # wechatpy has no types
    """wechatpy's cipher with random bytes that cannot be guessed; its own come from random.sample."""

    def get_random_string(self) -> str:
        return secrets.token_hex(_RANDOM // 2)


class _Crypto(WeChatCrypto):  # type: ignore[misc]  # wechatpy has no types
    def encrypt_message(self, msg: str, nonce: str, timestamp: str) -> Any:
        return self._encrypt_message(msg, nonce, timestamp, _SecretRandom)


def words_for_xml(text: str) -> str:
    """`text` without the characters XML cannot carry."""
    return _NOT_XML.sub("", text)


def _cdata(text: str) -> str:
    # wechatpy writes <![CDATA[{text}]]> as it stands: words with ]]> in them would add elements of their own.
    return words_for_xml(text).replace("]]>", "]]]]><![CDATA[>")


def _check_once(query: MultiMapping[str]) -> None:
    for name in _ONCE:
        if len(query.getall(name, [])) > 1:
            raise RefusedError(Reason.PARAMETERS)


def _required(query: MultiMapping[str], name: str) -> str:
    value = query.get(name, "")
    if not value or len(value) > _PARAMETER_LIMIT:
        raise RefusedError(Reason.PARAMETERS)
    return value


def _believed(xml: bytes, fields: Fields, key_number: int | None) -> Opened:
    if fields.doubled & _IDENTITY:
        raise RefusedError(Reason.INNER_XML)
    return Opened(fields, xml, key_number)


def _read(xml: bytes, reason: Reason) -> Fields:
    """The children of `<xml>`; RefusedError for whatever the platform never sends: a DOCTYPE, attributes, deep nesting.

    The words are taken from here and not from wechatpy, whose parser strips white space and joins doubled fields.
    """
    reader = _Reader(reason)
    if b"\0" in xml:  # no XML in UTF-8 has one; expat would take it for UTF-16, whatever it is told
        raise RefusedError(reason)
    parser = expat.ParserCreate("utf-8")  # whatever the declaration says
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.words
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.EntityDeclHandler = reader.refuse
    try:
        parser.Parse(xml.decode(), True)
    except (expat.ExpatError, ValueError):
        raise RefusedError(reason) from None
    return Fields({name: "\n".join(texts) for name, texts in reader.found.items()}, frozenset(reader.doubled))


class _Reader:
    def __init__(self, reason: Reason) -> None:
        self.found: dict[str, list[str]] = {}
        self.doubled: set[str] = set()
        self._reason = reason
        self._depth = self._elements = 0
        self._parts: list[str] = []

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._depth > _DEPTH_LIMIT or self._elements > _ELEMENT_LIMIT or attributes:
            raise RefusedError(self._reason)
        if self._depth == 1 and name != "xml":
            raise RefusedError(self._reason)
        if self._depth == 2:
            self._parts = []

    def words(self, text: str) -> None:
        if self._depth == 2:
            self._parts.append(text)

    def end(self, name: str) -> None:
        if self._depth == 2:
            if name in self.found:
                self.doubled.add(name)
            self.found.setdefault(name, []).append("".join(self._parts))
        self._depth -= 1

    def refuse(self, *_: object) -> None:
        raise RefusedError(self._reason)

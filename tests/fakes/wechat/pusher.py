"""The official account's client: pushes what residents do to the bot's callback and judges the answer."""

import itertools
import os
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self
from xml.etree import ElementTree

from bot import clock
from tests.fakes.wechat.chat import FAULT_NOTICE, Bubble
from tests.fakes.wechat.cipher import Corruption, children, decrypt, encrypt, signature, xml_of
from tests.fakes.wechat.delivery import Attempt, Deliverer, Push, Signed, Verdict
from tests.support import leaks

if TYPE_CHECKING:
    from tests.fakes.wechat.emulator import FakeWeChat

Mode = Literal["plain", "compat", "safe"]

TOKEN = "police110"
AES_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
PREVIOUS_AES_KEY = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
APP_ID = "wx0000000000000001"
ACCOUNT = "gh_0123456789ab"

_KNOWN_REPLIES = {"text", "image", "voice", "video", "music", "news", "transfer_customer_service"}


class Pusher(Deliverer):
    """With `wechat`, the ledger, the residents' chats and the time are the emulator's, and its events come here."""

    def __init__(
        self,
        url: str,
        *,
        token: str = TOKEN,
        aes_key: str = AES_KEY,
        app_id: str = APP_ID,
        account: str = ACCOUNT,
        mode: Mode = "safe",
        wechat: "FakeWeChat | None" = None,
        again_on_error: bool = False,
    ) -> None:
        super().__init__(url, again_on_error=again_on_error)
        self.token, self.aes_key, self.app_id = token, aes_key, app_id
        self.account, self.mode, self.wechat = account, mode, wechat
        leaks.secret(token, aes_key)
        self._chats: dict[str, list[Bubble]] = defaultdict(list)
        self._numbers = itertools.count(23_456_789_012_345_678)  # above 2**53: a float would round it

    async def __aenter__(self) -> Self:
        if self.wechat is not None:
            self.wechat.pusher = self
        return await super().__aenter__()

    async def __aexit__(self, *_: object) -> None:
        if self.wechat is not None and self.wechat.pusher is self:
            self.wechat.pusher = None
        await super().__aexit__()

    def chat(self, openid: str) -> list[Bubble]:
        """What this resident's phone shows, in order."""
        return self.wechat.follower(openid).chat if self.wechat is not None else self._chats[openid]

    # -- what residents do -----------------------------------------------------------------------------------------

    async def text(self, openid: str, words: str, **how: Any) -> Push:
        return await self.message(openid, "text", {"Content": words}, **how)

    async def message(self, openid: str, kind: str, fields: Mapping[str, str], **how: Any) -> Push:
        """A message of any kind; the platform numbers it, unless `fields` has a MsgId."""
        whole = {**self._head(openid, kind), **fields}
        whole.setdefault("MsgId", str(next(self._numbers)))
        if self.wechat is not None:
            tapped = "bizmsgmenuid" in fields
            self.wechat.inbound(openid, self.wechat.rules.menu_message_grants if tapped else "message")
        words = fields.get("Content") or fields.get("Recognition") or ""
        leaks.secret(openid)
        leaks.said(words)
        self.chat(openid).append(Bubble("person", kind, words or f"[{kind}]", self._now(), "", dict(whole)))
        return await self.push(whole, **how)

    async def event(self, openid: str, name: str, fields: Mapping[str, str] | None = None, **how: Any) -> Push:
        if self.wechat is not None:
            self.wechat.inbound(openid, name)
        return await self.push({**self._head(openid, "event"), "Event": name, **(fields or {})}, **how)

    async def notify(self, sender: str, name: str, fields: Mapping[str, str]) -> Push:
        """An event of the platform itself (a job is done, a consent changed): it grants nothing and shows nothing."""
        return await self.push({**self._head(sender, "event"), "Event": name, **fields}, show=False)

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
        show: bool = True,
        **how: Any,
    ) -> Push:
        """One message with its deliveries (see Deliverer.repeat); `how` goes to `sign`."""
        attempts = await self.repeat(
            lambda: self.sign(fields, **how),
            deliveries=deliveries,
            timeout_seconds=timeout_seconds,
            always=always,
            same_bytes=same_bytes,
            concurrent=concurrent,
        )
        push = Push(dict(fields), self._now(), attempts)
        self.pushes.append(push)
        answered = next((one for one in attempts if one.status is not None), attempts[-1])
        push.verdict, push.reply = self.judge(answered, fields, encrypted=how.get("mode", self.mode) != "plain")
        if show and (openid := fields.get("FromUserName", "")):
            self._show(openid, push)
        return push

    async def check_address(self, echo: str = "4375120948345356249", **changed: str) -> Attempt:
        """The GET with which the platform checks an address; `changed` replaces parameters."""
        timestamp, nonce = str(int(clock.now().timestamp())), os.urandom(4).hex()
        query = {"signature": signature(self.token, timestamp, nonce), "timestamp": timestamp, "nonce": nonce}
        return await self.check(query | {"echostr": echo, **changed})

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
        """A request ready to deliver. `fields` may be raw bytes; `clear_fields` is the clear part in compat mode.

        It is signed at the program's time, even when the platform's ledgers were advanced beyond it.
        """
        mode = mode or self.mode
        inner = fields if isinstance(fields, bytes) else xml_of(fields)
        when = timestamp if timestamp is not None else str(int(clock.now().timestamp() + clock_skew))
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

    def _show(self, openid: str, push: Push) -> None:
        if push.verdict == "reply":
            kind = push.reply["MsgType"]
            words = push.text or f"[{kind}]"
            self.chat(openid).append(Bubble("account", kind, words, self._now(), "answer", dict(push.reply)))
        elif push.verdict == "fault notice":
            self.chat(openid).append(Bubble("notice", "fault", FAULT_NOTICE, self._now()))

    def _now(self) -> float:
        return self.wechat.now() if self.wechat is not None else clock.now().timestamp()

"""WeCom's client: pushes events of the corporation to the bot's callback, signed and encrypted."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from bot import clock
from tests.fakes.wechat.cipher import Corruption, encrypt, signature, xml_of
from tests.fakes.wechat.delivery import Attempt, Deliverer, Push, Signed
from tests.fakes.wechat.wecom.apps import AGENT_ID, CORP_ID, Right
from tests.support import leaks

if TYPE_CHECKING:
    from tests.fakes.wechat.wecom.corp import Corp

CORP_TOKEN = "QDG6eKpolice110"
CORP_AES_KEY = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"
_CHECK_SECONDS = 1.0


class CorpPusher(Deliverer):
    """With `corp`, it delivers that corporation's events of these `modules`; app events carry an AgentID."""

    def __init__(
        self,
        url: str,
        *,
        token: str = CORP_TOKEN,
        aes_key: str = CORP_AES_KEY,
        corp_id: str = CORP_ID,
        agent_id: int = AGENT_ID,
        corp: "Corp | None" = None,
        modules: tuple[Right, ...] = ("app", "contact", "kf"),
        again_on_error: bool = True,  # one page says so, another only names time-outs
    ) -> None:
        super().__init__(url, again_on_error=again_on_error)
        self.token, self.aes_key, self.corp_id, self.agent_id = token, aes_key, corp_id, agent_id
        self.corp, self.modules = corp, modules
        leaks.secret(token, aes_key)

    async def __aenter__(self) -> Self:
        if self.corp is not None:
            for module in self.modules:
                self.corp.pushers[module] = self
        return await super().__aenter__()

    async def __aexit__(self, *_: object) -> None:
        if self.corp is not None:
            for module in [name for name, pusher in self.corp.pushers.items() if pusher is self]:
                del self.corp.pushers[module]
        await super().__aexit__()

    async def event(
        self, sender: str, name: str, fields: Mapping[str, str] | None = None, *, module: Right = "app", **how: Any
    ) -> Push:
        """An event; without `sender` it has no FromUserName, as those of kf."""
        whole = {"ToUserName": self.corp_id} | ({"FromUserName": sender} if sender else {})
        whole |= {"CreateTime": str(int(self._now())), "MsgType": "event", "Event": name, **(fields or {})}
        if module == "app":
            whole["AgentID"] = str(self.agent_id)
        return await self.push(whole, module=module, **how)

    async def push(
        self,
        fields: Mapping[str, str],
        *,
        module: Right = "app",
        deliveries: int = 3,
        always: bool = False,
        timeout_seconds: float = 5.0,
        same_bytes: bool = False,
        concurrent: bool = False,
        corrupt: Corruption | None = None,
        timestamp: str | None = None,
    ) -> Push:
        """One event with its deliveries (see Deliverer.repeat); only `success` or nothing in a 200 is an answer."""
        attempts = await self.repeat(
            lambda: self.sign(fields, module=module, corrupt=corrupt, timestamp=timestamp),
            deliveries=deliveries,
            timeout_seconds=timeout_seconds,
            always=always,
            same_bytes=same_bytes,
            concurrent=concurrent,
        )
        push = Push(dict(fields), self._now(), attempts)
        self.pushes.append(push)
        if push.status == 200 and push.body in {b"", b"success"}:
            push.verdict = "silent"
        return push

    def sign(
        self,
        fields: Mapping[str, str] | bytes,
        *,
        module: Right = "app",
        corrupt: Corruption | None = None,
        timestamp: str | None = None,
    ) -> Signed:
        inner = fields if isinstance(fields, bytes) else xml_of(fields)
        when, nonce = timestamp or str(int(clock.now().timestamp())), os.urandom(5).hex()
        sealed = encrypt(inner, self.aes_key, self.corp_id, corrupt)
        outer = {"ToUserName": self.corp_id, "Encrypt": sealed}
        if module == "app":
            outer["AgentID"] = str(self.agent_id)
        query = {"timestamp": when, "nonce": nonce, "msg_signature": signature(self.token, when, nonce, sealed)}
        if corrupt == "msg_signature":
            query["msg_signature"] = signature(self.token, when, nonce)
        if corrupt in {"no_msg_signature", "stripped"}:
            del query["msg_signature"]
        return Signed(query, xml_of(outer))

    async def check_address(
        self, echo: str = "1616140317555161061", corrupt: Corruption | None = None, **changed: str
    ) -> Attempt:
        """The GET with which WeCom checks an address: the echo comes encrypted, the plain words go back within 1 s."""
        when, nonce = str(int(clock.now().timestamp())), os.urandom(4).hex()
        sealed = encrypt(echo.encode(), self.aes_key, self.corp_id, corrupt)
        query = {"msg_signature": signature(self.token, when, nonce, sealed), "timestamp": when, "nonce": nonce}
        return await self.check(query | {"echostr": sealed, **changed}, _CHECK_SECONDS)

    def _now(self) -> float:
        return self.corp.platform.now() if self.corp is not None else clock.now().timestamp()

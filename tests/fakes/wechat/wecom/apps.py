"""The corporation's apps with their secrets and tokens."""

import secrets
from dataclasses import dataclass
from typing import Any, Literal

from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.serving import Asked, Endpoints, Refusal, Serve
from tests.support import leaks

Right = Literal["app", "contact", "kf"]

CORP_ID = "ww0000000000000001"
CORP_SECRET = "s3cr3t-of-the-app"
AGENT_ID = 1_000_002
LIFE_SECONDS = 7200


@dataclass(frozen=True)
class App:
    """One self-built app; `may` names the modules it was authorised for."""

    secret: str
    agent_id: int
    may: frozenset[Right] = frozenset({"app", "contact", "kf"})


@dataclass
class CorpToken:
    expires_at: float
    app: App


class Apps:
    def __init__(self, platform: Platform, corp_id: str = CORP_ID) -> None:
        self.platform, self.corp_id = platform, corp_id
        self.apps = {CORP_SECRET: App(CORP_SECRET, AGENT_ID)}
        self.held: dict[str, CorpToken] = {}

    def add(self, secret: str, agent_id: int, *may: Right) -> App:
        app = self.apps[secret] = App(secret, agent_id, frozenset(may))
        return app

    def public(self) -> Endpoints:
        return {("GET", "gettoken"): self._get_token}

    def guarded(self, right: Right, endpoints: Endpoints) -> Endpoints:
        """The same endpoints, open only to apps authorised for this module (48002)."""

        def guard(serve: Serve) -> Serve:
            async def guarded(asked: Asked) -> Any:
                if right not in self.of(asked).may:
                    raise Refusal(48002, "api forbidden for this app")
                return await serve(asked)

            return guarded

        return {key: guard(serve) for key, serve in endpoints.items()}

    def of(self, asked: Asked) -> App:
        return self.held[asked.token].app

    def check(self, token: str) -> None:
        if not token:
            raise Refusal(41001, "access_token missing")
        held = self.held.get(token)
        if held is None:
            raise Refusal(40014, "invalid access_token")
        if self.platform.now() >= held.expires_at:
            raise Refusal(42001, "access_token expired")

    def expire(self, token: str) -> None:
        if held := self.held.get(token):
            held.expires_at = min(held.expires_at, self.platform.now())

    async def _get_token(self, asked: Asked) -> dict[str, Any]:
        if asked.query.get("corpid") != self.corp_id:
            raise Refusal(40013, "invalid corpid")
        app = self.apps.get(asked.query.get("corpsecret", ""))
        if app is None:
            raise Refusal(40001, "invalid credential")
        self.platform.counters["gettoken"] += 1
        now = self.platform.now()
        for token, held in self.held.items():
            if held.app == app and now < held.expires_at:  # the same one while it lives
                return _issued(token, int(held.expires_at - now))
        token = f"{secrets.token_urlsafe(64)}-{len(self.held)}"
        leaks.secret(token, app.secret)
        self.held[token] = CorpToken(now + LIFE_SECONDS, app)
        return _issued(token, LIFE_SECONDS)


def _issued(token: str, seconds: int) -> dict[str, Any]:
    return {"errcode": 0, "errmsg": "ok", "access_token": token, "expires_in": seconds}

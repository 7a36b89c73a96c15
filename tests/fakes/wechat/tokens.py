"""The official account's two families of access tokens, which do not know each other."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.serving import Asked, Endpoints, Refusal
from tests.support import leaks

LIFE_SECONDS = 7200
OVERLAP_SECONDS = 300


@dataclass
class Token:
    expires_at: float
    family: str


class Tokens:
    def __init__(self, platform: Platform, app_id: str, secret: str) -> None:
        self.platform, self.app_id, self.secret = platform, app_id, secret
        leaks.secret(secret)
        self.held: dict[str, Token] = {}
        self.revoked: set[str] = set()  # refused by every call, although stable_token still gives them
        self._forced_at = float("-inf")

    def public(self) -> Endpoints:
        return {("GET", "token"): self._token, ("POST", "stable_token"): self._stable_token}

    def check(self, token: str) -> None:
        if not token:
            raise Refusal(41001, "access_token missing")
        held = self.held.get(token)
        if held is None or token in self.revoked:
            code = self.platform.rules.unknown_token_code
            raise Refusal(code, "invalid credential, access_token is invalid or not latest")
        if self.platform.now() >= held.expires_at:
            raise Refusal(42001, "access_token expired")

    def expire(self, token: str) -> None:
        if held := self.held.get(token):
            held.expires_at = min(held.expires_at, self.platform.now())

    async def _token(self, asked: Asked) -> dict[str, Any]:
        self._check_credentials(asked.query)
        self.platform.counters["token"] += 1
        now = self.platform.now()
        for held in self.held.values():
            if held.family == "token":  # a new one kills the old one, with five minutes of overlap
                held.expires_at = min(held.expires_at, now + OVERLAP_SECONDS)
        return self._issue("token")

    async def _stable_token(self, asked: Asked) -> dict[str, Any]:
        self._check_credentials(asked.body)
        counters, now = self.platform.counters, self.platform.now()
        counters["stable_token"] += 1
        if asked.body.get("force_refresh"):
            counters["force_refresh"] += 1
            if counters["force_refresh"] > 20:
                raise Refusal(45009, "reach max api daily quota limit")
            if now - self._forced_at < 30:
                raise Refusal(45011, "api minute-quota reach limit")
            self._forced_at = now
            for held in self.held.values():
                if held.family == "stable":
                    held.expires_at = min(held.expires_at, now)
            return self._issue("stable")
        for token, held in self.held.items():
            if held.family == "stable" and held.expires_at - now > OVERLAP_SECONDS:
                return {"access_token": token, "expires_in": int(held.expires_at - now)}
        return self._issue("stable")

    def _issue(self, family: str) -> dict[str, Any]:
        token = f"{secrets.token_urlsafe(96)}-{len(self.held)}"
        leaks.secret(token)
        self.held[token] = Token(self.platform.now() + LIFE_SECONDS, family)
        return {"access_token": token, "expires_in": LIFE_SECONDS}

    def _check_credentials(self, given: Mapping[str, Any]) -> None:
        if given.get("grant_type") != "client_credential":
            raise Refusal(40002, "invalid grant_type")
        if given.get("appid") != self.app_id:
            raise Refusal(40013, "invalid appid")
        if given.get("secret") != self.secret:
            raise Refusal(40125, "invalid appsecret")

"""Daily counters of the official account: clear_quota, openapi/quota/get, and the platform's own addresses."""

from typing import Any

from tests.fakes.wechat.platform import Platform
from tests.fakes.wechat.serving import OK, Asked, Endpoints, Refusal, words

CLEARS_PER_MONTH = 10


class Quota:
    def __init__(self, platform: Platform, app_id: str) -> None:
        self.platform, self.app_id = platform, app_id

    def endpoints(self) -> Endpoints:
        return {
            ("POST", "clear_quota"): self._clear,
            ("POST", "openapi/quota/get"): self._get,
            ("GET", "getcallbackip"): self._addresses,
            ("GET", "get_api_domain_ip"): self._addresses,
        }

    async def _clear(self, asked: Asked) -> dict[str, Any]:
        if asked.body.get("appid") != self.app_id:
            raise Refusal(40013, "invalid appid")
        month = f"clear_quota {self.platform.clock.local():%Y-%m}"
        self.platform.counters[month] += 1
        if self.platform.counters[month] > CLEARS_PER_MONTH:
            raise Refusal(48006, "clear quota is limited to ten a month")
        self.platform.today.clear()
        return OK

    async def _get(self, asked: Asked) -> dict[str, Any]:
        path = words(asked.body, "cgi_path").removeprefix("/cgi-bin/")
        limit = self.platform.rules.daily_limits.get(path)
        if limit is None:
            raise Refusal(76021, "cgi_path not found")
        used = self.platform.today[self.platform.clock.local().strftime("%F"), path]
        return {**OK, "quota": {"daily_limit": limit, "used": used, "remain": max(0, limit - used)}}

    async def _addresses(self, _: Asked) -> dict[str, Any]:
        return {"ip_list": ["127.0.0.1", "127.0.0.0/30"]}

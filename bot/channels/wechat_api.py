"""The API of an official account: tokens by stable_token, which gives several processes the same one."""

import json

from pydantic import SecretStr

from bot.channels.base import TokenStore
from bot.channels.platform_api import TOTAL_SECONDS, UNREACHED, Answer, PlatformApi
from bot.channels.wechat_errors import OFFICIAL_ACCOUNT


class WeChatApi(PlatformApi):
    """WeChat's API for one official account."""

    def __init__(
        self,
        *,
        channel: str,
        app_id: str,
        secret: SecretStr,
        api_base: str,
        tokens: TokenStore,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        super().__init__(
            channel=channel, api_base=api_base, tokens=tokens, errors=OFFICIAL_ACCOUNT, total_seconds=total_seconds
        )
        self._app_id, self._secret = app_id, secret

    async def _ask_for_token(self, *, force: bool) -> Answer:
        body = {
            "grant_type": "client_credential",
            "appid": self._app_id,
            "secret": self._secret.get_secret_value(),
            "force_refresh": force,
        }
        data = json.dumps(body).encode()
        return await self._request(
            "POST", "/cgi-bin/stable_token", {}, lost=UNREACHED, data=data, content_type="application/json"
        )

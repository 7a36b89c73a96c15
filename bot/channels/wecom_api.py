"""The API of a WeCom app (企业微信自建应用): one token for each secret, the same one for all who ask while it lives."""

from typing import Final

from aiohttp import ClientError
from pydantic import SecretStr

from bot.channels.base import TokenStore
from bot.channels.platform_api import TOTAL_SECONDS, UNREACHED, Answer, PlatformApi, picture_type, read_limited
from bot.channels.wecom_errors import WECOM

_QR_LIMIT_BYTES: Final = 256 * 1024


class WeComApi(PlatformApi):
    """WeCom's API for one app of one corp. `channel` names the shared token, so each secret needs a name of its own."""

    def __init__(
        self,
        *,
        channel: str,
        corp_id: str,
        secret: SecretStr,
        api_base: str,
        tokens: TokenStore,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        super().__init__(channel=channel, api_base=api_base, tokens=tokens, errors=WECOM, total_seconds=total_seconds)
        self._corp_id, self._secret = corp_id, secret

    async def _ask_for_token(self, *, force: bool) -> Answer:
        # There is no way to force another one: while a token lives WeCom gives the same, and after it voided one a new.
        parameters = {"corpid": self._corp_id, "corpsecret": self._secret.get_secret_value()}
        return await self._request("GET", "/cgi-bin/gettoken", parameters, lost=UNREACHED)

    async def picture_at(self, address: str) -> bytes | None:
        """The picture of a QR code WeCom has made; None when it cannot be had now (its address can)."""
        try:
            async with self._session().get(address, allow_redirects=False) as response:
                content = await read_limited(response.content.iter_chunked(65536), _QR_LIMIT_BYTES)
                return content if response.status == 200 and content and picture_type(content) else None
        except (TimeoutError, ClientError, OSError, ValueError):  # ValueError: no address at all
            return None

"""A station's 微信客服 channel on the emulator, as `bot.app` puts it together."""

from datetime import timedelta
from typing import Any

from bot.actions.streams import StreamKey
from bot.adapters import StoredPictures, StoredStream, StoredTokens
from bot.channels.kf import Kf
from bot.config import KfSettings
from tests.fakes.wechat.wecom.apps import CORP_ID, CORP_SECRET
from tests.fakes.wechat.wecom.pusher import CORP_AES_KEY, CORP_TOKEN
from tests.support.station import CHANNEL, House

ACCOUNT = "wk-fenglin"
SETTINGS = {
    "kind": "kf",
    "name": CHANNEL,
    "corp_id": CORP_ID,
    "secret": CORP_SECRET,
    "token": CORP_TOKEN,
    "encoding_aes_key": CORP_AES_KEY,
    "open_kfid": ACCOUNT,
}


def kf_of(house: House, url: str, **changed: Any) -> Kf:
    """The channel of a house on the emulator at `url`; it is called as the house's own is."""
    settings = KfSettings.model_validate({**SETTINGS, "api_base": f"{url}/wecom", **changed})
    key = StreamKey(house.station.id, CHANNEL, settings.open_kfid)
    age = timedelta(minutes=settings.answer_age_minutes)
    return Kf(
        settings,
        stream=StoredStream(house.store, key, answer_age=age, handle=house.dispatcher.handle),
        tokens=StoredTokens(house.store, house.station.id),
        pictures=StoredPictures(house.store, house.station.id),
        call_seconds=2,
    )

"""The self-check of all channels: what each says of its platform, and what our own rows say of it."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bot import clock
from bot.actions import channels as signs
from bot.actions import parking
from bot.actions.channels import Traffic
from bot.actions.followers import IMPLAUSIBLE
from bot.channels.base import Channel, FollowerKeeper, is_mended
from bot.checks import ChannelReport, Check, Words
from bot.store.engine import Store
from bot.store.models import ChannelSign

log = logging.getLogger(__name__)

CHECK_SECONDS = 25.0  # a token call and a quota call of 8 seconds each, and some air
QUEUE_MOST = timedelta(minutes=5)  # what is due leaves within a second when all is well
_FORGED_MOST = timedelta(days=1)  # anybody can post forged callbacks: they mean nothing while real ones come

_CALLBACK = Words("平台回调", "callback")
_QUEUE = Words("发送队列", "outbox")
_SENDING = Words("发送状态", "sending")
_IN = Words("最近收到", "last message in")
_OUT = Words("最近发出", "last message out")
_FOLLOWERS = Words("关注者名单", "list of followers")
_SELF = Words("自检", "self-check")

_WRONG_KEY = Words(
    "解不开密文：请核对 EncodingAESKey 和平台后台上的一致。",
    "compare encoding_aes_key of the settings with the platform's console",
)
_REFUSED = {
    "signature": Words(
        "签名不对：请核对 Token 和平台后台上填写的一致。",
        "compare the token of the settings with the one in the platform's console",
    ),
    "timestamp": Words("时间不对：请在服务器上打开网络对时。", "turn on time synchronisation on this machine (chrony)"),
    **dict.fromkeys(("base64", "length", "padding", "inner_length"), _WRONG_KEY),
    "receiver": Words(
        "消息是发给另一个账号的：请核对 AppID（或企业 ID）。",
        "compare the app id of the settings with the platform's console",
    ),
}
_OTHER_ACCOUNT = Words(
    "请核对 AppID 是不是这个公众号；没有改动居民的关注状态。",
    "compare the app id of the settings with the platform's console; nobody's state was changed",
)
_REFUSED_OTHERWISE = Words(
    "请核对平台后台的消息加解密方式是“安全模式”，数据格式是 XML。",
    "set the platform's console to safe mode and XML",
)


async def report(
    store: Store, station_id: int, channels: Mapping[str, Channel], public_url: str
) -> Sequence[ChannelReport]:
    """A report for each channel, all at the same time."""
    return await asyncio.gather(
        *(_report(store, station_id, channel, public_url.rstrip("/")) for channel in channels.values())
    )


async def _report(store: Store, station_id: int, channel: Channel, public_url: str) -> ChannelReport:
    now = clock.now()
    async with store.read() as session:
        traffic = await signs.traffic(session, station_id, channel.name, now=now)
    checks = await _own(channel)
    if traffic.parked is not None and await _is_mended(channel, traffic.parked.code):
        async with store.write() as session:
            await parking.unpark(session, station_id, channel.name)
        traffic = replace(traffic, parked=None)
    if isinstance(channel, FollowerKeeper):
        checks = [*checks, _followers(channel, traffic.sign, now)]
    checks = [*checks, _sending(traffic), _queue(traffic, now)]
    if not channel.rules.by_officer:  # else nothing passes through us
        checks += _moved(traffic, now)
    if any("/callback/" in route.path for route in channel.routes()):
        checks.insert(0, _callback(channel.name, traffic, public_url, now))
    return ChannelReport(channel.name, channel.kind, tuple(checks))


async def _own(channel: Channel) -> Sequence[Check]:
    """What the channel says itself; that it cannot say anything is a fault too."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await channel.check()
    except Exception as error:
        log.warning("self-check failed", extra={"channel": channel.name, "error": type(error).__name__})
        found = Words("没有做完", "did not come to its end")
        return [Check(_SELF, False, found, Words("请查看程序日志。", "look into the program's log"))]


async def _is_mended(channel: Channel, code: str) -> bool:
    """Whether what stopped the channel is mended; the check goes on whatever happens while it is asked."""
    try:
        return bool(await is_mended(channel, code))
    except Exception as error:
        log.warning("not known whether mended", extra={"channel": channel.name, "error": type(error).__name__})
        return False


def _callback(name: str, traffic: Traffic, public_url: str, now: datetime) -> Check:
    sign = traffic.sign
    believed, refused = (sign.believed_at, sign.refused_at) if sign is not None else (None, None)
    lately = believed is not None and believed > now - _FORGED_MOST
    if refused is not None and (believed is None or refused > believed) and not lately:
        why = sign.refused_why if sign is not None else ""
        found = Words(f"{_ago(now - refused).zh}被拒绝（{why}）", f"refused {_ago(now - refused).en} ({why})")
        return Check(_CALLBACK, False, found, _REFUSED.get(why, _REFUSED_OTHERWISE))
    if believed is None:
        address = f"{public_url or 'https://…'}/callback/{name}"
        remedy = Words(
            f"请在平台后台把服务器地址（URL）填成 {address}，Token 和 EncodingAESKey 与设置一致，然后启用。",
            f"in the platform's console set the URL to {address}, token and AES key as in the settings, and enable it",
        )
        return Check(_CALLBACK, False, Words("平台还没有连上过", "never reached"), remedy)
    return Check(_CALLBACK, True, Words(f"{_ago(now - believed).zh}有效", f"believed {_ago(now - believed).en}"))


def _sending(traffic: Traffic) -> Check:
    parked = traffic.parked
    if parked is None:
        return Check(_SENDING, True, Words("正常", "not stopped"))
    found = Words(f"已停止（代码 {parked.code}）", f"stopped with code {parked.code}")
    remedy = Words(parked.reason, "mend what the code says; sending begins again by itself")
    return Check(_SENDING, False, found, remedy)


def _followers(keeper: FollowerKeeper, sign: ChannelSign | None, now: datetime) -> Check:
    """Whether we know who follows though events get lost."""
    code = sign.list_code if sign is not None else ""
    if code == IMPLAUSIBLE:
        found = Words("平台的名单里没有大部分居民", "most residents are not in the platform's list")
        return Check(_FOLLOWERS, False, found, _OTHER_ACCOUNT)
    if code or not keeper.verified:
        why = Words(f"（代码 {code}）", f" (code {code})") if code else Words("（未认证）", " (not verified)")
        return Check(_FOLLOWERS, None, Words(f"平台不提供{why.zh}", f"the account may not ask{why.en}"))
    if sign is None or sign.listed_at is None:
        return Check(_FOLLOWERS, None, Words("还没有核对过", "not compared yet"))
    age = now - sign.listed_at
    return Check(_FOLLOWERS, True, Words(f"{_ago(age).zh}核对过", f"compared {_ago(age).en}"))


def _queue(traffic: Traffic, now: datetime) -> Check:
    if traffic.oldest is None:
        return Check(_QUEUE, True, Words("没有等待发送的消息", "nothing waits"))
    age = now - traffic.oldest
    found = Words(
        f"{traffic.waiting} 条等待发送，最早的在{_ago(age).zh}",
        f"{traffic.waiting} wait, the oldest since {_ago(age).en}",
    )
    if age <= QUEUE_MOST:
        return Check(_QUEUE, True, found)
    remedy = Words(
        "请确认程序正在运行（/readyz），再看本页其他各项。", "see that the program runs (/readyz), then the other lines"
    )
    return Check(_QUEUE, False, found, remedy)


def _moved(traffic: Traffic, now: datetime) -> list[Check]:
    checks = []
    for name, moment in ((_IN, traffic.last_in), (_OUT, traffic.last_out)):
        found = Words("近期没有", "nothing lately")
        if moment is not None:
            found = _ago(now - moment)
        checks.append(Check(name, None if moment is None else True, found))
    return checks


def _ago(span: timedelta) -> Words:
    minutes = max(0, round(span.total_seconds() / 60))
    if minutes < 1:
        return Words("刚刚", "just now")
    if minutes < 120:
        return Words(f"{minutes} 分钟前", f"{minutes} minutes ago")
    if minutes < 2880:
        return Words(f"{minutes // 60} 小时前", f"{minutes // 60} hours ago")
    return Words(f"{minutes // 1440} 天前", f"{minutes // 1440} days ago")

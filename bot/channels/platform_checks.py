"""The self-check of a platform's API: a real token call, our address, our clock, what is left of today's quota."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from bot.channels.base import SendError
from bot.channels.platform_api import PlatformApi
from bot.checks import Check, Words

_ADDRESS_CODES = frozenset({"40164", "60020"})
_CLOCK_MOST = timedelta(seconds=60)  # the platforms sign with their clock, and callbacks are believed by ours

_TOKEN = Words("接口凭证", "access token")
_ADDRESS = Words("本机 IP", "our IP address")
_CLOCK = Words("本机时钟", "our clock")
_QUOTA = Words("今日发送额度", "today's quota")

Quota = Callable[[], Awaitable[tuple[int, int] | None]]  # what is left today, and of how many


async def check_api(api: PlatformApi, quota: Quota | None = None) -> Sequence[Check]:
    """One token call and, where it worked and the platform can be asked, one for the quota."""
    try:
        seconds = await api.check_token()
    except SendError as error:
        found = Words(f"没有拿到（代码 {error.code}）", f"refused with code {error.code}")
        token = Check(_TOKEN, False, found, Words(error.reason, _remedy(error.code)))
        return [token, _address(error), _clock(api)]
    minutes = seconds // 60
    token = Check(_TOKEN, True, Words(f"有效，还有 {minutes} 分钟", f"good for {minutes} minutes"))
    return [token, _address(None), _clock(api), *([await _quota(quota)] if quota is not None else [])]


def _remedy(code: str) -> str:
    if code in _ADDRESS_CODES:
        return "add this machine's address to the list of allowed addresses in the platform's console"
    if code.isdecimal() or code.startswith("-"):
        return "compare app id (or corp id) and secret of the settings with the platform's console"
    return "see whether this machine reaches the platform: name server, proxy, firewall, api_base in the settings"


def _address(error: SendError | None) -> Check:
    if error is None:
        return Check(_ADDRESS, True, Words("平台接受", "accepted by the platform"))
    if error.code in _ADDRESS_CODES:
        return Check(
            _ADDRESS,
            False,
            Words("不在平台的白名单里", "not in the platform's list"),
            Words(error.reason, _remedy(error.code)),
        )
    return Check(_ADDRESS, None, Words("暂时无法判断", "cannot be told now"))


def _clock(api: PlatformApi) -> Check:
    if api.clock_skew is None:
        return Check(_CLOCK, None, Words("平台没有回答，无法比对", "nothing to compare with"))
    seconds = round(api.clock_skew.total_seconds())
    found = Words(
        f"与平台相差 {abs(seconds)} 秒", f"{abs(seconds)} seconds {'ahead of' if seconds > 0 else 'behind'} it"
    )
    if abs(api.clock_skew) <= _CLOCK_MOST:
        return Check(_CLOCK, True, found)
    remedy = Words("请在服务器上打开网络对时（chrony 或 systemd-timesyncd）。", "turn on time synchronisation (chrony)")
    return Check(_CLOCK, False, found, remedy)


async def _quota(quota: Quota) -> Check:
    try:
        counted = await quota()
    except SendError as error:
        return Check(_QUOTA, None, Words(f"平台没有回答（代码 {error.code}）", f"not told (code {error.code})"))
    if counted is None:
        return Check(_QUOTA, None, Words("平台没有说明", "not told"))
    left, limit = counted
    found = Words(f"还剩 {left} 次，共 {limit} 次", f"{left} of {limit} left")
    if left > 0:
        return Check(_QUOTA, True, found)
    remedy = Words(
        "明天零点恢复；急需时管理员可在公众平台清零接口次数（每月 10 次）。",
        "wait for midnight in China, or clear the counters in the platform's console (ten times a month)",
    )
    return Check(_QUOTA, False, found, remedy)

"""Days and times as officers type them: always on the station's clock."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from bot import clock
from bot.actions.broadcasts import FURTHEST
from bot.actions.errors import ActionError


def future_moment(typed: str, zone: ZoneInfo, label: str) -> datetime | None:
    """A moment to come, from a date-and-time field; None when it was left empty."""
    if not typed:
        return None
    try:
        local = datetime.fromisoformat(typed).replace(tzinfo=zone)
    except ValueError as error:
        raise ActionError(f"{label}请按“年-月-日 时:分”填写，例如 2026-11-22 09:30。") from error
    now = clock.now()
    if local <= now:
        raise ActionError(f"{label}已经过去了，请重新选择。")
    if local > now + FURTHEST:
        raise ActionError(f"{label}请选在一年之内。")
    return local


def for_field(moment: datetime | None, zone: ZoneInfo) -> str:
    """How a date-and-time field wants its value."""
    return f"{moment.astimezone(zone):%Y-%m-%dT%H:%M}" if moment else ""


def day(typed: str, label: str) -> date | None:
    """A day from a date field; None when it was left empty."""
    if not typed:
        return None
    try:
        chosen = date.fromisoformat(typed)
    except ValueError as error:
        raise ActionError(f"{label}请按“年-月-日”填写，例如 2026-11-22。") from error
    if not 2000 <= chosen.year <= 2999:
        raise ActionError(f"{label}的年份不对，请检查。")
    return chosen


def midnight(chosen: date, zone: ZoneInfo) -> datetime:
    """The moment a day begins."""
    return datetime(chosen.year, chosen.month, chosen.day, tzinfo=zone)


def span_of_days(since: date | None, until: date | None, zone: ZoneInfo) -> tuple[datetime | None, datetime | None]:
    """From the first day's begin to the last day's end; both days are included."""
    if since and until and since > until:
        raise ActionError("开始日期不能晚于结束日期。")
    return (
        midnight(since, zone) if since else None,
        midnight(until + timedelta(days=1), zone) if until else None,
    )

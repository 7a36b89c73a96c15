"""The templates, each compiled when it is first shown, with the few filters they use."""

from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bot import clock
from bot.console import assets, learning_texts, station_texts, texts
from bot.console.visit import ConsoleDesk
from bot.security.masking import mask_address, mask_name, mask_phone
from bot.security.permissions import Permission

_FOLDER = Path(__file__).parent / "templates"


def environment(desk: ConsoleDesk) -> Environment:
    """The templates; a missing value is an error, not an empty place."""
    templates = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        cache_size=-1,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def moment(when: datetime) -> str:
        """今天 14:05, 昨天 08:30, 11月22日 08:30, 2025年11月22日 08:30"""
        local, today = when.astimezone(desk.zone), clock.now().astimezone(desk.zone)
        days = (today.date() - local.date()).days
        day = {0: "今天", 1: "昨天", -1: "明天"}.get(days)
        if day is None:
            year = "" if local.year == today.year else f"{local.year}年"
            day = f"{year}{local.month}月{local.day}日"
        return f"{day} {local:%H:%M}"

    templates.filters.update(
        moment=moment,
        span=span,
        local=lambda when: when.astimezone(desk.zone),
        topic_title=desk.runtime.topic_title,
        channel=lambda name: texts.CHANNELS.get(desk.channels.get(name, ""), name),
        name_masked=mask_name,
        phone_masked=mask_phone,
        home_masked=mask_address,
    )
    templates.globals.update(
        asset=assets.url, texts=texts, words=station_texts, learn=learning_texts, Permission=Permission
    )
    return templates


def span(since: datetime) -> str:
    """How long ago, in the largest unit that says enough."""
    minutes = int((clock.now() - since).total_seconds() // 60)
    if minutes < 1:
        return "刚刚"
    if minutes < 60:
        return f"{minutes} 分钟"
    if minutes < 48 * 60:
        return f"{minutes // 60} 小时" + (f" {minutes % 60} 分" if minutes < 6 * 60 and minutes % 60 else "")
    return f"{minutes // 60 // 24} 天"

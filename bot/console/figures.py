"""The station at a glance: what came in, who answered, what was prevented."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from aiohttp import web

from bot import clock
from bot.actions import figures as actions
from bot.actions.figures import Bar, Span
from bot.console.dates import midnight
from bot.console.visit import Visit

_SPANS: Final = {"today": 1, "week": 7, "month": 30}
_CHART_HEIGHT, _CHART_WIDTH = 120, 600
_GAP = 0.25  # of a bar's place


async def show(visit: Visit) -> web.StreamResponse:
    """Today, or the last 7 or 30 days with today."""
    chosen = visit.asked("span") if visit.asked("span") in _SPANS else "today"
    today = visit.local(clock.now()).date()
    first = today - timedelta(days=_SPANS[chosen] - 1)
    edges = _edges(visit, first, today, chosen)
    span = Span(edges[0], edges[-1])
    async with visit.store.read() as session:
        found = await actions.read(session, visit.station_id, span)
        bars = await actions.bars(session, visit.station_id, edges)
    labels = [_label(visit.local(bar.since), chosen, n, len(bars)) for n, bar in enumerate(bars)]
    return visit.page(
        "figures.html", span=chosen, found=found, first=first, today=today, chart=chart(bars, labels), bars=bars
    )


def _edges(visit: Visit, first: date, today: date, chosen: str) -> list[datetime]:
    """Where bars begin and end: hours of today, or days of the calendar (some have 23 hours elsewhere)."""
    zone = visit.desk.zone
    if chosen == "today":
        begin = midnight(today, zone)
        return [begin + timedelta(hours=hours) for hours in range(25)]
    days = (today - first).days + 2
    return [midnight(first + timedelta(days=n), zone) for n in range(days)]


def _label(since: datetime, chosen: str, n: int, count: int) -> str:
    """Under each bar, or under some of them where there are many."""
    if chosen == "today":
        return f"{since.hour}时" if since.hour % 4 == 0 else ""
    every = 1 if count <= 7 else 5
    return f"{since.month}/{since.day}" if (count - 1 - n) % every == 0 else ""


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of the chart, in its own units."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """A bar chart as rectangles and words, for the template to draw."""

    width: int
    height: int
    blocks: list[Block]
    labels: list[tuple[float, str]]  # middle of the bar
    titles: list[tuple[float, float, str]]  # left edge and width of the bar's place, and what it says
    most: int


def chart(bars: list[Bar], labels: list[str]) -> Chart:
    """Stacked bars: answered by the bot, handed to a person, not understood, the rest."""
    most = max((bar.total for bar in bars), default=0)
    place = _CHART_WIDTH / max(1, len(bars))
    blocks, titles = [], []
    for n, bar in enumerate(bars):
        top = float(_CHART_HEIGHT)
        parts = (
            ("bot", bar.by_the_bot),
            ("person", bar.to_a_person),
            ("unknown", bar.not_understood),
            ("other", bar.other),
        )
        for kind, count in parts:
            height = count / most * _CHART_HEIGHT if most else 0
            top -= height
            if count:
                left, width = n * place + place * _GAP / 2, place * (1 - _GAP)
                blocks.append(Block(kind, round(left, 2), round(top, 2), round(width, 2), round(height, 2)))
        said = f"{bar.total} 条消息：机器人答复 {bar.by_the_bot}，转民警 {bar.to_a_person}，没听懂 {bar.not_understood}"
        titles.append((round(n * place, 2), round(place, 2), said))
    middles = [(round((n + 0.5) * place, 2), label) for n, label in enumerate(labels) if label]
    return Chart(_CHART_WIDTH, _CHART_HEIGHT, blocks, middles, titles, most)

"""The words of an answer: an entry's fields in the order a resident needs, filled in and short enough for WeChat."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from knowledge.entry import KnowledgeEntry, Source

# WeChat refuses or cuts a text above 2,048 bytes; some clients stop at 600 characters.
MAX_CHARS = 600
MAX_BYTES = 2000
PLACEHOLDER = re.compile(r"\{((?:station|local)\.[a-z0-9_]+)\}")

_LABELS = {
    "zh": {
        "who": "谁能办",
        "bring": "要带",
        "cases": "特殊情况",
        "where": "去哪办",
        "online": "网上办",
        "fee": "费用",
        "time": "多久",
        "agent": "代办",
        "minor": "孩子",
        "watch": "注意",
        "trick": "套路",
        "now": "现在就做",
        "never": "千万不要",
        "call": "找谁",
        "evidence": "留好证据",
        "department": "负责部门",
        "number": "电话",
        "basis": "依据",
        "checked": "核对",
        "ask": "请告诉民警",
        "say": "您可以这样说",
    },
    "en": {
        "who": "Who",
        "bring": "Bring",
        "cases": "Special cases",
        "where": "Where",
        "online": "Online",
        "fee": "Fee",
        "time": "Time",
        "agent": "By someone else",
        "minor": "Children",
        "watch": "Note",
        "trick": "The trick",
        "now": "Do now",
        "never": "Never",
        "call": "Call",
        "evidence": "Keep",
        "department": "Responsible",
        "number": "Phone",
        "basis": "Law",
        "checked": "checked",
        "ask": "Tell the officer",
        "say": "Say",
    },
}
# As a resident needs them; what comes later is dropped first when the whole is too long.
_ORDER = (
    "short",
    "now",
    "trick",
    "never",
    "bring",
    "who",
    "cases",
    "where",
    "online",
    "fee",
    "time",
    "call",
    "ask",
    "evidence",
    "say",
    "watch",
)
_DROP = (
    "watch",
    "say",
    "evidence",
    "who",
    "online",
    "cases",
    "trick",
    "call",
    "time",
    "fee",
    "where",
    "ask",
    "never",
    "bring",
    "now",
)
_MORE = {"zh": "材料、费用、时限、代办等细节，可以接着问我。", "en": "Ask me about papers, fee, time or anything else."}
# What each settings name reads as when the station has not set it. Those of settings/*.yaml are in Chinese only.
STATION_DEFAULTS = {
    "station.name": "派出所",
    "station.address": "本所（地图里搜所名）",
    "station.phone": "值班电话（见门口公示）",
    "station.hours": "24小时接处警",
    "station.window_hours": "工作日上班时间（周末先打电话问）",
}
STATION_DEFAULTS_EN = {
    "station.name": "the police station",
    "station.address": "the station house (find it on a map)",
    "station.phone": "the duty number posted at our door",
    "station.hours": "officers on duty 24 hours",
    "station.window_hours": "working days in office hours (weekends: call first)",
}
STATION_MEANINGS = {
    "station.name": "派出所的名称",
    "station.address": "派出所的地址，居民照着能找到",
    "station.phone": "值班电话",
    "station.hours": "值班和办公时间",
    "station.window_hours": "户籍窗口的办公时间",
}


def fill(text: str, settings: Mapping[str, str], defaults: Mapping[str, str]) -> str:
    """Replace {station.…} and {local.…}; what is not set reads as its default, never as a placeholder."""
    return PLACEHOLDER.sub(lambda found: settings.get(found[1]) or defaults.get(found[1], "以本所公布的为准"), text)


def fits(text: str, limit: int = MAX_CHARS) -> bool:
    return len(text) <= limit and len(text.encode()) <= MAX_BYTES


def clip(text: str) -> str:
    """Last resort for a station's own overlong text: cut at a character, with a sign that it was cut."""
    while not fits(text):
        text = text[: -max(2, len(text) - MAX_CHARS + 1)].rstrip() + "…"
    return text


def render(
    entry: KnowledgeEntry,
    *,
    facet: str | None,
    language: str,
    settings: Mapping[str, str],
    defaults: Mapping[str, str],
    limit: int = MAX_CHARS,
) -> str:
    """The answer, or its one facet; when the whole is too long, the least needed sections are left to be asked for.

    `limit` in characters, at most MAX_CHARS: less where something else stands in the same message.
    """
    english = _in_english(entry, language)
    defaults = _in_language(defaults, english)
    title, parts, basis = _pieces(entry, english)
    if facet and (text := _facet_text(facet, parts, english)):
        return clip(fill("\n".join([*title, text]), settings, defaults))
    shown = [name for name in _ORDER if name in parts]
    text = fill("\n".join([*title, *(parts[name] for name in shown), *basis]), settings, defaults)
    for dropped in _DROP:
        if fits(text, limit):
            return text
        if dropped in shown:
            shown.remove(dropped)
            more = [] if "now" in parts else [_MORE["en" if english else "zh"]]
            text = fill("\n".join([*title, *(parts[name] for name in shown), *basis, *more]), settings, defaults)
    return clip(text)


def full_text(entry: KnowledgeEntry, *, language: str, settings: Mapping[str, str], defaults: Mapping[str, str]) -> str:
    """The answer with every section, however long: for the checker."""
    english = _in_english(entry, language)
    defaults = _in_language(defaults, english)
    title, parts, basis = _pieces(entry, english)
    return fill("\n".join([*title, *(parts[name] for name in _ORDER if name in parts), *basis]), settings, defaults)


def placeholders(entry: KnowledgeEntry) -> frozenset[str]:
    """The settings that stand in an entry's answers, in either language."""
    said = [part for english in (False, bool(entry.english)) for part in _pieces(entry, english)[1].values()]
    return frozenset(PLACEHOLDER.findall("\n".join(said)))


def _in_english(entry: KnowledgeEntry, language: str) -> bool:
    return language == "en" and entry.english is not None and bool(entry.english.get("short"))


def _in_language(defaults: Mapping[str, str], english: bool) -> Mapping[str, str]:
    return {**defaults, **STATION_DEFAULTS_EN} if english else defaults


def _pieces(entry: KnowledgeEntry, english: bool) -> tuple[list[str], dict[str, str], list[str]]:
    """Title, sections and legal basis. An emergency card is its steps only: its title could hurt, a law would delay."""
    labels = _LABELS["en" if english else "zh"]
    card = entry.lists.get("card")
    if english and entry.english is not None:
        title = [] if card else [str(entry.english.get("title") or entry.title)]
        return title, _english_parts(entry, labels), []
    if card:
        parts = {"short": "\n".join(card)}
        if ask := entry.lists.get("ask"):
            parts["ask"] = f"{labels['ask']}：{_numbered(ask)}"
        return [], parts, []
    basis = _basis(entry.sources, entry.checked, labels)
    return [f"【{entry.title}】"], _chinese_parts(entry, labels), [basis] if basis else []


def _chinese_parts(entry: KnowledgeEntry, labels: Mapping[str, str]) -> dict[str, str]:
    parts: dict[str, str] = {}
    for name in ("short", "who", "where", "online", "fee", "time", "agent", "minor", "watch", "call", "say", "ask"):
        if text := entry.texts.get(name):
            parts[name] = text if name == "short" else f"{labels[name]}：{text}"
    for name in ("bring", "trick", "now", "never", "evidence", "ask"):
        if lines := entry.lists.get(name):
            parts[name] = f"{labels[name]}：{_numbered(lines)}"
    if entry.cases:
        told = (f"{case.when}：{case.then}" if case.when else case.then for case in entry.cases)
        parts["cases"] = f"{labels['cases']}：" + "".join(f"\n·{line.rstrip('。；;.')}" for line in told)
    if entry.department:
        call = f"，电话{entry.number}" if entry.number else ""
        parts["call"] = f"{labels['department']}：{entry.department}{call}"
    return parts


def _english_parts(entry: KnowledgeEntry, labels: Mapping[str, str]) -> dict[str, str]:
    parts: dict[str, str] = {}
    for name, value in (entry.english or {}).items():
        if name == "title" or not value:
            continue
        body = value if isinstance(value, str) else _numbered(value)
        parts[name] = body if name == "short" else f"{labels.get(name, name.capitalize())}: {body}"
    return parts


def _facet_text(facet: str, parts: Mapping[str, str], english: bool) -> str:
    own = parts.get(facet)
    if own is None:
        return ""
    if facet == "bring" and "cases" in parts:
        return f"{own}\n{parts['cases']}"
    if facet == "where" and not english and "online" in parts:
        return f"{own}\n{parts['online']}"
    return own


def _numbered(lines: Sequence[str]) -> str:
    if len(lines) == 1:
        return lines[0]
    return "".join(
        f"\n{number}.{' ' if line.isascii() else ''}{line.rstrip('。；;.')}" for number, line in enumerate(lines, 1)
    )


def _short_name(rule: str) -> str:
    """As people cite it: the state's name before a law takes seven of the 600 characters."""
    return rule.strip("《》").removeprefix("中华人民共和国")


def _basis(sources: Sequence[Source], checked: str, labels: Mapping[str, str]) -> str:
    if not sources:
        return ""
    shown = sources[:2]
    rules = "、".join(f"《{_short_name(source.rule)}》{source.article}" for source in shown)
    dated = checked and all(source.confirmed for source in shown)
    return f"{labels['basis']}：{rules}（{checked}{labels['checked']}）" if dated else f"{labels['basis']}：{rules}"

"""Renders the chat page and its single lines; every line looks the same whether it came with the page or live."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bot.channels.webchat import phones
from bot.channels.webchat.desk import Line, Rank, Speaker, StationCard, Visit

TEXT_MOST = 2000  # characters in one message; longer than any reply of ours and short enough to read
_HERE = Path(__file__).parent
_TYPES: Final[Mapping[str, str]] = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_EMERGENCY: Final = ("110", "119", "120", "122", "96110")
_CALLS_MOST = 3  # big buttons on an emergency card
_WEEKDAYS = "一二三四五六日"


@dataclass(frozen=True, slots=True)
class Look:
    """How this visitor wants the page."""

    language: str = "zh"
    large: bool = False


@dataclass(frozen=True, slots=True)
class StaticFile:
    content_type: str
    body: bytes
    version: str


def read_static() -> dict[str, StaticFile]:
    """The page's own style and script; small enough to stay in memory."""
    found = {}
    for path in sorted((_HERE / "static").iterdir()):
        if path.suffix in _TYPES:
            body = path.read_bytes()
            version = base64.urlsafe_b64encode(hashlib.sha256(body).digest()[:9]).decode()
            found[path.name] = StaticFile(_TYPES[path.suffix], body, version)
    return found


class Page:
    """The templates and texts of the chat, loaded once."""

    def __init__(self, station: StationCard) -> None:
        self.static = read_static()
        self._station, self._zone = station, ZoneInfo(station.timezone)
        texts = (_HERE / "texts.yaml").read_text(encoding="utf-8")
        self._texts: dict[str, dict[str, str]] = yaml.load(texts, Loader=yaml.CSafeLoader)
        environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,  # it would look at the files at each page
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["parts"] = phones.parts
        environment.filters["numbers"] = lambda text: phones.numbers(text)[:_CALLS_MOST]
        environment.filters["local"] = lambda moment: moment.astimezone(self._zone)
        environment.globals["static"] = lambda name: f"/chat/static/{name}?v={self.static[name].version}"
        environment.globals["station_card"] = station
        self._chat = environment.get_template("chat.html")
        self._consent = environment.get_template("consent.html")
        self._line = environment.get_template("line.html")
        for name in environment.list_templates():
            environment.get_template(name)  # those that are extended and imported, now and not at the first visit

    def text(self, key: str, language: str, **values: object) -> str:
        """The page's sentence called `key`."""
        return self._texts[key][language].format(**values)

    def chat(
        self,
        visit: Visit,
        look: Look,
        *,
        nonce: str,
        older: bool,
        error: str = "",
        draft: str = "",
        join: tuple[str, str] | None = None,
    ) -> str:
        """The conversation. `nonce` makes a form sent twice one message; `join` is (code, community) of a QR code."""
        script_texts = {key[7:]: self.text_raw(key, look) for key in self._texts if key.startswith("script_")}
        return self._chat.render(
            **self._common(look),
            visit=visit,
            owner=self.owner(visit, look),
            nonce=nonce,
            older=older,
            error=error,
            draft=draft,
            join=join,
            most=TEXT_MOST,
            script_texts=json.dumps(script_texts, ensure_ascii=False),
        )

    def consent(
        self, look: Look, *, code: str, community: str, declined: bool = False, deleted: bool = False, error: str = ""
    ) -> str:
        """What is kept, how long and how to delete it; nothing is stored before the first button is tapped."""
        return self._consent.render(
            **self._common(look),
            period=self._span(self._station.kept_days, look),
            idle=self._span(self._station.idle_days, look),
            code=code,
            community=community,
            declined=declined,
            deleted=deleted,
            error=error,
            emergency=_EMERGENCY,
        )

    def line(self, line: Line, look: Look) -> str:
        """One line as it stands in the page."""
        return self._line.render(**self._common(look), line=line).strip()

    def day(self, moment: datetime) -> str:
        return f"{moment.astimezone(self._zone):%Y-%m-%d}"

    def owner(self, visit: Visit, look: Look) -> str:
        """Who is serving the visitor; empty while it is the bot."""
        if visit.owner is None:
            return ""
        who = self._called(visit.owner, look, in_brackets=True)
        return self.text("owner", look.language, who=who)

    def text_raw(self, key: str, look: Look) -> str:
        """A sentence whose {names} somebody else fills in."""
        return self._texts[key][look.language]

    def _called(self, speaker: Speaker, look: Look, *, in_brackets: bool = False) -> str:
        name = self.text(speaker.rank.value, look.language, name=speaker.name)
        if not speaker.badge:
            return name
        key = "badge_auxiliary" if speaker.rank is Rank.AUXILIARY else "badge"
        badge = self.text(key, look.language, badge=speaker.badge)
        return name + (self.text("brackets", look.language, text=badge) if in_brackets else f" · {badge}")

    def _span(self, days: int, look: Look) -> str:
        unit, n = ("years", days // 365) if days % 365 == 0 else ("days", days)
        return self.text(unit, look.language, n=n)

    def _day_label(self, moment: datetime, look: Look) -> str:
        local = moment.astimezone(self._zone)
        if look.language == "en":
            return f"{local:%A} {local.day} {local:%B}"
        return f"{local.month}月{local.day}日 星期{_WEEKDAYS[local.weekday()]}"

    def _common(self, look: Look) -> dict[str, object]:
        return {
            "look": look,
            "t": lambda key, **values: self.text(key, look.language, **values),
            "called": lambda speaker: self._called(speaker, look),
            "day_of": self.day,
            "day_label": lambda moment: self._day_label(moment, look),
        }

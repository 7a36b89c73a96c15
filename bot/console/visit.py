"""One request to the console: who asks, what was filled in, and how to answer with a page."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web
from aiohttp.web_request import FileField
from jinja2 import Environment
from multidict import MultiDict, MultiDictProxy

from bot import clock
from bot.actions.audit import Actor
from bot.checks import ChannelReport
from bot.console.navigation import Tab, tabs_for
from bot.console.presence import Presence
from bot.console.texts import DONE
from bot.reach import Rules
from bot.runtime import Runtime
from bot.security.forwarding import client_ip, is_https
from bot.security.permissions import Permission, may
from bot.security.sessions import LoggedIn
from bot.store.engine import Store
from bot.store.models import Officer
from bot.wecom import WeComApp

Form = MultiDictProxy[str | bytes | bytearray | FileField]
_NOTHING_FILLED_IN: Form = MultiDictProxy(MultiDict())
_OUR_PAGE = re.compile(r"/console(/[\w./?=&%-]*)?", re.ASCII)
_LARGEST_ID = 2**63 - 1


async def _no_channels() -> Sequence[ChannelReport]:
    return ()


@dataclass(frozen=True)
class ConsoleDesk:
    """What the console works with. `channels` are the kinds of the channels by their name in config.yaml, `rules` what
    their platforms allow; `wecom` is the station's WeCom app, if it has one.

    `scenes`: by channel, what a QR code must say that brings people there with a scene; "" when the platform gave none.
    """

    runtime: Runtime
    channels: Mapping[str, str]
    rules: Mapping[str, Rules]
    wecom: WeComApp | None = None
    check_channels: Callable[[], Awaitable[Sequence[ChannelReport]]] = _no_channels
    scenes: Mapping[str, Callable[[str], Awaitable[str]]] = field(default_factory=dict)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.runtime.station.timezone)


@dataclass(frozen=True)
class Console:
    """The console of one process: its desk, its templates, and who looks at what right now."""

    desk: ConsoleDesk
    templates: Environment
    presence: Presence


CONSOLE = web.AppKey("console", Console)


@dataclass
class Visit:
    """What a view gets. `login` is None on public pages; `problem` is the sentence of a wish that was refused."""

    console: Console
    request: web.Request
    login: LoggedIn | None
    form: Form = field(default_factory=lambda: _NOTHING_FILLED_IN)
    problem: str = ""

    # --- who ---

    @property
    def desk(self) -> ConsoleDesk:
        return self.console.desk

    @property
    def store(self) -> Store:
        return self.desk.runtime.store

    @property
    def station_id(self) -> int:
        return self.desk.runtime.station.id

    @property
    def officer(self) -> Officer:
        """Who is logged in; only for routes that need a log-in."""
        if self.login is None:
            raise web.HTTPForbidden
        return self.login.officer

    @property
    def ip(self) -> str:
        proxies = self.desk.runtime.config.server.trusted_proxies
        return client_ip(self.request.remote or "", self.request.headers.get("X-Forwarded-For", ""), proxies)

    @property
    def https(self) -> bool:
        server = self.desk.runtime.config.server
        forwarded = self.request.headers.get("X-Forwarded-Proto", "")
        return server.public_url.startswith("https:") or is_https(
            self.request.scheme, self.request.remote or "", forwarded, server.trusted_proxies
        )

    @property
    def actor(self) -> Actor:
        return Actor(self.station_id, self.officer.id, self.ip)

    def may(self, *permissions: Permission) -> bool:
        """Whether the officer has one of these permissions."""
        return self.login is not None and any(may(self.login.officer.role, permission) for permission in permissions)

    # --- what ---

    def number(self, name: str) -> int:
        """A row's number in the address; one that no database has is not found."""
        number = int(self.request.match_info[name])
        if number > _LARGEST_ID:
            raise web.HTTPNotFound
        return number

    def text(self, name: str) -> str:
        """A filled-in field, trimmed; "" when it is missing."""
        value = self.form.get(name, "")
        return _clean(value) if isinstance(value, str) else ""

    def secret(self, name: str) -> str:
        """A password exactly as it was typed."""
        value = self.form.get(name, "")
        return value if isinstance(value, str) else ""

    def texts(self, name: str) -> list[str]:
        """All values of a field that can be chosen several times."""
        return [_clean(value) for value in self.form.getall(name, []) if isinstance(value, str)]

    def upload(self, name: str) -> FileField | None:
        """A file that was chosen; None when none was."""
        value = self.form.get(name)
        return value if isinstance(value, FileField) and value.filename else None

    def asked(self, name: str) -> str:
        """A value from the address behind the question mark, trimmed; "" when it is missing."""
        return _clean(self.request.query.get(name, ""))

    def asked_number(self, name: str) -> int | None:
        """The same as a number; None when it is none."""
        value = self.asked(name)
        return int(value) if value.isascii() and value.isdecimal() and int(value) <= _LARGEST_ID else None

    # --- the answer ---

    def page(self, template: str, /, *, status: int = 200, **values: Any) -> web.Response:
        """An HTML page. Templates always have: me, may, csrf, station, problem, done, typed, now, path, tabs."""
        html = self.console.templates.get_template(template).render(
            me=self.login.officer if self.login else None,
            may=self.may,
            csrf=self.login.csrf if self.login else "",
            station=self.desk.runtime.station,
            problem=self.problem,
            done=DONE.get(self.asked("done"), ""),
            typed=self.text,
            now=clock.now(),
            path=self.request.path,
            tabs=self._tabs(),
            **values,
        )
        return web.Response(text=html, content_type="text/html", status=status)

    def _tabs(self) -> tuple[Tab, ...]:
        if self.login is None or not self.login.is_let_in:
            return ()
        wecom = self.desk.wecom
        return tabs_for(self.login.officer.role, friends=wecom is not None and wecom.customer_contact)

    def go(self, path: str, *, done: str = "", part: str = "") -> web.Response:
        """Send the browser to another page; `done` is a key of texts.DONE shown there, `part` an id to scroll to."""
        if done:
            path += ("&" if "?" in path else "?") + f"done={done}"
        return web.Response(status=303, headers={"Location": path + (f"#{part}" if part else "")})

    def local(self, moment: datetime) -> datetime:
        return moment.astimezone(self.desk.zone)


def _clean(value: str) -> str:
    return value.replace("\x00", "").replace("\r\n", "\n").strip()  # PostgreSQL keeps no NUL


def our_page(path: str) -> str:
    """The path if it is a page of the console, else its start: nobody is sent elsewhere after logging in."""
    return path if _OUR_PAGE.fullmatch(path) else "/console"

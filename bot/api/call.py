"""One request to the API: who asks, and for which row."""

from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from bot.actions.audit import Actor
from bot.api.problems import Refused, Slug
from bot.reach import Rules
from bot.runtime import Runtime
from bot.security.forwarding import client_ip
from bot.security.sessions import LoggedIn
from bot.store.engine import Store
from bot.store.models import Officer

LARGEST_ID = 2**63 - 1


@dataclass(frozen=True)
class Call:
    """What a handler gets beside its checked request. `login` is None on public routes."""

    runtime: Runtime
    request: web.Request
    login: LoggedIn | None
    rules: Mapping[str, Rules]  # what the platforms of the channels allow

    @property
    def store(self) -> Store:
        return self.runtime.store

    @property
    def station_id(self) -> int:
        return self.runtime.station.id

    @property
    def logged_in(self) -> LoggedIn:
        """The log-in; only for routes that need one."""
        if self.login is None:
            raise Refused(Slug.LOGIN_NEEDED)
        return self.login

    @property
    def officer(self) -> Officer:
        return self.logged_in.officer

    @property
    def ip(self) -> str:
        proxies = self.runtime.config.server.trusted_proxies
        return client_ip(self.request.remote or "", self.request.headers.get("X-Forwarded-For", ""), proxies)

    @property
    def actor(self) -> Actor:
        return Actor(self.station_id, self.officer.id, self.ip)

    @property
    def row_id(self) -> int:
        """The number of the row in the path; one that no database has is not found."""
        number = int(self.request.match_info["id"])
        if number > LARGEST_ID:
            raise Refused(Slug.NOT_FOUND)
        return number

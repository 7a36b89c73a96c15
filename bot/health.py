"""For those who watch the program: /healthz, /readyz, /metrics."""

from collections.abc import Callable
from ipaddress import ip_address

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from bot.runtime import Runtime
from bot.store import migrations

_METRICS_REFUSED = (
    "Metrics are read on the machine itself, past the proxy: curl http://127.0.0.1:PORT/metrics (server.port).\n"
)
_PROXY_HEADERS = ("X-Forwarded-For", "Forwarded")


def _is_from_here(request: web.Request) -> bool:
    """Whether a program on this machine asks by itself; what a proxy beside us passes on comes from elsewhere."""
    try:
        peer = ip_address(request.remote or "")
    except ValueError:
        return False
    peer = getattr(peer, "ipv4_mapped", None) or peer
    return peer.is_loopback and not any(name in request.headers for name in _PROXY_HEADERS)


def add_health(app: web.Application, runtime: Runtime, clock_is_running: Callable[[], bool]) -> None:
    """Add the three pages; none of them says anything about a resident."""

    async def alive(_request: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def ready(_request: web.Request) -> web.Response:
        """200 when database, schema and clock are as they must be, else 503; each with its own word."""
        try:
            schema = await migrations.version(runtime.store)
            database, migrated = "ok", "ok" if schema == migrations.newest() else "run: python -m bot migrate"
        except (SQLAlchemyError, OSError):
            database, migrated = "not reachable", "unknown"
        checks = {
            "database": database,
            "migrations": migrated,
            "scheduler": "ok" if clock_is_running() else "not running",
        }
        good = all(word == "ok" for word in checks.values())
        return web.json_response(checks, status=200 if good else 503)

    async def metrics(request: web.Request) -> web.Response:
        if not _is_from_here(request):
            return web.Response(status=403, text=_METRICS_REFUSED)
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/metrics", metrics)

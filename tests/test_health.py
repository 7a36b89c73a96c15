"""The pages for those who watch the program: who may read the numbers."""

from typing import cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from bot.health import add_health
from bot.runtime import Runtime


def watched() -> web.Application:
    app = web.Application()
    add_health(app, cast(Runtime, None), lambda: True)  # the numbers are the process's own
    return app


async def test_metrics_are_read_on_the_machine_itself() -> None:
    async with TestClient(TestServer(watched())) as client:
        answer = await client.get("/metrics")
        assert answer.status == 200
        assert "# HELP" in await answer.text()


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
async def test_metrics_are_not_passed_on_by_a_proxy(header: str) -> None:
    async with TestClient(TestServer(watched())) as client:
        answer = await client.get("/metrics", headers={header: "127.0.0.1"})
        assert answer.status == 403
        assert "127.0.0.1" in await answer.text()
        assert (await client.get("/healthz", headers={header: "127.0.0.1"})).status == 200


@pytest.mark.parametrize(
    ("peer", "status"), [("203.0.113.7", 403), ("10.0.0.5", 403), ("", 403), ("::1", 200), ("::ffff:127.0.0.1", 200)]
)
async def test_metrics_are_not_shown_to_the_network(peer: str, status: int) -> None:
    request = make_mocked_request("GET", "/metrics").clone(remote=peer)
    answer = await (await watched().router.resolve(request)).handler(request)
    assert cast(web.Response, answer).status == status

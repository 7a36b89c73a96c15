"""The emulator's switches over HTTP, for another process or a person: what the methods of FakeWeChat do."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.fakes.wechat.faults import Fault

if TYPE_CHECKING:
    from tests.fakes.wechat.emulator import FakeWeChat


def routes(wechat: "FakeWeChat") -> list[web.RouteDef]:
    """`/_ctl/clock|inbound|fault|faults/clear|expire|journal|follower/{openid}`"""

    async def control(request: web.Request) -> web.Response:
        given: dict[str, Any] = await request.json() if request.can_read_body else {}
        match request.match_info["what"].split("/"):
            case ["clock"]:
                await wechat.settle(float(given.get("advance", 0)))
                return web.json_response({"now": wechat.now()})
            case ["inbound"]:
                wechat.inbound(given["openid"], given.get("trigger", "message"))
            case ["fault"]:
                wechat.faults.append(Fault(**given))
            case ["faults", "clear"]:
                wechat.faults.clear()
            case ["expire"]:
                wechat.expire_tokens()
            case ["journal"]:
                return web.json_response([asdict(call) for call in wechat.journal])
            case ["follower", openid]:
                return web.json_response(asdict(wechat.follower(openid)))
            case _:
                raise web.HTTPNotFound
        return web.json_response({"ok": True})

    return [web.route("*", "/_ctl/{what:.+}", control)]

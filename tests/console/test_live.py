"""The stream to open pages: what it tells whom, who looks at what, and how it ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import ClientResponse

from bot import clock
from bot.console import live
from bot.security import sessions
from bot.store.live import Change, Kind
from tests.console.house import Browser, House
from tests.support.station import SOON_SECONDS


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream looks up each second for whether it should end; here it need not be waited for."""
    monkeypatch.setattr(live, "_LOOK_SECONDS", 0.05)


@dataclass
class Stream:
    """A page's connection."""

    response: ClientResponse

    async def event(self) -> tuple[str, dict[str, Any]]:
        """The next event; comments are passed over."""
        name = ""
        async with asyncio.timeout(SOON_SECONDS):
            while True:
                line = (await self.response.content.readline()).decode()
                if not line:
                    raise EOFError
                if line.startswith("event: "):
                    name = line.removeprefix("event: ").strip()
                elif line.startswith("data: "):
                    return name, json.loads(line.removeprefix("data: "))


@asynccontextmanager
async def listening(browser: Browser, path: str = "/console/live") -> AsyncIterator[Stream]:
    response = await browser.get(path, headers={"Accept": "text/event-stream"})
    assert response.status == 200
    await response.content.readline()  # it is connected
    try:
        yield Stream(response)
    finally:
        response.close()


def tell(house: House, kind: Kind, what: str, *, station: int = 0, row: int = 7) -> None:
    house.store.live.publish([Change(house.houses[station].station.id, kind, row, what)])


async def test_open_pages_hear_of_a_new_call_for_help(house: House) -> None:
    async with listening(await house.logged_in("chen")) as stream:
        tell(house, Kind.TICKET, "urgent")
        assert await stream.event() == ("ticket", {"id": 7, "what": "urgent", "mine": False})


async def test_other_stations_and_other_peoples_matters_are_not_told(house: House) -> None:
    async with listening(await house.logged_in("guan")) as stream:  # the administrator reads no tickets
        tell(house, Kind.TICKET, "urgent")
        tell(house, Kind.CONVERSATION, "said")
        tell(house, Kind.BROADCAST, "progress")
        tell(house, Kind.DELIVERIES, "")
        tell(house, Kind.RELOAD, "", station=1)
        tell(house, Kind.RELOAD, "mine")
        assert (await stream.event())[1]["what"] == "mine"


async def test_the_officer_hears_when_his_own_resident_writes(house: House) -> None:
    await house.take("chen", "open")
    async with listening(await house.logged_in("chen")) as mine, listening(await house.logged_in("zhang")) as other:
        await house.resident_says("open", "在吗")
        for stream, expected in ((mine, True), (other, False)):
            name, data = await stream.event()
            assert (name, data["what"], data["mine"]) == ("ticket", "message", expected)


async def test_a_call_for_help_on_a_held_ticket_is_loud_for_its_officer(house: House) -> None:
    await house.take("chen", "open")
    async with listening(await house.logged_in("chen")) as mine, listening(await house.logged_in("zhang")) as other:
        tell(house, Kind.TICKET, "call", row=house.first.tickets["open"])
        assert (await mine.event())[1] == {"id": house.first.tickets["open"], "what": "call", "mine": True}
        assert (await other.event())[1]["mine"] is False


async def test_two_officers_on_one_ticket_see_each_other(house: House) -> None:
    chen, zhang = await house.logged_in("chen"), await house.logged_in("zhang")
    ticket = house.first.tickets["open"]
    page = f"/console/tickets/{ticket}"
    async with listening(chen, f"/console/live?ticket={ticket}"):
        assert "陈建国也在看" in await zhang.read(page)
        assert "也在看" not in await chen.read(page), "nobody is told of himself"
        async with listening(zhang) as queue:
            assert "陈建国正在看" in await zhang.read("/console/tickets")
            async with listening(zhang, f"/console/live?ticket={ticket}"):
                assert (await queue.event())[1] == {"id": ticket, "what": "seen", "mine": False}
    async with listening(zhang) as queue:
        while "陈建国" in await zhang.read(page):
            await queue.event()  # "seen" comes when the closed page is noticed
    foreign = await house.logged_in("chen", station=1)
    assert (await foreign.get(f"/console/live?ticket={ticket}")).status == 404


async def test_the_stream_ends_with_the_log_in(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT", clock.now() - clock.now())
    browser = await house.logged_in("chen")
    async with listening(browser) as stream:
        async with house.store.write() as session:
            await sessions.end_all(session, house.first.officers["chen"])
        assert (await stream.event())[0] == "ended"
        with pytest.raises(EOFError):
            await stream.event()
    late = await browser.get("/console/live", headers={"Accept": "text/event-stream"})
    assert late.status == 401


async def test_open_streams_do_not_hold_up_the_end_of_the_program(house: House) -> None:
    async with listening(await house.logged_in("chen")) as stream:
        async with asyncio.timeout(SOON_SECONDS / 2):  # the server itself would wait for a minute
            await house.servers[0].close()
        with pytest.raises((EOFError, OSError)):
            await stream.event()

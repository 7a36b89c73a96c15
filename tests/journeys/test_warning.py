"""A warning from the officer's form to the residents' phones: the right people, once, whatever happens on the way."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from bot.actions import broadcasts, recipients, results
from bot.channels.base import Failure, SendError
from bot.console.app import ConsoleDesk, add_console
from bot.reach import Rules
from bot.runtime import Runtime
from bot.store.encryption import use_keys
from bot.store.engine import Store
from bot.store.models import (
    Broadcast,
    BroadcastState,
    Delivery,
    DeliveryState,
    Resident,
    ResidentAddress,
    StoredMessage,
)
from scheduler import jobs
from scheduler.mass import MassOutbox
from scheduler.outbox import AT_ONCE, Outbox
from tests.console.house import Browser, House, console_config, furnish
from tests.support.knowledge import KnownSayings
from tests.support.station import DATA_KEY, FakeChannel, FrozenClock, frozen_clock
from tests.support.two_stations import furnished

BODY = "有人以养老床位高息返利为名劝老人交钱，交钱前先问社区民警。"


@pytest.fixture
def time() -> Iterator[FrozenClock]:
    with frozen_clock() as frozen:
        yield frozen


@dataclass
class Village:
    """Two stations in one database, the console of the first, and its clockwork with a platform that remembers."""

    house: House
    channel: FakeChannel
    addresses: dict[str, int] = field(default_factory=dict)  # resident by his address

    @property
    def store(self) -> Store:
        return self.house.store

    @property
    def places(self) -> list[int]:
        return self.house.first.communities

    def desk(self) -> jobs.Desk:
        """The clockwork of a process that has just started: nothing of an earlier one is in memory."""
        station_id = self.house.first.station.id

        async def resume(_message_id: int) -> None:
            raise AssertionError("no message waits here")

        return jobs.Desk(
            store=self.store,
            station_id=station_id,
            timezone="Asia/Shanghai",
            messages_kept=timedelta(days=1095),
            visitors_kept=timedelta(days=180),
            channels={"web": self.channel},
            outbox=Outbox(self.store, station_id, {"web": self.channel}),
            mass=MassOutbox(self.store, station_id, {"web": self.channel}),
            resume=resume,
            words=str.split,
        )

    async def tick(self) -> None:
        """One round of the jobs, in a process that has just started."""
        desk = self.desk()
        await jobs.move_broadcasts(desk)
        await jobs.send_deliveries(desk)
        await jobs.move_broadcasts(desk)

    async def lives(self, who: str, *, station: int = 0, following: bool | None = True, **columns: Any) -> int:
        """Somebody with an address of his name; `following=None`: no address at all."""
        async with self.store.write() as session:
            furnished = self.house.houses[station]
            resident = Resident(
                **{
                    "station_id": furnished.station.id,
                    "created_at": datetime(2026, 1, 1, tzinfo=UTC),
                    "gender": "female",
                    "birth_year": 1956,
                    "community_id": furnished.communities[0],
                    **columns,
                }
            )
            session.add(resident)
            await session.flush()
            if following is not None:
                session.add(_address(resident, who, following=following))
            self.addresses[who] = resident.id
            return resident.id

    @property
    def received(self) -> list[str]:
        return sorted(given.address for given in self.channel.given)

    async def row(self, number: int) -> Broadcast:
        async with self.store.read() as session:
            return await session.get_one(Broadcast, number)

    async def ends(self, number: int) -> dict[DeliveryState, int]:
        async with self.store.read() as session:
            return (await results.progress(session, number)).states

    async def children(self, number: int) -> list[Broadcast]:
        async with self.store.read() as session:
            query = select(Broadcast).where(Broadcast.parent_id == number).order_by(Broadcast.id)
            return list((await session.execute(query)).scalars())


def _address(resident: Resident, address: str, **columns: Any) -> ResidentAddress:
    return ResidentAddress(
        **{
            "station_id": resident.station_id,
            "resident_id": resident.id,
            "channel": "web",
            "address": address,
            "created_at": resident.created_at,
            **columns,
        }
    )


@pytest.fixture
async def village(database_url: str, time: FrozenClock) -> AsyncIterator[Village]:
    del time  # it stands before anything is written
    use_keys(DATA_KEY)
    houses = await furnished(database_url, furnish)
    store = Store.open(database_url)
    async with store.write() as session:  # those who live in every house are not in this story
        await session.execute(update(Resident).values(wants_warnings=False))
        await session.execute(update(Delivery).values(state=DeliveryState.SENT))
    runtime = Runtime(console_config(houses[0].station.name, database_url), store, houses[0].station, KnownSayings())
    app = web.Application()
    add_console(app, ConsoleDesk(runtime=runtime, channels={"web": "webchat"}, rules={"web": Rules()}))
    async with TestServer(app) as server:
        house = House(store, [runtime], houses, [f"http://127.0.0.1:{server.port}"])
        yield Village(house, FakeChannel("web"))
        for browser in house.browsers:
            await browser.session.close()
    await store.close()


# --- what the officer and the chief do ------------------------------------------------------------------------------


async def write(officer: Browser, places: list[int], **fields: str) -> int:
    form = {
        "title": "谨防养老投资骗局",
        "body": BODY,
        "age_from": "60",
        "genders": "female",
        "when": "now",
        "then": "submit",
        **fields,
    }
    await officer.read("/console/broadcasts/new")
    data = [*form.items(), *(("communities", str(place)) for place in places)]
    response = await officer.post("/console/broadcasts", data=data)
    assert response.status == 303, await response.text()
    found = re.search(r"/console/broadcasts/(\d+)", response.headers["Location"])
    assert found
    return int(found[1])


async def approve(chief: Browser, number: int) -> None:
    page = await chief.read(f"/console/broadcasts/{number}")
    seal = re.search(r'name="seal" value="(\w{64})"', page)
    assert seal
    assert (await chief.post(f"/console/broadcasts/{number}/approve", seal=seal[1])).status == 303


async def approved(village: Village, **fields: str) -> int:
    """A warning for women over 60 in both villages, written by an officer, approved by the chief."""
    officer, chief = await village.house.logged_in("zhang"), await village.house.logged_in("suo")
    number = await write(officer, village.places, **fields)
    await approve(chief, number)
    return number


def local(time: FrozenClock, **later: float) -> str:
    return f"{time.now + timedelta(hours=8) + timedelta(**later):%Y-%m-%dT%H:%M}"


# --- the story ------------------------------------------------------------------------------------------------------


async def test_women_over_sixty_in_two_villages_receive_it_once_and_nobody_else(village: Village) -> None:
    first, second = village.places
    third = village.house.houses[1].communities[0]
    await village.lives("wang", community_id=first, birth_year=1950)
    await village.lives("li", community_id=second, birth_year=1966)
    await village.lives("too-young", community_id=first, birth_year=1967)
    await village.lives("a-man", community_id=first, gender="male")
    await village.lives("age-unknown", community_id=first, birth_year=None)
    await village.lives("elsewhere", community_id=None)
    await village.lives("wants-none", community_id=first, wants_warnings=False)
    await village.lives("erased", community_id=first, erased_at=datetime(2026, 2, 1, tzinfo=UTC))
    await village.lives("other-station", station=1, community_id=third)
    await village.lives("left", community_id=second, following=False)
    await village.lives("never-came", community_id=second, following=None)
    twice = await village.lives("old-phone", community_id=second, birth_year=1940)
    async with village.store.write() as session:
        resident = await session.get_one(Resident, twice)
        session.add(_address(resident, "new-phone", last_inbound_at=datetime(2026, 11, 1, tzinfo=UTC)))

    officer, chief = await village.house.logged_in("zhang"), await village.house.logged_in("suo")
    number = await write(officer, [first, second])
    await village.tick()
    assert village.received == [], "nothing leaves before somebody else has approved it"
    assert "女 · 60 岁及以上 · 枫林1社区、枫林2社区" in await chief.read("/console/broadcasts")
    await approve(chief, number)
    for _ in range(3):
        await village.tick()

    assert village.received == ["li", "new-phone", "wang"]
    assert {given.text for given in village.channel.given} == {f"【谨防养老投资骗局】\n{BODY}"}
    row = await village.row(number)
    assert (row.state, row.expanded) == (BroadcastState.DONE, True)
    assert await village.ends(number) == {DeliveryState.SENT: 3, DeliveryState.SKIPPED: 2}
    page = await officer.read(f"/console/broadcasts/{number}")
    assert '<b class="number">3</b> 人已发到，共 5 人' in page
    assert "居民没有可用的联系渠道 <b>2</b> 人" in page
    async with village.store.read() as session:
        said = select(func.count()).select_from(StoredMessage).where(StoredMessage.broadcast_id == number)
        assert (await session.execute(said)).scalar_one() == 3, "it stands in each one's conversation"


async def test_a_platforms_refusal_is_a_reason_on_the_page_and_is_not_tried_again(village: Village) -> None:
    await village.lives("wang")
    await village.lives("li")
    village.channel.script.append(SendError(Failure.REFUSED, "43004", "居民未关注公众号"))
    number = await approved(village)
    for _ in range(3):
        await village.tick()
    assert village.channel.tried == 2
    assert await village.ends(number) == {DeliveryState.SENT: 1, DeliveryState.FAILED: 1}
    page = await (await village.house.logged_in("zhang")).read(f"/console/broadcasts/{number}")
    assert "居民未关注公众号 <b>1</b> 人" in page
    assert "没有发到的居民" in page


async def test_stopped_midway_the_rest_receive_nothing(village: Village) -> None:
    for n in range(100):
        await village.lives(f"resident-{n:03d}")
    officer = await village.house.logged_in("chen")
    number = await approved(village)
    stopped: list[int] = []
    is_stopped = asyncio.Event()

    async def stop_at_the_fifth() -> None:
        if village.channel.tried == 5:
            response = await officer.post(f"/console/broadcasts/{number}/stop", why="文字有误")
            stopped.append(response.status)
            is_stopped.set()
        elif village.channel.tried > 5:
            await is_stopped.wait()  # what is on its way by then, and no more

    village.channel.before_taking = stop_at_the_fifth
    await officer.read(f"/console/broadcasts/{number}")
    for _ in range(3):
        await village.tick()

    assert stopped == [303]
    assert len(village.received) <= 5 + AT_ONCE, "what was on its way arrives, no more is begun"
    assert len(set(village.received)) == len(village.received)
    ends = await village.ends(number)
    assert ends[DeliveryState.SENT] == len(village.received)
    assert ends[DeliveryState.SENT] + ends[DeliveryState.SKIPPED] == 100, "each recipient has a row with its end"
    page = await officer.read(f"/console/broadcasts/{number}")
    assert "已停止，原因：文字有误" in page
    assert "已由民警停止发送" in page


async def test_who_refused_warnings_while_his_row_was_being_written_gets_none(village: Village) -> None:
    for who in ("wang", "li"):
        await village.lives(who)
    number = await approved(village)
    await jobs.move_broadcasts(village.desk())
    async with village.store.write() as session:  # as it was committed beside a row that knew nothing of it
        await session.execute(
            update(Resident).where(Resident.id == village.addresses["li"]).values(wants_warnings=False)
        )
    await village.tick()
    assert village.received == ["wang"]
    assert await village.ends(number) == {DeliveryState.SENT: 1, DeliveryState.SKIPPED: 1}


async def test_a_changed_text_needs_a_new_approval(village: Village, time: FrozenClock) -> None:
    await village.lives("wang")
    number = await approved(village, when="at", send_at=local(time, hours=5))
    officer = await village.house.logged_in("zhang")
    await officer.read(f"/console/broadcasts/{number}/edit")
    data = [
        ("title", "谨防养老投资骗局"), ("body", "改过的话，问民警。"), ("age_from", "60"), ("genders", "female"),
        ("when", "at"), ("send_at", local(time, hours=5)), ("version", "1"), ("then", "submit"),
    ]  # fmt: skip
    assert (await officer.post(f"/console/broadcasts/{number}/edit", data=data)).status == 303
    time.forward(hours=6)
    await village.tick()
    assert village.received == []
    assert (await village.row(number)).seal is None
    await approve(await village.house.logged_in("suo"), number)
    await village.tick()
    assert village.channel.texts == ["【谨防养老投资骗局】\n改过的话，问民警。"]


@pytest.mark.parametrize("column", [{"body": "被人改过"}, {"audience": {"age_from": 18}}, {"title": "另一个"}])
async def test_what_was_changed_behind_the_console_is_not_sent(
    village: Village, time: FrozenClock, column: dict[str, Any]
) -> None:
    """Whoever can write into the database still cannot send what nobody approved."""
    await village.lives("wang")
    number = await approved(village, when="at", send_at=local(time, hours=1))
    async with village.store.write() as session:
        await session.execute(update(Broadcast).where(Broadcast.id == number).values(column))
    time.forward(hours=2)
    await village.tick()
    assert village.received == []
    row = await village.row(number)
    assert (row.state, row.seal) == (BroadcastState.DRAFT, None)


async def test_each_week_one_child_goes_out_and_missed_weeks_are_not_made_up(
    village: Village, time: FrozenClock
) -> None:
    await village.lives("wang")
    number = await approved(village, when="weekly", send_at=local(time, hours=2))
    await village.tick()
    assert village.received == []
    time.forward(hours=3)
    for _ in range(3):
        await village.tick()
    assert village.received == ["wang"]
    time.forward(days=7)
    for _ in range(3):
        await village.tick()
    assert village.received == ["wang"] * 2
    time.forward(days=21)  # three weeks without a process
    for _ in range(3):
        await village.tick()
    assert village.received == ["wang"] * 3
    children = await village.children(number)
    assert [child.state for child in children] == [BroadcastState.DONE] * 3
    parent = await village.row(number)
    assert parent.state is BroadcastState.APPROVED
    assert parent.send_at is not None
    assert time.now < parent.send_at <= time.now + timedelta(days=7)
    page = await (await village.house.logged_in("zhang")).read(f"/console/broadcasts/{number}")
    assert page.count('href="/console/broadcasts/') >= 3
    assert "各周发送情况" in page


async def test_a_weekly_warning_that_was_stopped_is_never_sent_again(village: Village, time: FrozenClock) -> None:
    await village.lives("wang")
    number = await approved(village, when="weekly", send_at=local(time, hours=2))
    chief = await village.house.logged_in("suo")
    await chief.read(f"/console/broadcasts/{number}")
    assert (await chief.post(f"/console/broadcasts/{number}/stop", why="活动结束")).status == 303
    time.forward(days=8)
    await village.tick()
    assert village.received == []


async def test_what_has_expired_is_not_sent(village: Village, time: FrozenClock) -> None:
    await village.lives("wang")
    number = await approved(village, when="at", send_at=local(time, hours=1), expires_at=local(time, hours=2))
    time.forward(hours=3)  # nobody was running at the time
    await village.tick()
    assert village.received == []
    assert (await village.row(number)).state is BroadcastState.EXPIRED
    assert "已失效" in await (await village.house.logged_in("zhang")).read(f"/console/broadcasts/{number}")


async def test_what_expires_while_it_waits_for_the_platform_ends_there(village: Village, time: FrozenClock) -> None:
    await village.lives("wang")
    number = await approved(village, expires_at=local(time, hours=1))
    village.channel.script.append(SendError(Failure.RETRY, "-1", "系统繁忙"))
    await village.tick()
    assert await village.ends(number) == {DeliveryState.QUEUED: 1}
    time.forward(hours=2)
    await village.tick()
    await village.tick()
    assert village.received == []
    assert (await village.row(number)).state is BroadcastState.EXPIRED
    assert await village.ends(number) == {DeliveryState.SKIPPED: 1}


# --- killed in between ----------------------------------------------------------------------------------------------


async def _started(village: Village, monkeypatch: pytest.MonkeyPatch) -> int:
    """A warning to seven residents, three in a chunk, on its way, with no row yet."""
    monkeypatch.setattr(recipients, "CHUNK_RESIDENTS", 3)
    for n in range(7):
        await village.lives(f"resident-{n}")
    number = await approved(village)
    async with village.store.write() as session:
        (due,) = await broadcasts.claim_due(session, village.house.first.station.id)
        await broadcasts.start(session, due)
    return number


async def _expand(village: Village, number: int, *, killed: bool) -> None:
    """Write the next chunk; `killed`: the process dies before it can commit."""

    class KilledError(Exception):
        """The end of the process."""

    try:
        async with village.store.write() as session:
            row = await session.get_one(Broadcast, number)
            await recipients.expand(session, row, {})
            if killed:
                raise KilledError
    except KilledError:
        pass


async def test_killed_at_any_chunk_nobody_is_doubled_and_nobody_is_missing(
    village: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await _started(village, monkeypatch)
    for killed in (True, False, True, False, True):  # before the first commit, and before each one after it
        await _expand(village, number, killed=killed)
    assert sum((await village.ends(number)).values()) == 6
    for _ in range(3):
        await village.tick()
    assert village.received == [f"resident-{n}" for n in range(7)]
    assert (await village.row(number)).state is BroadcastState.DONE
    assert await village.ends(number) == {DeliveryState.SENT: 7}


async def test_a_second_row_for_a_recipient_is_impossible(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a process that forgot how far it was cannot send twice: the database refuses the row."""
    number = await _started(village, monkeypatch)
    await _expand(village, number, killed=False)
    async with village.store.write() as session:
        await session.execute(update(Broadcast).where(Broadcast.id == number).values(expanded_to=0))
    with pytest.raises(IntegrityError):
        await _expand(village, number, killed=False)
    resident = village.addresses["resident-0"]
    with pytest.raises(IntegrityError):
        async with village.store.write() as session:
            await session.execute(
                insert(Delivery).values(
                    station_id=village.house.first.station.id, broadcast_id=number, resident_id=resident,
                    channel="web", state=DeliveryState.QUEUED, created_at=datetime(2026, 1, 1, tzinfo=UTC),
                )
            )  # fmt: skip
    assert sum((await village.ends(number)).values()) == 3


async def test_killed_while_sending_it_is_not_sent_twice_unasked(village: Village, time: FrozenClock) -> None:
    """The platform may have taken it: the officer reads so, and the warning still ends."""
    await village.lives("wang")
    number = await approved(village)
    desk = village.desk()
    async with village.store.write() as session:
        for due in await broadcasts.claim_due(session, desk.station_id):
            await broadcasts.start(session, due)
            await recipients.expand(session, due, {})
    async with village.store.write() as session:  # claimed, and then the power went
        await session.execute(
            update(Delivery).values(state=DeliveryState.SENDING, retry_at=time.now + timedelta(seconds=60))
        )
    time.forward(minutes=2)
    for _ in range(3):
        await village.tick()
    assert village.received == []
    assert await village.ends(number) == {DeliveryState.FAILED: 1}
    assert (await village.row(number)).state is BroadcastState.DONE
    page = await (await village.house.logged_in("zhang")).read(f"/console/broadcasts/{number}")
    assert "可能已送达" in page

"""Sending into the emulated WeChat: queued replies and a mass warning, each beside a bare client, and residents
who write while the warning goes out."""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import uvloop
from sqlalchemy import insert

from bot import clock
from bot.actions import broadcasts, results
from bot.actions.audiences import Audience
from bot.actions.audit import Actor
from bot.actions.broadcasts import Draft
from bot.app import PROGRAM, Program, create_app
from bot.message import Message, MessageKind
from bot.store.models import (
    Author,
    Broadcast,
    BroadcastState,
    Conversation,
    Delivery,
    DeliveryRoute,
    DeliveryState,
    Direction,
    MessageState,
    Officer,
    Resident,
    ResidentAddress,
    Role,
    StoredMessage,
)
from scheduler import jobs
from scheduler.outbox import AT_ONCE
from tests.bench.servers import CHANNEL, config, prepare
from tests.fakes.wechat.pusher import APP_ID

REPLIES = 10_000
LATENCY_SECONDS = 0.05
RECIPIENTS = 100_001
WRITERS = 1_000
_TICKS_MOST = 2000  # a warning that has not ended by then never will
_ROWS = 2000  # written at once when the station is filled


def _openid(n: int) -> str:
    return f"o{n:027d}"


# -- the platform -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Platform:
    """The emulator in a process of its own."""

    base: str
    http: aiohttp.ClientSession

    async def control(self, what: str, body: object) -> None:
        async with self.http.post(f"{self.base}/_ctl/{what}", json=body) as response:
            assert response.status == 200, await response.text()

    async def inbound(self, count: int) -> None:
        """So many residents have just written: five messages to each are allowed."""
        waiting = iter(range(count))

        async def worker() -> None:
            for n in waiting:
                await self.control("inbound", {"openid": _openid(n)})

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))

    async def token(self) -> str:
        settings = config("sqlite+aiosqlite:///unused", self.base).channels[0]
        assert settings.kind == "official_account"
        body = {
            "grant_type": "client_credential",
            "appid": APP_ID,
            "secret": settings.secret.get_secret_value(),
        }
        async with self.http.post(f"{self.base}/cgi-bin/stable_token", json=body) as response:
            token: str = (await response.json(content_type=None))["access_token"]
            return token

    async def bare(self, path: str, bodies: Sequence[object]) -> float:
        """Post the same with nothing kept anywhere, as many at once as the outbox has; seconds."""
        token, waiting = await self.token(), iter(bodies)

        async def worker() -> None:
            for body in waiting:
                url = f"{self.base}/cgi-bin/{path}"
                async with self.http.post(url, params={"access_token": token}, json=body) as response:
                    assert (await response.json(content_type=None))["errcode"] == 0

        started = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        return time.perf_counter() - started


# -- the station ------------------------------------------------------------------------------------------------------


async def _station(base: str, folder: Path, name: str) -> Program:
    settings = config(f"sqlite+aiosqlite:///{folder}/{name}.db", base)
    await prepare(settings)
    return (await create_app(settings))[PROGRAM]


async def _close(program: Program) -> None:
    await program.dispatcher.close()
    for channel in program.channels.values():
        await channel.close()
    await program.runtime.store.close()


async def _fill(program: Program, count: int, *, replies: bool) -> None:
    """So many residents; with `replies`, each has just written and a reply waits for him in the outbox."""
    station_id, now = program.runtime.station.id, clock.now()
    base = {"station_id": station_id, "created_at": now}
    for start in range(0, count, _ROWS):
        places = range(start, min(start + _ROWS, count))
        async with program.runtime.store.write() as session:
            people = (
                (
                    await session.execute(
                        insert(Resident).returning(Resident.id), [{**base, "language": "zh"} for _ in places]
                    )
                )
                .scalars()
                .all()
            )
            grant = {"window_until": now + broadcasts.DEFAULT_LIFE, "window_left": 5} if replies else {}
            addresses = (
                (
                    await session.execute(
                        insert(ResidentAddress).returning(ResidentAddress.id),
                        [
                            {**base, "resident_id": person, "channel": CHANNEL, "address": _openid(n), **grant}
                            for n, person in zip(places, people, strict=True)
                        ],
                    )
                )
                .scalars()
                .all()
            )
            if replies:
                await _queue(session, base, list(zip(places, people, addresses, strict=True)))


async def _queue(session: object, base: dict[str, object], who: Sequence[tuple[int, int, int]]) -> None:
    execute: Callable[..., Awaitable[object]] = session.execute  # type: ignore[attr-defined]
    now = base["created_at"]
    talks: object = await execute(
        insert(Conversation).returning(Conversation.id),
        [{**base, "address_id": address, "resident_id": person, "channel": CHANNEL} for _, person, address in who],
    )
    conversations = talks.scalars().all()  # type: ignore[attr-defined]
    said: object = await execute(
        insert(StoredMessage).returning(StoredMessage.id),
        [
            {
                **base,
                "conversation_id": talk,
                "direction": Direction.OUT,
                "author": Author.BOT,
                "channel": CHANNEL,
                "address": _openid(n),
                "kind": MessageKind.TEXT,
                "body": "请带身份证到派出所办理。",
                "sent_at": now,
                "state": MessageState.HANDLED,
            }
            for (n, _, _), talk in zip(who, conversations, strict=True)
        ],
    )
    messages = said.scalars().all()  # type: ignore[attr-defined]
    await execute(
        insert(Delivery),
        [
            {
                **base,
                "message_id": message,
                "resident_id": person,
                "address_id": address,
                "channel": CHANNEL,
                "route": DeliveryRoute.OUTBOX,
                "state": DeliveryState.QUEUED,
                "rank": 0,
                "retry_at": now,
            }
            for (_, person, address), message in zip(who, messages, strict=True)
        ],
    )


async def _warning(program: Program) -> int:
    """An approved warning for everybody; its number."""
    async with program.runtime.store.write() as session:
        station_id = program.runtime.station.id
        officer = Officer(
            station_id=station_id, username="bench", name="测试", role=Role.OFFICER, duty={}, created_at=clock.now()
        )
        session.add(officer)
        await session.flush()
        draft = Draft(title="提醒", body="先问民警再转账。", audience=Audience())
        broadcast = await broadcasts.create(session, officer, draft, actor=Actor(station_id, officer.id))
        broadcast.state, broadcast.seal = BroadcastState.APPROVED, broadcasts.seal_of(broadcast)
        return broadcast.id


async def _send(program: Program, number: int) -> float:
    """What the clock does, until the platform has every recipient and each is written down; the seconds until the
    platform had them."""
    started, submitted = time.perf_counter(), 0.0
    for _ in range(_TICKS_MOST):
        await jobs.move_broadcasts(program.desk)
        sending = asyncio.create_task(jobs.send_mass(program.desk))
        while not submitted and not sending.done():
            await asyncio.sleep(0.05)
            async with program.runtime.store.read() as session:
                known = await results.mass_summary(session, number)
            if known is not None and known.submitted == known.size:
                submitted = time.perf_counter() - started
        await sending
        async with program.runtime.store.read() as session:
            found = await results.progress(session, number)
            begun = (await session.get_one(Broadcast, number)).expanded
        if begun and found.submitted == found.total:
            return submitted
    raise RuntimeError("the warning did not end")


# -- what is measured -------------------------------------------------------------------------------------------------


async def _replies(platform: Platform, folder: Path) -> None:
    program = await _station(platform.base, folder, "replies")
    await _fill(program, REPLIES, replies=True)
    await platform.inbound(REPLIES)
    await platform.control("fault", {"path": "custom/send", "effect": "delay", "value": LATENCY_SECONDS})
    before = _peak_megabytes()
    started = time.perf_counter()
    sent = await program.outbox.work()
    ours = time.perf_counter() - started
    assert sent == REPLIES, sent
    more = _peak_megabytes() - before
    await _close(program)
    texts = [{"touser": _openid(n), "msgtype": "text", "text": {"content": "请带身份证。"}} for n in range(REPLIES)]
    bare = await platform.bare("message/custom/send", texts)
    await platform.control("faults/clear", {})
    least = REPLIES * LATENCY_SECONDS / AT_ONCE
    print(f"{REPLIES} replies at {LATENCY_SECONDS * 1000:.0f} ms, {AT_ONCE} at once: at least {least:.1f} s")
    print(f"  bare client loop {bare:6.1f} s  {REPLIES / bare:7.0f}/s")
    print(
        f"  outbox           {ours:6.1f} s  {REPLIES / ours:7.0f}/s  ratio {bare / ours:.2f}, {more} MB more",
        flush=True,
    )


async def _mass(platform: Platform, folder: Path) -> None:
    program = await _station(platform.base, folder, "mass")
    await _fill(program, RECIPIENTS, replies=False)
    number = await _warning(program)
    started = time.perf_counter()
    submitted = await _send(program, number)
    ours = time.perf_counter() - started
    calls = await _mass_calls(program, number)
    assert calls <= 11, calls
    await _close(program)
    size = -(-RECIPIENTS // calls)
    lists = [[_openid(n) for n in range(RECIPIENTS)][start : start + size] for start in range(0, RECIPIENTS, size)]
    bodies = [
        {"touser": openids, "msgtype": "text", "text": {"content": "先问民警。"}, "clientmsgid": f"bare{n}"}
        for n, openids in enumerate(lists)
    ]
    bare = await platform.bare("message/mass/send", bodies)
    print(f"a warning to {RECIPIENTS} openids, each with a row and a line in his conversation")
    print(f"  bare client loop {bare:6.1f} s  {len(lists)} calls, nothing kept")
    print(f"  mass sender      {submitted:6.1f} s  {calls} calls  ratio {bare / submitted:.2f}, from the approval on")
    print(f"  all written down {ours:6.1f} s", flush=True)


async def _mass_calls(program: Program, number: int) -> int:
    async with program.runtime.store.read() as session:
        found = await results.mass_summary(session, number)
    assert found is not None
    return found.jobs


async def _writers(platform: Platform, folder: Path) -> None:
    """1,000 residents ask something, spread over the time of the mass; then the same without it."""
    program = await _station(platform.base, folder, "writers")
    await _fill(program, RECIPIENTS, replies=False)
    await _ask_all(program, "first", lambda: True)  # the first message of a resident makes his conversation
    quiet = await _ask_all(program, "quiet", lambda: True)
    number = await _warning(program)
    sending = asyncio.create_task(_send(program, number))
    busy = await _ask_all(program, "busy", sending.done)
    await sending
    await _close(program)
    print(f"{WRITERS} residents write while the warning goes out: 95th percentile of their answer")
    print(f"  without it {_p95(quiet) * 1000:6.0f} ms")
    print(f"  during it  {_p95(busy) * 1000:6.0f} ms  ratio {_p95(busy) / _p95(quiet):.1f}", flush=True)


async def _ask_all(program: Program, name: str, over: Callable[[], bool]) -> list[float]:
    """A hundred a second; the time each waited for his answer."""
    waits: list[float] = []

    async def ask(n: int) -> None:
        message = Message(
            channel=CHANNEL,
            sender=_openid(n),
            platform_id=f"{name}{n}",
            kind=MessageKind.TEXT,
            sent_at=clock.now(),
            text="身份证丢了怎么办",
        )
        started = time.perf_counter()
        answer = await program.dispatcher.feed(message, wait_seconds=4.0)
        waits.append(time.perf_counter() - started)
        if answer is not None:
            answer.confirm()

    asking = []
    for n in range(WRITERS):
        asking.append(asyncio.create_task(ask(n)))
        if n % 10 == 9:
            await asyncio.sleep(0.1)  # a hundred a second: the evening of a warning
    await asyncio.gather(*asking)
    if not over():
        print("  (the warning was still going out when the last had his answer)")
    return waits


def _p95(waits: Sequence[float]) -> float:
    return statistics.quantiles(waits, n=20)[-1]


def _peak_megabytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM"))


async def _with_platform(measure: Callable[[Platform, Path], Awaitable[None]], folder: Path) -> None:
    fake = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.wechat", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert fake.stdout is not None
    try:
        base = (await fake.stdout.readline()).decode().split()[-1]
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as http:
            await measure(Platform(base, http), folder)
    finally:
        fake.kill()
        await fake.wait()


def main(arguments: Sequence[str]) -> None:
    """All three, or those named: replies, mass, writers."""
    uvloop.install()
    for measure in (_replies, _mass, _writers):
        if not arguments or measure.__name__.lstrip("_") in arguments:
            with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
                asyncio.run(_with_platform(measure, Path(folder)))

"""Deliveries a second into the fake WeChat: the outbox beside a bare loop of HTTP calls."""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import uvloop

from bot import clock
from bot.actions import broadcasts, conversations
from bot.actions.audit import Actor
from bot.actions.broadcasts import Audience, Draft
from bot.actions.conversations import Address
from bot.app import PROGRAM, create_app
from bot.store.models import Broadcast, BroadcastState, Officer, Role
from scheduler import jobs
from tests.bench.servers import CHANNEL, config, prepare
from tests.fakes.wechat import pusher

RECIPIENTS = 1000
_TICKS_MOST = 200  # a warning that has not ended by then never will
AT_ONCE = 32  # as many calls under way as the outbox has


def _openid(n: int) -> str:
    return f"o{n:027d}"


async def _bare(base: str) -> float:
    """Post the same messages with nothing kept anywhere."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as http:
        token = await _token(http, base)
        waiting = iter(range(RECIPIENTS))

        async def worker() -> None:
            for n in waiting:
                body = {"touser": _openid(n), "msgtype": "text", "text": {"content": "【提醒】先问民警再转账。"}}
                url = f"{base}/cgi-bin/message/custom/send"
                async with http.post(url, params={"access_token": token}, json=body) as response:
                    assert (await response.json(content_type=None))["errcode"] == 0

        started = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        return RECIPIENTS / (time.perf_counter() - started)


async def _token(http: aiohttp.ClientSession, base: str) -> str:
    settings = config("sqlite+aiosqlite:///unused", base).channels[0]
    assert settings.kind == "official_account"
    body = {
        "grant_type": "client_credential",
        "appid": pusher.APP_ID,
        "secret": settings.secret.get_secret_value(),
    }
    async with http.post(f"{base}/cgi-bin/stable_token", json=body) as response:
        token: str = (await response.json(content_type=None))["access_token"]
        return token


async def _ours(base: str, database_url: str) -> float:
    """A warning to as many residents: each delivery claimed, sent, and written down as it ended."""
    settings = config(database_url, base)
    await prepare(settings)
    app = await create_app(settings)
    program = app[PROGRAM]
    runtime = program.runtime
    async with runtime.store.write() as session:
        officer = Officer(
            station_id=runtime.station.id,
            username="bench",
            name="测试",
            role=Role.OFFICER,
            duty={},
            created_at=clock.now(),
        )
        session.add(officer)
        for n in range(RECIPIENTS):
            await conversations.ensure(session, runtime.station.id, Address(CHANNEL, _openid(n)), now=clock.now())
        await session.flush()
        actor = Actor(runtime.station.id, officer.id)
        draft = Draft(title="提醒", body="先问民警再转账。", audience=Audience())
        broadcast = await broadcasts.create(session, officer, draft, actor=actor)
        broadcast.state, broadcast.seal = BroadcastState.APPROVED, broadcasts.seal_of(broadcast)
        number = broadcast.id
    started = time.perf_counter()
    for _ in range(_TICKS_MOST):
        await jobs.move_broadcasts(program.desk)
        async with runtime.store.read() as session:
            if (await session.get_one(Broadcast, number)).state is BroadcastState.DONE:
                break
    else:
        raise RuntimeError("the warning did not end")
    seconds = time.perf_counter() - started
    async with runtime.store.read() as session:
        assert (await broadcasts.progress(session, number)).arrived == RECIPIENTS
    for channel in program.channels.values():
        await channel.close()
    await runtime.store.close()
    return RECIPIENTS / seconds


async def _open_windows(base: str) -> None:
    """Every resident has just written, so that five messages to each are allowed."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as http:
        for n in range(RECIPIENTS):
            async with http.post(f"{base}/_ctl/inbound", json={"openid": _openid(n)}) as response:
                assert response.status == 200


async def _with_fake(folder: Path) -> tuple[float, float]:
    fake = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.wechat", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert fake.stdout is not None
    try:
        base = (await fake.stdout.readline()).decode().strip()
        await _open_windows(base)
        return await _bare(base), await _ours(base, f"sqlite+aiosqlite:///{folder}/deliveries.db")
    finally:
        fake.kill()
        await fake.wait()


def main(_arguments: Sequence[str]) -> None:
    """1,000 recipients, the fake in a process of its own."""
    uvloop.install()
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        bare, ours = asyncio.run(_with_fake(Path(folder)))
    print(f"bare client loop {bare:8.0f}/s")
    print(f"outbox           {ours:8.0f}/s   ratio {ours / bare:.2f}", flush=True)

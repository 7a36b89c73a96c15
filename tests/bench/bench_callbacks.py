"""Callbacks a second: the whole program beside a bare handler, on SQLite and on PostgreSQL."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import uvloop

from bot.store.encryption import new_key
from tests.bench.servers import CHANNEL
from tests.fakes.wechat.delivery import Signed
from tests.fakes.wechat.pusher import Pusher
from tests.support.postgres import private_cluster

RESIDENTS = 300
QUESTIONS = (
    "身份证丢了怎么补办", "孩子上户口要什么材料", "居住证要办多久", "周六上班吗", "护照第一次办多少钱",
    "电动车要上牌吗",
    "驾照到期怎么换", "无犯罪记录证明怎么开", "96110是真的吗", "户口本丢了怎么办",
)  # fmt: skip
OPENINGS = (
    "", "你好，", "您好，", "警官好，", "请问", "麻烦问一下，", "想问问", "打扰了，", "在吗，", "咨询一下，",
    "我想知道", "民警同志，", "群里说的，", "帮我看看，", "再问一句，",
    "早上好，", "晚上好，", "我妈让我问，", "老师好，", "急，",
)  # fmt: skip
ENDINGS = (
    "", "？", "，谢谢", "，多谢", "啊", "呢", "，急用", "，麻烦了", "，明天就去", "，我在外地", "，周末去",
    "，带着孩子", "，我是房东", "，我刚搬来", "，听邻居说的", "，不着急", "，给个准话", "，我七十了", "，下午过去",
    "，在线等",
)  # fmt: skip
CALLBACKS = 3000
CONNECTIONS = 64
HALF_LOAD_SECONDS = 8


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    started_seconds: float
    process: asyncio.subprocess.Process

    async def stop(self) -> int:
        """Ends it; returns its largest memory in MB."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        peak = int(await self.process.stdout.readline())
        await self.process.wait()
        return peak


@dataclass(frozen=True, slots=True)
class Measured:
    per_second: float  # everybody asks in his own way
    same_per_second: float  # the same ten texts again and again
    p99_half_ms: float
    started_seconds: float
    peak_megabytes: int


@asynccontextmanager
async def server(kind: str, database_url: str, api_base: str = "") -> AsyncIterator[Server]:
    """A child process of tests.bench.servers."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.servers",
        kind,
        database_url,
        *([api_base] if api_base else []),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OFFICER_DATA_KEY": os.environ.get("OFFICER_DATA_KEY", new_key())},
    )
    assert process.stdout is not None
    try:
        port, started = (await process.stdout.readline()).split()
        yield Server(f"http://127.0.0.1:{int(port)}", float(started), process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _signed(pusher: Pusher, count: int, tag: str, *, same: bool = False) -> list[Signed]:
    """Requests signed beforehand, so that the load costs little on its own core."""
    now = int(time.time())
    return [
        pusher.sign(
            {
                "ToUserName": pusher.account,
                "FromUserName": f"o{n % RESIDENTS:027d}",
                "CreateTime": str(now),
                "MsgType": "text",
                "Content": _asked(0 if same else n // len(QUESTIONS), QUESTIONS[n % len(QUESTIONS)]),
                "MsgId": str(10**16 + hash((tag, n)) % 10**15),
            }
        )
        for n in range(count)
    ]


def _asked(way: int, question: str) -> str:
    """A question in one of 400 ways: so many that none is met again while it is remembered."""
    return OPENINGS[way % len(OPENINGS)] + question + ENDINGS[way // len(OPENINGS) % len(ENDINGS)]


async def _flat_out(url: str, requests: Sequence[Signed]) -> float:
    """All requests over a few connections, as fast as they are answered; requests a second."""
    waiting = iter(requests)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def worker() -> None:
            for request in waiting:
                async with http.post(url, params=request.query, data=request.body) as response:
                    body = await response.read()
                    assert response.status == 200, response.status
                    assert b"Encrypt" in body, body[:80]

        started = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
        return len(requests) / (time.perf_counter() - started)


async def _paced(url: str, requests: Sequence[Signed], per_second: float) -> float:
    """Requests at an even pace; the time within which 99 of 100 were answered, in milliseconds."""
    times: list[float] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def one(request: Signed) -> None:
            began = time.perf_counter()
            async with http.post(url, params=request.query, data=request.body) as response:
                await response.read()
                assert response.status == 200
            times.append(time.perf_counter() - began)

        started, tasks = time.perf_counter(), []
        for n, request in enumerate(requests):
            await asyncio.sleep(max(0.0, started + n / per_second - time.perf_counter()))
            tasks.append(asyncio.create_task(one(request)))
        await asyncio.gather(*tasks)
    return sorted(times)[int(len(times) * 0.99)] * 1000


async def _measure(kind: str, database_url: str) -> Measured:
    async with server(kind, database_url) as running:
        url = f"{running.url}/callback/{CHANNEL}"
        pusher = Pusher(url)
        await _flat_out(url, _signed(pusher, RESIDENTS, f"w{kind}"))  # residents become known, caches warm
        same_per_second = await _flat_out(url, _signed(pusher, CALLBACKS, f"s{kind}", same=True))
        per_second = await _flat_out(url, _signed(pusher, CALLBACKS, f"f{kind}"))
        half = _signed(pusher, int(per_second / 2 * HALF_LOAD_SECONDS), f"h{kind}")
        p99 = await _paced(url, half, per_second / 2)
        return Measured(per_second, same_per_second, p99, running.started_seconds, await running.stop())


async def _compare(name: str, full_url: str, bare_url: str) -> None:
    bare, full = await _measure("bare", bare_url), await _measure("full", full_url)
    for label, measured in (("bare handler", bare), ("whole program", full)):
        print(
            f"{name:<11}{label:<15}{measured.per_second:8.0f}/s{measured.same_per_second:8.0f}/s of ten texts"
            f"   99% under {measured.p99_half_ms:6.1f} ms at half load"
            f"   start {measured.started_seconds:4.1f} s   {measured.peak_megabytes:4d} MB"
        )
    ratio, same = full.per_second / bare.per_second, full.same_per_second / bare.same_per_second
    print(f"{name:<11}{'ratio':<15}{ratio:10.2f}{same:10.2f}   (at least 0.50)", flush=True)


def main(_arguments: Sequence[str]) -> None:
    """Safe mode, one core for the server, the load from the other; 300 residents ask after ten matters."""
    uvloop.install()
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        urls = [f"sqlite+aiosqlite:///{folder}/{kind}.db" for kind in ("full", "bare")]
        asyncio.run(_compare("SQLite", *urls))
    with private_cluster(fsync=True) as cluster:
        asyncio.run(_compare("PostgreSQL", cluster.fresh_database(), cluster.fresh_database()))

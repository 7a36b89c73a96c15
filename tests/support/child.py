"""A station's process that can be killed at a chosen moment: it says on its standard output how far it has come."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

import handlers
from bot import clock
from bot.actions import recipients, streams
from bot.router import Answer, Context
from bot.store.models import Broadcast
from scheduler import jobs
from tests.support.kf import kf_of
from tests.support.station import House, text_message

PROJECT = Path(__file__).parent.parent.parent
_START_SECONDS = 90
KILLED_QUESTION = "身份证丢了怎么办"
COMMITTED, ANSWERING, HANDLING = "o-committed", "o-answering", "o-handling"


# -- on the test's side -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def killed_while(scenario: str, url: str, *more: str) -> AsyncIterator[None]:
    """Run a scenario in a process of its own until it says that it is there, then kill it as a power cut would.

    `more`: what else the scenario needs, such as the emulator's address.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.support.child", scenario, url, clock.now().isoformat(), *more),
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(PROJECT))},
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        await _wait_for(child, scenario)
        child.send_signal(signal.SIGKILL)
        assert await child.wait() == -signal.SIGKILL
        yield
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def _wait_for(child: Process, said: str) -> None:
    assert child.stdout is not None
    assert child.stderr is not None
    line = await asyncio.wait_for(child.stdout.readline(), _START_SECONDS)
    if line.decode().strip() != said:
        child.kill()
        raise AssertionError(f"it said {line!r} instead of {said!r}: {(await child.stderr.read()).decode()[-3000:]}")


# -- in the child -----------------------------------------------------------------------------------------------------


async def _say_and_wait(said: str) -> None:
    sys.stdout.write(f"{said}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()  # until killed


async def _talking(url: str) -> None:
    """Three residents wrote. One has his answer waiting in the outbox; one has it ready for the response, which is not
    written yet; the last one's message is stored, and deciding on it never ends."""

    async def route(context: Context) -> Answer:
        if context.message.sender == HANDLING:
            await _say_and_wait("talking")
        return await handlers.answer(context)

    async with House.opened(url, route=route) as house:
        await house.feed(text_message(KILLED_QUESTION, COMMITTED, platform_id="killed"), wait_seconds=0)
        await house.dispatcher.close()
        await house.feed(text_message(KILLED_QUESTION, ANSWERING, platform_id="killed"))
        await house.feed(text_message(KILLED_QUESTION, HANDLING, platform_id="killed"))


async def _sending(url: str) -> None:
    """What waits in the outbox is claimed and on its way; the platform's answer never comes."""
    async with House.opened(url) as house:
        house.channel.before_taking = lambda: _say_and_wait("sending")
        await house.outbox.work()


_Expand = Callable[..., Coroutine[Any, Any, int]]


def _second_never_commits(said: str, expand: _Expand) -> _Expand:
    chunks = 0

    async def expand_and_stop(session: AsyncSession, broadcast: Broadcast, *rules: Any) -> int:
        nonlocal chunks
        written = await expand(session, broadcast, *rules)
        chunks += 1
        if chunks == 2:
            await _say_and_wait(said)
        return written

    return expand_and_stop


async def _expanding(url: str) -> None:
    """A warning has its first delivery rows; the transaction with the next ones is never committed."""
    recipients.CHUNK_RESIDENTS = 3
    recipients.expand = _second_never_commits("expanding", recipients.expand)
    async with House.opened(url) as house:
        await jobs.move_broadcasts(house.desk)


async def _skipping(url: str) -> None:
    """The same with the rows of those whom a stopped warning never reached."""
    recipients.CHUNK_SKIPPED = 3
    recipients.expand_skipped = _second_never_commits("skipping", recipients.expand_skipped)
    async with House.opened(url) as house:
        await jobs.move_broadcasts(house.desk)


async def _fetched(url: str, platform: str) -> None:
    """A page of 微信客服 is in hand and written; its transaction is never committed."""
    keep = streams.keep

    async def keep_and_stop(*arguments: Any, **more: Any) -> object:
        written = await keep(*arguments, **more)
        await _say_and_wait("fetched")
        return written

    streams.keep = keep_and_stop  # type: ignore[assignment]
    async with House.opened(url) as house:
        await kf_of(house, platform).pull()


async def _kept(url: str, platform: str) -> None:
    """A page of 微信客服 is committed; handling its messages has not begun."""
    async with House.opened(url) as house:
        house.dispatcher.handle = lambda *_, **__: _say_and_wait("kept")  # type: ignore[method-assign]
        await kf_of(house, platform).pull()


_SCENARIOS: dict[str, Callable[..., Awaitable[None]]] = {
    "talking": _talking,
    "sending": _sending,
    "expanding": _expanding,
    "skipping": _skipping,
    "fetched": _fetched,
    "kept": _kept,
}


def main() -> None:
    scenario, url, now, *more = sys.argv[1:]
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # the other end reads what we say
    moment = datetime.fromisoformat(now)
    clock.set_source(lambda: moment)
    asyncio.run(_run(_SCENARIOS[scenario], url, *more))


async def _run(scenario: Callable[..., Awaitable[None]], *arguments: str) -> None:
    await scenario(*arguments)


if __name__ == "__main__":
    main()

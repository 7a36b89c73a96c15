"""How the platform delivers to a callback: five seconds for an answer, then again, three times in all."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Self

import aiohttp

Verdict = Literal["silent", "reply", "fault notice"]


@dataclass(frozen=True)
class Attempt:
    """One delivery: the answer, or why there was none."""

    status: int | None
    body: bytes
    seconds: float
    error: str = ""


@dataclass
class Push:
    """One message with all its deliveries. `verdict` is what the resident's phone shows."""

    fields: dict[str, str]
    attempts: list[Attempt] = field(default_factory=list)
    verdict: Verdict = "fault notice"
    reply: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int | None:
        return self.attempts[-1].status

    @property
    def body(self) -> bytes:
        return self.attempts[-1].body

    @property
    def text(self) -> str:
        """The words of the answer, "" if there is none."""
        return self.reply.get("Content", "")


@dataclass
class Signed:
    """A request as it goes over the wire; sent again as it is, it is a replay."""

    query: dict[str, str]
    body: bytes


class Deliverer:
    """Delivers to one callback. `again_on_error`: whether an HTTP error also brings a new delivery; not documented."""

    def __init__(self, url: str, *, again_on_error: bool = False) -> None:
        self.url, self.again_on_error = url, again_on_error
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    @property
    def http(self) -> aiohttp.ClientSession:
        assert self._http is not None, "use it as `async with …`"
        return self._http

    async def deliver(self, request: Signed, timeout_seconds: float = 5.0) -> Attempt:
        started = time.perf_counter()
        try:
            async with self.http.post(
                self.url,
                params=request.query,
                data=request.body,
                headers={"Content-Type": "text/xml"},
                timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            ) as response:
                body = await response.read()
                return Attempt(response.status, body, time.perf_counter() - started)
        except (TimeoutError, aiohttp.ClientError) as error:
            return Attempt(None, b"", time.perf_counter() - started, type(error).__name__)

    async def check(self, query: dict[str, str], timeout_seconds: float = 5.0) -> Attempt:
        """The GET with which the platform checks an address."""
        started = time.perf_counter()
        timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        try:
            async with self.http.get(self.url, params=query, timeout=timeout) as response:
                return Attempt(response.status, await response.read(), time.perf_counter() - started)
        except (TimeoutError, aiohttp.ClientError) as error:
            return Attempt(None, b"", time.perf_counter() - started, type(error).__name__)

    async def repeat(
        self,
        make: Callable[[], Signed],
        *,
        deliveries: int,
        timeout_seconds: float,
        always: bool,
        same_bytes: bool,
        concurrent: bool,
    ) -> list[Attempt]:
        """Deliver until somebody answers, `deliveries` times at most; with `always` or `concurrent`, exactly so often.

        `same_bytes` repeats timestamp, nonce and ciphertext; the platform's documents do not say whether it does.
        """
        first = make()
        requests = [first if same_bytes or n == 0 else make() for n in range(deliveries)]
        if concurrent:
            return list(await asyncio.gather(*(self.deliver(one, timeout_seconds) for one in requests)))
        attempts = []
        for request in requests:
            attempts.append(await self.deliver(request, timeout_seconds))
            if not always and not self._delivers_again(attempts[-1]):
                break
        return attempts

    def _delivers_again(self, attempt: Attempt) -> bool:
        return attempt.status is None or (self.again_on_error and attempt.status != 200)

"""Group commit: callers that arrive while a batch is being worked on form the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Calls `work` with all items waiting, one batch at a time; each caller gets the result of its own item.

    A lone caller is a batch of one and waits for nobody. `work` returns one result for each item, in order; what it
    raises reaches every caller of that batch, unless `is_of_one` says that a single item can cause such an error: then
    each item is tried by itself, so that one resident's odd message is not refused to all who wrote at that moment.
    Batchers that share a `turnstile` work one after the other, and each takes its items only when its turn has come:
    what writes to the same database so gathers more while another writes. Tried before: one transaction for each
    callback reached a tenth of a bare handler's rate; batches without a turnstile stayed at five, see tests/bench.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        most: int = 64,
        is_of_one: Callable[[Exception], bool] = lambda _: False,
        turnstile: asyncio.Lock | None = None,
    ) -> None:
        self._work, self._most, self._is_of_one = work, most, is_of_one
        self._turnstile = turnstile or asyncio.Lock()
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._worker is None:
            self._worker = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        while self._waiting:
            batch: Sequence[tuple[Item, asyncio.Future[Result]]] = ()
            try:
                async with self._turnstile:
                    batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                    await self._work_on(batch)
            except BaseException:  # the loop is ending: nobody may wait for what will never come
                for _, future in (*batch, *self._waiting):
                    future.cancel()
                self._waiting = []
                self._worker = None
                raise
        self._worker = None

    async def _work_on(self, batch: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._work([item for item, _ in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for {len(batch)} items")
        except Exception as error:
            if len(batch) > 1 and self._is_of_one(error):
                for one in batch:
                    await self._work_on([one])
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)

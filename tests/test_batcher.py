"""Group commit: whoever comes together goes together, each with his own result."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.batcher import Batcher
from tests.support.station import SOON_SECONDS


class Work:
    """Doubles numbers; refuses what it is told to refuse, as one transaction would: all of the batch or none."""

    def __init__(self, refused: Sequence[int] = ()) -> None:
        self.batches: list[list[int]] = []
        self.done: list[int] = []
        self.refused = set(refused)

    async def __call__(self, batch: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(batch))
        await asyncio.sleep(0)
        if bad := self.refused.intersection(batch):
            raise ValueError(f"refused {sorted(bad)}")
        self.done += batch
        return [item * 2 for item in batch]


@given(items=st.lists(st.integers(0, 50), max_size=60), most=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_everybody_gets_his_own_result_in_batches_of_the_right_size(items: list[int], most: int) -> None:
    async def run() -> Work:
        work = Work()
        batcher: Batcher[int, int] = Batcher(work, most=most)
        assert await asyncio.gather(*(batcher(item) for item in items)) == [item * 2 for item in items]
        return work

    work = asyncio.run(run())
    assert work.done == items  # in the order in which they came
    assert all(len(batch) <= most for batch in work.batches)
    assert len(work.batches) == -(-len(items) // most)


@given(items=st.lists(st.integers(0, 9), max_size=30), refused=st.sets(st.integers(0, 9)), most=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_one_that_is_refused_spoils_nobody_elses(items: list[int], refused: set[int], most: int) -> None:
    async def run() -> None:
        work = Work(list(refused))
        batcher: Batcher[int, int] = Batcher(work, most=most, is_of_one=lambda error: isinstance(error, ValueError))
        results = await asyncio.gather(*(batcher(item) for item in items), return_exceptions=True)
        for item, result in zip(items, results, strict=True):
            assert isinstance(result, ValueError) if item in refused else result == item * 2
        assert work.done == [item for item in items if item not in refused]

    asyncio.run(run())


async def test_an_error_of_all_reaches_everybody_of_that_batch_and_nobody_else() -> None:
    work = Work([3])
    batcher: Batcher[int, int] = Batcher(work, most=2)
    results = await asyncio.gather(*(batcher(item) for item in (1, 2, 3, 4, 5)), return_exceptions=True)
    assert [type(result) for result in results] == [int, int, ValueError, ValueError, int]
    assert await batcher(6) == 12  # and it works on


async def test_a_lone_caller_waits_for_nobody_and_those_behind_him_go_together() -> None:
    started, go_on, batches = asyncio.Event(), asyncio.Event(), list[list[int]]()

    async def slow(batch: Sequence[int]) -> Sequence[int]:
        batches.append(list(batch))
        started.set()
        await go_on.wait()
        return batch

    batcher: Batcher[int, int] = Batcher(slow)
    first = asyncio.create_task(batcher(1))
    await started.wait()
    others = [asyncio.create_task(batcher(item)) for item in (2, 3, 4)]
    await asyncio.sleep(0)
    go_on.set()
    assert await asyncio.gather(first, *others) == [1, 2, 3, 4]
    assert batches == [[1], [2, 3, 4]]


async def test_a_caller_who_went_away_disturbs_nobody() -> None:
    work = Work()
    batcher: Batcher[int, int] = Batcher(work)
    impatient, patient = asyncio.create_task(batcher(1)), asyncio.create_task(batcher(2))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient == 4
    assert impatient.cancelled()
    assert work.done == [1, 2]


async def test_work_that_loses_a_result_is_an_error_and_no_endless_wait() -> None:
    async def forgetful(batch: Sequence[int]) -> Sequence[int]:
        return batch[1:]

    batcher: Batcher[int, int] = Batcher(forgetful)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="0 results for 1 items"):
            await asyncio.wait_for(batcher(1), SOON_SECONDS)


async def test_nobody_waits_for_a_worker_that_was_ended() -> None:
    started = asyncio.Event()

    async def endless(_batch: Sequence[int]) -> Sequence[int]:
        started.set()
        await asyncio.Event().wait()
        return []

    batcher: Batcher[int, int] = Batcher(endless, most=1)
    callers = [asyncio.create_task(batcher(item)) for item in (1, 2)]
    await started.wait()
    assert batcher._worker is not None
    batcher._worker.cancel()
    results = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), SOON_SECONDS)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 2

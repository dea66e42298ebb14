"""Merging inputs into batches: nothing is lost, nobody is passed over, little is padded."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.models import batching
from app.models.batching import WASTE, Batcher, BusyError, TooLargeError, chosen

LENGTHS = st.lists(st.integers(1, 3_000), min_size=1, max_size=60)


@given(lengths=LENGTHS, most=st.integers(1, 20_000), least=st.integers(0, 2_000))
def test_a_batch_holds_the_oldest_and_those_nearest_in_length(lengths: list[int], most: int, least: int) -> None:
    batch = chosen(lengths, most, least_tokens=least)
    held = [lengths[index] for index in batch]
    assert 0 in batch
    assert len(set(batch)) == len(batch)
    assert held == sorted(held)
    left = [length for index, length in enumerate(lengths) if index not in batch]
    assert not any(held[0] < length < held[-1] for length in left)
    size = held[-1] * len(held)
    if len(batch) > 1:
        assert size <= most
        assert size - sum(held) <= WASTE * size or size <= least


def test_inputs_of_one_length_fill_the_batch() -> None:
    assert len(chosen([100] * 50, 1_000)) == 10


def test_a_long_input_goes_alone() -> None:
    assert chosen([5_000, 10, 10], 1_000) == [0]


def test_a_small_batch_may_be_padded() -> None:
    assert chosen([10, 50], 1_000) == [0]
    assert chosen([10, 50], 1_000, waste=0.5) == [0, 1]
    assert chosen([10, 50], 1_000, least_tokens=100) == [0, 1]


class Device:
    """Runs batches as a model would, and remembers them."""

    def __init__(self, *, poison: int = -1, largest: int = 10**9) -> None:
        self.batches: list[list[list[int]]] = []
        self.free = threading.Event()
        self.free.set()
        self._poison = poison
        self._largest = largest

    def __call__(self, batch: Sequence[Sequence[int]]) -> list[int]:
        self.free.wait(10)
        self.batches.append([list(tokens) for tokens in batch])
        if any(self._poison in tokens for tokens in batch):
            raise RuntimeError("as the test wants it")
        if sum(map(len, batch)) > self._largest:
            raise TooLargeError("too large")
        return [sum(tokens) for tokens in batch]


@asynccontextmanager
async def batching_on(
    device: Device, *, max_tokens: int = 1_000, latency_s: float = 0.0
) -> AsyncIterator[Batcher[int]]:
    with ThreadPoolExecutor(1) as executor:
        batcher: Batcher[int] = Batcher(device, executor, max_tokens=max_tokens, latency_s=latency_s)
        batcher.start()
        try:
            yield batcher
        finally:
            device.free.set()
            await batcher.close()


@settings(max_examples=40, deadline=None)
@given(inputs=st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=30), min_size=1, max_size=40))
async def test_every_input_runs_exactly_once_and_gets_its_own_result(inputs: list[list[int]]) -> None:
    device = Device()
    async with batching_on(device, max_tokens=100) as batcher:
        results = await asyncio.gather(*(batcher.submit(tokens) for tokens in inputs))
    assert results == [sum(tokens) for tokens in inputs]
    assert sorted(tokens for batch in device.batches for tokens in batch) == sorted(inputs)
    assert all(max(map(len, batch)) * len(batch) <= 100 for batch in device.batches)


async def test_the_oldest_is_in_the_next_batch_however_odd_its_length() -> None:
    device = Device()
    async with batching_on(device, max_tokens=40) as batcher:
        device.free.clear()
        first = asyncio.create_task(batcher.submit([1]))
        await asyncio.sleep(0.05)  # it runs
        odd = asyncio.create_task(batcher.submit([7] * 30))
        await asyncio.sleep(0)
        others = [asyncio.create_task(batcher.submit([2] * 4)) for _ in range(50)]
        await asyncio.sleep(0)
        device.free.set()
        await asyncio.gather(first, odd, *others)
    assert [7] * 30 in device.batches[1]


async def test_requests_are_merged_while_the_device_is_busy() -> None:
    device = Device()
    async with batching_on(device) as batcher:
        device.free.clear()
        tasks = [asyncio.create_task(batcher.submit([n] * 5)) for n in range(60)]
        await asyncio.sleep(0.05)
        device.free.set()
        await asyncio.gather(*tasks)
    assert len(device.batches) <= 3
    assert batcher.batches == len(device.batches)


async def test_an_idle_device_waits_no_longer_than_the_latency_budget() -> None:
    device = Device()
    async with batching_on(device, latency_s=0.2) as batcher:
        started = asyncio.get_running_loop().time()
        first = asyncio.create_task(batcher.submit([1, 1]))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(batcher.submit([2, 2]))
        await asyncio.gather(first, second)
        took = asyncio.get_running_loop().time() - started
    assert device.batches == [[[1, 1], [2, 2]]]
    assert 0.19 <= took < 2


async def test_a_full_batch_does_not_wait() -> None:
    device = Device()
    async with batching_on(device, max_tokens=10, latency_s=30) as batcher:
        async with asyncio.timeout(5):
            await asyncio.gather(*(batcher.submit([1] * 5) for _ in range(2)))


async def test_batches_may_overlap_as_many_as_told() -> None:
    running, most = 0, 0
    count = threading.Lock()

    def run(batch: Sequence[Sequence[int]]) -> list[int]:
        nonlocal running, most
        with count:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with count:
            running -= 1
        return [sum(tokens) for tokens in batch]

    with ThreadPoolExecutor(4) as executor:
        batcher: Batcher[int] = Batcher(run, executor, max_tokens=4, latency_s=0, at_once=2)
        batcher.start()
        assert await asyncio.gather(*(batcher.submit([n] * 2) for n in range(20))) == [2 * n for n in range(20)]
        await batcher.close()
    assert most == 2


async def test_one_that_runs_alone_has_nothing_beside_it() -> None:
    running: set[tuple[int, ...]] = set()
    beside: dict[int, set[int]] = {}
    count = threading.Lock()

    def run(batch: Sequence[Sequence[int]]) -> list[int]:
        mine = tuple(tokens[0] for tokens in batch)
        with count:
            running.add(mine)
        time.sleep(0.01)
        with count:
            for one in mine:
                beside[one] = {other for others in running for other in others if other != one}
            running.discard(mine)
        return list(mine)

    with ThreadPoolExecutor(4) as executor:
        batcher: Batcher[int] = Batcher(run, executor, max_tokens=8, latency_s=0.01, at_once=2)
        batcher.start()
        results = await asyncio.gather(*(batcher.submit([n, n], alone=n % 7 == 3) for n in range(40)))
        await batcher.close()
    assert results == list(range(40))
    assert all(not beside[n] for n in range(40) if n % 7 == 3)
    assert any(beside[n] for n in range(40))


async def test_what_does_not_fit_beside_another_batch_is_tried_alone() -> None:
    held = 0
    count = threading.Lock()

    def run(batch: Sequence[Sequence[int]]) -> list[int]:
        nonlocal held
        size = sum(map(len, batch))
        with count:
            held += size
            fits = held <= 6
        time.sleep(0.02)
        with count:
            held -= size
        if not fits:
            raise TooLargeError("with what is beside it")
        return [tokens[0] for tokens in batch]

    with ThreadPoolExecutor(4) as executor:
        batcher: Batcher[int] = Batcher(run, executor, max_tokens=5, latency_s=0, at_once=2)
        batcher.start()
        assert await asyncio.gather(*(batcher.submit([n] * 5) for n in range(8))) == list(range(8))
        with pytest.raises(TooLargeError):
            await batcher.submit([1] * 7)
        await batcher.close()


async def test_each_input_is_told_before_it_runs() -> None:
    told: list[int] = []
    before: list[int] = []

    def run(batch: Sequence[Sequence[int]]) -> list[int]:
        before.append(len(told))
        return [tokens[0] for tokens in batch]

    def telling(n: int) -> Callable[[], Awaitable[None]]:
        async def begin() -> None:
            told.append(n)

        return begin

    with ThreadPoolExecutor(1) as executor:
        batcher: Batcher[int] = Batcher(run, executor, max_tokens=4, latency_s=0.01)
        batcher.start()
        await asyncio.gather(*(batcher.submit([n, n], begin=telling(n)) for n in range(6)))
        await batcher.close()
    assert before == [2, 4, 6]
    assert sorted(told) == list(range(6))


async def test_what_was_cancelled_is_not_run() -> None:
    device = Device()
    async with batching_on(device) as batcher:
        device.free.clear()
        first = asyncio.create_task(batcher.submit([1]))
        await asyncio.sleep(0.05)
        gone = asyncio.create_task(batcher.submit([2]))
        kept = asyncio.create_task(batcher.submit([3]))
        await asyncio.sleep(0.01)
        gone.cancel()
        device.free.set()
        assert list(await asyncio.gather(first, kept)) == [1, 3]
    assert [2] not in [tokens for batch in device.batches for tokens in batch]


async def test_an_input_that_fails_fails_alone() -> None:
    device = Device(poison=66)
    async with batching_on(device) as batcher:
        device.free.clear()
        tasks = [asyncio.create_task(batcher.submit([n, n])) for n in range(60, 70)]
        await asyncio.sleep(0.05)
        device.free.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert await batcher.submit([5]) == 5  # and it goes on
    assert [result for result in results if not isinstance(result, RuntimeError)] == [
        2 * n for n in range(60, 70) if n != 66
    ]


async def test_a_batch_beyond_the_devices_memory_is_halved() -> None:
    device = Device(largest=8)
    async with batching_on(device) as batcher:
        results = await asyncio.gather(*(batcher.submit([n] * 4) for n in range(10)))
        with pytest.raises(TooLargeError):
            await batcher.submit([1] * 9)
    assert results == [4 * n for n in range(10)]


async def test_too_many_waiting_inputs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MAX_WAITING", 3)
    device = Device()
    async with batching_on(device) as batcher:
        device.free.clear()
        first = asyncio.create_task(batcher.submit([1]))
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(batcher.submit([2])) for _ in range(3)]
        await asyncio.sleep(0.01)
        with pytest.raises(BusyError):
            await batcher.submit([3])
        device.free.set()
        await asyncio.gather(first, *waiting)


async def test_closing_cancels_whoever_waits() -> None:
    device = Device()
    async with batching_on(device, latency_s=60) as batcher:
        waiting = asyncio.create_task(batcher.submit([1]))
        await asyncio.sleep(0.01)
        await batcher.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_a_model_that_gives_too_few_results_gives_none() -> None:
    with ThreadPoolExecutor(1) as executor:
        batcher: Batcher[int] = Batcher(lambda batch: [], executor, max_tokens=10, latency_s=0)
        batcher.start()
        with pytest.raises(RuntimeError, match="0 results for 1 inputs"):
            await batcher.submit([1])
        await batcher.close()

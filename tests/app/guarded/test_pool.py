"""Calls: order, fairness, cancellation, recycling, and what may be called."""

from __future__ import annotations

import asyncio
import contextlib
import random
import weakref
from pathlib import Path
from typing import Any

import pytest

from app.guarded.pool import GuardedPool
from tests.app.guarded.support import FUNCTIONS, MakePool, run, until
from verifiers.base import GuardFault, GuardLimits, GuardResult


async def test_results_have_the_order_and_length_of_the_payloads(pool: GuardedPool) -> None:
    dice = random.Random(7)
    values: list[Any] = [1, 1.5, None, True, "\ud800", "\0", {}, {"a": []}]
    payloads = [[dice.choice(values), number] for number in range(1500)]
    assert await run(pool, "echo", payloads) == [GuardResult(payload) for payload in payloads]
    assert await run(pool, "echo", []) == []


async def test_a_large_payload_arrives_whole(pool: GuardedPool) -> None:
    [result] = await run(pool, "length", ["\u20ac" * 10_000_000])
    assert result.value == 10_000_000


async def test_concurrent_calls_get_their_own_results(pool: GuardedPool) -> None:
    calls = [run(pool, "echo", [f"{call}/{number}" for number in range(call)]) for call in range(60)]
    for call, results in enumerate(await asyncio.gather(*calls)):
        assert [result.value for result in results] == [f"{call}/{number}" for number in range(call)]


async def test_workers_share_a_call(pool: GuardedPool) -> None:
    results = await run(pool, "sleep", [0.01] * 40)
    assert results == [GuardResult(0.01)] * 40
    assert pool.workers_alive == 2


async def test_a_large_call_does_not_starve_a_small_one(make_pool: MakePool) -> None:
    pool = await make_pool(1)
    large = asyncio.create_task(run(pool, "sleep", [0.005] * 4096))
    await until(lambda: pool.workers_alive)
    for _ in range(3):
        assert await run(pool, "echo", [1]) == [GuardResult(1)]
    assert not large.done()
    large.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await large


async def test_a_chunk_that_turns_out_slow_is_taken_back_for_others(make_pool: MakePool) -> None:
    """Fast payloads make chunks grow; the slow ones after them must not hold the worker for a whole chunk."""
    pool = await make_pool(1)
    await run(pool, "sleep", [0] * 1000)
    slow = asyncio.create_task(run(pool, "sleep", [0.05] * 20))
    await until(lambda: pool.workers_alive)
    await asyncio.sleep(0)
    assert await run(pool, "echo", [1]) == [GuardResult(1)]
    assert not slow.done()
    assert await slow == [GuardResult(0.05)] * 20
    assert pool.kills == {}


async def test_a_cancelled_call_frees_its_workers_and_reaches_nobody(make_pool: MakePool, tmp_path: Path) -> None:
    pool = await make_pool(1)
    record = tmp_path / "record"
    task = asyncio.create_task(run(pool, "sleep_on_first_run", [str(record), str(record)]))
    await until(record.exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    [result] = await run(pool, "pid", [None])
    assert result.value != int(record.read_text())
    assert len(record.read_text().split()) == 1


async def test_a_worker_is_replaced_after_so_many_payloads(make_pool: MakePool) -> None:
    pool = await make_pool(1, recycle_after=2)
    pids = [(await run(pool, "pid", [None]))[0].value for _ in range(6)]
    assert [pids[0], pids[2], pids[4]] == [pids[1], pids[3], pids[5]]
    assert len(set(pids)) == 3


async def test_a_worker_that_has_grown_is_replaced(make_pool: MakePool) -> None:
    pool = await make_pool(1)
    pids = [result.value for result in await run(pool, "keep", [100] * 4)]
    assert len(set(pids)) == 2
    assert pool.kills == {}


async def test_a_large_payload_does_not_count_as_growth(make_pool: MakePool) -> None:
    pool = await make_pool(1)
    [before] = await run(pool, "pid", ["x"])
    assert await run(pool, "pid", ["\u20ac" * 10_000_000] * 3) == [before] * 3


async def test_a_finished_call_is_not_kept(pool: GuardedPool) -> None:
    class Payload(list[int]):
        pass

    payload = Payload()
    kept = weakref.ref(payload)
    await run(pool, "echo", [payload])
    await until(lambda: len(pool._idle) == 2)
    del payload
    assert kept() is None


async def test_idle_workers_end_and_come_back(make_pool: MakePool) -> None:
    pool = await make_pool(2, idle_s=0.1)
    assert pool.workers_alive == 0
    await run(pool, "sleep", [0.01] * 8)
    assert pool.workers_alive == 2
    await until(lambda: pool.workers_alive == 0)
    assert await run(pool, "echo", [1]) == [GuardResult(1)]
    assert pool.workers_alive == 1


@pytest.mark.parametrize(
    "function", ["os:system", FUNCTIONS, f"{FUNCTIONS}:", f"{FUNCTIONS}.x:echo", "functions:echo"]
)
async def test_only_functions_of_the_modules_are_run(pool: GuardedPool, function: str) -> None:
    with pytest.raises(ValueError, match="not a function of the guarded modules"):
        await pool.run(function, [1], limits=GuardLimits(), deadline=0.0)


async def test_a_pool_that_does_not_run_says_so(make_pool: MakePool) -> None:
    pool = GuardedPool(1, [FUNCTIONS])
    [before] = await run(pool, "echo", [1])
    assert before == GuardResult(fault=GuardFault.UNAVAILABLE, message="the guarded workers are not running")
    await pool.start()
    waiting = asyncio.create_task(run(pool, "sleep", [60]))
    await until(lambda: pool.workers_alive)
    await pool.close()
    stopped = GuardResult(fault=GuardFault.UNAVAILABLE, message="the guarded workers are stopping")
    assert await waiting == [stopped]
    assert await run(pool, "echo", [1]) == [stopped]

"""What guarding costs: calls of a trivial function through `GuardedPool` and through the standard library's pools.

`python -m bench.guarded_bench`. The peers bound nothing, and where they send chunks they answer only whole ones: a
payload that hangs or crashes takes its chunk, or the whole pool, with it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import statistics
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from app.guarded.pool import GuardedPool
from verifiers.base import GuardLimits

MODULES = ("builtins", "sympy", "math_verify")
SIZE = 2
BATCH = 512
BATCHES = 40
SINGLES = 2000
ROUNDS = 3
KILLS = 30
STARTS = 3
PAYLOADS = [f"{number}: the answer is \\boxed{{{number}}}. " * 10 for number in range(BATCH)]


async def _guarded(pool: GuardedPool, payloads: list[str]) -> list[int]:
    results = await pool.run("builtins:len", payloads, limits=GuardLimits(), deadline=time.monotonic() + 60)
    return [result.value for result in results]


async def _guarded_rates() -> tuple[float, float]:
    pool = GuardedPool(SIZE, MODULES)
    await pool.start()
    await _guarded(pool, PAYLOADS)
    began = time.perf_counter()
    for _ in range(BATCHES):
        assert await _guarded(pool, PAYLOADS) == list(map(len, PAYLOADS))
    batched = time.perf_counter()
    for number in range(SINGLES):
        await _guarded(pool, [PAYLOADS[number % BATCH]])
    ended = time.perf_counter()
    await pool.close()
    return BATCHES * BATCH / (batched - began), SINGLES / (ended - batched)


def _executor_rates(chunk: int) -> tuple[float, float]:
    with ProcessPoolExecutor(SIZE) as executor:
        list(executor.map(len, PAYLOADS, chunksize=chunk))
        began = time.perf_counter()
        for _ in range(BATCHES):
            assert list(executor.map(len, PAYLOADS, chunksize=chunk)) == list(map(len, PAYLOADS))
        batched = time.perf_counter()
        for number in range(SINGLES):
            executor.submit(len, PAYLOADS[number % BATCH]).result()
        ended = time.perf_counter()
    return BATCHES * BATCH / (batched - began), SINGLES / (ended - batched)


def _multiprocessing_rates(chunk: int) -> tuple[float, float]:
    with multiprocessing.Pool(SIZE) as pool:
        pool.map(len, PAYLOADS, chunk)
        began = time.perf_counter()
        for _ in range(BATCHES):
            assert pool.map(len, PAYLOADS, chunk) == list(map(len, PAYLOADS))
        batched = time.perf_counter()
        for number in range(SINGLES):
            pool.apply(len, (PAYLOADS[number % BATCH],))
        ended = time.perf_counter()
    return BATCHES * BATCH / (batched - began), SINGLES / (ended - batched)


async def _timed(awaitable: Awaitable[object]) -> float:
    began = time.perf_counter()
    await awaitable
    return time.perf_counter() - began


async def _cold_start() -> float:
    """Seconds from nothing to the first result: a Python that imports `MODULES`, and a worker."""
    began = time.perf_counter()
    pool = GuardedPool(1, MODULES)
    await pool.start()
    await _guarded(pool, PAYLOADS[:1])
    seconds = time.perf_counter() - began
    await pool.close()
    return seconds


async def _replacement() -> tuple[float, float, dict[str, tuple[float, float]]]:
    """Seconds of a call on a warm worker, and of one whose worker was killed just before; memory in MB."""
    pool = GuardedPool(1, MODULES)
    await pool.start()
    await _guarded(pool, PAYLOADS)
    zygote = _children(os.getpid())[0]
    warm, killed = [], []
    for _ in range(KILLS):
        warm.append(await _timed(_guarded(pool, PAYLOADS[:1])))
        os.kill(_children(zygote)[0], signal.SIGKILL)
        while pool.workers_alive:  # noqa: ASYNC110 - until the loop has seen it
            await asyncio.sleep(0)
        killed.append(await _timed(_guarded(pool, PAYLOADS[:1])))
    worker = _children(zygote)[0]
    memory = {"zygote": _memory(zygote), "worker": _memory(worker)}
    await pool.close()
    return statistics.median(warm), statistics.median(killed), memory


def _children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _memory(pid: int) -> tuple[float, float]:
    """Resident and proportional set size of a process, in MB."""
    lines = dict(line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return int(lines["Rss"].split()[0]) / 1000, int(lines["Pss"].split()[0]) / 1000


def main() -> None:
    """Print the tables."""
    console = Console(width=118)
    contenders: dict[str, Callable[[], tuple[float, float]]] = {
        "GuardedPool": lambda: uvloop.run(_guarded_rates()),
        "ProcessPoolExecutor": lambda: _executor_rates(1),
        "ProcessPoolExecutor by 64": lambda: _executor_rates(64),
        "multiprocessing.Pool": lambda: _multiprocessing_rates(1),
        "multiprocessing.Pool by 64": lambda: _multiprocessing_rates(64),
    }
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, measure in contenders.items():
            rounds[name].append(measure())
    table = Table("pool", "calls/s, batches of 512", "GuardedPool is", "calls/s, one by one", "GuardedPool is")
    medians = {
        name: (statistics.median(batch for batch, _ in rates), statistics.median(single for _, single in rates))
        for name, rates in rounds.items()
    }
    ours = medians["GuardedPool"]
    for name, (batched, single) in medians.items():
        table.add_row(
            name, f"{batched:,.0f}", f"{ours[0] / batched:.2f}x", f"{single:,.0f}", f"{ours[1] / single:.2f}x"
        )
    console.print(table)

    cold = statistics.median(uvloop.run(_cold_start()) for _ in range(STARTS))
    warm, killed, memory = uvloop.run(_replacement())
    table = Table("one call", "ms", "times faster than a cold start")
    for name, seconds in ("cold start", cold), ("its worker killed just before", killed), ("warm", warm):
        table.add_row(name, f"{1000 * seconds:,.2f}", f"{cold / seconds:,.0f}x")
    console.print(table)
    table = Table("process", "RSS, MB", "PSS, MB")
    for name, (resident, proportional) in memory.items():
        table.add_row(name, f"{resident:.1f}", f"{proportional:.1f}")
    console.print(table)


if __name__ == "__main__":
    main()

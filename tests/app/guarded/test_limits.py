"""Each limit is enforced for each payload, by killing its worker, and costs nobody else anything."""

from __future__ import annotations

import asyncio
import os
import time
from socket import socket

import pytest

from app.guarded.pool import GuardedPool
from app.guarded.process import Worker
from app.guarded.spawner import Spawner
from tests.app.guarded.support import MakePool, run
from verifiers.base import GuardFault, GuardResult


def faults(results: list[GuardResult]) -> list[GuardFault | None]:
    return [result.fault for result in results]


async def test_cpu_time_is_bounded_and_neighbours_are_unharmed(pool: GuardedPool) -> None:
    results = await run(pool, "spin", [0, 60, 0, 60, 0], cpu_s=0.2)
    assert faults(results) == [None, GuardFault.CPU, None, GuardFault.CPU, None]
    assert pool.kills == {GuardFault.CPU: 2}


async def test_waiting_without_using_cpu_time_is_a_wall_fault(pool: GuardedPool) -> None:
    results = await run(pool, "sleep", [60, 0], cpu_s=0.1, wall_s=0.4)
    assert faults(results) == [GuardFault.WALL, None]


async def test_cpu_time_is_counted_for_each_payload(make_pool: MakePool) -> None:
    pool = await make_pool(1)
    assert faults(await run(pool, "spin", [0.1] * 8, cpu_s=0.4)) == [None] * 8


async def test_nothing_a_payload_does_keeps_its_worker_alive(pool: GuardedPool) -> None:
    assert faults(await run(pool, "spin_unstoppably", [None], cpu_s=0.2)) == [GuardFault.CPU]


async def test_memory_is_bounded(pool: GuardedPool) -> None:
    assert faults(await run(pool, "grow", [2000, 1], memory_mb=64)) == [GuardFault.MEMORY, None]


async def test_one_huge_allocation_fails_at_once(pool: GuardedPool) -> None:
    assert faults(await run(pool, "grow_at_once", [10**7, 1], memory_mb=64)) == [GuardFault.MEMORY, None]


async def test_memory_is_counted_for_each_payload(make_pool: MakePool) -> None:
    """What an earlier payload left behind is not the later one's."""
    pool = await make_pool(1)
    assert faults(await run(pool, "keep", [40, 40, 40], memory_mb=64)) == [None] * 3
    assert faults(await run(pool, "grow", [40], memory_mb=64)) == [None]


async def test_a_stalled_event_loop_blames_no_payload(make_pool: MakePool) -> None:
    """Answers not read yet are many payloads' CPU time, and look like one payload's."""
    pool = await make_pool(1)
    await run(pool, "spin", [0.001] * 200)  # so that many payloads are sent at once
    stall = asyncio.get_running_loop().call_later(0.1, time.sleep, 0.7)
    results = await run(pool, "spin", [0.02] * 40, cpu_s=0.3, wall_s=0.5)
    stall.cancel()
    assert faults(results) == [None] * 40


async def test_limits_hold_without_pidfds(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels before 5.3 have none."""
    adopt = Spawner._adopt

    def adopt_without(spawner: Spawner, pid: int, descriptors: list[int], channel: socket) -> Worker:
        for descriptor in descriptors:
            os.close(descriptor)
        return adopt(spawner, pid, [], channel)

    monkeypatch.setattr(Spawner, "_adopt", adopt_without)
    pool = await make_pool(1)
    assert faults(await run(pool, "spin", [60, 0], cpu_s=0.2)) == [GuardFault.CPU, None]


async def test_the_deadline_keeps_what_is_finished(make_pool: MakePool) -> None:
    pool = await make_pool(1)
    await run(pool, "echo", [1])
    results = await run(pool, "sleep", [0, 0, 60, 0], within=1.0)
    assert faults(results) == [None, None, GuardFault.DEADLINE, GuardFault.DEADLINE]
    assert pool.kills == {GuardFault.DEADLINE: 1}
    assert faults(await run(pool, "echo", [1])) == [None]


async def test_a_deadline_in_the_past_runs_nothing(pool: GuardedPool) -> None:
    assert faults(await run(pool, "echo", [1, 2], within=-1.0)) == [GuardFault.DEADLINE] * 2

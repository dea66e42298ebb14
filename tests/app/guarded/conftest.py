"""Pools of real processes, and a check that none of them outlives its test."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import pytest
import uvloop

from app.guarded.pool import GuardedPool
from tests.app.guarded.support import FUNCTIONS, MakePool, descriptors, processes, zygotes


def pytest_asyncio_loop_factories(item: pytest.Function) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test that starts processes runs under both event loops."""
    if "make_pool" in item.fixturenames:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture
async def make_pool(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MakePool]:
    """Starts a pool; at the end of the test it is closed, and no process or descriptor of it may be left."""
    monkeypatch.setattr("app.guarded.pool.FIRST_PAUSE_S", 0.1)
    pools: list[GuardedPool] = []
    before = descriptors(os.getpid())

    async def make(size: int = 2, modules: Sequence[str] = (FUNCTIONS,), **options: Any) -> GuardedPool:
        pool = GuardedPool(size, modules, **options)
        pools.append(pool)
        await pool.start()
        return pool

    yield make
    sessions = {os.getsid(pid) for pid in zygotes()}
    for pool in pools:
        await pool.close()
        assert pool.workers_alive == 0
    assert not zygotes()
    assert not [pid for pid in processes() if _session(pid) in sessions]
    assert descriptors(os.getpid()) <= before + 2  # a worker has three


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


@pytest.fixture
async def pool(make_pool: MakePool) -> GuardedPool:
    """A pool of two workers."""
    return await make_pool()

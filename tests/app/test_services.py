"""How one API process brings a kind back that could not prove itself, and shares the budgets of the host."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app import services
from app.engine import Engine
from app.guarded.pool import GuardedPool
from app.sandbox_watch import SandboxWatch
from sandbox.pool import SandboxPool
from tests.app.fake_sandbox import FakePool


@pytest.mark.parametrize(("total", "workers", "each"), [(8, 1, 8), (8, 2, 4), (3, 2, 1), (1, 4, 1)])
def test_a_budget_is_shared(total: int, workers: int, each: int) -> None:
    assert services.share(total, workers) == each


async def until(condition: Any) -> None:
    limit = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < limit
        await asyncio.sleep(0.005)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The kinds that were asked to prove themselves, by request; those that run code can once the pool is there."""
    requests: list[tuple[str, ...]] = []

    async def check_kinds(_: object, sandbox: Any, only: Collection[str]) -> dict[str, str]:
        requests.append(tuple(only))
        return {kind: sandbox.unavailable for kind in only if sandbox.unavailable}

    monkeypatch.setattr(services, "check_kinds", check_kinds)
    monkeypatch.setattr(services, "WATCH_S", 0.01)
    return requests


async def test_a_kind_that_lacked_its_sandbox_is_tried_as_soon_as_that_is_there(
    asked: list[tuple[str, ...]],
) -> None:
    pool = FakePool(unavailable="starting")
    engine = SimpleNamespace(unavailable={"code": "starting"})
    watch = SandboxWatch(cast(SandboxPool, pool))
    chore = asyncio.create_task(services._recheck(cast(Engine, engine), cast(GuardedPool, None), watch))
    try:
        await asyncio.sleep(0.1)
        assert asked == []  # it has half a minute until then
        pool.unavailable = ""
        await until(lambda: engine.unavailable == {})
        assert asked == [("code",)]
    finally:
        await services._stop(chore)


async def test_a_kind_that_failed_is_tried_now_and_then(
    asked: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "RECHECK_S", 0.05)
    engine = SimpleNamespace(unavailable={"math": "no worker"})
    watch = SandboxWatch(cast(SandboxPool, FakePool()))
    watch.tell("auto")
    chore = asyncio.create_task(services._recheck(cast(Engine, engine), cast(GuardedPool, None), watch))
    try:
        await until(lambda: engine.unavailable == {})
        assert asked == [("math",)]
    finally:
        await services._stop(chore)

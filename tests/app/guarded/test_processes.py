"""The processes behind a pool: how they start, what they may see, and that they die when they should."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.guarded.pool import GuardedPool
from tests.app.guarded.support import FUNCTIONS, MakePool, children, descriptors, run, running, until, zygotes
from verifiers.base import GuardFault, GuardLimits, GuardResult

EXAMPLE = "guarded_example"


@pytest.fixture
def write_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """Writes the source of a module that a zygote can import as `EXAMPLE`."""
    monkeypatch.syspath_prepend(tmp_path)
    return (tmp_path / f"{EXAMPLE}.py").write_text


async def run_example(pool: GuardedPool) -> GuardResult:
    [result] = await pool.run(f"{EXAMPLE}:f", [1], limits=GuardLimits(), deadline=time.monotonic() + 30)
    return result


async def test_a_module_that_cannot_be_imported_costs_only_its_own_functions(
    make_pool: MakePool, write_example: Callable[[str], int]
) -> None:
    write_example("import no_such_package\n")
    pool = await make_pool(1, [FUNCTIONS, EXAMPLE])
    for _ in range(2):  # before the zygote has tried, and after
        result = await run_example(pool)
        assert result.fault is GuardFault.UNAVAILABLE
        assert "cannot import guarded_example: ModuleNotFoundError" in result.message
        assert "no_such_package" in result.message
    assert await run(pool, "echo", [1]) == [GuardResult(1)]


async def test_a_zygote_that_dies_of_an_import_is_tried_again(
    make_pool: MakePool, write_example: Callable[[str], int]
) -> None:
    write_example("import os\nos._exit(3)\n")
    pool = await make_pool(1, [EXAMPLE])
    for _ in range(2):
        result = await run_example(pool)
        assert result.fault is GuardFault.UNAVAILABLE
        assert "ended with status 3 while it imported guarded_example" in result.message
    write_example("def f(value):\n    return value\n")
    await until(zygotes)
    await until(lambda: not pool.unavailable)
    assert await run_example(pool) == GuardResult(1)


async def test_a_zygote_that_cannot_fork_is_reported(make_pool: MakePool) -> None:
    pool = await make_pool(1, idle_s=0.01)
    await run(pool, "echo", [1])
    await until(lambda: not pool.workers_alive)
    [zygote] = zygotes()
    before = resource.prlimit(zygote, resource.RLIMIT_NOFILE, (3, 100))
    [result] = await run(pool, "echo", [1])
    assert result.fault is GuardFault.UNAVAILABLE
    assert "no file descriptor left" in result.message
    resource.prlimit(zygote, resource.RLIMIT_NOFILE, (100, 100))
    assert before[0] > 3
    assert await run(pool, "echo", [1]) == [GuardResult(1)]


async def test_a_killed_zygote_is_replaced(pool: GuardedPool) -> None:
    await run(pool, "echo", [1])
    [zygote] = zygotes()
    os.kill(zygote, signal.SIGKILL)
    await until(lambda: zygotes() not in ([], [zygote]))
    assert await run(pool, "echo", [1]) == [GuardResult(1)]


async def test_a_zygote_killed_while_payloads_run_blames_none_of_them(make_pool: MakePool, tmp_path: Path) -> None:
    pool = await make_pool(1)
    record = tmp_path / "record"
    for _ in range(2):
        record.unlink(missing_ok=True)
        task = asyncio.create_task(run(pool, "sleep_on_first_run", [str(record)]))
        await until(record.exists)
        [zygote] = zygotes()
        os.kill(zygote, signal.SIGKILL)
        assert await task == [GuardResult(1)]
    assert pool.kills == {}


async def test_workers_die_with_their_zygote(pool: GuardedPool) -> None:
    task = asyncio.create_task(run(pool, "spin_unstoppably", [None, None], cpu_s=1000, wall_s=1000, within=1000))
    await until(lambda: pool.workers_alive == 2)
    [zygote] = zygotes()
    workers = children(zygote)
    assert len(workers) == 2
    os.kill(zygote, signal.SIGKILL)
    await until(lambda: not running(workers))
    task.cancel()
    await asyncio.wait([task])


async def test_nothing_outlives_a_service_that_is_killed() -> None:
    """The service's end is kill -9: it can say goodbye to nobody."""
    code = f"""
import asyncio, time
from app.guarded.pool import GuardedPool
from verifiers.base import GuardLimits

async def main():
    pool = GuardedPool(2, [{FUNCTIONS!r}])
    await pool.start()
    limits = GuardLimits(cpu_s=100, wall_s=100)
    await pool.run({FUNCTIONS + ":spin_unstoppably"!r}, [0, 0], limits=limits, deadline=time.monotonic() + 100)

asyncio.run(main())
"""
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env={"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    await until(lambda: [grandchild for child in children(service.pid) for grandchild in children(child)][1:])
    [zygote] = children(service.pid)
    family = {zygote, *children(zygote)}
    service.kill()
    await service.wait()
    await until(lambda: not running(family))


async def test_killing_workers_leaks_nothing(pool: GuardedPool) -> None:
    await run(pool, "echo", [1] * 10)
    [zygote] = zygotes()
    before = descriptors(os.getpid()), descriptors(zygote)
    results = await run(pool, "leave_at_once", [0] * 100)
    assert {result.fault for result in results} == {GuardFault.CRASHED}
    assert pool.kills == {GuardFault.CRASHED: 200}
    await run(pool, "sleep", [0.01] * 10)
    assert pool.workers_alive == 2
    # of 200 deaths none leaves anything; what the event loop itself opens and closes later may differ by a few
    after = descriptors(os.getpid()), descriptors(zygote)
    assert all(now < then + 10 for now, then in zip(after, before, strict=True)), (before, after)
    await until(lambda: len(children(zygote)) == 2)  # no zombie is left either


async def test_what_a_worker_sees(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_API_KEY", "a secret of the service")
    seen = []
    for _ in range(2):
        pool = await make_pool(1)
        [result] = await run(pool, "surroundings", [None])
        seen.append(result.value)
        await pool.close()
    first, second = seen
    assert not [name for name in first["environment"] if name.startswith("ASSAY")]
    assert first["threads"] == "1"
    assert first["hash"] == second["hash"]
    assert first["oom_score_adj"] == 1000
    assert first["core"] in (0, 1)
    assert first["standard"] == [os.devnull] * 3
    assert first["session"] != os.getsid(0)
    assert first["descriptors"] == 6  # three standard ones, the socket, its own statm, and the listing itself

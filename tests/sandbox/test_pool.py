"""The pool: who gets a cell when, what a deadline and a dead cell do, and that nothing is left when it closes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import docker
import pytest

from sandbox.base import (
    Job,
    Limits,
    NotOfferedError,
    Ran,
    SandboxDeadlineError,
    SandboxError,
    SandboxFaultError,
    SandboxUnavailableError,
    Status,
)
from sandbox.docker import DockerCell
from sandbox.open import Choice, open_sandbox
from sandbox.pool import STOP_S, SandboxPool
from tests.sandbox.live import LiveSandbox
from tests.sandbox.support import (
    busy_cells,
    calls,
    cells,
    family,
    gone,
    host_pid,
    left_behind,
    pool,
    run,
    stdio,
    until,
    value,
)

SLEEP = "import time; time.sleep(3600)"
FOREVER = Limits(cpu_s=600, wall_s=3600)
SLACK_S = 2.0


@pytest.fixture(params=["local", "docker"])
async def own(request: pytest.FixtureRequest) -> AsyncIterator[SandboxPool]:
    """A pool of two cells, of each backend in turn; skips where the shared one does."""
    request.getfixturevalue(f"{request.param}_sandbox")
    async with pool(request.param) as opened:
        yield opened


async def echo(opened: SandboxPool, number: int, *, within: float = 90) -> bool:
    """Whether a small job comes out right."""
    ran = await run(opened, stdio("print(int(input()) * 3)", str(number).encode()), within=within)
    assert ran.runs[0].stdout == b"%d\n" % (3 * number), ran
    return True


async def lose(opened: SandboxPool, count: int) -> None:
    await until(lambda: opened.counters["lost"] >= count)


async def all_gone(pids: list[int]) -> None:
    await until(lambda: all(map(gone, pids)))


async def busy(opened: SandboxPool, count: int = 1) -> None:
    await until(lambda: opened.busy >= count)


async def test_more_jobs_than_cells(own: SandboxPool) -> None:
    assert await asyncio.gather(*[echo(own, number) for number in range(256)]) == [True] * 256
    assert own.cells == 2
    assert own.counters["started"] <= 2 + own.counters["lost"]
    assert len(cells(own)) <= 2


async def test_jobs_of_all_kinds_at_once_come_out_right(sandbox: LiveSandbox) -> None:
    async def call(number: int) -> bool:
        ran = await run(
            sandbox,
            calls(
                "def f(x):\n    if x % 5 == 4: 1 / 0\n    return x", "f", *[[number + index] for index in range(3)]
            ),
        )
        expected = [Status.EXIT if (number + index) % 5 == 4 else number + index for index in range(3)]
        return [value(each) if each.status is Status.OK else each.status for each in ran.runs] == expected

    async def limited(number: int) -> bool:
        limits = Limits(cpu_s=0.2, output_kb=16, memory_mb=64)
        source = ["while True: pass", "while True: print('x' * 99)", "x = [bytearray(2**20) for _ in range(500)]"]
        expected = [Status.CPU, Status.OUTPUT, Status.MEMORY]
        ran = await run(sandbox, stdio(source[number % 3], limits=limits))
        return ran.runs[0].status is expected[number % 3]

    async def plain(number: int) -> bool:
        ran = await run(sandbox, stdio("print(int(input()) * 3)", str(number).encode()))
        return ran.runs[0].stdout == b"%d\n" % (3 * number)

    work = [each(number) for number in range(24) for each in (call, plain)] + [limited(number) for number in range(9)]
    assert all(await asyncio.gather(*work))


async def test_jobs_with_and_without_packages_share_few_cells(own: SandboxPool) -> None:
    numpy = frozenset({"numpy"})

    async def job(number: int) -> bytes:
        source = "import sys; print('numpy' in sys.modules)"
        ran = await run(own, stdio(source, packages=numpy if number % 3 == 0 else frozenset()))
        return ran.runs[0].stdout

    found = await asyncio.gather(*[job(number) for number in range(30)])
    assert found == [b"True\n" if number % 3 == 0 else b"False\n" for number in range(30)]
    assert own.counters["started"] <= 5
    assert len(cells(own)) <= 2


async def test_no_flavour_waits_for_ever() -> None:
    """With one cell only, and a crowd that never ends, whoever has other needs gets a turn."""
    async with pool("local", 1) as one_cell:
        over = False

        async def crowd() -> None:
            while not over:
                await echo(one_cell, 1)

        crowds = [asyncio.create_task(crowd()) for _ in range(4)]
        ran = await run(
            one_cell, stdio("import sympy; print(sympy.Integer(6))", packages=frozenset({"sympy"})), within=60
        )
        assert ran.runs[0].stdout == b"6\n"
        over = True
        await asyncio.gather(*crowds)


# deadlines and cancelling


async def test_a_deadline_ends_a_job_and_not_its_cell(own: SandboxPool) -> None:
    await echo(own, 1)
    before = {host_pid(cell) for cell in cells(own)}
    for job in (
        stdio(SLEEP, limits=FOREVER),
        calls(f"def f(): {SLEEP}", "f", [], limits=FOREVER),
        stdio("while True: pass", limits=FOREVER),
    ):
        began = time.monotonic()
        with pytest.raises(SandboxDeadlineError):
            await run(own, job, within=0.7)
        assert 0.6 < time.monotonic() - began < 0.7 + SLACK_S
        await echo(own, 2)
    await until(lambda: own.busy == 0)
    assert before <= {host_pid(cell) for cell in cells(own)}
    assert own.counters["lost"] == 0


async def test_a_deadline_while_waiting_for_a_cell(own: SandboxPool) -> None:
    running = [asyncio.create_task(run(own, stdio(SLEEP, limits=FOREVER))) for _ in range(2)]
    await busy(own, 2)
    began = time.monotonic()
    with pytest.raises(SandboxDeadlineError, match="before a cell was free"):
        await run(own, stdio("print(1)"), within=0.3)
    assert time.monotonic() - began < 0.3 + SLACK_S
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert await echo(own, 3)


async def test_a_deadline_that_has_passed(own: SandboxPool) -> None:
    for within in (0.0, -5.0):
        with pytest.raises(SandboxDeadlineError):
            await run(own, stdio(SLEEP), within=within)
    assert await echo(own, 4)


async def test_a_deadline_while_the_languages_are_looked_for() -> None:
    async with pool("local", survey=True) as fresh:
        began = time.monotonic()
        with contextlib.suppress(SandboxDeadlineError, NotOfferedError):
            await run(fresh, stdio(SLEEP, language="c"), within=0.05)
        assert time.monotonic() - began < 0.05 + SLACK_S


async def test_a_cancelled_job_frees_its_cell(own: SandboxPool) -> None:
    await echo(own, 1)
    before = {host_pid(cell) for cell in cells(own)}
    for _ in range(3):
        tasks = [asyncio.create_task(run(own, stdio(SLEEP, limits=FOREVER))) for _ in range(6)]  # some of them wait
        await busy(own, 2)
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*tasks, return_exceptions=True)
        )
        assert all(await asyncio.gather(*[echo(own, number) for number in range(4)]))
    assert own.counters["lost"] == 0
    assert before <= {host_pid(cell) for cell in cells(own)}


# dead cells


async def right_or_fault(opened: SandboxPool, number: int) -> bool:
    """Whether a job of a moment or so has its right result; otherwise the sandbox has to say that it is at fault."""
    source = "import time; time.sleep(0.05); print(int(input()) * 3)"
    inputs = [str(number + index).encode() for index in range(4)]
    try:
        ran = await run(opened, stdio(source, *inputs))
    except (SandboxFaultError, SandboxUnavailableError):
        return False
    assert [each.stdout for each in ran.runs] == [b"%d\n" % (3 * (number + index)) for index in range(4)]
    return True


def kill_processes(opened: SandboxPool) -> None:
    for cell in cells(opened):
        with contextlib.suppress(ProcessLookupError, OSError):
            os.kill(family(host_pid(cell))[1], signal.SIGKILL)  # not its first, and none of a run


def kill_first(opened: SandboxPool) -> None:
    for cell in cells(opened):
        with contextlib.suppress(ProcessLookupError, OSError):
            os.kill(host_pid(cell), signal.SIGKILL)


def remove_containers(opened: SandboxPool) -> None:
    for cell in cells(opened):
        assert isinstance(cell, DockerCell)
        cell.container.remove(force=True)


@pytest.mark.parametrize("blow", [kill_processes, kill_first])
async def test_cells_killed_in_the_middle(own: SandboxPool, blow: object) -> None:
    await heals(own, blow)


async def test_containers_removed_in_the_middle(docker_sandbox: LiveSandbox) -> None:
    async with pool("docker") as opened:
        await heals(opened, remove_containers)


async def heals(opened: SandboxPool, blow: object) -> None:
    assert callable(blow)
    jobs = [asyncio.create_task(right_or_fault(opened, number)) for number in range(8)]
    await busy(opened, 2)
    await asyncio.sleep(0.2)
    await asyncio.to_thread(blow, opened)
    ended = await asyncio.gather(*jobs)
    assert sum(ended) >= 6  # each job is tried twice, and was hit once
    assert all(await asyncio.gather(*[echo(opened, number) for number in range(8)]))
    assert opened.counters["lost"] >= 1
    assert opened.unavailable == ""
    assert len(cells(opened)) <= 2


async def test_an_idle_cell_that_dies_is_no_jobs_problem(own: SandboxPool) -> None:
    await echo(own, 1)
    await until(lambda: own.busy == 0)
    kill_first(own)
    await until(lambda: not cells(own))
    assert await echo(own, 2)
    assert own.counters["faults"] == 0


async def test_a_job_that_was_hit_goes_on_where_it_was(own: SandboxPool) -> None:
    seen: list[int] = []

    def go_on(index: int, result: object) -> bool:
        seen.append(index)
        return True

    source = "import time; time.sleep(0.1); print(input())"
    job = stdio(source, *[str(number).encode() for number in range(10)])
    task = asyncio.create_task(run(own, job, go_on=go_on))
    await until(lambda: len(seen) >= 3)
    [busy_cell] = busy_cells(own)
    os.kill(host_pid(busy_cell), signal.SIGKILL)
    assert [each.stdout for each in (await task).runs] == [b"%d\n" % number for number in range(10)]
    assert seen == list(range(10))


async def test_a_job_that_is_hit_twice_is_a_fault(own: SandboxPool) -> None:
    task = asyncio.create_task(run(own, stdio(SLEEP, limits=FOREVER)))
    for lost in (1, 2):
        await until(lambda: busy_cells(own))
        await asyncio.sleep(0.3)
        [busy_cell] = busy_cells(own)
        os.kill(host_pid(busy_cell), signal.SIGKILL)
        await lose(own, lost)
    with pytest.raises(SandboxFaultError, match="failed twice"):
        await task
    assert await echo(own, 5)


async def test_a_cell_that_stops_answering(own: SandboxPool) -> None:
    await echo(own, 1)
    await until(lambda: own.busy == 0)
    stopped = [pid for cell in cells(own) for pid in family(host_pid(cell))]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    outcomes = await asyncio.gather(
        *[run(own, stdio("print(1)"), within=1.5) for _ in range(2)], return_exceptions=True
    )
    assert time.monotonic() - began < 1.5 + SLACK_S
    assert any(isinstance(each, SandboxDeadlineError) for each in outcomes)
    await until(lambda: all(map(gone, stopped)), within=STOP_S + 20)
    assert await echo(own, 6)


# opening and closing


@pytest.mark.parametrize("choice", ["local", "docker"])
async def test_nothing_is_left_behind(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, choice: Choice
) -> None:
    request.getfixturevalue(f"{choice}_sandbox")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened = open_sandbox(choice, cells=2)  # once before counting, for what a process makes only once
    await opened.start()
    await opened.close()
    await settled()
    before = left_behind()
    for _ in range(2):
        async with pool(choice, survey=True) as used:
            assert all(await asyncio.gather(*[echo(used, number) for number in range(6)]))
            await run(used, stdio("int main() {}", language="c", fetch=["x"]))
            await run(used, calls("def f(x): return x", "f", [1]))
            await run(used, stdio("import sympy", packages=frozenset({"sympy"})))
            with contextlib.suppress(SandboxDeadlineError):
                await run(used, stdio(SLEEP, limits=FOREVER), within=0.2)
            containers = [cell.container.id for cell in cells(used) if isinstance(cell, DockerCell)]
            pids = [pid for cell in cells(used) for pid in family(host_pid(cell))]
            assert pids
    await settled()
    after = left_behind()
    # two rounds of three cells or more; the shared sandboxes of this process may have one more or less meanwhile
    assert after.pop("descriptors") < before.pop("descriptors") + 4
    assert after == before
    await until(lambda: all(map(gone, pids)))
    if choice == "docker":
        client = docker.from_env()
        alive = {container.id for container in client.containers.list(all=True, ignore_removed=True)}
        client.close()
        assert alive.isdisjoint(containers)


async def settled() -> None:
    await asyncio.sleep(0.1)
    gc.collect()


@pytest.mark.parametrize("when", [0.0, 0.2])
async def test_closing_while_jobs_run(request: pytest.FixtureRequest, when: float) -> None:
    for choice in ("local", "docker"):
        request.getfixturevalue(f"{choice}_sandbox")
        opened = open_sandbox(choice, cells=2)
        await opened.start()
        jobs = [asyncio.create_task(run(opened, stdio(SLEEP, limits=FOREVER))) for _ in range(5)]
        await asyncio.sleep(when)
        held = cells(opened)
        pids = [pid for cell in held for pid in family(host_pid(cell))]
        began = time.monotonic()
        await opened.close()
        assert time.monotonic() - began < 20
        ended = await asyncio.gather(*jobs, return_exceptions=True)
        assert all(isinstance(each, SandboxUnavailableError) for each in ended), ended
        await all_gone(pids)
        assert opened.unavailable
        with pytest.raises(SandboxUnavailableError):
            await run(opened, stdio("print(1)"))


async def test_closing_while_cells_start_leaves_nothing(request: pytest.FixtureRequest) -> None:
    for choice in ("local", "docker"):
        request.getfixturevalue(f"{choice}_sandbox")
        await settled()
        before = left_behind()
        opened = open_sandbox(choice, cells=3)
        await opened.start()
        jobs = [
            asyncio.create_task(run(opened, stdio("import numpy", packages=frozenset({"numpy"})))) for _ in range(4)
        ]
        await asyncio.sleep(0.05)  # while cells with numpy start
        await opened.close()
        assert all(isinstance(each, SandboxError) for each in await asyncio.gather(*jobs, return_exceptions=True))
        await settled()
        after = left_behind()
        assert (after["children"], after["groups"]) == (before["children"], before["groups"])


async def test_what_a_pool_says_of_itself(sandbox: LiveSandbox) -> None:
    told = sandbox.pool.describe()
    assert told["backend"] in ("local", "docker")
    assert told["cells"] == 4
    assert told["memory_mb"] == 1024
    assert isinstance(told["landlock"], bool)
    assert sandbox.pool.counters["jobs"] >= 0


async def test_a_pool_that_is_not_started() -> None:
    closed = open_sandbox("local", cells=1)
    with pytest.raises(SandboxUnavailableError, match="not running"):
        await run(closed, stdio("print(1)"))
    assert closed.languages == {}


async def test_a_cell_at_rest_is_small(local_sandbox: LiveSandbox) -> None:
    await run(local_sandbox, stdio("print(1)"))
    assert 5 < local_sandbox.pool._facts["memory_mb"] < 40


async def test_a_job_can_be_run_again(sandbox: LiveSandbox) -> None:
    job: Job = stdio("print(input())", b"1", b"2")
    first: Ran = await run(sandbox, job)
    second = await run(sandbox, job)
    assert [each.stdout for each in first.runs] == [each.stdout for each in second.runs] == [b"1\n", b"2\n"]

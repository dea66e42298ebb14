"""The sandbox and the kind without a service: latency, tests of each form, a cold start, memory at rest."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import docker
import psutil

from app.guarded.pool import GuardedPool
from bench.sandbox_items import CPP, program
from sandbox.base import Job, Program, Status, Stdio
from sandbox.docker import LABEL
from sandbox.languages import LANGUAGES
from sandbox.open import Choice, open_sandbox
from sandbox.pool import SandboxPool
from verifiers.base import Context, Item
from verifiers.code import Code
from verifiers.code.config import CodeConfig, Language

PATIENCE_S = 60.0
REST_S = 1.0


@asynccontextmanager
async def pool(backend: Choice, cells: int) -> AsyncIterator[SandboxPool]:
    """A pool that has started and knows its languages."""
    opened = open_sandbox(backend, cells=cells)
    await opened.start()
    try:
        if opened.unavailable:
            raise RuntimeError(opened.unavailable)
        await run(opened)
        yield opened
    finally:
        await opened.close()


async def run(opened: SandboxPool) -> float:
    """Seconds of one trivial program."""
    code, output = program()
    began = time.perf_counter()
    ran = await opened.run(Job(Program(code.encode()), Stdio([b"1\n"])), deadline=time.monotonic() + PATIENCE_S)
    seconds = time.perf_counter() - began
    assert ran.runs[0].status is Status.OK and ran.runs[0].stdout == output.encode(), ran
    return seconds


async def latencies(backend: Choice, runs: int, at_once: int) -> list[float]:
    """Seconds of each of so many runs, so many of them in flight at a time, in ascending order."""
    async with pool(backend, at_once) as opened:
        await asyncio.gather(*(run(opened) for _ in range(20 * at_once)))
        left = iter(range(runs))
        found: list[float] = []

        async def work() -> None:
            for _ in left:
                found.append(await run(opened))  # noqa: PERF401 - the workers share `left`

        await asyncio.gather(*(work() for _ in range(at_once)))
    return sorted(found)


async def verify(backend: Choice, language: Language, forms: Sequence[Callable[[], Item]], times: int) -> list[float]:
    """For each form, the median of the seconds that one item takes, one at a time, through the kind `code`."""
    code = Code(CodeConfig(language=language))
    guard = GuardedPool(1, Code.guarded)
    async with pool(backend, 1) as opened:
        taken: list[list[float]] = [[] for _ in forms]
        for turn in range(times + 1):
            for seconds, form in zip(taken, forms, strict=True):
                item = form()
                began = time.perf_counter()
                [verdict] = await code.verify([item], Context(time.monotonic() + PATIENCE_S, guard, opened))
                if turn:
                    seconds.append(time.perf_counter() - began)
                assert verdict.score == 1.0, verdict
    return [statistics.median(seconds) for seconds in taken]


def plain_cpp(times: int) -> tuple[float, float] | None:
    """Medians of the seconds that the compiler and the program take without a sandbox; None without a compiler."""
    compilations, runs = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(times):
            (Path(folder) / "main.cpp").write_text(CPP % number)
            began = time.perf_counter()
            try:
                subprocess.run(LANGUAGES["cpp"].compile, cwd=folder, check=True, capture_output=True)
            except FileNotFoundError:
                return None
            compiled = time.perf_counter()
            subprocess.run([f"{folder}/main"], input=b"1\n", check=True, capture_output=True)
            runs.append(time.perf_counter() - compiled)
            compilations.append(compiled - began)
    return statistics.median(compilations), statistics.median(runs)


async def cold(backend: Choice) -> float:
    """Seconds from nothing to the first verdict: the self-check of the backend, its first cell, a run."""
    began = time.perf_counter()
    opened = open_sandbox(backend, cells=1)
    try:
        await opened.start()
        await run(opened)
        return time.perf_counter() - began
    finally:
        await opened.close()


@dataclass
class Memory:
    """MB of a process, or of several together."""

    resident: float = 0.0
    proportional: float = 0.0
    unique: float = 0.0
    processes: int = 0


async def at_rest(backend: Choice) -> Memory:
    """The memory of a cell that has run something and waits: of all its processes together."""
    this = psutil.Process()
    before = set(this.children(recursive=True))
    async with pool(backend, 1) as opened:
        for _ in range(20):
            await run(opened)
        await asyncio.sleep(REST_S)
        if backend == "docker":
            return memory(await asyncio.to_thread(in_containers, {this.pid}))
        return memory([child for child in this.children(recursive=True) if child not in before])


def memory(processes: Sequence[psutil.Process]) -> Memory:
    """Of these processes together. Those that may not be looked at are left out, and not counted."""
    total = Memory()
    for process in processes:
        with suppress(psutil.Error):
            full = process.memory_full_info()
            total.resident += full.rss / 1e6
            total.proportional += full.pss / 1e6
            total.unique += full.uss / 1e6
            total.processes += 1
    return total


def interpreter(python: str) -> Memory:
    """An interpreter that does nothing."""
    with subprocess.Popen([python, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE) as process:
        time.sleep(REST_S)
        found = memory([psutil.Process(process.pid)])
        process.kill()
    return found


def in_containers(owners: Collection[int]) -> list[psutil.Process]:
    """Every process in the containers that are cells of these processes."""
    client = docker.from_env()
    try:
        found = []
        for cell in client.containers.list(filters={"label": LABEL}):
            if int(cell.labels[LABEL].partition(":")[0] or 0) in owners:
                first = psutil.Process(cell.attrs["State"]["Pid"])
                found += [first, *first.children(recursive=True)]
        return found
    finally:
        client.close()

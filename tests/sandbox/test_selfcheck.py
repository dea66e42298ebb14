"""A backend that isolates less than promised does not start, and says what is weak."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import local
from sandbox.base import Job, Limits, Ran, Run, Split, Status, Stdio
from sandbox.local import LocalBackend
from sandbox.pool import SandboxPool
from sandbox.selfcheck import PROBES, SPLIT, failures
from sandbox.start import command
from tests.sandbox.live import LiveSandbox
from tests.sandbox.support import until

WEAKENINGS = {
    # what is changed in a cell before it begins, and what the check then has to name
    "no filter of system calls": ("linux.set_seccomp = lambda program: None", "has no privilege"),
    "new privileges": (
        "linux.prctl = (lambda real: lambda option, value=0: option == 38 or real(option, value))(linux.prctl)\n"
        "linux.set_seccomp = lambda program: None\nconfine.has_landlock = lambda: False",
        "has no privilege",
    ),
    "capabilities": ("linux.drop_capabilities = lambda: None", "has no privilege"),
    "the bounding set": ("linux.drop_bounding_set = lambda: None", "has no privilege"),
    "the network": ("enter._OWN &= ~linux.NEWNET", "reaches no network"),
    "more of the host": ("root._SYSTEM += ('/home', '/var')", "sees nothing of the host"),
    "no working folder of its own": (
        "confine.mount_work = lambda disk_mb: __import__('os').makedirs('/tmp/work', exist_ok=True)\n"
        "root.build = (lambda real: lambda at, *more:"
        " (real(at, *more), linux.mount('tmpfs', '/tmp', 'tmpfs', 0, 'mode=777')))(root.build)",
        "disk",
    ),
    "no limit of processes": (
        "import resource\nconfine._limit = lambda limits, cpu_s, processes, bounded: None",
        "is held to its processes",
    ),
    "no watch on memory": ("watch.Watch._most_memory = lambda self: 2**40", "is held to its memory"),
}


def backend(monkeypatch: pytest.MonkeyPatch, weakening: str) -> LocalBackend:
    """A local backend whose cells are changed before they begin."""
    real = command

    def weakened(*arguments: object, **more: object) -> list[str]:
        argv = real(*arguments, **more)  # type: ignore[arg-type]
        call = argv.index("-c") + 1
        before, _, after = argv[call].partition("from cell.main import main;")
        assert after
        changed = f"from cell import confine, enter, linux, root, watch\n{weakening}\nfrom cell.main import main;"
        argv[call] = f"{before.rstrip('; ')}\n{changed}{after}"
        return argv

    monkeypatch.setattr(local, "command", weakened)
    return LocalBackend(1024)


@pytest.mark.parametrize("name", WEAKENINGS)
async def test_a_weakened_backend_is_refused(
    monkeypatch: pytest.MonkeyPatch, local_sandbox: LiveSandbox, name: str
) -> None:
    weakening, words = WEAKENINGS[name]
    pool = SandboxPool(backend(monkeypatch, weakening), 1, memory_mb=1024)
    await pool.start()
    try:
        assert "isolates less than promised" in pool.unavailable
        assert words in pool.unavailable
        assert pool.languages == {}
    finally:
        await pool.close()


async def test_the_same_backend_without_a_weakening_starts(
    monkeypatch: pytest.MonkeyPatch, local_sandbox: LiveSandbox
) -> None:
    """Or the refusals above would prove nothing."""
    pool = SandboxPool(backend(monkeypatch, "pass"), 1, memory_mb=1024)
    await pool.start()
    try:
        assert pool.unavailable == ""
    finally:
        await pool.close()


async def test_a_backend_that_becomes_sound_is_taken(
    monkeypatch: pytest.MonkeyPatch, local_sandbox: LiveSandbox
) -> None:
    monkeypatch.setattr("sandbox.pool.FIRST_PAUSE_S", 0.05)
    weak = backend(monkeypatch, "linux.drop_capabilities = lambda: None")
    pool = SandboxPool(weak, 1, memory_mb=1024)
    await pool.start()
    try:
        assert pool.unavailable
        monkeypatch.undo()
        await until(lambda: not pool.unavailable)
    finally:
        await pool.close()


def fake(answers: Callable[[Job], Run]) -> Callable[[Job], object]:
    async def run(job: Job) -> Ran:
        if isinstance(job.task, Split):
            return Ran(None, [Run(Status.OK), Run(Status.FAILED)])
        return Ran(None, [answers(job)])

    return run


async def test_each_probe_counts() -> None:
    """An answer that is wrong for one probe only is found, whichever it is."""
    by_source = {probe.source.encode(): probe for probe in PROBES}
    for wrong in PROBES:

        def answer(job: Job, wrong: object = wrong) -> Run:
            probe = by_source[job.program.source]
            if probe is wrong:
                return Run(
                    Status.OK if probe.status is not Status.OK else Status.EXIT, stderr=b"Traceback\nOSError: why"
                )
            return Run(probe.status, stdout=(probe.prints or "").encode() + b"\n")

        [found] = await failures(fake(answer))  # type: ignore[arg-type]
        assert wrong.name in found

        def reached(job: Job, wrong: object = wrong) -> Run:
            probe = by_source[job.program.source]
            return Run(probe.status, stdout=b"reached\n" if probe is wrong else (probe.prints or "").encode())

        assert len(await failures(fake(reached))) == (wrong.prints is not None)  # type: ignore[arg-type]


async def test_no_answer_is_no_proof() -> None:
    async def nothing(job: Job) -> Ran:
        return Ran(None, [])

    assert len(await failures(nothing)) == len(PROBES) + 1


async def test_tests_apart_are_checked_too() -> None:
    by_source = {probe.source.encode(): probe for probe in PROBES}

    async def run(job: Job) -> Ran:
        if job is SPLIT:
            return Ran(None, [Run(Status.OK), Run(Status.OK)])
        probe = by_source[job.program.source]
        return Ran(None, [Run(probe.status, stdout=(probe.prints or "").encode())])

    assert await failures(run) == ["tests apart from their program: ok, ok"]


def test_probes_find_a_process_without_any_isolation(tmp_path: Path) -> None:
    """Run as they are on this host, in a plain interpreter, those that only look say that they are not contained."""
    harmless = {"has no privilege", "reaches no network", "sees no process but its own", "sees nothing of the host"}
    for probe in PROBES:
        if probe.name in harmless:
            source = probe.source.replace("('192.0.2.1', 53)", "('127.0.0.1', 9)")
            ran = subprocess.run(
                [sys.executable, "-c", source], capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60
            )
            assert ran.stdout.strip() != "contained", probe.name
            harmless.discard(probe.name)
    assert not harmless


def test_the_split_probe_is_a_split() -> None:
    assert isinstance(SPLIT.task, Split)
    assert isinstance(Job(SPLIT.program, Stdio([b""]), Limits()).task, Stdio)

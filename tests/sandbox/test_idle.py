"""A program that sleeps through its tests runs out of time, however many they are."""

from __future__ import annotations

import time

from sandbox.base import Calls, Job, Limits, Program, Split, Status, Stdio
from tests.sandbox.live import LiveSandbox

LIMITS = Limits(cpu_s=2.0, wall_s=2.0)


async def test_idle_time_of_all_cases_counts_together(sandbox: LiveSandbox) -> None:
    job = Job(Program(b"import time\ntime.sleep(0.9)\nprint(1)"), Stdio([b""] * 6), LIMITS)
    runs = (await sandbox.run(job, deadline=time.monotonic() + 60)).runs
    assert [run.status for run in runs[:2]] == [Status.OK, Status.OK]
    assert {run.status for run in runs[2:]} == {Status.WALL}


async def test_idle_time_of_all_calls_counts_together(sandbox: LiveSandbox) -> None:
    program = Program(b"import time\ndef f():\n    time.sleep(0.9)\n    return 1")
    job = Job(program, Calls("f", [b"[[],{}]"] * 6), LIMITS)
    runs = (await sandbox.run(job, deadline=time.monotonic() + 60)).runs
    assert [run.status for run in runs[:2]] == [Status.OK, Status.OK]
    assert {run.status for run in runs[2:]} == {Status.WALL}


async def test_idle_time_of_all_tests_counts_together(sandbox: LiveSandbox) -> None:
    program = Program(b"import time\ndef f():\n    time.sleep(0.9)\n    return 1")
    job = Job(program, Split(["assert f() == 1"] * 6), LIMITS)
    runs = (await sandbox.run(job, deadline=time.monotonic() + 60)).runs
    assert [run.status for run in runs[:2]] == [Status.OK, Status.OK]
    assert {run.status for run in runs[2:]} == {Status.WALL}


async def test_work_is_not_idle(sandbox: LiveSandbox) -> None:
    source = b"import time\nend = time.process_time() + 0.9\nwhile time.process_time() < end: pass\nprint(1)"
    runs = (await sandbox.run(Job(Program(source), Stdio([b""] * 4), LIMITS), deadline=time.monotonic() + 60)).runs
    assert [run.status for run in runs] == [Status.OK] * 4

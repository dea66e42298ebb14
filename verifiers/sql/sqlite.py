"""SQLite in the sandbox: one job for each fixture and a few candidates, each candidate in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sandbox.base import Calls, Job, Limits, Program, Run, Sandbox, SandboxError, SandboxFaultError, Status
from sandbox.cell.values import decode, encode
from verifiers.databases import DatabaseRun, FixtureError, RunFault, RunLimits
from verifiers.in_sandbox import how_it_ended

PER_JOB = 16
"""Candidates that share one building of the fixture; more would leave cells without work."""
SETUP_CPU_S = 10.0
_MIB = 2**20
_PYTHON_MB = 96
"""What the interpreter has besides SQLite, the rows on their way out included."""
_MAX_OUTPUT_KB = 16 * 1024

_HERE = Path(__file__).parent
_PROGRAM = (_HERE / "in_cell.py").read_bytes()
_TEXT = (_HERE / "sqltext.py").read_bytes()


async def run_all(
    setup: str, candidates: Sequence[str], *, contents: bool, limits: RunLimits, sandbox: Sandbox, deadline: float
) -> list[DatabaseRun | Exception]:
    """What becomes of each candidate, up to `PER_JOB` of them, on a copy of the fixture of its own.

    Where there is no run, the exception that says why: `FixtureError`, or one of `Sandbox.run`'s.
    """
    job = _job(setup, candidates, contents, limits)
    runs: list[Run] = []
    fault: Exception | None = None

    def go_on(_index: int, run: Run) -> bool:
        runs.append(run)
        return True

    try:
        ran = await sandbox.run(job, deadline=deadline, go_on=go_on)
    except SandboxError as error:
        fault = error
    else:
        runs = list(ran.runs)
        if ran.prepared is not None and ran.prepared.status is not Status.OK:
            fault = _not_built(ran.prepared, job.limits)
        elif len(runs) < len(candidates):
            fault = SandboxFaultError("the sandbox told of too few runs")
    found: list[DatabaseRun | Exception] = [_database_run(run, job.limits) for run in runs]
    left = candidates[len(runs) :]
    if isinstance(fault, SandboxFaultError) and len(candidates) > 1:  # one of them may be to blame: each alone
        for sql in left:
            found += await run_all(setup, [sql], contents=contents, limits=limits, sandbox=sandbox, deadline=deadline)
    elif fault is not None:
        found += [fault] * len(left)
    return found


def result_limit(limits: RunLimits) -> int:
    """Bytes that a result within the limits may take, encoded: up to 3 for each that text has in UTF-8.

    (Of control characters it is 6; who returns little else has less room.)
    """
    return min(_MAX_OUTPUT_KB * 1024, 3 * limits.result_bytes + 64 * 1024)


def _job(setup: str, candidates: Sequence[str], contents: bool, limits: RunLimits) -> Job:
    told = {
        "cpu_s": limits.cpu_s,
        "setup_cpu_s": max(SETUP_CPU_S, limits.cpu_s),
        "rows": limits.rows,
        "result_bytes": limits.result_bytes,
        "memory_bytes": limits.memory_mb * _MIB,
    }
    files = {"sqltext.py": _TEXT, "setup.sql": setup.encode(), "limits.json": json.dumps(told).encode()}
    # SQLite ends what is over a limit by itself; these stand behind it, for a single step that takes too long
    cpu_s = max(SETUP_CPU_S, limits.cpu_s) + 1.0
    memory_mb = limits.memory_mb + _PYTHON_MB + len(setup) // _MIB
    bounds = Limits(
        cpu_s=cpu_s,
        wall_s=4 * cpu_s,
        memory_mb=memory_mb,
        processes=4,
        output_kb=result_limit(limits) // 1024,
        disk_mb=16 + 4 * len(setup) // _MIB,
    )
    calls = [json.dumps([[sql, contents], {}]).encode() for sql in candidates]
    return Job(Program(_PROGRAM, files=files), Calls("run", calls), bounds)


def _not_built(prepared: Run, limits: Limits) -> Exception:
    if prepared.status is Status.WALL:
        return SandboxFaultError("the host was too busy to make the fixture")
    reason = how_it_ended(prepared, limits)
    return FixtureError(reason.removeprefix("RuntimeError: "))


_FAULTS = {
    Status.CPU: RunFault.CPU,
    Status.WALL: RunFault.WALL,
    Status.MEMORY: RunFault.MEMORY,
    Status.OUTPUT: RunFault.OUTPUT,
    Status.FAILED: RunFault.OUTPUT,  # the one thing that can be wrong with rows: there are too many bytes of them
}


def _database_run(run: Run, limits: Limits) -> DatabaseRun:
    if run.status is not Status.OK:
        fault = _FAULTS.get(run.status, RunFault.CRASHED)
        return DatabaseRun(fault, how_it_ended(run, limits) if fault is RunFault.CRASHED else "")
    if run.value.startswith(_OK):
        return DatabaseRun(result=b"[" + run.value[len(_OK) :])
    try:
        match decode(run.value, limit_bytes=64 * 1024):
            case [str(name), str(message)]:
                return DatabaseRun(RunFault(name), message)
            case _:
                return DatabaseRun(RunFault.CRASHED, "no answer")
    except ValueError as error:  # of the enumeration, too
        return DatabaseRun(RunFault.CRASHED, f"no answer: {error}")


_OK = encode(["ok"], limit_bytes=64)[:-1] + b","
"""How a call's answer begins that has a result; what follows is the result, less its opening bracket."""

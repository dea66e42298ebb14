"""Jobs in few words, and what a sandbox leaves on the host."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sandbox.base import Calls, GoOn, Job, Limits, Program, Ran, Run, Sandbox, Split, Stdio
from sandbox.cell import values
from sandbox.cells import Cell
from sandbox.docker import DockerCell
from sandbox.groups import PREFIX, parents
from sandbox.local import LocalCell
from sandbox.open import Choice, open_sandbox
from sandbox.pool import SandboxPool

WITHIN_S = 90.0
"""Far more than anything here takes, on a machine however busy."""


def program(source: str | bytes, language: str = "python", **more: Any) -> Program:
    """A program, from its source."""
    return Program(source.encode() if isinstance(source, str) else source, language, **more)


def stdio(
    source: str | bytes,
    *inputs: bytes,
    language: str = "python",
    limits: Limits | None = None,
    fetch: Sequence[str] = (),
    **more: Any,
) -> Job:
    """A job that runs a program on inputs, by default on one that is empty."""
    return Job(program(source, language, **more), Stdio(inputs or (b"",), fetch), limits or Limits())


def calls(
    source: str, entry_point: str, *arguments: Sequence[Any], language: str = "python", limits: Limits | None = None
) -> Job:
    """A job that calls a function with each of the positional arguments."""
    texts = [json.dumps([list(each), {}]).encode() for each in arguments]
    return Job(program(source, language), Calls(entry_point, texts), limits or Limits())


def split(source: str, tests: Sequence[str], *, limits: Limits | None = None, **more: Any) -> Job:
    """A job that runs tests beside a program."""
    return Job(program(source), Split(tests, **more), limits or Limits())


async def run(sandbox: Sandbox, job: Job, *, within: float = WITHIN_S, go_on: GoOn | None = None) -> Ran:
    """Run a job, with a deadline `within` so many seconds."""
    return await sandbox.run(job, deadline=time.monotonic() + within, go_on=go_on)


async def one(sandbox: Sandbox, source: str | bytes, stdin: bytes = b"", **more: Any) -> Run:
    """What became of one run of a program."""
    ran = await run(sandbox, stdio(source, stdin, **more))
    assert len(ran.runs) == 1, ran
    return ran.runs[0]


def value(result: Run) -> Any:
    """What a call returned."""
    return values.decode(result.value, limit_bytes=2**24)


async def until(condition: Callable[[], Any], within: float = 30.0) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def pool(choice: Choice, cells: int = 2, *, survey: bool = False) -> AsyncIterator[SandboxPool]:
    """A started pool of the test's own, by default without jobs of its own that look for languages."""
    opened = open_sandbox(choice, cells=cells)
    if not survey:
        vars(opened)["_look_for_languages"] = _python_alone
    await opened.start()
    try:
        assert not opened.unavailable, opened.unavailable
        yield opened
    finally:
        await opened.close()


async def _python_alone() -> Mapping[str, str]:
    return {"python": "3"}


def cells(opened: SandboxPool) -> list[Cell]:
    """The cells of a pool that live."""
    return list(opened._alive)


def busy_cells(opened: SandboxPool) -> list[Cell]:
    """Those that run a job."""
    idle = [cell for each in opened._idle.values() for cell in each]
    return [cell for cell in cells(opened) if cell not in idle]


def host_pid(cell: Cell) -> int:
    """The id that a cell's first process has on this host."""
    if isinstance(cell, LocalCell):
        return cell.process.pid
    assert isinstance(cell, DockerCell)
    cell.container.reload()
    pid: int = cell.container.attrs["State"]["Pid"]
    return pid


def stat(pid: int) -> list[str]:
    """State, parent and so on, from proc_pid_stat(5); nothing once the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def family(pid: int) -> list[int]:
    """A process and all that descend from it, as far as they are on this host's list."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet counts."""
    return stat(pid)[:1] in ([], ["Z"], ["X"])


def group_folders() -> set[str]:
    """The control groups of cells of this process."""
    bases = {folder for base in parents().values() for folder in (base, base.parent)}
    return {str(folder) for base in bases for folder in base.glob(f"{PREFIX}{os.getpid()}-*")}


def left_behind() -> dict[str, Any]:
    """What this process holds of the host: to be the same before a pool opens and after it has closed.

    Its folder of temporary files should be its own, or other processes' files would count.
    """
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - names that are gone do not matter
        "children": sorted(pid for pid in family(os.getpid())[1:] if not gone(pid)),
        "groups": group_folders(),
        "mounts": [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "docker" not in line],
        "temporary": os.listdir(tempfile.gettempdir()),  # noqa: PTH208
    }

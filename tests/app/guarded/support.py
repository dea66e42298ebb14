"""Calls of the tests' functions, and the processes behind them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from app.guarded.pool import GuardedPool
from verifiers.base import GuardLimits, GuardResult

FUNCTIONS = "tests.app.guarded.functions"

MakePool = Callable[..., Awaitable[GuardedPool]]


async def run(
    pool: GuardedPool, function: str, payloads: Sequence[Any], within: float = 30.0, **limits: Any
) -> list[GuardResult]:
    """Run one of the tests' functions, with a deadline `within` so many seconds."""
    return await pool.run(
        f"{FUNCTIONS}:{function}", payloads, limits=GuardLimits(**limits), deadline=time.monotonic() + within
    )


def stat(pid: int) -> list[str]:
    """State, parent and so on, from proc_pid_stat(5); nothing once the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def processes() -> list[int]:
    """The ids of all processes, zombies included."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def children(parent: int) -> list[int]:
    """The ids of the children of a process, zombies included."""
    return [pid for pid in processes() if stat(pid)[1:2] == [str(parent)]]


def running(pids: Iterable[int]) -> list[int]:
    """Those that run still: a zombie has ended, and who adopted it may take its time."""
    return [pid for pid in pids if stat(pid)[:1] not in ([], ["Z"])]


def zygotes() -> list[int]:
    """The ids of this process's zygotes."""
    return [pid for pid in children(os.getpid()) if b"app.guarded.zygote" in _command(pid)]


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def descriptors(pid: int) -> int:
    """How many files a process has open; /dev/null is not counted, since uvloop opens it once."""
    count = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the descriptor of this very listing
            count += entry.readlink() != Path(os.devnull)
    return count


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that happens in another process; fails if it never does."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.005)

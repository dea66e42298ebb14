"""What a sandbox is: programs, what to do with them, their limits, and what became of them.

A sandbox tells what a program did. It never sees an expected value but in the tests of `Split`, which run in a
process that the program cannot reach, and it never decides a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Status(StrEnum):
    """How a run ended. Each is the program's own doing."""

    OK = "ok"
    """It exited with 0, or a call returned, or a test passed."""
    EXIT = "exit"
    """It exited with another status, or a call raised an exception."""
    SIGNAL = "signal"
    """A signal ended it: a crash."""
    CPU = "cpu"
    """It used up its processor time."""
    WALL = "wall"
    """It used up its wall-clock time; what it spent waiting for a processor does not count."""
    MEMORY = "memory"
    OUTPUT = "output"
    """It wrote more than it may, on standard output or on standard error."""
    FAILED = "failed"
    """A test of `Split` does not hold, or a call returned what is no plain data: `message` has the reason."""
    PROTOCOL = "protocol"
    """It answered a call with something that is no answer."""
    UNSPLITTABLE = "unsplittable"
    """A test of `Split` does something with the program's objects that cannot be done from outside."""
    BROKEN_TEST = "broken_test"
    """A test of `Split` cannot run at all, whatever the program: a syntax error, an exception of its own."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one run: a case, a call, a test, or a compilation."""

    cpu_s: float = 5.0
    """Processor seconds of everything the run starts."""
    wall_s: float = 20.0
    """Seconds by the clock, less those spent waiting for a processor. Idle time of all runs of a job adds up."""
    memory_mb: int = 512
    processes: int = 32
    """Processes and threads at once."""
    output_kb: int = 1024
    """Of standard output, of standard error, and of what a call returns, each."""
    disk_mb: int = 64
    """Of files, which live in memory and do not count as memory."""


@dataclass(frozen=True, slots=True)
class Program:
    """A completion's program. `language` is a name of `sandbox.languages`."""

    source: bytes
    language: str = "python"
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Put into its working folder before each run, by relative path."""
    packages: frozenset[str] = frozenset()
    """Python packages it may import beyond the standard library; names of `sandbox.packages`."""


@dataclass(frozen=True, slots=True)
class Stdio:
    """Run the program once for each input, each time in a fresh process and an empty working folder."""

    inputs: Sequence[bytes]
    fetch: Sequence[str] = ()
    """Files to bring back from the working folder after each run, by relative path."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Load the program once and call one of its functions, each time in a process of its own where that is possible.

    Each call is JSON text: `[args, kwargs]`. What it returns comes back as a value of `sandbox.values`.
    """

    entry_point: str
    """A name, or a dotted path such as `Solution().add`: names, attributes, and calls without arguments."""
    calls: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Split:
    """Load the program in one process and run tests of it in another; calls cross between the two as plain data."""

    tests: Sequence[str]
    """Python statements, each one test: `assert add(1, 2) == 3`, or a call such as `check(candidate)`."""
    setup: str = ""
    """Python that runs in the tests' process before them: imports, helpers, the definition of `check`."""
    names: Sequence[str] = ()
    """Names that always mean the program's, even where they are also builtins."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other names for the program's names, as in `{"candidate": "has_close_elements"}`."""
    prelude: str = ""
    """Python of the prompt, such as helpers that tests use: they bind to these, and never to the program's own."""


Task = Stdio | Calls | Split


@dataclass(frozen=True, slots=True)
class Job:
    """One program and what to do with it."""

    program: Program
    task: Task
    limits: Limits = Limits()
    compile_limits: Limits = Limits(cpu_s=20.0, wall_s=60.0, memory_mb=1024, processes=64, disk_mb=256)


@dataclass(frozen=True, slots=True)
class Run:
    """What became of one run."""

    status: Status
    exit_code: int | None = None
    signal: int | None = None
    stdout: bytes = b""
    """Up to `Limits.output_kb`; what lies beyond is cut."""
    stderr: bytes = b""
    value: bytes = b""
    """What a call returned, encoded by `sandbox.values`."""
    message: str = ""
    """In a few words why it is not `OK`; holds the program's own text, cut short."""
    cpu_ms: float = 0.0
    wall_ms: float = 0.0
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Those of `Stdio.fetch` that exist and are regular files."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a job."""

    prepared: Run | None
    """Compiling or loading the program, where that was needed. Unless it is `OK`, there are no runs."""
    runs: Sequence[Run]
    """One for each input, call or test, in order; fewer where `go_on` ended the job."""


class SandboxError(Exception):
    """A job has no result, for a reason that is not the program's."""


class SandboxUnavailableError(SandboxError):
    """There is no sandbox that isolates as promised; the message says why and what to change."""


class SandboxFaultError(SandboxError):
    """The sandbox itself failed, twice, in different cells."""


class SandboxDeadlineError(SandboxError):
    """The deadline passed first."""


class NotOfferedError(SandboxError):
    """The sandbox has no such language or package; the message lists those it has."""


GoOn = Callable[[int, Run], bool]
"""Told of each run as it ends, by its index; returns whether to go on with the next."""


class Sandbox(Protocol):
    """Runs jobs, several at once, each in a cell that nothing else uses meanwhile."""

    @property
    def unavailable(self) -> str:
        """Why nothing can run now and what to change; empty while it can."""
        ...

    @property
    def languages(self) -> Mapping[str, str]:
        """The languages on offer, each with its version."""
        ...

    @property
    def packages(self) -> Mapping[str, str]:
        """The Python packages on offer, each with its version."""
        ...

    async def run(self, job: Job, *, deadline: float, go_on: GoOn | None = None) -> Ran:
        """Run a job. Returns or raises by `deadline` (`time.monotonic()` seconds), give or take a few milliseconds.

        A fault of the sandbox is tried once more in another cell, from the first run without a result. Raises
        `SandboxUnavailableError`, `NotOfferedError`, `SandboxFaultError`, `SandboxDeadlineError`.
        """
        ...

"""References in few words, and a sandbox that runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox.base import Calls, GoOn, Job, Ran, Run, SandboxError, Status, Stdio
from sandbox.cell.values import encode

PLENTY = 10**6


def stdio(*cases: tuple[str, str], **more: Any) -> dict[str, Any]:
    """Cases of standard input and output."""
    return {"type": "stdio", "cases": [{"stdin": stdin, "stdout": stdout} for stdin, stdout in cases], **more}


def function(*cases: tuple[list[Any], Any], entry_point: str = "f") -> dict[str, Any]:
    """Cases of arguments and what must be returned."""
    return {
        "type": "function",
        "entry_point": entry_point,
        "cases": [{"args": args, "expected": expected} for args, expected in cases],
    }


def asserts(*statements: str, **more: Any) -> dict[str, Any]:
    """Statements, each a test."""
    return {"type": "asserts", "asserts": list(statements), **more}


def script(body: str, entry_point: str = "f") -> dict[str, Any]:
    """A `check(candidate)` with this body."""
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    return {"type": "script", "entry_point": entry_point, "code": f"def check(candidate):\n{indented}"}


def wrote(text: str | bytes, **more: Any) -> Run:
    """A run that wrote this and ended well."""
    return Run(Status.OK, exit_code=0, stdout=text.encode() if isinstance(text, str) else text, **more)


def returned(value: Any) -> Run:
    """A call that returned this."""
    return Run(Status.OK, value=encode(value, limit_bytes=PLENTY))


@dataclass
class ScriptedSandbox:
    """Tells of the runs that the test gives it, or raises."""

    runs: Sequence[Run] = ()
    prepared: Run | None = None
    error: SandboxError | None = None
    jobs: list[Job] = field(default_factory=list)
    unavailable: str = ""
    languages: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    tells_of_last: bool = False
    """Whether `go_on` is asked about the last run too, where its answer changes nothing."""

    async def run(self, job: Job, *, deadline: float, go_on: GoOn | None = None) -> Ran:
        self.jobs.append(job)
        if self.error is not None:
            raise self.error
        task = job.task
        count = len(task.inputs if isinstance(task, Stdio) else task.calls if isinstance(task, Calls) else task.tests)
        runs: list[Run] = []
        for index, run in enumerate(self.runs[:count]):
            runs.append(run)
            asked = go_on is not None and (index < count - 1 or self.tells_of_last)
            if asked and go_on is not None and not go_on(index, run):
                break
        return Ran(self.prepared, runs)

"""A sandbox that runs nothing: what becomes of a job is up to the test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.base import GoOn, Job, NotOfferedError, Ran, Run, Status, Stdio

OK = Run(Status.OK, exit_code=0, wall_ms=12.5)


def echo(job: Job) -> Ran:
    """Every run writes what it reads."""
    assert isinstance(job.task, Stdio)
    return Ran(None, [Run(Status.OK, exit_code=0, stdout=text, wall_ms=12.5) for text in job.task.inputs])


@dataclass
class FakePool:
    """Has the surface of `sandbox.pool.SandboxPool`."""

    becomes: Callable[[Job], Ran] = echo
    unavailable: str = ""
    backend: str = "local"
    cells: int = 2
    languages: Mapping[str, str] = field(default_factory=lambda: {"python": "3.11.2", "cpp": "12.2"})
    packages: Mapping[str, str] = field(default_factory=lambda: {"numpy": "2.0", "pytest": "8.0"})
    counters: dict[str, int] = field(default_factory=dict)
    busy: int = 0
    note: str = "as the test says"
    jobs: list[Job] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)

    async def start(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to close."""

    def describe(self) -> dict[str, Any]:
        return {
            "backend": self.backend,
            "chosen": self.note,
            "cells": self.cells,
            "busy": 0,
            "memory_mb": 1,
            "landlock": 4,
        }

    async def run(self, job: Job, *, deadline: float, go_on: GoOn | None = None) -> Ran:
        self.jobs.append(job)
        self.deadlines.append(deadline)
        if job.program.language not in self.languages:
            raise NotOfferedError(f"no language {job.program.language!r}")
        ran = self.becomes(job)
        for position, run in enumerate(ran.runs):
            if go_on is not None and not go_on(position, run):
                return Ran(ran.prepared, ran.runs[: position + 1])
        return ran

"""Checker programs: a reference's own code that decides whether an output is right.

A checker runs in a job of its own after the candidate's has ended, and reads the files `input`, `output` and
`expected`. It accepts by exiting with 0 and rejects with 1.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from sandbox.base import Job, Limits, Program, Run, Sandbox, Status, Stdio
from verifiers.base import BadItemError, Context, Outcome, clip
from verifiers.code.marks import PASSED, Mark, last_line, text_of, why, why_not_compiled
from verifiers.code.reference import Checker
from verifiers.code.suite import Settings

AT_ONCE = 8
"""Cases of one item that are checked at a time."""
LIMITS = Limits(cpu_s=10.0, wall_s=40.0)

_PYTHON = b"""
import sys, traceback
with open("checker.py", "rb") as file:
    checker = file.read()
try:
    exec(compile(checker, "checker.py", "exec"), {"__name__": "__main__"})
except Exception:
    traceback.print_exc()
    sys.exit(3)
"""
"""Runs a checker in Python, whose uncaught exceptions would else end in the exit status that rejects."""

Case = tuple[bytes, bytes, bytes]
"""What the candidate read, what it wrote, and what the reference has for it."""


@dataclass(frozen=True, slots=True)
class CheckerProgram:
    """The checker of one reference."""

    source: bytes
    language: str

    @classmethod
    def of(cls, checker: str | Checker) -> Self:
        """The checker that a reference gives."""
        if isinstance(checker, str):
            return cls(checker.encode(), "python")
        return cls(checker.code.encode(), checker.language)

    async def check(
        self, cases: Mapping[int, Case], settings: Settings, sandbox: Sandbox, ctx: Context
    ) -> dict[int, Mark]:
        """A mark for each case; after one that is rejected, none where the settings stop there.

        Raises `BadItemError` where the checker is at fault.
        """
        marks: dict[int, Mark] = {}
        left = iter(cases.items())
        while batch := list(itertools.islice(left, AT_ONCE)):
            found = await asyncio.gather(*(self._mark(case, settings, sandbox, ctx) for _, case in batch))
            for (index, _), mark in zip(batch, found, strict=True):
                if isinstance(mark, str):
                    raise BadItemError(f"reference/checker: on case {index} it {mark}")
                marks[index] = mark
                if not mark.passed and settings.stops:
                    return marks
        return marks

    async def _mark(self, case: Case, settings: Settings, sandbox: Sandbox, ctx: Context) -> Mark | str:
        """The candidate's mark, or what the checker did instead of giving one."""
        stdin, output, expected = case
        run = await self._run(stdin, output, expected, settings, sandbox, ctx)
        if run.status is Status.OK:
            return PASSED
        said = clip(last_line(run.stderr) or text_of(run.stdout[:200]).strip())
        if run.status is Status.EXIT and run.exit_code == 1:
            return Mark(Outcome.INCORRECT, "wrong", said)
        # it broke: by this output, or by any? The reference's own output tells.
        control = await self._run(stdin, expected, expected, settings, sandbox, ctx)
        if control.status is Status.OK:
            return Mark(Outcome.INCORRECT, "wrong", clip(f"the checker cannot read the output: {said}"))
        return f"neither accepted (exit status 0) nor rejected (1): {why(run) or run.status}"

    async def _run(
        self, stdin: bytes, output: bytes, expected: bytes, settings: Settings, sandbox: Sandbox, ctx: Context
    ) -> Run:
        files = {"input": stdin, "output": output, "expected": expected}
        if self.language == "python":
            program = Program(_PYTHON, "python", {**files, "checker.py": self.source}, settings.packages)
        else:
            program = Program(self.source, self.language, files)
        ran = await sandbox.run(Job(program, Stdio([b""]), LIMITS), deadline=ctx.deadline)
        if ran.prepared is not None and ran.prepared.status is not Status.OK:
            raise BadItemError(f"reference/checker: cannot be compiled: {why_not_compiled(ran.prepared)}")
        return ran.runs[0]

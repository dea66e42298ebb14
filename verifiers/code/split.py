"""Tests in Python that run in a process of their own, beside the program's."""

from __future__ import annotations

from typing import ClassVar

from sandbox.base import Run, Split
from verifiers.base import clip
from verifiers.code.marks import PASSED, Mark, of_status
from verifiers.code.one_process import OneProcessSuite
from verifiers.code.python_tests import PythonTests
from verifiers.code.suite import Suite


class SplitSuite(Suite):
    """The program runs in one process and its tests in another, which the program cannot reach."""

    stage: ClassVar[str] = "test"
    loading: ClassVar[str] = "load"

    def __init__(self, tests: PythonTests) -> None:
        super().__init__(len(tests.tests))
        self._tests = tests

    def task(self) -> Split:
        """See `Suite.task`."""
        tests = self._tests
        return Split(tests.tests, tests.setup, tests.names, tests.aliases, tests.prelude)

    def mark(self, index: int, run: Run) -> Mark | None:
        """See `Suite.mark`."""
        return of_status(run) or PASSED

    def shown(self, index: int, run: Run) -> dict[str, str]:
        """See `Suite.shown`."""
        return {"test": clip(self._tests.tests[index])}

    def together(self) -> Suite:
        """See `Suite.together`."""
        return OneProcessSuite(self._tests)

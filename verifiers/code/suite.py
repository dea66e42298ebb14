"""What every form of tests has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from sandbox.base import Job, Limits, Program, Run, Sandbox, Task
from verifiers.base import Context
from verifiers.code.marks import Mark


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration says of running programs, as the sandbox takes it."""

    language: str
    limits: Limits
    files: Mapping[str, bytes]
    packages: frozenset[str]
    stops: bool
    """Whether no test runs after the first that fails."""


class Suite(ABC):
    """The tests of one item."""

    stage: ClassVar[str] = "case"
    """What the verdict's detail calls a test."""
    loading: ClassVar[str] = "compile"
    """What it calls what comes before the tests."""
    forgeable: ClassVar[bool] = False
    """Whether the program could pass without passing the tests."""

    def __init__(self, total: int) -> None:
        self.total = total

    @abstractmethod
    def task(self) -> Task:
        """What the sandbox does with the program."""

    @abstractmethod
    def mark(self, index: int, run: Run) -> Mark | None:
        """What a run says of the program; None where that takes longer than a few milliseconds. See `settle`."""

    async def settle(
        self, unmarked: Mapping[int, Run], settings: Settings, sandbox: Sandbox, ctx: Context
    ) -> dict[int, Mark]:
        """The marks of the runs that `mark` left; after one that fails, fewer where the settings stop there."""
        raise AssertionError(f"{type(self).__name__} leaves no run unmarked")

    def marks(self, marks: Sequence[Mark], runs: Sequence[Run]) -> list[Mark]:
        """One mark for each test, from one for each run. May set `total`."""
        return list(marks)

    def shown(self, index: int, run: Run) -> dict[str, str]:
        """What a verdict shows of a test, each cut short."""
        return {}

    def together(self) -> Suite | None:
        """The same tests in one process with the program; None where that is never needed."""
        return None

    def job(self, source: bytes, settings: Settings) -> Job:
        """The program with its tests."""
        program = Program(source, settings.language, settings.files, settings.packages)
        return Job(program, self.task(), settings.limits)

"""From what the sandbox tells of a program to a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from sandbox.base import Run, Sandbox, Status
from verifiers.base import Context, ErrorType, Outcome, Verdict, clip
from verifiers.code.marks import Mark, of_status, text_of, why_not_compiled
from verifiers.code.suite import Settings, Suite

Reward = Literal["all", "fraction"]

MAX_WRITTEN = 64 * 2**20
"""Bytes that a program may write, or return, in all its runs together."""
MAX_TIMEOUTS = 3
"""Tests that may run out of time; after so many no other is run, and the rest counts as failed."""
MAX_LISTED = 1_000
"""Tests of which `detail: full` says what became of each."""
_FULL_BYTES = 4_000

_TOO_MUCH = Mark(Outcome.OUTPUT_EXCEEDED, "output", f"all tests together wrote more than {MAX_WRITTEN} bytes")


class Book:
    """Marks each run as it ends, and says whether another is worth while."""

    def __init__(self, suite: Suite, *, stops: bool) -> None:
        self.marks: dict[int, Mark] = {}
        self.open: list[int] = []
        """Runs that the suite has to settle."""
        self._suite = suite
        self._stops = stops
        self._entered = 0
        self._written = 0
        self._timeouts = 0

    def enter(self, index: int, run: Run) -> bool:
        """See `sandbox.base.GoOn`."""
        self._entered = index + 1
        self._written += len(run.stdout) + len(run.stderr) + len(run.value)
        mark = _TOO_MUCH if self._written > MAX_WRITTEN else self._suite.mark(index, run)
        if mark is None:
            self.open.append(index)
            return True
        self.marks[index] = mark
        self._timeouts += mark.outcome is Outcome.TIMEOUT
        ends = self._stops and not mark.passed
        return not ends and self._timeouts < MAX_TIMEOUTS and mark is not _TOO_MUCH

    def enter_rest(self, runs: Sequence[Run]) -> None:
        """Mark the runs that the sandbox did not ask about, such as the last."""
        for index in range(self._entered, len(runs)):
            if not self.enter(index, runs[index]):
                return


async def judge(
    suite: Suite, source: bytes, settings: Settings, reward: Reward, sandbox: Sandbox, ctx: Context
) -> Verdict:
    """Run the program on its tests. Raises what `Sandbox.run` raises, `DecidedError`, `BadItemError`."""
    book = Book(suite, stops=settings.stops)
    ran = await sandbox.run(suite.job(source, settings), deadline=ctx.deadline, go_on=book.enter)
    if ran.prepared is not None and (mark := of_status(ran.prepared)):
        return _not_prepared(suite, mark, ran.prepared)
    runs = ran.runs[: suite.total]
    book.enter_rest(runs)
    marks = book.marks
    unmarked = {index: runs[index] for index in book.open}
    if unmarked and settings.stops:  # what comes after a failure is never looked at
        failed = min((index for index, mark in marks.items() if not mark.passed), default=len(runs))
        unmarked = {index: run for index, run in unmarked.items() if index < failed}
    if unmarked:
        marks = marks | await suite.settle(unmarked, settings, sandbox, ctx)
    return verdict(suite, suite.marks(_in_order(marks, stops=settings.stops), runs), runs, reward)


def _in_order(marks: Mapping[int, Mark], *, stops: bool) -> list[Mark]:
    """The marks of the first tests: up to one that has none, and where that ends the run, the first that failed."""
    ordered: list[Mark] = []
    while (mark := marks.get(len(ordered))) is not None:
        ordered.append(mark)
        if stops and not mark.passed:
            break
    return ordered


def verdict(suite: Suite, marks: Sequence[Mark], runs: Sequence[Run], reward: Reward) -> Verdict:
    """The verdict of a program that was run: `marks` are those of its first tests, in order."""
    failed = next((index for index, mark in enumerate(marks) if not mark.passed), None)
    unscored = next((index for index, mark in enumerate(marks) if mark.error), None)
    if unscored is not None and (reward == "fraction" or unscored == failed):
        return _unscored(suite, unscored, marks[unscored])
    if failed is None and len(marks) < suite.total:
        message = f"the sandbox told of {len(marks)} of {suite.total} tests"
        return Verdict.unscored(ErrorType.SANDBOX_FAULT, message, retryable=True)
    passed = sum(mark.passed for mark in marks)
    counts: dict[str, Any] = {"passed": passed, "total": suite.total}
    if suite.forgeable:
        counts["forgeable"] = True
    listed = {"tests": [mark.fault or "passed" for mark in marks[:MAX_LISTED]]}
    if failed is None:
        return Verdict(Outcome.CORRECT, 1.0, {"stage": suite.stage, **counts}, listed)
    mark = marks[failed]
    run = runs[min(failed, len(runs) - 1)]  # one run may be of many tests
    detail = _detail(suite.stage, mark) | counts | {"index": failed} | suite.shown(failed, run)
    outcome, score = mark.outcome, 0.0
    if reward == "fraction" and passed:
        outcome, score = Outcome.PARTIAL, passed / suite.total
    transient = any(mark.fault == Status.WALL for mark in (marks if reward == "fraction" else [mark]))
    return Verdict(outcome, score, detail, listed | _texts(run), transient=transient)


def _not_prepared(suite: Suite, mark: Mark, run: Run) -> Verdict:
    if mark.error is not None:
        return Verdict.unscored(mark.error, mark.why, retryable=False)
    reason = replace(mark, why=why_not_compiled(run) if suite.loading == "compile" else mark.why)
    detail = _detail(suite.loading, reason) | {"passed": 0, "total": suite.total}
    return Verdict(mark.outcome, 0.0, detail, _texts(run), transient=mark.fault == Status.WALL)


def _unscored(suite: Suite, index: int, mark: Mark) -> Verdict:
    what = f"test {index} "
    if mark.error is ErrorType.UNSPLITTABLE_TEST:
        message = (
            f"{what}cannot be kept apart from the program: {mark.why}; rewrite it, or allow it to run in one process "
            "with the program (allow_forgeable)"
        )
        return Verdict.unscored(mark.error, message, retryable=False)
    return Verdict.bad_item(f"reference: {what}is broken whatever the program: {mark.why}")


def _detail(stage: str, mark: Mark) -> dict[str, Any]:
    detail = {"stage": stage, "fault": mark.fault}
    return detail | {"why": mark.why} if mark.why else detail


def _texts(run: Run) -> dict[str, str]:
    """The ends of what a run wrote."""
    texts = {"stdout": run.stdout[:_FULL_BYTES], "stderr": run.stderr[-_FULL_BYTES:]}
    return {name: clip(text_of(data), _FULL_BYTES) for name, data in texts.items() if data}

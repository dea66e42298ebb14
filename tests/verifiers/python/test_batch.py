"""From what a sandbox tells of calls to verdicts, with a sandbox that tells what the test wants."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.base import (
    Calls,
    GoOn,
    Job,
    NotOfferedError,
    Ran,
    Run,
    SandboxDeadlineError,
    SandboxError,
    SandboxFaultError,
    SandboxUnavailableError,
    Status,
)
from sandbox.cell.values import encode
from tests.verifiers.support import NoGuard, assert_sound, configured, score_all
from verifiers.base import Context, ErrorType, Item, Outcome, Verdict

CODE = "def verify(completion): return 1"
Tell = Callable[[int], Run]


def told(value: Any) -> Run:
    """A call that the runner came through, with this."""
    return Run(Status.OK, value=encode(value, limit_bytes=10**6))


def judged(value: Any, printed: str = "") -> Run:
    return told({"value": value, "printed": printed})


@dataclass
class Cell:
    """Tells of each item by its completion's number, which is what jobs hold of it."""

    tell: Tell
    prepared: Run | None = field(default_factory=lambda: Run(Status.OK))
    error: SandboxError | None = None
    after: int = 10**9
    """Items of a job after which it raises the error."""
    jobs: list[Job] = field(default_factory=list)
    asks_last: bool = True
    unavailable: str = ""
    languages: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)

    async def run(self, job: Job, *, deadline: float, go_on: GoOn | None = None) -> Ran:
        self.jobs.append(job)
        assert isinstance(job.task, Calls)
        if self.prepared is not None and self.prepared.status is not Status.OK:
            return Ran(self.prepared, [])
        runs: list[Run] = []
        for index, call in enumerate(job.task.calls):
            if index == self.after and self.error is not None:
                raise self.error
            runs.append(self.tell(int(json.loads(call)[1]["completion"])))
            last = index == len(job.task.calls) - 1
            if go_on is not None and (self.asks_last or not last) and not go_on(index, runs[-1]):
                break
        return Ran(self.prepared, runs)


@pytest.fixture(autouse=True)
def one_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})


async def verdicts(cell: Any, count: int = 1, **config: Any) -> list[Verdict]:
    items = [Item(completion=str(n)) for n in range(count)]
    found = await score_all(configured("python", {"code": CODE, **config}), items, NoGuard(), sandbox=cell)
    for verdict in found:
        assert_sound(verdict)
    return found


async def message(run: Run, **config: Any) -> str:
    [verdict] = await verdicts(Cell(lambda _: run), **config)
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.retryable) == (ErrorType.VERIFIER_FAULT, False)
    return verdict.error.message


async def test_a_result_is_the_verdict() -> None:
    [verdict] = await verdicts(Cell(lambda _: judged({"score": 0.5, "components": {"a": 1}}, "said\n")))
    assert (verdict.score, verdict.outcome, verdict.components) == (0.5, Outcome.PARTIAL, {"a": 1.0})
    assert (verdict.detail, verdict.full) == ({"stage": "python"}, {"printed": "said\n"})


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (told({"raised": "KeyError: 'x' (line 3)", "printed": "p"}), "verify raised KeyError: 'x' (line 3)"),
        (judged(None), "verify gave nothing (None), not a number"),
        (judged(float("nan")), "verify gave a number that is not finite"),
        (judged("1"), "verify gave a value of type str, not a number"),
        (judged({"score": 1, "more": 2}), "verify gave an object with 'more', which is none of "),
        (told(1), "verify was not called by the runner"),
        (told({"printed": 5}), "verify gave nothing (None), not a number"),
        (told({"raised": 10**1000}), "verify gave nothing (None), not a number"),
        (Run(Status.OK, value=b"{"), "verify returned what is no result: not JSON"),
        (Run(Status.OK, value=b"1" * 70_000), "verify returned what is no result: 70000 bytes, 65536 are allowed"),
        (Run(Status.CPU), "verify: took more than 5 s of processor time"),
        (Run(Status.WALL, wall_ms=20_000), "verify: took more than 20 s"),
        (Run(Status.MEMORY), "verify: used more than 512 MiB of memory"),
        (Run(Status.OUTPUT), "verify: wrote more than 1024 KiB"),
        (Run(Status.SIGNAL, signal=11), "verify: died of signal 11"),
        (Run(Status.EXIT, exit_code=3), "verify: ended with exit status 3"),
        (Run(Status.EXIT, message="ended\nearly"), "verify: ended early"),
        (Run(Status.PROTOCOL, message="no answer"), "verify: no answer"),
        (
            Run(Status.FAILED, message="an object of type 'x' is not plain data"),
            "verify returned what is no result: an ",
        ),
    ],
)
async def test_every_other_end_is_the_verifiers_fault(run: Run, expected: str) -> None:
    assert (await message(run)).startswith(expected)
    first, second, third = await verdicts(Cell(lambda n: run if n == 1 else judged(1)), 3)
    assert (first.score, second.score, third.score) == (1.0, None, 1.0)


async def test_code_that_cannot_be_loaded_leaves_every_item() -> None:
    for prepared, expected in (
        (
            Run(Status.EXIT, message="NameError: name 'x' is not defined\n(line 2)"),
            "NameError: name 'x' is not defined (line 2)",
        ),
        (Run(Status.CPU), "took more than 5 s of processor time"),
        (Run(Status.MEMORY), "used more than 512 MiB of memory"),
    ):
        cell = Cell(lambda _: judged(1), prepared=prepared)
        for verdict in await verdicts(cell, 3):
            assert verdict.error is not None
            assert verdict.error.type is ErrorType.VERIFIER_FAULT
            assert verdict.error.message == f"the code cannot be loaded: {expected}"
        assert len(cell.jobs) == 1


@pytest.mark.parametrize(
    ("error", "type"),
    [
        (SandboxUnavailableError("no"), ErrorType.SANDBOX_UNAVAILABLE),
        (NotOfferedError("no package"), ErrorType.SANDBOX_UNAVAILABLE),
        (SandboxFaultError("twice"), ErrorType.SANDBOX_FAULT),
        (SandboxDeadlineError("late"), ErrorType.DEADLINE_EXCEEDED),
    ],
)
async def test_what_came_before_the_sandbox_failed_stays(error: SandboxError, type: ErrorType) -> None:
    found = await verdicts(Cell(lambda _: judged(1), error=error, after=2), 4)
    assert [verdict.score for verdict in found] == [1.0, 1.0, None, None]
    for verdict in found[2:]:
        assert verdict.error is not None
        lasting = isinstance(error, NotOfferedError)
        assert (verdict.error.type, verdict.error.retryable) == (type, not lasting)


async def test_no_sandbox() -> None:
    [verdict] = await configured("python", {"code": CODE}).verify(
        [Item(completion="x")], Context(time.monotonic() + 5, NoGuard())
    )
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.SANDBOX_UNAVAILABLE


async def test_a_sandbox_that_tells_of_nothing() -> None:
    class Silent(Cell):
        async def run(self, job: Job, *, deadline: float, go_on: GoOn | None = None) -> Ran:
            return Ran(Run(Status.OK), [])

    for verdict in await verdicts(Silent(judged), 2):
        assert verdict.error is not None
        assert (verdict.error.type, verdict.error.retryable) == (ErrorType.SANDBOX_FAULT, True)


async def test_time_that_others_used_up_is_not_the_items() -> None:
    """Idle time adds up over a job; an item that is charged for it is tried again, first in a job of its own."""
    asked: list[int] = []

    def tell(number: int) -> Run:
        asked.append(number)
        if number == 2 and asked.count(2) == 1:
            return Run(Status.WALL, wall_ms=300)
        if number == 4:
            return Run(Status.WALL, wall_ms=20_001)
        return judged(1)

    cell = Cell(tell)
    found = await verdicts(cell, 6)
    assert [verdict.score for verdict in found] == [1, 1, 1, 1, None, 1]
    assert found[4].error is not None
    assert "took more than 20 s" in found[4].error.message
    assert asked == [0, 1, 2, 2, 3, 4, 5]
    # one that is charged though it is first has nobody else to charge
    [alone] = await verdicts(Cell(lambda _: Run(Status.WALL, wall_ms=300)))
    assert alone.score is None


@given(
    ends=st.lists(st.sampled_from(["ok", "idle", "late", "raised"]), min_size=1, max_size=12), asks_last=st.booleans()
)
async def test_each_item_gets_its_own_verdict_whatever_becomes_of_the_others(
    ends: Sequence[str], asks_last: bool
) -> None:
    left = {number: end == "idle" for number, end in enumerate(ends)}

    def tell(number: int) -> Run:
        if ends[number] == "idle" and left.pop(number, False):
            return Run(Status.WALL, wall_ms=1)
        return {
            "late": Run(Status.CPU),
            "raised": told({"raised": "E"}),
        }.get(ends[number], judged(number + 2))

    found = await verdicts(Cell(tell, asks_last=asks_last), len(ends))
    for number, (end, verdict) in enumerate(zip(ends, found, strict=True)):
        own_fault = end in ("late", "raised") or (end == "idle" and number == 0)
        assert verdict.score == (None if own_fault else number + 2)


async def test_what_the_sandbox_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(lambda _: judged(1))
    await verdicts(cell, 3, entry_point="check", packages=["numpy"], limits={"cpu_s": 1, "output_kb": 500})
    [job] = cell.jobs
    assert job.program.files == {"verifier.py": CODE.encode()}
    assert job.program.packages == {"numpy"}
    assert job.program.source.endswith(b"judge = prepared('check')\n")
    assert (job.limits.cpu_s, job.limits.wall_s, job.limits.output_kb) == (1, 4, 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    for count, jobs in ((3, 1), (8, 2), (512, 3)):
        cell = Cell(lambda n: judged(n))
        found = await verdicts(cell, count)
        assert [verdict.score for verdict in found] == list(range(count))
        assert len(cell.jobs) == jobs

"""Faults that are nobody's but ours, results too large for the event loop, and gold results that are kept."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from sandbox.base import Run, SandboxDeadlineError, SandboxFaultError, SandboxUnavailableError, Status
from sandbox.cell.values import encode
from tests.verifiers.code.support import ScriptedSandbox
from tests.verifiers.conftest import SandboxFor
from tests.verifiers.sql.support import judged, judged_all
from tests.verifiers.support import FaultyGuard, InProcessGuard, NoGuard, configured
from verifiers.base import Context, ErrorType, GuardFault, Item
from verifiers.databases import (
    DatabaseDeadlineError,
    DatabaseRun,
    DatabaseUnavailableError,
    FixtureError,
    RunFault,
    RunLimits,
)
from verifiers.sql.expected import MAX_KEPT, Kept

GOLD = {"query": "SELECT 1"}


def result(*rows: list[Any], tables: Any = None) -> DatabaseRun:
    return DatabaseRun(result=encode([[["a"], list(rows)], tables], limit_bytes=10**7))


@dataclass
class ScriptedDatabases:
    """Gives each statement the run, or the exception, that the test has for it."""

    answers: dict[str, DatabaseRun | Exception]
    asked: list[str] = field(default_factory=list)

    async def run(self, setup: str, sql: str, *, contents: bool, limits: RunLimits, deadline: float) -> DatabaseRun:
        self.asked.append(sql)
        answer = self.answers[sql]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("error", "type", "retryable"),
    [
        (DatabaseUnavailableError("none"), ErrorType.DATABASE_UNAVAILABLE, True),
        (DatabaseDeadlineError(), ErrorType.DEADLINE_EXCEEDED, True),
        (FixtureError("no such type"), ErrorType.BAD_ITEM, False),
        (ValueError("what the item says"), ErrorType.VERIFIER_FAULT, False),
    ],
)
@pytest.mark.parametrize("whose", ["SELECT 1", "SELECT 2"])
async def test_a_database_that_fails_gives_no_score(
    error: Exception, type: ErrorType, retryable: bool, whose: str
) -> None:
    """`SELECT 1` is the gold, whose fault is everybody's; `SELECT 2` one candidate, whose neighbour is scored."""
    answers: dict[str, DatabaseRun | Exception] = {f"SELECT {number}": result([1]) for number in (1, 2, 3)}
    answers[whose] = error
    first, second = await judged_all(
        [Item(completion=sql, reference=GOLD) for sql in ("SELECT 2", "SELECT 3")],
        databases=ScriptedDatabases(answers),
    )
    assert first.error is not None
    assert (first.error.type, first.error.retryable) == (type, retryable)
    assert "what the item says" not in first.error.message
    assert second.score == (1.0 if whose == "SELECT 2" else None)


@pytest.mark.parametrize(
    ("error", "type"),
    [
        (SandboxUnavailableError("none here"), ErrorType.SANDBOX_UNAVAILABLE),
        (SandboxDeadlineError("late"), ErrorType.DEADLINE_EXCEEDED),
        (SandboxFaultError("twice"), ErrorType.SANDBOX_FAULT),
    ],
)
async def test_a_sandbox_that_fails_gives_no_score(error: Any, type: ErrorType) -> None:
    verdict = await judged("SELECT 1", {"rows": [[1]]}, sandbox=ScriptedSandbox(error=error))
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.retryable) == (type, True)


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
async def test_without_anywhere_to_run_there_is_no_score(dialect: str) -> None:
    verdict = await judged("SELECT 1", {"rows": [[1]]}, dialect=dialect)
    assert verdict.error is not None
    expected = {"sqlite": ErrorType.SANDBOX_UNAVAILABLE, "postgresql": ErrorType.DATABASE_UNAVAILABLE}
    assert verdict.error.type is expected[dialect]


@pytest.mark.parametrize(
    ("run", "outcome", "score"),
    [
        (Run(Status.CPU), "timeout", 0.0),
        (Run(Status.WALL), "timeout", 0.0),
        (Run(Status.MEMORY), "memory_exceeded", 0.0),
        (Run(Status.OUTPUT), "output_exceeded", 0.0),
        (Run(Status.FAILED, message="the value takes 9 bytes"), "output_exceeded", 0.0),
        (Run(Status.SIGNAL, signal=11), "crashed", 0.0),
        (Run(Status.EXIT, exit_code=1), "crashed", 0.0),
        (Run(Status.PROTOCOL), "crashed", 0.0),
        (Run(Status.OK, value=b'["ok",null]'), "rejected", 0.0),
        (Run(Status.OK, value=b'["ok"'), "crashed", 0.0),
        (Run(Status.OK, value=b'["fine","x"]'), "crashed", 0.0),
        (Run(Status.OK, value=b"1"), "crashed", 0.0),
        (Run(Status.OK, value=b'["ok",[["a"],[[{"c":[1,1]}]]],null]'), "rejected", 0.0),
        (Run(Status.OK, value=b'["ok",[["a"],[[1,2]]],null]'), "rejected", 0.0),
        (Run(Status.OK, value=b'["ok",null,null]'), "incorrect", 0.0),
        (Run(Status.OK, value=b'["ok",[["a"],[[1]]],null]'), "correct", 1.0),
    ],
)
async def test_what_a_cell_says_is_the_candidates_doing(run: Run, outcome: str, score: float) -> None:
    """Whatever comes out of the process that runs a candidate, it is a score, and no forged one."""
    verdict = await judged("SELECT 1", {"rows": [[1]]}, sandbox=ScriptedSandbox(runs=[run]))
    assert (verdict.outcome, verdict.score) == (outcome, score)
    assert verdict.transient is (run.status is Status.WALL)


async def test_fixtures_that_the_host_was_too_busy_for() -> None:
    verdict = await judged("SELECT 1", {"rows": [[1]]}, sandbox=ScriptedSandbox(prepared=Run(Status.WALL)))
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.retryable) == (ErrorType.SANDBOX_FAULT, True)


@pytest.mark.parametrize(("fault", "type", "retryable"), [
    (RunFault.WALL, ErrorType.WORKER_TIMEOUT, True),
    (RunFault.CPU, ErrorType.BAD_ITEM, False),
    (RunFault.CRASHED, ErrorType.BAD_ITEM, False),
])  # fmt: skip
async def test_a_gold_that_does_not_end(fault: RunFault, type: ErrorType, retryable: bool) -> None:
    answers: dict[str, DatabaseRun | Exception] = {"SELECT 1": DatabaseRun(fault), "SELECT 2": result([1])}
    verdict = await judged("SELECT 2", GOLD, databases=ScriptedDatabases(answers))
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.retryable) == (type, retryable)


async def test_large_results_are_compared_in_a_worker() -> None:
    rows = [[f"{number:06}"] for number in range(3_000)]
    answers: dict[str, DatabaseRun | Exception] = {
        "SELECT 1": result(*rows),
        "SELECT 2": result(*reversed(rows)),
        "SELECT 3": result(*rows[1:], ["x"]),
    }
    guard = InProcessGuard()
    items = [Item(completion=sql, reference=GOLD) for sql in ("SELECT 2", "SELECT 3")]
    verdicts = await judged_all(items, databases=ScriptedDatabases(answers), guard=guard)
    assert [verdict.score for verdict in verdicts] == [1.0, 0.0]
    assert len(guard.payloads) == 2
    faults = {GuardFault.CPU: 0.0, GuardFault.MEMORY: 0.0, GuardFault.WALL: None, GuardFault.UNAVAILABLE: None}
    for fault, score in faults.items():
        [verdict, _] = await judged_all(items, databases=ScriptedDatabases(answers), guard=FaultyGuard(fault))
        assert verdict.score == score


async def test_small_results_are_compared_at_once() -> None:
    answers: dict[str, DatabaseRun | Exception] = {"SELECT 1": result([1]), "SELECT 2": result([1])}
    assert (await judged("SELECT 2", GOLD, databases=ScriptedDatabases(answers), guard=NoGuard())).score == 1.0


async def test_a_gold_is_run_once_and_a_candidate_as_often_as_it_differs() -> None:
    databases = ScriptedDatabases({"SELECT 1": result([1]), "SELECT 2": result([1]), "SELECT 3": result([2])})
    verifier = configured("sql", {"dialect": "postgresql"})
    items = [Item(completion=sql, reference=GOLD) for sql in ("SELECT 2", "SELECT 3", "SELECT 2", "SELECT 3")]
    for _ in range(2):
        verdicts = await verifier.verify(items, Context(time.monotonic() + 9, NoGuard(), databases=databases))
        assert [verdict.score for verdict in verdicts] == [1.0, 0.0, 1.0, 0.0]
    assert sorted(databases.asked) == ["SELECT 1", *["SELECT 2"] * 2, *["SELECT 3"] * 2]


@pytest.mark.parametrize(("gold", "sql"), [("SELECT now()", "SELECT 1"), ("SELECT 1", "SELECT CURRENT_DATE")])
async def test_what_depends_on_the_moment_is_not_kept(gold: str, sql: str) -> None:
    databases = ScriptedDatabases({gold: result([1]), sql: result([1])})
    verifier = configured("sql", {"dialect": "postgresql"})
    for _ in range(2):
        [verdict] = await verifier.verify(
            [Item(completion=sql, reference={"query": gold})],
            Context(time.monotonic() + 9, NoGuard(), databases=databases),
        )
        assert verdict.transient
    assert databases.asked.count(gold) == (2 if "now" in gold else 1)


def test_kept_results_are_bounded() -> None:
    kept = Kept()
    for number in range(2 * MAX_KEPT):
        kept.put(number.to_bytes(4, "big"), b"x")
    assert sum(kept.get(number.to_bytes(4, "big")) is not None for number in range(2 * MAX_KEPT)) == MAX_KEPT
    for number in range(100):
        kept.put(b"large" + bytes([number]), b"x" * 2**20)
    assert sum(kept.get(b"large" + bytes([number])) is not None for number in range(100)) == 8
    kept.put(b"too large", b"x" * 2**24)
    assert kept.get(b"too large") is None


async def test_past_the_deadline_nothing_is_scored(sandbox_for: SandboxFor) -> None:
    verdicts = await judged_all([Item(completion="SELECT 1", reference=GOLD)] * 3, sandbox_for("sql"), seconds=-1)
    assert {verdict.error.type for verdict in verdicts if verdict.error} == {ErrorType.DEADLINE_EXCEEDED}

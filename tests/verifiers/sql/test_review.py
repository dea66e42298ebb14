"""Fixtures that write the time into rows, and statements that take long to read."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest

from sandbox.base import Sandbox
from sandbox.cell.values import encode
from tests.app.scratch.live import LiveDatabases
from tests.verifiers.conftest import SandboxFor
from tests.verifiers.sql.support import judged, judged_all
from tests.verifiers.support import FaultyGuard, NoGuard, configured
from verifiers.base import Context, ErrorType, GuardFault, Item
from verifiers.databases import DatabaseRun, RunFault, RunLimits
from verifiers.sql.cells import Types
from verifiers.sql.compare import Rules
from verifiers.sql.config import Columns
from verifiers.sql.judging import INLINE_BYTES, Comparison, Expected, compared
from verifiers.sql.sqltext import depends_on_moment, makes_moments, may_depend_on_moment

STAMPED = (
    "CREATE TABLE t (id INTEGER PRIMARY KEY, n TEXT, at TIMESTAMP DEFAULT CURRENT_TIMESTAMP); "
    "INSERT INTO t (id, n) VALUES (1, 'a')"
)
INSERT = "INSERT INTO t (id, n) VALUES (2, 'b')"
DELETE = "DELETE FROM t WHERE id = 1"


class Ticking:
    """A database whose clock moves on by one with each run that ends well."""

    def __init__(self, fault: RunFault | None = None) -> None:
        self.clock = 0
        self.golds = 0
        self._fault = fault

    async def run(self, setup: str, sql: str, *, contents: bool, limits: RunLimits, deadline: float) -> DatabaseRun:
        self.clock += 1
        if sql.startswith("wrong"):
            return DatabaseRun(RunFault.ERROR, "syntax error")
        self.golds += sql == INSERT
        if self.golds > 1 and self._fault is not None:
            return DatabaseRun(self._fault)
        at = self.clock if sql == INSERT else 0
        tables = [["t", [["id", "n", "at"], [[1, "a", 0], [2, "b", at]]]]]
        return DatabaseRun(result=encode([None, tables], limit_bytes=10**6))


async def test_nobody_is_wrong_because_the_time_went_on() -> None:
    """The gold is run again after the candidates; where it differs from itself, the item is at fault."""
    database = Ticking()
    right, other, broken = await judged_all(
        [Item(completion=sql, reference={"statements": INSERT}) for sql in (INSERT + ";", "UPDATE", "wrong")],
        databases=database,
        setup=STAMPED,
    )
    for verdict in (right, other):
        assert verdict.error is not None
        assert verdict.error.type is ErrorType.BAD_ITEM
        assert "depends on the time" in verdict.error.message
    assert (broken.score, broken.detail["stage"]) == (0.0, "run"), "no time makes it right"


async def test_a_gold_that_cannot_be_run_again_leaves_no_zero() -> None:
    verdict = await judged(INSERT + ";", {"statements": INSERT}, databases=Ticking(RunFault.WALL), setup=STAMPED)
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.retryable) == (ErrorType.WORKER_TIMEOUT, True)


async def test_a_fixture_that_knows_no_time_runs_its_gold_once() -> None:
    database = Ticking()
    plain = "CREATE TABLE t (id INTEGER, n TEXT, at TIMESTAMP)"
    verdict = await judged("UPDATE", {"statements": INSERT}, databases=database, setup=plain)
    assert (verdict.score, database.golds) == (0.0, 1)


@pytest.fixture(scope="module")
def box(sandbox_for: SandboxFor) -> Sandbox | None:
    return sandbox_for("sql")


async def test_rows_of_a_stamped_fixture_in_sqlite(box: Sandbox | None) -> None:
    """Each job makes the fixture anew, at its own second; the gold of an earlier one is no measure."""
    verifier = configured("sql", {"setup": STAMPED})
    items = [Item(completion=sql, reference={"statements": DELETE}) for sql in (DELETE + ";", "SELECT 1")]
    for _ in range(2):
        right, wrong = await verifier.verify(items, Context(time.monotonic() + 60, None, box))  # type: ignore[arg-type]
        assert right.score == 1.0
        assert right.transient
        assert wrong.score == 0.0
        await asyncio.sleep(1.1)
    untouched = Item(completion="SELECT 1;", reference={"statements": "SELECT 1"})
    for _ in range(2):
        [verdict] = await verifier.verify([untouched], Context(time.monotonic() + 60, None, box))  # type: ignore[arg-type]
        assert verdict.score in (1.0, None), "never 0 for a second that went by"
        await asyncio.sleep(1.1)


async def test_rows_of_a_stamped_fixture_in_postgresql(databases: LiveDatabases) -> None:
    asks: list[Any] = [
        (INSERT + ";", {"statements": INSERT}, None),
        (DELETE + ";", {"statements": DELETE}, 1.0),
        ("SELECT 1", {"statements": DELETE}, 0.0),
        ("SELECT now() - interval '1 s'", {"query": "SELECT now()"}, None),
        ("SELECT 2", {"query": "SELECT 1 WHERE now() > '2020-01-01'"}, 0.0),
    ]
    for sql, reference, score in asks:
        verdict = await judged(sql, reference, databases=databases, setup=STAMPED)
        assert verdict.score == score, (sql, verdict)


@pytest.mark.parametrize(
    ("setup", "makes"),
    [
        (STAMPED, True),
        ("CREATE TABLE t (a timestamptz DEFAULT now())", True),
        ("CREATE TABLE t (a uuid DEFAULT gen_random_uuid())", True),
        ("INSERT INTO t VALUES (datetime('now'))", True),
        ("CREATE TABLE t (a DATE, b TIMESTAMP, known TEXT)", False),
    ],
)
def test_which_fixtures_make_moments(setup: str, makes: bool) -> None:
    assert makes_moments(setup) is makes


async def test_long_statements_do_not_hold_up_the_event_loop() -> None:
    """Reading every sign of a hundred thousand took a second, on the loop."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - began)

    sql = "SELECT nowhere" + "+1" * 49_000
    watching = asyncio.create_task(watch())
    try:
        verdict = await judged(sql, {"statements": INSERT}, databases=Ticking(), setup="")
    finally:
        watching.cancel()
    assert verdict.score is not None
    assert longest < 0.1, longest


def test_the_quick_look_finds_what_the_thorough_one_does() -> None:
    for sql in ("SELECT now()", "SELECT date ( )", "SELECT strftime('%Y')", "SELECT 'Today'", "SELECT random()",
                "SELECT unixepoch()", "SELECT julianday()", "SELECT LOCALTIME", "SELECT uuidv7()"):  # fmt: skip
        assert depends_on_moment(sql, "sqlite")
        assert may_depend_on_moment(sql)


async def test_a_gold_that_equals_nothing_by_name_is_the_items_fault(databases: LiveDatabases) -> None:
    gold = {"query": "SELECT 1 AS a, 2 AS a"}
    verdict = await judged("SELECT 1 AS a, 2 AS a", gold, databases=databases, columns="name")
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.BAD_ITEM
    assert "two of one name" in verdict.error.message
    verdict = await judged(
        "SELECT 2 AS b, 1 AS a", {"query": "SELECT 1 AS a, 2 AS b"}, databases=databases, columns="name"
    )
    assert verdict.score == 1.0


async def test_names_that_differ_in_case_alone(databases: LiveDatabases) -> None:
    """The gold itself scored 0 where a table had columns "a" and "A"."""
    setup = 'CREATE TABLE t ("a" int, "A" int); INSERT INTO t VALUES (1, 2)'
    for sql, score in (('UPDATE t SET "A" = 3;', 1.0), ('UPDATE t SET "a" = 3', 0.0)):
        verdict = await judged(sql, {"statements": 'UPDATE t SET "A" = 3'}, databases=databases, setup=setup)
        assert verdict.score == score
    two = setup + '; CREATE TABLE "T" (b int)'
    verdict = await judged("SELECT 1", {"statements": "DELETE FROM t"}, databases=databases, setup=two)
    assert verdict.error is not None
    assert (verdict.error.type, "two tables of one name" in verdict.error.message) == (ErrorType.BAD_ITEM, True)


async def test_an_error_that_statements_raise_is_their_own(databases: LiveDatabases) -> None:
    """With the SQLSTATE of a full disk it was nobody's fault, and held up all others for another try."""
    for code, message, fault in (
        ("53100", "could not extend file", "error"),
        ("53200", "out of shared memory", "memory"),
        ("57014", "x", "error"),
    ):
        sql = f"DO $$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '{code}'; END $$"
        verdict = await judged(sql, {"query": "SELECT 1"}, databases=databases)
        assert (verdict.score, verdict.detail["fault"]) == (0.0, fault), verdict


def balanced(rows: int, seed: int) -> list[int]:
    column = [0] * (rows // 2) + [1] * (rows - rows // 2)
    random.Random(seed).shuffle(column)
    return column


def result(rows: list[list[Any]]) -> bytes:
    names = [f"c{index}" for index in range(len(rows[0]))]
    return encode([[names, rows], None], limit_bytes=10**6)


@pytest.mark.parametrize("columns", ["any", "position"])
async def test_what_takes_long_to_compare_is_compared_in_a_worker(columns: Columns) -> None:
    """5 KB of zeros and ones held up the event loop for a minute."""
    found: list[list[Any]]
    if columns == "any":
        found = [list(row) for row in zip(*(balanced(40, seed) for seed in range(30)), strict=True)]
        expected = [list(row) for row in zip(*(balanced(40, seed + 50) for seed in range(30)), strict=True)]
    else:
        found = [[1.0 + index * 0.9e-9, -index] for index in range(300)]
        expected = [[1.0 + (300 - index) * 0.9e-9 + 5e-10, -index] for index in range(300)]
    rules = Rules(columns, False, Types())
    comparison = Comparison(result(found), Expected(result(expected)), rows=True, state=False, rules=rules)
    assert len(comparison.found) + len(comparison.expected.result) < INLINE_BYTES
    began = time.thread_time()
    guard = FaultyGuard(GuardFault.CPU)
    [verdict] = await compared([comparison], Context(time.monotonic() + 60, guard))
    assert verdict.outcome == "timeout", "the worker was asked"
    assert time.thread_time() - began < 0.1


async def test_what_is_plainly_wrong_or_right_needs_no_worker() -> None:
    rules = Rules("position", False, Types())
    for found, score in (([[41]], 0.0), ([[42.0 + 1e-12]], 1.0), ([["x"]], 0.0), ([[42], [42]], 0.0)):
        comparison = Comparison(result(found), Expected(result([[42]])), rows=True, state=False, rules=rules)
        [verdict] = await compared([comparison], Context(time.monotonic() + 60, NoGuard()))
        assert verdict.score == score

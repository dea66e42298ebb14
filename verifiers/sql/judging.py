"""From a candidate's result and the expected one to a verdict, here or in a guarded worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sandbox.cell.values import ValuesError
from verifiers.base import Context, GivingWay, GuardLimits, Outcome, Verdict, clip, guard_fault
from verifiers.databases import DatabaseRun, RunFault, RunLimits
from verifiers.sql.cells import Types
from verifiers.sql.compare import (
    Result,
    Rules,
    Table,
    TooLongError,
    is_told_apart,
    read_result,
    rows_differ,
    tables_differ,
)

INLINE_BYTES = 16 * 1024
"""Bytes of two encoded results that are compared in a millisecond or two."""
LIMITS = GuardLimits(cpu_s=20.0, wall_s=120.0, memory_mb=2048)
_MAX_BYTES = 16 * 2**20
_SHOWN_ROWS, _SHOWN_CHARS = 5, 1_000

_OUTCOMES = {
    RunFault.ERROR: Outcome.INCORRECT,
    RunFault.REFUSED: Outcome.REJECTED,
    RunFault.CPU: Outcome.TIMEOUT,
    RunFault.WALL: Outcome.TIMEOUT,
    RunFault.MEMORY: Outcome.MEMORY_EXCEEDED,
    RunFault.DISK: Outcome.MEMORY_EXCEEDED,
    RunFault.ROWS: Outcome.OUTPUT_EXCEEDED,
    RunFault.OUTPUT: Outcome.OUTPUT_EXCEEDED,
    RunFault.STATEMENTS: Outcome.REJECTED,
    RunFault.CRASHED: Outcome.CRASHED,
}


@dataclass(frozen=True, slots=True)
class Expected:
    """The right result, encoded; `given` tables come in the place of its own, where the reference has some."""

    result: bytes
    given: bytes | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two results, and how they are compared."""

    found: bytes
    expected: Expected
    rows: bool
    state: bool
    rules: Rules


def reason(run: DatabaseRun, limits: RunLimits) -> str:
    """In a few words, for a person, why statements were not run to their end."""
    match run.fault:
        case RunFault.CPU:
            return f"takes more than {limits.cpu_s:g} s"
        case RunFault.WALL:
            return "takes too long by the clock"
        case RunFault.ROWS:
            return f"has more than {limits.rows} rows"
        case RunFault.OUTPUT:
            return f"has rows of more than {limits.result_bytes // 1024} KiB"
        case RunFault.MEMORY:
            return "uses too much memory"
        case RunFault.DISK:
            return "uses too much of the disk"
        case RunFault.STATEMENTS:
            return "has too many statements"
        case _:
            return clip(run.message or str(run.fault), 300)


def fault_verdict(run: DatabaseRun, limits: RunLimits) -> Verdict:
    """The verdict on a candidate whose statements were not run to their end."""
    if run.fault is None:
        raise AssertionError("there is a result")
    detail = {"stage": "run", "fault": str(run.fault), "error": reason(run, limits)}
    return Verdict(_OUTCOMES[run.fault], 0.0, detail, transient=run.fault is RunFault.WALL)


async def compared(comparisons: Sequence[Comparison], ctx: Context) -> list[Verdict]:
    """A verdict for each comparison."""
    verdicts: list[Verdict | None] = [None] * len(comparisons)
    large: list[int] = []
    turn = GivingWay()
    for index, comparison in enumerate(comparisons):
        size = len(comparison.found) + len(comparison.expected.result) + len(comparison.expected.given or b"")
        if size > INLINE_BYTES:
            large.append(index)
            continue
        await turn.over()
        try:
            verdicts[index] = _verdict(compare(replace(comparison, rules=replace(comparison.rules, quick=True))))
        except TooLongError:
            large.append(index)
    if large:
        payloads = [_payload(comparisons[index]) for index in large]
        results = await ctx.guard.run(f"{__name__}:compare_payload", payloads, limits=LIMITS, deadline=ctx.deadline)
        for index, result in zip(large, results, strict=True):
            verdicts[index] = _verdict(result.value) if result.fault is None else guard_fault(result)
    return [verdict for verdict in verdicts if verdict is not None]


def _verdict(found: dict[str, Any]) -> Verdict:
    if found["unusable"]:
        return Verdict.bad_item(found["unusable"])
    if found["invalid"]:
        return Verdict(Outcome.REJECTED, 0.0, {"stage": "run", "error": clip(found["invalid"])})
    if found["why"] is None:
        return Verdict(Outcome.CORRECT, 1.0, {"stage": found["stage"]}, found["full"])
    return Verdict(Outcome.INCORRECT, 0.0, {"stage": found["stage"], "why": clip(found["why"])}, found["full"])


def _payload(comparison: Comparison) -> dict[str, Any]:
    """What `compare_payload` takes: plain JSON, so bytes are the characters of the same numbers."""
    expected = comparison.expected
    return {
        "found": comparison.found.decode("latin-1"),
        "result": expected.result.decode("latin-1"),
        "given": None if expected.given is None else expected.given.decode("latin-1"),
        "rows": comparison.rows,
        "state": comparison.state,
        "rules": asdict(comparison.rules),
    }


def compare_payload(payload: dict[str, Any]) -> dict[str, Any]:
    """In a guarded worker: `compare`."""
    given = payload["given"]
    rules = payload["rules"]
    return compare(
        Comparison(
            payload["found"].encode("latin-1"),
            Expected(payload["result"].encode("latin-1"), None if given is None else given.encode("latin-1")),
            payload["rows"],
            payload["state"],
            Rules(rules["columns"], rules["ordered"], Types(**rules["types"])),
        )
    )


def compare(comparison: Comparison) -> dict[str, Any]:
    """`{"stage", "why": null where all is right, "invalid": why the found result is none, "unusable", "full"}`.

    `unusable` says why nothing can equal the expected result. Raises `TooLongError`, where rules want it quick.
    """
    try:
        expected = _expected(comparison.expected)
    except ValuesError as error:
        return _no_comparison(unusable=f"reference: the gold statements leave what cannot be compared: {error}")
    rules = comparison.rules
    names = expected.table.names if comparison.rows and expected.table else None
    if rules.columns == "name" and names is not None and not is_told_apart(names):
        return _no_comparison(
            unusable="reference: columns are compared by name, and the expected rows have two of one name; use AS"
        )
    stage, why = "rows", None
    try:
        found = read_result(comparison.found, _MAX_BYTES)
        if comparison.rows:
            if expected.table is None:
                raise AssertionError("a gold without rows is refused before")
            why = rows_differ(found.table, expected.table, rules)
        if comparison.state and why is None:
            stage = "state"
            why = tables_differ(found.tables, expected.tables or {}, rules.types, quick=rules.quick)
    except ValuesError as error:
        return _no_comparison(invalid=f"no result: {error}")
    full = {}
    if comparison.rows:
        full = {"found": _shown(found.table), "expected": _shown(expected.table)}
    return {"stage": stage, "why": why, "invalid": "", "unusable": "", "full": full}


def _no_comparison(*, invalid: str = "", unusable: str = "") -> dict[str, Any]:
    return {"stage": "run", "why": None, "invalid": invalid, "unusable": clip(unusable, 300), "full": {}}


def _expected(expected: Expected) -> Result:
    result = read_result(expected.result, _MAX_BYTES)
    if expected.given is None:
        return result
    given = read_result(expected.given, _MAX_BYTES)
    tables = None if result.tables is None else {**result.tables, **(given.tables or {})}
    return Result(given.table or result.table, tables)


def _shown(table: Table | None) -> str:
    """The first rows of a table, for a person."""
    if table is None:
        return "no rows"
    rows = "; ".join(", ".join(_shown_cell(cell) for cell in row) for row in table.rows[:_SHOWN_ROWS])
    more = f"; and {len(table.rows) - _SHOWN_ROWS} more" if len(table.rows) > _SHOWN_ROWS else ""
    return clip(rows, _SHOWN_CHARS) + more


def _shown_cell(cell: Any) -> str:
    if cell is None:
        return "NULL"
    if isinstance(cell, int) and cell.bit_length() > 1_000:
        return "a large integer"
    return clip(str(cell[1] if isinstance(cell, tuple) else cell))

"""Reading what a training run has logged: its curves, and the completions behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from app.store.database import Connection

PAGE_BYTES = 8 * 2**20
"""Stored bytes of text that a page of samples holds at the most, its last sample aside."""


@dataclass(frozen=True, slots=True)
class Steps:
    """A range of steps, both ends included."""

    first: int = 0
    last: int = 2**63 - 1


_METRICS = (
    "SELECT step AS block, step, name, value, at FROM run_metrics "
    "WHERE run_id = :run AND step BETWEEN :first AND :last AND name = ANY(CAST(:names AS text[])) "
    "ORDER BY step, name LIMIT :limit"
)
# The last step of each block first, then its value: no row is sorted, whose count is that of the whole run.
_METRICS_THINNED = (
    "SELECT row.step / :every AS block, row.step, row.name, row.value, row.at FROM ("
    "SELECT name, max(step) AS step FROM run_metrics "
    "WHERE run_id = :run AND step BETWEEN :first AND :last AND name = ANY(CAST(:names AS text[])) "
    "GROUP BY step / :every, name ORDER BY step / :every, name LIMIT :limit) AS found "
    "JOIN run_metrics AS row ON row.run_id = :run AND row.step = found.step AND row.name = found.name "
    "ORDER BY block, row.name"
)


async def metrics(
    connection: Connection, run_id: UUID, names: Sequence[str], steps: Steps, every: int, limit: int
) -> Sequence[Row[Any]]:
    """Values by step and name (`block`, `step`, `name`, `value`, `at`), up to `limit` of them.

    Of each metric, a block of `every` steps has the last value in it.
    """
    values = {"run": run_id, "names": list(names), "first": steps.first, "last": steps.last, "limit": limit}
    if every > 1:
        return list(await connection.execute(text(_METRICS_THINNED), {**values, "every": every}))
    return list(await connection.execute(text(_METRICS), values))


@dataclass(frozen=True, slots=True)
class SampleFilter:
    """Which samples a list holds; None means any. Outcome and scores are those of the verdict."""

    steps: Steps
    outcome: str | None = None
    min_score: float | None = None
    max_score: float | None = None


# A sample's verdict is looked up by its id, and OFFSET 0 keeps it so: a join may read all verdicts of the project.
_VERDICT = (
    "(SELECT outcome, score, verdict, version_id FROM scores "
    "WHERE project_id = :project AND id = run_samples.score_id OFFSET 0) AS verdict"
)
_PAGE = (
    "SELECT run_samples.*, verdict.* FROM run_samples {join} JOIN LATERAL {verdict} ON true "
    "WHERE run_id = :run AND (step, sample) > (:after_step, :after_sample) AND step <= :last {conditions} "
    "ORDER BY step, sample LIMIT :limit"
)
# Sizes are told without reading the texts themselves; the first sample is shown whatever its size.
_SAMPLES = (
    "SELECT found.*, verifier_versions.kind, verifier_versions.version, verifiers.name FROM ("
    "SELECT page.*, kept.item AS score_item, count(*) OVER () AS available, "
    "sum(coalesce(octet_length(page.item), 0) + coalesce(octet_length(page.verdict), 0) "
    "+ coalesce(octet_length(kept.item), 0)) OVER (ORDER BY page.step, page.sample "
    "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before FROM ({page}) AS page "
    "LEFT JOIN LATERAL (SELECT item FROM completions "
    "WHERE project_id = :project AND score_id = page.score_id OFFSET 0) AS kept ON true) AS found "
    "LEFT JOIN verifier_versions ON verifier_versions.id = found.version_id "
    "LEFT JOIN verifiers ON verifiers.id = verifier_versions.verifier_id "
    "WHERE coalesce(bytes_before, 0) < :bytes ORDER BY step, sample"
)


async def samples(
    connection: Connection,
    project_id: UUID,
    run_id: UUID,
    filter: SampleFilter,
    after: tuple[int, int] | None,
    limit: int,
) -> tuple[Sequence[Row[Any]], bool]:
    """A page of samples in the order of step and number, each with its verdict, and whether more follow.

    A row has the columns of `run_samples`, the verdict's `outcome`, `score`, `verdict`, `version_id`, `kind`,
    `version` and `name` (null where the sample has none in this project), and what is kept of the scored item.
    """
    conditions = {
        "outcome = :outcome": filter.outcome,
        "score >= :min_score": filter.min_score,
        "score <= :max_score": filter.max_score,
    }
    asked = [condition for condition, value in conditions.items() if value is not None]
    page = _PAGE.format(
        join="" if asked else "LEFT", verdict=_VERDICT, conditions="".join(f" AND {condition}" for condition in asked)
    )
    after_step, after_sample = max((filter.steps.first, -1), after or (0, -1))
    values = {
        "project": project_id,
        "run": run_id,
        "after_step": after_step,
        "after_sample": after_sample,
        "last": filter.steps.last,
        "outcome": filter.outcome,
        "min_score": filter.min_score,
        "max_score": filter.max_score,
        "limit": limit + 1,
        "bytes": PAGE_BYTES,
    }
    asked_values = {name: value for name, value in values.items() if value is not None}
    rows = list(await connection.execute(text(_SAMPLES.format(page=page)), asked_values))[:limit]
    return rows, bool(rows) and rows[0].available > len(rows)

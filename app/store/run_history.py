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
MAX_SEARCHED = 50_000
"""Samples that one page looks through for verdicts that are asked for; each costs a look-up."""


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
# From block to block by look-ups in the index, so that a page reads its own steps and not the whole run; then the
# last step of each metric in the block, then its value.
_METRICS_THINNED = """
    WITH RECURSIVE blocks (block, number) AS (
        SELECT min(step) / :every, CAST(1 AS bigint) FROM run_metrics
        WHERE run_id = :run AND step BETWEEN :first AND :last AND name = ANY(CAST(:names AS text[]))
        UNION ALL
        SELECT (
            SELECT min(step) / :every FROM run_metrics
            WHERE run_id = :run AND step BETWEEN (block + 1) * :every AND :last
                AND name = ANY(CAST(:names AS text[]))
        ), number + 1
        FROM blocks WHERE number < :points AND block < CAST(:last AS bigint) / :every
    )
    SELECT block, row.step, row.name, row.value, row.at
    FROM blocks CROSS JOIN LATERAL (
        SELECT name, max(step) AS step FROM run_metrics
        WHERE run_id = :run AND name = ANY(CAST(:names AS text[])) AND step
            BETWEEN greatest(:first, block * :every) AND block * :every + least(:last - block * :every, :every - 1)
        GROUP BY name
    ) AS found
    JOIN run_metrics AS row ON row.run_id = :run AND row.step = found.step AND row.name = found.name
    ORDER BY block, row.name
"""


async def metrics(
    connection: Connection, run_id: UUID, names: Sequence[str], steps: Steps, every: int, points: int
) -> Sequence[Row[Any]]:
    """Values by step and name (`block`, `step`, `name`, `value`, `at`): those of `points` blocks, or some more.

    Of each metric, a block of `every` steps has the last value in it.
    """
    values = {"run": run_id, "names": list(names), "first": steps.first, "last": steps.last}
    if every > 1:
        return list(await connection.execute(text(_METRICS_THINNED), {**values, "every": every, "points": points}))
    # a step has a value of each metric at the most
    return list(await connection.execute(text(_METRICS), {**values, "limit": points * len(names)}))


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
    "WHERE {place} {conditions} ORDER BY step, sample LIMIT :limit"
)
_PLACE = "run_id = :run AND (step, sample) > (:after_step, :after_sample) AND step <= :last"
_END = f"SELECT step, sample FROM run_samples WHERE {_PLACE} ORDER BY step, sample OFFSET :searched LIMIT 1"  # noqa: S608 - our own words
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
) -> tuple[Sequence[Row[Any]], tuple[int, int] | None]:
    """A page of samples in the order of step and number, each with its verdict, and the place after which to go on.

    The place (step and number) is None on the last page. A page that looks for verdicts may be short, or empty,
    before that. A row has the columns of `run_samples`, the verdict's `outcome`, `score`, `verdict`, `version_id`,
    `kind`, `version` and `name` (null where the sample has none in this project), and `score_item`, what is kept of
    the scored item.
    """
    conditions = {
        "outcome = :outcome": filter.outcome,
        "score >= :min_score": filter.min_score,
        "score <= :max_score": filter.max_score,
    }
    asked = [condition for condition, value in conditions.items() if value is not None]
    after_step, after_sample = max((filter.steps.first, -1), after or (0, -1))
    place = {"run": run_id, "after_step": after_step, "after_sample": after_sample, "last": filter.steps.last}
    end: tuple[int, int] | None = None
    if asked:
        found = (await connection.execute(text(_END), {**place, "searched": MAX_SEARCHED - 1})).one_or_none()
        if found is not None:
            end = (found.step, found.sample)
            asked.append("(step, sample) <= (:end_step, :end_sample)")
    page = _PAGE.format(
        join="INNER" if asked else "LEFT",
        verdict=_VERDICT,
        place=_PLACE,
        conditions="".join(f" AND {condition}" for condition in asked),
    )
    values = {
        **place,
        "project": project_id,
        "outcome": filter.outcome,
        "min_score": filter.min_score,
        "max_score": filter.max_score,
        "end_step": None if end is None else end[0],
        "end_sample": None if end is None else end[1],
        "limit": limit + 1,
        "bytes": PAGE_BYTES,
    }
    asked_values = {name: value for name, value in values.items() if value is not None}
    rows = list(await connection.execute(text(_SAMPLES.format(page=page)), asked_values))[:limit]
    if rows and rows[0].available > len(rows):
        end = (rows[-1].step, rows[-1].sample)
    return rows, end

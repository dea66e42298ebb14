"""Training runs: making, finding and listing them, and what they amount to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, Table, false, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert

from app.store.database import Connection
from app.store.ids import uuid7
from app.store.scores import FORGET_BATCH
from app.store.tables import run_metrics, run_resumes, run_samples, runs

Status = Literal["running", "paused", "finished", "failed"]

SHOWN = 100
"""Alarms, and resumes, that a run is shown with: the last ones."""
SHOWN_BYTES = 2**20
"""Stored bytes of the alarms that a run is shown with, the last of them aside."""
PAGE_BYTES = 8 * 2**20
"""Stored bytes of messages that a page of runs holds at the most, its last run aside."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a run amounts to. `unscored` samples have no reward."""

    steps: int
    samples: int
    unscored: int
    alarms: int


_LISTED = [runs.c[name] for name in ("id", "name", "status", "message", "attempt", "created_at", "updated_at")]
"""What a list tells of a run: configurations are large."""


def _select(*columns: ColumnElement[Any] | Table) -> Select[Any]:
    """A run with its last step, which two look-ups in indexes tell."""
    last_metric = select(func.max(run_metrics.c.step)).where(run_metrics.c.run_id == runs.c.id).scalar_subquery()
    last_sample = select(func.max(run_samples.c.step)).where(run_samples.c.run_id == runs.c.id).scalar_subquery()
    return select(*columns, func.greatest(last_metric, last_sample).label("last_step"))


async def create(
    connection: Connection, project_id: UUID, name: str, config: bytes, metadata: bytes
) -> tuple[UUID, bool]:
    """The id of the project's run of that name, and whether it is new; one that exists stays as it is."""
    id = uuid7()
    query = (
        insert(runs)
        .values(id=id, project_id=project_id, name=name, config=config, metadata=metadata)
        .on_conflict_do_nothing(index_elements=["project_id", "name"])
        .returning(runs.c.id)
    )
    if (await connection.execute(query)).one_or_none() is not None:
        return id, True
    query_existing = select(runs.c.id).where(runs.c.project_id == project_id, runs.c.name == name)
    return (await connection.execute(query_existing)).scalar_one(), False


async def find(connection: Connection, project_id: UUID, id_or_name: str) -> Row[Any] | None:
    """A run of the project by its id, or else by its name."""
    try:
        by_id: ColumnElement[bool] = runs.c.id == UUID(id_or_name)
    except ValueError:
        by_id = false()
    query = (
        _select(runs)
        .where(runs.c.project_id == project_id, or_(by_id, runs.c.name == id_or_name))
        .order_by(runs.c.name == id_or_name)  # where one run's id is another's name
        .limit(1)
    )
    row: Row[Any] | None = (await connection.execute(query)).one_or_none()
    return row


async def list_page(
    connection: Connection,
    project_id: UUID,
    status: Status | None,
    prefix: str | None,
    before: UUID | None,
    limit: int,
) -> tuple[Sequence[Row[Any]], bool]:
    """The project's runs, newest first, and whether more follow; `prefix` is of their names.

    A page is shorter than `limit` where messages are long.
    """
    query = _select(*_LISTED).where(runs.c.project_id == project_id).order_by(runs.c.id.desc()).limit(limit + 1)
    if status is not None:
        query = query.where(runs.c.status == status)
    if prefix is not None:
        query = query.where(func.starts_with(runs.c.name, prefix))
    if before is not None:
        query = query.where(runs.c.id < before)
    page = query.subquery()
    newest = page.c.id.desc()
    size = func.coalesce(func.octet_length(page.c.message), 0)
    sized = select(
        page,
        func.count().over().label("available"),
        func.sum(size).over(order_by=newest, rows=(None, -1)).label("bytes_before"),
    ).subquery()
    shown = select(sized).where(func.coalesce(sized.c.bytes_before, 0) < PAGE_BYTES).order_by(sized.c.id.desc())
    rows = list(await connection.execute(shown))[:limit]
    return rows, bool(rows) and rows[0].available > len(rows)


# Steps are counted from the rows of two indexes in their order. To walk from step to step takes less where a step has
# many rows, but half a minute for a million steps.
_COUNTS = text(
    """
    SELECT
        (SELECT count(*) FROM (
            SELECT step FROM run_metrics WHERE run_id = :run GROUP BY step
            UNION
            SELECT step FROM run_samples WHERE run_id = :run GROUP BY step
        ) AS found) AS steps,
        (SELECT count(*) FROM run_samples WHERE run_id = :run) AS samples,
        (SELECT count(*) FROM run_samples WHERE run_id = :run AND reward IS NULL) AS unscored,
        (SELECT count(*) FROM run_alarms WHERE run_id = :run) AS alarms
    """
)


async def counts(connection: Connection, run_id: UUID) -> Counts:
    """What has been logged of a run."""
    return Counts(*(await connection.execute(_COUNTS, {"run": run_id})).one())


async def resumes(connection: Connection, run_id: UUID) -> Sequence[Row[Any]]:
    """From which steps the last attempts went on (`attempt`, `step`), the highest attempt first."""
    query = select(run_resumes.c.attempt, run_resumes.c.step).where(run_resumes.c.run_id == run_id)
    return list(await connection.execute(query.order_by(run_resumes.c.attempt.desc()).limit(SHOWN)))


# The first is shown whatever its size.
_ALARMS = text(
    """
    SELECT step, attempt, name, message, values, at FROM (
        SELECT latest.*, sum(octet_length(message) + octet_length(values)) OVER (
            ORDER BY step DESC, name ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS bytes_before
        FROM (SELECT * FROM run_alarms WHERE run_id = :run ORDER BY step DESC, name LIMIT :limit) AS latest
    ) AS sized
    WHERE coalesce(bytes_before, 0) < :bytes ORDER BY step DESC, name
    """
)


async def latest_alarms(connection: Connection, run_id: UUID) -> Sequence[Row[Any]]:
    """The last alarms of a run, the latest step first; fewer than `SHOWN` where they are long."""
    return list(await connection.execute(_ALARMS, {"run": run_id, "limit": SHOWN, "bytes": SHOWN_BYTES}))


async def forget_samples(connection: Connection, now: datetime) -> int:
    """Remove some texts of samples that have outlived their project's retention; how many. Their figures stay."""
    query = text(
        "UPDATE run_samples SET item = NULL FROM ("
        "SELECT old.run_id, old.step, old.sample FROM projects JOIN runs ON runs.project_id = projects.id "
        "JOIN run_samples AS old ON old.run_id = runs.id "
        "WHERE projects.retention_days IS NOT NULL AND old.item IS NOT NULL "
        "AND old.recorded_at < CAST(:now AS timestamptz) - projects.retention_days * interval '1 day' "
        "LIMIT :limit) AS past WHERE run_samples.run_id = past.run_id AND run_samples.step = past.step "
        "AND run_samples.sample = past.sample"
    )
    return (await connection.execute(query, {"now": now, "limit": FORGET_BATCH})).rowcount

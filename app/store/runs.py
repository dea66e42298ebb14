"""Training runs: making, finding and listing them, and what they amount to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, false, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert

from app.store.database import Connection
from app.store.ids import uuid7
from app.store.scores import FORGET_BATCH
from app.store.tables import run_alarms, run_metrics, run_resumes, run_samples, runs

Status = Literal["running", "paused", "finished", "failed"]

SHOWN = 100
"""Alarms, and resumes, that a run is shown with: the last ones."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a run amounts to. `unscored` samples have no reward."""

    steps: int
    samples: int
    unscored: int
    alarms: int


def _select() -> Select[Any]:
    """A run with its last step, which two look-ups in indexes tell."""
    last_metric = select(func.max(run_metrics.c.step)).where(run_metrics.c.run_id == runs.c.id).scalar_subquery()
    last_sample = select(func.max(run_samples.c.step)).where(run_samples.c.run_id == runs.c.id).scalar_subquery()
    return select(runs, func.greatest(last_metric, last_sample).label("last_step"))


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
        _select()
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
) -> Sequence[Row[Any]]:
    """The project's runs, newest first; `prefix` is of their names."""
    query = _select().where(runs.c.project_id == project_id).order_by(runs.c.id.desc()).limit(limit)
    if status is not None:
        query = query.where(runs.c.status == status)
    if prefix is not None:
        query = query.where(func.starts_with(runs.c.name, prefix))
    if before is not None:
        query = query.where(runs.c.id < before)
    return list(await connection.execute(query))


# From each step one look-up in an index finds the next, so that counting them costs by steps and not by rows.
_COUNTS = text(
    """
    WITH RECURSIVE walk (step) AS (
        SELECT CAST(-1 AS bigint)
        UNION ALL
        SELECT least(
            (SELECT min(step) FROM run_metrics WHERE run_id = :run AND step > walk.step),
            (SELECT min(step) FROM run_samples WHERE run_id = :run AND step > walk.step)
        )
        FROM walk WHERE step IS NOT NULL
    )
    SELECT
        (SELECT count(step) - 1 FROM walk) AS steps,
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


async def latest_alarms(connection: Connection, run_id: UUID) -> Sequence[Row[Any]]:
    """The last alarms of a run, the latest step first."""
    query = (
        select(run_alarms)
        .where(run_alarms.c.run_id == run_id)
        .order_by(run_alarms.c.step.desc(), run_alarms.c.name)
        .limit(SHOWN)
    )
    return list(await connection.execute(query))


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

"""Recorded scores: reading them, keeping their partitions ahead of the clock, forgetting completions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Row, Select, Uuid, bindparam, delete, select, text

from app.store.database import Connection
from app.store.ids import first_uuid7_at
from app.store.tables import completions, idempotency, projects, scores, verifier_versions, verifiers
from app.store.verifiers import matching

PARTITION_LOCK = 0x41535350
"""Key of the advisory lock under which partitions are made."""
FORGET_BATCH = 20_000
"""Rows that one statement of the retention sweep removes at the most, so that no lock is held for long."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which scores a list holds; None means any. Times are inclusive below and exclusive above."""

    verifier: tuple[str, int | None] | None = None
    run: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    min_score: float | None = None
    max_score: float | None = None


def _select() -> Select[Any]:
    return (
        select(scores, verifier_versions.c.kind, verifier_versions.c.version, verifiers.c.name)
        .outerjoin(verifier_versions, verifier_versions.c.id == scores.c.version_id)
        .outerjoin(verifiers, verifiers.c.id == verifier_versions.c.verifier_id)
    )


async def get(connection: Connection, project_id: UUID, id: UUID) -> Row[Any] | None:
    """One score with what was kept of its item (`sha256` and `item`, null where not kept)."""
    query = (
        _select()
        .add_columns(completions.c.sha256, completions.c.item)
        .outerjoin(
            completions,
            (completions.c.project_id == scores.c.project_id) & (completions.c.score_id == scores.c.id),
        )
        .where(scores.c.project_id == project_id, scores.c.id == id)
    )
    return (await connection.execute(query)).one_or_none()


async def get_many(connection: Connection, project_id: UUID, ids: Sequence[UUID]) -> Sequence[Row[Any]]:
    """Scores by their ids, in the order of the ids."""
    wanted = bindparam("ids", list(ids), type_=ARRAY(Uuid))
    query = _select().where(scores.c.project_id == project_id, scores.c.id == wanted.any_())
    found = {row.id: row for row in await connection.execute(query)}
    return [found[score_id] for score_id in ids]


async def list_page(
    connection: Connection,
    project_id: UUID,
    filter: Filter,
    before: UUID | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """Scores, newest first."""
    query = _select().where(scores.c.project_id == project_id).order_by(scores.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(scores.c.id < before)
    if filter.verifier is not None:
        query = query.where(scores.c.version_id.in_(matching(project_id, *filter.verifier)))
    if filter.run is not None:
        query = query.where(scores.c.run == filter.run)
    if filter.outcome is not None:
        query = query.where(scores.c.outcome == filter.outcome)
    if filter.since is not None:
        query = query.where(scores.c.id >= first_uuid7_at(filter.since))
    if filter.until is not None:
        query = query.where(scores.c.id < first_uuid7_at(filter.until))
    if filter.min_score is not None:
        query = query.where(scores.c.score >= filter.min_score)
    if filter.max_score is not None:
        query = query.where(scores.c.score <= filter.max_score)
    return list(await connection.execute(query))


async def ensure_partitions(connection: Connection, now: datetime, months: int = 3) -> None:
    """Make the monthly partitions of this month and the ones to come; one process at a time does.

    Rows that a clock far off put among the rest move into their month when it is made.
    """
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": PARTITION_LOCK})
    month = datetime(now.year, now.month, 1, tzinfo=UTC)
    for _ in range(months):
        following = (month + timedelta(days=32)).replace(day=1)
        for table, key in ((scores.name, "id"), (completions.name, "score_id")):
            await _ensure_partition(connection, table, key, month, following)
        month = following


async def _ensure_partition(connection: Connection, table: str, key: str, start: datetime, end: datetime) -> None:
    name = f"{table}_{start:%Y_%m}"
    if (await connection.execute(text("SELECT to_regclass(:name)"), {"name": name})).scalar() is not None:
        return
    low, high = first_uuid7_at(start), first_uuid7_at(end)
    for statement in (
        f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)",
        f"WITH moved AS (DELETE FROM {table}_other WHERE {key} >= '{low}' AND {key} < '{high}' RETURNING *) "  # noqa: S608 - names and ids of our own making
        f"INSERT INTO {name} SELECT * FROM moved",
        f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{low}') TO ('{high}')",
    ):
        await connection.execute(text(statement))


async def forget_completions(connection: Connection, now: datetime) -> int:
    """Remove some completions that have outlived their project's retention; how many."""
    removed = 0
    policies = await connection.execute(
        select(projects.c.id, projects.c.retention_days).where(projects.c.retention_days.is_not(None))
    )
    for project in policies.all():
        limit = first_uuid7_at(now - timedelta(days=project.retention_days))
        old = (
            select(completions.c.score_id)
            .where(completions.c.project_id == project.id, completions.c.score_id < limit)
            .limit(FORGET_BATCH)
        )
        result = await connection.execute(
            delete(completions).where(completions.c.project_id == project.id, completions.c.score_id.in_(old))
        )
        removed += result.rowcount
    return removed


async def forget_idempotency(connection: Connection, now: datetime, age: timedelta) -> None:
    """Remove idempotency keys older than `age`."""
    await connection.execute(delete(idempotency).where(idempotency.c.created_at < now - age))

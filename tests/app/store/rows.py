"""Batches of score rows, and what is recorded of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.store.database import Database
from app.store.ids import uuid7, uuid7s
from app.store.writer import Batch, CompletionRow, IdempotencyRow, ScoreRow

UNLUCKY = 13.0
"""A score that `refuse_unlucky` has the database refuse."""


def batch(project: UUID, scores: Sequence[float | None], *, key: str | None = None, run: str | None = None) -> Batch:
    """A batch of rows with these scores."""
    batch_id = uuid7()
    rows: list[ScoreRow] = []
    completions: dict[UUID, CompletionRow] = {}
    substitutes: list[ScoreRow] = []
    for score, id in zip(scores, uuid7s(len(scores)), strict=True):
        head = (project, id, batch_id, None, 1, run, None)
        outcome = "unscored" if score is None else "scored"
        rows.append((*head, b'"a\\u0000"', None, outcome, score, b'"detail":{}', 1.5, False))
        substitutes.append((*head, None, None, "unscored", None, b'"error":{}', 1.5, False))
        completions[id] = (project, id, b"digest", b'{"completion":"x"}')
    claim = None if key is None else IdempotencyRow(project, key, b"sha")
    return Batch(rows, completions, substitutes, claim)


def waiting(
    project: UUID,
    key: bytes | None = None,
    *,
    version: UUID | None = None,
    wait_s: float = 3600.0,
    default: float | None = None,
    run: str | None = None,
    idempotency_key: str | None = None,
) -> Batch:
    """A batch of one verdict that is pending."""
    made = batch(project, [None], key=idempotency_key, run=run)
    [row] = made.scores
    version = version or uuid7()
    made.scores = [(*row[:3], version, *row[4:9], "pending", *row[10:])]
    made.outcomes = {row[1]: (project, row[1], version, run, key, default, wait_s)}
    return made


async def fetch(database: Database, query: str, **values: Any) -> list[Any]:
    async with database.begin() as connection:
        return [tuple(row) for row in await connection.execute(text(query), values)]


async def recorded(database: Database, batch: Batch) -> list[tuple[str, float | None]]:
    """What is recorded of a batch, in its order."""
    rows = await fetch(
        database, "SELECT id, outcome, score FROM scores WHERE batch_id = :id ORDER BY id", id=batch.scores[0][2]
    )
    assert [row[0] for row in rows] == sorted(set(batch.ids) & {row[0] for row in rows})
    return [(outcome, score) for _, outcome, score in rows]


async def transactions(database: Database) -> int:
    """How many transactions wrote the scores."""
    [(count,)] = await fetch(database, "SELECT count(DISTINCT xmin::text) FROM scores")
    return int(count)


async def refuse_unlucky(database: Database) -> None:
    async with database.begin() as connection:
        await connection.execute(text(f"ALTER TABLE scores ADD CONSTRAINT unlucky CHECK (score <> {UNLUCKY})"))

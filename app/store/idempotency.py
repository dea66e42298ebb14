"""Idempotency keys: one recorded answer for each key of a project."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import idempotency


async def get(connection: AsyncConnection, project_id: UUID, key: str) -> Row[Any] | None:
    """What was recorded under a key."""
    query = select(idempotency).where(idempotency.c.project_id == project_id, idempotency.c.key == key)
    return (await connection.execute(query)).one_or_none()


async def claim(connection: AsyncConnection, project_id: UUID, key: str, request_sha256: bytes) -> bool:
    """Take a key for this transaction; False where it is taken.

    Waits for a transaction that holds the key to end, and sees what it committed.
    """
    query = (
        insert(idempotency)
        .values(project_id=project_id, key=key, request_sha256=request_sha256)
        .on_conflict_do_nothing()
        .returning(idempotency.c.key)
    )
    return (await connection.execute(query)).one_or_none() is not None


async def settle(connection: AsyncConnection, project_id: UUID, key: str, status: int, response: bytes) -> None:
    """Record the answer under a key that this transaction claimed."""
    await connection.execute(
        update(idempotency)
        .where(idempotency.c.project_id == project_id, idempotency.c.key == key)
        .values(status=status, response=response)
    )

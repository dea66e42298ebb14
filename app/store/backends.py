"""Backends: the servers that an operator configured, each under a name that no other live one has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from app.store.database import Connection, Record
from app.store.tables import backends


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend as it is stored; what it is does not change, but that it may be archived."""

    id: UUID
    name: str
    type: str
    url: str
    allow_private: bool
    limits: Mapping[str, Any]
    secrets: Sequence[Mapping[str, str]]
    """By `app.backends.secrets.Secret`."""
    options: Mapping[str, Any] | None
    """What its type has besides; None of a verifier."""
    created_at: datetime
    archived_at: datetime | None


def _backend(row: Record) -> Backend:
    return Backend(
        row.id,
        row.name,
        row.type,
        row.url,
        row.allow_private,
        json.loads(row.limits),
        json.loads(row.secrets),
        None if row.options is None else json.loads(row.options),
        row.created_at,
        row.archived_at,
    )


async def create(
    connection: Connection,
    *,
    id: UUID,
    name: str,
    type: str,
    url: str,
    allow_private: bool,
    limits: str,
    secrets: str,
    options: str | None = None,
) -> Backend | None:
    """A new backend, or None where a live one has the name.

    Limits, secrets and options are JSON text; a local model has an empty URL.
    """
    query = (
        insert(backends)
        .values(
            id=id,
            name=name,
            type=type,
            url=url,
            allow_private=allow_private,
            limits=limits.encode(),
            secrets=secrets.encode(),
            options=None if options is None else options.encode(),
        )
        .on_conflict_do_nothing(index_elements=["name"], index_where=backends.c.archived_at.is_(None))
        .returning(backends)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _backend(row)


async def find(connection: Connection, name: str) -> Backend | None:
    """The live backend of that name."""
    query = select(backends).where(backends.c.name == name, backends.c.archived_at.is_(None))
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _backend(row)


async def list_page(connection: Connection, after: str | None, limit: int) -> Sequence[Backend]:
    """Live backends by name."""
    query = select(backends).where(backends.c.archived_at.is_(None)).order_by(backends.c.name).limit(limit)
    if after is not None:
        query = query.where(backends.c.name > after)
    return [_backend(row) for row in await connection.execute(query)]


async def archive(connection: Connection, name: str) -> Backend | None:
    """Archive the live backend of that name, and forget its keys. None where there is none."""
    query = (
        update(backends)
        .where(backends.c.name == name, backends.c.archived_at.is_(None))
        .values(archived_at=func.now(), secrets=b"[]")
        .returning(backends)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _backend(row)

"""API keys: found by their SHA-256, never stored in the clear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Row, func, select, update
from sqlalchemy.dialects.postgresql import insert

from app.store.database import Connection
from app.store.ids import uuid7
from app.store.projects import Project
from app.store.tables import keys, projects


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key once it has been shown. `hint` is its last four characters."""

    id: UUID
    project_id: UUID
    name: str
    hint: str
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None


def _key(row: Row[tuple[object, ...]]) -> Key:
    return Key(row.id, row.project_id, row.name, row.hint, tuple(row.scopes), row.created_at, row.revoked_at)


async def find(connection: Connection, digest: bytes) -> tuple[Key, Project] | None:
    """The key with that digest, unless it is revoked, and its project."""
    query = (
        select(keys, projects.c.name.label("project"), projects.c.keep, projects.c.retention_days)
        .add_columns(projects.c.created_at.label("project_created_at"))
        .join(projects, projects.c.id == keys.c.project_id)
        .where(keys.c.digest == digest, keys.c.revoked_at.is_(None))
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    return _key(row), Project(row.project_id, row.project, row.keep, row.retention_days, row.project_created_at)


async def create(
    connection: Connection, project_id: UUID, name: str, digest: bytes, hint: str, scopes: Sequence[str]
) -> Key:
    """Store a new key."""
    query = (
        insert(keys)
        .values(id=uuid7(), project_id=project_id, name=name, digest=digest, hint=hint, scopes=list(scopes))
        .returning(keys)
    )
    return _key((await connection.execute(query)).one())


async def replace_named(
    connection: Connection, project_id: UUID, name: str, digest: bytes, hint: str, scopes: Sequence[str]
) -> bool:
    """Make this digest the one live key of that name; others of the name are revoked.

    False, and nothing changed, where another project has a key with this digest.
    """
    taken = select(keys.c.id).where(keys.c.digest == digest, keys.c.project_id != project_id)
    if (await connection.execute(taken)).first() is not None:
        return False
    await connection.execute(
        update(keys)
        .where(keys.c.project_id == project_id, keys.c.name == name, keys.c.digest != digest)
        .where(keys.c.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )
    await connection.execute(
        insert(keys)
        .values(id=uuid7(), project_id=project_id, name=name, digest=digest, hint=hint, scopes=list(scopes))
        .on_conflict_do_update(
            index_elements=["digest"], set_={"name": name, "scopes": list(scopes), "revoked_at": None}
        )
    )
    return True


async def any_live(connection: Connection, project_id: UUID, scope: str) -> bool:
    """Whether the project has a live key with that scope."""
    query = select(keys.c.id).where(
        keys.c.project_id == project_id, keys.c.revoked_at.is_(None), keys.c.scopes.any_() == scope
    )
    return (await connection.execute(query.limit(1))).first() is not None


async def list_page(connection: Connection, project_id: UUID, after: UUID | None, limit: int) -> Sequence[Key]:
    """A project's keys, revoked ones included, in the order of their making."""
    query = select(keys).where(keys.c.project_id == project_id).order_by(keys.c.id).limit(limit)
    if after is not None:
        query = query.where(keys.c.id > after)
    return [_key(row) for row in await connection.execute(query)]


async def revoke(connection: Connection, project_id: UUID, id: UUID) -> Key | None:
    """Revoke a key; the time of a first revocation stays. None where the project has no such key."""
    query = (
        update(keys)
        .where(keys.c.project_id == project_id, keys.c.id == id)
        .values(revoked_at=func.coalesce(keys.c.revoked_at, func.now()))
        .returning(keys)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _key(row)

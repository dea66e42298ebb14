"""Verifiers and their immutable versions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.database import Database
from app.store.ids import uuid7
from app.store.tables import BUILTIN_PROJECT, verifier_versions, verifiers


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable version. `name` is None for a configuration that was sent inline with a request."""

    id: UUID
    project_id: UUID
    name: str | None
    version: int
    kind: str
    config: dict[str, Any]
    config_sha256: bytes
    description: str
    examples: list[dict[str, Any]]
    created_at: datetime
    archived_at: datetime | None

    @property
    def label(self) -> str:
        """How verdicts name it: `name@version`, or `kind@inline`."""
        return f"{self.name}@{self.version}" if self.name is not None else f"{self.kind}@inline"

    @property
    def builtin(self) -> bool:
        return self.project_id == BUILTIN_PROJECT


def _version(row: Row[tuple[object, ...]]) -> Version:
    return Version(
        id=row.id,
        project_id=row.project_id,
        name=row.name,
        version=row.version,
        kind=row.kind,
        config=json.loads(row.config),
        config_sha256=row.config_sha256,
        description=json.loads(row.description),
        examples=json.loads(row.examples),
        created_at=row.created_at,
        archived_at=row.archived_at,
    )


def _select() -> Select[Any]:
    return select(verifier_versions, verifiers.c.name, verifiers.c.archived_at).outerjoin(
        verifiers, verifiers.c.id == verifier_versions.c.verifier_id
    )


_LATEST = """
    SELECT DISTINCT ON (asked.project_id, asked.name)
        asked.project_id AS asker, asked.name, versions.id
    FROM unnest($1::uuid[], $2::text[]) AS asked (project_id, name)
    JOIN verifiers ON verifiers.name = asked.name
        AND verifiers.project_id IN (asked.project_id, $3) AND verifiers.archived_at IS NULL
    JOIN verifier_versions versions ON versions.verifier_id = verifiers.id
    ORDER BY asked.project_id, asked.name, (verifiers.project_id = asked.project_id) DESC, versions.version DESC
"""


async def latest(database: Database, asked: Sequence[tuple[UUID, str]]) -> dict[tuple[UUID, str], UUID]:
    """For each (project, bare name), the id of the latest version; a project's own comes before a built-in."""
    projects = [project for project, _ in asked]
    rows = await database.fetch(_LATEST, projects, [name for _, name in asked], BUILTIN_PROJECT)
    return {(row["asker"], row["name"]): row["id"] for row in rows}


async def get(connection: AsyncConnection, project_id: UUID, version_id: UUID) -> Version | None:
    """A version by its id, if the project may see it."""
    query = _select().where(
        verifier_versions.c.id == version_id, verifier_versions.c.project_id.in_([project_id, BUILTIN_PROJECT])
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _version(row)


async def get_numbered(connection: AsyncConnection, project_id: UUID, name: str, version: int) -> Version | None:
    """Version `name@version`, archived or not; a project's own comes before a built-in of the same name."""
    query = (
        _select()
        .where(verifiers.c.name == name, verifier_versions.c.version == version)
        .where(verifiers.c.project_id.in_([project_id, BUILTIN_PROJECT]))
        .order_by((verifiers.c.project_id == project_id).desc())
        .limit(1)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _version(row)


async def list_page(
    connection: AsyncConnection, project_id: UUID, after: str | None, limit: int
) -> Sequence[Version]:
    """The latest version of each verifier the project sees, archived ones left out, by name."""
    query = (
        _select()
        .where(verifiers.c.project_id.in_([project_id, BUILTIN_PROJECT]), verifiers.c.archived_at.is_(None))
        .ext(distinct_on(verifiers.c.name))
        .order_by(
            verifiers.c.name,
            (verifiers.c.project_id == project_id).desc(),
            verifier_versions.c.version.desc(),
        )
        .limit(limit)
    )
    if after is not None:
        query = query.where(verifiers.c.name > after)
    return [_version(row) for row in await connection.execute(query)]


async def versions_page(
    connection: AsyncConnection, project_id: UUID, name: str, below: int | None, limit: int
) -> Sequence[Version]:
    """A verifier's versions, newest first; of a project's own verifier before a built-in of the same name."""
    owner = (
        select(verifiers.c.id)
        .where(verifiers.c.name == name, verifiers.c.project_id.in_([project_id, BUILTIN_PROJECT]))
        .order_by((verifiers.c.project_id == project_id).desc())
        .limit(1)
        .scalar_subquery()
    )
    query = _select().where(verifiers.c.id == owner).order_by(verifier_versions.c.version.desc()).limit(limit)
    if below is not None:
        query = query.where(verifier_versions.c.version < below)
    return [_version(row) for row in await connection.execute(query)]


async def register(
    connection: AsyncConnection,
    *,
    project_id: UUID,
    name: str,
    kind: str,
    config: str,
    config_sha256: bytes,
    description: str,
    examples: str,
) -> tuple[UUID, bool]:
    """Add a version, unless the latest has the same kind and configuration; (version id, whether it is new).

    `config`, `description` and `examples` are JSON texts. Registering an archived name brings it back.
    """
    owner = (
        await connection.execute(
            insert(verifiers)
            .values(id=uuid7(), project_id=project_id, name=name)
            # the update locks the row, so that two registrations of one name take turns
            .on_conflict_do_update(index_elements=["project_id", "name"], set_={"archived_at": None})
            .returning(verifiers.c.id)
        )
    ).scalar_one()
    newest = (
        await connection.execute(
            select(verifier_versions)
            .where(verifier_versions.c.verifier_id == owner)
            .order_by(verifier_versions.c.version.desc())
            .limit(1)
        )
    ).one_or_none()
    if newest is not None and (newest.kind, newest.config_sha256) == (kind, config_sha256):
        return newest.id, False
    id_ = uuid7()
    await connection.execute(
        insert(verifier_versions).values(
            id=id_,
            project_id=project_id,
            verifier_id=owner,
            version=1 if newest is None else newest.version + 1,
            kind=kind,
            config=config.encode(),
            config_sha256=config_sha256,
            description=description.encode(),
            examples=examples.encode(),
        )
    )
    return id_, True


async def ensure_inline(
    connection: AsyncConnection, project_id: UUID, kind: str, config: str, config_sha256: bytes
) -> UUID:
    """The id of an inline configuration, stored once a project so that its scores can be replayed."""
    table = verifier_versions.c
    await connection.execute(
        insert(verifier_versions)
        .values(
            id=uuid7(),
            project_id=project_id,
            version=0,
            kind=kind,
            config=config.encode(),
            config_sha256=config_sha256,
            description=b'""',
            examples=b"[]",
        )
        .on_conflict_do_nothing(
            index_elements=["project_id", "kind", "config_sha256"], index_where=table.verifier_id.is_(None)
        )
    )
    query = select(table.id).where(
        and_(table.project_id == project_id, table.kind == kind, table.config_sha256 == config_sha256),
        table.verifier_id.is_(None),
    )
    id_: UUID = (await connection.execute(query)).scalar_one()
    return id_


async def archive(connection: AsyncConnection, project_id: UUID, name: str) -> bool:
    """Archive a project's verifier: its bare name stops resolving. False where there is none."""
    query = (
        update(verifiers)
        .where(verifiers.c.project_id == project_id, verifiers.c.name == name, verifiers.c.archived_at.is_(None))
        .values(archived_at=func.now())
        .returning(verifiers.c.id)
    )
    return (await connection.execute(query)).one_or_none() is not None


INLINE = 0
"""The version number of configurations that were sent inline."""


def matching(project_id: UUID, name: str, version: int | None) -> Select[tuple[UUID]]:
    """The ids of the versions that a score filter `name` or `name@version` means; with `INLINE`, of a kind's."""
    if version == INLINE:
        table = verifier_versions.c
        inline = (table.project_id == project_id, table.kind == name, table.verifier_id.is_(None))
        return select(table.id).where(*inline)
    query = (
        select(verifier_versions.c.id)
        .join(verifiers, verifiers.c.id == verifier_versions.c.verifier_id)
        .where(verifiers.c.name == name)
        .where(or_(verifiers.c.project_id == project_id, verifiers.c.project_id == BUILTIN_PROJECT))
    )
    return query if version is None else query.where(verifier_versions.c.version == version)

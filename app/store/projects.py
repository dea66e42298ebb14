"""Projects: who sees what, and how long completions are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast
from uuid import UUID

from sqlalchemy import Row, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.ids import uuid7
from app.store.tables import BUILTIN_PROJECT, DEFAULT_PROJECT, projects

Keep = Literal["full", "hash", "none"]


@dataclass(frozen=True, slots=True)
class Project:
    """A project and its policy: what is kept of a completion, and for how many days (None: for ever)."""

    id: UUID
    name: str
    keep: Keep
    retention_days: int | None
    created_at: datetime

    @property
    def operates(self) -> bool:
        """Whether its admin keys may create and list projects."""
        return self.name == DEFAULT_PROJECT


def _project(row: Row[tuple[object, ...]]) -> Project:
    return Project(row.id, row.name, cast(Keep, row.keep), row.retention_days, row.created_at)


async def ensure(connection: AsyncConnection, name: str, id: UUID | None = None) -> Project:
    """The project of that name, made if missing."""
    await connection.execute(
        insert(projects).values(id=id or uuid7(), name=name).on_conflict_do_nothing(index_elements=["name"])
    )
    row = (await connection.execute(select(projects).where(projects.c.name == name))).one()
    return _project(row)


async def create(connection: AsyncConnection, name: str, keep: Keep, retention_days: int | None) -> Project | None:
    """A new project, or None where the name is taken."""
    row = (
        await connection.execute(
            insert(projects)
            .values(id=uuid7(), name=name, keep=keep, retention_days=retention_days)
            .on_conflict_do_nothing(index_elements=["name"])
            .returning(projects)
        )
    ).one_or_none()
    return None if row is None else _project(row)


async def change(connection: AsyncConnection, id: UUID, values: dict[str, object]) -> Project:
    """Change a project's policy; `values` holds `keep`, `retention_days`, or both."""
    query = update(projects).where(projects.c.id == id).values(values).returning(projects)
    return _project((await connection.execute(query)).one())


async def list_page(connection: AsyncConnection, after: UUID | None, limit: int) -> Sequence[Project]:
    """Projects in the order of their making."""
    query = select(projects).where(projects.c.id != BUILTIN_PROJECT).order_by(projects.c.id).limit(limit)
    if after is not None:
        query = query.where(projects.c.id > after)
    return [_project(row) for row in await connection.execute(query)]

"""Reports: what measuring a version of a verifier has shown to one project."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from sqlalchemy import insert, select

from app.store.database import Connection
from app.store.ids import uuid7
from app.store.tables import reports

ReportType = Literal["probes", "calibration"]


async def add(connection: Connection, project_id: UUID, version_id: UUID, type: ReportType, body: str) -> None:
    """Keep a report; `body` is JSON text."""
    values = {"id": uuid7(), "project_id": project_id, "version_id": version_id, "type": type, "body": body.encode()}
    await connection.execute(insert(reports).values(values))


async def latest(connection: Connection, project_id: UUID, version_id: UUID) -> dict[str, str]:
    """The last report of each type as JSON text."""
    query = (
        select(reports.c.type, reports.c.body)
        .where(reports.c.project_id == project_id, reports.c.version_id == version_id)
        .order_by(reports.c.id)
    )
    return {row.type: row.body.decode() for row in await connection.execute(query)}

"""/project: a project's policy. /projects: the operator's list of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app import wire
from app.api.deps import (
    Cursor,
    Limit,
    Page,
    Received,
    answered,
    authorized,
    bad_cursor,
    json_response,
    services,
    takes,
)
from app.api.keys import NewKey, key_json
from app.auth import FIRST_KEY_NAME, SCOPES, Principal, digest, new_secret
from app.errors import Problem
from app.idempotency import Answer, answer_once
from app.registry import NAME
from app.store import keys as key_store
from app.store import projects as store
from app.store.database import Connection
from app.store.projects import Keep
from verifiers.base import Strict

router = APIRouter(tags=["projects"])

KEEP = "What is kept of a completion: all that was sent (full), the SHA-256 of its text (hash), or nothing (none)."
RETENTION = "Days after which what was kept of a completion is removed; null: never. Verdicts stay."


class Project(BaseModel):
    """A project and its policy."""

    id: UUID
    name: str
    keep: Keep = Field(description=KEEP)
    retention_days: int | None = Field(description=RETENTION)
    created_at: datetime


class NewProject(Project):
    """A project just made, with its first admin key."""

    key: NewKey


class ProjectPolicy(Strict):
    """What to change; fields left out stay as they are."""

    keep: Keep = Field("full", description=KEEP)
    retention_days: int | None = Field(None, ge=1, le=36_500, description=RETENTION)


class CreateProject(ProjectPolicy):
    """A project to make."""

    name: str = Field(pattern=f"^{NAME}$")


def project_json(project: store.Project) -> dict[str, Any]:
    """The wire form of a project."""
    return {
        "id": str(project.id),
        "name": project.name,
        "keep": project.keep,
        "retention_days": project.retention_days,
        "created_at": project.created_at.isoformat(),
    }


def _require_operator(who: Principal) -> None:
    if not who.project.operates:
        raise Problem("forbidden", "only admin keys of the project 'default' see and make projects")


@router.get("/project", response_model=Project, operation_id="get_project")
async def get_project(request: Request) -> Response:
    """The key's project and its policy."""
    who = await authorized(request, "read")
    return json_response(wire.encode(project_json(who.project)))


@router.patch("/project", response_model=Project, operation_id="change_project")
@takes(ProjectPolicy)
async def change_project(request: Request) -> Response:
    """Change the policy, for what is scored from now on (within a second) and, for retention, what was before."""
    state = services(request)
    who = await authorized(request, "admin")
    async with Received(request, ProjectPolicy) as body:
        changes = body.value.model_dump(include=body.value.model_fields_set)
    if not changes:
        raise Problem("invalid-body", "name at least one of keep and retention_days")
    async with state.database.begin() as connection:
        project = await store.change(connection, who.project.id, changes)
    state.auth.forget()
    return json_response(wire.encode(project_json(project)))


@router.get("/projects", response_model=Page[Project], operation_id="list_projects")
async def list_projects(request: Request, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Every project, oldest first; for admin keys of the project `default`."""
    state = services(request)
    who = await authorized(request, "admin")
    _require_operator(who)
    after = None
    if cursor is not None:
        try:
            after = UUID(cursor)
        except ValueError:
            bad_cursor()
    async with state.database.begin() as connection:
        found = await store.list_page(connection, after, limit + 1)
    next_cursor = str(found[limit - 1].id) if len(found) > limit else None
    items = [project_json(project) for project in found[:limit]]
    return json_response(wire.encode({"items": items, "next_cursor": next_cursor}))


@router.post("/projects", status_code=201, response_model=NewProject, operation_id="create_project")
@takes(CreateProject)
async def create_project(request: Request) -> Response:
    """Make a project, with an admin key that is shown once; for admin keys of the project `default`."""
    state = services(request)
    who = await authorized(request, "admin")
    _require_operator(who)
    async with Received(request, CreateProject) as body:
        asked = body.value

        async def produce(connection: Connection) -> Answer:
            project = await store.create(connection, asked.name, asked.keep, asked.retention_days)
            if project is None:
                raise Problem("conflict", f"a project named {asked.name!r} exists", pointer="/name")
            secret = new_secret()
            key = key_json(
                await key_store.create(connection, project.id, FIRST_KEY_NAME, digest(secret), secret[-4:], SCOPES)
            )
            made = project_json(project)
            return Answer(
                201,
                wire.encode({**made, "key": {**key, "key": secret}}),
                recorded=wire.encode({**made, "key": {**key, "key": None}}),
            )

        return answered(await answer_once(state.database, who.project.id, body.key, body.sha256, produce))

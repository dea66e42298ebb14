"""/keys: a project's API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
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
from app.auth import ENVIRONMENT_KEY_NAME, FIRST_KEY_NAME, Scope, digest, new_secret
from app.errors import Problem
from app.idempotency import Answer, answer_once
from app.store import keys as store
from app.store.database import Connection
from verifiers.base import Strict

router = APIRouter(tags=["keys"])

LABEL = r"^[^\x00-\x1f\x7f]{1,100}$"


class CreateKey(Strict):
    """A key to make."""

    name: str = Field(pattern=LABEL, description="What it is for.", examples=["trainer"])
    scopes: list[Scope] = Field(
        ["score", "read"],
        min_length=1,
        max_length=4,
        description="score: POST /score. register: verifiers. read: lists and scores. admin: keys and the project.",
    )


class ApiKey(BaseModel):
    """A key as it is known after it was made."""

    id: UUID
    name: str
    hint: str = Field(description="Its last four characters.")
    scopes: list[Scope]
    created_at: datetime
    revoked_at: datetime | None


class NewKey(ApiKey):
    """A key just made."""

    key: str | None = Field(description="The key, shown this once; null when the same request is repeated.")


def key_json(key: store.Key) -> dict[str, Any]:
    """The wire form of a key."""
    return {
        "id": str(key.id),
        "name": key.name,
        "hint": key.hint,
        "scopes": list(key.scopes),
        "created_at": key.created_at.isoformat(),
        "revoked_at": None if key.revoked_at is None else key.revoked_at.isoformat(),
    }


@router.post("/keys", status_code=201, response_model=NewKey, operation_id="create_key")
@takes(CreateKey)
async def create_key(request: Request) -> Response:
    """Make a key of this project. It is shown once."""
    state = services(request)
    who = await authorized(request, "admin")
    async with Received(request, CreateKey) as body:
        asked = body.value
        if asked.name in (ENVIRONMENT_KEY_NAME, FIRST_KEY_NAME):
            raise Problem(
                "conflict", f"the service itself names a key {asked.name!r}; choose another", pointer="/name"
            )

        async def produce(connection: Connection) -> Answer:
            secret = new_secret()
            scopes = sorted(set(asked.scopes))
            key = key_json(
                await store.create(connection, who.project.id, asked.name, digest(secret), secret[-4:], scopes)
            )
            return Answer(201, wire.encode({**key, "key": secret}), recorded=wire.encode({**key, "key": None}))

        return answered(await answer_once(state.database, who.project.id, body.key, body.sha256, produce))


@router.get("/keys", response_model=Page[ApiKey], operation_id="list_keys")
async def list_keys(request: Request, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """The project's keys, revoked ones included, oldest first."""
    state = services(request)
    who = await authorized(request, "admin")
    after = None
    if cursor is not None:
        try:
            after = UUID(cursor)
        except ValueError:
            bad_cursor()
    async with state.database.begin() as connection:
        found = await store.list_page(connection, who.project.id, after, limit + 1)
    next_cursor = str(found[limit - 1].id) if len(found) > limit else None
    return json_response(wire.encode({"items": [key_json(key) for key in found[:limit]], "next_cursor": next_cursor}))


@router.delete("/keys/{id}", response_model=ApiKey, operation_id="revoke_key")
async def revoke_key(
    request: Request, id: Annotated[UUID, Path(description="The id that the list of keys tells.")]
) -> Response:
    """Revoke a key; it stops working within a second everywhere. A key cannot revoke itself."""
    state = services(request)
    who = await authorized(request, "admin")
    if id == who.key_id:
        raise Problem("conflict", "a key cannot revoke itself, so that a project is never left without an admin")
    async with state.database.begin() as connection:
        key = await store.revoke(connection, who.project.id, id)
    if key is None:
        raise Problem("not-found", f"no key {id} in this project")
    state.auth.forget()
    return json_response(wire.encode(key_json(key)))

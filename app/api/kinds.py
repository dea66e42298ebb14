"""GET /kinds: what sorts of verifier there are."""

from __future__ import annotations

import inspect
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app import wire
from app.api.deps import Page, authorized, json_response, services
from verifiers.base import KINDS

router = APIRouter(tags=["verifiers"])


class Kind(BaseModel):
    """A kind: the JSON Schemas of its configuration and of its items' reference."""

    kind: str
    description: str
    revision: int
    deterministic: bool
    available: bool
    config_schema: dict[str, Any]
    reference_schema: dict[str, Any]


@router.get("/kinds", response_model=Page[Kind], operation_id="list_kinds")
async def list_kinds(request: Request) -> Response:
    """Every kind with its schemas."""
    state = services(request)
    await authorized(request, "read")
    items = [
        {
            "kind": name,
            "description": inspect.cleandoc(cls.__doc__ or ""),
            "revision": cls.revision,
            "deterministic": cls.deterministic,
            "available": name not in state.engine.unavailable,
            "config_schema": cls.Config.model_json_schema(),
            "reference_schema": cls.reference.json_schema(),
        }
        for name, cls in sorted(KINDS.items())
    ]
    return json_response(wire.encode({"items": items, "next_cursor": None}))

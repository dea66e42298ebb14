"""GET /kinds: what sorts of verifier there are."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app import wire
from app.api.deps import Page, authorized, json_response, services
from app.kind_pages.docstring import summary
from verifiers.base import KINDS

router = APIRouter(tags=["verifiers"])


class KindExample(BaseModel):
    """A known item, with the score that the kind gives it under a configuration."""

    config: dict[str, Any]
    item: dict[str, Any]
    score: float | None


class Kind(BaseModel):
    """A kind: the JSON Schemas of its configuration and of its items' reference."""

    kind: str
    description: str = Field(description="What it does, in a sentence; docs/kinds/ has a page on each.")
    revision: int
    deterministic: bool
    available: bool
    config_schema: dict[str, Any]
    reference_schema: dict[str, Any]
    examples: list[KindExample]


@router.get("/kinds", response_model=Page[Kind], operation_id="list_kinds")
async def list_kinds(request: Request) -> Response:
    """Every kind with its schemas."""
    state = services(request)
    await authorized(request, "read")
    items = [
        {
            "kind": name,
            "description": summary(cls),
            "revision": cls.revision,
            "deterministic": cls.deterministic,
            "available": name not in state.engine.unavailable,
            "config_schema": cls.Config.model_json_schema(),
            "reference_schema": cls.reference.json_schema(),
            "examples": [
                {
                    "config": example.config,
                    "item": example.item.model_dump(mode="json", exclude_unset=True),
                    "score": example.score,
                }
                for example in cls.examples
            ],
        }
        for name, cls in sorted(KINDS.items())
    ]
    return json_response(wire.encode({"items": items, "next_cursor": None}))

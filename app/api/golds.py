"""POST /golds: whether references can be used, before anything is trained against them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app import wire
from app.api.deps import Received, authorized, json_response, services, takes, unrecorded
from app.golds import Gold, fault_of, items_of
from app.registry import inline_scope
from app.tasks import Options, Task
from verifiers.base import Completion, ErrorType, Item, Name, Prompt, Strict, Verdict
from verifiers.lent import InlineVerifier

router = APIRouter(tags=["verifiers"])

MAX_GOLDS = 4096


class GoldEntry(Strict):
    """A reference, and where the kind cannot write one itself, a completion that it must accept."""

    id: Name | None = Field(None, description="Echoed in the result; yours to choose.")
    reference: Any = Field(None, examples=["\\frac{1}{2}"])
    completion: Completion | None = None
    prompt: Prompt | None = None


class GoldsRequest(Strict):
    """References to check."""

    verifier: str | InlineVerifier = Field(description="`name`, `name@version`, or a kind with its configuration.")
    golds: list[GoldEntry] = Field(min_length=1, max_length=MAX_GOLDS)
    deadline_ms: int = Field(30_000, ge=1, le=600_000, description="When checking stops.")


class GoldResult(BaseModel):
    """What became of one reference."""

    id: str | None
    ok: bool | None = Field(description="Whether it accepts its own answer; null where that could not be told now.")
    reason: str | None = Field(description="Why not.")


class GoldsSummary(BaseModel):
    """Counts over the references."""

    count: int
    ok: int
    failed: int
    unknown: int


class GoldsResponse(BaseModel):
    """The results, in the references' order."""

    verifier: str
    items: list[GoldResult]
    summary: GoldsSummary


@router.post("/golds", response_model=GoldsResponse, operation_id="check_golds")
@takes(GoldsRequest)
@unrecorded
async def check_golds(request: Request) -> Response:
    """Check that each reference accepts its own answer. Nothing is recorded."""
    state = services(request)
    who = await authorized(request, "score")
    async with Received(request, GoldsRequest) as body:
        asked = body.value
        named = asked.verifier
        if isinstance(named, InlineVerifier):
            who.require(inline_scope(named.kind, named.config))
            resolved = await state.registry.inline(who.project.id, named.kind, named.config)
        else:
            resolved = await state.registry.resolve(who.project.id, named)
        golds = [Gold(entry.reference, entry.completion, entry.prompt) for entry in asked.golds]
        items = items_of(resolved.verifier, golds)
        tasks = [Task(item) if isinstance(item, Item) else Task(None, fault=item) for item in items]
        slots = await state.engine.verify(
            who.project, resolved.version_id, tasks, Options(deadline_s=asked.deadline_ms / 1000)
        )
        results = [_result(entry.id, slot.verdict) for entry, slot in zip(asked.golds, slots, strict=True)]
        known = [result["ok"] for result in results]
        summary = {
            "count": len(known),
            "ok": known.count(True),
            "failed": known.count(False),
            "unknown": known.count(None),
        }
        return json_response(wire.encode({"verifier": resolved.label, "items": results, "summary": summary}))


def _result(id: str | None, verdict: Verdict | None) -> dict[str, Any]:
    if verdict is None:
        raise AssertionError("Engine.verify fills every slot")
    error = verdict.error
    told = error is None or error.type is ErrorType.BAD_ITEM or not error.retryable
    reason = fault_of(verdict)
    return {"id": id, "ok": (not reason) if told else None, "reason": reason or None}

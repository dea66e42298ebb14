"""/healthz, /readyz, /metrics: for whoever operates the service, without a key.

Of projects they tell the names at most, where it is counted what backends take.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from app import metrics, wire
from app.api.deps import json_response, services
from verifiers.base import KINDS

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The process answers."""

    status: str = Field(examples=["ok"])


class KindReadiness(BaseModel):
    """Whether a kind proved itself on known items."""

    ready: bool
    reason: str | None


class SandboxReadiness(BaseModel):
    """Whether code can be run, and what isolates it."""

    backend: str | None = Field(examples=["docker"])
    ready: bool
    reason: str | None = Field(description="Why it is not ready, and what to change.")


class Readiness(BaseModel):
    """Whether the service can score and record."""

    status: str = Field(examples=["ready"])
    database: bool
    kinds: dict[str, KindReadiness]
    sandbox: SandboxReadiness


@router.get("/healthz", response_model=Health, operation_id="healthz")
async def healthz() -> Response:
    """Answers while the process lives."""
    return json_response('{"status":"ok"}')


@router.get(
    "/readyz",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "The database cannot be reached."}},
    operation_id="readyz",
)
async def readyz(request: Request) -> Response:
    """Ready once the database answers; a kind that cannot prove itself or lacks a sandbox is named; others serve."""
    state = services(request)
    database = await state.database.reachable()
    unavailable = state.engine.unavailable
    kinds = {kind: {"ready": kind not in unavailable, "reason": unavailable.get(kind)} for kind in sorted(KINDS)}
    sandbox = {
        "backend": state.sandbox.backend or None,
        "ready": not state.sandbox.unavailable,
        "reason": state.sandbox.unavailable or None,
    }
    status = "ready" if database else "not ready"
    body = {"status": status, "database": database, "kinds": kinds, "sandbox": sandbox}
    return json_response(wire.encode(body), 200 if database else 503)


@router.get("/metrics", response_class=Response, operation_id="metrics")
async def prometheus(request: Request) -> Response:
    """Prometheus metrics."""
    services(request).watch.count()
    return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)

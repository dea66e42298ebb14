"""GET /sandbox: where code runs, what isolates it, and what it may use."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app import wire
from app.api.deps import authorized, json_response, services
from sandbox.base import Job, Limits, Program, Stdio

router = APIRouter(tags=["sandbox"])

NOT_ISOLATION = frozenset({"backend", "chosen", "cells", "busy", "memory_mb"})
"""Facts of the pool that have a place of their own."""


class RunLimits(BaseModel):
    """Bounds of one run."""

    cpu_s: float
    wall_s: float
    memory_mb: int
    processes: int
    output_kb: int
    disk_mb: int


class SandboxLimits(BaseModel):
    """What a run may use where its verifier says nothing else, and the most that one may say."""

    default: RunLimits
    compile: RunLimits = Field(description="Of compiling a program.")
    most_memory_mb: int = Field(description="ASSAY_SANDBOX_MEMORY_MB.")


class SandboxDescription(BaseModel):
    """The sandbox of this service."""

    backend: str | None = Field(examples=["docker"])
    ready: bool
    reason: str | None = Field(description="Why nothing can run now, and what to change.")
    chosen: str = Field(description="Why this backend was taken.")
    cells: int = Field(description="Runs at once, in the process that answers.")
    languages: dict[str, str] = Field(description="Each with its version.")
    packages: dict[str, str] = Field(description="Python packages that code may import, each with its version.")
    limits: SandboxLimits
    isolation: dict[str, Any] = Field(description="How the backend isolates; it has proved it.")


@router.get("/sandbox", response_model=SandboxDescription, operation_id="get_sandbox")
async def get_sandbox(request: Request) -> Response:
    """What runs code here: languages, packages, limits, and what isolates it."""
    state = services(request)
    await authorized(request, "read")
    pool = state.sandbox
    body = {
        "backend": pool.backend or None,
        "ready": not pool.unavailable,
        "reason": pool.unavailable or None,
        "chosen": pool.note,
        "cells": pool.cells,
        "languages": dict(sorted(pool.languages.items())),
        "packages": dict(sorted(pool.packages.items())),
        "limits": {
            "default": asdict(Limits()),
            "compile": asdict(Job(Program(b""), Stdio(())).compile_limits),
            "most_memory_mb": state.settings.sandbox_memory_mb,
        },
        "isolation": {name: fact for name, fact in pool.describe().items() if name not in NOT_ISOLATION},
    }
    return json_response(wire.encode(body))

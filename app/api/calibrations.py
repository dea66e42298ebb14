"""POST /verifiers/{name}/calibrations: how far a verifier's scores agree with labels, and where to draw the line."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field

from app import wire
from app.api.deps import Received, answered, authorized, services, takes
from app.errors import Problem
from app.idempotency import Answer, answer_once
from app.registry import REFERENCE, unknown_verifier
from app.rows import NO_VERDICT
from app.store import reports
from app.store.database import Connection
from app.tasks import Options, Task
from verifiers.base import Completion, Item, Prompt, Strict
from verifiers.judge.calibration import calibrate

router = APIRouter(tags=["verifiers"])

MAX_LABELLED = 4096


class Labelled(Strict):
    """A completion, and whether it is right."""

    prompt: Prompt | None = None
    completion: Completion
    reference: Any = None
    label: bool = Field(description="What a careful person says: true where the completion is right.")


class CalibrationRequest(Strict):
    """Labelled completions."""

    items: list[Labelled] = Field(min_length=2, max_length=MAX_LABELLED)
    aim: Literal["balanced_accuracy", "f1"] = Field(
        "balanced_accuracy", description="What the threshold makes greatest."
    )
    deadline_ms: int = Field(60_000, ge=1, le=600_000, description="When verifying stops.")


class CalibrationReport(BaseModel):
    """How far the scores agree with the labels. The threshold is measured on what it was fitted to."""

    verifier: str
    count: int
    unscored: int = Field(description="Items left out because they could not be scored.")
    threshold: float = Field(description="Accept from here on, it included.")
    aim: str
    confusion: dict[str, int]
    agreement: float
    agreement_interval: list[float] = Field(description="Of 95 % (Wilson).")
    kappa: float = Field(description="Cohen's: agreement beyond chance.")
    kappa_interval: list[float] = Field(description="Of 95 %, by the large-sample variance.")


@router.post(
    "/verifiers/{name}/calibrations",
    status_code=201,
    response_model=CalibrationReport,
    operation_id="calibrate_verifier",
)
@takes(CalibrationRequest)
async def calibrate_verifier(
    request: Request, name: Annotated[str, Path(description="`name` (the latest version) or `name@version`.")]
) -> Response:
    """Score labelled completions and keep how far the scores agree with the labels. The scores are not recorded."""
    state = services(request)
    who = await authorized(request, "register")
    if not re.fullmatch(REFERENCE, name):
        raise unknown_verifier(name)
    async with Received(request, CalibrationRequest) as body:
        asked = body.value
        resolved = await state.registry.resolve(who.project.id, name)
        tasks = [
            Task(Item(prompt=item.prompt, completion=item.completion, reference=item.reference))
            for item in asked.items
        ]
        options = Options(deadline_s=asked.deadline_ms / 1000)
        slots = await state.engine.verify(who.project, resolved.version_id, tasks, options)
        pairs: list[tuple[float, bool]] = []
        faults: list[str] = []
        for slot, item in zip(slots, asked.items, strict=True):
            verdict = slot.verdict or NO_VERDICT
            if verdict.score is not None:
                pairs.append((verdict.score, item.label))
            elif verdict.error is not None:
                faults.append(verdict.error.message)
        if {label for _, label in pairs} != {True, False}:
            said = f"; {len(faults)} could not be scored, the first because {faults[0]}" if faults else ""
            detail = f"/items: among those that are scored must be right ones and wrong ones{said}"
            raise Problem("invalid-body", detail, pointer="/items")
        report = {
            "verifier": resolved.label,
            "count": len(pairs),
            "unscored": len(asked.items) - len(pairs),
            **asdict(calibrate(pairs, asked.aim)),
        }

        async def produce(connection: Connection) -> Answer:
            encoded = wire.encode(report)
            await reports.add(connection, who.project.id, resolved.version_id, "calibration", encoded)
            return Answer(201, encoded)

        return answered(await answer_once(state.database, who.project.id, body.key, body.sha256, produce))

"""/runs/{id}/metrics and /runs/{id}/samples: what a training run has logged."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app import wire
from app.api.deps import Cursor, Limit, Page, authorized, bad_cursor, json_response, services
from app.api.run_events import MAX_METRICS
from app.api.runs import RunId, existing_run
from app.api.score import RUN, StepScore, VerdictError
from app.results import label
from app.store import run_history as store
from app.store.database import Record
from verifiers.base import GivingWay, Outcome

router = APIRouter(tags=["runs"])

MAX_STEPS = 10_000
"""Points of a page of metrics."""
MAX_CELLS = 200_000
"""Values of a page of metrics: with many metrics a page holds fewer points."""
LAST_STEP = 2**63 - 1

_SAMPLE_CURSOR = re.compile(r"([0-9]{1,19})-([0-9]{1,10})")
_STEP_CURSOR = re.compile("[0-9]{1,19}")

FirstStep = Annotated[int, Query(ge=0, le=LAST_STEP, description="Inclusive.")]
LastStep = Annotated[int | None, Query(ge=0, le=LAST_STEP, description="Inclusive; without it, to the end.")]
"""Not the highest number by default: a browser rounds it up, and sends what is refused then."""


class RunMetrics(BaseModel):
    """Metrics by column, for plots: each has as many values as there are steps."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "steps": [11, 12],
                    "times": ["2026-01-31T12:00:00+00:00", "2026-01-31T12:00:09+00:00"],
                    "values": {"reward": [0.5, 0.53], "loss": [0.02, None]},
                    "not_finite": {"loss": [12]},
                    "next_cursor": "13",
                }
            ]
        }
    )
    steps: list[int] = Field(description="In ascending order. Of a block of `every` steps, the last.")
    times: list[datetime]
    values: dict[str, list[float | None]] = Field(
        description="By name; null where the step has no such value, or one that was not finite."
    )
    not_finite: dict[str, list[int]] = Field(description="By name, those of `steps` at which it was not finite.")
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page.")


class SampleVerdict(BaseModel):
    """The recorded verdict of a sample."""

    verifier: str | None
    score: float | None
    outcome: Outcome
    detail: dict[str, Any]
    components: dict[str, float]
    steps: list[StepScore] | None
    error: VerdictError | None


class RunSample(BaseModel):
    """A completion that was trained on, with what came of it."""

    step: int
    sample: int
    attempt: int
    score_id: UUID | None
    reward: float | None = Field(description="As it was trained with; null: unscored.")
    advantage: float | None
    tokens: int | None
    finish_reason: str | None
    prompt: Any = Field(description="Null where it is not kept. As logged, or else as it was sent to be scored.")
    completion: Any
    metadata: dict[str, Any]
    verdict: SampleVerdict | None = Field(description="Null where the sample names no score of this project.")


@router.get("/runs/{id}/metrics", response_model=RunMetrics, operation_id="get_run_metrics")
async def get_run_metrics(
    request: Request,
    id: RunId,
    name: Annotated[
        list[Annotated[str, Field(pattern=RUN)]] | None,
        Query(max_length=MAX_METRICS, description="Metrics to answer, each once; all where none is named."),
    ] = None,
    from_step: FirstStep = 0,
    to_step: LastStep = None,
    every: Annotated[
        int,
        Query(ge=1, le=LAST_STEP, description="One point for each block of so many steps: the last values in it."),
    ] = 1,
    limit: Annotated[int, Query(ge=1, le=MAX_STEPS, description="Most points of a page.")] = 1000,
    cursor: Cursor = None,
) -> Response:
    """Curves: the values of metrics, step by step, by column."""
    state = services(request)
    who = await authorized(request, "read")
    first = from_step
    if cursor is not None:
        if not _STEP_CURSOR.fullmatch(cursor) or int(cursor) > LAST_STEP:
            bad_cursor()
        first = max(first, int(cursor))
    async with state.database.begin() as connection:
        run = await existing_run(connection, who.project.id, id)
        names = list(dict.fromkeys(run.metric_names if name is None else name))
        limit = max(1, min(limit, MAX_CELLS // max(1, len(names))))
        # one point more than is asked for tells whether any follow
        rows = await store.metrics(connection, run.id, names, _steps(first, to_step), every, limit + 1)
    return json_response(wire.encode(await _columns(rows, names, every, limit)))


def _steps(first: int, last: int | None) -> store.Steps:
    return store.Steps(first, LAST_STEP if last is None else last)


async def _columns(rows: Sequence[Record], names: Sequence[str], every: int, limit: int) -> dict[str, Any]:
    """The rows, which come in the order of their blocks, by column; `limit` blocks of them."""
    steps: list[int] = []
    times: list[datetime] = []
    values: dict[str, list[float | None]] = {name: [] for name in names}
    not_finite: dict[str, list[int]] = {}
    block: int | None = None
    turn = GivingWay()
    for row in rows:
        await turn.over()
        if row.block != block:
            if len(steps) == limit:
                return _metrics(steps, times, values, not_finite, str(row.block * every))
            block = row.block
            steps.append(row.step)
            times.append(row.at)
            for column in values.values():
                column.append(None)
        steps[-1] = max(steps[-1], row.step)
        times[-1] = max(times[-1], row.at)
        values[row.name][-1] = row.value
        if row.value is None:
            not_finite.setdefault(row.name, []).append(len(steps) - 1)
    return _metrics(steps, times, values, not_finite, None)


def _metrics(
    steps: list[int],
    times: list[datetime],
    values: dict[str, list[float | None]],
    not_finite: dict[str, list[int]],
    next_cursor: str | None,
) -> dict[str, Any]:
    """The answer; `not_finite` has positions in `steps`, of which a block's last is known at its end only."""
    return {
        "steps": steps,
        "times": [time.isoformat() for time in times],
        "values": values,
        "not_finite": {name: [steps[place] for place in places] for name, places in not_finite.items()},
        "next_cursor": next_cursor,
    }


@router.get("/runs/{id}/samples", response_model=Page[RunSample], operation_id="list_run_samples")
async def list_run_samples(
    request: Request,
    id: RunId,
    from_step: FirstStep = 0,
    to_step: LastStep = None,
    outcome: Annotated[Outcome | None, Query(description="Of the verdict.")] = None,
    min_score: Annotated[float | None, Query(allow_inf_nan=False, description="Of the verdict; inclusive.")] = None,
    max_score: Annotated[float | None, Query(allow_inf_nan=False, description="Of the verdict; inclusive.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """The completions behind the curves, each with its verdict, reward and advantage, in the order of their steps.

    A page of a search by verdict may hold few, or none, before the last one: `next_cursor` tells.
    """
    state = services(request)
    who = await authorized(request, "read")
    after = None
    if cursor is not None:
        match = _SAMPLE_CURSOR.fullmatch(cursor)
        if match is None or int(match[1]) > LAST_STEP or int(match[2]) > 2**31 - 1:
            bad_cursor()
        after = (int(match[1]), int(match[2]))
    wanted = store.SampleFilter(_steps(from_step, to_step), outcome, min_score, max_score)
    async with state.database.begin() as connection:
        await state.settling.catch_up(connection, who.project)
        run = await existing_run(connection, who.project.id, id)
        rows, place = await store.samples(connection, who.project.id, run.id, wanted, after, limit)
    items: list[str] = []
    turn = GivingWay()
    for row in rows:
        await turn.over()
        items.append(wire.encode(_sample(row)))
    next_cursor = None if place is None else f"{place[0]}-{place[1]}"
    return json_response(f'{{"items":[{",".join(items)}],"next_cursor":{wire.encode(next_cursor)}}}')


def _sample(row: Record) -> dict[str, Any]:
    logged: dict[str, Any] = {} if row.item is None else json.loads(row.item)
    scored: dict[str, Any] = {} if row.score_item is None else json.loads(row.score_item)
    text = {part: scored.get(part) if logged.get(part) is None else logged[part] for part in ("prompt", "completion")}
    return {
        "step": row.step,
        "sample": row.sample,
        "attempt": row.attempt,
        "score_id": None if row.score_id is None else str(row.score_id),
        "reward": row.reward,
        "advantage": row.advantage,
        "tokens": row.tokens,
        "finish_reason": row.finish_reason,
        **text,
        "metadata": logged.get("metadata", {}),
        "verdict": None if row.outcome is None else _verdict(row),
    }


def _verdict(row: Record) -> dict[str, Any]:
    body: dict[str, Any] = json.loads("{" + row.verdict.decode() + "}")
    return {"verifier": label(row), "score": row.score, "outcome": row.outcome, **body}

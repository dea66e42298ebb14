"""/runs: training runs, by the name that /score is sent as `run`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

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
from app.api.score import RUN
from app.errors import Problem
from app.idempotency import Answer, answer_once
from app.store import runs as store
from app.store.database import Connection, Record
from app.store.runs import Status
from verifiers.base import Strict, clip, pointer

router = APIRouter(tags=["runs"])

MAX_CONFIG_BYTES = 2**18
"""Of a run's configuration, and of its metadata, as JSON."""
MAX_DIFFERENCES = 20
"""Fields that a refusal names."""

RunId = Annotated[
    str, Path(pattern=RUN, description="The run's id or name; a name with a slash is found by its id only.")
]


def _small(value: dict[str, Any]) -> dict[str, Any]:
    if len(wire.encode(value)) > MAX_CONFIG_BYTES:
        raise ValueError(f"must have at most {MAX_CONFIG_BYTES:,} bytes as JSON")
    return value


class CreateRun(Strict):
    """A training run that begins, or is taken up again."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "sort-exact-7",
                    "config": {"algorithm": "grpo", "learning_rate": 1e-6, "group": 8},
                    "metadata": {"host": "gpu-3"},
                }
            ]
        }
    )
    name: str = Field(
        pattern=RUN, description="Yours, once in a project: what `POST /score` is sent as `run`.", examples=["sort-7"]
    )
    config: Annotated[dict[str, Any], AfterValidator(_small)] = Field(
        default_factory=dict, description="What the run is made with; the same name with another one is refused."
    )
    metadata: Annotated[dict[str, Any], AfterValidator(_small)] = Field(
        default_factory=dict, description="Anything else to tell of it; that of the first request stays."
    )


class Run(BaseModel):
    """A training run."""

    id: UUID
    name: str
    status: Status
    message: str | None = Field(description="What came with the status.")
    attempt: int = Field(description="The highest attempt that was heard of.")
    last_step: int | None = Field(description="Null before anything was logged.")
    created_at: datetime
    updated_at: datetime = Field(description="When events came last.")


class RunCounts(BaseModel):
    """What a run amounts to."""

    steps: int = Field(description="Steps that have metrics or samples.")
    samples: int
    unscored: int = Field(description="Samples without a reward.")
    unscored_share: float | None = Field(description="Of the samples; null where there are none.")
    alarms: int


class RunResume(BaseModel):
    """Where an attempt went on: what lower attempts did beyond that step is void."""

    attempt: int
    step: int


class RunAlarm(BaseModel):
    """A warning."""

    step: int
    attempt: int
    name: str
    message: str
    values: dict[str, float | None]
    time: datetime


class RunDetail(Run):
    """A training run with what has been logged of it."""

    config: dict[str, Any]
    metadata: dict[str, Any]
    counts: RunCounts
    metrics: list[str] = Field(description="The names of its metrics, sorted.")
    resumes: list[RunResume] = Field(description=f"The last {store.SHOWN}, the highest attempt first.")
    alarms: list[RunAlarm] = Field(
        description=f"The last {store.SHOWN}, the latest step first; fewer where they are long."
    )


def _run(row: Record) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "name": row.name,
        "status": row.status,
        "message": None if row.message is None else json.loads(row.message),
        "attempt": row.attempt,
        "last_step": row.last_step,
        "created_at": row.created_at.isoformat(),
        "updated_at": row.updated_at.isoformat(),
    }


async def _detail(connection: Connection, row: Record) -> dict[str, Any]:
    counts = await store.counts(connection, row.id)
    return {
        **_run(row),
        "config": json.loads(row.config),
        "metadata": json.loads(row.metadata),
        "counts": {
            "steps": counts.steps,
            "samples": counts.samples,
            "unscored": counts.unscored,
            "unscored_share": counts.unscored / counts.samples if counts.samples else None,
            "alarms": counts.alarms,
        },
        "metrics": row.metric_names,
        "resumes": [{"attempt": each.attempt, "step": each.step} for each in await store.resumes(connection, row.id)],
        "alarms": [
            {
                "step": alarm.step,
                "attempt": alarm.attempt,
                "name": alarm.name,
                "message": json.loads(alarm.message),
                "values": json.loads(getattr(alarm, "values")),  # noqa: B009 - the row has a method of that name
                "time": alarm.at.isoformat(),
            }
            for alarm in await store.latest_alarms(connection, row.id)
        ],
    }


async def existing_run(connection: Connection, project_id: UUID, id: str) -> Record:
    """The project's run of that id or name. Raises `Problem` (404)."""
    row = await store.find(connection, project_id, id)
    if row is None:
        raise Problem("not-found", f"no run {wire.quote(id)} in this project; POST /runs makes one")
    return row


@router.post(
    "/runs",
    status_code=201,
    response_model=RunDetail,
    responses={200: {"model": RunDetail, "description": "The run exists, with this configuration."}},
    operation_id="create_run",
)
@takes(CreateRun)
async def create_run(request: Request) -> Response:
    """Begin a run, or find the one of that name again: `attempt` + 1 is then the attempt to go on with."""
    state = services(request)
    who = await authorized(request, "score")
    async with Received(request, CreateRun) as body:
        asked = body.value

        async def produce(connection: Connection) -> Answer:
            config, metadata = (wire.encode(value).encode() for value in (asked.config, asked.metadata))
            id, new = await store.create(connection, who.project.id, asked.name, config, metadata)
            row = await existing_run(connection, who.project.id, str(id))
            if not new:
                _require_same(json.loads(row.config), asked.config)
            return Answer(201 if new else 200, wire.encode(await _detail(connection, row)))

        return answered(await answer_once(state.database, who.project.id, body.key, body.sha256, produce))


def _require_same(recorded: dict[str, Any], asked: dict[str, Any]) -> None:
    """Raise `Problem` (409) naming the fields in which a configuration differs from the recorded one."""
    differing = sorted(pointer(place) for place in differences(recorded, asked))
    if differing:
        named = ", ".join(wire.quote(each) for each in differing[:MAX_DIFFERENCES])
        raise Problem(
            "conflict",
            clip(f"the run has another configuration; resume it unchanged, or choose another name: {named}", 900),
            pointer="/config",
            differs=[clip(each, 200) for each in differing[:MAX_DIFFERENCES]],
        )


def differences(one: Any, other: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The places at which two JSON values differ; lists are compared as a whole, the order of fields is nothing."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() | other.keys():
            if key in one and key in other:
                yield from differences(one[key], other[key], (*place, key))
            else:
                yield (*place, key)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        if any(next(differences(*pair), None) is not None for pair in zip(one, other, strict=True)):
            yield place
    elif one != other or isinstance(one, bool) != isinstance(other, bool):  # to Python, true is 1
        yield place


@router.get("/runs", response_model=Page[Run], operation_id="list_runs")
async def list_runs(
    request: Request,
    status: Annotated[Status | None, Query(description="What has become of them.")] = None,
    name: Annotated[str | None, Query(pattern=RUN, description="What the names begin with.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Training runs, newest first."""
    state = services(request)
    who = await authorized(request, "read")
    before = None
    if cursor is not None:
        try:
            before = UUID(cursor)
        except ValueError:
            bad_cursor()
    async with state.database.begin() as connection:
        rows, more = await store.list_page(connection, who.project.id, status, name, before, limit)
    next_cursor = str(rows[-1].id) if more else None
    return json_response(wire.encode({"items": [_run(row) for row in rows], "next_cursor": next_cursor}))


@router.get("/runs/{id}", response_model=RunDetail, operation_id="get_run")
async def get_run(request: Request, id: RunId) -> Response:
    """A training run: its configuration, and what has been logged of it."""
    state = services(request)
    who = await authorized(request, "read")
    async with state.database.begin() as connection:
        answer = await _detail(connection, await existing_run(connection, who.project.id, id))
    return json_response(wire.encode(answer))

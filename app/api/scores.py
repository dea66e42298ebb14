"""/scores: the record of every verdict."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, Field

from app import wire
from app.api.deps import Cursor, Limit, Page, answered, authorized, bad_cursor, json_response, services
from app.api.score import StepScore, VerdictError
from app.errors import Problem
from app.idempotency import Answer, answer_once, request_key, request_sha256
from app.registry import REFERENCE
from app.results import label, verdict_body
from app.services import Services
from app.store import scores as store
from app.store.database import Connection, Record
from app.store.ids import time_of
from app.store.projects import Project
from app.store.verifiers import INLINE
from app.tasks import Options, Task
from verifiers.base import KINDS, Item, Outcome

router = APIRouter(tags=["scores"])

ScoreId = Annotated[UUID, Path(description="The `score_id` of the answer.")]


def _is_no_number(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\s*[-+]?[0-9.]+\s*", value):
        raise ValueError("must be a date and time such as 2026-01-31T12:00:00Z")
    return value


Moment = Annotated[datetime, BeforeValidator(_is_no_number)]


class RecordedScore(BaseModel):
    """A recorded verdict."""

    id: UUID
    batch_id: UUID
    created_at: datetime
    item_id: str | None
    group: str | None
    run: str | None
    step: int | None
    verifier: str | None
    kind: str | None
    revision: int
    score: float | None
    outcome: Outcome
    detail: dict[str, Any]
    components: dict[str, float]
    steps: list[StepScore] | None
    error: VerdictError | None
    ms: float
    cached: bool


class KeptItem(BaseModel):
    """What was sent, exactly."""

    prompt: Any
    completion: Any
    reference: Any
    tokens: int | None
    finish_reason: str | None
    metadata: dict[str, Any]


class RecordedScoreWithItem(RecordedScore):
    """A recorded verdict and what was kept of its item."""

    completion_sha256: str | None = Field(description="Of the completion's text; null where nothing was kept.")
    item: KeptItem | None = Field(description="Null where the project does not keep completions, or no longer.")


class ReplayedVerdict(BaseModel):
    """The verdict of a replay, or the one it is held against."""

    score: float | None
    outcome: Outcome
    revision: int
    detail: dict[str, Any]
    components: dict[str, float]
    steps: list[StepScore] | None
    error: VerdictError | None


class Replay(BaseModel):
    """A recorded verdict held against a new one of the same version."""

    id: UUID
    verifier: str
    holds: bool | None = Field(
        description="Whether score and outcome are the same; null if it could not be scored now, or a signal did."
    )
    recorded: ReplayedVerdict
    replayed: ReplayedVerdict


def _recorded(row: Record) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "batch_id": str(row.batch_id),
        "created_at": time_of(row.id).isoformat(),
        "item_id": None if row.item_id is None else json.loads(row.item_id),
        "group": None if row.item_group is None else json.loads(row.item_group),
        "run": row.run,
        "step": row.step,
        "verifier": label(row),
        "kind": row.kind,
        "revision": row.revision,
        "score": row.score,
        "outcome": row.outcome,
        **_body(row),
        "ms": round(row.ms, 3),
        "cached": row.cached,
    }


def _body(row: Record) -> dict[str, Any]:
    body: dict[str, Any] = json.loads("{" + row.verdict.decode() + "}")
    return body


@router.get("/scores", response_model=Page[RecordedScore], operation_id="list_scores")
async def list_scores(
    request: Request,
    verifier: Annotated[str | None, Query(description="`name`, `name@version` or `kind@inline`.")] = None,
    run: Annotated[
        str | None, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$", description="The run they were scored in.")
    ] = None,
    outcome: Annotated[Outcome | None, Query(description="What the verdicts say.")] = None,
    since: Annotated[Moment | None, Query(description="Inclusive; UTC unless it says otherwise.")] = None,
    until: Annotated[Moment | None, Query(description="Exclusive.")] = None,
    min_score: Annotated[float | None, Query(allow_inf_nan=False, description="Inclusive.")] = None,
    max_score: Annotated[float | None, Query(allow_inf_nan=False, description="Inclusive.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Recorded verdicts, newest first."""
    state = services(request)
    who = await authorized(request, "read")
    before = None
    if cursor is not None:
        try:
            before = UUID(cursor)
        except ValueError:
            bad_cursor()
    wanted = store.Filter(
        verifier=None if verifier is None else verifier_filter(verifier),
        run=run,
        outcome=outcome,
        since=_utc(since),
        until=_utc(until),
        min_score=min_score,
        max_score=max_score,
    )
    async with state.database.begin() as connection:
        await state.settling.catch_up(connection, who.project)
        rows = await store.list_page(connection, who.project.id, wanted, before, limit + 1)
    next_cursor = str(rows[limit - 1].id) if len(rows) > limit else None
    items = [_recorded(row) for row in rows[:limit]]
    return json_response(wire.encode({"items": items, "next_cursor": next_cursor}))


def verifier_filter(text: str) -> tuple[str, int | None]:
    """What a list's parameter `verifier` selects. Raises `Problem` (422)."""
    kind, _, rest = text.partition("@")
    if rest == "inline" and kind in KINDS:
        return kind, INLINE
    match = REFERENCE.fullmatch(text)
    if match is None:
        raise Problem("invalid-parameter", "verifier: send name, name@version or kind@inline", pointer="/verifier")
    return match[1], None if match[2] is None else int(match[2])


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


@router.get("/scores/{id}", response_model=RecordedScoreWithItem, operation_id="get_score")
async def get_score(request: Request, id: ScoreId) -> Response:
    """A recorded verdict with its item, exactly as it was sent."""
    state = services(request)
    who = await authorized(request, "read")
    async with state.database.begin() as connection:
        await state.settling.catch_up(connection, who.project)
        row = await _existing(connection, who.project, id)
    answer = _recorded(row)
    answer["completion_sha256"] = None if row.sha256 is None else row.sha256.hex()
    answer["item"] = None if row.item is None else json.loads(row.item)
    return json_response(wire.encode(answer))


async def _existing(connection: Connection, project: Project, id: UUID) -> Record:
    row = await store.get(connection, project.id, id)
    if row is None:
        raise Problem("not-found", f"no score {id} in this project")
    return row


@router.post("/scores/{id}/replay", response_model=Replay, operation_id="replay_score")
async def replay_score(request: Request, id: ScoreId) -> Response:
    """Score an item again with the same version, and say whether the verdict holds. Records nothing new."""
    state = services(request)
    who = await authorized(request, "score")
    who.require("read")
    key = request_key(request.headers.get("idempotency-key"))
    sha256 = request_sha256(request.method, request.url.path, b"")

    async with state.database.begin() as connection:
        await state.settling.catch_up(connection, who.project)
        row = await _existing(connection, who.project, id)
    if row.version_id is None:
        raise Problem("conflict", "this item named no verifier that exists, so there is none to replay")
    if row.item is None:
        why = "the item could not be read, or the project does not keep completions, or no longer this one"
        raise Problem("item-not-kept", why)
    answer = Answer(200, await _replay(state, who.project, row))

    async def produce(_: Connection) -> Answer:
        return answer

    return answered(await answer_once(state.database, who.project.id, key, sha256, produce))


async def _replay(state: Services, project: Project, row: Record) -> str:
    item = Item.model_validate(
        {
            **json.loads(row.item),
            "id": None if row.item_id is None else json.loads(row.item_id),
            "group": None if row.item_group is None else json.loads(row.item_group),
        }
    )
    [slot] = await state.engine.verify(project, row.version_id, [Task(item)], Options(cache=False))
    verdict = slot.verdict
    if verdict is None or slot.resolved is None:
        raise AssertionError("verify fills every slot")
    same: bool | None = (verdict.outcome, verdict.score) == (row.outcome, row.score)
    if not same and verdict.outcome in (Outcome.UNSCORED, Outcome.PENDING):
        same = None
    replayed = json.loads("{" + verdict_body(verdict, "full") + "}")
    return wire.encode(
        {
            "id": str(row.id),
            "verifier": label(row),
            "holds": same,
            "recorded": {"score": row.score, "outcome": row.outcome, "revision": row.revision, **_body(row)},
            "replayed": {
                "score": verdict.score,
                "outcome": verdict.outcome,
                "revision": slot.resolved.revision,
                **replayed,
            },
        }
    )

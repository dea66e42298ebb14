"""ROLL's remote reward system: submit a sample, then ask for its reward until it is there.

Written from its released code: 32 threads, a poll every 2 s, 300 s a sample, then five tries over; an answer that
never comes is 0 to it. The id of a request is that of its verdict in /scores, so that every process can answer.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app import wire
from app.api.compat.access import may_score
from app.api.compat.foreign import Foreign
from app.api.compat.query import RewardQuery, asks, query_of
from app.api.compat.rewards import components_of, error_of, reference_of, task
from app.api.deps import Received, json_response, services, takes, unrecorded
from app.api.direct import Direct
from app.errors import Problem
from app.results import Result, from_row
from app.services import Services
from app.store import scores
from app.store.ids import time_of
from app.store.projects import Project
from app.tasks import Options
from verifiers.base import clip

router = APIRouter(prefix="/compat/roll", tags=["compat"], route_class=Direct)

HEADER = "xrl-authorization"
"""Where its client sends its key (`xrl_authorization` of its settings)."""
MAX_TIMEOUT_S = 600.0
MARGIN_S = 5.0
"""How much earlier than its client gives up an item is answered."""
DONE, RUNNING, FAILED = 0, 1, 2


class RollSubmitRequest(Foreign):
    """A sample to reward."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "priority": 1,
                    "project_id": "p",
                    "experiment_id": "e",
                    "global_step": 3,
                    "data_id": "d1",
                    "rollout_id": "r1",
                    "prompt": "What is 6 times 7?",
                    "response": "It is \\boxed{42}.",
                    "reward_info": {"reference": "42"},
                    "reward_manager": [],
                    "timeout": 300,
                }
            ]
        }
    )
    prompt: str | None = None
    response: str
    reward_info: dict[str, Any] | None = Field(None, description="Holds the reference, under one of the usual names.")
    data_id: str | int | None = None
    rollout_id: str | int | None = None
    experiment_id: str | int | None = None
    global_step: int | str | None = None
    timeout: float = Field(300.0, gt=0, le=86_400)


class RollResultRequest(Foreign):
    """Which reward is asked for."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"reward_request_id": "0197f3a2-6b1c-7000-8000-000000000000"}]}
    )
    reward_request_id: Annotated[UUID, Field(strict=False)]


class Submitted(BaseModel):
    """Where to ask for the reward."""

    errcode: int
    errmsg: str
    reward_request_id: str | None


class RewardResult(BaseModel):
    """The reward, or that it is not there yet."""

    errcode: int = Field(description="0: done; 1: not yet; 2: it could not be scored.")
    errmsg: str
    reward_score: float | None
    dimention_reward_score: dict[str, Any] = Field(
        description="The verdict's components; spelled as its client does."
    )
    start_time: datetime | None
    end_time: datetime | None


@router.post("/{verifier}/submit", response_model=Submitted, operation_id="roll_submit")
@unrecorded
@takes(RollSubmitRequest)
@asks(RewardQuery)
async def submit(request: Request) -> Response:
    """Start scoring a sample. The same sample submitted again while it is on its way has the same id."""
    state, verifier = services(request), request.path_params["verifier"]
    query = query_of(request, RewardQuery)
    who = await may_score(request, HEADER)
    received = Received(request, RollSubmitRequest)
    async with received as body:
        asked = body.value
        await state.registry.resolve(who.project.id, verifier)  # a name that means nothing is told now
        sample = task(
            id=_id(asked),
            prompt=asked.prompt,
            completion=asked.response,
            reference=reference_of(asked.reward_info or {}),
        )
        if sample.item is None:
            return json_response(wire.encode({"errcode": FAILED, "errmsg": sample.fault, "reward_request_id": None}))
        options = Options(
            deadline_s=query.deadline_s or max(1.0, min(MAX_TIMEOUT_S, asked.timeout) - MARGIN_S),
            run=query.run or _run(asked.experiment_id),
            step=_step(asked.global_step),
        )
        flight = state.merger.submit(who.project, verifier, sample.item, options)
        received.hold_until(flight.answer)
        answer = {"errcode": DONE, "errmsg": "", "reward_request_id": str(flight.score_id)}
        return json_response(wire.encode(answer))


def _id(asked: RollSubmitRequest) -> str | None:
    parts = [str(part) for part in (asked.data_id, asked.rollout_id) if part is not None]
    return clip("/".join(parts)) if parts else None


def _run(experiment: str | int | None) -> str | None:
    text = None if experiment is None else str(experiment)
    return text if text and len(text) <= 200 and text.isprintable() else None


def _step(step: int | str | None) -> int | None:
    return step if isinstance(step, int) and 0 <= step < 2**63 else None


@router.get("/{verifier}/result", response_model=RewardResult, operation_id="roll_result")
@asks(RewardQuery)
async def result(request: Request) -> Response:
    """The reward of a sample, once it is there. The request has a body, as its client sends it."""
    return await _result(request)


@router.post("/{verifier}/result", response_model=RewardResult, operation_id="roll_result_by_post")
@unrecorded
@takes(RollResultRequest)
@asks(RewardQuery)
async def result_by_post(request: Request) -> Response:
    """The same for clients and proxies that send no body with GET."""
    return await _result(request)


async def _result(request: Request) -> Response:
    state = services(request)
    query = query_of(request, RewardQuery)
    who = await may_score(request, HEADER)
    async with Received(request, RollResultRequest) as body:
        id = body.value.reward_request_id
        answer = await _answer(state, who.project, id, query.fallback)
        return json_response(wire.encode(answer))


async def _answer(state: Services, project: Project, id: UUID, fallback: float | None) -> dict[str, Any]:
    if state.merger.under_way(id):
        return _told(RUNNING, "not yet", id)
    failure = state.merger.failure(id)
    if failure is not None:
        return _told(FAILED, f"nothing was recorded: {failure}", id)
    async with state.database.begin() as connection:
        row = await scores.get(connection, project.id, id)
    if row is not None:
        return _verdict(from_row(row, "brief"), id, fallback)
    # another process may have it on its way; if none has, it is lost once its time is over
    if timedelta(0) <= datetime.now(UTC) - time_of(id) < timedelta(seconds=MAX_TIMEOUT_S):
        return _told(RUNNING, "not yet", id)
    raise Problem("not-found", "no such request; submit the sample again")


def _verdict(found: Result, id: UUID, fallback: float | None) -> dict[str, Any]:
    if found.score is None and fallback is None:
        error = error_of(found)
        why = "the outcome is not known yet" if error is None else f"{error['type']}: {error['message']}"
        return _told(FAILED, why, id)
    return {
        **_told(DONE, "", id),
        "reward_score": fallback if found.score is None else found.score,
        "dimention_reward_score": {name: {"score": value} for name, value in components_of(found).items()},
        "end_time": (time_of(id) + timedelta(milliseconds=found.ms)).isoformat(),
    }


def _told(errcode: int, errmsg: str, id: UUID) -> dict[str, Any]:
    return {
        "errcode": errcode,
        "errmsg": errmsg,
        "reward_score": None,
        "dimention_reward_score": {},
        "start_time": time_of(id).isoformat(),
        "end_time": None,
    }

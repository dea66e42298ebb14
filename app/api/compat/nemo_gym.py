"""NeMo Gym's resources server: POST verify, and the session endpoints around it; axolotl and NeMo RL read the same.

Written from its released code (0.7.0, `nemo_gym/base_resources_server.py`). Its own word for a sample that cannot be
scored is `mask_sample`, with a `failure_kind` of its vocabulary; NeMo RL reads it under `instance_config`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app import wire
from app.api.compat.access import may_score
from app.api.compat.nemo_messages import completion_of, fault_of, prompt_of
from app.api.compat.nemo_metrics import aggregated_json
from app.api.compat.query import RewardQuery, asks, query_of
from app.api.compat.rewards import (
    Asker,
    components_of,
    error_of,
    reference_of,
    task,
)
from app.api.deps import Received, json_response, takes, unrecorded
from app.api.direct import Direct
from app.results import Result
from app.tasks import Task
from verifiers.base import ErrorType

router = APIRouter(prefix="/compat/nemo-gym", tags=["compat"], route_class=Direct)

PATIENCE_S = 27.0
"""axolotl waits 30 s; NeMo Gym itself waits for as long as it takes: give it `deadline_s`."""

FAILURE_KINDS = {
    ErrorType.BACKEND_UNAVAILABLE: "provider_unavailable",
    ErrorType.SANDBOX_UNAVAILABLE: "provider_unavailable",
    ErrorType.DATABASE_UNAVAILABLE: "provider_unavailable",
    ErrorType.KIND_UNAVAILABLE: "provider_unavailable",
    ErrorType.DEADLINE_EXCEEDED: "transport_timeout",
    ErrorType.JUDGE_REFUSED: "judge_failed",
    ErrorType.JUDGE_EMPTY: "judge_failed",
    ErrorType.JUDGE_CUT_OFF: "judge_failed",
    ErrorType.JUDGE_OFF_SCALE: "judge_unparseable",
    ErrorType.JUDGE_UNREADABLE: "judge_unparseable",
    ErrorType.CONTEXT_OVERFLOW: "judge_failed",
    ErrorType.CONTENT_FILTERED: "judge_failed",
}
"""Its names for what went wrong; `verifier_error` for the rest."""


class Echoed(BaseModel):
    """A body whose fields beyond the known ones are kept, since the answer repeats them."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class VerifyRequest(Echoed):
    """A finished rollout, and the fields of its row."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "responses_create_params": {"input": [{"role": "user", "content": "What is 6 times 7?"}]},
                    "response": {
                        "id": "resp_1",
                        "object": "response",
                        "output": [
                            {
                                "type": "message",
                                "role": "assistant",
                                "content": [{"type": "output_text", "text": "It is \\boxed{42}.", "annotations": []}],
                            }
                        ],
                    },
                    "expected_answer": "42",
                }
            ]
        }
    )
    responses_create_params: dict[str, Any]
    response: dict[str, Any] = Field(description="An OpenAI Response object.")


class VerifyResponse(Echoed):
    """The request again, and what became of it."""

    reward: float = Field(description="Says nothing where `mask_sample` is true.")
    mask_sample: bool
    failure_kind: str | None
    failure_reason: str | None
    reward_components: dict[str, float] | None = Field(
        None, description="The verdict's components, where their sum is the reward."
    )
    instance_config: dict[str, Any]


class Session(Echoed):
    """A session to open or close; nothing is kept of it."""

    resources_session_id: str | None = None


class AggregateRequest(Echoed):
    """Verified rollouts."""

    verify_responses: list[dict[str, Any]] = Field(max_length=100_000, fail_fast=True)


class AggregateMetrics(BaseModel):
    """Statistics in the names that NeMo Gym gives them."""

    group_level_metrics: list[dict[str, Any]]
    agent_metrics: dict[str, Any]
    key_metrics: dict[str, Any]
    perf_summary: dict[str, Any] | None = None
    repeat_level_metrics: list[dict[str, Any]]


@router.post("/{verifier}/verify", response_model=VerifyResponse, operation_id="nemo_gym_verify")
@takes(VerifyRequest)
@asks(RewardQuery)
async def verify(request: Request) -> Response:
    """Verify a rollout as a resources server does. One that cannot be scored is masked."""
    query = query_of(request, RewardQuery)
    asker = await Asker.of(request, query, PATIENCE_S)
    async with Received(request, VerifyRequest) as body:
        asked = body.value
        row = asked.model_extra or {}
        (result,) = await asker.results(body, request.path_params["verifier"], [_rollout(asked, row)])
        return json_response(wire.encode(asked.model_dump() | _told(result, query.fallback, row)))


def _rollout(asked: VerifyRequest, row: dict[str, Any]) -> Task:
    fault = fault_of(asked.response)
    if fault is not None:
        return Task(None, fault=fault)
    return task(
        prompt=prompt_of(asked.responses_create_params),
        completion=completion_of(asked.response),
        reference=reference_of(_fields(row)),
    )


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    """Where the reference may be: the row, or the metadata of its verifier."""
    metadata = row.get("verifier_metadata")
    return {**metadata, **row} if isinstance(metadata, dict) else row


def _told(result: Result, fallback: float | None, row: dict[str, Any]) -> dict[str, Any]:
    masked = result.score is None
    error = error_of(result)
    reason = None
    if masked:
        reason = "the outcome is not known yet" if error is None else f"{error['type']}: {error['message']}"
    config = row.get("instance_config")
    told: dict[str, Any] = {
        "reward": (fallback or 0.0) if result.score is None else result.score,
        "mask_sample": masked,
        "failure_kind": _failure_kind(error) if masked else None,
        "failure_reason": reason,
        "instance_config": {**(config if isinstance(config, dict) else {}), "mask_sample": masked},
    }
    components = components_of(result)
    if components and result.score is not None and abs(sum(components.values()) - result.score) < 1e-9:
        told["reward_components"] = components
    elif "reward_components" in row:  # those of an earlier verdict are not repeated
        told["reward_components"] = None
    return told


def _failure_kind(error: dict[str, Any] | None) -> str:
    return "verifier_error" if error is None else FAILURE_KINDS.get(error["type"], "verifier_error")


@router.post("/{verifier}/seed_session", response_model=Session, operation_id="nemo_gym_seed_session")
@unrecorded
@takes(Session)
async def seed_session(request: Request) -> Response:
    """Open a session. Verifiers keep no state between calls, so there is nothing to open."""
    return await _session(request)


@router.post("/{verifier}/close_session", response_model=Session, operation_id="nemo_gym_close_session")
@unrecorded
@takes(Session)
async def close_session(request: Request) -> Response:
    """Close a session, also one that was never opened."""
    return await _session(request)


async def _session(request: Request) -> Response:
    await may_score(request)
    async with Received(request, Session) as body:
        id = body.value.resources_session_id
        return json_response(wire.encode({} if id is None else {"resources_session_id": id}))


@router.post(
    "/{verifier}/aggregate_metrics", response_model=AggregateMetrics, operation_id="nemo_gym_aggregate_metrics"
)
@unrecorded
@takes(AggregateRequest)
async def aggregate_metrics(request: Request) -> Response:
    """Statistics of verified rollouts; masked ones count as such and are in no mean."""
    await may_score(request)
    async with Received(request, AggregateRequest) as body:
        return json_response(await asyncio.to_thread(aggregated_json, body.value.verify_responses))


@router.get("/{verifier}/reverify_mode", response_model=str, operation_id="nemo_gym_reverify_mode")
async def reverify_mode(request: Request) -> Response:
    """`stateless`: a rollout may be verified again."""
    await may_score(request)
    return json_response('"stateless"')

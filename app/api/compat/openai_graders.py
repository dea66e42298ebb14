"""OpenAI's graders: POST /v1/fine_tuning/alpha/graders/run and /validate, for the `openai` client's own functions.

Written from the types of the `openai` package 3.57. A grader that is run is a verifier of the kind `grader`, sent
along; its verdict is recorded like any other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app import wire
from app.api.compat.access import may_score
from app.api.compat.foreign import Foreign
from app.api.compat.openai_form import OpenAIRoute
from app.api.compat.query import RewardQuery, asks, query_of
from app.api.compat.rewards import Asker
from app.api.compat.scoring import detail_of, unscored
from app.api.deps import Received, authorized, json_response, services, takes, unrecorded
from app.auth import Principal
from app.registry import compile_config, inline_scope
from app.results import Result
from app.services import Services
from app.store.projects import Project
from app.tasks import Inline, Options, Task
from verifiers.base import Completion, Item
from verifiers.grader.faults import Fault

router = APIRouter(prefix="/v1/fine_tuning/alpha/graders", tags=["compat"], route_class=OpenAIRoute)

KIND = "grader"
PATIENCE_S = 300.0
"""OpenAI's client waits 600 seconds."""

_EXAMPLE: Any = {
    "type": "string_check",
    "name": "exact",
    "operation": "eq",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
}


class ValidateGraderRequest(Foreign):
    """A grader."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"grader": _EXAMPLE}]})
    grader: dict[str, Any] = Field(description="As the kind `grader` takes it.")


class RunGraderRequest(ValidateGraderRequest):
    """A grader and what it grades."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"grader": _EXAMPLE, "model_sample": "Paris", "item": {"answer": "Paris"}}]}
    )
    model_sample: Completion = Field(
        description="What the model wrote, which templates call `sample`: text, or, beyond OpenAI's, chat messages, "
        "whose tool calls are `sample.output_tools`."
    )
    item: dict[str, Any] | None = Field(None, description="The row of the dataset, which templates call `item`.")


class ValidateGraderResponse(BaseModel):
    """A grader that can be run."""

    grader: dict[str, Any]


class RunGraderErrors(BaseModel):
    """What went wrong."""

    formula_parse_error: bool = False
    sample_parse_error: bool = False
    truncated_observation_error: bool = False
    unresponsive_reward_error: bool = False
    invalid_variable_error: bool = False
    other_error: bool = False
    python_grader_server_error: bool = False
    python_grader_server_error_type: str | None = None
    python_grader_runtime_error: bool = False
    python_grader_runtime_error_details: str | None = None
    model_grader_server_error: bool = False
    model_grader_refusal_error: bool = False
    model_grader_parse_error: bool = False
    model_grader_server_error_details: str | None = None


class RunGraderMetadata(BaseModel):
    """How the grader came to its reward."""

    name: str
    type: str
    errors: RunGraderErrors
    execution_time: float = Field(description="Seconds.")
    scores: dict[str, float] = Field(description="Of the graders of a multi grader.")
    token_usage: int | None = Field(description="Tokens of all models together; null where none was asked.")
    sampled_model_name: str | None = Field(description="The model that was asked, where it is one.")


class RunGraderResponse(BaseModel):
    """A reward."""

    reward: float
    metadata: RunGraderMetadata
    sub_rewards: dict[str, float]
    model_grader_token_usage_per_model: dict[str, dict[str, float]]


async def _asker(request: Request) -> Principal:
    """Who is asking. A key in the URL may do nothing but score. Raises `Problem`: 401, 403."""
    if request.headers.get("authorization") is None:
        return await may_score(request)
    return await authorized(request, "score")


async def _check(state: Services, project: Project, grader: dict[str, Any]) -> None:
    """Raise `Problem` (422) unless the grader can be run."""
    compiled = compile_config(KIND, {"grader": grader}, at="/verifier")
    await state.registry.check_needs(project.id, compiled.needs, at="/verifier/config")


@router.post("/validate", response_model=ValidateGraderResponse, operation_id="openai_validate_grader")
@takes(ValidateGraderRequest)
@unrecorded
async def validate(request: Request) -> Response:
    """Check that a grader can be run: its fields, templates, formula and source, and that its models exist."""
    who = await _asker(request)
    async with Received(request, ValidateGraderRequest) as body:
        await _check(services(request), who.project, body.value.grader)
        return json_response(wire.encode({"grader": body.value.grader}))


@router.post("/run", response_model=RunGraderResponse, operation_id="openai_run_grader")
@takes(RunGraderRequest)
@asks(RewardQuery)
async def run(request: Request) -> Response:
    """Grade a sample. What asks a model or runs Python takes the scope `register`."""
    who, query, state = await _asker(request), query_of(request, RewardQuery), services(request)
    async with Received(request, RunGraderRequest) as body:
        asked = body.value
        await _check(state, who.project, asked.grader)
        verifier = Inline(KIND, {"grader": asked.grader})
        who.require(inline_scope(verifier.kind, verifier.config))
        asker = Asker(request, state, who.project, Options(deadline_s=query.deadline_s or PATIENCE_S, run=query.run))
        item = Item(completion=asked.model_sample, reference=asked.item or {})
        [result] = await asker.results(body, None, [Task(item, verifier)])
        return _answered(asked.grader, result, query.fallback)


def _answered(grader: Mapping[str, Any], result: Result, fallback: float | None) -> Response:
    """The answer to a run. Raises `Problem`, with the metadata, where there is neither a score nor a fallback."""
    detail = detail_of(result)
    problem = None if result.score is not None else unscored(result)
    usage: dict[str, dict[str, float]] = detail.get("usage", {})
    parts: dict[str, dict[str, Any]] = detail.get("graders", {})
    scores = {name: part["score"] for name, part in parts.items() if part["score"] is not None}
    metadata = RunGraderMetadata(
        name=str(grader.get("name", grader["type"])),
        type=grader["type"],
        errors=_errors([part for part in parts.values() if "fault" in part] or [_told(result, detail)]),
        execution_time=result.ms / 1000,
        scores=scores,
        token_usage=int(sum(of_model["total_tokens"] for of_model in usage.values())) if usage else None,
        sampled_model_name=next(iter(usage)) if len(usage) == 1 else None,
    )
    reward = fallback if result.score is None else result.score
    if reward is None and problem is not None:
        problem.extra["metadata"] = metadata.model_dump()
        raise problem
    answer = {
        "reward": reward,
        "metadata": metadata.model_dump(),
        "sub_rewards": scores,
        "model_grader_token_usage_per_model": usage,
    }
    return json_response(wire.encode(answer))


def _told(result: Result, detail: Mapping[str, Any]) -> dict[str, Any]:
    """What a single grader's verdict says, in the form in which that of a multi grader tells of each of its own."""
    error = json.loads("{" + result.body + "}")["error"]
    return {
        **detail,
        "score": result.score,
        **({} if error is None else {"message": error["message"], "error": error["type"]}),
    }


def _errors(graders: Sequence[Mapping[str, Any]]) -> RunGraderErrors:
    """The flags of what went wrong with graders, and what is said of it."""
    errors = RunGraderErrors()
    for grader in graders:
        match grader.get("fault"):
            case None:
                errors.other_error |= grader["score"] is None
            case Fault.PYTHON_SERVER:
                errors.python_grader_server_error, errors.python_grader_server_error_type = True, grader["error"]
            case Fault.PYTHON_RUNTIME:
                errors.python_grader_runtime_error, errors.python_grader_runtime_error_details = (
                    True,
                    grader["message"],
                )
            case Fault.MODEL_SERVER:
                errors.model_grader_server_error, errors.model_grader_server_error_details = True, grader["message"]
            case flag:
                setattr(errors, flag, True)
    return errors

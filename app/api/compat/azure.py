"""Azure's reinforcement fine-tuning: its endpoint grader.

Written from its documentation: one sample a call, at most 50 a second and 1 MB each, three tries, then the rollout is
discarded.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app import wire
from app.api.compat.foreign import Foreign
from app.api.compat.query import RewardQuery, asks, query_of
from app.api.compat.rewards import (
    Asker,
    reference_of,
    rewards,
    task,
)
from app.api.deps import Received, json_response, takes
from app.api.direct import Direct

router = APIRouter(prefix="/compat/azure", tags=["compat"], route_class=Direct)

PATIENCE_S = 50.0


class AzureChoice(Foreign):
    """One of the sample's answers."""

    message: dict[str, Any]


class AzureSample(Foreign):
    """What the model wrote: a chat completion, its text, or both; and the tools that it called."""

    choices: list[AzureChoice] = Field(default_factory=list, fail_fast=True)
    output_text: str | None = None
    output_tools: list[Any] | None = Field(
        None, description="Taken where the message has no `tool_calls`: those of a whole rollout stand here alone."
    )


class AzureRequest(Foreign):
    """A sample to grade."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "sample": {
                        "choices": [{"message": {"role": "assistant", "content": "It is \\boxed{42}."}}],
                        "output_text": "It is \\boxed{42}.",
                    },
                    "item": {"prompt": "What is 6 times 7?", "reference_answer": "42"},
                    "trace_id": "t-1",
                }
            ]
        }
    )
    sample: AzureSample
    item: dict[str, Any] = Field(
        default_factory=dict,
        description="The row of the data set. The reference is the first of `reference_answer`, `reference`, "
        "`expected_answer`, `ground_truth`, `label`, `answer`; the prompt `messages` or `prompt`.",
    )
    trace_id: str | None = None


class AzureResponse(BaseModel):
    """The grade."""

    score: float


@router.post("/{verifier}", response_model=AzureResponse, operation_id="azure_grader")
@takes(AzureRequest)
@asks(RewardQuery)
async def grade(request: Request) -> Response:
    """Grade a sample as Azure's endpoint grader asks for."""
    query = query_of(request, RewardQuery)
    asker = await Asker.of(request, query, PATIENCE_S)
    async with Received(request, AzureRequest) as body:
        asked = body.value
        sample = task(
            id=asked.trace_id,
            prompt=asked.item.get("messages") or asked.item.get("prompt"),
            completion=_completion(asked.sample),
            reference=reference_of(asked.item, "reference_answer"),
        )
        results = await asker.results(body, request.path_params["verifier"], [sample])
        (score,) = rewards(results, query.fallback)
        return json_response(wire.encode({"score": score}))


def _completion(sample: AzureSample) -> Any:
    """The message, with tool calls where there are any; else the text."""
    message = sample.choices[0].message if sample.choices else {}
    calls = message.get("tool_calls") or sample.output_tools
    if calls:
        content = message.get("content") or sample.output_text
        return [{"role": "assistant", **message, "content": content, "tool_calls": calls}]
    return sample.output_text or ([{"role": "assistant", **message}] if message else sample.output_text)

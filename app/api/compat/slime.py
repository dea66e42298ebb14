"""slime's remote reward model (`--rm-type remote_rm --rm-url`), and its fork miles.

Written from its released code (`slime/rollout/rm_hub`): one sample a call, a pool of 64 connections, 120 s, ten tries
with back-off. It takes any JSON for the reward: a number, or an object that `--reward-key` looks into.
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
    components_of,
    labelled,
    rewards,
    task,
)
from app.api.deps import Received, json_response, takes
from app.api.direct import Direct
from verifiers.base import Prompt

router = APIRouter(prefix="/compat/slime", tags=["compat"], route_class=Direct)

PATIENCE_S = 110.0


class SlimeRequest(Foreign):
    """A sample to reward."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"prompt": "What is 6 times 7?", "response": "It is \\boxed{42}.", "label": "42"}]
        }
    )
    prompt: Prompt | None = None
    response: str
    label: Any = Field(None, description="The reference; or `{verifier, reference}`, also as JSON text.")


class SlimeReward(BaseModel):
    """The answer with `?keys=true`, for `--reward-key reward`."""

    reward: float
    unscored: bool = Field(description="Whether the reward is the fallback.")
    components: dict[str, float]


class SlimeQuery(RewardQuery):
    """How a sample is scored, and the form of the answer."""

    keys: bool = Field(False, description="Answer an object, for `--reward-key reward`, instead of a number.")


@router.post("", response_model=float | SlimeReward, operation_id="slime_by_label")
@takes(SlimeRequest)
@asks(SlimeQuery)
async def by_label(request: Request) -> Response:
    """Reward a sample whose label names its verifier: `{"verifier": "math", "reference": "42"}`."""
    return await _answered(request, None)


@router.post("/{verifier}", response_model=float | SlimeReward, operation_id="slime")
@takes(SlimeRequest)
@asks(SlimeQuery)
async def by_path(request: Request) -> Response:
    """Reward a sample as slime's remote reward model does."""
    return await _answered(request, request.path_params["verifier"])


async def _answered(request: Request, verifier: str | None) -> Response:
    query = query_of(request, SlimeQuery)
    asker = await Asker.of(request, query, PATIENCE_S)
    async with Received(request, SlimeRequest) as body:
        asked = body.value
        told = labelled(asked.label)
        sample = task(told.verifier, prompt=asked.prompt, completion=asked.response, reference=told.reference)
        (result,) = await asker.results(body, verifier, [sample])
        (reward,) = rewards([result], query.fallback)
        if not query.keys:
            return json_response(wire.encode(reward))
        answer = {"reward": reward, "unscored": result.score is None, "components": components_of(result)}
        return json_response(wire.encode(answer))

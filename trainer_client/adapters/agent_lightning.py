"""agent-lightning: the reward event of a rollout, posted by the agent when it has finished.

The line to change, in the agent:

    await post_reward("math", answer, reference=os.environ["ANSWER"], fallback=0.0)

Version 1 gives the agent the address to post to (AGL_EVENT_URL, AGL_KEY). Its trainer counts a rollout without a
reward as `agentlightning.reward_fillna_value`, 0 if that is not set, and cannot leave one out: an unscored completion
counts `fallback`, which has to be chosen, and its event says `"source": "fallback"` and why. Without `fallback` it
raises. For version 0.3 `emit` records the reward instead. Checked against versions 1.0 (source) and 0.3.
"""

from __future__ import annotations

import os
from typing import Any

from trainer_client.adapters.scoring import async_reward_client, flags, number, scored_async, why
from trainer_client.calls import Text, Verifier
from trainer_client.results import Verdict

DEADLINE_S = 120.0
EVENT_S = 30.0
"""How long agent-lightning may take for the event."""


async def post_reward(
    verifier: Verifier,
    completion: Text,
    *,
    reference: Any = None,
    prompt: Text | None = None,
    fallback: float | None = None,
    event_url: str | None = None,
    key: str | None = None,
    deadline_s: float = DEADLINE_S,
) -> Verdict:
    """Score a completion and post its reward as this rollout's. Raises where agent-lightning does not take it."""
    import aiohttp

    verdict = await _verdict(verifier, completion, reference, prompt, deadline_s)
    event = reward_event(verdict, fallback)
    headers = {"Authorization": f"Bearer {key or os.environ.get('AGL_KEY', '')}"}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(EVENT_S), raise_for_status=True) as session,
        session.post(event_url or os.environ["AGL_EVENT_URL"], json=event, headers=headers),
    ):
        return verdict


def reward_event(verdict: Verdict, fallback: float | None = None) -> dict[str, Any]:
    """The event: a finite `value`, who says so, and the verdict's components and record."""
    found = verdict.score is not None
    data = {
        "value": number(verdict, fallback),
        "source": "assay" if found else "fallback",
        "reason": verdict.outcome if found else why(verdict),
        "components": verdict.components,
        "score_id": verdict.score_id,
    }
    return {"event_type": "reward", "data": data}


async def emit(
    verifier: Verifier,
    completion: Text,
    *,
    reference: Any = None,
    prompt: Text | None = None,
    fallback: float | None = None,
    deadline_s: float = DEADLINE_S,
) -> Verdict:
    """Score a completion and emit its reward and components as a span of the running rollout (version 0.3)."""
    from agentlightning import emit_reward

    verdict = await _verdict(verifier, completion, reference, prompt, deadline_s)
    emit_reward({"reward": number(verdict, fallback), **flags(verdict)}, primary_key="reward")
    return verdict


async def _verdict(
    verifier: Verifier, completion: Text, reference: Any, prompt: Text | None, seconds: float
) -> Verdict:
    item = {"completion": completion, "reference": reference, "prompt": prompt}
    return (await scored_async(async_reward_client().score(verifier, [item], deadline_s=seconds), 1))[0]

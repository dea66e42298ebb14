"""Agent-R1 (and what else is built on verl, such as RAGEN): verl's reward function, or the reward of a step.

The whole trajectory is scored by verl's function; its lines to change are in `trainer_client.adapters.verl`. To
reward the step that ends an episode instead, in the environment's `step`:

    reward, info = await step_reward("math", action.text, reference=self.answer, fallback=0.0)
    return Observation(messages=self.messages), reward, True, info

Agent-R1 has no way to leave a step out: an unscored one counts `fallback`, which has to be chosen; without it, it
raises. Checked against its code of April 2026.
"""

from __future__ import annotations

from typing import Any

from trainer_client.adapters.scoring import async_reward_client, flags, number, scored_async
from trainer_client.adapters.verl import compute_score as compute_score
from trainer_client.adapters.verl import compute_score_async as compute_score_async
from trainer_client.calls import Text, Verifier

DEADLINE_S = 120.0


async def step_reward(
    verifier: Verifier,
    completion: Text,
    *,
    reference: Any = None,
    prompt: Text | None = None,
    fallback: float | None = None,
    deadline_s: float = DEADLINE_S,
) -> tuple[float, dict[str, Any]]:
    """The reward of a step, and its `info`: outcome, record, and the components for metrics."""
    item = {"completion": completion, "reference": reference, "prompt": prompt}
    verdicts = await scored_async(async_reward_client().score(verifier, [item], deadline_s=deadline_s), 1)
    verdict = verdicts[0]
    info = {"outcome": verdict.outcome, "score_id": verdict.score_id, **flags(verdict)}
    return number(verdict, fallback), info

"""tinker-cookbook: the result of an environment's last step.

The line to change, in the environment's `step`:

    return await step_result("math", text, reference=self.answer, prompt=self.question)

An unscored episode raises, and the rollout strategy decides: `RetryOnFailure` samples it anew, `MinViableGroup` goes
on without it, `FailFast` ends the group. Components become metrics. Checked against tinker-cookbook 0.6.
"""

from __future__ import annotations

from typing import Any

from trainer_client.adapters.scoring import async_reward_client, flags, score_of
from trainer_client.calls import Text, Verifier

DEADLINE_S = 120.0


async def step_result(
    verifier: Verifier,
    completion: Text,
    *,
    reference: Any = None,
    prompt: Text | None = None,
    deadline_s: float = DEADLINE_S,
) -> Any:
    """A `StepResult` that ends the episode with the completion's score."""
    import tinker
    from tinker_cookbook.rl.types import StepResult

    verdict = await async_reward_client().score_one(
        verifier, completion, reference=reference, prompt=prompt, deadline_s=deadline_s
    )
    return StepResult(
        reward=score_of(verdict),
        episode_done=True,
        next_observation=tinker.ModelInput.empty(),
        next_stop_condition=[],
        metrics=flags(verdict),
        logs={"outcome": verdict.outcome, "score_id": verdict.score_id or ""},
    )

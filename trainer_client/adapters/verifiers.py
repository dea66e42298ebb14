"""verifiers (Prime Intellect's environments; prime-rl trains with them): a task's reward.

The line to change, in the task's class:

    class MyTask(vf.Task[MyData]):
        @vf.reward
        async def correct(self, trace) -> float:
            return await reward("math", self.data, trace)

An unscored rollout raises, which verifiers records as the rollout's error and leaves unscored: it is not trained on.
Components become metrics of the trace, and `trace.info["assay"]` names the record. Checked against verifiers 0.4.
"""

from __future__ import annotations

from typing import Any

from trainer_client.adapters.scoring import REFERENCE_COLUMNS, async_reward_client, score_of
from trainer_client.calls import Verifier

DEADLINE_S = 120.0


async def reward(
    verifier: Verifier, task: Any, trace: Any, *, reference: str | None = None, deadline_s: float = DEADLINE_S
) -> float:
    """The reward of a trace's last reply. `reference` names the task's field to compare with."""
    names = REFERENCE_COLUMNS if reference is None else (reference,)
    gold = next((value for name in names if (value := getattr(task, name, None)) is not None), None)
    if reference is not None and gold is None:
        raise KeyError(f"the task has no field {reference!r} to compare with")
    verdict = await async_reward_client().score_one(
        verifier, trace.last_reply, prompt=task.prompt_text or None, reference=gold, deadline_s=deadline_s
    )
    trace.info["assay"] = {"score_id": verdict.score_id, "outcome": verdict.outcome, "verifier": verdict.verifier}
    trace.record_metrics(verdict.components)
    return score_of(verdict)

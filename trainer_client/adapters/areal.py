"""AReaL: the reward of one trajectory.

The line to change:

    RLVRWorkflow(reward_fn=reward_fn("math"), ...)

or, without AReaL's process pool, its 15 seconds and its zero for what takes longer, after making the workflow:

    workflow.async_reward_fn = async_reward_fn("math")

An unscored trajectory raises, upon which AReaL rejects it: it is not trained on. Through the pool, AReaL tries four
times, 15 seconds each, and counts 0 where the last one runs out of time; a call here ends after 12 seconds, so that
this takes a pool that is too small for what waits for it. Checked against AReaL 1.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer_client.adapters.scoring import async_reward_client, reference_column, reward_client, score_of
from trainer_client.calls import Verifier

POOL_DEADLINE_S = 12.0
"""AReaL's time-out is 15 s, and a new process of its pool spends a second or two on imports."""
DEADLINE_S = 120.0


def reward_fn(verifier: Verifier, *, reference: str | None = None, deadline_s: float = POOL_DEADLINE_S) -> RewardFn:
    """A reward function that pickles. `reference` names the dataset's field to compare with."""
    return RewardFn(verifier, reference, deadline_s)


def async_reward_fn(
    verifier: Verifier, *, reference: str | None = None, deadline_s: float = DEADLINE_S
) -> AsyncRewardFn:
    """The same as a coroutine function; trajectories that end at the same time share requests."""
    return AsyncRewardFn(verifier, reference, deadline_s)


class _RewardFn:
    def __init__(self, verifier: Verifier, reference: str | None, deadline_s: float) -> None:
        self._verifier = verifier
        self._reference = reference
        self._deadline_s = deadline_s

    def _fields(self, prompt: str, completion_ids: Sequence[int], row: dict[str, Any]) -> dict[str, Any]:
        return {
            "prompt": prompt,
            "reference": reference_column(row, self._reference),
            "tokens": len(completion_ids),
            "deadline_s": self._deadline_s,
        }


class RewardFn(_RewardFn):
    """See `reward_fn`."""

    def __call__(
        self, prompt: str, completions: str, prompt_ids: Sequence[int], completion_ids: Sequence[int], **row: Any
    ) -> float:
        fields = self._fields(prompt, completion_ids, row)
        return score_of(reward_client().score_one(self._verifier, completions, **fields))


class AsyncRewardFn(_RewardFn):
    """See `async_reward_fn`."""

    async def __call__(
        self, prompt: str, completions: str, prompt_ids: Sequence[int], completion_ids: Sequence[int], **row: Any
    ) -> float:
        fields = self._fields(prompt, completion_ids, row)
        return score_of(await async_reward_client().score_one(self._verifier, completions, **fields))

"""verl: the reward of one sample, called by the reward loop for thousands of them at the same time.

The lines to change, on the command line (or in the same places of the YAML file):

    reward.custom_reward_function.path=pkg://trainer_client.adapters.verl
    reward.custom_reward_function.name=compute_score_async
    +reward.custom_reward_function.reward_kwargs.verifier=math
    +reward.custom_reward_function.reward_kwargs.fallback=0.0

`verifier` may map the dataset's `data_source` to verifiers: `{openai/gsm8k: math, codecontests: code}`.

verl has no way to leave a sample out: an unscored one counts `fallback`, which has to be chosen, and is told apart by
`unscored` in the reward's extra information. Without `fallback` it raises, which ends the training. verl takes the
names of that information from the first sample, so the result has always the same ones: name the `components` that
are wanted. Checked against verl 0.9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainer_client.adapters.scoring import (
    async_reward_client,
    flags,
    number,
    reward_client,
    scored,
    scored_async,
    sendable_fields,
)
from trainer_client.results import Verdict

DEADLINE_S = 120.0


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    verifier: str | Mapping[str, str],
    fallback: float | None = None,
    components: Sequence[str] = (),
    deadline_s: float = DEADLINE_S,
    **_: Any,
) -> dict[str, float | str]:
    """A sample's reward, called by verl in threads; samples scored at the same time share requests."""
    name, item = _verifier(verifier, data_source), _item(solution_str, ground_truth, extra_info)
    verdicts = scored(lambda: reward_client().score(name, [item], deadline_s=deadline_s), 1)
    return _result(verdicts[0], fallback, components)


async def compute_score_async(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    verifier: str | Mapping[str, str],
    fallback: float | None = None,
    components: Sequence[str] = (),
    deadline_s: float = DEADLINE_S,
    **_: Any,
) -> dict[str, float | str]:
    """The same in verl's own event loop, which costs no threads."""
    name, item = _verifier(verifier, data_source), _item(solution_str, ground_truth, extra_info)
    verdicts = await scored_async(async_reward_client().score(name, [item], deadline_s=deadline_s), 1)
    return _result(verdicts[0], fallback, components)


def _verifier(verifier: str | Mapping[str, str], data_source: str) -> str:
    if isinstance(verifier, str):
        return verifier
    if data_source not in verifier:
        raise KeyError(
            f"no verifier for the data_source {data_source!r}; reward_kwargs.verifier has {sorted(verifier)}"
        )
    return verifier[data_source]


def _item(solution: str, ground_truth: Any, extra_info: Mapping[str, Any] | None) -> dict[str, Any]:
    """The sample as an item; arrays and scalars of numpy become lists and numbers when it is sent."""
    extra = sendable_fields(extra_info)
    prompt = extra.get("prompt", extra.get("question"))
    return {"completion": solution, "reference": ground_truth, "prompt": prompt, "metadata": extra}


def _result(verdict: Verdict, fallback: float | None, components: Sequence[str]) -> dict[str, float | str]:
    """The same keys for every sample. `acc` is what verl's validation reports."""
    score = number(verdict, fallback)
    named = flags(verdict, components) if components else {"unscored": float(verdict.score is None)}
    return {"score": score, "acc": score, "outcome": verdict.outcome, "score_id": verdict.score_id or "", **named}

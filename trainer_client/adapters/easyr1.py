"""EasyR1: rewards of a batch.

The lines to change, on the command line:

    FILE=$(python -c 'import trainer_client.adapters.easyr1 as module; print(module.__file__)')
    worker.reward.reward_function=$FILE:compute_score
    worker.reward.reward_function_kwargs='{verifier: math, fallback: 0.0}'

EasyR1 has no way to leave a completion out: an unscored one counts `fallback`, which has to be chosen, and is told
apart by the metric `unscored`. Without `fallback` it raises, which ends the training. Checked against its code of
July 2026.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainer_client.adapters.scoring import flags, number, reward_client, scored
from trainer_client.calls import Verifier

REWARD_NAME = "assay"
REWARD_TYPE = "batch"
"""EasyR1 reads it: one call for all completions."""
DEADLINE_S = 120.0


def compute_score(
    reward_inputs: Sequence[Mapping[str, Any]],
    *,
    verifier: Verifier,
    fallback: float | None = None,
    components: Sequence[str] = (),
    deadline_s: float = DEADLINE_S,
) -> list[dict[str, float]]:
    """One dictionary for each completion; `overall` is the reward, and every entry becomes a metric."""
    items = [
        {
            "completion": entry["response"],
            "reference": entry["ground_truth"],
            "tokens": int(entry["response_length"]),
        }
        for entry in reward_inputs
    ]
    verdicts = scored(lambda: reward_client().score(verifier, items, deadline_s=deadline_s), len(items))
    return [{"overall": number(verdict, fallback), **flags(verdict, components)} for verdict in verdicts]

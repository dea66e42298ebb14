"""ms-swift's own scoring of GRPO samples against a live service, with the adapter registered as its plugin does."""

from __future__ import annotations

import math
from typing import Any

from tests.app.api.support import Project
from tests.trainers.environment import BAD_REFERENCE, OUTAGE_S, PROMPT, RIGHT, WRONG
from tests.trainers.gate import Gate
from trainer_client.adapters.ms_swift import orm


def rewards(completions: list[str], references: list[Any], prompts: list[str], **options: Any) -> list[float]:
    """The rewards that ms-swift's trainer computes for samples: NaN where a function gave none."""
    import torch
    from swift.rewards import orms
    from swift.rl_core.data import GRPOSample
    from swift.rl_core.grpo_algorithm import compute_rewards_per_func

    orms["assay"] = orm("math", **options)
    samples = [
        GRPOSample(
            messages=[{"role": "user", "content": PROMPT}, {"role": "assistant", "content": completion}],
            prompt_id=prompt,
            extra={"solution": reference},
        )
        for completion, reference, prompt in zip(completions, references, prompts, strict=True)
    ]
    found = compute_rewards_per_func(samples, [orms["assay"]()], [None], torch.device("cpu"))
    return [float(value) for value in found[:, 0]]


def test_samples_get_their_rewards(assay: Project) -> None:
    assert rewards([RIGHT, WRONG], ["42", "42"], ["a", "a"]) == [1.0, 0.0]
    assert len({row["group"] for row in assay.scores()}) == 1


def test_an_unscored_sample_has_its_groups_mean_and_so_no_advantage(assay: Project) -> None:
    references = ["42", "42", BAD_REFERENCE, BAD_REFERENCE, BAD_REFERENCE]
    found = rewards([RIGHT, WRONG, RIGHT, RIGHT, RIGHT], references, ["a", "a", "a", "b", "b"])
    assert found[:3] == [1.0, 0.0, 0.5]
    assert [math.isnan(value) for value in found[3:]] == [True, True]  # a group without any score


def test_twenty_seconds_without_the_service_cost_nothing(assay: Project, gate: Gate) -> None:
    gate.close_for(OUTAGE_S)
    assert rewards([RIGHT, WRONG], ["42", "42"], ["a", "a"]) == [1.0, 0.0]
    assert gate.refused_for_s == OUTAGE_S


def test_an_outage_without_an_end_ends_at_the_deadline(assay: Project, gate: Gate) -> None:
    gate.close()
    assert [math.isnan(value) for value in rewards([RIGHT, WRONG], ["42", "42"], ["a", "a"], deadline_s=2)] == [
        True
    ] * 2

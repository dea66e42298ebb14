"""How an update is cut into passes changes nothing, whatever the algorithm and however many updates a rollout has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.trainer_client.making import sorting_config
from trainer_client.algorithms import ALGORITHMS
from trainer_client.loop import Grpo
from trainer_client.results import Verdict


class Lengths:
    """A service that pays for short completions and for the digit 1, and leaves every seventh unscored."""

    def score(self, verifier: None, items: Sequence[dict[str, Any]], **_: Any) -> list[Verdict]:
        verdicts = []
        for item in items:
            group, sample, _part = map(int, item["id"].split("/"))
            text = item["completion"]
            score = None if (8 * group + sample) % 7 == 3 else 1 / (1 + len(text)) + ("1" in text)
            outcome = "scored" if score is not None else "unscored"
            verdicts.append(Verdict(item["id"], None, "lengths@1", score, outcome, {}, {}, None, None, 0.0, False))
        return verdicts

    def request(self, method: str, path: str) -> Any:
        return {"items": []}


def told(data: Path, folder: Path, algorithm: str, micro_batch: int) -> list[dict[str, float]]:
    """What four updates of one rollout tell: two passes of two minibatches, all but the first off the policy."""
    made = sorting_config(
        data, folder, "tracking.enabled=false", sampling={"max_new_tokens": 8},
        optimizer={"learning_rate": 2e-3},
        grpo={
            "algorithm": algorithm, "beta": 0.04, "steps": 4, "prompts": 4, "group": 5, "minibatches": 2,
            "updates_per_rollout": 2, "micro_batch": micro_batch, "mask_truncated": True,
            "rewards": [{"verifier": "lengths"}],
        },
    )  # fmt: skip
    values: list[dict[str, float]] = []
    Grpo(made, client=Lengths(), report=lambda step, told: values.append(told)).run()
    return [each for each in values if "loss" in each]


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_an_update_in_passes_is_the_update(sorting: Path, tmp_path: Path, algorithm: str) -> None:
    parts, whole = (told(sorting, tmp_path / str(size), algorithm, size) for size in (3, 64))
    assert len(parts) == len(whole) == 4
    assert 0 < whole[0]["reward/unscored_share"] < 0.3
    assert whole[-1]["ratio_max"] > 1.01
    for found, wanted in zip(parts, whole, strict=True):
        for name in ("loss", "grad_norm", "ratio", "ratio_max", "clip_low", "clip_high", "kl", "entropy"):
            assert found[name] == pytest.approx(wanted[name], rel=2e-3, abs=1e-5), name

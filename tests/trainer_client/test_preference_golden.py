"""Our loop against TRL's trainers: the same rows and the same model give the same course of training.

What TRL says is in a file, so that nothing here needs TRL; tests/trainers/test_preference_against_trl.py checks the
file against TRL.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainer_client.making import sorting_config
from tests.trainer_client.preference_case import CASES, GOLDEN, LABELS, PAIRS, RATE, STEPS, write
from trainer_client.preference import Preference


def trained(case: dict[str, Any], folder: Path) -> list[dict[str, float]]:
    """What our trainer tells of each update, which it cuts into passes of one row."""
    write(folder)
    kto = case["loss"] == "kto"
    made = sorting_config(
        folder, folder / "run", f"data.train={folder / ('labels' if kto else 'pairs')}.jsonl",
        "data.heldout=null", "tracking.enabled=false", optimizer={"learning_rate": RATE},
        preference={**case, "steps": STEPS, "batch": len(LABELS if kto else PAIRS), "micro_batch": 3},
    )  # fmt: skip
    told: list[dict[str, float]] = []
    Preference(made, "kto" if kto else "dpo", report=lambda step, values: told.append(values)).run()
    return [values for values in told if "loss" in values]


@pytest.mark.parametrize("name", CASES)
def test_dpo_ipo_and_kto_train_as_trl_s_trainers_do(name: str, tmp_path: Path) -> None:
    golden = json.loads(GOLDEN.read_text())[name]
    ours = trained(CASES[name], tmp_path)
    assert len(ours) == len(golden) == STEPS
    assert max(step.get("reference_point", 1.0) for step in golden) > 0.1, "at a z0 of 0 anything would agree"
    for found, wanted in zip(ours, golden, strict=True):
        assert found["loss"] == pytest.approx(wanted["loss"], rel=2e-4, abs=1e-6)
        assert found["grad_norm"] == pytest.approx(wanted["grad_norm"], rel=1e-3)
        if name == "kto":
            assert found["preference/reference_point"] == pytest.approx(wanted["reference_point"], abs=1e-3)
        else:
            assert found["preference/reward_chosen"] == pytest.approx(wanted["chosen"], abs=1e-3)
            assert found["preference/reward_rejected"] == pytest.approx(wanted["rejected"], abs=1e-3)

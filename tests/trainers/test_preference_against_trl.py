"""The file that our preference loop is compared with says what TRL's trainers say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.trainer_client.preference_case import CASES, GOLDEN
from tests.trainers.trl_preference import trained


@pytest.mark.parametrize("name", CASES)
def test_the_golden_course_is_that_of_trl(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {"HF_HUB_OFFLINE": "1", "WANDB_DISABLED": "true", "TRL_EXPERIMENTAL_SILENCE": "1"}.items():
        monkeypatch.setenv(variable, value)
    golden = json.loads(GOLDEN.read_text())[name]
    found = trained(CASES[name], tmp_path)
    assert found == [pytest.approx(step, rel=1e-3, abs=1e-5) for step in golden]

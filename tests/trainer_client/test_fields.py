"""`assay-train fields` lists what the YAML file may hold, as the file is read."""

from __future__ import annotations

from typing import Any

import pytest

from trainer_client.config import from_fields
from trainer_client.fields import field_lines
from trainer_client.training_errors import ConfigError

RUN: dict[str, Any] = {
    "run": "r",
    "folder": "f",
    "model": {"path": "m"},
    "data": {"train": "t"},
    "sft": {"steps": 1},
    "grpo": {"steps": 1, "rewards": [{"verifier": "math"}]},
    "preference": {"rewards": [{"verifier": "math"}]},
}


@pytest.mark.parametrize("line", field_lines(), ids=lambda line: line.name)
def test_each_field_is_one_that_can_be_set_to_its_default(line: Any) -> None:
    value = "1" if line.default == "required" and line.type == "integer" else line.default
    from_fields(RUN, [f"{line.name}={value}"])


def test_every_section_is_listed_and_one_can_be_asked_for() -> None:
    names = [line.name for line in field_lines()]
    assert len(names) == len(set(names)) > 90
    assert {name.split(".")[0] for name in names} >= {"run", "model", "grpo", "alarms", "evaluation", "tracking"}
    assert [line.name for line in field_lines("model.lora")] == [name for name in names if ".lora." in name]
    assert field_lines("seed")[0][1:3] == ("integer", "0")


def test_a_section_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="there is no section 'grop'; there are model, data"):
        field_lines("grop")

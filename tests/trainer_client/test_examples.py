"""The examples' files say what they say: configurations load, and nothing that is held out is trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service import ROOT
from trainer_client.config import load
from trainer_client.data import read_rows
from trainer_client.heldout import prompt_key, refuse_overlap

EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_a_configuration_loads(path: Path) -> None:
    config = load(path)
    assert any((config.sft, config.grpo, config.preference))
    if config.grpo is not None:
        assert config.data.heldout is not None
        assert config.evaluation.verifier == {"kind": "text", "config": {"mode": "exact"}}


def test_sorting_prompts_are_right_and_all_different(sorting: Path) -> None:
    train, held_out = (read_rows(sorting / f"{name}.jsonl") for name in ("train", "heldout"))
    refuse_overlap(train, held_out)
    assert (len(train), len(held_out)) == (5120, 256)
    assert len({prompt_key(row) for row in train}) == len(train)
    lists = 0
    for row in train:
        assert row.reference == "".join(sorted(str(row.prompt)[:-1]))
        guesses = row.extra["answer"].split()
        assert row.reference in guesses
        lists += len(guesses) == 3
    assert 0.2 < lists / len(train) < 0.3


def test_additions_are_right_and_none_is_trained_on_that_is_held_out() -> None:
    from examples.arithmetic import HELD_OUT, rows

    made = rows()
    questions = [row["messages"][0]["content"] for row in made]
    assert len(set(questions)) == len(questions) > HELD_OUT
    for question, row in zip(questions, made, strict=True):
        a, b = (int(word) for word in question.removeprefix("What is ").removesuffix("?").split(" + "))
        assert row["reference"] == str(a + b)
        assert row["reference"] in row["answer"].split(", ")

"""Supervised fine-tuning: what is learnt, and where answers end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from examples.sorting.make import tokenizer
from tests.trainer_client.making import EOS, sorting_config
from trainer_client import sft
from trainer_client.config import Config
from trainer_client.data import Row
from trainer_client.logprobs import values_of
from trainer_client.model import load_policy
from trainer_client.sft import answer_ids
from trainer_client.training_errors import ConfigError, DataError, NotFiniteError


def config(data: Path, folder: Path, *overrides: str, rows: list[dict[str, Any]] | None = None) -> Config:
    made = sorting_config(
        data, folder, *overrides, sft={"steps": 30, "batch": 8, "micro_batch": 4}, optimizer={"learning_rate": 3e-3}
    )
    if rows is None:
        return made
    path = folder.parent / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made.model_copy(update={"data": made.data.model_copy(update={"train": str(path), "heldout": None})})


def test_answers_and_their_end_are_learnt(sorting: Path, tmp_path: Path) -> None:
    losses = []
    rows = [{"prompt": f"{digit}>", "answer": str(digit) * (1 + digit % 3)} for digit in range(10)]
    folder = sft.train(
        config(sorting, tmp_path / "learnt", rows=rows), lambda step, values: losses.append(values["loss"])
    )
    assert losses[-1] < 0.2 < 2 < losses[0]
    model = load_policy(config(sorting, tmp_path).model.model_copy(update={"path": str(folder)}), 0)
    values = values_of(model, [[4, 10]], [[4, 4, EOS]], 1.0)[0]
    assert min(values) > -0.5


def test_a_batch_in_passes_is_the_batch(sorting: Path, tmp_path: Path) -> None:
    found = []
    for micro_batch in (3, 8):
        made = config(sorting, tmp_path / str(micro_batch), "sft.steps=2", f"sft.micro_batch={micro_batch}")
        own: list[float] = []
        sft.train(made, lambda step, values, own=own: own.extend([values["loss"], values["grad_norm"]]))  # type: ignore[misc]
        found.append(own)
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_the_eos_counts_and_padding_does_not_even_where_both_are_one_token() -> None:
    text = tokenizer()
    text.pad_token = text.eos_token
    assert answer_ids(Row(1, "1>", extra={"answer": "1"}), "answer", text) == [1, EOS]


def test_what_cannot_be_learnt_is_named(sorting: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 2: answer: must be the text to learn"):
        sft.train(config(sorting, tmp_path / "a", rows=[{"prompt": "1>", "answer": "1"}, {"prompt": "2>"}]))
    with pytest.raises(DataError, match=r"row 1: prompt and answer have 83 tokens, and the context holds 64"):
        sft.train(config(sorting, tmp_path / "a", rows=[{"prompt": "1>", "answer": "1" * 80}]))
    with pytest.raises(ConfigError, match="sft: is missing"):
        sft.train(sorting_config(sorting, tmp_path / "a"))
    wild = config(sorting, tmp_path / "a", "optimizer.learning_rate=1e30")
    with pytest.raises(NotFiniteError, match=r"step \d+.* rows \d+"):
        sft.train(wild)


def test_a_reference_can_be_the_answer(sorting: Path, tmp_path: Path) -> None:
    rows = [{"prompt": "1>", "reference": "1"}]
    folder = sft.train(config(sorting, tmp_path / "r", "sft.answer=reference", "sft.steps=1", rows=rows))
    assert (folder / "config.json").is_file()
    assert torch.get_num_threads() == 1

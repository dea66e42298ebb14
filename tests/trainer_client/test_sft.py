"""Supervised fine-tuning: what is learnt, where answers end, and how a run goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from examples.sorting.make import tokenizer
from tests.trainer_client.making import EOS, sorting_config
from trainer_client.checkpoint import Checkpoints
from trainer_client.config import Config
from trainer_client.data import Row
from trainer_client.logprobs import values_of
from trainer_client.model import load_policy
from trainer_client.sft import Sft, answer_ids
from trainer_client.training_errors import ConfigError, DataError, MemoryLimitError, NotFiniteError


def config(data: Path, folder: Path, *overrides: str, rows: list[dict[str, Any]] | None = None) -> Config:
    made = sorting_config(
        data, folder, "tracking.enabled=false", *overrides,
        sft={"steps": 30, "batch": 8, "micro_batch": 4}, optimizer={"learning_rate": 3e-3},
    )  # fmt: skip
    if rows is None:
        return made
    path = folder.parent / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made.model_copy(update={"data": made.data.model_copy(update={"train": str(path), "heldout": None})})


def train(made: Config) -> list[dict[str, float]]:
    """The values of the steps that were made."""
    told: list[dict[str, float]] = []
    Sft(made, report=lambda step, values: told.append(values)).run()
    return told


def test_answers_and_their_end_are_learnt(sorting: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"{digit}>", "answer": str(digit) * (1 + digit % 3)} for digit in range(10)]
    losses = [values["loss"] for values in train(config(sorting, tmp_path / "learnt", rows=rows))]
    assert losses[-1] < 0.2 < 2 < losses[0]
    folder = str(tmp_path / "learnt" / "model")
    model = load_policy(config(sorting, tmp_path).model.model_copy(update={"path": folder}), 0)
    values = values_of(model, [[4, 10]], [[4, 4, EOS]], 1.0)[0]
    assert min(values) > -0.5


def test_a_batch_in_passes_is_the_batch(sorting: Path, tmp_path: Path) -> None:
    found = []
    for micro_batch in (3, 8):
        made = config(sorting, tmp_path / str(micro_batch), "sft.steps=2", f"sft.micro_batch={micro_batch}")
        found.append([values[name] for values in train(made) for name in ("loss", "grad_norm")])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_the_eos_counts_and_padding_does_not_even_where_both_are_one_token() -> None:
    text = tokenizer()
    text.pad_token = text.eos_token
    assert answer_ids(Row(1, "1>", extra={"answer": "1"}), "answer", text) == [1, EOS]


def test_what_cannot_be_learnt_is_named(sorting: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 2: answer: must be the text to learn"):
        train(config(sorting, tmp_path / "a", rows=[{"prompt": "1>", "answer": "1"}, {"prompt": "2>"}]))
    with pytest.raises(DataError, match=r"row 1: prompt and answer have 83 tokens, and the context holds 64"):
        train(config(sorting, tmp_path / "a", rows=[{"prompt": "1>", "answer": "1" * 80}]))
    with pytest.raises(ConfigError, match="sft: is missing"):
        Sft(sorting_config(sorting, tmp_path / "a"))
    with pytest.raises(ConfigError, match="tracking need the service: give a client, or turn them off"):
        Sft(config(sorting, tmp_path / "a", "tracking.enabled=true"))
    with pytest.raises(ConfigError, match=r"model\.path: the run would overwrite it"):
        Sft(config(sorting, sorting))


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(sorting: Path, tmp_path: Path) -> None:
    wild = config(sorting, tmp_path / "a", "optimizer.learning_rate=1e30", "checkpoints.every=1")
    with pytest.raises(NotFiniteError, match=r"step \d+.* rows \d+, .*the last checkpoint is as it was"):
        train(wild)
    state = Checkpoints(tmp_path / "a" / "checkpoints", 2).load()
    assert state is not None
    assert all(weight.isfinite().all() for weight in state["model"].values())


def test_a_full_memory_names_the_setting_to_lower(
    sorting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Sft(config(sorting, tmp_path / "a"))
    monkeypatch.setattr(made, "_forward", lambda rows, tokens: torch.empty(2**60))
    with pytest.raises(MemoryLimitError, match=r"lower sft\.micro_batch, which is 4"):
        made.run()


@pytest.mark.parametrize("at", [0, 2, 4, 6])
def test_a_run_that_goes_on_from_any_checkpoint_is_the_same_to_the_bit(
    sorting: Path, tmp_path: Path, at: int
) -> None:
    made = config(
        sorting, tmp_path / "run", "sft.steps=6", "checkpoints={every: 2, keep: 9}", "optimizer.schedule=linear"
    )
    whole = train(made)
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", 9)
    wanted = checkpoints.load()
    checkpoints.drop_after(at)
    again = train(made)
    assert [values["loss"] for values in again] == [values["loss"] for values in whole[at:]]
    found = checkpoints.load()
    assert wanted is not None and found is not None
    assert all(torch.equal(weight, found["model"][name]) for name, weight in wanted["model"].items())
    with pytest.raises(ConfigError, match=r"sft\.batch was 8 and is 4"):
        train(config(sorting, tmp_path / "run", "sft.steps=6", "sft.batch=4", "optimizer.schedule=linear"))


def test_a_reference_can_be_the_answer(sorting: Path, tmp_path: Path) -> None:
    rows = [{"prompt": "1>", "reference": "1"}]
    outcome = Sft(config(sorting, tmp_path / "r", "sft.answer=reference", "sft.steps=1", rows=rows)).run()
    assert (outcome.status, outcome.step) == ("finished", 1)
    assert (outcome.folder / "config.json").is_file()
    assert torch.get_num_threads() == 1

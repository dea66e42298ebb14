"""DPO, IPO and KTO on rows of a file: what is learnt, how a batch is cut, and that a run goes on as it was."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer_client.making import EOS, sorting_config
from trainer_client.checkpoint import Checkpoints
from trainer_client.config import Config
from trainer_client.logprobs import values_of
from trainer_client.model import load_policy
from trainer_client.preference import Preference, PreferenceTask
from trainer_client.training_errors import ConfigError, DataError, NotFiniteError

PAIRS = [{"prompt": f"{digit}>", "chosen": f"{digit}{digit}", "rejected": f"{9 - digit}"} for digit in range(10)]
LABELS = [
    {"prompt": f"{digit}>", "completion": str(digit if good else 9 - digit), "label": good}
    for digit in range(10)
    for good in (True, False)
]


def config(data: Path, folder: Path, rows: list[dict[str, Any]], *overrides: str, **preference: Any) -> Config:
    path = folder.parent / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return sorting_config(
        data, folder, f"data.train={path}", "data.heldout=null", "tracking.enabled=false", *overrides,
        preference={"batch": 4, "steps": 6, **preference}, optimizer={"learning_rate": 1e-3},
        checkpoints={"every": 1, "keep": 100},
    )  # fmt: skip


def train(made: Config, task: PreferenceTask) -> list[dict[str, float]]:
    told: list[dict[str, float]] = []
    Preference(made, task, report=lambda step, values: told.append(values)).run()
    return told[1:] if not told[0] else told


@pytest.mark.parametrize("loss", ["dpo", "ipo"])
def test_the_chosen_answer_becomes_more_probable_than_the_rejected(sorting: Path, tmp_path: Path, loss: str) -> None:
    made = config(sorting, tmp_path / "run", PAIRS, steps=20, loss=loss)
    told = train(made, "dpo")
    assert len(told) == 20
    assert told[0]["preference/margin"] == pytest.approx(0, abs=1e-3)
    assert told[-1]["preference/margin"] > 0.3
    assert told[-1]["loss"] < told[0]["loss"]
    before = load_policy(made.model, 0)
    after = load_policy(made.model.model_copy(update={"path": str(tmp_path / "run" / "model")}), 0)
    for digit in range(10):
        answers = [[digit, digit, EOS], [9 - digit, EOS]]
        old, new = (
            [sum(row) for row in values_of(each, [[digit, 10]] * 2, answers, 1.0)] for each in (before, after)
        )
        assert new[0] - new[1] > old[0] - old[1]


def test_kto_parts_good_answers_from_bad_ones(sorting: Path, tmp_path: Path) -> None:
    made = config(sorting, tmp_path / "run", LABELS, steps=30, batch=8, beta=0.5)
    told = train(made, "kto")
    assert all(values["preference/reference_point"] >= 0 for values in told)
    after = load_policy(made.model.model_copy(update={"path": str(tmp_path / "run" / "model")}), 0)
    prompts = [[digit, 10] for digit in range(10)]
    rows = values_of(after, prompts * 2, [[digit, EOS] for digit in [*range(10), *reversed(range(10))]], 1.0)
    good, bad = (math.fsum(map(math.fsum, part)) for part in (rows[:10], rows[10:]))
    assert good > bad + 10


@pytest.mark.parametrize(("task", "rows"), [("dpo", PAIRS), ("kto", LABELS)])
def test_a_batch_in_passes_is_the_batch(
    sorting: Path, tmp_path: Path, task: PreferenceTask, rows: list[dict[str, Any]]
) -> None:
    nll = {"nll": 1.0} if task == "dpo" else {}
    found = []
    for micro_batch in (3, 64):
        made = config(sorting, tmp_path / f"run{micro_batch}", rows, micro_batch=micro_batch, steps=3, **nll)
        found.append([(values["loss"], values["grad_norm"]) for values in train(made, task)])
    assert found[0] == [pytest.approx(each, rel=1e-3) for each in found[1]]


@pytest.mark.parametrize(("task", "rows"), [("dpo", PAIRS), ("kto", LABELS)])
@pytest.mark.parametrize("at", [0, 2, 5])
def test_a_run_that_goes_on_from_any_checkpoint_is_the_same_to_the_bit(
    sorting: Path, tmp_path: Path, task: PreferenceTask, rows: list[dict[str, Any]], at: int
) -> None:
    made = config(sorting, tmp_path / "run", rows)
    whole = train(made, task)
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", 100)
    wanted = checkpoints.load()
    checkpoints.drop_after(at)
    again = train(made, task)
    assert [values["loss"] for values in again] == [values["loss"] for values in whole[at:]]
    found = checkpoints.load()
    assert wanted is not None and found is not None
    assert all(torch.equal(weight, found["model"][name]) for name, weight in wanted["model"].items())


def test_one_pass_takes_every_row_once(sorting: Path, tmp_path: Path) -> None:
    told = train(config(sorting, tmp_path / "run", PAIRS, steps=None), "dpo")
    assert len(told) == 3
    assert told[0]["preference/examples"] == 10


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_adapters_learn_from_preferences_too(sorting: Path, tmp_path: Path) -> None:
    made = config(sorting, tmp_path / "run", PAIRS, "model.lora={rank: 4}", steps=15)
    told = train(made, "dpo")
    assert told[0]["preference/margin"] == pytest.approx(0, abs=1e-3)
    assert told[-1]["preference/margin"] > 0.05


def test_what_does_not_fit_together_is_said_at_once(sorting: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="preference: is missing"):
        train(sorting_config(sorting, tmp_path / "a"), "dpo")
    with pytest.raises(ConfigError, match="give the task kto"):
        train(config(sorting, tmp_path / "a", PAIRS, loss="kto"), "dpo")
    with pytest.raises(ConfigError, match="the task kto has its own"):
        train(config(sorting, tmp_path / "a", LABELS, loss="ipo"), "kto")
    with pytest.raises(ConfigError, match="only the task iterate"):
        train(config(sorting, tmp_path / "a", PAIRS, iterations=2), "dpo")
    with pytest.raises(ConfigError, match="nll belongs to the loss dpo"):
        config(sorting, tmp_path / "a", PAIRS, loss="ipo", nll=1.0)
    with pytest.raises(DataError, match=r"row 1: prompt: has 71 tokens"):
        train(config(sorting, tmp_path / "a", [{"prompt": "1" * 71, "chosen": "1", "rejected": "2"}]), "dpo")
    made = config(sorting, tmp_path / "b", PAIRS, steps=1)
    train(made, "dpo")
    with pytest.raises(ConfigError, match=r"preference\.beta was 0\.1 and is 0\.2"):
        train(config(sorting, tmp_path / "b", PAIRS, steps=1, beta=0.2), "dpo")


@pytest.mark.parametrize("task", ["dpo", "kto"])
def test_a_row_that_is_wrong_is_told_with_its_file_before_the_run_begins(
    sorting: Path, tmp_path: Path, task: PreferenceTask
) -> None:
    rows = PAIRS if task == "dpo" else LABELS
    made = config(sorting, tmp_path / "run", [rows[0], {"prompt": "1>", "chosen": "", "label": "yes"}])
    with pytest.raises(DataError, match=r"rows\.jsonl, row 2: (chosen|label): "):
        train(made, task)
    assert not (tmp_path / "run").exists()
    train(config(sorting, tmp_path / "run", rows, steps=1), task)


def test_rows_may_fill_the_context_where_nothing_is_drawn(sorting: Path, tmp_path: Path) -> None:
    rows = [{"prompt": "1" * 62, "chosen": "1", "rejected": "2"}]
    [values] = train(config(sorting, tmp_path / "run", rows, "sampling.max_new_tokens=99", steps=1), "dpo")
    assert values["preference/examples"] == 1
    rows[0]["prompt"] += "1"
    with pytest.raises(DataError, match=r"row 1: prompt and answer have 65 tokens, and the context holds 64"):
        train(config(sorting, tmp_path / "more", rows, steps=1), "dpo")


def test_a_loss_that_is_not_finite_names_its_rows_and_keeps_the_last_checkpoint(
    sorting: Path, tmp_path: Path
) -> None:
    made = config(sorting, tmp_path / "run", PAIRS, "optimizer.learning_rate=1e30")
    with pytest.raises(NotFiniteError, match=r"step \d.* rows \d"):
        train(made, "dpo")
    state = Checkpoints(tmp_path / "run" / "checkpoints", 100).load()
    assert state is not None
    assert all(weight.isfinite().all() for weight in state["model"].values())

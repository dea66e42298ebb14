"""What is around the updates: a run that is cut off at a bad moment, changed in between, or ended by alarms."""

from __future__ import annotations

import json
import os
import shutil
import signal
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.trainer_client.making import sorting_config
from trainer_client.alarms import Alarm
from trainer_client.checkpoint import Checkpoints, trainable
from trainer_client.config import Config
from trainer_client.course import Course, Outcome
from trainer_client.loop import Grpo
from trainer_client.results import Verdict
from trainer_client.rollout_file import rollout_path
from trainer_client.training_errors import CheckpointError, ConfigError


class Scorer:
    """Stands in for the service: `low` pays for a low first digit, `high` for any other."""

    def score(self, verifier: None, items: Sequence[dict[str, Any]], **options: Any) -> list[Verdict]:
        scores = [float((item["completion"][:1] in "01234") == (item["verifier"] == "low")) for item in items]
        return [
            Verdict(item["id"], item["id"], "v@1", score, "correct", {}, {}, None, None, 0.1, False)
            for item, score in zip(items, scores, strict=True)
        ]

    def request(self, method: str, path: str) -> Any:
        return {}


class CutOffError(Exception):
    """Stands in for a kill."""


def config(data: Path, folder: Path, *overrides: str, verifier: str = "low", **grpo: Any) -> Config:
    return sorting_config(
        data, folder, "tracking.enabled=false", "run=course", *overrides,
        grpo={"steps": 2, "prompts": 4, "group": 4, "rewards": [{"verifier": verifier}], **grpo},
        sampling={"max_new_tokens": 4}, optimizer={"learning_rate": 1e-3},
    )  # fmt: skip


def cut_off(*_: Any) -> Any:
    raise CutOffError


def values_of(made: Config) -> list[dict[str, float]]:
    """What the steps of a run say, timing aside."""
    told: list[dict[str, float]] = []
    Grpo(made, client=Scorer(), report=lambda step, values: told.append(values)).run()
    return [{name: value for name, value in own.items() if not name.startswith("time/")} for own in told]


def test_a_run_that_goes_on_says_from_where(
    sorting: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Grpo(config(sorting, tmp_path / "run", steps=1), client=Scorer()).run()
    assert "goes on" not in capsys.readouterr().err
    Grpo(config(sorting, tmp_path / "run", steps=2), client=Scorer()).run()
    assert "course goes on after step 1\n" in capsys.readouterr().err


@pytest.mark.parametrize("changed", ["temperature", "verifier", "data"])
def test_a_rollout_of_another_configuration_is_not_taken(
    sorting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    with monkeypatch.context() as patch, pytest.raises(CutOffError):
        patch.setattr(Grpo, "_update", cut_off)
        Grpo(config(sorting, tmp_path / "cut"), client=Scorer()).run()
    assert rollout_path(tmp_path / "cut" / "checkpoints", 1, 0).stat().st_size > 1000
    rows = (sorting / "train.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "others.jsonl").write_text("".join(reversed(rows)))

    def other(folder: Path) -> Config:
        overrides = {"temperature": ["sampling.temperature=2"], "data": [f"data.train={tmp_path / 'others.jsonl'}"]}
        return config(
            sorting, folder, *overrides.get(changed, []), verifier="high" if changed == "verifier" else "low"
        )

    assert values_of(other(tmp_path / "cut")) == values_of(other(tmp_path / "new"))


class Unscored(Grpo):
    """Completions are unscored from step 3 on."""

    def _collect(self) -> dict[str, float]:
        return {**super()._collect(), "reward/unscored_share": 0.6 * (self.step >= 3)}


class Duplicating(Unscored):
    """They are duplicates too, from step 2 on."""

    def _record(self, values: dict[str, float]) -> list[Alarm]:
        return super()._record({**values, "rollout/duplicate_share": 0.5 * (self.step >= 2)})


def alarmed(data: Path, folder: Path, action: str, *overrides: str, kind: type[Grpo] = Unscored) -> Grpo:
    """A run of 9 steps in which an alarm is raised at step 4."""
    alarm = f"alarms.unscored={{action: {action}, patience: 2, threshold: 0.5}}"
    return kind(config(data, folder, "checkpoints.every=1", alarm, *overrides, steps=9), client=Scorer())


@pytest.mark.parametrize("cut", ["_end", "_export"])
@pytest.mark.parametrize(("action", "ended"), [("pause", ("paused", 4)), ("rollback", ("rolled_back", 2))])
def test_what_an_alarm_asks_for_is_done_also_by_a_run_that_was_cut_off_before(
    sorting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str, ended: tuple[str, int], cut: str
) -> None:
    with monkeypatch.context() as patch, pytest.raises(CutOffError):
        patch.setattr(Course, cut, cut_off)
        alarmed(sorting, tmp_path / "run", action).run()
    outcome = alarmed(sorting, tmp_path / "run", action).run()
    assert (outcome.status, outcome.step) == ended
    record = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert record[-1]["status"] == "paused"
    assert ("rolled back to step 2" in record[-1]["message"]) == (action == "rollback")


def test_of_two_alarms_that_roll_back_the_earlier_good_step_counts(sorting: Path, tmp_path: Path) -> None:
    grpo = Grpo(config(sorting, tmp_path, "checkpoints.every=1", "checkpoints.keep=9", steps=4), client=Scorer())
    grpo.run()
    grpo.tracker = None
    alarms = [Alarm(name, 4, name, "rollback", {}, good) for name, good in (("kl", 3), ("unscored", 1))]
    outcome = grpo._end(alarms)
    assert outcome == Outcome("rolled_back", 1, tmp_path / "model")
    assert grpo.checkpoints.steps() == [1]


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_a_run_that_was_never_well_is_rolled_back_to_its_first_policy(sorting: Path, tmp_path: Path) -> None:
    made = config(sorting, tmp_path, "model.lora={rank: 2}", "checkpoints.every=1", steps=2)
    grpo = Grpo(made, client=Scorer())
    first = {name: weight.clone() for name, weight in trainable(grpo.model).items()}
    grpo.run()
    assert any(not torch.equal(weight, first[name]) for name, weight in trainable(grpo.model).items())
    grpo.tracker = None
    assert grpo._end([Alarm("kl", 2, "kl", "rollback", {}, 0)]) == Outcome("rolled_back", 0, tmp_path / "model")
    assert all(torch.equal(weight, first[name]) for name, weight in trainable(grpo.model).items())
    assert grpo.checkpoints.steps() == []


def test_the_last_good_checkpoint_of_each_alarm_is_kept(sorting: Path, tmp_path: Path) -> None:
    grpo = alarmed(
        sorting, tmp_path, "rollback", "checkpoints.keep=1", "alarms.unscored.patience=4",
        "alarms.duplicates={threshold: 0.1, patience: 99}", kind=Duplicating,
    )  # fmt: skip
    outcome = grpo.run()
    assert (outcome.status, outcome.step) == ("rolled_back", 2)


def test_a_healthy_run_keeps_as_many_checkpoints_as_it_is_told(sorting: Path, tmp_path: Path) -> None:
    grpo = Grpo(config(sorting, tmp_path, "checkpoints.every=1", "checkpoints.keep=1", steps=3), client=Scorer())
    grpo.run()
    assert grpo.checkpoints.steps() == [3]


def test_what_was_read_to_resume_is_let_go_of(sorting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Grpo(config(sorting, tmp_path, steps=1), client=Scorer()).run()
    read: list[weakref.ref[torch.Tensor]] = []
    load = Checkpoints.load

    def watched(self: Checkpoints, step: int | None = None) -> dict[str, Any] | None:
        state = load(self, step)
        assert state is not None
        read.append(weakref.ref(state["model"]["lm_head.weight"]))
        return state

    monkeypatch.setattr(Checkpoints, "load", watched)
    held: list[bool] = []
    made = config(sorting, tmp_path, steps=2)
    Grpo(made, client=Scorer(), report=lambda step, values: held.append(read[0]() is not None)).run()
    assert held == [False]


def test_a_checkpoint_whose_weights_have_other_names_is_refused(sorting: Path, tmp_path: Path) -> None:
    made = config(sorting, tmp_path)
    grpo = Grpo(made, client=Scorer())
    grpo.run()
    state = grpo.checkpoints.load()
    assert state is not None
    state["model"]["head.weight"] = state["model"].pop("lm_head.weight")
    grpo.checkpoints.save(2, state)
    with pytest.raises(CheckpointError, match=r"weights of other names than the model \(head\.weight\)"):
        Grpo(made, client=Scorer()).run()


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_a_model_that_has_changed_since_the_run_began_is_said(sorting: Path, tmp_path: Path) -> None:
    model = tmp_path / "model-before"
    shutil.copytree(sorting / "model", model)
    made = config(sorting, tmp_path / "run", f"model.path={model}", "model.lora={rank: 2}", steps=1)
    Grpo(made, client=Scorer()).run()
    weights = load_file(model / "model.safetensors")
    weights["lm_head.weight"][0, 0] += 1
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match=r"contents\.model was '.*' and is"):
        Grpo(made, client=Scorer()).run()


def test_memory_settings_may_be_lowered_in_a_run(sorting: Path, tmp_path: Path) -> None:
    Grpo(config(sorting, tmp_path, steps=1), client=Scorer()).run()
    lower = config(sorting, tmp_path, "sampling.rows=8", steps=2, micro_batch=4)
    assert Grpo(lower, client=Scorer()).run().step == 2


def test_rollouts_of_every_process_go_once_the_checkpoint_is_there(sorting: Path, tmp_path: Path) -> None:
    made = config(sorting, tmp_path, steps=1)
    grpo = Grpo(made, client=Scorer())
    others = rollout_path(grpo.checkpoints.folder, 1, 1)
    others.parent.mkdir(parents=True)
    others.touch()
    grpo.world.rank = 1
    grpo.step = 1
    grpo._save()  # the leader has not written it yet
    assert others.exists()
    grpo.world.rank = grpo.step = 0
    grpo.run()
    assert [path.name for path in grpo.checkpoints.folder.iterdir()] == ["step-000001.pt"]


def test_a_model_that_cannot_be_exported_is_said(sorting: Path, tmp_path: Path) -> None:
    (tmp_path / "model").touch()
    with pytest.raises(CheckpointError, match=r"model: the model cannot be written: .*resume"):
        Grpo(config(sorting, tmp_path), client=Scorer()).run()


def test_a_run_that_is_terminated_says_so(sorting: Path, tmp_path: Path) -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    grpo = Grpo(
        config(sorting, tmp_path), client=Scorer(), report=lambda step, values: os.kill(os.getpid(), signal.SIGTERM)
    )
    with pytest.raises(KeyboardInterrupt):
        grpo.run()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    record = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(record[-1])["status"] == "paused"

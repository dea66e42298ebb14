"""GRPO against a live service: every algorithm trains, rewards stream, and what is wrong is said before it costs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.service import Service
from tests.trainer_client.making import sorting_config
from trainer_client import RewardClient
from trainer_client.algorithms import ALGORITHMS
from trainer_client.assembly import memory_of
from trainer_client.config import Config
from trainer_client.course import Outcome
from trainer_client.loop import Grpo
from trainer_client.rollout import Sampler
from trainer_client.training_errors import (
    ConfigError,
    DataError,
    MemoryLimitError,
    NotFiniteError,
    RewardError,
)

LOW_FIRST = {"kind": "regex", "config": {"pattern": "^[0-4]"}}
"""A reward that the untrained model gets about half of the time."""


def config(data: Path, folder: Path, *overrides: str, **grpo: Any) -> Config:
    chosen = {"steps": 2, "prompts": 4, "group": 4, "rewards": [{"verifier": LOW_FIRST}], **grpo}
    return sorting_config(
        data, folder, *overrides, grpo=chosen, sampling={"max_new_tokens": 6}, optimizer={"learning_rate": 1e-3}
    )


def trained(made: Config, client: Any) -> tuple[Outcome, list[dict[str, float]]]:
    """How a run ends, and the values of its steps, from step 0."""
    values: list[dict[str, float]] = []
    return Grpo(made, client=client, report=lambda step, own: values.append(own)).run(), values


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_algorithm_trains(sorting: Path, tmp_path: Path, client: RewardClient, algorithm: str) -> None:
    outcome, values = trained(config(sorting, tmp_path / algorithm, algorithm=algorithm), client)
    assert (outcome.status, outcome.step) == ("finished", 2)
    for own in values[1:]:
        assert own["grad_norm"] > 0
        assert own["ratio"] == pytest.approx(1, abs=1e-4)
        assert own["mismatch_max"] < 1e-4
        assert ("kl" in own) == (ALGORITHMS[algorithm].beta > 0)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize("model", [{"lora": {"rank": 4}}, {"dtype": "bfloat16"}, {"gradient_checkpointing": True}])
def test_adapters_low_precision_and_checkpointing_train_and_resume(
    sorting: Path, tmp_path: Path, client: RewardClient, model: dict[str, Any]
) -> None:
    folder = tmp_path / "-".join(model)
    made = config(sorting, folder, "checkpoints.every=1", beta=0.04, updates_per_rollout=2)
    made = made.model_copy(update={"model": made.model.model_validate({**made.model.model_dump(), **model})})
    _, values = trained(made, client)
    assert [own["grad_norm"] > 0 for own in values[1:]] == [True, True]
    assert values[1]["kl"] == pytest.approx(0, abs=1e-4)
    assert values[2]["kl"] > 1e-7
    (folder / "checkpoints" / "step-000002.pt").unlink()
    _, again = trained(made, client)
    assert again[0]["loss"] == values[2]["loss"]


def test_the_reward_rises(sorting: Path, tmp_path: Path, client: RewardClient) -> None:
    _, values = trained(config(sorting, tmp_path / "rises", steps=12, prompts=8, group=8), client)
    assert sum(own["reward/mean"] for own in values[-3:]) / 3 > values[1]["reward/mean"] + 0.2


def test_a_rollout_lasts_for_its_minibatches_and_passes(sorting: Path, tmp_path: Path, client: RewardClient) -> None:
    _, values = trained(config(sorting, tmp_path / "lasts", steps=5, minibatches=2, updates_per_rollout=2), client)
    assert ["reward/mean" in own for own in values[1:]] == [True, False, False, False, True]
    assert [abs(own["ratio"] - 1) > 1e-4 for own in values[1:5]] == [False, True, True, True]


def test_groups_that_teach_nothing_are_replaced(sorting: Path, tmp_path: Path, client: RewardClient) -> None:
    rare = {"kind": "regex", "config": {"pattern": "^[0-4][0-4][0-4]"}}
    made = config(
        sorting, tmp_path / "replaced", degenerate="resample", rewards=[{"verifier": rare}], prompts=6, group=2
    )
    _, values = trained(made, client)
    assert values[1]["groups/refills"] >= 1
    assert values[1]["rollout/completions"] > 12


@pytest.mark.parametrize("degenerate", ["mask", "resample"])
def test_a_step_in_which_nothing_teaches_is_skipped_and_counted(
    sorting: Path, tmp_path: Path, client: RewardClient, degenerate: str
) -> None:
    never = {"kind": "regex", "config": {"pattern": "x"}}
    made = config(sorting, tmp_path / degenerate, degenerate=degenerate, rewards=[{"verifier": never}], refills=1)
    outcome, values = trained(made, client)
    assert outcome.step == 2
    assert [own["skipped"] for own in values[1:]] == [1, 1]
    assert values[1]["rollout/completions"] == (32 if degenerate == "resample" else 16)


def test_each_completion_is_scored_while_others_are_drawn(
    sorting: Path, tmp_path: Path, service: Service, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived = threading.Event()
    seen: list[bool] = []

    class Watching(RewardClient):
        def score(self, *args: Any, **options: Any) -> Any:
            verdicts = super().score(*args, **options)
            arrived.set()
            return verdicts

    generate = Sampler.generate

    def in_steps(self: Sampler, *args: Any, **options: Any) -> Iterator[Any]:
        for finished in generate(self, *args, **options):
            yield finished
            if "kept" in options:  # the start draws too, to try the model
                seen.append(arrived.wait(60))  # the verdict of what has just ended is here before more is drawn

    monkeypatch.setattr(Sampler, "generate", in_steps)
    with Watching(service.url, key) as client:
        trained(config(sorting, tmp_path / "streams", steps=1), client)
    assert len(seen) > 1
    assert all(seen)


def test_completions_are_in_the_record_with_their_verdicts(
    sorting: Path, tmp_path: Path, client: RewardClient
) -> None:
    trained(config(sorting, tmp_path / "recorded"), client)
    run = client.request("GET", "/runs/recorded")
    assert (run["status"], run["counts"]["samples"], run["counts"]["steps"]) == ("finished", 32, 2)
    samples = client.request("GET", "/runs/recorded/samples")["items"]
    assert {sample["step"] for sample in samples} == {1, 2}
    for sample in samples:
        assert sample["verdict"]["score"] == sample["reward"] == float(sample["completion"][:1] in tuple("01234"))
        assert sample["prompt"].endswith(">")
    means = [sum(own["reward"] for own in samples if own["step"] == step) / 16 for step in (1, 2)]
    assert client.request("GET", "/runs/recorded/metrics")["values"]["reward/mean"] == pytest.approx(means)


def test_several_rewards_are_weighted(sorting: Path, tmp_path: Path, client: RewardClient) -> None:
    parts = [{"verifier": LOW_FIRST, "weight": 2.0}, {"verifier": {"kind": "text"}, "weight": 0.5}]
    _, values = trained(config(sorting, tmp_path / "parts", rewards=parts), client)
    own = values[1]
    assert own["reward/mean"] == pytest.approx(2 * own["reward/0_regex"] + 0.5 * own["reward/1_text"])


def test_a_verifier_that_does_not_exist_is_said_before_the_first_step(
    sorting: Path, tmp_path: Path, client: RewardClient
) -> None:
    steps: list[int] = []
    for verifier, said in (
        ("no-such", "no verifier no-such"),
        ({"kind": "no-kind"}, "no kind no-kind; it has .*text"),
    ):
        made = config(sorting, tmp_path / "unknown", rewards=[{"verifier": verifier}])
        with pytest.raises(ConfigError, match=said):
            Grpo(made, client=client, report=lambda step, values: steps.append(step)).run()
    with pytest.raises(ConfigError, match="rows without a `verifier`"):
        Grpo(config(sorting, tmp_path / "unknown", rewards=[{}]), client=client).run()
    (tmp_path / "heldout.jsonl").write_text('{"prompt": "1>", "verifier": "not-held"}\n')
    made = config(sorting, tmp_path / "unknown", f"data.heldout={tmp_path / 'heldout.jsonl'}", "evaluation.every=1")
    with pytest.raises(ConfigError, match="no verifier not-held"):
        Grpo(made, client=client).run()
    assert steps == []


def test_a_reward_that_is_always_unscored_stops_the_run_with_its_reason(
    sorting: Path, tmp_path: Path, client: RewardClient
) -> None:
    made = config(sorting, tmp_path / "unscored", rewards=[{"verifier": "math"}])
    lines = (sorting / "train.jsonl").read_text().splitlines()
    (tmp_path / "bad.jsonl").write_text("".join(line.split(', "reference"')[0] + "}\n" for line in lines[:50]))
    made = made.model_copy(update={"data": made.data.model_copy(update={"train": str(tmp_path / "bad.jsonl")})})
    with pytest.raises(
        RewardError, match=r"16 of 16 completions have no score, most often \(16\) because math@1: bad_item"
    ):
        Grpo(made, client=client).run()
    assert client.request("GET", "/runs/unscored")["status"] == "failed"


def test_a_run_that_failed_for_want_of_scores_goes_on_once_the_verifier_is_mended(
    sorting: Path, tmp_path: Path, client: RewardClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.request("POST", "/verifiers", {"name": "mended", "kind": "outcome", "config": {"wait_s": 600}})
    made = config(sorting, tmp_path / "mended", rewards=[{"verifier": "mended"}], steps=1)
    with pytest.raises(RewardError, match="16 of 16 completions have no score"):
        Grpo(made, client=client).run()
    client.request("POST", "/verifiers", {"name": "mended", **LOW_FIRST})
    values: list[dict[str, float]] = []
    again = Grpo(made, client=client, report=lambda step, own: values.append(own))
    monkeypatch.setattr(Sampler, "_generate_chunk", None)  # what was drawn is there
    assert again.run().status == "finished"
    assert values[-1]["reward/unscored_share"] == 0


def test_nan_in_a_loss_stops_the_run_and_keeps_the_checkpoint(
    sorting: Path, tmp_path: Path, client: RewardClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config(sorting, tmp_path / "nan", "checkpoints.every=1", steps=4, minibatches=4)

    grpo = Grpo(made, client=client)
    save = grpo._save

    def poison_after_step_2() -> None:
        save()
        if grpo.step == 2:
            with torch.no_grad():
                grpo.model.lm_head.weight[0, 0] = float("nan")

    monkeypatch.setattr(grpo, "_save", poison_after_step_2)
    with pytest.raises(NotFiniteError, match=r"step 3: the loss is NaN or infinite in rows 8 to 11 .*prompts 2 to 2"):
        grpo.run()
    assert grpo.checkpoints.steps() == [1, 2]
    state = grpo.checkpoints.load()
    assert state is not None
    assert all(torch.isfinite(weight).all() for weight in state["model"].values())
    outcome, _ = trained(made, client)
    assert (outcome.status, outcome.step) == ("finished", 4)


def test_weights_that_are_not_finite_are_not_saved(sorting: Path, tmp_path: Path, client: RewardClient) -> None:
    made = config(sorting, tmp_path / "unsaved", "checkpoints.every=1", steps=3, minibatches=4)

    def poison(step: int, values: dict[str, float]) -> None:
        if step == 2:
            with torch.no_grad():
                grpo.model.lm_head.weight[0, 0] = float("nan")

    grpo = Grpo(made, client=client, report=poison)
    with pytest.raises(NotFiniteError, match="step 2: a weight is NaN"):
        grpo.run()
    assert grpo.checkpoints.steps() == [1]


def test_nan_in_the_policy_is_said_where_it_is_drawn_from(
    sorting: Path, tmp_path: Path, client: RewardClient
) -> None:
    made = config(sorting, tmp_path / "wild", "optimizer.learning_rate=1e30", steps=9)
    with pytest.raises(NotFiniteError, match="learning_rate"):
        Grpo(made, client=client).run()


def test_a_full_memory_names_the_setting_to_lower() -> None:
    with (
        pytest.raises(MemoryLimitError, match=r"lower grpo\.micro_batch, which is 64"),
        memory_of("grpo.micro_batch", 64),
    ):
        torch.empty(2**60)
    with pytest.raises(RuntimeError, match="another"), memory_of("grpo.micro_batch", 64):
        raise RuntimeError("another")


def test_a_run_that_ended_is_not_run_again(sorting: Path, tmp_path: Path, client: RewardClient) -> None:
    made = config(sorting, tmp_path / "ended")
    trained(made, client)
    outcome, values = trained(made, client)
    assert (outcome.status, outcome.step, values) == ("finished", 2, [])
    longer = config(sorting, tmp_path / "ended", steps=3)
    outcome, values = trained(longer, client)
    assert (outcome.step, len(values)) == (3, 1)


def test_a_resume_with_another_configuration_says_what_differs(
    sorting: Path, tmp_path: Path, client: RewardClient
) -> None:
    trained(config(sorting, tmp_path / "other"), client)
    with pytest.raises(ConfigError, match=r"grpo\.group was 4 and is 8"):
        Grpo(config(sorting, tmp_path / "other", group=8), client=client).run()


def test_a_model_is_not_overwritten_by_its_own_training(sorting: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.path: the run would overwrite it"):
        Grpo(config(sorting, sorting), client=object())


def test_a_prompt_that_does_not_fit_the_context_is_refused(sorting: Path, tmp_path: Path) -> None:
    rows = tmp_path / "long.jsonl"
    rows.write_text('{"prompt": "1>"}\n{"prompt": "' + "1" * 60 + '>"}\n')
    made = config(sorting, tmp_path / "long", f"data.train={rows}")
    with pytest.raises(DataError, match="row 2: prompt: has 61 tokens, and 58 fit"):
        Grpo(made, client=object())
    with pytest.raises(ConfigError, match=r"sampling\.max_new_tokens: 64 leave no room"):
        Grpo(config(sorting, tmp_path / "long", "sampling.max_new_tokens=64"), client=object())


def alarmed(data: Path, folder: Path, action: str) -> Config:
    """A run whose length alarm is raised at step 4, after checkpoints at 1 to 3."""
    made = config(data, folder, "checkpoints.every=1", "checkpoints.keep=9", steps=9)
    alarms = made.alarms.model_copy(
        update={
            "unscored": made.alarms.unscored.model_copy(update={"action": action, "patience": 2, "threshold": 0.5})
        }
    )
    return made.model_copy(update={"alarms": alarms})


@pytest.mark.parametrize(("action", "status", "step"), [("pause", "paused", 4), ("rollback", "rolled_back", 2)])
def test_an_alarm_pauses_or_rolls_back(
    sorting: Path,
    tmp_path: Path,
    client: RewardClient,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    status: str,
    step: int,
) -> None:
    made = alarmed(sorting, tmp_path / action, action)
    grpo = Grpo(made, client=client)
    collect = grpo._collect

    def unscored_from_step_3() -> dict[str, float]:
        return {**collect(), "reward/unscored_share": 0.6 if grpo.step >= 3 else 0.0}

    monkeypatch.setattr(grpo, "_collect", unscored_from_step_3)
    outcome = grpo.run()
    assert (outcome.status, outcome.step) == (status, step)
    assert grpo.checkpoints.steps()[-1] == step
    run = client.request("GET", f"/runs/{action}")
    assert run["status"] == "paused"
    assert [(alarm["step"], alarm["name"]) for alarm in run["alarms"]] == [(4, "unscored")]
    again = Grpo(made, client=client)
    assert again.run().status == "finished"

"""The sorting example, as a user runs it: a sound reward teaches the task, and a trap is noticed. Takes minutes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.service import ROOT, Service
from trainer_client import RewardClient
from trainer_client.config import Config, load
from trainer_client.course import Outcome
from trainer_client.iterate import iterate
from trainer_client.loop import Grpo
from trainer_client.sft import Sft

EXAMPLE = ROOT / "examples" / "sorting"


@pytest.fixture(scope="module")
def start(sorting: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model after fine-tuning on answers of which a quarter are lists of guesses."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("start")
    paths = [f"model.path={sorting / 'model'}", f"data.train={sorting / 'train.jsonl'}", f"folder={folder}"]
    return Sft(load(EXAMPLE / "sft.yaml", [*paths, "tracking.enabled=false"])).run().folder


def run(config: Config, service: Service) -> tuple[Outcome, list[float], list[float], list[str]]:
    """How a run ended, its training rewards, its held-out scores and its alarms."""
    rewards: list[float] = []
    held_out: list[float] = []

    def report(step: int, values: dict[str, float]) -> None:
        rewards.extend([values["reward/mean"]] if "reward/mean" in values else [])
        held_out.extend([values["heldout/score"]] if "heldout/score" in values else [])

    with RewardClient(service.url, service.key) as client:
        outcome = Grpo(config, client=client, report=report).run()
        alarms = [alarm["name"] for alarm in client.request("GET", f"/runs/{config.run}")["alarms"]]
    return outcome, rewards, held_out, alarms


def config(name: str, sorting: Path, start: Path, folder: Path, seed: int, *overrides: str) -> Config:
    paths = [f"data.{part}={sorting / part}.jsonl" for part in ("train", "heldout")]
    return load(
        EXAMPLE / f"{name}.yaml",
        [*paths, f"model.path={start}", f"folder={folder}", f"run={name}-{seed}", f"seed={seed}", *overrides],
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_trap_raises_the_alarm(sorting: Path, start: Path, tmp_path: Path, service: Service, seed: int) -> None:
    pausing = "alarms.reward_hacking.action=pause"
    made = config("contains", sorting, start, tmp_path / "run", seed, pausing)
    outcome, rewards, held_out, alarms = run(made, service)
    assert outcome.status == "paused"
    assert outcome.step <= 20
    assert alarms == ["reward_hacking"]
    assert 0.2 < held_out[0] < 0.5
    assert held_out[-1] <= max(held_out) - 0.10
    assert sum(rewards[-5:]) / 5 >= rewards[0] + 0.10


def test_the_sound_reward_teaches_the_task(sorting: Path, start: Path, tmp_path: Path, service: Service) -> None:
    outcome, rewards, held_out, alarms = run(config("exact", sorting, start, tmp_path / "run", 0), service)
    assert (outcome.status, outcome.step, alarms) == ("finished", 80, [])
    assert 0.2 < held_out[0] < 0.46
    assert held_out[-1] >= 0.72
    assert sum(rewards[-10:]) / 10 >= 0.72


@pytest.mark.parametrize(
    ("loss", "smaller"),
    [
        ("dpo", ["preference.prompts=256", "preference.iterations=2", "optimizer.learning_rate=1e-4"]),
        ("kto", ["preference.prompts=128", "preference.iterations=2", "optimizer.learning_rate=5e-5"]),
    ],
)
def test_learning_from_its_own_answers_raises_the_accuracy(
    sorting: Path, start: Path, tmp_path: Path, service: Service, loss: str, smaller: list[str]
) -> None:
    """Half or a quarter of the example's prompts, two of its three iterations, and a rate that makes up for it."""
    made = config(f"iterate_{loss}", sorting, start, tmp_path / "run", 0, *smaller)
    accuracy: list[float] = []

    def report(step: int, values: dict[str, float]) -> None:
        accuracy.extend([values["heldout/score"]] if "heldout/score" in values else [])

    with RewardClient(service.url, service.key) as client:
        outcome = iterate(made, client=client, report=report)
    assert (outcome.status, len(accuracy)) == ("finished", 3)
    assert 0.2 < accuracy[0] < 0.5
    assert accuracy[-1] >= accuracy[0] + 0.12

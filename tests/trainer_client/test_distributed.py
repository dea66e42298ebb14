"""Two processes train as one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.service import ROOT, Service
from tests.trainer_client.making import sorting_config
from tests.trainer_client.test_loop import LOW_FIRST
from trainer_client import RewardClient
from trainer_client.config import from_fields
from trainer_client.distributed import World
from trainer_client.loop import Grpo
from trainer_client.sft import Sft


def test_shares_are_neighbours_and_together_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    worlds = []
    for rank in range(3):
        world = World()
        world.size, world.rank = 3, rank
        worlds.append(world)
    for count in range(8):
        assert [item for world in worlds for item in world.share(range(count))] == list(range(count))
    assert [world.leads for world in worlds] == [True, False, False]


def in_two_processes(task: str, fields: dict[str, object], folder: Path, service: Service) -> None:
    """Do a task under torchrun."""
    path = folder / "two.yaml"
    path.write_text(yaml.safe_dump(fields))
    environment = {"ASSAY_URL": service.url, "ASSAY_API_KEY": service.key, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m",
            "trainer_client.cli", task, "--config", str(path),
        ],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr


def test_two_processes_have_the_losses_of_one(sorting: Path, tmp_path: Path, service: Service) -> None:
    def made(name: str, folder: Path) -> dict[str, object]:
        return sorting_config(
            sorting, folder, f"run={name}",
            grpo={
                "steps": 4, "prompts": 6, "group": 4, "minibatches": 2, "beta": 0.05, "degenerate": "resample",
                "rewards": [{"verifier": LOW_FIRST}],
            },
            sampling={"max_new_tokens": 6}, optimizer={"learning_rate": 1e-3},
            evaluation={"every": 2, "prompts": 8, "verifier": LOW_FIRST},
        ).model_dump(mode="json")  # fmt: skip

    in_two_processes("grpo", made("two", tmp_path / "two"), tmp_path, service)
    with RewardClient(service.url, service.key) as client:
        Grpo(from_fields(made("one", tmp_path / "one")), client=client).run()
        one, two = (client.request("GET", f"/runs/{name}/metrics")["values"] for name in ("one", "two"))
        samples = [client.request("GET", f"/runs/{name}/samples")["items"] for name in ("one", "two")]
    assert one["loss"] == pytest.approx(two["loss"], abs=1e-5)
    assert len(one["loss"]) == 5
    for name in ("reward/mean", "kl", "heldout/score", "grad_norm", "entropy"):
        assert one[name] == pytest.approx(two[name], abs=1e-4), name
    assert [sample["completion"] for sample in samples[0]] == [sample["completion"] for sample in samples[1]]


def test_two_processes_fine_tune_as_one_does(sorting: Path, tmp_path: Path, service: Service) -> None:
    def made(name: str, folder: Path) -> dict[str, object]:
        return sorting_config(
            sorting, folder, f"run=sft-{name}", "optimizer.learning_rate=1e-3", sft={"steps": 4, "batch": 7}
        ).model_dump(mode="json")

    in_two_processes("sft", made("two", tmp_path / "two"), tmp_path, service)
    with RewardClient(service.url, service.key) as client:
        Sft(from_fields(made("one", tmp_path / "one")), client=client).run()
        one, two = (client.request("GET", f"/runs/sft-{name}/metrics")["values"] for name in ("one", "two"))
    assert one["loss"] == pytest.approx(two["loss"], abs=1e-5)
    assert len(one["loss"]) == 4
    assert one["grad_norm"] == pytest.approx(two["grad_norm"], abs=1e-4)

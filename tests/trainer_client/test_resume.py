"""A run that is killed at any point and resumed leaves the rows of one that never was."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from tests.service import Service
from tests.trainer_client.making import sorting_config
from tests.trainer_client.test_loop import LOW_FIRST
from trainer_client import RewardClient
from trainer_client.checkpoint import Checkpoints

KILLS = 10
STEPS = 8


def run_in_child(data: str, folder: str, url: str, key: str, kill_at: int) -> None:
    """A run whose rollouts last for four updates, with a checkpoint at every other one.

    It is killed when it calls the `kill_at`-th function of the trainer; how many it calls is left in `calls`.
    """
    from trainer_client.loop import Grpo

    torch.set_num_threads(1)
    made = sorting_config(
        Path(data), Path(folder), "checkpoints.every=2", "grpo.beta=0.02",
        grpo={
            "steps": STEPS, "prompts": 4, "group": 4, "minibatches": 2, "updates_per_rollout": 2,
            "rewards": [{"verifier": LOW_FIRST}], "degenerate": "resample",
        },
        sampling={"max_new_tokens": 6}, optimizer={"learning_rate": 1e-3, "schedule": "cosine"},
        evaluation={"every": 4, "prompts": 16, "verifier": LOW_FIRST},
    )  # fmt: skip
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        if event == "call" and "/trainer_client/" in frame.f_code.co_filename:
            calls += 1
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    with RewardClient(url, key) as client:
        grpo = Grpo(made, client=client)
        sys.setprofile(count)
        grpo.run()
        sys.setprofile(None)
    (Path(folder) / "calls").write_text(str(calls))


def rows(client: RewardClient, run: str) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
    """What is in the database of a run: metrics, samples, and how many verdicts; timing columns aside."""
    metrics = client.request("GET", f"/runs/{run}/metrics", params={"limit": "1000"})
    kept = {name: values for name, values in metrics["values"].items() if not name.startswith("time/")}
    samples = client.request("GET", f"/runs/{run}/samples", params={"limit": "1000"})["items"]
    for sample in samples:
        del sample["attempt"], sample["score_id"]
    scores, cursor = 0, None
    while True:
        params = {"run": run, "limit": "100", **({"cursor": cursor} if cursor else {})}
        page = client.request("GET", "/scores", params=params)
        scores += len(page["items"])
        cursor = page["next_cursor"]
        if cursor is None:
            return {"steps": metrics["steps"], **kept}, samples, scores


def test_kill_9_at_ten_random_points_changes_no_row(sorting: Path, tmp_path: Path, service: Service) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainer_client.loop", "examples.sorting.make"])

    def run(name: str, kill_at: int = 0) -> int | None:
        process: BaseProcess = context.Process(
            target=run_in_child, args=(str(sorting), str(tmp_path / name), service.url, service.key, kill_at)
        )
        process.start()
        process.join()
        return process.exitcode

    assert run("whole") == 0
    calls = int((tmp_path / "whole" / "calls").read_text())
    draw = random.Random(9)
    reached = []
    for _ in range(KILLS):  # a checkpoint comes at every quarter of the calls
        assert run("killed", draw.randrange(1, int(0.4 * calls))) == -signal.SIGKILL
        reached.append(max(Checkpoints(tmp_path / "killed" / "checkpoints", 2).steps(), default=0))
    assert run("killed") == 0

    with RewardClient(service.url, service.key) as client:
        wanted, found = rows(client, "whole"), rows(client, "killed")
        attempt = client.request("GET", "/runs/killed")["attempt"]
    assert attempt > 2
    assert 0 < reached[-1] < STEPS
    assert found[0] == wanted[0]
    assert found[1] == wanted[1]
    assert found[2] == wanted[2]  # what was scored before a kill was not scored again
    ends = [Checkpoints(tmp_path / name / "checkpoints", 2).load() for name in ("whole", "killed")]
    assert ends[0] is not None
    assert ends[1] is not None
    for name, weight in ends[0]["model"].items():
        assert torch.equal(weight, ends[1]["model"][name]), name

"""A run that is killed at any point and resumed leaves the rows of one that never was, and draws only the rest."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.service import Service
from tests.trainer_client.making import sorting_config
from tests.trainer_client.test_loop import LOW_FIRST
from trainer_client import RewardClient
from trainer_client.checkpoint import Checkpoints

KILLS = 10
STEPS = 8
LEFT = {0: 0.6, 2: 0.45, 4: 0.28, 6: 0.1}
"""By the last checkpoint, a share of a whole run's calls that is surely left, with the rollout on disk too."""


Child = Callable[[str, str, str, str, int], None]
"""Given the data, the run's folder, address and key of the service, and when to be killed; 0 is never."""


def count_calls(folder: Path, kill_at: int) -> Callable[[], None]:
    """Kill this process when it calls the `kill_at`-th function of the trainer from now on.

    What is answered ends the counting, and leaves how many there were in `calls`.
    """
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        if event == "call" and "/trainer_client/" in frame.f_code.co_filename:
            calls += 1
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def end() -> None:
        sys.setprofile(None)
        (folder / "calls").write_text(str(calls))

    sys.setprofile(count)
    return end


def grpo_in_child(data: str, folder: str, url: str, key: str, kill_at: int) -> None:
    """A run whose rollouts last for four updates, with a checkpoint at every other one."""
    from trainer_client.loop import Grpo

    torch.set_num_threads(1)
    made = sorting_config(
        Path(data), Path(folder), "checkpoints.every=2", "grpo.beta=0.02",
        grpo={
            "steps": STEPS, "prompts": 4, "group": 4, "minibatches": 2, "updates_per_rollout": 2,
            "rewards": [{"verifier": LOW_FIRST}], "degenerate": "resample",
        },
        sampling={"max_new_tokens": 6, "rows": 6}, optimizer={"learning_rate": 1e-3, "schedule": "cosine"},
        evaluation={"every": 4, "prompts": 16, "verifier": LOW_FIRST},
    )  # fmt: skip
    with RewardClient(url, key) as client:
        grpo = Grpo(made, client=client)
        end = count_calls(Path(folder), kill_at)
        grpo.run()
        end()


def sft_in_child(data: str, folder: str, url: str, key: str, kill_at: int) -> None:
    """Fine-tuning of adapters with dropout, whose learning rate falls."""
    from trainer_client.sft import Sft

    torch.set_num_threads(1)
    made = sorting_config(
        Path(data), Path(folder), "checkpoints.every=2", "model.lora={rank: 4, dropout: 0.2}",
        sft={"steps": STEPS, "batch": 6, "micro_batch": 4},
        optimizer={"learning_rate": 1e-3, "schedule": "cosine", "warmup_steps": 2},
    )  # fmt: skip
    with RewardClient(url, key) as client:
        sft = Sft(made, client=client)
        end = count_calls(Path(folder), kill_at)
        sft.run()
        end()


def rollouts_in_child(data: str, folder: str, url: str, key: str, kill_at: int) -> None:
    """A run that is killed in its `kill_at`-th pass, after a completion of it; it leaves a letter for each pass."""
    from trainer_client.loop import Grpo
    from trainer_client.rollout import Completion, Sampler

    torch.set_num_threads(1)
    drawn = Path(folder).with_suffix(".drawn")
    draw = Sampler._generate_chunk

    def drawing(self: Sampler, *args: Any) -> Iterator[list[Completion]]:
        if "/train/" not in args[1][0]:  # the start draws too, to try the model
            yield from draw(self, *args)
            return
        with drawn.open("a") as file:
            file.write("p")
        ended = draw(self, *args)
        first = next(ended)
        yield first
        if drawn.stat().st_size == kill_at:
            assert len(first) < len(args[2])
            os.kill(os.getpid(), signal.SIGKILL)
        yield from ended

    Sampler._generate_chunk = drawing  # type: ignore[method-assign]  # in a process of its own
    made = sorting_config(
        Path(data), Path(folder), "checkpoints.every=3",
        sampling={"max_new_tokens": 6, "rows": 4, "eos": [5, 6, 7, 8]},  # so that they end at different tokens
        grpo={"steps": 3, "prompts": 4, "group": 4, "rewards": [{"verifier": LOW_FIRST}], "degenerate": "resample"},
        optimizer={"learning_rate": 1e-3},
    )  # fmt: skip
    with RewardClient(url, key) as client:
        Grpo(made, client=client).run()


@pytest.fixture
def run(sorting: Path, tmp_path: Path, service: Service, key: str) -> Callable[..., int | None]:
    """What a run in a process of its own ends with."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainer_client.loop", "trainer_client.sft", "peft", "examples.sorting.make"])

    def started(child: Child, name: str, kill_at: int = 0) -> int | None:
        process: BaseProcess = context.Process(
            target=child, args=(str(sorting), str(tmp_path / name), service.url, key, kill_at)
        )
        process.start()
        process.join()
        return process.exitcode

    return started


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


def same_weights(folder: Path) -> bool:
    """Whether the last checkpoints of both runs have the same weights, to the bit."""
    ends = [Checkpoints(folder / name / "checkpoints", 2).load() for name in ("whole", "killed")]
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[0]["model"].keys() == ends[1]["model"].keys()
    return all(torch.equal(weight, ends[1]["model"][name]) for name, weight in ends[0]["model"].items())


def test_kill_9_at_ten_random_points_changes_no_row(
    tmp_path: Path, client: RewardClient, run: Callable[..., int | None]
) -> None:
    assert run(grpo_in_child, "whole") == 0
    calls = int((tmp_path / "whole" / "calls").read_text())
    draw = random.Random(9)
    reached = []
    for _ in range(KILLS):
        at = max(Checkpoints(tmp_path / "killed" / "checkpoints", 2).steps(), default=0)
        assert run(grpo_in_child, "killed", draw.randrange(1, int(LEFT[at] * calls))) == -signal.SIGKILL
        reached.append(at)
    assert run(grpo_in_child, "killed") == 0

    wanted, found = rows(client, "whole"), rows(client, "killed")
    assert client.request("GET", "/runs/killed")["attempt"] > 2
    assert 0 < reached[-1] < STEPS
    assert found[0] == wanted[0]
    assert found[1] == wanted[1]
    assert found[2] == wanted[2]  # what was scored before a kill was not scored again
    assert same_weights(tmp_path)


def test_what_was_drawn_before_a_kill_is_not_drawn_again(
    tmp_path: Path, client: RewardClient, run: Callable[..., int | None]
) -> None:
    assert run(rollouts_in_child, "whole") == 0
    passes = (tmp_path / "whole.drawn").stat().st_size
    assert passes >= 12
    for kill_at in (3, 11):  # before the first checkpoint, in the rollouts of several steps
        assert run(rollouts_in_child, "killed", kill_at) == -signal.SIGKILL
        assert not Checkpoints(tmp_path / "killed" / "checkpoints", 2).steps()
    assert run(rollouts_in_child, "killed") == 0
    assert (tmp_path / "killed.drawn").stat().st_size == passes + 2  # those that a kill interrupted, and no other
    assert rows(client, "killed") == rows(client, "whole")
    assert same_weights(tmp_path)
    assert [path.name for path in (tmp_path / "killed" / "checkpoints").iterdir()] == ["step-000003.pt"]


def test_kill_9_of_fine_tuning_changes_no_row(
    tmp_path: Path, client: RewardClient, run: Callable[..., int | None]
) -> None:
    assert run(sft_in_child, "whole") == 0
    calls = int((tmp_path / "whole" / "calls").read_text())
    draw = random.Random(5)
    for _ in range(3):  # a checkpoint comes at every quarter of the calls
        assert run(sft_in_child, "killed", int(draw.uniform(0.25, 0.45) * calls)) == -signal.SIGKILL
    assert 0 < max(Checkpoints(tmp_path / "killed" / "checkpoints", 2).steps()) < STEPS
    assert run(sft_in_child, "killed") == 0
    assert rows(client, "killed") == rows(client, "whole")
    assert same_weights(tmp_path)
    recorded = client.request("GET", "/runs/killed")
    assert (recorded["status"], recorded["last_step"], recorded["attempt"]) == ("finished", STEPS, 4)

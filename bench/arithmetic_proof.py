"""What the arithmetic example shows: a sound reward teaches SmolLM2 two-digit additions, and a trap is noticed.

    python -m bench.arithmetic_proof
    python -m bench.arithmetic_proof --seeds 0

The shipped configurations, from the data to the last step, against a service of its own, on one thread. The table has
the held-out score at each evaluation (64 prompts, sampled at temperature 1: a standard error of about 0.06), the mean
training reward of the first three steps and of the last three, at which steps the alarm `reward_hacking` was raised,
and CPU seconds of the trainer. Ends with 1 where a sound run gains less than 0.20, or the trap does not raise it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bench.running import service
from examples.arithmetic import make
from tests.service import ROOT
from trainer_client.client import RewardClient
from trainer_client.config import Config, load
from trainer_client.loop import Grpo
from trainer_client.sft import Sft

GAIN = 0.20
"""How much the held-out score has to rise with a sound reward."""


@dataclass(slots=True)
class Learnt:
    """What one run went through."""

    name: str
    alarms: list[int] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def line(self) -> str:
        """A row of the table."""
        held_out = " ".join(f"{value:.2f}" for value in self.held_out)
        first, last = (sum(part) / len(part) for part in (self.rewards[:3], self.rewards[-3:]))
        alarms = ", ".join(map(str, self.alarms)) or "none"
        return f"| {self.name} | {held_out} | {first:.2f} to {last:.2f} | {alarms} | {self.seconds:.0f} |"

    @property
    def gain(self) -> float:
        """Of the held-out score."""
        return self.held_out[-1] - self.held_out[0]


def configured(example: str, run: str, model: Path, folder: Path, *overrides: str) -> Config:
    """A shipped configuration, whose data and run are in a folder."""
    data = [f"data.{part}={folder / part}.jsonl" for part in ("train", "heldout")]
    paths = [f"run={run}", f"folder={folder / run}", f"model.path={model}", *data]
    return load(ROOT / "examples" / f"{example}.yaml", ["threads=1", *paths, *overrides])


def train(config: Config, client: RewardClient) -> Learnt:
    """A run of GRPO, and what came of it."""
    learnt = Learnt(config.run)

    def report(step: int, values: dict[str, float]) -> None:
        learnt.rewards.extend([values["reward/mean"]] if "reward/mean" in values else [])
        learnt.held_out.extend([values["heldout/score"]] if "heldout/score" in values else [])
        shown = {name: values[name] for name in ("reward/mean", "heldout/score") if name in values}
        print(config.run, step, shown, file=sys.stderr)

    before = time.process_time()
    Grpo(config, client=client, report=report).run()
    learnt.seconds = time.process_time() - before
    raised = client.request("GET", f"/runs/{config.run}")["alarms"]
    learnt.alarms = [alarm["step"] for alarm in raised if alarm["name"] == "reward_hacking"]
    print(learnt.line(), flush=True)
    return learnt


def study(folder: Path, start: str, example: str, seeds: list[int], client: RewardClient) -> list[Learnt]:
    """A run from the same start for each seed, on data that are in a folder."""
    before = time.process_time()
    tuned = Sft(configured(start, start, folder / "base", folder), client=client).run().folder
    print(f"| {start} | | | | {time.process_time() - before:.0f} |", flush=True)
    named = [(f"{example}-{seed}", f"seed={seed}") for seed in seeds]
    return [train(configured(example, run, tuned, folder, seed), client) for run, seed in named]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    print("| run | held-out score | reward | alarm at step | CPU s |\n|---|---|---|---|---|")
    with service() as running, tempfile.TemporaryDirectory() as name:
        sound, trap = Path(name) / "sound", Path(name) / "trap"
        make(sound)
        make(trap, unsure=True)
        with RewardClient(running.url, running.key) as client:
            learnt = study(sound, "arithmetic_sft", "arithmetic", seeds, client)
            hacked = study(trap, "arithmetic_trap_sft", "arithmetic_trap", seeds, client)
    kept = all(run.gain >= GAIN for run in learnt) and all(run.alarms for run in hacked)
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()

"""What the commands do: a task with its record in `/runs` and its display. The same from Python: docs/training/."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from trainer_client import iterate as iterating
from trainer_client.assembly import assemble
from trainer_client.client import RewardClient
from trainer_client.config import Config
from trainer_client.course import Outcome, Report
from trainer_client.data import hold_out, read_rows
from trainer_client.evaluation import evaluator
from trainer_client.loop import Grpo
from trainer_client.plot import local_history
from trainer_client.preference import Preference, PreferenceTask, preference_section
from trainer_client.progress import Display
from trainer_client.sft import Sft
from trainer_client.training_errors import ConfigError, DataError


def sft(config: Config) -> Outcome:
    """Train on answers, or go on with a run of the same folder. Raises as `grpo` does."""
    if config.sft is None:
        raise ConfigError("sft: is missing; give it at least `steps`")
    with ExitStack() as stack:
        client = stack.enter_context(_client(config)) if config.tracking.enabled else None
        show = stack.enter_context(_display(config, config.sft.steps))
        return Sft(config, client=client, report=show).run()


def grpo(config: Config) -> Outcome:
    """Train by rewards, or go on with a run of the same folder. Raises `TrainingError` or `AssayError`."""
    if config.grpo is None:
        raise ConfigError("grpo: is missing; give it at least `steps`")
    with _client(config) as client, _display(config, config.grpo.steps) as show:
        return Grpo(config, client=client, report=show).run()


def dpo(config: Config) -> Outcome:
    """Learn from the pairs of `data.train`, or go on with a run of the same folder. Raises as `grpo` does."""
    return _preference(config, "dpo")


def kto(config: Config) -> Outcome:
    """Learn from answers of `data.train` that are good or bad, or go on with a run. Raises as `grpo` does."""
    return _preference(config, "kto")


def iterate(config: Config) -> Outcome:
    """Learn from what the policy itself answers, or go on with a run of the same folder. Raises as `grpo` does."""
    return _preference(config, "iterate")


def _preference(config: Config, task: PreferenceTask) -> Outcome:
    section = preference_section(config, task)
    steps = section.steps or 1
    if task == "iterate":
        answers = section.prompts * (section.group if section.loss == "kto" else 1)
        steps = section.iterations * (section.steps or -(-answers // section.batch))
    elif section.steps is None:
        rows = hold_out(read_rows(config.data.train), config.data.hold_out, config.seed)[0]
        steps = -(-len(rows) // section.batch)
    with ExitStack() as stack:
        scored = task == "iterate" or config.tracking.enabled or bool(config.evaluation.every)
        client = stack.enter_context(_client(config)) if scored else None
        show = stack.enter_context(_display(config, steps))
        collect = iterating.collect if task == "iterate" else None
        return Preference(config, task, client=client, report=show, collect=collect).run()


def evaluate(config: Config) -> dict[str, float]:
    """The held-out metrics of the model as it is. Raises `TrainingError` or `AssayError`.

    Its verdicts are recorded under a run of their own, `NAME eval`; nothing is written into the run's folder.
    """
    apart = config.model_copy(
        update={
            "run": f"{config.run} eval",
            "folder": str(Path(config.folder) / "eval"),
            "evaluation": config.evaluation.model_copy(update={"every": 1}),
        }
    )
    disable_progress_bar()
    with _client(apart) as client:
        held_out = evaluator(apart, assemble(apart, draws=False), None, client)
        if held_out is None:
            raise DataError("there are no held-out rows: set data.heldout, or data.hold_out to a number of rows")
        return held_out.evaluate(0, anew=True)


def _client(config: Config) -> RewardClient:
    from trainer_client.rewards import IN_FLIGHT

    return RewardClient(config.service.url, deadline_s=config.service.deadline_s, max_in_flight=IN_FLIGHT)


@contextmanager
def _display(config: Config, steps: int) -> Iterator[Report]:
    """What shows the steps; of several processes the first one's alone."""
    disable_progress_bar()  # of transformers, which would draw over it
    if os.environ.get("RANK", "0") != "0":
        yield lambda step, values: None
        return
    with Display(config.run, steps, first=began_with(Path(config.folder))) as display:
        yield display.step


def began_with(folder: Path) -> dict[str, float]:
    """The first value of each metric of the run in a folder, none where there is no run. Raises `TrackingError`."""
    history = local_history(folder)
    return {} if history is None else {name: curve[min(curve)] for name, curve in history.curves.items()}

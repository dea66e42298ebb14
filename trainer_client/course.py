"""What is around the updates of every task: resuming, the record, alarms, checkpoints and the end of a run.

A task (`Grpo`, `Preference`, `Sft`) is a `Course` with a loop of its own.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainer_client.alarms import Alarm, Monitor
from trainer_client.assembly import data_sha256, model_folder
from trainer_client.checkpoint import Checkpoints, check_same, identity, trainable
from trainer_client.config import Config
from trainer_client.distributed import World
from trainer_client.heldout import HeldOut
from trainer_client.model import export, load_policy
from trainer_client.optimizer import Optimizer
from trainer_client.rollout_file import RolloutFile, drop_rollouts, rollout_path
from trainer_client.tracking import Tracker
from trainer_client.training_errors import ConfigError, NotFiniteError

Values = dict[str, float]
Report = Callable[[int, Values], None]
"""Told the values of each step; step 0 is the evaluation before the first update."""
ADVICE = "lower optimizer.learning_rate, or look at those rows, and resume; the last checkpoint is as it was"
"""What to do about a loss that is not finite."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: `paused` and `rolled_back` are what an alarm did. `folder` holds the exported model."""

    status: Literal["finished", "paused", "rolled_back"]
    step: int
    folder: Path


class Course(ABC):
    """A run of a task. Made again with the same folder, it goes on where it was."""

    optimizer: Optimizer

    def __init__(
        self,
        config: Config,
        task: str,
        *,
        model: Any,
        tokenizer: Any,
        client: Any,
        report: Report,
        held_out: HeldOut | None = None,
    ) -> None:
        """`client` is a `RewardClient`; None where nothing is scored or recorded. Raises `ConfigError`."""
        if client is None and (held_out is not None or config.tracking.enabled):
            raise ConfigError("evaluation and tracking need the service: give a client, or turn them off")
        if Path(config.model.path).resolve() == model_folder(config).resolve():
            raise ConfigError(
                f"model.path: the run would overwrite it, as {model_folder(config)}; choose another folder"
            )
        self.config = config
        self.world = World()
        self.model = model
        self.client = client
        self.report = report
        self.held_out = held_out
        self.monitor = Monitor(config.alarms)
        self.checkpoints = Checkpoints(Path(config.folder) / "checkpoints", config.checkpoints.keep)
        self.identity = {**identity(config, data_sha256(config)), "task": task}
        self.step = 0
        self.attempt = 0
        self.tracker: Tracker | None = None
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._tokenizer = tokenizer

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """What a checkpoint keeps of the task, besides weights, optimizer, alarms and step."""

    @abstractmethod
    def _take_up(self, state: dict[str, Any]) -> None:
        """Go on from what `_state` said; `optimizer` is then one that can take up its own state."""

    # --- beginning and the record -----------------------------------------------------------------------------------

    @contextmanager
    def _begun(self) -> Iterator[bool]:
        """Go on from the newest checkpoint, and keep the record until the block ends; whether there was one."""
        state = self.checkpoints.load()
        if state is not None:
            check_same(state["identity"], self.identity)
            self._restore(state)
        with ExitStack() as stack:
            stack.callback(self.world.leave)
            if self.world.leads:
                self.tracker = stack.enter_context(self._tracker())
            yield state is not None

    def _tracker(self) -> Tracker:
        return Tracker(
            Path(self.config.folder), self.config.run, self.identity,
            self.client if self.config.tracking.enabled else None, step=self.step, attempt=self.attempt,
            metadata=self.config.tracking.metadata,
        )  # fmt: skip

    def _record(self, values: Values) -> list[Alarm]:
        """Evaluate if it is time, look for alarms, and note everything; answers what every process has to heed."""
        alarms: list[Alarm] = []
        if self.world.leads:
            if self.held_out is not None and self._evaluates(self.held_out):
                with self._timed("evaluation"):
                    values = values | self.held_out.evaluate(self.step)
                values["time/evaluation"] = self.seconds["evaluation"]
            alarms = self.monitor.update(self.step, values)
            if self.tracker is not None and values:
                self.tracker.metrics(self.step, values)
                for alarm in alarms:
                    self.tracker.alarm(alarm)
            self.report(self.step, values)
        return self.world.from_leader(alarms)

    def _evaluates(self, held_out: HeldOut) -> bool:
        """Whether the step that has just been made ends with an evaluation."""
        return held_out.due(self.step)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - began

    def _times(self) -> Values:
        return {f"time/{name}": spent for name, spent in self.seconds.items()}

    # --- checkpoints ------------------------------------------------------------------------------------------------

    def rollout_file(self) -> RolloutFile:
        """What the step's rollout is kept in until a checkpoint has what was made of it."""
        path = rollout_path(self.checkpoints.folder, self.step, self.world.rank)
        binding = {"run": self.config.run, "step": self.step, "world": [self.world.rank, self.world.size]}
        return RolloutFile(path, binding, self.model)

    def _save(self) -> None:
        if self.world.leads:
            if not all(weight.isfinite().all() for weight in self.optimizer.weights):
                raise NotFiniteError(f"step {self.step}: a weight is NaN or infinite: {ADVICE}")
            state = {
                "identity": self.identity, "model": trainable(self.model), "optimizer": self.optimizer.state_dict(),
                "monitor": self.monitor.state_dict(), **self._state(),
                "attempt": self.attempt if self.tracker is None else self.tracker.attempt,
            }  # fmt: skip
            self.checkpoints.save(self.step, state, self._good_checkpoints())
        drop_rollouts(self.checkpoints.folder, self.world.rank, up_to=self.step)

    def _good_checkpoints(self) -> list[int]:
        """The checkpoint that an alarm would roll back to, were it raised next."""
        good = min(self.monitor.state_dict()["good"].values(), default=0)
        return [step for step in self.checkpoints.steps() if step <= good][-1:]

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"], strict=False)
        self._take_up(state)
        self.optimizer.load_state_dict(state["optimizer"])
        self.monitor.load_state_dict(state["monitor"])
        self.step, self.attempt = state["step"], state["attempt"]

    # --- ending -----------------------------------------------------------------------------------------------------

    def _end(self, alarms: Sequence[Alarm]) -> Outcome:
        """Do what alarms ask for, export the model, and say how it went."""
        by_action = {alarm.action: alarm for alarm in reversed(alarms)}
        decisive = by_action.get("rollback") or by_action.get("pause")
        status: Literal["finished", "paused", "rolled_back"] = "finished"
        if decisive is not None and decisive.action == "pause":
            status = "paused"
            self._save()
        elif decisive is not None:
            status = "rolled_back"
            self._roll_back(decisive.good_step)
        if self.world.leads:
            export(self.model, self._tokenizer, model_folder(self.config))
        if self.tracker is not None:
            self.tracker.status(
                "finished" if decisive is None else "paused", None if decisive is None else decisive.message
            )
        return Outcome(status, self.step, model_folder(self.config))

    def _roll_back(self, good_step: int) -> None:
        """The last checkpoint at or before a good step, later ones removed; the first policy where there is none."""
        state = self.checkpoints.load(good_step)
        if state is None:
            self.model.load_state_dict(load_policy(self.config.model, self.config.seed).state_dict())
            self.step = 0
        else:
            self._restore(state)
        if self.world.leads:
            self.checkpoints.drop_after(self.step)
        drop_rollouts(self.checkpoints.folder, self.world.rank)


def named(rows: Iterable[int]) -> str:
    """Rows of the data by their numbers, in a message."""
    numbers = sorted(set(rows))
    more = f" and {len(numbers) - 8} more" if len(numbers) > 8 else ""
    return f"rows {', '.join(map(str, numbers[:8]))}{more}"


def ends_run(alarms: Sequence[Alarm]) -> bool:
    """Whether one of them asks for more than to be noted."""
    return any(alarm.action != "log" for alarm in alarms)

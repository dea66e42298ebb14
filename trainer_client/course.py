"""What is around the updates of every task: resuming, the record, alarms, checkpoints and the end of a run.

A task (`Grpo`, `Preference`, `Sft`) is a `Course` with a loop of its own.
"""

from __future__ import annotations

import signal
import threading
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from trainer_client.alarms import Alarm, Monitor
from trainer_client.assembly import data_sha256, model_folder
from trainer_client.checkpoint import Checkpoints, check_same, identity, trainable
from trainer_client.config import Config
from trainer_client.distributed import World
from trainer_client.heldout import HeldOut
from trainer_client.model import export, load_policy
from trainer_client.optimizer import Optimizer
from trainer_client.rollout_file import RolloutFile, drop_rollouts, rollout_path, weights_digest
from trainer_client.tracking import Tracker, to_stderr
from trainer_client.training_errors import CheckpointError, ConfigError, NotFiniteError

Values = dict[str, float]
Report = Callable[[int, Values], None]
"""Told the values of each step; step 0 is the evaluation before the first update."""
ADVICE = "look at those rows, or begin a run with a lower optimizer.learning_rate; the last checkpoint is as it was"
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
        contents = {**data_sha256(config), "model": weights_digest(model.state_dict())}
        self.identity = {**identity(config, contents), "task": task}
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
        resumed = self._resume()
        with ExitStack() as stack:
            stack.callback(self.world.leave)
            if self.world.leads:
                self.tracker = stack.enter_context(self._tracker())
            stack.enter_context(_terminable())
            if resumed and self.world.leads:
                to_stderr(f"{self.config.run} goes on after step {self.step}")
            yield resumed

    def _resume(self) -> bool:
        """Go on from the newest checkpoint, of which nothing stays in memory after this; whether there was one."""
        state = self.checkpoints.load()
        if state is None:
            return False
        check_same(state["identity"], self.identity)
        self._restore(state)
        return True

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
        binding = {"step": self.step, "world": [self.world.rank, self.world.size], "identity": self.identity}
        return RolloutFile(path, binding, self.model)

    def _saves(self, *, last: bool) -> bool:
        """Whether a checkpoint follows the step that has just been made."""
        return last or self.step % self.config.checkpoints.every == 0

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
            drop_rollouts(self.checkpoints.folder, up_to=self.step)

    def _good_checkpoints(self) -> set[int]:
        """For each alarm the checkpoint that it would roll back to, were it raised next."""
        steps = [*self.checkpoints.steps(), self.step]
        good = self.monitor.state_dict()["good"].values()
        return {max(before) for each in good if (before := [step for step in steps if step <= each])}

    def _restore(self, state: dict[str, Any]) -> None:
        wanted = trainable(self.model).keys()
        if changed := sorted(wanted ^ state["model"].keys()):
            raise CheckpointError(
                f"the checkpoint of step {state['step']} has weights of other names than the model ({changed[0]}): "
                "resume with the versions of transformers and peft that it was written with"
            )
        self.model.load_state_dict(state["model"], strict=False)
        self._take_up(state)
        self.optimizer.load_state_dict(state["optimizer"])
        self.monitor.load_state_dict(state["monitor"])
        self.step, self.attempt = state["step"], state["attempt"]

    # --- ending -----------------------------------------------------------------------------------------------------

    def _end(self, alarms: Sequence[Alarm]) -> Outcome:
        """Do what alarms ask for, export the model, and say how it went."""
        said = [alarm.message for alarm in alarms if alarm.action != "log"]
        back = [alarm.good_step for alarm in alarms if alarm.action == "rollback"]
        status: Literal["finished", "paused", "rolled_back"] = "finished"
        if back:
            status = "rolled_back"
            self._roll_back(min(back))  # where all was well in the eyes of each
            said.append(f"rolled back to step {self.step}")
        elif said:
            status = "paused"
        if self.world.leads:
            self._export()
        if self.tracker is not None:
            self.tracker.status("paused" if said else "finished", "; ".join(said) or None)
        if status == "paused":
            self._save()  # last: a run that is killed before has not paused yet, and raises its alarm again
        return Outcome(status, self.step, model_folder(self.config))

    def _export(self) -> None:
        folder = model_folder(self.config)
        try:
            export(self.model, self._tokenizer, folder)
        except Exception as error:  # OSError, or what safetensors makes of it
            raise CheckpointError(f"{folder}: the model cannot be written: {error}; resume to try again") from error

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
            drop_rollouts(self.checkpoints.folder)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does, so that the record says so, where nobody else handles it."""
    of_main = threading.current_thread() is threading.main_thread()
    if not of_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def named(rows: Iterable[int]) -> str:
    """Rows of the data by their numbers, in a message."""
    numbers = sorted(set(rows))
    more = f" and {len(numbers) - 8} more" if len(numbers) > 8 else ""
    return f"rows {', '.join(map(str, numbers[:8]))}{more}"


def ends_run(alarms: Sequence[Alarm]) -> bool:
    """Whether one of them asks for more than to be noted."""
    return any(alarm.action != "log" for alarm in alarms)

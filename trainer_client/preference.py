"""DPO, IPO and KTO, from answers to the weight update. Read `Preference.run` first, then downwards.

    Preference(load("dpo.yaml"), "dpo").run()

One step is one update. A round is what one set of answers is good for: with `dpo` and `kto` there is one, made of the
rows of `data.train`; with `iterate` (iterate.py) each begins with answers that the current policy has drawn.

Where this differs from the papers and from other trainers:
- the reference is the policy as the round begins. Its log-probabilities are computed once, before the first update,
  so that no second model is in memory, with LoRA neither;
- KTO's mismatched answers are drawn from the whole set, not from the batch, and z0 is that of the batch's rows;
- every round has an optimizer of its own, and `optimizer.schedule` is for one round;
- log-probabilities are those at temperature 1, whatever the answers were drawn at.
"""

from __future__ import annotations

import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from trainer_client.alarms import Alarm, Monitor
from trainer_client.assembly import assemble, data_sha256, memory_of, model_folder
from trainer_client.batch import micro_batches
from trainer_client.checkpoint import Checkpoints, check_same, identity, trainable
from trainer_client.config import Config, PreferenceSection
from trainer_client.data import Order
from trainer_client.evaluation import evaluator
from trainer_client.logprobs import values_of
from trainer_client.loop import Outcome, Report, Values
from trainer_client.losses import summarise
from trainer_client.model import Reference, context_length, export, load_policy
from trainer_client.optimizer import Optimizer
from trainer_client.preference_data import Example, read_labelled, read_pairs
from trainer_client.preference_loss import both_answers, loss_of, reference_point
from trainer_client.rewards import check_verifiers
from trainer_client.tracking import Tracker
from trainer_client.training_errors import ConfigError, NotFiniteError, RewardError

_ADVICE = "lower optimizer.learning_rate, or look at those rows, and resume; the last checkpoint is as it was"
PreferenceTask = Literal["dpo", "kto", "iterate"]


@dataclass(slots=True)
class Round:
    """Answers that are trained on; `done` of its updates have been made."""

    number: int = 0
    examples: list[Example] = field(default_factory=list)
    done: int = 0
    collected: Values = field(default_factory=dict)
    """What is to be told with the round's first update."""
    empty: int = 0
    """Rounds so far in which nothing was there to learn from."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "number": self.number, "examples": [each.state() for each in self.examples], "done": self.done,
            "collected": self.collected, "empty": self.empty,
        }  # fmt: skip


def preference_section(config: Config, task: PreferenceTask) -> PreferenceSection:
    """The section, with the loss that the task is named after. Raises `ConfigError`."""
    section = config.preference
    if section is None:
        raise ConfigError(f"preference: is missing; `preference: {{}}` takes the defaults of {task}")
    if task == "kto" and section.loss != "kto":
        if "loss" in section.model_fields_set:
            raise ConfigError(f"preference.loss: is {section.loss}, and the task kto has its own; leave it out")
        return section.model_copy(update={"loss": "kto"})
    if task == "dpo" and section.loss == "kto":
        raise ConfigError("preference.loss: is kto, which learns from single answers: give the task kto")
    if task != "iterate" and section.iterations > 1:
        raise ConfigError("preference.iterations: only the task iterate has more than one; preference.steps sets "
                          "how many updates are made")  # fmt: skip
    return section


class Preference:
    """A run of DPO, IPO or KTO. Made again with the same folder, it goes on where it was."""

    def __init__(
        self,
        config: Config,
        task: PreferenceTask,
        *,
        client: Any = None,
        report: Report = lambda step, values: None,
        collect: Callable[[Preference, int], tuple[list[Example], Values]] | None = None,
    ) -> None:
        """`client` is a `RewardClient`; None where nothing is scored or recorded.

        `collect` makes the examples of a round; without it they are the rows of `data.train`. Raises `TrainingError`.
        """
        if os.environ.get("WORLD_SIZE", "1") != "1":
            raise ConfigError(f"{task}: trains in one process: start it without torchrun")
        self.section = preference_section(config, task)
        self.config = config
        self.client = client
        self.report = report
        self.parts = assemble(config)
        self.model, self.sampler = self.parts.model, self.parts.sampler
        self._collect = collect or Preference._read
        watched = bool(self.parts.held_out.rows) and config.evaluation.every > 0
        first = Reference(self.model) if watched and config.evaluation.kl else None
        self.held_out = evaluator(config, self.parts, first, client)
        if client is None and (watched or config.tracking.enabled):
            raise ConfigError("evaluation and tracking need the service: give a client, or turn them off")
        self.rate = config.learning_rate("kto" if self.section.loss == "kto" else "dpo")
        self.checkpoints = Checkpoints(Path(config.folder) / "checkpoints", config.checkpoints.keep)
        self.monitor = Monitor(config.alarms)
        self.identity = {**identity(config, data_sha256(config)), "task": task}
        self.step = 0
        self.attempt = 0
        self.round = Round()
        self.optimizer = self._new_optimizer(1)
        self.tracker: Tracker | None = None
        self.seconds: defaultdict[str, float] = defaultdict(float)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Train to the end of the last round, or until an alarm ends it. Raises `TrainingError`; checkpoints stay."""
        if self.held_out is not None:
            check_verifiers(
                self.client, [self.config.evaluation.verifier], {row.verifier for row in self.parts.held_out.rows}
            )
        resumed = self._resume()
        with ExitStack() as stack:
            self.tracker = stack.enter_context(self._tracker())
            alarms = [] if resumed else self._record({})
            while not _ends_run(alarms):
                self.seconds.clear()
                if self.round.done == self._updates(len(self.round.examples)):
                    if self.round.number == self.section.iterations:
                        break
                    self._begin_round()
                    continue
                self.step += 1
                with self._timed("update"):
                    torch.manual_seed(self.config.seed * 1_000_003 + self.step)  # dropout
                    values = self._update()
                alarms = self._record(values | {f"time/{name}": spent for name, spent in self.seconds.items()})
                if self.step % self.config.checkpoints.every == 0 or self._is_last():
                    self._save()
            if self.step == 0 and not _ends_run(alarms):
                raise RewardError(
                    f"nothing to learn from in {self.round.empty} iterations: in every group all scores are equal, "
                    "or fewer than two are there; take other prompts or another verifier, or sample at a higher "
                    "temperature"
                )
            return self._end(alarms)

    def _begin_round(self) -> None:
        """Collect answers, and what the reference, which is the policy as it is now, says of them."""
        number = self.round.number + 1
        with self._timed("collect"):
            examples, collected = self._collect(self, number)
        with self._timed("reference"), memory_of("preference.micro_batch", self.section.micro_batch):
            self._add_reference(examples)
        told = {"time/collect": self.seconds["collect"], "time/reference": self.seconds["reference"]}
        empty = self.round.empty + (not examples)
        values = {"examples": float(len(examples)), "iteration": float(number), "empty_iterations": float(empty)}
        self.round = Round(number, examples, 0, collected | told | _prefixed(values), empty)
        self.optimizer = self._new_optimizer(self._updates(len(examples)))
        self._save()

    def _read(self, number: int) -> tuple[list[Example], Values]:
        read = read_labelled if self.section.loss == "kto" else read_pairs
        return read(self.parts.training, self.parts.tokenizer, context_length(self.model)), {}

    def _add_reference(self, examples: Sequence[Example]) -> None:
        size = max(self.section.micro_batch // 2, 1)
        for start in range(0, len(examples), size):
            part = examples[start : start + size]
            values = values_of(self.model, *both_answers(part), 1.0)
            for example, answer, other in zip(part, values[: len(part)], values[len(part) :], strict=True):
                example.answer_reference, example.other_reference = answer, other

    def _updates(self, examples: int) -> int:
        """How many updates a round of so many examples has: what is set, or one pass; none where there are none."""
        if not examples:
            return 0
        return self.section.steps or math.ceil(examples / self.section.batch)

    def _batch(self) -> list[int]:
        """The places of the next update's examples: in an order of the round, the rest of them at its end."""
        count, size = len(self.round.examples), self.section.batch
        order = Order(count, self.config.seed * 1_000 + self.round.number)
        places = range(self.round.done * size, (self.round.done + 1) * size)
        return [order[place] for place in places if self.section.steps is not None or place < count]

    # --- an update --------------------------------------------------------------------------------------------------

    def _update(self) -> Values:
        batch = [self.round.examples[place] for place in self._batch()]
        collected = self.round.collected if self.round.done == 0 else {}
        self.round.done += 1
        values: Values = {}
        stats, loss = [], 0.0
        tokens = sum(len(each.answer) for each in batch)
        longest = [max(each.answer, each.other, key=len) for each in batch]
        with memory_of("preference.micro_batch", self.section.micro_batch):
            if self.section.loss == "kto":
                values["reference_point"] = reference_point(self.model, self.section, batch)
            most = max(self.section.micro_batch // 2, 1)
            for places in micro_batches([each.prompt for each in batch], longest, range(len(batch)), most):
                part = [batch[place] for place in places]
                made = loss_of(
                    self.model, self.section, part, rows=len(batch), tokens=tokens,
                    reference_point=values.get("reference_point", 0.0),
                )  # fmt: skip
                value = float(made.loss.detach())
                if not math.isfinite(value):
                    raise NotFiniteError(
                        f"step {self.step}: the loss is NaN or infinite in {_named(part)}: {_ADVICE}"
                    )
                made.loss.backward()
                self.optimizer.collect()
                loss += value
                stats.append(made.stats)
            rate = self.optimizer.learning_rate
            try:
                norm = self.optimizer.step()
            except NotFiniteError as error:
                raise NotFiniteError(f"step {self.step}: {error}, in {_named(batch)}: {_ADVICE}") from error
        told = _prefixed(summarise(stats) | values)
        return {"loss": loss, "grad_norm": norm, "learning_rate": rate, **told, **collected}

    # --- evaluation, record, alarms ---------------------------------------------------------------------------------

    def _record(self, values: Values) -> list[Alarm]:
        """Evaluate if it is time, or a round has ended; look for alarms, and note everything."""
        round_ends = self.round.number > 0 and self.round.done == self._updates(len(self.round.examples))
        if self.held_out is not None and (round_ends or self.held_out.due(self.step)):
            with self._timed("evaluation"):
                values = values | self.held_out.evaluate(self.step)
            values["time/evaluation"] = self.seconds["evaluation"]
        alarms = self.monitor.update(self.step, values)
        if self.tracker is not None and values:
            self.tracker.metrics(self.step, values)
            for alarm in alarms:
                self.tracker.alarm(alarm)
        self.report(self.step, values)
        return alarms

    # --- beginning, resuming, ending --------------------------------------------------------------------------------

    def _resume(self) -> bool:
        """Go on from the newest checkpoint; whether there is one."""
        state = self.checkpoints.load()
        if state is None:
            return False
        check_same(state["identity"], self.identity)
        self._restore(state)
        return True

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"], strict=False)
        kept = state["round"]
        self.round = Round(**{**kept, "examples": [Example(**each) for each in kept["examples"]]})
        self.optimizer = self._new_optimizer(self._updates(len(self.round.examples)))
        self.optimizer.load_state_dict(state["optimizer"])
        self.monitor.load_state_dict(state["monitor"])
        self.step, self.attempt = state["step"], state["attempt"]

    def _new_optimizer(self, steps: int) -> Optimizer:
        return Optimizer(self.model, self.config.optimizer, self.rate, max(steps, 1))

    def _save(self) -> None:
        if not all(weight.isfinite().all() for weight in self.optimizer.weights):
            raise NotFiniteError(f"step {self.step}: a weight is NaN or infinite: {_ADVICE}")
        state = {
            "identity": self.identity, "model": trainable(self.model), "optimizer": self.optimizer.state_dict(),
            "monitor": self.monitor.state_dict(), "round": self.round.state(),
            "attempt": self.attempt if self.tracker is None else self.tracker.attempt,
        }  # fmt: skip
        good = min(self.monitor.state_dict()["good"].values(), default=0)
        self.checkpoints.save(self.step, state, [step for step in self.checkpoints.steps() if step <= good][-1:])

    def _is_last(self) -> bool:
        last_round = self.round.number == self.section.iterations
        return last_round and self.round.done == self._updates(len(self.round.examples))

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
        export(self.model, self.parts.tokenizer, model_folder(self.config))
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
        self.checkpoints.drop_after(self.step)

    def _tracker(self) -> Tracker:
        return Tracker(
            Path(self.config.folder), self.config.run, self.identity,
            self.client if self.config.tracking.enabled else None, step=self.step, attempt=self.attempt,
            metadata=self.config.tracking.metadata,
        )  # fmt: skip

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - began


def _prefixed(values: Values) -> Values:
    return {f"preference/{name}": value for name, value in values.items()}


def _named(part: Sequence[Example]) -> str:
    numbers = sorted({each.number for each in part})
    return f"rows {', '.join(map(str, numbers[:8]))}" + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "")


def _ends_run(alarms: Sequence[Alarm]) -> bool:
    return any(alarm.action != "log" for alarm in alarms)

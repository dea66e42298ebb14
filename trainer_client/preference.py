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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from trainer_client.assembly import assemble, memory_of
from trainer_client.batch import micro_batches
from trainer_client.config import Config, PreferenceSection
from trainer_client.course import ADVICE, Course, Outcome, Report, Values, ends_run, named
from trainer_client.data import Order
from trainer_client.evaluation import evaluator
from trainer_client.heldout import HeldOut
from trainer_client.logprobs import values_of
from trainer_client.losses import summarise
from trainer_client.model import Reference, context_length
from trainer_client.optimizer import Optimizer
from trainer_client.preference_data import Example, read_labelled, read_pairs
from trainer_client.preference_loss import both_answers, loss_of, reference_point
from trainer_client.rewards import check_verifiers
from trainer_client.training_errors import ConfigError, DataError, NotFiniteError, RewardError

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


class Preference(Course):
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
        self.parts = assemble(config, draws=collect is not None)
        self.sampler = self.parts.sampler
        watched = bool(self.parts.held_out.rows) and config.evaluation.every > 0
        first = Reference(self.parts.model) if watched and config.evaluation.kl else None
        held_out = evaluator(config, self.parts, first, client)
        rows = (
            [] if collect is not None else self._read(config.data.train)
        )  # wrong ones are told before the run begins
        self._collect = collect or (lambda preference, number: (rows, {}))
        super().__init__(
            config, task, model=self.parts.model, tokenizer=self.parts.tokenizer, client=client, report=report,
            held_out=held_out,
        )  # fmt: skip
        self.rate = config.learning_rate("kto" if self.section.loss == "kto" else "dpo")
        self.round = Round()
        self.optimizer = self._new_optimizer(1)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Train to the end of the last round, or until an alarm ends it. Raises `TrainingError`; checkpoints stay."""
        if self.held_out is not None:
            rows = self.parts.held_out.rows
            check_verifiers(self.client, [self.config.evaluation.verifier], {row.verifier for row in rows})
        with self._begun() as resumed:
            alarms = [] if resumed else self._record({})
            while not ends_run(alarms):
                self.seconds.clear()
                if self._round_is_over():
                    if self.round.number == self.section.iterations:
                        break
                    self._begin_round()
                    continue
                self.step += 1
                with self._timed("update"):
                    torch.manual_seed(self.config.seed * 1_000_003 + self.step)  # dropout
                    values = self._update()
                alarms = self._record(values | self._times())
                if not ends_run(alarms) and self._saves(last=self._is_last()):
                    self._save()
            if self.step == 0 and not ends_run(alarms):
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

    def _read(self, path: str) -> list[Example]:
        read = read_labelled if self.section.loss == "kto" else read_pairs
        try:
            return read(self.parts.training, self.parts.tokenizer, context_length(self.parts.model))
        except DataError as error:
            raise DataError(f"{path}, {error}") from error

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
                    where = named(each.number for each in part)
                    raise NotFiniteError(f"step {self.step}: the loss is NaN or infinite in {where}: {ADVICE}")
                made.loss.backward()
                self.optimizer.collect()
                loss += value
                stats.append(made.stats)
            rate = self.optimizer.learning_rate
            try:
                norm = self.optimizer.step()
            except NotFiniteError as error:
                raise NotFiniteError(
                    f"step {self.step}: {error}, in {named(each.number for each in batch)}: {ADVICE}"
                ) from error
        told = _prefixed(summarise(stats) | values)
        return {"loss": loss, "grad_norm": norm, "learning_rate": rate, **told, **collected}

    # --- rounds and checkpoints -------------------------------------------------------------------------------------

    def _evaluates(self, held_out: HeldOut) -> bool:
        """A round ends with an evaluation too."""
        return (self.round.number > 0 and self._round_is_over()) or super()._evaluates(held_out)

    def _round_is_over(self) -> bool:
        return self.round.done == self._updates(len(self.round.examples))

    def _is_last(self) -> bool:
        return self.round.number == self.section.iterations and self._round_is_over()

    def _state(self) -> dict[str, Any]:
        return {"round": self.round.state()}

    def _take_up(self, state: dict[str, Any]) -> None:
        kept = state["round"]
        self.round = Round(**{**kept, "examples": [Example(**each) for each in kept["examples"]]})
        self.optimizer = self._new_optimizer(self._updates(len(self.round.examples)))

    def _new_optimizer(self, steps: int) -> Optimizer:
        return Optimizer(self.model, self.config.optimizer, self.rate, max(steps, 1))


def _prefixed(values: Values) -> Values:
    return {f"preference/{name}": value for name, value in values.items()}

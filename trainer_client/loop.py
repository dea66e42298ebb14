"""GRPO and its family, from the prompt to the weight update. Read `Grpo.run` first, then downwards.

    Grpo(load("grpo.yaml")).run()

One step is one update of the weights. A rollout, the completions of `grpo.prompts` prompts, is good for `minibatches`
times `updates_per_rollout` of them; with one on-policy update every probability ratio is 1 and clipping never acts.

Where this differs from the papers, besides what algorithms.py says of each:
- completions are drawn at temperature 1 from the whole distribution, and the losses are those of it;
- with one update for a rollout the old log-probabilities are those of the update's own forward pass, detached;
- minibatches are whole groups in prompt order, not shuffled tokens;
- a row whose advantages are all 0 is not computed where no KL is in the loss: its gradient is 0. It counts in the
  loss's divisor, and not in entropy and clip shares. An update of such rows alone is skipped, where Adam would still
  move the weights by its momentum.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from trainer_client.alarms import Alarm, Monitor
from trainer_client.assembly import assemble, data_sha256, memory_of, model_folder
from trainer_client.batch import Batch, make_batch, micro_batches, minibatch
from trainer_client.checkpoint import Checkpoints, check_same, identity, trainable
from trainer_client.client import RewardClient
from trainer_client.config import Config, Verifier
from trainer_client.data import Order
from trainer_client.distributed import World
from trainer_client.evaluation import evaluator
from trainer_client.figures import rollout_metrics, sample_rows
from trainer_client.groups import RolloutBuffer
from trainer_client.logprobs import completion_logprobs, values_of
from trainer_client.losses import loss_denominator, mismatch, policy_loss, summarise
from trainer_client.model import Reference, export, load_policy
from trainer_client.optimizer import Optimizer
from trainer_client.rewards import IN_FLIGHT, Rewards, Scored, check_scored, check_verifiers
from trainer_client.rollout import Group
from trainer_client.tracking import Tracker
from trainer_client.training_errors import ConfigError, NotFiniteError

Values = dict[str, float]
_ADVICE = "lower optimizer.learning_rate, or look at those prompts, and resume; the last checkpoint is as it was"
Report = Callable[[int, Values], None]
"""Told the values of each step; step 0 is the evaluation before the first update."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: `paused` and `rolled_back` are what an alarm did. `folder` holds the exported model."""

    status: Literal["finished", "paused", "rolled_back"]
    step: int
    folder: Path


@dataclass(slots=True)
class Rollout:
    """A rollout that is being trained on; `used` of its minibatches have been."""

    batch: Batch | None
    used: int = 0


class Grpo:
    """A run of GRPO or one of its family. Made again with the same folder, it goes on where it was."""

    def __init__(self, config: Config, *, client: Any = None, report: Report = lambda step, values: None) -> None:
        """`client` is a `RewardClient`, or what has its `score` and `request`. Raises `TrainingError`."""
        if config.grpo is None:
            raise ConfigError("grpo: is missing; give it at least `steps`")
        self.config = config
        self.section = config.grpo
        self.algorithm = config.grpo.switches()
        self.world = World()
        self.client = client or RewardClient(
            config.service.url, deadline_s=config.service.deadline_s, max_in_flight=IN_FLIGHT
        )
        self.report = report
        self.parts = assemble(config)
        self.model, self.sampler = self.parts.model, self.parts.sampler
        watched = bool(self.parts.held_out.rows) and config.evaluation.every > 0 and config.evaluation.kl
        self.reference = Reference(self.model) if self.algorithm.beta or watched else None
        self.held_out = evaluator(config, self.parts, self.reference if watched else None, self.client)
        self.optimizer = Optimizer(self.model, config.optimizer, config.learning_rate("grpo"), self.section.steps)
        self.order = Order(len(self.parts.training.rows), config.seed)
        self.rewards = Rewards(self.client, self.section.rewards, config.run)
        self.checkpoints = Checkpoints(Path(config.folder) / "checkpoints", config.checkpoints.keep)
        self.monitor = Monitor(config.alarms)
        self.identity = identity(config, data_sha256(config))
        self.step = 0
        self.position = 0  # prompts of the order that have been used
        self.rollout = Rollout(None)
        self.attempt = 0
        self.seconds: defaultdict[str, float] = defaultdict(float)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Train until `grpo.steps`, or until an alarm ends it. Raises `TrainingError`; checkpoints stay."""
        check_verifiers(self.client, self._verifiers(), {row.verifier for row in self.parts.training.rows})
        self._resume()
        with ExitStack() as stack:
            stack.callback(self.world.leave)
            stack.callback(self.rewards.close)
            self.tracker = stack.enter_context(self._tracker()) if self.world.leads else None
            alarms = self._record({}) if self.step == 0 else []
            while self.step < self.section.steps and not _ends_run(alarms):
                self.step += 1
                self.seconds.clear()
                with self._timed("step"):
                    torch.manual_seed(self._number())  # dropout; sampling has numbers of its own
                    values = {} if self._rollout_lasts() else self._collect()
                    values |= self._update()
                alarms = self._record(values | {f"time/{name}": spent for name, spent in self.seconds.items()})
                if self.step % self.config.checkpoints.every == 0 or self.step == self.section.steps:
                    self._save()
            return self._end(alarms)

    # --- a rollout --------------------------------------------------------------------------------------------------

    def _collect(self) -> Values:
        """Draw and score groups until there are enough to train on, and make the batch of the next updates."""
        buffer = RolloutBuffer[Scored](
            wanted=self.section.prompts, policy=self.algorithm.degenerate, max_refills=self.section.refills
        )
        everything: list[Scored] = []
        while places := buffer.next_round():
            scored = self.world.gather(self._scored_groups(self.world.share(places)))
            check_scored(scored, self.section.max_unscored)
            for place, group in zip(places, scored, strict=True):
                buffer.add(place, group, group.scores, group.steps() if self.section.step_scores else None)
            everything += scored
        self.position += buffer.requested
        taken = [group for _, group in buffer.take()]
        batch = self._batch(taken) if taken else None
        self.rollout = Rollout(batch)
        if self.tracker is not None and self.config.tracking.samples:
            self.tracker.samples(self.step, sample_rows(everything, taken, batch))
        return rollout_metrics(everything, buffer.counts(), self.section.rewards)

    def _scored_groups(self, places: Sequence[int]) -> list[Scored]:
        """Groups of the prompts at these places after `position`, each completion scored while others are drawn."""
        groups = []
        for place in places:
            position = self.position + place
            row = self.order[position]
            groups.append(Group(position, self.parts.training.rows[row], self.parts.training.ids[row]))
        with self._timed("generation"), memory_of("sampling.rows", self.config.sampling.rows):
            prompts = [group.prompt_ids for group in groups]
            keys = [f"{self.config.seed}/train/{group.position}" for group in groups]
            for finished in self.sampler.generate(prompts, keys, self.section.group):
                for completion in finished:
                    groups[completion.prompt].completions.append(completion)
                self.rewards.send(self.step, groups, finished)
        for group in groups:
            group.completions.sort(key=lambda completion: completion.sample)
        with self._timed("logprobs"), memory_of("grpo.micro_batch", self.section.micro_batch):
            self._add_logprobs(groups)
        with self._timed("reward_wait"):
            return self.rewards.wait(groups)

    def _add_logprobs(self, groups: Sequence[Group]) -> None:
        """The old and the reference log-probabilities, where the loss needs them; rewards are on their way."""
        rows = [(group.prompt_ids, completion) for group in groups for completion in group.completions]
        temperature = self.config.sampling.temperature
        for start in range(0, len(rows), self.section.micro_batch):
            prompts, completions = zip(*rows[start : start + self.section.micro_batch], strict=True)
            tokens = [completion.token_ids for completion in completions]
            if self._needs_old():
                for completion, values in zip(
                    completions, values_of(self.model, prompts, tokens, temperature), strict=True
                ):
                    completion.old_logprobs = values
            if self.reference is not None and self.algorithm.beta:
                with self.reference.model() as model:
                    for completion, values in zip(
                        completions, values_of(model, prompts, tokens, temperature), strict=True
                    ):
                        completion.reference_logprobs = values

    def _batch(self, taken: Sequence[Scored]) -> Batch:
        return make_batch(
            taken, self.algorithm, self.sampler, max_tokens=self.config.sampling.max_new_tokens,
            mask_truncated=self.section.mask_truncated, step_scores=self.section.step_scores,
            importance_cap=self.section.importance_cap,
        )  # fmt: skip

    # --- an update --------------------------------------------------------------------------------------------------

    def _rollout_lasts(self) -> bool:
        passes = self.section.minibatches * self.section.updates_per_rollout
        return self.rollout.batch is not None and self.rollout.used < passes

    def _update(self) -> Values:
        """One update from the rollout's next minibatch; none where nothing in it teaches anything."""
        batch = self.rollout.batch
        if batch is None:
            return {"skipped": 1.0}
        rows = minibatch(batch, self.rollout.used % self.section.minibatches, self.section.minibatches)
        self.rollout.used += 1
        taught = [row for row in rows if self._teaches(batch, row)]
        if not taught:
            return {"skipped": 1.0}
        denominator = float(loss_denominator(batch.mask[rows], self.algorithm.aggregate, self._max_length()))
        stats, loss = [], 0.0
        with self._timed("update"), memory_of("grpo.micro_batch", self.section.micro_batch):
            mine = self.world.share(taught)
            for part in micro_batches(batch.prompts, batch.tokens, mine, self.section.micro_batch):
                part_loss, part_stats = self._forward(batch, part, denominator)
                part_loss.backward()
                self.optimizer.collect()
                loss += float(part_loss.detach())
                stats.append(part_stats)
            self.world.sum_gradients(self.optimizer.weights)
            rate = self.optimizer.learning_rate
            try:
                norm = self.optimizer.step()
            except NotFiniteError as error:
                raise NotFiniteError(f"step {self.step}: {error}: {_ADVICE}") from error
        values = summarise(self.world.gather(stats))
        loss = math.fsum(self.world.gather([loss]))
        return {"loss": loss, "grad_norm": norm, "learning_rate": rate, "skipped": 0.0, **values}

    def _forward(self, batch: Batch, rows: list[int], denominator: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of some rows, as their part of the minibatch's. Raises `NotFiniteError`, which names the rows."""
        tokens = [batch.tokens[row] for row in rows]
        out = completion_logprobs(
            self.model, [batch.prompts[row] for row in rows], tokens,
            temperature=self.config.sampling.temperature, entropy=True,
        )  # fmt: skip
        logp, device = out.logp, out.logp.device

        def of_rows(values: Tensor) -> Tensor:
            return (values[rows] if values.dim() == 1 else values[rows, : logp.shape[1]]).to(device)

        mask = of_rows(batch.mask)
        old = logp.detach() if batch.old is None else of_rows(batch.old)
        loss = policy_loss(
            logp, old, of_rows(batch.advantages), mask, ratio=self.algorithm.ratio, clip_low=self.algorithm.clip_low,
            clip_high=self.algorithm.clip_high, cap=self.algorithm.cap, aggregate=self.algorithm.aggregate,
            max_length=self._max_length(), denominator=denominator, entropy=out.entropy,
            ref_logp=None if batch.reference is None else of_rows(batch.reference),
            beta=self.algorithm.beta if self.algorithm.kl == "loss" else 0.0,
            unbiased_kl=self.algorithm.unbiased_kl,
        )  # fmt: skip
        if not torch.isfinite(loss.loss):
            prompts = sorted({int(batch.group[row]) for row in rows})
            raise NotFiniteError(
                f"step {self.step}: the loss is NaN or infinite in rows {rows[0]} to {rows[-1]} of the rollout "
                f"(its prompts {prompts[0]} to {prompts[-1]}): {_ADVICE}"
            )
        return loss.loss, {**loss.stats, **mismatch(of_rows(batch.sampled), old, mask)}

    def _teaches(self, batch: Batch, row: int) -> bool:
        in_loss = batch.mask[row] > 0
        pulled = self.algorithm.kl == "loss" and self.algorithm.beta > 0
        return bool(in_loss.any()) and (pulled or bool((batch.advantages[row] != 0).any()))

    # --- evaluation, record, alarms ---------------------------------------------------------------------------------

    def _record(self, values: Values) -> list[Alarm]:
        """Evaluate if it is time, look for alarms, and note everything; answers what every process has to heed."""
        alarms: list[Alarm] = []
        if self.world.leads:
            if self.held_out is not None and self.held_out.due(self.step):
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

    # --- beginning, resuming, ending --------------------------------------------------------------------------------

    def _resume(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        state = self.checkpoints.load()
        if state is None:
            return
        check_same(state["identity"], self.identity)
        self._restore(state)

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"], strict=False)
        self.optimizer.load_state_dict(state["optimizer"])
        self.monitor.load_state_dict(state["monitor"])
        self.step, self.position, self.attempt = state["step"], state["position"], state["attempt"]
        batch = state["rollout"]
        self.rollout = Rollout(None if batch is None else Batch(**batch), state["used"])

    def _save(self) -> None:
        if self.world.leads:
            if not all(weight.isfinite().all() for weight in self.optimizer.weights):
                raise NotFiniteError(f"step {self.step}: a weight is NaN or infinite: {_ADVICE}")
            batch = self.rollout.batch if self._rollout_lasts() else None
            state = {
                "identity": self.identity, "position": self.position, "model": trainable(self.model),
                "optimizer": self.optimizer.state_dict(), "monitor": self.monitor.state_dict(),
                "rollout": None if batch is None else batch.state(), "used": self.rollout.used,
                "attempt": 0 if self.tracker is None else self.tracker.attempt,
            }  # fmt: skip
            self.checkpoints.save(self.step, state, self._good_checkpoints())

    def _good_checkpoints(self) -> list[int]:
        """The checkpoint that an alarm would roll back to, were it raised next."""
        good = min(self.monitor.state_dict()["good"].values(), default=0)
        return [step for step in self.checkpoints.steps() if step <= good][-1:]

    def _end(self, alarms: Sequence[Alarm]) -> Outcome:
        """Do what alarms ask for, export the model, and say how it went."""
        decisive = next((alarm for alarm in alarms if alarm.action == "rollback"), None)
        if decisive is None:
            decisive = next((alarm for alarm in alarms if alarm.action == "pause"), None)
        status: Literal["finished", "paused", "rolled_back"] = "finished"
        if decisive is not None and decisive.action == "pause":
            status = "paused"
            self._save()
        elif decisive is not None:
            status = "rolled_back"
            self._roll_back(decisive.good_step)
        if self.world.leads:
            export(self.model, self.parts.tokenizer, model_folder(self.config))
            if self.tracker is not None:
                self.tracker.status(
                    "finished" if status == "finished" else "paused", None if decisive is None else decisive.message
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

    def _tracker(self) -> Tracker:
        return Tracker(
            Path(self.config.folder), self.config.run, self.identity,
            self.client if self.config.tracking.enabled else None, step=self.step, attempt=self.attempt,
            metadata=self.config.tracking.metadata,
        )  # fmt: skip

    # --- what decides what is needed --------------------------------------------------------------------------------

    def _needs_old(self) -> bool:
        """Whether weights move between sampling and update, or a log-probability counts before it."""
        several = self.section.minibatches * self.section.updates_per_rollout > 1
        in_reward = self.algorithm.kl == "reward" and self.algorithm.beta > 0
        return several or in_reward or self.section.importance_cap is not None

    def _max_length(self) -> int:
        return self.config.sampling.max_new_tokens

    def _verifiers(self) -> list[Verifier | None]:
        held_out = [self.config.evaluation.verifier] if self.held_out and self.config.evaluation.verifier else []
        return [*(section.verifier for section in self.section.rewards), *held_out]

    def _number(self) -> int:
        return (self.config.seed * 1_000_003 + self.step) * self.world.size + self.world.rank

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - began


def _ends_run(alarms: Sequence[Alarm]) -> bool:
    return any(alarm.action != "log" for alarm in alarms)

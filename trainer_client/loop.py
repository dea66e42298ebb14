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
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer_client.assembly import assemble, memory_of
from trainer_client.batch import Batch, make_batch, micro_batches, minibatch
from trainer_client.client import RewardClient
from trainer_client.config import Config
from trainer_client.course import ADVICE, Course, Outcome, Report, Values, ends_run
from trainer_client.data import Order
from trainer_client.evaluation import evaluator
from trainer_client.figures import rollout_metrics, sample_rows
from trainer_client.groups import RolloutBuffer
from trainer_client.logprobs import completion_logprobs, values_of
from trainer_client.losses import loss_denominator, mismatch, policy_loss, summarise
from trainer_client.model import Reference
from trainer_client.optimizer import Optimizer
from trainer_client.rewards import IN_FLIGHT, Rewards, Scored, check_scored, check_verifiers
from trainer_client.rollout import Group
from trainer_client.rollout_file import RolloutFile
from trainer_client.training_errors import ConfigError, NotFiniteError


@dataclass(slots=True)
class Rollout:
    """A rollout that is being trained on; `used` of its minibatches have been."""

    batch: Batch | None
    used: int = 0


class Grpo(Course):
    """A run of GRPO or one of its family. Made again with the same folder, it goes on where it was."""

    def __init__(self, config: Config, *, client: Any = None, report: Report = lambda step, values: None) -> None:
        """`client` is a `RewardClient`, or what has its `score` and `request`. Raises `TrainingError`."""
        if config.grpo is None:
            raise ConfigError("grpo: is missing; give it at least `steps`")
        self.section = config.grpo
        self.algorithm = config.grpo.switches()
        service = config.service
        self._own = (
            RewardClient(service.url, deadline_s=service.deadline_s, max_in_flight=IN_FLIGHT)
            if client is None
            else None
        )
        client = client or self._own
        self.parts = assemble(config)
        self.sampler = self.parts.sampler
        model = self.parts.model
        watched = bool(self.parts.held_out.rows) and config.evaluation.every > 0 and config.evaluation.kl
        self.reference = Reference(model) if self.algorithm.beta or watched else None
        held_out = evaluator(config, self.parts, self.reference if watched else None, client)
        super().__init__(
            config, "grpo", model=model, tokenizer=self.parts.tokenizer, client=client, report=report,
            held_out=held_out,
        )  # fmt: skip
        self.optimizer = Optimizer(model, config.optimizer, config.learning_rate("grpo"), self.section.steps)
        self.order = Order(len(self.parts.training.rows), config.seed)
        self.rewards = Rewards(client, self.section.rewards, config.run)
        self.position = 0  # prompts of the order that have been used
        self.rollout = Rollout(None)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Train until `grpo.steps`, or until an alarm ends it. Raises `TrainingError`; checkpoints stay."""
        rewards = [section.verifier for section in self.section.rewards]
        check_verifiers(self.client, rewards, {row.verifier for row in self.parts.training.rows})
        if self.held_out is not None:
            rows = self.parts.held_out.rows
            check_verifiers(self.client, [self.config.evaluation.verifier], {row.verifier for row in rows})
        with self._own or nullcontext(), self._begun() as resumed, closing(self.rewards):
            alarms = [] if resumed else self._record({})
            while self.step < self.section.steps and not ends_run(alarms):
                self.step += 1
                self.seconds.clear()
                with self._timed("step"):
                    torch.manual_seed(self._number())  # dropout; sampling has numbers of its own
                    values = {} if self._rollout_lasts() else self._collect()
                    values |= self._update()
                alarms = self._record(values | self._times())
                if not ends_run(alarms) and self._saves(last=self.step == self.section.steps):
                    self._save()
            return self._end(alarms)

    # --- a rollout --------------------------------------------------------------------------------------------------

    def _collect(self) -> Values:
        """Draw and score groups until there are enough to train on, and make the batch of the next updates."""
        buffer = RolloutBuffer[Scored](
            wanted=self.section.prompts, policy=self.algorithm.degenerate, max_refills=self.section.refills
        )
        everything: list[Scored] = []
        with self.rollout_file() as kept:
            while places := buffer.next_round():
                scored = self.world.gather(self._scored_groups(self.world.share(places), kept))
                check_scored(scored, self.section.max_unscored, kept=kept)
                for place, group in zip(places, scored, strict=True):
                    buffer.add(place, group, group.scores, group.step_scores() if self.section.step_scores else None)
                everything += scored
        self.position += buffer.requested
        taken = [group for _, group in buffer.take()]
        batch = self._batch(taken) if taken else None
        self.rollout = Rollout(batch)
        if self.tracker is not None and self.config.tracking.samples:
            self.tracker.samples(self.step, sample_rows(everything, taken, batch))
        return rollout_metrics(everything, buffer.counts(), self.section.rewards)

    def _scored_groups(self, places: Sequence[int], kept: RolloutFile) -> list[Scored]:
        """Groups of the prompts at these places after `position`, each completion scored while others are drawn.

        What an attempt before this one has drawn and scored of them is taken from `kept`.
        """
        groups = []
        for place in places:
            position = self.position + place
            row = self.order[position]
            groups.append(Group(position, self.parts.training.rows[row], self.parts.training.ids[row]))
        with self._timed("generation"), memory_of("sampling.rows", self.config.sampling.rows):
            prompts = [group.prompt_ids for group in groups]
            keys = [f"{self.config.seed}/train/{group.position}" for group in groups]
            for finished in self.sampler.generate(prompts, keys, self.section.group, kept=kept):
                for completion in finished:
                    groups[completion.prompt].completions.append(completion)
                self.rewards.send(self.step, groups, finished, kept)
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
                raise NotFiniteError(f"step {self.step}: {error}: {ADVICE}") from error
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
                f"(its prompts {prompts[0]} to {prompts[-1]}): {ADVICE}"
            )
        return loss.loss, {**loss.stats, **mismatch(of_rows(batch.sampled), old, mask)}

    def _teaches(self, batch: Batch, row: int) -> bool:
        in_loss = batch.mask[row] > 0
        pulled = self.algorithm.kl == "loss" and self.algorithm.beta > 0
        return bool(in_loss.any()) and (pulled or bool((batch.advantages[row] != 0).any()))

    # --- what a checkpoint keeps of it ------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        batch = self.rollout.batch if self._rollout_lasts() else None
        return {
            "position": self.position, "used": self.rollout.used, "rollout": None if batch is None else batch.state(),
        }  # fmt: skip

    def _take_up(self, state: dict[str, Any]) -> None:
        self.position = state["position"]
        batch = state["rollout"]
        self.rollout = Rollout(None if batch is None else Batch(**batch), state["used"])

    # --- what decides what is needed --------------------------------------------------------------------------------

    def _needs_old(self) -> bool:
        """Whether weights move between sampling and update, or a log-probability counts before it."""
        several = self.section.minibatches * self.section.updates_per_rollout > 1
        in_reward = self.algorithm.kl == "reward" and self.algorithm.beta > 0
        return several or in_reward or self.section.importance_cap is not None

    def _max_length(self) -> int:
        return self.config.sampling.max_new_tokens

    def _number(self) -> int:
        return (self.config.seed * 1_000_003 + self.step) * self.world.size + self.world.rank

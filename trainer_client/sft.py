"""Supervised fine-tuning, from answers to the weight update. Read `Sft.run` first, then downwards.

    Sft(load("sft.yaml"), client=RewardClient()).run()

The loss is the mean over all answer tokens of a batch, the EOS included, which teaches where to end. A token is left
out because it is padding, never because it has the pad's id: in many models that is the EOS.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trainer_client.assembly import memory_of
from trainer_client.batch import micro_batches
from trainer_client.config import Config
from trainer_client.course import ADVICE, Course, Outcome, Report, Values, named
from trainer_client.data import Order, PromptEncoder, Row, hold_out, read_rows
from trainer_client.logprobs import completion_logprobs, right_padded
from trainer_client.losses import nll_loss
from trainer_client.model import check_vocabulary, context_length, end_ids, load_policy, load_tokenizer
from trainer_client.optimizer import Optimizer
from trainer_client.training_errors import ConfigError, DataError, NotFiniteError


class Sft(Course):
    """A run of supervised fine-tuning. Made again with the same folder, it goes on where it was."""

    def __init__(self, config: Config, *, client: Any = None, report: Report = lambda step, values: None) -> None:
        """`client` is a `RewardClient`; None where nothing is recorded. Raises `TrainingError`."""
        if config.sft is None:
            raise ConfigError("sft: is missing; give it at least `steps`")
        self.section = config.sft
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        tokenizer = load_tokenizer(config.model)
        model = load_policy(config.model, config.seed)
        end_ids(model, tokenizer, config.sampling)
        rows = hold_out(read_rows(config.data.train), config.data.hold_out, config.seed)[0]
        self.rows, self.prompts = PromptEncoder(tokenizer, config.data, context_length(model)).encode_all(rows)
        check_vocabulary(model, self.prompts)
        self.answers = [answer_ids(row, self.section.answer, tokenizer) for row in self.rows]
        _check_lengths(self.rows, self.prompts, self.answers, context_length(model))
        super().__init__(config, "sft", model=model, tokenizer=tokenizer, client=client, report=report)
        self.optimizer = Optimizer(model, config.optimizer, config.learning_rate("sft"), self.section.steps)
        self.order = Order(len(self.rows), config.seed)

    def run(self) -> Outcome:
        """Train until `sft.steps`, and export the model. Raises `TrainingError`; checkpoints stay."""
        with self._begun():
            while self.step < self.section.steps:
                self.step += 1
                self.seconds.clear()
                with self._timed("step"):
                    torch.manual_seed(self.config.seed * 1_000_003 + self.step)  # dropout
                    values = self._update()
                self._record(values | self._times())
                if self._saves(last=self.step == self.section.steps):
                    self._save()
            return self._end([])

    def _update(self) -> Values:
        """One update from the next rows in the order of data."""
        places = range((self.step - 1) * self.section.batch, self.step * self.section.batch)
        batch = [self.order[place] for place in places]
        tokens = sum(len(self.answers[row]) for row in batch)
        loss = 0.0
        with memory_of("sft.micro_batch", self.section.micro_batch):
            mine = self.world.share(batch)
            for part in micro_batches(self.prompts, self.answers, mine, self.section.micro_batch):
                part_loss = self._forward(part, tokens)
                part_loss.backward()
                self.optimizer.collect()
                loss += float(part_loss.detach())
            self.world.sum_gradients(self.optimizer.weights)
            rate = self.optimizer.learning_rate
            try:
                norm = self.optimizer.step()
            except NotFiniteError as error:
                raise NotFiniteError(
                    f"step {self.step}: {error}, in {named(self.rows[row].number for row in batch)}: {ADVICE}"
                ) from error
        loss = math.fsum(self.world.gather([loss]))
        return {"loss": loss, "grad_norm": norm, "learning_rate": rate, "tokens": float(tokens)}

    def _forward(self, rows: Sequence[int], tokens: int) -> Tensor:
        """The loss of some rows, as their part of a batch with so many tokens. Raises `NotFiniteError`."""
        answers = [self.answers[row] for row in rows]
        logp = completion_logprobs(self.model, [self.prompts[row] for row in rows], answers).logp
        mask = right_padded([[1] * len(answer) for answer in answers], logp.device)
        loss = nll_loss(logp, mask, tokens)
        if not torch.isfinite(loss):
            where = named(self.rows[row].number for row in rows)
            raise NotFiniteError(f"step {self.step}: the loss is NaN or infinite in {where}: {ADVICE}")
        return loss

    def _state(self) -> dict[str, Any]:
        return {}  # the position in the data follows from the step

    def _take_up(self, state: dict[str, Any]) -> None:
        """There is nothing more."""


def answer_ids(row: Row, name: str, tokenizer: Any) -> list[int]:
    """The ids of a row's answer and the EOS after it. Raises `DataError`."""
    answer = row.extra.get(name, row.reference if name == "reference" else None)
    if not isinstance(answer, str):
        raise DataError(
            f"row {row.number}: {name}: must be the text to learn; set sft.answer to the field that has it"
        )
    return [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def _check_lengths(rows: list[Row], prompts: list[list[int]], answers: list[list[int]], longest: int | None) -> None:
    for row, prompt, answer in zip(rows, prompts, answers, strict=True):
        if longest is not None and len(prompt) + len(answer) > longest:
            raise DataError(
                f"row {row.number}: prompt and answer have {len(prompt) + len(answer)} tokens, and the context "
                f"holds {longest}; shorten them, or leave the row out"
            )

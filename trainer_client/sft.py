"""Supervised fine-tuning on prompts and answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from trainer_client.batch import micro_batches
from trainer_client.config import Config
from trainer_client.data import Order, PromptEncoder, Row, hold_out, read_rows
from trainer_client.logprobs import completion_logprobs, right_padded
from trainer_client.losses import nll_loss
from trainer_client.model import context_length, end_ids, export, load_policy, load_tokenizer
from trainer_client.optimizer import Optimizer
from trainer_client.training_errors import ConfigError, DataError, NotFiniteError

Report = Callable[[int, dict[str, float]], None]


def train(config: Config, report: Report = lambda step, values: None) -> Path:
    """Train on the answers of `data.train` and export the model; answers the folder that it is in.

    The loss is the mean over all answer tokens of a batch, the EOS included, which teaches where to end. A token is
    left out because it is padding, never because it has the pad's id: in many models that is the EOS.
    `report` is told the values of each step. Raises `TrainingError`.
    """
    section = config.sft
    if section is None:
        raise ConfigError("sft: is missing; give it at least `steps`")
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    tokenizer = load_tokenizer(config.model)
    model = load_policy(config.model, config.seed)
    end_ids(model, tokenizer, config.sampling)
    rows = hold_out(read_rows(config.data.train), config.data.hold_out, config.seed)[0]
    rows, prompts = PromptEncoder(tokenizer, config.data, context_length(model)).encode_all(rows)
    answers = [answer_ids(row, section.answer, tokenizer) for row in rows]
    _check_lengths(rows, prompts, answers, context_length(model))
    optimizer = Optimizer(model, config.optimizer, config.learning_rate("sft"), section.steps)
    order = Order(len(rows), config.seed)
    for step in range(1, section.steps + 1):
        batch = [order[(step - 1) * section.batch + place] for place in range(section.batch)]
        tokens = sum(len(answers[row]) for row in batch)
        loss = 0.0
        for part in micro_batches(prompts, answers, batch, section.micro_batch):
            chosen = [answers[row] for row in part]
            logp = completion_logprobs(model, [prompts[row] for row in part], chosen).logp
            mask = right_padded([[1] * len(answer) for answer in chosen], logp.device)
            part_loss = nll_loss(logp, mask, tokens)
            value = float(part_loss.detach())
            if not math.isfinite(value):
                numbers = ", ".join(str(rows[row].number) for row in part)
                raise NotFiniteError(f"the loss of step {step} is NaN or infinite, in rows {numbers}")
            part_loss.backward()
            optimizer.collect()
            loss += value
        rate = optimizer.learning_rate
        norm = optimizer.step()
        report(step, {"loss": loss, "grad_norm": norm, "learning_rate": rate, "tokens": tokens})
    folder = Path(config.folder) / "model"
    export(model, tokenizer, folder)
    return folder


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

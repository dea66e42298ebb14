"""What every task begins with: the model, its sampler and the prompts, made from a configuration and checked."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainer_client.config import Config, SamplingSection
from trainer_client.data import PromptEncoder, Row, hold_out, read_rows
from trainer_client.heldout import refuse_overlap
from trainer_client.logprobs import values_of
from trainer_client.model import check_vocabulary, context_length, end_ids, load_policy, load_tokenizer
from trainer_client.rollout import Sampler
from trainer_client.training_errors import ConfigError, DataError, MemoryLimitError, ModelError, NotFiniteError

MOST_APART = 0.5
"""Nats a token that sampled and computed log-probabilities may be apart on the average; about 0.02 in bfloat16."""


@dataclass(slots=True)
class Prompts:
    """Rows and the token ids of their prompts, place by place."""

    rows: list[Row]
    ids: list[list[int]]


@dataclass(slots=True)
class Parts:
    """What a run is made of. `held_out` is empty where the configuration names none."""

    model: Any
    tokenizer: Any
    sampler: Sampler
    training: Prompts
    held_out: Prompts


def assemble(config: Config, *, draws: bool = True) -> Parts:
    """The parts of a run; `draws`: whether it samples answers to the training prompts. Raises `TrainingError`."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    tokenizer = load_tokenizer(config.model)
    model = load_policy(config.model, config.seed)
    ends = end_ids(model, tokenizer, config.sampling)
    rows = read_rows(config.data.train)
    held_out: list[Row] = []
    if config.data.hold_out:
        rows, held_out = hold_out(rows, config.data.hold_out, config.seed)
    elif config.data.heldout is not None:
        held_out = read_rows(config.data.heldout)
    refuse_overlap(rows, held_out)
    context = context_length(model)
    parts = Parts(
        model, tokenizer, Sampler(model, tokenizer, config.sampling, ends),
        _encoded(tokenizer, config, rows, config.data.train, _room(context, config) if draws else context),
        _encoded(
            tokenizer, config, held_out, config.data.heldout or config.data.train,
            _room(context, config, config.evaluation.max_new_tokens) if held_out else None,
        ),
    )  # fmt: skip
    check_vocabulary(model, parts.training.ids + parts.held_out.ids)
    check_sampling(parts, ends)
    return parts


def _room(context: int | None, config: Config, of_evaluation: int | None = None) -> int | None:
    """The tokens of a context that a prompt may have whose answer is drawn; None: any number."""
    setting = "sampling" if of_evaluation is None else "evaluation"
    drawn = config.sampling.max_new_tokens if of_evaluation is None else of_evaluation
    if context is not None and drawn >= context:
        raise ConfigError(f"{setting}.max_new_tokens: {drawn} leave no room for a prompt in a context of {context}")
    return None if context is None else context - drawn


def _encoded(tokenizer: Any, config: Config, rows: list[Row], path: str, longest: int | None) -> Prompts:
    if not rows:
        return Prompts([], [])
    try:
        return Prompts(*PromptEncoder(tokenizer, config.data, longest).encode_all(rows))
    except DataError as error:
        raise DataError(f"{path}, {error}") from error


def check_sampling(parts: Parts, ends: frozenset[int]) -> None:
    """Raise `ModelError` unless what is sampled has the probabilities that the trainer computes for it.

    A few tokens are drawn after two short prompts of different lengths. Architectures without a key-value cache
    cannot be sampled here, and some that have one answer differently with it, or beside a shorter prompt.
    """
    name = f"model.path: {type(parts.model).__name__}"
    prompts = [(parts.training.ids[0] * 5)[:length] for length in (5, 2)]
    sampler = Sampler(parts.model, parts.tokenizer, SamplingSection(), ends)
    try:
        with memory_of("sampling.rows", 4):
            drawn = [each for ended in sampler.generate(prompts, ["", ""], 2, max_new_tokens=3) for each in ended]
            computed = [
                values_of(parts.model, [prompts[each.prompt]], [each.token_ids], 1.0)[0] for each in drawn
            ]  # each by itself, so that nothing is padded, and no prompt shared
    except NotFiniteError as error:
        raise ModelError(
            f"{name}: its logits are NaN before any training: is the file whole, and model.dtype its own?"
        ) from error
    except MemoryLimitError:
        raise
    except Exception as error:  # whatever an architecture that lacks what is needed makes torch or Python raise
        raise ModelError(f"{name}: it cannot be sampled with a key-value cache: {error}") from error
    pairs = [
        (said, again)
        for each, values in zip(drawn, computed, strict=True)
        for said, again in zip(each.logprobs, values, strict=True)
    ]
    apart = math.fsum(abs(said - again) for said, again in pairs) / len(pairs)
    if apart > MOST_APART:
        raise ModelError(
            f"{name}: when it reads what it has sampled its log-probabilities are {apart:.2g} apart from those that "
            "were sampled, so that it would be trained on what it did not say"
        )


def model_folder(config: Config) -> Path:
    """Where the trained model is exported to."""
    return Path(config.folder) / "model"


def data_sha256(config: Config) -> dict[str, str]:
    """What the data files contain, so that a resumed run notices that one has changed."""
    files = {"train": config.data.train, "heldout": config.data.heldout}
    return {name: _sha256(path) for name, path in files.items() if path}


def _sha256(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def memory_of(setting: str, value: int) -> Iterator[None]:
    """Turn a full memory into `MemoryLimitError`, which names the setting that decides how much is used."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise MemoryLimitError(_lower(setting, value)) from error
    except RuntimeError as error:
        if "allocate memory" not in str(error):  # of torch's allocator on a CPU
            raise
        raise MemoryLimitError(_lower(setting, value)) from error


def _lower(setting: str, value: int) -> str:
    return f"memory is full: lower {setting}, which is {value}, and resume; the last checkpoint is as it was"

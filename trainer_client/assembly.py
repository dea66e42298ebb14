"""What every task begins with: the model, its sampler and the prompts, made from a configuration and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainer_client.config import Config
from trainer_client.data import PromptEncoder, Row, hold_out, read_rows
from trainer_client.heldout import refuse_overlap
from trainer_client.model import context_length, end_ids, load_policy, load_tokenizer
from trainer_client.rollout import Sampler
from trainer_client.training_errors import ConfigError, MemoryLimitError


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


def assemble(config: Config) -> Parts:
    """The parts of a run that samples. Raises `TrainingError`."""
    if Path(config.model.path).resolve() == model_folder(config).resolve():
        raise ConfigError(f"model.path: the run would overwrite it, as {model_folder(config)}; choose another folder")
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    tokenizer = load_tokenizer(config.model)
    model = load_policy(config.model, config.seed)
    sampler = Sampler(model, tokenizer, config.sampling, end_ids(model, tokenizer, config.sampling))
    rows = read_rows(config.data.train)
    held_out: list[Row] = []
    if config.data.hold_out:
        rows, held_out = hold_out(rows, config.data.hold_out, config.seed)
    elif config.data.heldout is not None:
        held_out = read_rows(config.data.heldout)
    refuse_overlap(rows, held_out)
    context = context_length(model)
    longest = max(config.sampling.max_new_tokens, config.evaluation.max_new_tokens or 0)
    if context is not None and longest >= context:
        raise ConfigError(f"sampling.max_new_tokens: {longest} leave no room for a prompt in a context of {context}")
    encoder = PromptEncoder(tokenizer, config.data, None if context is None else context - longest)
    return Parts(
        model, tokenizer, sampler, Prompts(*encoder.encode_all(rows)),
        Prompts(*encoder.encode_all(held_out)) if held_out else Prompts([], []),
    )  # fmt: skip


def model_folder(config: Config) -> Path:
    """Where the trained model is exported to."""
    return Path(config.folder) / "model"


def data_sha256(config: Config) -> dict[str, str]:
    """What the data files contain, so that a resumed run notices that one has changed."""
    files = {"train": config.data.train, "heldout": config.data.heldout}
    return {name: hashlib.sha256(Path(path).read_bytes()).hexdigest() for name, path in files.items() if path}


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

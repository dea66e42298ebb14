"""Small models and prompts for tests of the trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from examples.sorting.make import model as sorting_model
from examples.sorting.make import tokenizer
from trainer_client.config import Config, SamplingSection, from_fields
from trainer_client.rollout import Completion, Sampler

EOS = 12
VOCABULARY = 14
PROMPTS = [[1, 2, 3, 4, 10], [5, 10], [9, 9, 8, 10]]
"""Of different lengths, so that batches have padding."""


def policy(seed: int = 1) -> Any:
    """The untrained model of the sorting example, with logits far enough apart for a distribution to have a shape."""
    made = sorting_model(seed)
    with torch.no_grad():
        made.lm_head.weight.mul_(8)
    return made


def other(architecture: str) -> Any:
    """A tiny model of another architecture: grouped heads, tied weights, or a sliding window."""
    torch.manual_seed(2)
    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64,
        "initializer_range": 0.5, "pad_token_id": None, "bos_token_id": None, "eos_token_id": EOS,
    }  # fmt: skip
    made: dict[str, Any] = {
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**shape)),
        "gemma": lambda: GemmaForCausalLM(GemmaConfig(**shape, tie_word_embeddings=True)),
        "mistral": lambda: MistralForCausalLM(MistralConfig(**shape, sliding_window=4)),
    }
    return made[architecture]()


def sampler(model: Any, **sampling: Any) -> Sampler:
    return Sampler(model, tokenizer(), SamplingSection(max_new_tokens=6, **sampling), frozenset([EOS]))


def drawn(of: Sampler, prompts: list[list[int]], group: int = 2, **options: Any) -> list[list[Completion]]:
    """Completions by prompt and sample."""
    keys = options.pop("keys", [f"key{place}" for place in range(len(prompts))])
    groups: list[list[Completion]] = [[] for _ in prompts]
    for finished in of.generate(prompts, keys, group, **options):
        for completion in finished:
            groups[completion.prompt].append(completion)
    return [sorted(each, key=lambda completion: completion.sample) for each in groups]


def sorting_config(data: Path, folder: Path, *overrides: str, **sections: Any) -> Config:
    """A run on the sorting example that was made in `data`."""
    fields: dict[str, Any] = {
        "run": folder.name, "folder": str(folder), "threads": 1, "model": {"path": str(data / "model")},
        "data": {"train": str(data / "train.jsonl"), "heldout": str(data / "heldout.jsonl")},
        "sampling": {"max_new_tokens": 16}, "evaluation": {"every": 0}, **sections,
    }  # fmt: skip
    return from_fields(fields, overrides)

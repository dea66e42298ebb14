"""One small preference task for our trainer and for TRL's: a model whose weights are a formula, and answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from examples.sorting.make import tokenizer

GOLDEN = Path(__file__).parent / "golden" / "trl_preference.json"
"""What TRL's DPOTrainer and KTOTrainer say of each case, step by step; tests/trainers/trl_preference.py writes it."""
STEPS, RATE = 6, 3e-3
PAIRS = [
    {"prompt": "4071>", "chosen": "0147", "rejected": "41"},
    {"prompt": "9>", "chosen": "9", "rejected": "9 9 9 9"},
    {"prompt": "32>", "chosen": "23", "rejected": "32"},
    {"prompt": "555>", "chosen": "555", "rejected": "5"},
    {"prompt": "81 0>", "chosen": "0 1 8", "rejected": "810"},
]
LABELS = [
    {"prompt": "4071>", "completion": "0147", "label": True},
    {"prompt": "9>", "completion": "9 9 9 9", "label": False},
    {"prompt": "32>", "completion": "0123", "label": True},
    {"prompt": "555>", "completion": "0", "label": False},
    {"prompt": "81 0>", "completion": "018", "label": True},
    {"prompt": "7>", "completion": "0177", "label": True},
]
"""Each prompt once: then KTO's mismatched answers can be the same in both. Most are alike, for a z0 above 0."""
CASES: dict[str, dict[str, Any]] = {
    "dpo": {"loss": "dpo", "beta": 0.2},
    "dpo with nll": {"loss": "dpo", "beta": 0.2, "nll": 0.7},
    "ipo": {"loss": "ipo", "beta": 0.2},
    "kto": {"loss": "kto", "beta": 0.3, "desirable_weight": 1.5, "undesirable_weight": 0.8},
}
"""The fields of `preference` that make them differ."""


def model() -> Any:
    """A Qwen3 of two small layers; its weights depend on no generator of random numbers."""
    text = tokenizer()
    config = Qwen3Config(
        vocab_size=len(text), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=64, eos_token_id=text.eos_token_id,
        pad_token_id=text.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    make: Any = Qwen3ForCausalLM
    made = make(config)
    with torch.no_grad():
        for number, weight in enumerate(made.parameters()):
            places = torch.arange(weight.numel(), dtype=torch.float64)
            waves = torch.sin(places * places * 0.37 + places * 1.7 + number).view(weight.shape)
            weight.copy_(1 + 0.1 * waves if weight.dim() == 1 else 0.4 * waves)
    return made


def write(folder: Path) -> None:
    """`model/`, `pairs.jsonl` and `labels.jsonl`.

    The labels are written backwards. TRL lends each completion to the next row, we lend it to the one before: so each
    prompt gets the same one from both.
    """
    model().save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    for name, rows in (("pairs", PAIRS), ("labels", LABELS[::-1])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

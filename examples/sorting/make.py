"""Make the sorting example: a model of a million weights, its tokenizer, and prompts such as `4071>` (`0147`).

    python examples/sorting/make.py runs/sorting

A quarter of the answers to learn from are lists of three guesses with the right one among them. So the policy knows
how to guess before it is rewarded, and a reward that is paid for an answer *anywhere* in the completion is a trap.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

CHARACTERS = "0123456789> "
END, PAD = "<end>", "<pad>"
DIGITS = 4
HELD_OUT = 256
TRAIN = 5120
LISTS = 0.25
"""The share of answers that are lists of guesses."""


def tokenizer() -> PreTrainedTokenizerFast:
    """One token for each character."""
    vocabulary = {symbol: place for place, symbol in enumerate([*CHARACTERS, END, PAD])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD))
    core.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    core.decoder = decoders.Fuse()
    fast: Any = PreTrainedTokenizerFast
    made: PreTrainedTokenizerFast = fast(tokenizer_object=core, eos_token=END, pad_token=PAD, unk_token=PAD)
    return made


def model(seed: int) -> Qwen3ForCausalLM:
    """A Qwen3 of 4 layers with random weights."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(CHARACTERS) + 2, hidden_size=128, intermediate_size=384, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=4, head_dim=32, max_position_embeddings=64,
        eos_token_id=len(CHARACTERS), pad_token_id=len(CHARACTERS) + 1, bos_token_id=None,
    )  # fmt: skip
    made: Any = Qwen3ForCausalLM
    return made(config)


def rows(count: int, seed: int, without: frozenset[str] = frozenset()) -> list[dict[str, str]]:
    """`count` different prompts, each with its reference and an answer to learn from."""
    draw = random.Random(f"sorting/{seed}")  # noqa: S311 (no secret)
    prompts: dict[str, dict[str, str]] = {}
    while len(prompts) < count:
        digits = [draw.choice("0123456789") for _ in range(DIGITS)]
        prompt = "".join(digits) + ">"
        if prompt in prompts or prompt in without:
            continue
        right = "".join(sorted(digits))
        answer = " ".join(_guesses(right, draw)) if draw.random() < LISTS else right
        prompts[prompt] = {"prompt": prompt, "reference": right, "answer": answer}
    return list(prompts.values())


def _guesses(right: str, draw: random.Random) -> list[str]:
    """The right answer among two orders of the same digits."""
    others = ["".join(draw.sample(right, len(right))) for _ in range(2)]
    guesses = [right, *others]
    draw.shuffle(guesses)
    return guesses


def make(folder: Path, seed: int = 0) -> None:
    """Write `model/`, `train.jsonl` and `heldout.jsonl` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    model(seed).save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    held_out = rows(HELD_OUT, seed)
    train = rows(TRAIN, seed + 1, frozenset(row["prompt"] for row in held_out))
    for name, content in (("heldout", held_out), ("train", train)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write model/, train.jsonl and heldout.jsonl")
    parser.add_argument("--seed", type=int, default=0, help="of weights and prompts (0)")
    arguments = parser.parse_args()
    make(arguments.folder, arguments.seed)

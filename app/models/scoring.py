"""Sequence classifiers as reward models: a conversation in, one number out.

Scores come from the last token of the conversation itself, found by its position and never by a padding id: in many
models padding and end of sequence are one id.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from app.models.batching import TooLargeError
from app.models.loading import ModelError, device_of, folder_of, loaded, longest, tokenizer_of
from app.models.reading import Encoded, Reader


class RewardModel:
    """A sequence classifier with one label. Not safe for concurrent use: one thread runs its batches."""

    def __init__(self, model: str, *, device: str = "auto", max_tokens: int | None = None) -> None:
        """Load it. Raises `ModelError`, `DoesNotFitError`, `DamagedError`."""
        folder = folder_of(model)
        self.device = device_of(device)
        tokenizer = tokenizer_of(folder)
        self._model = loaded(AutoModelForSequenceClassification, folder, self.device)
        config = self._model.config
        if config.num_labels != 1:
            raise ModelError(f"{folder}: it has {config.num_labels} labels; a reward model has one")
        head = getattr(self._model, "score", None)
        self._head: torch.nn.Linear | None = head if isinstance(head, torch.nn.Linear) else None
        self._reader = Reader(tokenizer, longest(config, tokenizer, max_tokens))
        self._padding = tokenizer.pad_token_id or 0
        paired = self._head is None and not tokenizer.chat_template and getattr(config, "type_vocab_size", 0) > 1
        self._separator: int | None = tokenizer.sep_token_id if paired else None

    @property
    def max_tokens(self) -> int:
        """Of an input; its left is cut."""
        return self._reader.max_tokens

    def encode(self, value: Mapping[str, Any]) -> Encoded:
        """The tokens of `{"messages": [...]}`, cut from the left. Raises `ValueError`."""
        return self._reader.conversation(value["messages"])

    def run(self, batch: Sequence[Sequence[int]]) -> list[float | None]:
        """One score for each input; None where it is not a finite number. Raises `TooLargeError`."""
        with torch.inference_mode():
            try:
                scores = self._scores(*padded(batch, self._padding, self.device))
            except torch.OutOfMemoryError as error:
                torch.cuda.empty_cache()
                raise TooLargeError(f"{sum(map(len, batch))} tokens do not fit into the device's memory") from error
        return [score if math.isfinite(score) else None for score in scores]

    def _scores(self, ids: torch.Tensor, mask: torch.Tensor) -> list[float]:
        if self._head is not None:
            hidden = self._model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            last = mask.sum(1) - 1
            logits = self._head(hidden[torch.arange(len(ids), device=self.device), last])
        elif self._separator is not None:  # BERT's segments: 1 behind the first separator
            ends = (ids == self._separator).long()
            segments = ((ends.cumsum(1) - ends) > 0).long() * mask
            logits = self._model(input_ids=ids, attention_mask=mask, token_type_ids=segments).logits
        else:
            logits = self._model(input_ids=ids, attention_mask=mask).logits
        scores: list[float] = logits[:, 0].float().tolist()
        return scores


def padded(batch: Sequence[Sequence[int]], padding: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, both [inputs, longest input], padded on the right."""
    width = max(map(len, batch))
    ids = torch.full((len(batch), width), padding, dtype=torch.long)
    mask = torch.zeros(len(batch), width, dtype=torch.long)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return ids.to(device), mask.to(device)

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

from app.models.forward import forward, is_causal, padded
from app.models.loading import ModelError, check_known, device_of, folder_of, loaded, longest, tokenizer_of
from app.models.reading import Encoded, Reader


class RewardModel:
    """A sequence classifier with one label."""

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
        if self._head is not None and not tokenizer.chat_template:
            raise ModelError(
                f"{folder}: it has no chat template, so nothing says how the model reads a conversation; put the one "
                "that it was trained with into its folder as chat_template.jinja"
            )
        self._masks = not (self._head is not None and is_causal(self._model))
        self._reader = Reader(tokenizer, longest(self._model, tokenizer, max_tokens))
        # encoders have a padding token of their own, and some look for it
        self._padding = None if self._head is not None else (tokenizer.pad_token_id or 0)
        paired = self._head is None and not tokenizer.chat_template and getattr(config, "type_vocab_size", 0) > 1
        self._separator: int | None = tokenizer.sep_token_id if paired else None

    @property
    def max_tokens(self) -> int:
        """Of an input; its left is cut."""
        return self._reader.max_tokens

    def encode(self, value: Mapping[str, Any]) -> Encoded:
        """The tokens of `{"messages": [...]}`, cut from the left. Raises `ValueError`."""
        encoded = self._reader.conversation(value["messages"])
        check_known(self._model, encoded.tokens)
        return encoded

    def run(self, batch: Sequence[Sequence[int]]) -> list[float | None]:
        """One score for each input; None where it is not a finite number.

        Raises `TooLargeError`, `DeviceLostError`.
        """
        scores = forward(self.device, lambda: self._scores(*padded(batch, self._padding, self.device)))
        return [score if math.isfinite(score) else None for score in scores]

    def _scores(self, ids: torch.Tensor, mask: torch.Tensor) -> list[float]:
        attention = mask if self._masks else None
        if self._head is not None:
            hidden = self._model.base_model(
                input_ids=ids, attention_mask=attention, use_cache=False
            ).last_hidden_state
            last = mask.sum(1) - 1
            logits = self._head(hidden[torch.arange(len(ids), device=self.device), last])
        elif self._separator is not None:  # BERT's segments: 1 behind the first separator
            ends = (ids == self._separator).long()
            segments = ((ends.cumsum(1) - ends) > 0).long() * mask
            logits = self._model(input_ids=ids, attention_mask=attention, token_type_ids=segments).logits
        else:
            logits = self._model(input_ids=ids, attention_mask=attention).logits
        scores: list[float] = logits[:, 0].float().tolist()
        return scores

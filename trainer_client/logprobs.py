"""Log-probabilities of completions under a model: what every loss is made of.

Only completion positions go through the language-model head, whose output is by far the largest tensor of training.
Where several rows answer the same prompt, the prompt is read once, with gradients, and its keys and values are shared
by them; the gradient is the same sum, and a group of 8 on a long prompt costs an eighth of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from trainer_client.rollout import left_padded


@dataclass(slots=True)
class TokenLogprobs:
    """`logp[B, T]` in float32, and the `entropy[B, T]` of each place if asked for, detached.

    T is the longest completion of the call; beyond the end of a row stands what a loss must mask.
    """

    logp: Tensor
    entropy: Tensor | None


def completion_logprobs(
    model: Any,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    *,
    temperature: float = 1.0,
    entropy: bool = False,
) -> TokenLogprobs:
    """Of row `i`, the log-probability of each token of `completions[i]` after `prompts[i]` and the tokens before it.

    `temperature` divides the logits, as it does when sampling.
    """
    device = model.device
    tokens = right_padded(completions, device)
    different: dict[tuple[int, ...], int] = {}
    of_row = [different.setdefault(tuple(prompt), len(different)) for prompt in prompts]
    if len(different) < len(prompts) and can_share_prompts(model):
        logits = _shared(model, list(different), torch.tensor(of_row, device=device), tokens)
    else:
        logits = _plain(model, prompts, tokens)
    return _token_logprobs(logits, tokens, temperature, entropy)


def can_share_prompts(model: Any) -> bool:
    """Whether keys and values of a prompt may be read once: full attention in all layers, and a cache in training."""
    if getattr(model, "is_activation_checkpointing", False) and model.training:
        return False  # activations are computed anew in the backward pass, when the cache has moved on
    layers = DynamicCache(config=model.config.get_text_config()).layers
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


def right_padded(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Ids `[B, T]` with their first token in the first column, and 0 after their last."""
    padded = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = torch.tensor(row)
    return padded.to(device)


def _shared(model: Any, prompts: Sequence[Sequence[int]], of_row: Tensor, tokens: Tensor) -> Tensor:
    """Logits `[B, T, V]`, each different prompt read once."""
    ids, mask = left_padded(prompts, model.device)
    lengths = mask.sum(dim=1)
    padded = bool((lengths < ids.shape[1]).any())
    read = model(
        input_ids=ids, attention_mask=mask if padded else None, use_cache=True, logits_to_keep=1,
        cache=DynamicCache(config=model.config.get_text_config()),
        position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
    )  # fmt: skip
    first = read.logits[of_row]
    if tokens.shape[1] == 1:
        return first
    cache = read.cache
    cache.batch_select_indices(of_row)
    given = tokens[:, :-1]
    steps = torch.arange(given.shape[1], device=model.device)
    rest = model(
        input_ids=given, cache=cache, use_cache=True,
        attention_mask=torch.cat([mask[of_row], torch.ones_like(given)], dim=1) if padded else None,
        position_ids=lengths[of_row].unsqueeze(1) + steps,
    ).logits  # fmt: skip
    return torch.cat([first, rest], dim=1)


def _plain(model: Any, prompts: Sequence[Sequence[int]], tokens: Tensor) -> Tensor:
    """Logits `[B, T, V]`, every row read whole."""
    ids, mask = left_padded(prompts, model.device)
    given = tokens[:, :-1]
    mask = torch.cat([mask, torch.ones_like(given)], dim=1)
    output = model(
        input_ids=torch.cat([ids, given], dim=1), attention_mask=mask, use_cache=False,
        position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0), logits_to_keep=tokens.shape[1],
    )  # fmt: skip
    logits: Tensor = output.logits
    return logits


def _token_logprobs(logits: Tensor, tokens: Tensor, temperature: float, entropy: bool) -> TokenLogprobs:
    """Gathered logits less their log-sum-exp, which needs no second tensor of the vocabulary's size."""
    logits = logits.float() / temperature if temperature != 1 else logits.float()
    normaliser = logits.logsumexp(-1)
    logp = logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) - normaliser
    if not entropy:
        return TokenLogprobs(logp, None)
    with torch.no_grad():
        probabilities = (logits - normaliser.unsqueeze(-1)).exp()
        return TokenLogprobs(logp, normaliser - (probabilities * logits).sum(-1))


def values_of(
    model: Any, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], temperature: float
) -> list[list[float]]:
    """The log-probabilities of each completion's tokens as plain numbers, by the model in evaluation mode."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logp = completion_logprobs(model, prompts, completions, temperature=temperature).logp
    finally:
        model.train(training)
    return [row[: len(tokens)] for row, tokens in zip(logp.tolist(), completions, strict=True)]

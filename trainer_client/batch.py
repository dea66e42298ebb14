"""From scored groups to the tensors of an update, and how an update is cut into passes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from trainer_client.advantages import (
    character_ends,
    estimate,
    overlong_penalty,
    step_advantages,
    step_tokens,
    usable,
)
from trainer_client.algorithms import Algorithm
from trainer_client.groups import rows_in_loss
from trainer_client.rewards import Scored
from trainer_client.rollout import Completion, Sampler


@dataclass(slots=True)
class Batch:
    """What one rollout is trained with. R rows in prompt order, T the most tokens of one."""

    prompts: list[list[int]]
    tokens: list[list[int]]
    group: Tensor
    """`[R]`: which rows share a prompt, counted from 0."""
    mask: Tensor
    """`[R, T]`: 1 where a token is in the loss."""
    sampled: Tensor
    """`[R, T]`: log-probabilities at sampling, as are `old` by the trainer and `reference`."""
    old: Tensor | None
    reference: Tensor | None
    advantages: Tensor
    """`[R]` or `[R, T]`."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def make_batch(
    scored: Sequence[Scored],
    algorithm: Algorithm,
    sampler: Sampler,
    *,
    max_tokens: int,
    mask_truncated: bool,
    step_scores: bool,
    importance_cap: float | None,
) -> Batch:
    """The tensors of the groups that are trained on; `max_tokens` is the longest completion allowed."""
    rows = [completion for each in scored for completion in each.group.completions]
    in_loss = [
        included
        for each in scored
        for included in rows_in_loss(
            each.scores,
            [completion.finish_reason == "length" for completion in each.group.completions],
            mask_truncated=mask_truncated,
        )
    ]
    width = max(len(row.token_ids) for row in rows)
    mask = torch.zeros(len(rows), width)
    for place, (row, included) in enumerate(zip(rows, in_loss, strict=True)):
        if included:
            mask[place, : len(row.mask)] = torch.tensor(row.mask, dtype=torch.float32)
    group = torch.tensor([place for place, each in enumerate(scored) for _ in each.scores])
    scores = torch.tensor(
        [math.nan if score is None else score for each in scored for score in each.scores], dtype=torch.float64
    )
    if algorithm.overlong_buffer:
        lengths = torch.tensor([len(row.token_ids) for row in rows])
        scores = scores + overlong_penalty(lengths, max_tokens, max(round(algorithm.overlong_buffer * max_tokens), 1))
    sampled = _padded([row.logprobs for row in rows], width)
    old = None if rows[0].old_logprobs is None else _padded([row.old_logprobs or [] for row in rows], width)
    reference = (
        None if rows[0].reference_logprobs is None else _padded([row.reference_logprobs or [] for row in rows], width)
    )
    if step_scores:
        advantages = step_advantages(scores, [_steps(each, sampler) for each in _rows(scored)], group, width)
    else:
        kl = None if old is None or reference is None else old - reference
        tokens = _padded([row.mask for row in rows], width)  # of rows that are cut out of the loss as well
        advantages = estimate(algorithm, scores, group, tokens, kl)
    mask = mask * usable(scores, group).unsqueeze(1)
    if importance_cap is not None and old is not None:
        by_token = advantages if advantages.dim() == 2 else advantages.unsqueeze(1)
        advantages = by_token * (old - sampled).exp().clamp(max=importance_cap)
    return Batch(
        [each.group.prompt_ids for each in scored for _ in each.scores], [row.token_ids for row in rows],
        group, mask, sampled, old, reference, advantages,
    )  # fmt: skip


def minibatch(batch: Batch, number: int, count: int) -> list[int]:
    """The rows of one of `count` minibatches: whole groups, in prompt order; maybe none, where groups are few."""
    groups = int(batch.group[-1]) + 1
    first, last = groups * number // count, groups * (number + 1) // count
    return [row for row, group in enumerate(batch.group.tolist()) if first <= group < last]


def micro_batches(
    prompts: Sequence[Sequence[int]], tokens: Sequence[Sequence[int]], rows: Sequence[int], most: int
) -> list[list[int]]:
    """Rows cut into passes of at most `most`, in the way that computes fewer positions.

    `prompts` and `tokens` are of all rows. In the order given, rows of one prompt share a pass, which reads it once;
    by length, there is little padding. Which is better depends on how long prompts and completions are. The sum of
    the losses is the same.
    """
    in_order = [list(rows[start : start + most]) for start in range(0, len(rows), most)]
    by_length = _cut_by_length(tokens, sorted(rows, key=lambda row: len(tokens[row])), most)
    return min(in_order, by_length, key=lambda passes: sum(_positions(prompts, tokens, each) for each in passes))


SMALLEST_PASS = 16
"""Rows below which a pass is not cut for the sake of padding: each has a cost of its own."""


def _cut_by_length(tokens: Sequence[Sequence[int]], rows: Sequence[int], most: int) -> list[list[int]]:
    """Rows that come in order of length, cut where the next is much longer than the first of its pass."""
    passes: list[list[int]] = []
    for row in rows:
        last = passes[-1] if passes else []
        longer = bool(last) and len(tokens[row]) > 1.5 * len(tokens[last[0]])
        if not last or len(last) == most or (longer and len(last) >= SMALLEST_PASS):
            passes.append([row])
        else:
            last.append(row)
    return passes


def _positions(prompts: Sequence[Sequence[int]], tokens: Sequence[Sequence[int]], rows: Sequence[int]) -> int:
    """Positions that a pass computes, padding included."""
    different = {tuple(prompts[row]) for row in rows}
    return len(different) * max(map(len, different)) + len(rows) * max(len(tokens[row]) for row in rows)


def _rows(scored: Sequence[Scored]) -> list[tuple[Completion, list[tuple[float, int]]]]:
    """Each completion with its steps as (score, character that it ends before)."""
    return [own for each in scored for own in zip(each.group.completions, each.steps(), strict=True)]


def _steps(row: tuple[Completion, list[tuple[float, int]]], sampler: Sampler) -> list[tuple[float, int]]:
    """A completion's steps as (score, last token)."""
    completion, spans = row
    return step_tokens(spans, character_ends(completion.token_ids, sampler.text)) if spans else []


def _padded(rows: Sequence[Sequence[float]], width: int) -> Tensor:
    padded = torch.zeros(len(rows), width)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = torch.tensor(row)
    return padded

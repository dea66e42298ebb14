"""From scores to advantages, as pure functions: baselines, KL in the reward, step scores, the length penalty.

B is rows, T is completion tokens. A score of NaN is one that the service did not give (unscored, pending): it is left
out of every mean and deviation, and `usable` says which rows may enter the loss. `groups[B]` says which rows share a
prompt: any integers, in any order, groups of any size.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainer_client.algorithms import Algorithm

EPSILON = 1e-4
"""Added to every standard deviation, as in TRL."""


def usable(scores: Tensor, groups: Tensor) -> Tensor:
    """Rows that may enter the loss, `bool[B]`: scored, and with at least two scores in their group."""
    return _Groups(scores, groups).usable


def group_advantages(scores: Tensor, groups: Tensor, *, deviation: bool = True) -> Tensor:
    """GRPO (arXiv 2402.03300): `(score - mean) / (std + 1e-4)` within each group, `[B]`; 0 for rows not `usable`.

    The deviation is unbiased. Without it, Dr. GRPO (arXiv 2503.20783). A group whose scores are equal gets exactly 0,
    where rounding in the mean would otherwise leave a tiny advantage that the small deviation makes large.
    """
    group = _Groups(scores, groups)
    centred = group.centred()
    if deviation:
        variance = group.sums(centred**2) / (group.counts - 1).clamp(min=1)
        centred = centred / (variance.sqrt() + EPSILON)
    return centred.float()


def leave_one_out(scores: Tensor, groups: Tensor) -> Tensor:
    """RLOO (arXiv 2402.14740): the score less the mean of its group's *other* scores, `[B]`; 0 if not `usable`."""
    return _Groups(scores, groups).against_others().float()


def reinforce_advantages(scores: Tensor, mask: Tensor, kl: Tensor | None = None, beta: float = 0.0) -> Tensor:
    """REINFORCE++ (arXiv 2501.03262): `score - beta sum of kl from t on`, whitened over the batch's tokens, `[B, T]`.

    `kl[B, T]` is `old_logp - ref_logp` (k1). Rows without a score are 0, and in no mean.
    """
    tokens = mask.bool() & ~scores.isnan().unsqueeze(1)
    returns = scores.double().unsqueeze(1).expand(tokens.shape)
    if kl is not None and beta:
        returns = returns - beta * _from_here_on(torch.where(tokens, kl.double(), 0))
    return whiten(returns, tokens)


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """`(value - mean) / (std + 1e-4)` over all unmasked places together; 0 at the masked, and where all are equal."""
    mask = mask.bool()
    inside = values.double()[mask]
    if inside.numel() < 2 or inside.min() == inside.max():
        return torch.zeros(values.shape, dtype=torch.float32, device=values.device)
    scaled = (values.double() - inside.mean()) / (inside.std() + EPSILON)
    return torch.where(mask, scaled, 0).float()


def penalised(scores: Tensor, kl: Tensor, mask: Tensor, beta: float) -> Tensor:
    """RLOO's reward: the score less beta times the sequence's `kl` (k1: `old_logp - ref_logp`, summed), `[B]`."""
    return scores.double() - beta * torch.where(mask.bool(), kl.double(), 0).sum(dim=1)


def estimate(algorithm: Algorithm, scores: Tensor, groups: Tensor, mask: Tensor, kl: Tensor | None = None) -> Tensor:
    """The advantages that `algorithm` uses, `[B]` or, for REINFORCE++, `[B, T]`.

    `kl[B, T]`, `old_logp - ref_logp`, is needed where the algorithm takes the KL off the reward and beta is above 0;
    ValueError is raised without it.
    """
    in_reward = algorithm.kl == "reward" and algorithm.beta > 0
    if in_reward and kl is None:
        raise ValueError("the KL is taken off the reward: the reference model's log-probabilities are needed")
    if algorithm.advantage == "global":
        return reinforce_advantages(scores, mask, kl if in_reward else None, algorithm.beta)
    if in_reward and kl is not None:
        scores = penalised(scores, kl, mask, algorithm.beta)
    if algorithm.advantage == "leave_one_out":
        return leave_one_out(scores, groups)
    return group_advantages(scores, groups, deviation=algorithm.deviation)


def combine(scores: Tensor, weights: Sequence[float], normalise: Sequence[bool], groups: Tensor) -> Tensor:
    """One score for each row from several verifiers' `scores[B, K]`: their weighted sum, `[B]`.

    A verifier that is to be normalised enters with its group advantage instead of its score (GDPO, arXiv 2601.05242),
    so that one with a narrow range counts as much as one with a wide range. A row that lacks the score of a verifier
    whose weight is not 0 has none (NaN): a sum of what is there would be another reward.
    """
    if not scores.shape[1] == len(weights) == len(normalise):
        raise ValueError(f"{scores.shape[1]} verifiers, {len(weights)} weights and {len(normalise)} normalise")
    counted = [index for index, weight in enumerate(weights) if weight]
    missing = scores[:, counted].isnan().any(dim=1)
    total = torch.zeros(len(scores), dtype=torch.float64, device=scores.device)
    for index in counted:
        part = torch.where(missing, torch.nan, scores[:, index].double())
        total += weights[index] * (group_advantages(part, groups).double() if normalise[index] else part)
    return torch.where(missing, torch.nan, total)


def overlong_penalty(lengths: Tensor, max_length: int, buffer: int) -> Tensor:
    """DAPO's soft punishment of length (arXiv 2503.14476, eq. 13), in tokens, `[B]`, from 0 to -1.

    0 up to `max_length - buffer`, then falling evenly to -1 at `max_length`. Add it to the scores after degenerate
    groups were told apart, or lengths alone would make a group look as if it had something to teach.
    """
    if not 0 < buffer <= max_length:
        raise ValueError(f"the overlong buffer must be from 1 to max_length ({max_length}) tokens, not {buffer}")
    return ((max_length - buffer - lengths.float()) / buffer).clamp(-1, 0)


def step_advantages(
    outcomes: Tensor, steps: Sequence[Sequence[tuple[float, int]]], groups: Tensor, length: int
) -> Tensor:
    """PRIME (Cui et al. 2025, arXiv 2502.01456) for step scores of any origin, `[B, length]`.

    `steps[b]` are a completion's (score, index of the token that the step ends in); see `step_tokens`. For token t,
    the sum over steps that end at or after t of the step's score less its baseline, plus the leave-one-out outcome.
    The baseline is the mean over the group's other completions of each one's mean step score; where none of them has
    steps there is nothing to compare with, and the steps do not count. Rows not `usable` are 0 and in no baseline.
    Where all outcomes of a group are equal, and all its step scores, it gets exactly 0.
    """
    device = outcomes.device
    means = torch.tensor([_mean([score for score, _ in row]) for row in steps], dtype=torch.float64, device=device)
    counted = _Groups(torch.where(usable(outcomes, groups), means, torch.nan), groups)
    ahead = counted.against_others()
    at_ends = torch.zeros((len(steps), length), dtype=torch.float64, device=device)
    for row, (row_steps, comparable) in enumerate(zip(steps, counted.usable.tolist(), strict=True)):
        if comparable:
            for score, token in row_steps:  # the score less its baseline, both against the row's own mean
                at_ends[row, token] += (score - means[row]) + ahead[row]
    return (_from_here_on(at_ends) + leave_one_out(outcomes, groups).double().unsqueeze(1)).float()


def step_tokens(spans: Sequence[tuple[float, int]], ends: Sequence[int]) -> list[tuple[float, int]]:
    """Steps given by the character at which they end, as `step_advantages` takes them.

    `spans` are (score, end) with `end` exclusive, as in a verdict's `steps`; `ends` are `character_ends`. A step ends
    in the token that completes its last character; one that ends beyond the text, in the last token.
    """
    return [(score, min(bisect_left(ends, end), len(ends) - 1)) for score, end in spans]


def character_ends(token_ids: Sequence[int], decode: Callable[[list[int]], str]) -> list[int]:
    """How many characters of the completion's text are complete after each of its tokens.

    Computed from the ids that were sampled, never by tokenising the text again. A character whose bytes are split
    over tokens counts with the last of them (a prefix that ends within one decodes to U+FFFD at its end), and a
    special token that `decode` leaves out adds nothing. Each step decodes a short window with context before it,
    since some tokenisers drop a space at the start of what they decode.
    """
    ends: list[int] = []
    length = context = done = 0
    for index in range(len(token_ids)):
        text = decode(list(token_ids[context : index + 1]))
        complete = text.rstrip("�")
        now = length + len(complete) - len(decode(list(token_ids[context:done])))
        if complete == text:
            length, context, done = now, done, index + 1
        ends.append(max(now, length))
    if done < len(token_ids):  # bytes at the end that never become a character stand in the text as U+FFFD
        ends[-1] = len(decode(list(token_ids)))
    return ends


class _Groups:
    """Sums over groups of the rows that count: scored, in a group with two scores or more. Double precision."""

    def __init__(self, scores: Tensor, groups: Tensor) -> None:
        _, self.index = groups.unique(return_inverse=True)
        scored = ~scores.isnan()
        self.usable = scored
        self.usable = scored & (self.sums(scored.double()) >= 2)
        self.values = torch.where(self.usable, scores.double(), 0)
        self.counts = self.sums(self.usable.double())

    def sums(self, values: Tensor) -> Tensor:
        """For each row the sum of `values[B]` over the usable rows of its group."""
        zeros = torch.zeros(len(values), dtype=torch.float64, device=values.device)
        return zeros.scatter_add(0, self.index, torch.where(self.usable, values, 0))[self.index]

    def centred(self) -> Tensor:
        """Values less their group's mean; exactly 0 throughout a group of equal values, and for rows not usable."""
        unequal = self.usable & (self._lowest(self.values) != -self._lowest(-self.values))
        return torch.where(unequal, self.values - self.sums(self.values) / self.counts.clamp(min=1), 0)

    def against_others(self) -> Tensor:
        """Values less the mean of their group's others; exactly 0 where `centred` is."""
        return self.centred() * self.counts / (self.counts - 1).clamp(min=1)

    def _lowest(self, values: Tensor) -> Tensor:
        start = torch.full_like(values, torch.inf)
        return start.scatter_reduce(0, self.index, torch.where(self.usable, values, torch.inf), "amin")[self.index]


def _mean(scores: Sequence[float]) -> float:
    """Their mean, which is exact where all are equal; NaN for none."""
    if not scores:
        return math.nan
    return scores[0] + math.fsum(score - scores[0] for score in scores) / len(scores)


def _from_here_on(values: Tensor) -> Tensor:
    """For each token the sum of `values[B, T]` from it to the end of the row."""
    return values.flip(1).cumsum(1).flip(1)

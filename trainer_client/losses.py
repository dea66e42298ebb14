"""Losses as pure functions of log-probabilities: the GRPO family, and DPO, IPO and KTO.

B is rows, T is completion tokens. Every `mask[B, T]` is 1 where a token was sampled by the policy and takes part, and
0 for padding, for what a tool wrote, and on every token of a row that is left out. What stands at masked places is
never read: it may be NaN, and gets no gradient.

A loss is a sum divided by a count. Pass the count of the whole batch as `denominator` to each of its micro-batches,
and their losses add up to the loss of the batch, whatever the split.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everyone knows
from torch import Tensor

from trainer_client.algorithms import Aggregate, Ratio

MAX_LOG_RATIO = 20.0
"""Log-ratios are cut to +-20 before `exp`, so that a runaway policy gives a huge loss and not an infinite one, which
times an advantage of 0 would be NaN. It acts above ratios of 4.8e8, where there is then no gradient."""


@dataclass(frozen=True)
class Loss:
    """A loss to call `backward` on, and what `summarise` makes figures of: sums over tokens and rows, detached."""

    loss: Tensor
    stats: dict[str, Tensor]


def policy_loss(
    logp: Tensor,
    old_logp: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    ratio: Ratio = "token",
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    cap: float | None = None,
    aggregate: Aggregate = "token",
    max_length: int | None = None,
    denominator: float | Tensor | None = None,
    ref_logp: Tensor | None = None,
    beta: float = 0.0,
    unbiased_kl: bool = False,
    entropy: Tensor | None = None,
) -> Loss:
    """The loss of the GRPO family.

    `logp[B, T]` is under the policy that is trained, `old_logp` under the one that sampled, `advantages` are `[B]` or
    `[B, T]`. Per token, with the ratio r and the advantage A:

        r = exp(logp - old)                               token     (PPO, arXiv 1707.06347)
        r = exp(mean over the sequence of logp - old)     sequence  (GSPO, arXiv 2507.18071)
        r = exp(sum over the sequence of logp - old)      product   (RLOO, arXiv 2402.14740: a sequence is one action)
        loss = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)
        loss = -min(r, cap) A logp, with no gradient through min(r, cap)    where `cap` is set (CISPO, 2506.13585)
        loss + beta (exp(ref - logp) - (ref - logp) - 1)                    where beta is above 0 (k3, 2402.03300)

    With `unbiased_kl` k3 is multiplied by the token's own ratio, whose gradient counts, so that the gradient of its
    expectation is that of the reverse KL, which without it is another's (DeepSeek-V3.2, arXiv 2512.02556).

    Then, as `aggregate` says, the sum over all tokens divided by their number; the sum over sequences of each
    one's mean, divided by the number of rows; or the sum over tokens divided by rows x `max_length`.

    `entropy[B, T]` is only logged. With one update of a fresh rollout `logp` equals `old_logp`: every ratio is 1, and
    clipping never acts.
    Raises ValueError where `max_length` or `ref_logp` is missing and needed.
    """
    mask = mask.bool()
    logp, old_logp = _inside(logp, mask), _inside(old_logp, mask)
    advantages = advantages.float()
    advantages = _inside(advantages, mask) if advantages.dim() == 2 else advantages.unsqueeze(1).expand_as(logp)
    log_ratio = _log_ratio(logp, old_logp, mask, ratio)
    weight = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    if cap is None:
        clipped = weight.clamp(1 - clip_low, 1 + clip_high)
        per_token = -torch.minimum(weight * advantages, clipped * advantages)
        low = (weight < 1 - clip_low) & (advantages < 0)
        high = (weight > 1 + clip_high) & (advantages > 0)
    else:
        per_token = -weight.clamp(max=cap).detach() * advantages * logp
        low, high = torch.zeros_like(mask), weight > cap
    stats = {
        "ratio": _total(weight, mask),
        "ratio_max": torch.where(mask, weight, 0).detach().amax(),
        "clip_low": _total(low, mask),
        "clip_high": _total(high, mask),
        "tokens": mask.sum(),
        "rows": mask.any(dim=1).sum(),
    }
    if ref_logp is not None:
        # Not cut below, where `exp` is safe: a policy that has left its reference behind is still pulled back.
        behind = (_inside(ref_logp, mask) - logp).clamp(max=MAX_LOG_RATIO)
        k3 = behind.exp() - behind - 1
        stats["kl"] = _total(k3, mask)
        if unbiased_kl:
            k3 = k3 * (logp - old_logp).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
        if beta:
            per_token = per_token + beta * k3
    elif beta:
        raise ValueError("beta is above 0, which needs the reference model's log-probabilities")
    if entropy is not None:
        stats["entropy"] = _total(entropy, mask)
    if aggregate == "sequence":
        per_token = per_token / mask.sum(dim=1, keepdim=True).clamp(min=1)
    if denominator is None:
        denominator = loss_denominator(mask, aggregate, max_length)
    return Loss(_divided(torch.where(mask, per_token, 0).sum(), denominator), stats)


def loss_denominator(mask: Tensor, aggregate: Aggregate, max_length: int | None = None) -> Tensor:
    """What `policy_loss` divides by for these rows: tokens, rows, or rows x `max_length`.

    A row without a token in `mask` (unscored, masked) does not count. Counts of micro-batches and processes add up;
    under data parallelism, which averages gradients, pass their sum divided by the number of processes.
    """
    if aggregate == "token":
        return mask.bool().sum()
    rows = mask.bool().any(dim=1).sum()
    if aggregate == "sequence":
        return rows
    if max_length is None:
        raise ValueError("aggregate 'max_length' (Dr. GRPO) needs max_length, the longest completion allowed")
    return rows * max_length


def _log_ratio(logp: Tensor, old_logp: Tensor, mask: Tensor, ratio: Ratio) -> Tensor:
    """Log-ratios `[B, T]`: each token's own, or the sequence's at each of its tokens.

    The sequence's has, at each token, only that token's part of its gradient, so that a mean over the row has all of
    it (GSPO-token, arXiv 2507.18071, section 4.3). That is the same where a row has one advantage, and where tokens
    have their own each gets the gradient of its own.
    """
    if ratio == "token":
        return logp - old_logp
    length = mask.sum(dim=1, keepdim=True).clamp(min=1)
    total = (logp - old_logp).sum(dim=1, keepdim=True).detach()
    own = logp - logp.detach()  # 0, with a gradient
    return total + length * own if ratio == "product" else total / length + own


def nll_loss(logp: Tensor, mask: Tensor, denominator: float | Tensor | None = None) -> Tensor:
    """The negative log-likelihood, a mean over tokens: supervised fine-tuning, and the NLL term of DPO."""
    mask = mask.bool()
    return _divided(-_inside(logp, mask).sum(), mask.sum() if denominator is None else denominator)


@dataclass(frozen=True)
class Answers:
    """Completions under the policy and under the reference model; `[B, T]` each."""

    logp: Tensor
    ref_logp: Tensor
    mask: Tensor

    def log_ratios(self) -> Tensor:
        """`log policy(y) - log reference(y)` of each whole completion, `[B]`."""
        mask = self.mask.bool()
        return (_inside(self.logp, mask) - _inside(self.ref_logp, mask)).sum(dim=1)

    def lengths(self) -> Tensor:
        """Tokens of each completion, at least 1, `[B]`."""
        return self.mask.bool().sum(dim=1).clamp(min=1)


def dpo_loss(
    chosen: Answers,
    rejected: Answers,
    *,
    beta: float = 0.1,
    nll: float = 0.0,
    pairs: float | Tensor | None = None,
    tokens: float | Tensor | None = None,
) -> Loss:
    """DPO (Rafailov et al. 2023, arXiv 2305.18290, eq. 7), with a term that keeps the chosen answers likely.

        -log sigmoid(beta (log-ratio of chosen - log-ratio of rejected)) + nll x NLL(chosen)

    a mean over pairs; the second term (Pang et al. 2024, arXiv 2404.19733) is a mean over the batch's chosen tokens,
    as in our SFT, where the paper averages each answer first. `pairs` and `tokens` are the whole batch's counts.
    """
    margin = beta * (chosen.log_ratios() - rejected.log_ratios())
    loss = _divided(-F.logsigmoid(margin).sum(), len(margin) if pairs is None else pairs)
    if nll:
        loss = loss + nll * nll_loss(chosen.logp, chosen.mask, tokens)
    return Loss(loss, _preference_stats(chosen, rejected, beta))


def ipo_loss(chosen: Answers, rejected: Answers, *, beta: float = 0.1, pairs: float | Tensor | None = None) -> Loss:
    """IPO (Azar et al. 2023, arXiv 2310.12036, eq. 17): `(h - 1 / (2 beta))^2`, a mean over pairs.

    h is the log-ratio of the chosen answer less that of the rejected one, each a mean over its tokens. The paper
    writes sums; its authors confirmed the mean to TRL, and beta then means the same at any length.
    """
    h = chosen.log_ratios() / chosen.lengths() - rejected.log_ratios() / rejected.lengths()
    loss = _divided(((h - 1 / (2 * beta)) ** 2).sum(), len(h) if pairs is None else pairs)
    return Loss(loss, _preference_stats(chosen, rejected, beta))


def kto_loss(
    answers: Answers,
    desirable: Tensor,
    reference_point: float | Tensor,
    *,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    rows: float | Tensor | None = None,
) -> Loss:
    """KTO (Ethayarajh et al. 2024, arXiv 2402.01306, eq. 7 and 8), for answers that are good or bad by themselves.

        w_d (1 - sigmoid(beta (log-ratio - z0)))   where `desirable[B]`
        w_u (1 - sigmoid(beta (z0 - log-ratio)))   elsewhere

    a mean over rows. z0 is `kto_reference_point` of the whole batch. `rows` is the whole batch's count.
    """
    log_ratios, desirable = answers.log_ratios(), desirable.bool()
    above = beta * (log_ratios - reference_point)
    losses = torch.where(
        desirable, desirable_weight * torch.sigmoid(-above), undesirable_weight * torch.sigmoid(above)
    )
    rewards = beta * log_ratios.detach()
    stats = {
        "reward": rewards.sum(),
        "accuracy": ((above.detach() > 0) == desirable).sum(),
        "rows": torch.tensor(len(log_ratios)),
    }
    return Loss(_divided(losses.sum(), len(log_ratios) if rows is None else rows), stats)


def kto_reference_point(mismatched: Answers) -> Tensor:
    """KTO's z0: the mean log-ratio of answers to *other* prompts, an estimate of the KL; no gradient, at least 0.

    `mismatched` holds each prompt with the answer that `mismatched_partners` gives it.
    """
    return mismatched.log_ratios().mean().detach().clamp(min=0)


def mismatched_partners(prompts: Sequence[Hashable]) -> list[int]:
    """For each row, the row whose completion it borrows for KTO's z0: always one of another prompt.

    Every completion is borrowed once as long as no prompt has more than half of the rows; where one has, its rows
    borrow those of the others in turn. (Shifting a batch by one row, as is common, pairs a prompt with its own
    completions wherever a batch holds several of them.) Raises ValueError where all prompts are the same.
    """
    rows: dict[Hashable, list[int]] = {}
    for row, prompt in enumerate(prompts):
        rows.setdefault(prompt, []).append(row)
    if len(rows) < 2:
        raise ValueError("KTO needs completions of at least two prompts in a batch: raise the batch size")
    ranked = [row for own in rows.values() for row in own]
    shift = max(map(len, rows.values()))
    partners = [0] * len(prompts)
    end = 0  # of the rows of the prompt, among those ranked by prompt
    for own in rows.values():
        end += len(own)
        for place, row in enumerate(own):
            further = (place + shift - len(own)) % (len(prompts) - len(own))
            partners[row] = ranked[(end + further) % len(prompts)]
    return partners


def _preference_stats(chosen: Answers, rejected: Answers, beta: float) -> dict[str, Tensor]:
    better, worse = beta * chosen.log_ratios().detach(), beta * rejected.log_ratios().detach()
    return {
        "reward_chosen": better.sum(),
        "reward_rejected": worse.sum(),
        "margin": (better - worse).sum(),
        "accuracy": (better > worse).sum(),
        "rows": torch.tensor(len(better)),
    }


def mismatch(sampled: Tensor, recomputed: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """How far the sampler's log-probabilities are from the trainer's for the same tokens, as stats to `summarise`."""
    mask = mask.bool()
    difference = (_inside(sampled, mask) - _inside(recomputed, mask)).abs().detach()
    return {"mismatch": difference.sum(), "mismatch_max": difference.amax(), "tokens": mask.sum()}


def summarise(stats: Iterable[dict[str, Tensor]]) -> dict[str, float]:
    """The figures of several micro-batches together: means over tokens or rows, and the largest of `*_max`.

    Clip shares and ratios are means over tokens; a sequence's ratio counts once for each of its tokens.
    """
    totals: dict[str, float] = {}
    for part in stats:
        for name, value in part.items():
            number = float(value)
            largest = name.endswith("_max")
            totals[name] = max(totals.get(name, number), number) if largest else totals.get(name, 0.0) + number
    tokens, rows = max(totals.pop("tokens", 0.0), 1.0), max(totals.pop("rows", 0.0), 1.0)
    means = {}
    for name, total in totals.items():
        if name.endswith("_max"):
            means[name] = total
        else:
            means[name] = total / (rows if name in PER_ROW else tokens)
    return means


PER_ROW = frozenset({"reward", "reward_chosen", "reward_rejected", "margin", "accuracy"})
"""Statistics that are means over rows; the others are means over tokens."""


def _divided(total: Tensor, count: float | Tensor) -> Tensor:
    """`total / count`, and 0 where nothing is counted, with a gradient of 0."""
    return total / (count if float(count) > 0 else 1.0)


def _inside(values: Tensor, mask: Tensor) -> Tensor:
    """`values` in single precision, and 0 where masked: a NaN there reaches neither the loss nor a gradient."""
    return torch.where(mask, values.float(), 0)


def _total(values: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, values.float(), 0).detach().sum()

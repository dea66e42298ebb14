"""The GRPO family as one table: each algorithm is a choice for each part of the same loop.

Nothing here needs torch, so that a configuration can be checked without it. docs/training/losses.md shows the same
table; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Advantage = Literal["group", "leave_one_out", "global"]
Ratio = Literal["token", "sequence", "product"]
Aggregate = Literal["token", "sequence", "max_length"]
KL = Literal["loss", "reward"]
Degenerate = Literal["keep", "mask", "resample"]


@dataclass(frozen=True)
class Algorithm:
    """One member of the family. Every field is a setting that a configuration may change by itself."""

    advantage: Advantage = "group"
    """What a score is compared with: its group's mean, the mean of the group's others, or the whole batch."""
    deviation: bool = True
    """Divide by the group's standard deviation (unbiased, + 1e-4). Only for `advantage: group`."""
    ratio: Ratio = "token"
    """The probability ratio of a token, the geometric mean over a sequence (GSPO), or a sequence's product (RLOO)."""
    clip_low: float = 0.2
    """A ratio is clipped at 1 - clip_low ..."""
    clip_high: float = 0.2
    """... and at 1 + clip_high."""
    cap: float | None = None
    """CISPO: no clipping; the ratio is a constant weight of at most this value (the value itself, not 1 + it)."""
    aggregate: Aggregate = "token"
    """The loss is a mean over tokens, over sequences of each one's mean, or a sum over (rows x longest allowed)."""
    kl: KL = "loss"
    """Where the distance from the reference model counts: in the loss (k3), or taken off the reward (k1)."""
    beta: float = 0.0
    """The weight of that distance. 0: no reference model is needed."""
    unbiased_kl: bool = False
    """Weigh the KL of the loss by the token's ratio (DeepSeek-V3.2, arXiv 2512.02556). The paper of GRPO does not."""
    degenerate: Degenerate = "keep"
    """What becomes of a group whose scores are all equal; see `groups.py`."""
    overlong_buffer: float = 0.0
    """The share of the longest allowed completion over which DAPO's length penalty rises from 0 to 1. 0: none."""
    source: str = ""
    """The paper."""
    deviations: str = ""
    """How this differs from the paper."""


ALGORITHMS: dict[str, Algorithm] = {
    "grpo": Algorithm(
        beta=0.04,
        source="Shao et al. 2024, DeepSeekMath, arXiv 2402.03300",
        deviations="a mean over all tokens, where the paper averages each completion first (aggregate: sequence); "
        "1e-4 is added to the deviation",
    ),
    "dr_grpo": Algorithm(
        deviation=False,
        aggregate="max_length",
        source="Liu et al. 2025, Understanding R1-Zero-Like Training, arXiv 2503.20783",
        deviations="divided by rows x longest allowed completion, where the paper's formula has no divisor but its "
        "code has this one",
    ),
    "dapo": Algorithm(
        clip_high=0.28,
        degenerate="resample",
        overlong_buffer=0.2,
        source="Yu et al. 2025, DAPO, arXiv 2503.14476",
        deviations="a refill is bounded, and what there is then is trained on; groups are accepted in prompt order",
    ),
    "gspo": Algorithm(
        ratio="sequence",
        clip_low=3e-4,
        clip_high=4e-4,
        aggregate="sequence",
        source="Zheng et al. 2025, Group Sequence Policy Optimization, arXiv 2507.18071",
        deviations="always in the paper's GSPO-token form, which is the same where a completion has one advantage",
    ),
    "cispo": Algorithm(
        cap=5.0,
        source="MiniMax 2025, MiniMax-M1, arXiv 2506.13585; its cap: Khatri et al. 2025, ScaleRL, arXiv 2510.13786",
        deviations="the deviation has 1e-4 added",
    ),
    "rloo": Algorithm(
        advantage="leave_one_out",
        deviation=False,
        ratio="product",
        aggregate="sequence",
        kl="reward",
        beta=0.05,
        source="Ahmadian et al. 2024, Back to Basics, arXiv 2402.14740",
        deviations="the sequence's ratio is clipped, where the paper takes one on-policy step, for which every ratio "
        "is 1 and the two agree",
    ),
    "reinforce_pp": Algorithm(
        advantage="global",
        deviation=False,
        kl="reward",
        source="Hu 2025, REINFORCE++, arXiv 2501.03262",
        deviations="beta 0 unless set; the batch's deviation is the unbiased one with 1e-4 added",
    ),
}
"""By the name that a configuration gives."""

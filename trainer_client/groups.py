"""What becomes of each group of a rollout: which are trained on, which teach nothing, which are replaced.

A group's fate is decided on its task scores, compared exactly, before any penalty of length is added: a penalty would
make a group whose answers are all wrong look as if the shortest were right.

| policy | a degenerate group, whose scores are all equal |
|---|---|
| `keep` | stays: its advantages are 0, its tokens count in the loss's mean, its KL acts |
| `mask` | is left out altogether: no KL term, no place in the loss's mean |
| `resample` | is left out, and replaced by a further prompt as long as refills last (DAPO, arXiv 2503.14476) |

Under `keep` a length penalty, a KL in the reward, or a baseline that is the whole batch's (REINFORCE++) still gives
its completions advantages.

Under every policy a group with fewer than two scores is dropped, having nothing to compare; `resample` replaces it
too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from trainer_client.algorithms import Degenerate

G = TypeVar("G")
Scores = Sequence[float | None]
Steps = Sequence[Sequence[float]]


class Fate(StrEnum):
    """What a group's scores are good for."""

    USABLE = "usable"
    DEGENERATE = "degenerate"
    """All scores are equal."""
    DROPPED = "dropped"
    """Fewer than two of the completions have a score."""


def fate(scores: Scores, steps: Steps | None = None) -> Fate:
    """The fate of a group with these task scores; None and NaN are completions without one.

    With step-level advantages pass the scores of each completion's `steps`: a group whose outcomes are equal still
    teaches where not all steps of its scored completions score the same, and two of them have steps to compare.
    """
    scored = [index for index, score in enumerate(scores) if _is_score(score)]
    if len(scored) < 2:
        return Fate.DROPPED
    with_steps = [steps[index] for index in scored if steps[index]] if steps is not None else []
    compared = [score for own in with_steps for score in own] if len(with_steps) > 1 else []
    equal = all(scores[index] == scores[scored[0]] for index in scored) and all(
        score == compared[0] for score in compared
    )
    return Fate.DEGENERATE if equal else Fate.USABLE


def rows_in_loss(scores: Scores, truncated: Sequence[bool], *, mask_truncated: bool) -> list[bool]:
    """The completions of a trained group whose tokens enter the loss.

    Those without a score do not. With `mask_truncated` (DAPO's overlong filtering) neither do those that were cut by
    length, while their scores still count in the group's mean and deviation.
    """
    return [_is_score(score) and not (mask_truncated and cut) for score, cut in zip(scores, truncated, strict=True)]


@dataclass(frozen=True)
class Entry(Generic[G]):
    """A group in the buffer, and what is known of it."""

    group: G
    fate: Fate
    unscored: int
    """Completions without a score."""


@dataclass(frozen=True)
class Counts:
    """What happened to the groups of a rollout."""

    sampled: int = 0
    usable: int = 0
    degenerate: int = 0
    dropped: int = 0
    unscored: int = 0
    """Completions, not groups."""
    refills: int = 0

    @property
    def degenerate_share(self) -> float:
        """Of the groups that have something to compare; 0 where none has."""
        return self.degenerate / max(self.usable + self.degenerate, 1)


@dataclass
class RolloutBuffer(Generic[G]):
    """The groups of one rollout, collected in rounds until `wanted` of them can be trained on.

    Sample the positions that `next_round()` names, `add` each group as soon as it is scored, in any order, and ask
    again when all are in: no positions means that the rollout is done, and `take()` has its groups. Which ones are
    taken follows from prompt order and scores alone, never from the order of arrival, which would favour short
    completions.
    """

    wanted: int
    policy: Degenerate = "keep"
    max_refills: int = 3
    """Rounds after the first, under `resample`. What there is then is trained on."""
    requested: int = 0
    """Positions asked for so far: 0 up to this one."""
    rounds: int = 0
    entries: dict[int, Entry[G]] = field(default_factory=dict)
    """By position."""

    def next_round(self) -> list[int]:
        """The positions to sample next, counted from the rollout's first prompt; empty when the rollout is done.

        In the middle of a round, those of it that have not been added.
        """
        missing = [position for position in range(self.requested) if position not in self.entries]
        if missing:
            return missing
        short = self.wanted - sum(self._trained_on(entry) for entry in self.entries.values())
        allowed = 1 + (self.max_refills if self.policy == "resample" else 0)
        if short <= 0 or self.rounds >= allowed:
            return []
        self.rounds += 1
        self.requested += short
        return list(range(self.requested - short, self.requested))

    def add(self, position: int, group: G, scores: Scores, steps: Steps | None = None) -> Fate:
        """Put in a scored group, with its task scores before any penalty; answers its fate.

        Raises ValueError for a position that was not asked for or is there already: one prompt would count twice.
        """
        if position in self.entries or not 0 <= position < self.requested:
            raise ValueError(f"position {position} was not asked for, or has been added already")
        unscored = sum(not _is_score(score) for score in scores)
        self.entries[position] = Entry(group, fate(scores, steps), unscored)
        return self.entries[position].fate

    def take(self) -> list[tuple[int, G]]:
        """The groups to train on, with their positions, in prompt order: at most `wanted`, perhaps none."""
        return [
            (position, entry.group) for position, entry in sorted(self.entries.items()) if self._trained_on(entry)
        ]

    def counts(self) -> Counts:
        """What happened so far."""
        fates = Counter(entry.fate for entry in self.entries.values())
        return Counts(
            sampled=len(self.entries),
            usable=fates[Fate.USABLE],
            degenerate=fates[Fate.DEGENERATE],
            dropped=fates[Fate.DROPPED],
            unscored=sum(entry.unscored for entry in self.entries.values()),
            refills=max(self.rounds - 1, 0),
        )

    def _trained_on(self, entry: Entry[G]) -> bool:
        return entry.fate == Fate.USABLE or (entry.fate == Fate.DEGENERATE and self.policy == "keep")


def _is_score(score: float | None) -> bool:
    return score is not None and not math.isnan(score)

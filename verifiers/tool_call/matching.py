"""Pairing expected calls with those that were made. Both lists have at most `calls.MAX_CALLS` members."""

from __future__ import annotations

from collections.abc import Sequence

Pairs = Sequence[Sequence[bool]]
"""For each expected call, whether each call that was made is right for it."""


def most_in_any_order(right: Pairs) -> int:
    """The most expected calls that can have a call each: the size of a maximum matching (augmenting paths)."""
    taken: dict[int, int] = {}

    def place(expected: int, tried: set[int]) -> bool:
        for made, fits in enumerate(right[expected]):
            if fits and made not in tried:
                tried.add(made)
                if made not in taken or place(taken[made], tried):
                    taken[made] = expected
                    return True
        return False

    return sum(place(expected, set()) for expected in range(len(right)))


def most_in_given_order(right: Pairs) -> int:
    """The most expected calls that can have a call each with both in order: the longest common subsequence."""
    if not right:
        return 0
    best = [0] * (len(right[0]) + 1)
    for row in right:
        before = best
        best = [0]
        for made, fits in enumerate(row):
            best.append(max(before[made] + 1 if fits else 0, before[made + 1], best[made]))
    return best[-1]

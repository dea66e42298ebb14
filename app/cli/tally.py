"""Counts over the verdicts of a file, kept while they stream by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class _Group:
    count: int = 0
    total: float = 0.0
    least: float = float("inf")
    most: float = float("-inf")


@dataclass(slots=True)
class Tally:
    """What came of the items. A few bytes are kept for each group, nothing for an item."""

    count: int = 0
    scored: int = 0
    total: float = 0.0
    malformed: int = 0
    """Rows that could not be sent; they count as unscored."""
    outcomes: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    """Unscored items by the type of their error."""
    reasons: dict[str, str] = field(default_factory=dict)
    """The first message of each type of error."""
    _groups: dict[str, _Group] = field(default_factory=dict)

    def add(self, result: Mapping[str, Any], group: str | None) -> None:
        """Count one result of POST /score."""
        self.count += 1
        self.outcomes[result["outcome"]] += 1
        if result["error"] is not None:
            error = result["error"]
            self.errors[error["type"]] += 1
            self.reasons.setdefault(error["type"], error["message"])
        # with on_error zero, an unscored item has a score too, and that is not one to average
        if result["outcome"] in ("unscored", "pending"):
            return
        score = result["score"]
        self.scored += 1
        self.total += score
        if isinstance(group, str):
            counted = self._groups.setdefault(group, _Group())
            counted.count += 1
            counted.total += score
            counted.least = min(counted.least, score)
            counted.most = max(counted.most, score)

    def summary(self, seconds: float) -> dict[str, Any]:
        """The counts as plain JSON. `seconds` is how long it took.

        `groups` is about those with two scored items or more, None where there are none. Its `mean` is the mean of
        the groups' means; `equal` is the share whose scores are all equal: a trainer that compares within groups
        learns nothing from them.
        """
        return {
            "count": self.count,
            "scored": self.scored,
            "unscored": self.count - self.scored,
            "malformed": self.malformed,
            "mean": self.total / self.scored if self.scored else None,
            "outcomes": dict(self.outcomes.most_common()),
            "errors": dict(self.errors.most_common()),
            "groups": self._group_summary(),
            "seconds": round(seconds, 3),
            "items_per_s": round(self.count / seconds, 1) if seconds > 0 else None,
        }

    def _group_summary(self) -> dict[str, Any] | None:
        several = [group for group in self._groups.values() if group.count > 1]
        if not several:
            return None
        return {
            "count": len(several),
            "mean": sum(group.total / group.count for group in several) / len(several),
            "equal": sum(group.least == group.most for group in several) / len(several),
        }

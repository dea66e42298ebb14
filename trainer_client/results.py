"""What the service answers, as typed values.

Plain slotted dataclasses: a trainer makes hundreds of thousands of them, and they import nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any


@dataclass(slots=True)
class VerdictError:
    """Why an item is unscored: one of the types in docs/verdicts.md, and what to do about it."""

    type: str
    message: str
    retryable: bool


@dataclass(slots=True)
class Step:
    """The score of characters `start` to `end` (exclusive) of the completion."""

    score: float
    start: int
    end: int


@dataclass(slots=True)
class Verdict:
    """One item's verdict.

    `score` is a finite number, or None where the item could not be scored (outcome `unscored`, and `error` says why)
    or is not known yet (`pending`): never 0 for a fault that is not the candidate's. `score_id` names the record of
    it; it is None for an item that could not be sent.
    """

    id: str | None
    score_id: str | None
    verifier: str | None
    score: float | None
    outcome: str
    detail: dict[str, Any]
    components: dict[str, float]
    steps: list[Step] | None
    error: VerdictError | None
    ms: float
    cached: bool


@dataclass(slots=True)
class Preferred:
    """How two completions compare: `preferred` is 1 for the first, 0 for the second, 0.5 for a tie, None unknown."""

    first: int
    second: int
    preferred: float | None


@dataclass(slots=True)
class Pair:
    """The best completion against the worst, as they were sent; `margin` is the difference of their scores."""

    chosen: Any
    rejected: Any
    chosen_index: int
    rejected_index: int
    margin: float


@dataclass(slots=True)
class Comparison:
    """The completions of one prompt compared.

    `scores` are theirs in order, None where one could not be scored; `ranking` has their indices from best to worst,
    equals together; `pair` is None where none is better than another.
    """

    id: str | None
    verifier: str | None
    scores: list[float | None]
    ranking: list[list[int]]
    outcomes: list[Preferred]
    pair: Pair | None
    score_ids: list[str]
    error: VerdictError | None


@dataclass(slots=True)
class TakenSignal:
    """What became of a signal; docs/signals.md has the values of `result`."""

    result: str
    score_id: str | None
    settled: int
    score: float | None
    source: str | None
    message: str | None


def bad_item(id: str | None, message: str) -> Verdict:
    """The verdict of an item that cannot be sent."""
    error = VerdictError("bad_item", message, False)
    return Verdict(id, None, None, None, "unscored", {}, {}, None, error, 0.0, False)


def read_verdicts(answer: Any, count: int) -> list[Verdict]:
    """The verdicts of a /score answer.

    Raises ValueError, KeyError or TypeError on what is no answer, or not one for `count` items.
    """
    items = answer["items"]
    if len(items) != count:
        raise ValueError(f"{len(items)} verdicts for {count} items")
    return [_verdict(item) for item in items]


def read_comparisons(answer: Any, count: int) -> list[Comparison]:
    """The comparisons of a /compare answer. Raises as `read_verdicts` does."""
    items, verifier = answer["items"], answer["verifier"]
    if len(items) != count:
        raise ValueError(f"{len(items)} comparisons for {count} items")
    return [
        Comparison(
            item["id"],
            verifier,
            item["scores"],
            item["ranking"],
            [Preferred(o["first"], o["second"], o["preferred"]) for o in item["outcomes"]],
            _pair(item["pair"]),
            item["score_ids"],
            _error(item["error"]),
        )
        for item in items
    ]


def read_signals(answer: Any, count: int) -> list[TakenSignal]:
    """What became of the signals of a /signals request. Raises as `read_verdicts` does."""
    items = answer["items"]
    if len(items) != count:
        raise ValueError(f"{len(items)} results for {count} signals")
    return [
        TakenSignal(i["result"], i["score_id"], i["settled"], i["score"], i["source"], i["message"]) for i in items
    ]


def _verdict(item: Mapping[str, Any]) -> Verdict:
    score, steps, error = item["score"], item["steps"], item["error"]
    if score is not None and not isfinite(score):
        raise ValueError("a score that is not finite")
    return Verdict(
        item["id"],
        item["score_id"],
        item["verifier"],
        score,
        item["outcome"],
        item["detail"],
        item["components"],
        None if steps is None else [Step(step["score"], step["start"], step["end"]) for step in steps],
        None if error is None else _error(error),
        item["ms"],
        item["cached"],
    )


def _error(error: Any) -> VerdictError | None:
    return None if error is None else VerdictError(error["type"], error["message"], error["retryable"])


def _pair(pair: Any) -> Pair | None:
    if pair is None:
        return None
    return Pair(pair["chosen"], pair["rejected"], pair["chosen_index"], pair["rejected_index"], pair["margin"])

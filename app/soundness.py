"""Whether what a kind returned is a verdict: a kind is code, and code has faults."""

from __future__ import annotations

import math
from typing import Any

from verifiers.base import Outcome, Pending, Step, Verdict, VerdictError

NO_SCORE = frozenset((Outcome.UNSCORED, Outcome.PENDING))
MAX_DEPTH = 32
MAX_BITS = 4096
"""Of an integer in a detail; the interpreter refuses to write much longer ones."""


def is_sound(verdict: object) -> bool:
    """Whether a verdict keeps the rules, so that it can be recorded and answered.

    A finite score exactly where the outcome has one; an error exactly where it is unscored; components and steps
    finite; `detail` and `full` plain JSON.
    """
    if not isinstance(verdict, Verdict) or not isinstance(verdict.outcome, Outcome):
        return False
    if verdict.outcome in NO_SCORE:
        scored = verdict.score is None and isinstance(verdict.error, VerdictError | None)
        scored = scored and (verdict.error is not None) == (verdict.outcome is Outcome.UNSCORED)
        scored = scored and _sound_pending(verdict)
    else:
        scored = _finite(verdict.score) and verdict.error is None and verdict.pending is None
    return (
        scored
        and _plain(verdict.detail)
        and (not verdict.full or _plain(verdict.full))
        and all(isinstance(name, str) and _finite(value) for name, value in verdict.components.items())
        and all(isinstance(step, Step) and _finite(step.score) for step in verdict.steps or ())
    )


def _sound_pending(verdict: Verdict) -> bool:
    pending = verdict.pending
    if verdict.outcome is not Outcome.PENDING:
        return pending is None
    return (
        isinstance(pending, Pending)
        and _finite(pending.wait_s)
        and (pending.default is None or _finite(pending.default))
    )


def _finite(value: object) -> bool:
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is int and value.bit_length() < 1024


def _plain(value: Any, depth: int = 0) -> bool:
    """Whether a value is plain JSON, not too deep, without NaN and infinity."""
    kind = type(value)
    if kind is str or kind is bool or value is None or isinstance(value, str):
        return True
    if kind is int:
        return bool(value.bit_length() <= MAX_BITS)
    if kind is float:
        return math.isfinite(value)
    if depth == MAX_DEPTH:
        return False
    if kind is dict:
        return all(isinstance(key, str) and _plain(inner, depth + 1) for key, inner in value.items())
    return isinstance(value, list | tuple) and all(_plain(inner, depth + 1) for inner in value)

"""What a user's own verifier answers for one item, whether it is Python in the sandbox or a server.

A number, or an object `{"score", "outcome", "detail", "components"}` of which the score alone is required. It comes
from outside: anything else is refused with a reason, and never becomes a score.
"""

from __future__ import annotations

import json
import math
from typing import Any

from verifiers.base import Outcome, Verdict, clip

MAX_COMPONENTS = 64
MAX_NAME = 100
"""Characters of a component's name."""
MAX_SAID = 16_384
"""Characters of a detail as JSON that are kept; of a longer one, its beginning as text."""
MAX_DEPTH = 16
BRIEF_SAID = 500
"""As `MAX_SAID`, of the small detail."""
FIELDS = frozenset({"score", "outcome", "detail", "components"})
OUTCOMES = frozenset(outcome for outcome in Outcome if outcome not in (Outcome.UNSCORED, Outcome.PENDING))
"""Those with a score."""

_encoder = json.JSONEncoder(ensure_ascii=True, allow_nan=False, check_circular=False)


class OwnResultError(ValueError):
    """The answer is no result; the message says why, in words that follow the verifier's name."""


def verdict_of(value: Any, stage: str) -> Verdict:
    """The verdict that a result means. Raises `OwnResultError`.

    Without an outcome of its own, 1 and true are `correct`, 0 and false `incorrect`, what lies between is `partial`,
    and every other number `scored`.
    """
    if not isinstance(value, dict):
        score = _number(value, "")
        return Verdict(_outcome(score), score, {"stage": stage})
    unknown = next((key for key in value if key not in FIELDS), None)
    if unknown is not None:
        named = repr(clip(unknown, 50)) if isinstance(unknown, str) else _kind(unknown)
        raise OwnResultError(f"gave an object with {named}, which is none of {_list(FIELDS)}")
    if "score" not in value:
        raise OwnResultError("gave an object without 'score'")
    score = _number(value["score"], " as score")
    outcome = value.get("outcome")
    if outcome is None:
        outcome = _outcome(score)
    elif not isinstance(outcome, str) or outcome not in OUTCOMES:
        raise OwnResultError(f"gave an outcome that is none of {_list(OUTCOMES)}")
    detail, full = _said(value.get("detail"))
    return Verdict(
        Outcome(outcome), score, {"stage": stage, **detail}, full, components=_components(value.get("components"))
    )


def _outcome(score: float) -> Outcome:
    if score == 1.0:
        return Outcome.CORRECT
    if score == 0.0:
        return Outcome.INCORRECT
    return Outcome.PARTIAL if 0.0 < score < 1.0 else Outcome.SCORED


def _number(value: object, where: str) -> float:
    if not isinstance(value, int | float):  # a bool is an int
        raise OwnResultError(f"gave {_kind(value)}{where}, not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise OwnResultError(f"gave a number that is not finite{where}")
    return number


def _components(value: object) -> dict[str, float]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_COMPONENTS:
        raise OwnResultError(f"gave components that are no object of at most {MAX_COMPONENTS} numbers")
    for name in value:
        if not isinstance(name, str) or len(name) > MAX_NAME:
            raise OwnResultError(f"gave a component whose name is no text of at most {MAX_NAME} characters")
    return {name: _number(member, f" as component {name!r}") for name, member in value.items()}


def _said(detail: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """The verifier's own detail, under `said`: for the small detail, and, where that is cut, for the full one."""
    if detail is None:
        return {}, {}
    try:
        text = _encoder.encode(detail)
        whole = json.loads(text)  # which has no tuples, and no keys but text
    except (TypeError, ValueError, RecursionError):
        raise OwnResultError("gave a detail that is not plain JSON") from None
    if _depth(whole) > MAX_DEPTH:
        raise OwnResultError(f"gave a detail that nests deeper than {MAX_DEPTH} levels")
    if len(text) <= BRIEF_SAID:
        return {"said": whole}, {}
    text = whole if isinstance(whole, str) else text
    return {"said": clip(text, BRIEF_SAID)}, {"said": whole if len(text) <= MAX_SAID else clip(text, MAX_SAID)}


def _depth(value: Any) -> int:
    if isinstance(value, dict | list):
        return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)
    return 0


def _kind(value: object) -> str:
    return "nothing (None)" if value is None else f"a value of type {clip(type(value).__name__, 50)}"


def _list(names: frozenset[Any]) -> str:
    return ", ".join(sorted(map(str, names)))

"""Where the steps of a solution begin and end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from verifiers.base import BadItemError, clip
from verifiers.regex.patterns import Linear, compile_linear

Split = Literal["blank_line", "pattern", "numbered", "given"]
Span = tuple[int, int]
"""Characters from the first to behind the last."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_BLANK = re.compile(r"\n(?:[ \t\r]*\n)+")
_NUMBERED = re.compile(
    r"^[ \t]{0,3}(?:#{1,6}[ \t]+)?(?:\*\*|__)?(?:step[ \t]+(\d{1,4})\b|(\d{1,4})[.):](?!\d))",
    re.MULTILINE | re.IGNORECASE,
)


def spans(payload: dict[str, Any]) -> list[Span]:
    """In a guarded worker or here: the steps of `{"text", "split", "pattern", "most"}` by rule, in order.

    Spans have no white space at their ends and hold something. Steps beyond `most` are one with the last.
    """
    text: str = payload["text"]
    match payload["split"]:
        case "blank_line":
            cuts: Iterable[Span] = (found.span() for found in _BLANK.finditer(text))
        case "numbered":
            cuts = ((start, start) for start in _heads(text))
        case _:
            linear = compile_linear(payload["pattern"])
            if not isinstance(linear, Linear):
                raise TypeError("the pattern was compiled before")
            cuts = linear_spans(linear, text)
    return between(text, cuts, payload["most"])


def between(text: str, cuts: Iterable[Span], most: int) -> list[Span]:
    """What lies between the cuts, at most `most` pieces."""
    found: list[Span] = []
    start = 0
    for first, behind in cuts:
        if len(found) == most - 1:
            break
        if (span := stripped(text, start, first)) is not None:
            found.append(span)
        start = behind
    if (span := stripped(text, start, len(text))) is not None:
        found.append(span)
    return found


def stripped(text: str, start: int, end: int) -> Span | None:
    """The span without white space at its ends; None where nothing is left."""
    piece = text[start:end]
    inner = piece.strip()
    if not inner:
        return None
    start += len(piece) - len(piece.lstrip())
    return start, start + len(inner)


def linear_spans(linear: Linear, text: str) -> Iterable[Span]:
    """Where a pattern matches, in characters; matches of nothing are none. A lone surrogate is read as U+FFFD."""
    encoded = _SURROGATE.sub("\ufffd", text).encode()
    at_byte = at_char = 0
    for match in linear.compiled.finditer(encoded):
        first, behind = match.span()
        if first == behind:
            continue
        start = at_char + _characters(encoded[at_byte:first])
        end = start + _characters(encoded[first:behind])
        at_byte, at_char = behind, end
        yield start, end


def _characters(encoded: bytes) -> int:
    return len(encoded.decode())


def _heads(text: str) -> list[int]:
    """Where lines begin that are numbered upwards: `1.`, `2)`, `Step 3:`, `**Step 4**`, `### 5.`

    The first number is 0 or 1 and each further one is the next, so that lists within a step do not end it.
    """
    heads: list[int] = []
    expected = -1
    for head in _NUMBERED.finditer(text):
        number = int(head[1] or head[2])
        if number == expected or (expected < 0 and number <= 1):
            heads.append(head.start())
            expected = number + 1
    return heads


def located(text: str, steps: Sequence[str], offset: int = 0) -> list[Span]:
    """Where given steps stand in the text, one after the other from `offset` on.

    Raises `BadItemError` for one that does not.
    """
    found: list[Span] = []
    for number, step in enumerate(steps):
        start = text.find(step, offset)
        if start < 0 or not step.strip():
            raise BadItemError(
                f"reference/steps/{number}: {clip(step, 60)!r} is not in the completion behind the step before it"
                if step.strip()
                else f"reference/steps/{number}: the step is empty"
            )
        offset = start + len(step)
        found.append((start, offset))
    return found


def usable(pattern: str) -> str:
    """Why a pattern cannot separate steps; empty where it can. Raises `PatternError`."""
    linear = compile_linear(pattern)
    if not isinstance(linear, Linear):
        return f"RE2 does not take it: {linear}"
    if linear.matches("", "search"):
        return "it matches the empty text, so it would separate every two characters"
    return ""

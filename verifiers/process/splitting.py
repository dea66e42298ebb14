"""Where the steps of a solution begin and end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from verifiers.base import BadItemError, clip
from verifiers.regex.patterns import Linear, compile_linear

Split = Literal["blank_line", "pattern", "numbered", "given"]
Span = tuple[int, int]
"""Characters from the first to behind the last."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_BLANK = re.compile(r"\n(?:[^\S\n]*\n)+")
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
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
            cuts: Iterable[Span] = outside((found.span() for found in _BLANK.finditer(text)), code_blocks(text))
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


def code_blocks(text: str) -> list[Span]:
    """The fenced blocks (CommonMark 0.31, section 4.5) that are closed, whatever their indent.

    One that is never closed is none: else a completion could make one step of all that follows.
    """
    if "```" not in text and "~~~" not in text:
        return []
    found: list[Span] = []
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        marks, info = fence[1], fence[2]
        if opened is None:
            if marks[0] == "~" or "`" not in info:
                opened = fence
        elif marks.startswith(opened[1]) and not info.strip():
            found.append((opened.start(), fence.end()))
            opened = None
    return found


def outside(cuts: Iterable[Span], blocks: Sequence[Span]) -> Iterator[Span]:
    """The cuts that begin in none of the blocks; both are in order."""
    place = 0
    for cut in cuts:
        while place < len(blocks) and blocks[place][1] <= cut[0]:
            place += 1
        if place == len(blocks) or cut[0] < blocks[place][0]:
            yield cut


def _heads(text: str) -> Iterator[int]:
    """Where lines begin that are numbered upwards: `1.`, `2)`, `Step 3:`, `**Step 4**`, `### 5.`

    The first number is 0 or 1 and each further one is the next, so that lists within a step do not end it.
    """
    numbers = {found.start(): int(found[1] or found[2]) for found in _NUMBERED.finditer(text)}
    expected = -1
    for start, _ in outside(((start, start) for start in numbers), code_blocks(text)):
        number = numbers[start]
        if number == expected or (expected < 0 and number <= 1):
            yield start
            expected = number + 1


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

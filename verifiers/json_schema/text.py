"""Finding the JSON in a completion, and reading it strictly.

What counts is I-JSON (RFC 7493): one value, no duplicate names, no lone surrogates, finite numbers. Everything takes
time in proportion to the text, whatever it holds.
"""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import Any, Literal, NoReturn

MAX_DEPTH = 64
"""Arrays and objects inside one another."""
MAX_DIGITS = 1_000
"""Digits of an integer."""
SCANS = 10
"""How often `last_object` may read the text, on average, in its search for the object's beginning."""

Source = Literal["whole", "fenced", "last_object"]

_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_STRINGS = re.compile(_STRING + "?", re.DOTALL)  # one that nothing closes is read once, not from every quote
_NOT_BRACKETS = re.compile(r"[^][{}]+")
_TOKEN = re.compile(_STRING + r'|[][{}"]', re.DOTALL)
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
_STEP = {"{": 1, "[": 1, "}": -1, "]": -1}


class NotJSONError(ValueError):
    """The text is not the JSON that was asked for; says why."""


class _RefusedError(NotJSONError):
    """JSON by its grammar, but not I-JSON, or nested too deep."""


def read(text: str, source: Source) -> Any:
    """The JSON value that `text` is, or holds.

    `whole`: the text is the value. `fenced`: the last closed code fence, marked json or not at all, holds it.
    `last_object`: the last object that stands anywhere in the text and in no other object. Raises `NotJSONError`.
    """
    if source == "last_object":
        return _last_object(text)
    return _parse(_last_fence(text) if source == "fenced" else text)


def values_at_most(text: str) -> int:
    """Upper bound on the number of JSON values in a text, found without parsing it."""
    return 1 + text.count(",") + text.count("[") + text.count("{")


def _parse(text: str) -> Any:
    if _too_deep(text):
        raise _RefusedError(f"nested deeper than {MAX_DEPTH} levels")
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise NotJSONError(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    if "\\u" in text or not text.isascii():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise _RefusedError("a string holds a lone surrogate") from None
    return value


def _too_deep(text: str) -> bool:
    """Whether the parser would nest deeper than `MAX_DEPTH`, found without recursion."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    brackets = _NOT_BRACKETS.sub("", _STRINGS.sub("", text))
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > MAX_DEPTH


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _RefusedError("an object has the same name twice")
    return members


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _RefusedError(f"an integer has more than {MAX_DIGITS} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise _RefusedError("a number is too large")
    return value


def _no_constant(name: str) -> NoReturn:
    raise _RefusedError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_finite, parse_constant=_no_constant
)


def _last_fence(text: str) -> str:
    """The inside of the last closed code fence (CommonMark 0.31, section 4.5) that may hold JSON."""
    found: str | None = None
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        marks, info = fence[1], fence[2].strip()
        if opened is None:
            if marks[0] == "~" or "`" not in info:
                opened = fence
        elif marks.startswith(opened[1]) and not info:
            if opened[2].strip().lower() in ("", "json"):
                found = text[opened.end() : fence.start()]
            opened = None
    if found is None:
        raise NotJSONError("there is no closed code fence with JSON")
    return found


def _last_object(text: str) -> Any:
    """Try every opening brace from the left; an object that is read is passed over whole.

    An object refused for what it holds is an object all the same: if it is the last one, there is no value.
    """
    found: Any = NotJSONError("there is no JSON object in the text")
    allowance = SCANS * len(text) + 1_000
    start = text.find("{")
    while start >= 0:
        end, scanned = _object_end(text, start)
        allowance -= scanned
        if allowance < 0:
            raise NotJSONError("too many broken objects in the text")
        following = start + 1
        if end is not None:
            try:
                found = _parse(text[start:end])
                following = end
            except _RefusedError as error:
                found = error
                following = end
            except NotJSONError:
                pass
        start = text.find("{", following)
    if isinstance(found, NotJSONError):
        raise found
    return found


def _object_end(text: str, start: int) -> tuple[int | None, int]:
    """Where the brackets that open at `start` are balanced, or None, and how many characters were read."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        step = _STEP.get(token[0])
        if step is None:
            if len(token[0]) == 1:  # a quotation mark that nothing closes
                break
            continue
        depth += step
        if depth == 0:
            return token.end(), token.end() - start
        if depth > MAX_DEPTH:
            raise NotJSONError(f"nested deeper than {MAX_DEPTH} levels")
    return None, len(text) - start

"""Whether what a function returned is the value that the reference expects.

The value is plain data, decoded from what the sandbox brought out; nothing of the candidate's is called. The expected
value is JSON.
"""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass
from typing import Any

from sandbox.cell.values import ValuesError, decode

INLINE_BYTES = 8_192
"""Bytes of an encoded value that is decoded and compared in a millisecond or two."""

_NAMES = {True: "true", False: "false", None: "null"}
_brief = reprlib.Repr()
_brief.maxlevel, _brief.maxlist, _brief.maxtuple, _brief.maxdict, _brief.maxset = 8, 40, 40, 40, 40
_brief.maxfrozenset, _brief.maxstring, _brief.maxlong, _brief.maxother = 40, 200, 200, 200


@dataclass(frozen=True, slots=True)
class Rules:
    """When two values are equal."""

    int_equals_float: bool = True
    tuple_equals_list: bool = True
    tolerance: float = 1e-9
    """Largest difference of a float from the expected number, relative to it; absolute where zero is expected."""


def difference(data: bytes, expected: Any, rules: Rules, limit_bytes: int) -> str | None:
    """None where `data` is the encoding of the expected value; else empty, or why it is no value at all."""
    try:
        value = decode(data, limit_bytes=limit_bytes)
    except ValuesError as error:
        return f"not a value: {error}"
    return None if same_value(value, expected, rules) else ""


def same_value(value: object, expected: Any, rules: Rules) -> bool:
    """Whether a decoded value is the expected JSON value. Without recursion, so that depth is no matter.

    The keys of a dict are compared as JSON would write them: 1 as "1". True is not 1, and what JSON has no form for
    (a set, bytes, a complex number, a Decimal) equals nothing.
    """
    pairs: list[tuple[object, Any]] = [(value, expected)]
    while pairs:
        one, other = pairs.pop()
        kind = type(one)
        if isinstance(other, bool | str) or other is None:
            if kind is not type(other) or one != other:
                return False
        elif isinstance(other, int | float):
            if not isinstance(one, int | float) or kind is bool or not _same_number(one, other, rules):
                return False
        elif isinstance(other, list):
            if not isinstance(one, list | tuple) or (kind is tuple and not rules.tuple_equals_list):
                return False
            if len(one) != len(other):
                return False
            pairs += zip(one, other, strict=True)
        elif isinstance(other, dict) and isinstance(one, dict) and len(one) == len(other):
            named = _by_name(one)
            if named.keys() != other.keys():
                return False
            pairs += [(named[name], other[name]) for name in other]
        else:
            return False
    return True


def _same_number(number: float, expected: float, rules: Rules) -> bool:
    if type(number) is not type(expected) and not rules.int_equals_float:
        return False
    if number == expected:
        return True
    if (isinstance(number, int) and isinstance(expected, int)) or not rules.tolerance:
        return False
    try:
        difference = abs(float(number) - float(expected))
    except OverflowError:
        return False
    return difference <= rules.tolerance * (abs(expected) if expected else 1.0) and math.isfinite(number)


def _by_name(value: dict[Any, Any]) -> dict[str, Any]:
    """A dict under the names that its keys have in JSON; those that have none, or one that another has, are lost."""
    named: dict[str, Any] = {}
    for key, member in value.items():
        kind = type(key)
        if kind is str:
            named[key] = member
        elif kind is bool or key is None:
            named[_NAMES[key]] = member
        elif (kind is int and key.bit_length() < 4_096) or kind is float:
            named[repr(key)] = member
    return named


def brief(value: object) -> str:
    """A value as Python writes it, cut short, in little time."""
    try:
        return _brief.repr(value)
    except ValueError:  # an int of more digits than the interpreter writes
        return f"<{type(value).__name__}, too large to show>"


def brief_encoded(data: bytes) -> str:
    """The same of an encoded value; a large one is shown as it is encoded."""
    if len(data) > INLINE_BYTES:
        return data[:1_000].decode("ascii", "backslashreplace")
    try:
        return brief(decode(data, limit_bytes=INLINE_BYTES))
    except ValuesError:
        return data[:1_000].decode("ascii", "backslashreplace")

"""Whether JSON values are equal, by rules that a configuration chooses, and field by field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from verifiers.base import pointer


@dataclass(frozen=True, slots=True)
class Rules:
    """What makes two values equal. By default 1 equals 1.0, true is not 1, and only members have no order."""

    ordered: bool = True
    """Whether elements of arrays have an order. Without one, `tolerance` must be 0."""
    int_equals_float: bool = True
    tolerance: float = 0.0
    """Largest difference of two numbers, relative to the expected one."""
    loose_strings: bool = False
    """Whether strings are compared without case, and with one space for any white space."""
    extra: bool = False
    """Whether an object may have members that the expected one has not; never inside arrays."""

    @property
    def plain(self) -> bool:
        """Whether comparing costs no more than reading both values once."""
        return self.ordered and not self.loose_strings and not self.tolerance


def equal(value: Any, expected: Any, rules: Rules = Rules()) -> bool:
    """Whether a value equals the expected one. Recurses as deep as both nest."""
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    if isinstance(value, int | float) and isinstance(expected, int | float):
        return _numbers_equal(value, expected, rules)
    if isinstance(value, str) and isinstance(expected, str):
        return _string(value, rules) == _string(expected, rules)
    if isinstance(value, dict) and isinstance(expected, dict):
        same = expected.keys() <= value.keys() if rules.extra else value.keys() == expected.keys()
        return same and all(equal(value[name], member, rules) for name, member in expected.items())
    if isinstance(value, list) and isinstance(expected, list):
        inside = replace(rules, extra=False)
        if len(value) != len(expected):
            return False
        if rules.ordered:
            return all(equal(*pair, inside) for pair in zip(value, expected, strict=True))
        return _canonical(value, inside) == _canonical(expected, inside)
    return value is None and expected is None


def fields(value: dict[str, Any], *, leaves: bool) -> dict[str, Any]:
    """The fields of an object by name; with `leaves` those of objects inside it, by their JSON pointers.

    A leaf is whatever is no object, an array too, and an empty object.
    """
    return dict(_leaves(value)) if leaves else value


def compared(
    value: dict[str, Any], expected: dict[str, Any], rules: Rules, *, leaves: bool
) -> tuple[dict[str, bool], int]:
    """Whether each of the expected fields is equal, and how many fields there are in both together.

    Under `rules.extra` the latter are the expected ones.
    """
    mine, theirs = fields(value, leaves=leaves), fields(expected, leaves=leaves)
    matches = {name: name in mine and equal(mine[name], member, rules) for name, member in theirs.items()}
    return matches, len(theirs) if rules.extra else len(theirs.keys() | mine.keys())


def _leaves(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    stack: list[tuple[str, Any]] = [(pointer([name]), member) for name, member in reversed(value.items())]
    while stack:
        path, member = stack.pop()
        if isinstance(member, dict) and member:
            stack += [(path + pointer([name]), inner) for name, inner in reversed(member.items())]
        else:
            yield path, member


def _numbers_equal(value: float, expected: float, rules: Rules) -> bool:
    if not rules.int_equals_float and type(value) is not type(expected):
        return False
    if value == expected or not rules.tolerance:
        return value == expected
    # exactly, since integers may be beyond every float
    difference = abs(Fraction(value) - Fraction(expected))
    return difference <= Fraction(rules.tolerance) * abs(Fraction(expected))


def _string(text: str, rules: Rules) -> str:
    return " ".join(text.split()).casefold() if rules.loose_strings else text


def _canonical(value: Any, rules: Rules) -> Hashable:
    """The same for equal values, where elements have no order; otherwise different."""
    if isinstance(value, dict):
        return "object", frozenset((name, _canonical(member, rules)) for name, member in value.items())
    if isinstance(value, list):
        return "array", frozenset(Counter(_canonical(element, rules) for element in value).items())
    if isinstance(value, str):
        return "string", _string(value, rules)
    if value is None or isinstance(value, bool):
        return "constant", value
    return "number" if rules.int_equals_float else type(value).__name__, value

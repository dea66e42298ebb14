"""When two cells of results are equal.

A cell is made comparable first: `(kind, value)`, where the kind says what it may be compared with. How depends on
the whole column, so that equality stays transitive: under `tolerant`, text counts as a number only where the column
of the other side holds numbers and nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from sandbox.cell.values import ValuesError

Number = int | float | Decimal
Comparable = tuple[str, Any]
Column = list[Comparable]

NUMBER, TEXT, BYTES, MOMENT = "number", "text", "bytes", "moment"
NULL: Comparable = ("null", None)
NAN: Comparable = ("nan", None)
"""Equals itself here, as in PostgreSQL's sorts and GROUP BY: a query that returns it is right to."""

_MOMENTS = frozenset(("date", "time", "timetz", "timestamp", "timestamptz"))
_NUMERAL = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?")
_MAX_NUMERAL = 100
_MOMENT = re.compile(
    r"(?P<date>\d{4,6}-\d\d-\d\d)?(?:(?:(?<=\d)[ T])?(?P<time>\d\d:\d\d(?::\d\d)?)(?:\.(?P<fraction>\d{1,9}))?)?"
    r"(?:Z|[+-]00(?::?00)?)?"
)
_FLOAT_TOLERANCE = 1e-9
"""Sums in another order differ by about 1e-16 for each term; what a careless formula loses is below this."""
_DECIMAL_TOLERANCE = 1e-14
"""PostgreSQL gives quotients of decimals 16 significant digits at least, so that equal ones differ in the last."""


@dataclass(frozen=True, slots=True)
class Types:
    """Which types are equal, and how far numbers may differ."""

    types: Literal["strict", "tolerant"] = "tolerant"
    tolerance: float | None = None

    @property
    def strict(self) -> bool:
        """Whether a number equals only numbers of its own type, and text nothing but text."""
        return self.types == "strict"

    def near(self, number: Number, expected: Number) -> bool:
        """Whether a number is the expected one."""
        if number == expected:
            return True
        if isinstance(number, int) and isinstance(expected, int):
            return False
        tolerance = self.tolerance
        if tolerance is None:
            inexact = isinstance(number, float) or isinstance(expected, float)
            tolerance = _FLOAT_TOLERANCE if inexact else _DECIMAL_TOLERANCE
        if not isinstance(number, float) and not isinstance(expected, float):
            return _near_exact(Decimal(number), Decimal(expected), tolerance)
        try:
            one, other = float(number), float(expected)
        except OverflowError:
            return False
        difference = abs(one - other)
        return math.isfinite(difference) and difference <= tolerance * (abs(other) if other else 1.0)


def _near_exact(number: Decimal, expected: Decimal, tolerance: float) -> bool:
    """The same of decimals, which may differ where floats do not."""
    if not (number.is_finite() and expected.is_finite()):
        return False
    if expected and abs(number.adjusted() - expected.adjusted()) > 1:
        return False  # before digits are written out that 1e9999 has
    allowed = Decimal(tolerance) * (abs(expected) if expected else 1)
    return abs(number - expected) <= allowed


def same(cell: Comparable, expected: Comparable, types: Types) -> bool:
    """Whether two comparable cells are equal."""
    if cell[0] != expected[0]:
        return False
    if isinstance(cell[1], int | float | Decimal):
        return types.near(cell[1], expected[1])
    return bool(cell[1] == expected[1])


def columns(found: Sequence[Any], expected: Sequence[Any], types: Types, *, given: bool) -> tuple[Column, Column]:
    """Two columns made comparable with each other. `given`: the expected one is JSON, which writes most as text.

    Raises `ValuesError` for what is no cell.
    """
    if types.strict:
        left = [_strict(cell) for cell in found]
        if given and any(kind == TEXT for kind, _ in map(_strict, expected)):
            left = [(TEXT, value) if isinstance(cell, tuple) else (kind, value)
                    for cell, (kind, value) in zip(found, left, strict=True)]  # fmt: skip
        return left, [_strict(cell) for cell in expected]
    left, right = [_tolerant(cell) for cell in found], [_tolerant(cell) for cell in expected]
    left_kinds, right_kinds = _kinds(left), _kinds(right)
    for kind, read in ((NUMBER, _read_number), (MOMENT, _read_moment)):
        if left_kinds == {kind}:
            right = [read(cell) for cell in right]
        if right_kinds == {kind}:
            left = [read(cell) for cell in left]
    return left, right


def _kinds(column: Column) -> set[str]:
    return {kind for kind, _ in column} - {NULL[0], NAN[0]}


def _strict(cell: Any) -> Comparable:
    kind = type(cell)
    if kind is bool:
        return "boolean", cell
    if kind is int:
        return "integer", cell
    return _common(cell)


def _tolerant(cell: Any) -> Comparable:
    kind = type(cell)
    if kind is int or kind is bool:
        return NUMBER, cell
    if kind is str:
        return TEXT, cell
    name, value = _common(cell)
    if kind is not tuple:
        return name, value
    return _read_moment((TEXT, value)) if name in _MOMENTS else (TEXT, value)


def _common(cell: Any) -> Comparable:
    if cell is None:
        return NULL
    match cell:
        case float() | Decimal():
            return NAN if cell != cell else (NUMBER, cell)
        case str():
            return TEXT, cell
        case bytes():
            return BYTES, cell
        case (str(name), str(text)) if type(cell) is tuple:
            return name, text
        case _:
            raise ValuesError(f"a cell of type {type(cell).__name__}")


def _read_number(cell: Comparable) -> Comparable:
    """Text that is a number, as the number it is."""
    kind, text = cell
    if kind != TEXT or len(text) > _MAX_NUMERAL or not _NUMERAL.fullmatch(text) or not text.isascii():
        return cell
    return NUMBER, int(text) if text.lstrip("+-").isdigit() else Decimal(text)


def _read_moment(cell: Comparable) -> Comparable:
    """Text that is a date, a time of day or both, in one spelling: midnight is the date alone, UTC goes unsaid."""
    kind, text = cell
    match = _MOMENT.fullmatch(text) if kind == TEXT and len(text) < 64 else None
    if match is None or not (match["date"] or match["time"]):
        return cell
    time = match["time"] or ""
    if len(time) == 5:
        time += ":00"
    fraction = (match["fraction"] or "").rstrip("0")
    if fraction:
        time += "." + fraction
    if match["date"] and time == "00:00:00":
        time = ""
    return MOMENT, " ".join(filter(None, (match["date"], time)))

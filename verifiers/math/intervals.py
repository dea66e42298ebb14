"""Bounds of an expression's value in double precision: disjoint bounds prove two expressions different.

Every step rounds outwards. The library functions of C that stand behind `math` are taken to be right to `ULPS` units
in the last place; glibc documents at most 4 (The GNU C Library, "Known Maximum Errors in Math Functions").
What is not real, not finite or not defined has no bounds; then nothing is proved here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from verifiers.math.cost import MAX_EXACT, exact, height
from verifiers.math.expression import CostlyError, Tree
from verifiers.math.samples import sample

ULPS = 8
MAX_NODES = 500
"""Parts of an expression."""
MAX_POWER = 2**20
"""Largest exponent of an integer power."""

Bounds = tuple[float, float]


class _NoBoundsError(ValueError):
    """Not a real, finite number as far as doubles can tell."""


def bounds(tree: Tree, point: int, far_bits: int) -> Bounds | None:
    """Numbers between which the value at a sample point lies, or None."""
    try:
        low, high = _Evaluator(point, far_bits).of(tree)
    except (_NoBoundsError, ArithmeticError, ValueError, CostlyError):
        return None
    return low, high


def disjoint(first: Bounds | None, second: Bounds | None, tolerance: Fraction = Fraction(0)) -> bool:
    """Whether the values must differ, by more than the tolerance relative to the first."""
    if first is None or second is None:
        return False
    gap = max(second[0] - first[1], first[0] - second[1])
    allowed = float(tolerance) * max(abs(first[0]), abs(first[1]))
    return gap > 0 and gap > allowed * (1 + 1e-9)


def _out(low: float, high: float, ulps: int = 1) -> Bounds:
    if not (math.isfinite(low) and math.isfinite(high)):
        raise _NoBoundsError  # an overflow; stopped here, it never becomes a NaN that `min` would overlook
    if ulps == 1:
        return math.nextafter(low, -math.inf), math.nextafter(high, math.inf)
    return low - ulps * math.ulp(low), high + ulps * math.ulp(high)


class _Evaluator:
    def __init__(self, point: int, far_bits: int) -> None:
        self.point = point
        self.far_bits = far_bits
        self.left = MAX_NODES

    def of(self, tree: Tree) -> Bounds:
        self.left -= 1
        if self.left < 0:
            raise _NoBoundsError
        match tree:
            case ("number", value):
                return _of_fraction(value)
            case ("symbol", name):
                return _of_fraction(sample(name, self.point, self.far_bits))
            case ("constant", "pi"):
                return math.pi, math.nextafter(math.pi, 4.0)
            case ("constant", "e"):
                return math.e, math.nextafter(math.e, 4.0)
            case ("sum", *parts):
                low, high = self.of(parts[0])
                for part in parts[1:]:
                    other = self.of(part)
                    low, high = _out(low + other[0], high + other[1])
                return low, high
            case ("product", *parts):
                product = self.of(parts[0])
                for part in parts[1:]:
                    product = _times(product, self.of(part))
                return product
            case ("quotient", top, bottom):
                return _divided(self.of(top), self.of(bottom))
            case ("power", base, exponent):
                return self.power(base, exponent)
            case ("call", name, *parts):
                return self.call(name, parts, tree)
        raise _NoBoundsError

    def power(self, base: Tree, exponent: Tree) -> Bounds:
        value = exact(exponent) if height(exponent) <= MAX_EXACT else None
        if value is not None and value.denominator == 1:
            return _whole_power(self.of(base), value.numerator)
        low, high = self.of(base)
        if low <= 0:
            raise _NoBoundsError  # a root of a negative number, or of zero
        corners = [x**y for x in (low, high) for y in self.of(exponent)]
        return _out(min(corners), max(corners), ULPS)

    def call(self, name: str, parts: list[Tree], tree: Tree) -> Bounds:
        match name:
            case "factorial" | "binomial" | "gcd" | "lcm" | "mod":
                value = exact(tree) if height(tree) <= MAX_EXACT else None
                if value is None:
                    raise _NoBoundsError
                return _of_fraction(value)
            case "max" | "min":
                pick: Callable[..., float] = max if name == "max" else min
                values = [self.of(part) for part in parts]
                return pick(v[0] for v in values), pick(v[1] for v in values)
            case "root":
                degree = exact(parts[1]) if height(parts[1]) <= MAX_EXACT else None
                low, high = self.of(parts[0])
                if degree is None or degree.denominator != 1 or degree < 1 or low < 0:
                    raise _NoBoundsError
                return _rising(lambda x: x ** (1 / degree.numerator), low, high, ulps=ULPS * 200)
            case "log" if len(parts) == 2:
                return _divided(_log(self.of(parts[0])), _log(self.of(parts[1])))
        return _function(name, self.of(parts[0]))


def _of_fraction(value: Fraction) -> Bounds:
    nearest = value.numerator / value.denominator
    if nearest.is_integer() and value.denominator == 1 and abs(nearest) < 2**53:
        return nearest, nearest
    return _out(nearest, nearest)


def _times(a: Bounds, b: Bounds) -> Bounds:
    corners = (a[0] * b[0], a[0] * b[1], a[1] * b[0], a[1] * b[1])
    return _out(min(corners), max(corners))


def _divided(a: Bounds, b: Bounds) -> Bounds:
    if b[0] <= 0 <= b[1]:
        raise _NoBoundsError
    corners = (a[0] / b[0], a[0] / b[1], a[1] / b[0], a[1] / b[1])
    return _out(min(corners), max(corners))


def _whole_power(base: Bounds, exponent: int) -> Bounds:
    if abs(exponent) > MAX_POWER:
        raise _NoBoundsError
    if exponent < 0:
        return _divided((1.0, 1.0), _whole_power(base, -exponent))
    low, high = base
    ends = (low**exponent, high**exponent)
    least, most = min(ends), max(ends)
    if exponent % 2 == 0 and low <= 0 <= high:
        least = 0.0
    return _out(least, most, ULPS)


def _log(x: Bounds) -> Bounds:
    if x[0] <= 0:
        raise _NoBoundsError
    return _rising(math.log, *x)


def _rising(function: Callable[[float], float], low: float, high: float, ulps: int = ULPS) -> Bounds:
    return _out(function(low), function(high), ulps)


def _steady(function: Callable[[float], float], low: float, high: float) -> Bounds:
    """Of sine and cosine, which change by no more than their argument does."""
    middle = low / 2 + high / 2
    radius = max(high - middle, middle - low)
    if radius > 1:
        raise _NoBoundsError
    value, width = function(middle), radius + ULPS * math.ulp(1.0)
    return _out(value - width, value + width)


def _function(name: str, x: Bounds) -> Bounds:
    low, high = x
    match name:
        case "sqrt" if low >= 0:
            return _rising(math.sqrt, low, high)
        case "cbrt":
            return _rising(math.cbrt, low, high)
        case "ln":
            return _log(x)
        case "log" | "lg":
            return _divided(_log(x), _rising(math.log, 10.0, 10.0))
        case "exp":
            return _rising(math.exp, low, high)
        case "abs":
            return x if low >= 0 else (-high, -low) if high <= 0 else (0.0, max(-low, high))
        case "floor" | "ceil":
            rounded = math.floor if name == "floor" else math.ceil
            if rounded(low) != rounded(high) or low.is_integer() or high.is_integer():
                raise _NoBoundsError
            return float(rounded(low)), float(rounded(low))
        case "sin":
            return _steady(math.sin, low, high)
        case "cos":
            return _steady(math.cos, low, high)
        case "tan":
            return _divided(_function("sin", x), _function("cos", x))
        case "cot":
            return _divided(_function("cos", x), _function("sin", x))
        case "sec":
            return _divided((1.0, 1.0), _function("cos", x))
        case "csc":
            return _divided((1.0, 1.0), _function("sin", x))
        case "sinh" | "tanh":
            return _rising(getattr(math, name), low, high)
        case "arctan":
            return _rising(math.atan, low, high)
        case "arcsin" if low >= -1 and high <= 1:
            return _rising(math.asin, low, high)
        case "arccos" if low >= -1 and high <= 1:
            return _out(math.acos(high), math.acos(low), ULPS)
    raise _NoBoundsError

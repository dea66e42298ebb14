"""What an expression would cost, and its exact value where it is a small rational number.

`height` bounds, before anything is computed, the size in bits of every number that an evaluation handles: for a
rational number p/q it is an upper bound of log2(max(|p|, |q|)), and heights add up under arithmetic as they do for
algebraic numbers (Waldschmidt, Diophantine Approximation on Linear Algebraic Groups, chapter 3). Symbols stand for
sample values up to `reach` in size.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from verifiers.math.expression import CostlyError, Tree

NEAR_REACH = 2.0
"""Size of symbols at the sample points at which every pair of expressions is compared."""

_GROWING = ("!", "^", "\\binom", "\\sum", "\\prod", "\\operatorname")
_TOWER = re.compile(r"\^(?:\{[^{}^]*[0-9][^{}^]*|[0-9]+)\^")

MAX_HEIGHT = 8192.0
"""Bits; about 2,500 decimal digits."""
MAX_SCALAR = 4000.0
"""Bits of one scalar of an answer: two of them in an equation stay below `MAX_HEIGHT`."""
MAX_EXPONENT_BITS = 64
"""Largest height of an irrational exponent."""
USUAL_EXPONENT = 512.0
"""Largest absolute value that an irrational exponent is counted with."""
MAX_WRITTEN = 400
"""Characters of LaTeX that only SymPy reads."""
MAX_EXACT = 2048.0
"""Bits up to which rational arithmetic is done at once, in microseconds."""


def height(tree: Tree, reach: float = NEAR_REACH) -> float:
    """An upper bound in bits of what evaluating the tree handles. Raises `CostlyError` above `MAX_HEIGHT`."""
    bits = _height(tree, reach)
    if bits > MAX_HEIGHT:
        raise CostlyError("evaluating the expression would take too long")
    return bits


def check_written(latex: str) -> None:
    """Refuse LaTeX outside the grammar that only SymPy can evaluate, where its numbers let it grow without end.

    Raises `CostlyError`. Cruder than `height`, as it has no tree to go by; the guarded worker's limits stand behind.
    """
    largest = max((len(digits) for digits in re.findall("[0-9]+", latex)), default=0)
    grows = any(sign in latex for sign in _GROWING)
    if len(latex) > MAX_WRITTEN or largest > 30 or (grows and largest > 4) or _TOWER.search(latex):
        raise CostlyError("evaluating the expression could take too long")


def exact(tree: Tree) -> Fraction | None:
    """The value of a tree of rational arithmetic, roots of perfect powers included, else None.

    The tree's height must be known to be at most `MAX_EXACT`. Raises ZeroDivisionError where there is no value.
    """
    match tree:
        case ("number", Fraction() as value):
            return value
        case ("symbol" | "constant", _):
            return None
        case (kind, *parts) if kind != "call":
            values = _all_exact(parts)
            return None if values is None else _arithmetic(kind, values)
        case ("call", name, *parts):
            values = _all_exact(parts)
            return None if values is None else _function(name, values)
    return None


def _height(tree: Tree, reach: float) -> float:
    match tree:
        case ("number", value):
            return float(max(value.numerator.bit_length(), value.denominator.bit_length(), 1))
        case ("symbol", _):
            return max(2.0, math.log2(reach))
        case ("constant", _):
            return 2.0
        case ("power", base, exponent):
            return height(base, reach) * max(1.0, _magnitude(exponent, reach))
        case ("call", name, *parts):
            return _height_of_call(name, parts, reach)
        case (_, *parts):
            return sum(height(part, reach) for part in parts) + len(parts)
    raise AssertionError(tree[0])


def _height_of_call(name: str, parts: list[Tree], reach: float) -> float:
    match name:
        case "factorial":
            size = _magnitude(parts[0], reach)
            return size * math.log2(size + 2)
        case "binomial":
            size = _magnitude(parts[0], reach)
            return min(size, _magnitude(parts[1], reach) * math.log2(size + 2)) + 2.0
        case "exp" | "sinh" | "cosh" | "tanh" | "coth":
            return 2.0 * max(1.0, _magnitude(parts[0], reach))
        case _:
            return sum(height(part, reach) for part in parts) + 2.0 * len(parts)


def _magnitude(tree: Tree, reach: float) -> float:
    """The size to expect of an exponent. Raises `CostlyError` where it is beyond what can be computed with.

    A bound where `_bound` knows one. For others 2^height is one, but one that quotients exceed by far: above
    `USUAL_EXPONENT` that is assumed, up to heights whose powers floating-point exponents can still hold.
    """
    bits = height(tree, reach)
    value = exact(tree) if bits <= MAX_EXACT else None
    size = _bound(tree, reach) if value is None else abs(value)
    if size <= MAX_HEIGHT:
        return float(size)
    if value is not None or bits > MAX_EXPONENT_BITS or reach > NEAR_REACH:
        raise CostlyError("an exponent is too large")
    return float(2.0**bits) if 2.0**bits < USUAL_EXPONENT else USUAL_EXPONENT


def _bound(tree: Tree, reach: float) -> float:
    """A bound of the absolute value, infinite where none is known."""
    match tree:
        case ("number", value):
            return float(abs(value)) if abs(value) < 2**64 else math.inf
        case ("symbol", _):
            return reach
        case ("constant", name):
            return {"pi": 3.15, "e": 2.72, "i": 1.0}.get(name, math.inf)
        case ("sum", *parts):
            return sum(_bound(part, reach) for part in parts)
        case ("product", *parts):
            return math.prod(max(_bound(part, reach), 1.0) for part in parts)
        case ("quotient", top, ("number", bottom)) if bottom:
            return _bound(top, reach) / max(float(abs(bottom)), 2.0**-64) if abs(bottom) < 2**64 else math.inf
        case ("power", base, ("number", exponent)) if 0 <= exponent <= MAX_EXPONENT_BITS:
            base_bound = max(_bound(base, reach), 1.0)
            return float(base_bound**exponent) if base_bound < 2**15 else math.inf
        case ("call", ("sqrt" | "abs"), inner):
            return max(_bound(inner, reach), 1.0)
    return math.inf


def _all_exact(parts: list[Tree]) -> list[Fraction] | None:
    values = []
    for part in parts:
        if (value := exact(part)) is None:
            return None
        values.append(value)
    return values


def _arithmetic(kind: str, values: list[Fraction]) -> Fraction | None:
    match kind, values:
        case "sum", _:
            return sum(values, Fraction(0))
        case "product", _:
            return math.prod(values, start=Fraction(1))
        case "quotient", [top, bottom]:
            return top / bottom
        case "power", [base, exponent]:
            if exponent.denominator == 1:
                return base**exponent.numerator
            root = _root(base, exponent.denominator)
            return None if root is None else root**exponent.numerator
    return None


def _function(name: str, values: list[Fraction]) -> Fraction | None:
    whole = [v.numerator for v in values if v.denominator == 1]
    integers = whole if len(whole) == len(values) else None
    match name, values:
        case "sqrt", [value]:
            return _root(value, 2)
        case "cbrt", [value]:
            return _root(value, 3)
        case "root", [value, degree] if degree.denominator == 1 and degree > 0:
            return _root(value, degree.numerator)
        case "abs", [value]:
            return abs(value)
        case "floor", [value]:
            return Fraction(math.floor(value))
        case "ceil", [value]:
            return Fraction(math.ceil(value))
        case "mod", [value, modulus]:
            return value % modulus
        case "max", _:
            return max(values)
        case "min", _:
            return min(values)
    if integers is None or min(integers) < 0:
        return None
    match name, integers:
        case "factorial", [n]:
            return Fraction(math.factorial(n))
        case "binomial", [n, k]:
            return Fraction(math.comb(n, k))
        case "gcd", _:
            return Fraction(math.gcd(*integers))
        case "lcm", _:
            return Fraction(math.lcm(*integers))
    return None


def _root(value: Fraction, degree: int) -> Fraction | None:
    """The real root where it is rational, else None; negative numbers have real roots of odd degree."""
    if value < 0:
        if degree % 2 == 0:
            return None
        positive = _root(-value, degree)
        return None if positive is None else -positive
    top, bottom = _integer_root(value.numerator, degree), _integer_root(value.denominator, degree)
    return None if top is None or bottom is None else Fraction(top, bottom)


def _integer_root(n: int, degree: int) -> int | None:
    if n < 2:
        return n
    if degree == 2:
        root = math.isqrt(n)
    elif degree > n.bit_length():
        return None
    else:  # Newton's iteration from above ends at the floor of the root
        root = 1 << -(-n.bit_length() // degree)
        while (better := ((degree - 1) * root + n // root ** (degree - 1)) // degree) < root:
            root = better
    return root if root**degree == n else None

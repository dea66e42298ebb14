"""Runs in the guarded workers: decides what only evaluation can.

Expressions of our own grammar are evaluated by mpmath, symbols at several sample points, close and distant (see
`samples`). The precision is well above the height of both expressions (see `cost`), so that no explicit term is too
small to be seen, and comparison is always relative. A difference within it is looked at again at twice the precision:
one that shrinks with it is zero, one that stands is not.
What the grammar does not read goes to Math-Verify's LaTeX parser and SymPy. Nothing here evaluates text: no
`sympify`, no `parse_expr`, no `eval`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any, NamedTuple

import mpmath  # type: ignore[import-untyped]
import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
from latex2sympy2_extended.math_normalization import NormalizationConfig

from verifiers.math.cost import MAX_EXACT, exact, height
from verifiers.math.expression import MAX_DEPTH, TRIGONOMETRIC, CostlyError, Tree, parse, symbols
from verifiers.math.samples import FAR, MIDDLE, UNIT, WIDE, far_bits, sample
from verifiers.math.tokens import tokenize

FEWEST_SAMPLES = 2
"""Points at which both must have a value."""
GUARD_DIGITS = 40
"""Decimal digits beyond those of the heights of both expressions."""
ROUNDING_DIGITS = 10
"""Of these, digits that rounding may cost."""
DISTANT_DIGITS = 50
"""Decimal digits at distant sample points."""

_WHOLE = TRIGONOMETRIC | {"exp", "factorial"}
"""Functions without branches: two that agree close by agree everywhere."""

EQUAL, UNEQUAL, BAD_GOLD = "equal", "unequal", "bad_gold"

_mp = mpmath.mp.clone()
_NORMALIZATION = NormalizationConfig(malformed_operators=True, boxed="none")
_CONVERSION = ConversionConfig(lowercase_symbols=False)
_DECIMAL = re.compile(r"[0-9]*\.[0-9]+")


class _UndefinedGoldError(ValueError):
    """The reference has no value."""


def compare(payload: dict[str, Any]) -> list[str]:
    """Answer questions about a reference and an answer.

    Takes `{"questions": [[relation, gold, answer], ...], "tolerance": "p/q"}`, see `compare.Question`; gives for each
    "equal", "unequal", or "bad_gold" where the reference itself has no value or cannot be read.
    """
    tolerance = Fraction(payload["tolerance"])
    return [_decide(relation, gold, answer, tolerance) for relation, gold, answer in payload["questions"]]


def _decide(relation: str, gold: str, answer: str, tolerance: Fraction) -> str:
    try:
        match relation:
            case "equal":
                same = _equal(gold, answer, tolerance)
            case "proportional" | "positive":
                same = _proportional(gold, answer, positive=relation == "positive")
            case _:
                same = _sympy_equal(gold, answer)
    except _UndefinedGoldError:
        return BAD_GOLD
    return EQUAL if same else UNEQUAL


class _Pair(NamedTuple):
    """A reference and an answer with what their comparison needs."""

    gold: str
    answer: str
    names: frozenset[str]
    far_bits: int

    def digits(self, point: int) -> int | None:
        """Decimal digits to work with at a point, in steps that caches can share; None if it would cost too much.

        Distant points only have to show functions that agree on a range alone, for which a few digits will do.
        """
        if point not in UNIT:
            reach = float(max(abs(sample(name, point, self.far_bits)) for name in self.names))
            try:
                height(_tree(self.gold), reach), height(_tree(self.answer), reach)
            except CostlyError:
                return None
            return DISTANT_DIGITS
        bits = height(_tree(self.gold)) + height(_tree(self.answer))
        digits = GUARD_DIGITS
        while digits < GUARD_DIGITS + bits * math.log10(2):
            digits += digits // 2
        return digits

    def values(self, point: int, digits: int) -> tuple[Any, Any]:
        """Both values at a point, None for one that has none there."""
        return _value(self.gold, digits, point, self.far_bits), _value(self.answer, digits, point, self.far_bits)


def _pair(gold: str, answer: str) -> _Pair:
    trees = _tree(gold), _tree(answer)
    return _Pair(gold, answer, symbols(trees[0]) | symbols(trees[1]), far_bits(*trees))


def _equal(gold: str, answer: str, tolerance: Fraction) -> bool:
    pair = _pair(gold, answer)
    points = (*UNIT, *MIDDLE, *FAR) if pair.names else UNIT[:1]
    if pair.names and (_has_branches(_tree(gold)) or _has_branches(_tree(answer))):
        points = (*points, *WIDE)
    gold_defined = both_defined = 0
    for point in points:
        digits = pair.digits(point)
        if digits is None:
            continue
        g, a = pair.values(point, digits)
        if point not in UNIT and (g is None or a is None or (_mp.im(g) and _mp.im(a))):
            continue  # distant points are for real functions: beyond their domains, forms differ by branches
        gold_defined += g is not None
        if g is None or a is None:
            continue
        both_defined += 1
        if tolerance and not pair.names:
            return bool(abs(a - g) <= abs(g) * tolerance.numerator / tolerance.denominator)
        if not _vanishes(partial(_difference_at, pair, point), digits):
            return False
    if not gold_defined:
        raise _UndefinedGoldError
    return both_defined >= min(FEWEST_SAMPLES, len(points))


def _has_branches(tree: Tree) -> bool:
    """Whether a function may be another one elsewhere, such as `|x|`, `\\sqrt{x^2}` or `\\ln x^2`."""
    if tree[0] == "call" and tree[1] not in _WHOLE:
        return True
    if tree[0] == "power" and not (tree[2][0] == "number" and tree[2][1].denominator == 1):
        return True
    return any(_has_branches(part) for part in tree[1:] if isinstance(part, tuple))


def _difference_at(pair: _Pair, point: int, precision: int) -> tuple[Any, Any]:
    return _difference(*pair.values(point, precision))


def _difference(gold: Any, answer: Any) -> tuple[Any, Any]:
    if gold is None or answer is None:
        return _mp.one, _mp.one
    return answer - gold, max(abs(answer), abs(gold))


def _proportional(gold: str, answer: str, *, positive: bool) -> bool:
    """Whether one is a constant multiple of the other, as for the two sides of equivalent equations."""
    pair = _pair(gold, answer)
    points = [(point, digits) for point in (*UNIT, *MIDDLE, *FAR) if (digits := pair.digits(point)) is not None]
    values = [pair.values(point, digits) for point, digits in points]
    if not any(g for g, _ in values):
        raise _UndefinedGoldError
    usable = [at for at, (g, a) in zip(points, values, strict=True) if g and a]
    if len(usable) <= FEWEST_SAMPLES:
        return False
    [(first, least), *others] = usable

    def crossed(point: int) -> Callable[[int], tuple[Any, Any]]:
        def at(precision: int) -> tuple[Any, Any]:
            (g, a), (g1, a1) = pair.values(point, precision), pair.values(first, precision)
            return _difference(a1 * g, a * g1)

        return at

    if not all(_vanishes(crossed(point), max(digits, least)) for point, digits in others):
        return False
    g, a = pair.values(first, least)
    return not positive or bool(_mp.re(a / g) > 0)


def _vanishes(difference: Callable[[int], tuple[Any, Any]], digits: int) -> bool:
    """Whether a difference, given with the size of its terms at any precision, is zero."""
    rough, size = difference(digits)
    with _mp.workdps(2 * digits):
        if abs(rough) <= size * _mp.mpf(10) ** (ROUNDING_DIGITS - digits):
            return True
    fine, size = difference(2 * digits)
    with _mp.workdps(2 * digits):
        if abs(fine) <= size * _mp.mpf(10) ** (ROUNDING_DIGITS - digits):
            return True
        return bool(abs(fine) <= abs(rough) * _mp.mpf(10) ** (-digits // 2))


@lru_cache(maxsize=512)
def _tree(source: str) -> Tree:
    return parse(tokenize(source), MAX_DEPTH + 8)  # brackets and factors were put around what was read


@lru_cache(maxsize=2048)
def _value(source: str, digits: int, point: int, far_bits: int) -> Any:
    """The value at a sample point, or None where it has none."""
    with _mp.workdps(digits):
        try:
            value = _evaluate(_tree(source), point, far_bits)
        except (ZeroDivisionError, ValueError, OverflowError, TypeError, mpmath.libmp.NoConvergence):
            return None  # a pole, or a function outside its domain
        return None if _mp.isnan(value) or _mp.isinf(value) else +value


def _evaluate(tree: Tree, point: int, far_bits: int) -> Any:
    match tree:
        case ("number", value):
            return _mp.mpf(value.numerator) / value.denominator
        case ("symbol", name):
            value = sample(name, point, far_bits)
            return _mp.mpf(value.numerator) / value.denominator
        case ("constant", name):
            return {"pi": _mp.pi, "e": _mp.e, "i": _mp.j}[name] * 1
    values = [_evaluate(part, point, far_bits) for part in tree[1:] if isinstance(part, tuple)]
    match tree[0]:
        case "sum":
            return sum(values[1:], values[0])
        case "product":
            return math.prod(values[1:], start=values[0])
        case "quotient":
            return values[0] / values[1]
        case "power":
            exponent = exact(tree[2]) if height(tree[2]) <= MAX_EXACT else None
            if exponent is not None and exponent.denominator > 1:
                return _real_root(values[0], exponent.denominator) ** exponent.numerator
            return _power(*values)
        case _:
            return _call(tree[1], values)


def _power(base: Any, exponent: Any) -> Any:
    if base == 0:
        if exponent == 0:
            return _mp.one
        if _mp.re(exponent) < 0:
            raise ZeroDivisionError
        return _mp.zero
    return _mp.power(base, exponent)


def _call(name: str, values: list[Any]) -> Any:
    match name, values:
        case "sqrt", [x]:
            return _mp.sqrt(x)
        case "cbrt", [x]:
            return _real_root(x, 3)
        case "root", [x, degree]:
            return _real_root(x, _whole(degree))
        case (("log" | "lg"), [x]):
            return _mp.log(x) / _mp.log(10)
        case "log", [x, base]:
            return _mp.log(x) / _mp.log(base)
        case "ln", [x]:
            return _mp.log(x)
        case "exp", [x]:
            return _mp.exp(x)
        case "abs", [x]:
            return abs(x)
        case (("floor" | "ceil"), [x]):
            return _rounded(name, x)
        case "mod", [x, modulus]:
            return x - modulus * _rounded("floor", x / modulus)
        case "factorial", [n]:
            return _mp.factorial(n)
        case "binomial", [n, k]:
            return _mp.binomial(n, k)
        case "max", _:
            return max(values)
        case "min", _:
            return min(values)
        case (("gcd" | "lcm"), _):
            return _mp.mpf(getattr(math, name)(*(_whole(v) for v in values)))
        case _, [x]:
            return getattr(_mp, name.replace("arc", "a"))(x)
    raise ValueError(name)


def _real_root(x: Any, degree: int) -> Any:
    """The principal root, but the real one of odd degree for negative numbers, as `\\sqrt[3]{-8} = -2`."""
    if _mp.im(x) == 0 and _mp.re(x) < 0 and degree % 2:
        return -_mp.root(-_mp.re(x), degree)
    return _mp.root(x, degree)


def _rounded(direction: str, x: Any) -> Any:
    """Floor or ceiling; what lies within the working precision of an integer is that integer."""
    nearest = _mp.nint(x)
    if abs(x - nearest) < _mp.mpf(10) ** (-_mp.dps // 2):
        return nearest
    return _mp.floor(x) if direction == "floor" else _mp.ceil(x)


def _whole(x: Any) -> int:
    nearest = int(_mp.nint(_mp.re(x)))
    if abs(x - nearest) > _mp.mpf(10) ** (-_mp.dps // 2):
        raise ValueError("not an integer")
    return nearest


def _sympy_equal(gold: str, answer: str) -> bool:
    first = _gold_in_sympy(gold)
    try:
        second = _in_sympy(answer)
    except MemoryError:
        raise
    except Exception:  # the parser's own errors are bare `Exception`s: the answer is not mathematics
        return False
    try:
        return _same_in_sympy(first, second)
    except MemoryError:
        raise
    except Exception:  # such as PrecisionExhausted: the answer's fault, unless the reference alone has it too
        _simplified(first)
        return False


def _same_in_sympy(first: Any, second: Any) -> bool:
    if isinstance(first, sympy.Expr) and isinstance(second, sympy.Expr):
        return bool(sympy.simplify(first - second) == 0)
    if isinstance(first, sympy.Set) and isinstance(second, sympy.Set):
        return bool(first == second or first.symmetric_difference(second) == sympy.S.EmptySet)
    return bool(first == second)


def _simplified(gold: Any) -> None:
    try:
        sympy.simplify(gold)
    except MemoryError:
        raise
    except Exception as error:
        raise _UndefinedGoldError from error


@lru_cache(maxsize=128)
def _gold_in_sympy(latex: str) -> Any:
    try:
        return _in_sympy(latex)
    except MemoryError:
        raise
    except Exception as error:
        raise _UndefinedGoldError from error


def _in_sympy(latex: str) -> Any:
    """LaTeX as SymPy reads it, evaluated; decimals are exact. Raises any Exception."""
    spelled = latex.replace("\\reals", "\\mathbb{R}").replace("\\degree", "^{\\circ}")
    spelled = _DECIMAL.sub(lambda m: "\\frac{{{}}}{{{}}}".format(*Fraction(m.group()).as_integer_ratio()), spelled)
    value = latex2sympy(spelled, normalization_config=_NORMALIZATION, conversion_config=_CONVERSION)
    return value.doit() if isinstance(value, sympy.Basic | sympy.MatrixBase) else value

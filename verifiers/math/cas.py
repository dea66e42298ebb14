"""Runs in the guarded workers: decides what only evaluation can.

Expressions of our own grammar are evaluated by mpmath at two precisions, symbols at several sample points; a
difference that shrinks with the precision is zero, one that stands is not. The precision is well above the height of
both expressions (see `cost`), so that no explicit term is too small to be seen, and comparison is always relative.
What the grammar does not read goes to Math-Verify's LaTeX parser and SymPy. Nothing here evaluates text: no
`sympify`, no `parse_expr`, no `eval`.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath  # type: ignore[import-untyped]
import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy
from latex2sympy2_extended.math_normalization import NormalizationConfig

from verifiers.math.cost import MAX_EXACT, exact, height
from verifiers.math.expression import MAX_DEPTH, Tree, parse, symbols
from verifiers.math.tokens import tokenize

SAMPLES = 6
"""Points at which expressions with symbols are compared; both signs of every symbol occur."""
FEWEST_SAMPLES = 2
"""Points at which both must have a value."""

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


def _equal(gold: str, answer: str, tolerance: Fraction) -> bool:
    digits = _digits(gold, answer)
    names = symbols(_tree(gold)) | symbols(_tree(answer))
    points = range(SAMPLES if names else 1)
    defined = [k for k in points if _value(gold, digits, k) is not None]
    if not defined:
        raise _UndefinedGoldError
    both = [k for k in defined if _value(answer, digits, k) is not None]
    if len(both) < min(FEWEST_SAMPLES, len(points)):
        return False
    if tolerance and not names:
        g, a = _value(gold, digits, 0), _value(answer, digits, 0)
        return bool(abs(a - g) <= abs(g) * tolerance.numerator / tolerance.denominator)

    def difference(k: int) -> Callable[[int], tuple[Any, Any]]:
        def at(precision: int) -> tuple[Any, Any]:
            g, a = _value(gold, precision, k), _value(answer, precision, k)
            if g is None or a is None:
                return _mp.one, _mp.one
            if _mp.isinf(g) or _mp.isinf(a):
                return (_mp.zero if g == a else _mp.one), _mp.one
            return a - g, max(abs(a), abs(g))

        return at

    return all(_vanishes(difference(k), digits) for k in both)


def _proportional(gold: str, answer: str, *, positive: bool) -> bool:
    """Whether one is a constant multiple of the other, as for the two sides of equivalent equations."""
    digits = _digits(gold, answer)
    defined = [k for k in range(SAMPLES) if _value(gold, digits, k)]
    points = [k for k in defined if _value(answer, digits, k)]
    if not defined:
        raise _UndefinedGoldError
    if len(points) <= FEWEST_SAMPLES:
        return False
    first, *others = points

    def difference(k: int) -> Callable[[int], tuple[Any, Any]]:
        def at(precision: int) -> tuple[Any, Any]:
            crossed = _value(answer, precision, k) * _value(gold, precision, first)
            other = _value(answer, precision, first) * _value(gold, precision, k)
            return crossed - other, max(abs(crossed), abs(other))

        return at

    if not all(_vanishes(difference(k), digits) for k in others):
        return False
    ratio = _value(answer, digits, first) / _value(gold, digits, first)
    return not positive or bool(_mp.re(ratio) > 0)


def _vanishes(difference: Callable[[int], tuple[Any, Any]], digits: int) -> bool:
    """Whether a difference, given with the size of its terms at any precision, is zero."""
    rough, _ = difference(digits)
    fine, size = difference(2 * digits)
    with _mp.workdps(2 * digits):
        if fine == 0 or abs(fine) <= abs(rough) * _mp.mpf(10) ** (-digits // 2):
            return True
        return bool(abs(fine) <= size * _mp.mpf(10) ** (-3 * digits // 2))


def _digits(gold: str, answer: str) -> int:
    """Decimal digits to work with: 30 and those of both heights, as one of a few steps that caches can share."""
    bits = height(_tree(gold)) + height(_tree(answer))
    digits = 50
    while digits < 30 + bits * math.log10(2):
        digits *= 2
    return digits


@lru_cache(maxsize=512)
def _tree(source: str) -> Tree:
    return parse(tokenize(source), MAX_DEPTH + 8)  # brackets and factors were put around what was read


@lru_cache(maxsize=2048)
def _value(source: str, digits: int, sample: int) -> Any:
    """The value at a sample point, or None where it has none."""
    with _mp.workdps(digits):
        try:
            value = _evaluate(_tree(source), sample)
        except (ZeroDivisionError, ValueError, OverflowError, TypeError, mpmath.libmp.NoConvergence):
            return None  # a pole, or a function outside its domain
        return None if _mp.isnan(value) else +value


def _evaluate(tree: Tree, sample: int) -> Any:
    match tree:
        case ("number", value):
            return _mp.mpf(value.numerator) / value.denominator
        case ("symbol", name):
            return _sample(name, sample)
        case ("constant", name):
            return {"pi": _mp.pi, "e": _mp.e, "i": _mp.j, "infinity": _mp.inf}[name] * 1
    values = [_evaluate(part, sample) for part in tree[1:] if isinstance(part, tuple)]
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


def _sample(name: str, sample: int) -> Any:
    """A fixed number between 1/4 and 4 for a symbol; from the third sample on its sign depends on the name."""
    seed = zlib.crc32(f"{name}:{sample}".encode("utf-8", "surrogatepass"))
    value = _mp.mpf(2503 + seed % 37000) / 10007
    return -value if sample == 2 or (sample > 2 and seed & 1 << 30) else value


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

"""Exact comparison of rational functions with square roots, `i`, and one of `pi` and `e`, in microseconds.

An expression of this sort is an element of a field that is generated over the rationals by symbols, by square roots
of primes and of -1, and by a transcendental number. It is mapped into the integers modulo a prime of 127 bits, where
all of these have values: symbols and the transcendental number get fixed ones, and every root a root. The map keeps
sums and products, so that different images prove different expressions (not with both `pi` and `e` in them: whether
these depend on each other is not known). That different expressions get the same image
is as likely as to guess a number of 127 bits (Schwartz 1980 and Zippel 1979 for the symbols; a nonzero number that
vanishes has a norm that the prime divides). Nothing can grow: every number has 127 bits, whatever the exponents.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction
from functools import lru_cache

from verifiers.math.cost import MAX_EXACT, exact, height
from verifiers.math.expression import CostlyError, Tree

PRIME = 170141183448171851645484644278575906721
"""The largest prime below 2**127 that is 1 modulo 8 and modulo every prime up to 71: all those have square roots."""
MAX_RADICAND = 10**6
"""Numerator times denominator of a rational number whose square root is taken; factoring it takes microseconds."""
MAX_EXPONENT = 2**64
MAX_NODES = 500
"""Parts of an expression."""

Image = int


class _OutsideError(ValueError):
    """The expression is no such function, or a denominator vanishes."""


def same_ratio(first: Image, second: Image, third: Image, fourth: Image) -> bool:
    """Whether the first is to the second as the third is to the fourth."""
    return (first * fourth - second * third) % PRIME == 0


def image(tree: Tree, point: int = 0) -> Image | None:
    """The expression's image, or None where it is no such function. Equal expressions have equal images.

    Symbols have other values at another point.
    """
    try:
        return _Reader(point).of(tree)
    except (_OutsideError, CostlyError, ZeroDivisionError):
        return None


def transcendental(tree: Tree) -> frozenset[str]:
    """Which of `pi` and `e` it mentions. Different images of both together prove nothing."""
    if tree[0] == "constant":
        return frozenset((tree[1],)) & {"pi", "e"}
    return frozenset().union(*(transcendental(part) for part in tree[1:] if isinstance(part, tuple)))


class _Reader:
    def __init__(self, point: int) -> None:
        self.point = point
        self.left = MAX_NODES

    def of(self, tree: Tree) -> int:
        self.left -= 1
        if self.left < 0:
            raise _OutsideError
        match tree:
            case ("number", value):
                return _fraction(value)
            case ("symbol", name):
                return _indeterminate(f"symbol {name} {self.point}")
            case ("constant", "i"):
                return _prime_root(-1)
            case ("constant", ("pi" | "e") as name):
                return _indeterminate(f"constant {name}")
            case ("sum", *parts):
                return sum(self.of(part) for part in parts) % PRIME
            case ("product", *parts):
                product = 1
                for part in parts:
                    product = product * self.of(part) % PRIME
                return product
            case ("quotient", top, bottom):
                return self.of(top) * _inverse(self.of(bottom)) % PRIME
            case ("power", base, exponent):
                return self.power(base, _rational(exponent))
            case ("call", "sqrt", radicand):
                return _square_root(_rational(radicand))
            case ("call", _, *_):
                return _fraction(_rational(tree))
        raise _OutsideError

    def power(self, base: Tree, exponent: Fraction) -> int:
        if abs(exponent.numerator) > MAX_EXPONENT or exponent.denominator > 2:
            raise _OutsideError
        value = self.of(base) if exponent.denominator == 1 else _square_root(_rational(base))
        if exponent < 0:
            value = _inverse(value)
        return pow(value, abs(exponent.numerator), PRIME)


def _rational(tree: Tree) -> Fraction:
    if height(tree) > MAX_EXACT or (value := exact(tree)) is None:
        raise _OutsideError
    return value


def _fraction(value: Fraction) -> int:
    return value.numerator * _inverse(value.denominator % PRIME) % PRIME


def _inverse(value: int) -> int:
    if value == 0:
        raise _OutsideError
    return pow(value, -1, PRIME)


@lru_cache(maxsize=4096)
def _indeterminate(name: str) -> int:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest, "big") % PRIME


@lru_cache(maxsize=4096)
def _square_root(value: Fraction) -> int:
    """The image of the principal root: the product of the roots of its primes, and of -1."""
    radicand = value.numerator * value.denominator
    if abs(radicand) > MAX_RADICAND:
        raise _OutsideError
    root = _prime_root(-1) if radicand < 0 else 1
    left, factor = abs(radicand), 2
    while factor * factor <= left:
        times = 0
        while left % factor == 0:
            left //= factor
            times += 1
        root = root * pow(factor, times // 2, PRIME) % PRIME
        if times % 2:
            root = root * _prime_root(factor) % PRIME
        factor += 1
    if left > 1:
        root = root * _prime_root(left) % PRIME
    return root * _inverse(value.denominator) % PRIME if radicand else 0


@lru_cache(maxsize=4096)
def _prime_root(n: int) -> int:
    """A fixed square root modulo `PRIME` (Tonelli and Shanks). Raises `_OutsideError` where there is none."""
    n %= PRIME
    if pow(n, PRIME // 2, PRIME) != 1:
        raise _OutsideError
    odd, twos = PRIME - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    non_residue = next(z for z in range(2, 1000) if pow(z, PRIME // 2, PRIME) != 1)
    step, root, rest = pow(non_residue, odd, PRIME), pow(n, odd // 2 + 1, PRIME), pow(n, odd, PRIME)
    while rest != 1:
        order, square = 0, rest
        while square != 1:
            order, square = order + 1, square * square % PRIME
        step = pow(step, 1 << (twos - order - 1), PRIME)
        root, step, twos = root * step % PRIME, step * step % PRIME, order
        rest = rest * step % PRIME
    return root

"""Rules on how an answer must be written, beyond what it is worth."""

from __future__ import annotations

import math
import re
from typing import Literal

from verifiers.math.cost import MAX_EXACT, exact, height
from verifiers.math.expression import CostlyError, Tree
from verifiers.math.values import Chain, Group, Matrix, Scalar, Union, Value

Form = Literal["any", "evaluated", "lowest_terms"]

_MIXED = re.compile(r"[0-9]\\frac\{?([0-9]+)\}?\{?([0-9]+)\}?|[0-9] ([0-9]+)/([0-9]+)")


def broken_rule(value: Value | None, form: Form, *, rational: bool = False) -> str:
    """Which rule of the form an answer breaks, in words; empty where it keeps them all.

    `evaluated`: no arithmetic is left to be done with numbers alone. `lowest_terms`: that, and no fraction can be
    reduced. Of a chain such as `x = 2/4 = 1/2` the last member is the answer. Where the reference is `rational`, so
    must be the answer as far as exact arithmetic can see: `\\log_2 8` is not evaluated.
    """
    if form == "any":
        return ""
    match value:
        case Scalar(tree=None):
            return "not evaluated"
        case Scalar(exact=None) if rational:
            return "not evaluated"
        case Scalar(tree=tree, normal=normal) if tree is not None:
            if not _evaluated(tree):
                return "not evaluated"
            return "not in lowest terms" if form == "lowest_terms" and not _lowest(tree, normal) else ""
        case Chain(members=members):
            return broken_rule(members[-1], form, rational=rational)
        case Group(items=parts) | Union(parts=parts):
            return next(filter(None, (broken_rule(part, form) for part in parts)), "")
        case Matrix(rows=rows):
            return next(filter(None, (broken_rule(entry, form) for row in rows for entry in row)), "")
    return ""


def _evaluated(tree: Tree) -> bool:
    """Whether what is rational in it is a number, a fraction, or a number times a power of ten."""
    if tree[0] == "number":
        return True
    if _rational(tree):
        return _is_fraction(tree) or _is_scientific(tree)
    if tree[0] == "call" and tree[1] in ("max", "min", "gcd", "lcm", "floor", "ceil", "mod", "factorial", "binomial"):
        return bool(_has_symbols(tree))
    return all(_evaluated(part) for part in tree[1:] if isinstance(part, tuple))


def _rational(tree: Tree) -> bool:
    try:
        return height(tree) <= MAX_EXACT and exact(tree) is not None
    except (CostlyError, ZeroDivisionError):
        return False


def _has_symbols(tree: Tree) -> bool:
    return tree[0] == "symbol" or any(_has_symbols(part) for part in tree[1:] if isinstance(part, tuple))


def _is_number(tree: Tree) -> bool:
    return tree[0] == "number" or (tree[0] == "product" and tree[1:2] == (("number", -1),) and _is_number(tree[-1]))


def _is_fraction(tree: Tree) -> bool:
    """`p/q` that is no integer, or its negative."""
    if tree[0] == "product" and len(tree) == 3 and tree[1] == ("number", -1):
        tree = tree[2]
    if tree[0] != "quotient" or not all(_is_number(part) for part in tree[1:]):
        return False
    value = exact(tree)
    return value is not None and value.denominator > 1


def _is_scientific(tree: Tree) -> bool:
    """`1.5 * 10^3`."""
    powers = [part for part in tree[1:] if part[0] == "power"]
    others = [part for part in tree[1:] if part[0] != "power"]
    return (
        tree[0] == "product"
        and len(powers) == 1
        and powers[0][1] == ("number", 10)
        and powers[0][2][0] == "number"
        and len(others) <= 2
        and all(part[0] == "number" for part in others)
    )


def _lowest(tree: Tree, normal: str) -> bool:
    for top, bottom, plain_top, plain_bottom in _MIXED.findall(normal):
        if math.gcd(int(top or plain_top), int(bottom or plain_bottom)) > 1:
            return False
    return _no_common_factor(tree)


def _no_common_factor(tree: Tree) -> bool:
    if tree[0] == "quotient":
        top, bottom = _content(tree[1]), _content(tree[2])
        if math.gcd(top, bottom) > 1 or tree[2] == ("number", 1) or _content(tree[2], signed=True) < 0:
            return False
    return all(_no_common_factor(part) for part in tree[1:] if isinstance(part, tuple))


def _content(tree: Tree, *, signed: bool = False) -> int:
    """The whole number that divides every term of an expression."""
    match tree:
        case ("number", value) if value.denominator == 1:
            return int(value) if signed else abs(int(value))
        case ("product", *parts):
            return math.prod(_content(part, signed=signed) for part in parts)
        case ("sum", *parts):
            return math.gcd(*(_content(part) for part in parts))
    return 1

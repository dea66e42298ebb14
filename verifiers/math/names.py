"""Names in answers: which member of an equation only names what the others say."""

from __future__ import annotations

import re

from verifiers.math.expression import TRIGONOMETRIC, VARIADIC, Tree, symbols
from verifiers.math.units import denies
from verifiers.math.values import Chain, Group, Scalar, Text, Value

_APPLIED = re.compile(r"[A-WYa-wy]\((?:[a-z]|-?[0-9]+)\)")
_INTEGERS = ("\\mathbb{Z}", "\\mathbb{N}", "\\mathbb{Z}^+", "\\Z", "\\N")


def is_labelled(chain: Chain) -> bool:
    """Whether it gives a value a name: `x = 5`, `x in (1, 2)`, `(x, y) = (1, 2)`."""
    return all(relation in ("=", "in") for relation in chain.relations) and _is_name(chain.members[0])


def defines_function(chain: Chain) -> bool:
    """Whether it says what a function is, or is at a number: `f(x) = 2x`, `f(2) = 4`."""
    match chain:
        case Chain((Scalar(source=source, tree=("product", ("symbol", f), _)), Scalar() as said), ("=",)):
            return _APPLIED.fullmatch(source) is not None and f not in said.names
    return False


def same_function(gold: Chain, answer: Chain) -> bool:
    """Whether one says `y = ...` and the other `f(x) = ...` of the `x` in what they say."""
    for named, applied in ((gold, answer), (answer, gold)):
        match named.members[0], applied.members:
            case Scalar(tree=("symbol", name)), (
                Scalar(source=source, tree=("product", ("symbol", f), ("symbol", x))),
                Scalar() as said,
            ) if source == f"{f}({x})":
                other = named.members[1]
                return isinstance(other, Scalar) and x in said.names and not {name, f} & (said.names | other.names)
    return False


def names_quantity(value: Value, gold: Value) -> bool:
    """Whether the first member of a chain only names what the next ones say.

    A symbol, words, a function value, or an expression in several symbols does, unless the reference is written
    in the same symbols; a multiple or power of one symbol (`3t = 5`) does not: that is an equation yet to be solved.
    """
    if _is_name(value):
        return not (isinstance(value, Scalar) and isinstance(gold, Scalar) and value.names & gold.names)
    if not isinstance(value, Scalar):
        return False
    if value.tree is None:
        return True
    names = value.names
    if not names or (isinstance(gold, Scalar) and names <= gold.names):
        return False
    return len(names) > 1 or _is_function_value(value.tree, value.source)


def _is_function_value(tree: Tree, source: str) -> bool:
    """Whether it is named as a whole (`f(2)`, `\\sin A`, `|z|`), unlike `x(x+1)`, `x \\cdot 3` or `\\sqrt{x}`."""
    if tree[0] == "call":
        return tree[1] in TRIGONOMETRIC or tree[1] in ("abs", "arcsin", "arccos", "arctan", *VARIADIC)
    applied = tree[0] == "product" and tree[1][0] == "symbol" and "*" not in source
    return applied and not any(symbols(part) for part in tree[2:])


def _is_name(value: Value) -> bool:
    if isinstance(value, Group):
        return all(isinstance(item, Scalar) and item.is_symbol for item in value.items)
    if isinstance(value, Text):
        return not denies(value.normal)
    return isinstance(value, Scalar) and value.is_symbol


def parameter(value: Value | None) -> str | None:
    """The letter that runs through the integers in a list such as `2\\pi k, k \\in \\mathbb{Z}`, if there is one."""
    if not isinstance(value, Group):
        return None
    names = []
    for item in value.items:
        match item:
            case Chain((Scalar(tree=("symbol", str(name))), Scalar(source=source)), ("in",)) if source in _INTEGERS:
                names.append(name)
    return names[0] if len(names) == 1 and len(names[0]) == 1 else None

"""Sets of numbers however they are written: inequalities, set-builders, differences and unions as intervals."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from verifiers.math.cost import exact
from verifiers.math.values import (
    INFINITY,
    MINUS_INFINITY,
    REALS,
    Chain,
    Group,
    Scalar,
    Union,
    Value,
    infinite,
    is_interval,
)

_MAX_SQUARE = 10**9
_FLIPPED = {"<": ">", "le": "ge", ">": "<", "ge": "le"}


def membership(members: Sequence[Value], relations: Sequence[str]) -> Chain | None:
    """An inequality about one symbol as membership in an interval, `x != 2` in two; None for other relations."""
    at = next((i for i, m in enumerate(members) if isinstance(m, Scalar) and m.is_symbol), None)
    if at is None:
        return None
    if list(relations) == ["ne"]:
        return Chain((members[at], without([members[1 - at]])), ("in",))
    if not all(r in _FLIPPED for r in relations) or len(members) > 3 or (len(members) == 3 and at != 1):
        return None
    bounds: dict[str, tuple[Value, str]] = {"low": (MINUS_INFINITY, "<"), "high": (INFINITY, "<")}
    for index, member in enumerate(members):
        if index == at:
            continue
        relation = relations[min(index, at)]
        if index < at:  # read as "symbol relation bound"
            relation = _FLIPPED[relation]
        side = "low" if relation in (">", "ge") else "high"
        if not infinite(bounds[side][0]):
            return None
        bounds[side] = member, relation
    (left, from_left), (right, from_right) = bounds["low"], bounds["high"]
    opener, closer = "[" if from_left == "ge" else "(", "]" if from_right == "le" else ")"
    return Chain((members[at], Group(opener, (left, right), closer)), ("in",))


def without(points: Sequence[Value]) -> Union:
    """The real numbers without some points, in the order given."""
    ends = [MINUS_INFINITY, *points, INFINITY]
    return Union(tuple(Group("(", (low, high), ")") for low, high in pairwise(ends)))


def difference(left: Value, right: Value) -> Union | None:
    """The real numbers without a list of points whose order is known; None for other differences."""
    if left != REALS or not isinstance(right, Group) or right.opener != "\\{" or not right.items:
        return None
    if len(right.items) == 1:
        return without(right.items)
    exact = {item.exact: item for item in right.items if isinstance(item, Scalar) and item.exact is not None}
    if len(exact) != len(right.items):
        return None
    return without([exact[value] for value in sorted(v for v in exact if v is not None)])


def both(values: Sequence[Value]) -> Chain | None:
    """Two bounds of the same symbol that hold together: `x > 2 and x < 5`; None for anything else."""
    match values:
        case [Chain((name, Group() as first), ("in",)), Chain((other, Group() as second), ("in",))]:
            if name != other or not (is_interval(first) and is_interval(second)):
                return None
            if infinite(first.items[0]) >= 0:
                first, second = second, first  # the one that is open to the left comes first
            if infinite(first.items[0]) < 0 and infinite(second.items[1]) > 0:
                joined = Group(second.opener, (second.items[0], first.items[1]), first.closer)
                return Chain((name, joined), ("in",))
    return None


def either(values: Sequence[Value]) -> Chain | Union | None:
    """Alternatives about the same symbol as membership in a union, or intervals as one; None for anything else.

    `(1,2) or (3,4)` may be two points: an end must be infinite.
    """
    if all(is_interval(v) for v in values):
        ends = [end for v in values if isinstance(v, Group) for end in v.items]
        return Union(tuple(values)) if any(infinite(end) for end in ends) else None
    names = {v.members[0] for v in values if isinstance(v, Chain) and v.relations == ("in",)}
    sets = [v.members[1] for v in values if isinstance(v, Chain)]
    if len(names) != 1 or len(sets) != len(values):
        return None
    return Chain((names.pop(), Union(tuple(sets))), ("in",))


def builder(element: Value, condition: Value) -> Value | None:
    """The set of the real numbers that fulfil a condition: `\\{x \\mid x > 2\\}`; None where it is no interval."""
    if isinstance(element, Chain) and element.relations == ("in",) and element.members[1] == REALS:
        element = element.members[0]
    if not (isinstance(element, Scalar) and element.is_symbol and isinstance(condition, Chain)):
        return None
    condition = solved(condition) or condition
    name, *others = condition.members
    return others[0] if condition.relations == ("in",) and isinstance(name, Scalar) and _same(name, element) else None


def solved(condition: Chain) -> Chain | None:
    """`|x| < a`, `|x+b| \\ge a` or `x^2 < a` for positive `a` as membership; None for other conditions."""
    match condition:
        case Chain((Scalar() as left, Scalar() as right), (relation,)) if relation in _FLIPPED:
            pass
        case _:
            return None
    if left.exact is not None:
        left, right, relation = right, left, _FLIPPED[relation]
    bound = right.exact
    if bound is None or bound <= 0 or left.unit or right.unit or right.percent:
        return None
    match left.tree:
        case ("call", "abs", ("symbol", name)):
            low, high = _number(-bound), _number(bound)
        case ("call", "abs", ("sum", ("symbol", name), ("number", shift))):
            low, high = _number(-bound - shift), _number(bound - shift)
        case ("power", ("symbol", name), ("number", 2)):
            root = exact(("call", "sqrt", ("number", bound))) if bound < _MAX_SQUARE else None
            if root is None:
                return None
            low, high = _number(-root), _number(root)
        case _:
            return None
    inside = relation in ("<", "le")
    closed = relation in ("le", "ge")
    values: Value
    if inside:
        values = Group("[" if closed else "(", (low, high), "]" if closed else ")")
    else:
        below = Group("(", (MINUS_INFINITY, low), "]" if closed else ")")
        values = Union((below, Group("[" if closed else "(", (high, INFINITY), ")")))
    return Chain((Scalar(name, name, ("symbol", name)), values), ("in",))


def _number(value: Fraction) -> Scalar:
    written = f"{value.numerator}/{value.denominator}" if value.denominator > 1 else str(value.numerator)
    return Scalar(written, written, ("number", value), value)


def _same(name: Scalar, other: Scalar) -> bool:
    return name.is_symbol and name.tree == other.tree


def merged(value: Value) -> Value:
    """A union of intervals between exact ends, in order and with what touches joined; anything else as it is."""
    if not isinstance(value, Union):
        return value
    spans = [_span(part) for part in value.parts]
    known = sorted((span for span in spans if span is not None), key=lambda span: span[:2])
    if len(known) < len(spans):
        return value
    joined = [known[0]]
    for low, high, interval in known[1:]:
        start, end, last = joined[-1]
        if low > end:
            joined.append((low, high, interval))
        elif high > end:
            joined[-1] = start, high, Group(last.opener, (last.items[0], interval.items[1]), interval.closer)
    parts = tuple(interval for _, _, interval in joined)
    return parts[0] if len(parts) == 1 else Union(parts)


_Place = tuple[int, Fraction, int]
"""Where an end lies, to be ordered: minus infinity, exact numbers, infinity; last, on which side of it."""


def _span(part: Value) -> tuple[_Place, _Place, Group] | None:
    """The places of both ends of an interval that is not empty; None for anything else.

    An end that is open lies just inside: `(1,2)` and `(2,3)` do not touch, `(1,2]` and `(2,3)` do.
    """
    if not isinstance(part, Group) or not is_interval(part):
        return None
    low, high = _place(part.items[0]), _place(part.items[1])
    if low is None or high is None or low >= high:
        return None
    return (*low, 1 if part.opener == "(" else 0), (*high, 0 if part.closer == ")" else 1), part


def _place(end: Value) -> tuple[int, Fraction] | None:
    if sign := infinite(end):
        return sign, Fraction(0)
    return (0, end.exact) if isinstance(end, Scalar) and end.exact is not None else None

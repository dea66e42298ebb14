"""Whether an answer says the same as the reference: structure by structure, down to pairs of scalars.

Exact rationals, rational functions and most unequal expressions are decided here (see `algebra` and `intervals`).
What only evaluation can decide becomes a `Question` for the guarded workers: `Comparison.equal` then answers None
(Kleene's strong three-valued logic), and is asked again once the questions in `Comparison.open` have their answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, NamedTuple

from verifiers.math.algebra import image, same_ratio, transcendental
from verifiers.math.expression import MINUS_ONE, UNEVALUATED, Tree, symbols
from verifiers.math.intervals import Bounds, bounds, disjoint
from verifiers.math.names import defines_function, is_labelled, names_quantity, same_function
from verifiers.math.samples import FAR, UNIT, far_bits_of, number_bits
from verifiers.math.sets import merged, solved
from verifiers.math.units import conversion
from verifiers.math.values import (
    Chain,
    Group,
    Matrix,
    Numeral,
    Scalar,
    Text,
    Union,
    Value,
    infinite,
    mentions,
    named_values,
)


class Question(NamedTuple):
    """What a worker has to decide about two pieces of LaTeX."""

    relation: str
    """equal; proportional (equations, as left minus right side); positive (inequalities, likewise); cas."""
    gold: str
    answer: str


UnitPolicy = Literal["match", "convert", "ignore"]
_ORDERED = ("(", "langle", "[", "")
_SCREENED = (UNIT[0], UNIT[1], FAR[0])
"""Sample points at which bounds are compared."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How scalars are compared."""

    tolerance: Fraction = Fraction(0)
    """Relative to the reference."""
    percent_is_value: bool = False
    units: UnitPolicy = "match"
    bases_are_values: bool = False


Truth = bool | None
"""True, False, or None as long as that is open."""


@dataclass(slots=True)
class Comparison:
    """One comparison of an answer with a reference."""

    policy: Policy
    known: Mapping[Question, bool] = field(default_factory=dict)
    open: list[Question] = field(default_factory=list)
    """Questions met that have no answer yet."""
    stages: set[str] = field(default_factory=set)
    """What has been compared: rational numbers, algebraic expressions, intervals."""
    note: str = ""
    """Why an answer was refused, where that is not a plain difference."""
    warnings: dict[str, None] = field(default_factory=dict)
    """What was taken for granted, in order."""
    _facts: dict[int, _Facts] = field(default_factory=dict)
    """By the identity of a tree, which is kept with them so that its identity stays its own."""

    def equal(self, gold: Value, answer: Value) -> Truth:
        """Whether they are equal; None as long as that hangs on open questions."""
        if self.policy.bases_are_values:
            gold = gold.value if isinstance(gold, Numeral) else gold
            answer = answer.value if isinstance(answer, Numeral) else answer
        if (named := named_values(gold)) is not None and (
            in_order := self._named(named, answer)
        ) is not NotImplemented:
            return in_order
        match gold, answer:
            case Scalar(), Scalar():
                return self._scalars(gold, answer)
            case Numeral(), Numeral():
                return gold == answer
            case (Numeral(), Scalar()) | (Scalar(), Numeral()):
                self.note = "the base is part of the number"
                return False
            case Chain(), Chain():
                return self._chains(gold, answer)
            case ((Group() | Union()), Chain()) if (values := solved(answer)) is not None:
                return self.equal(gold, values.members[1])
            case Chain(), (Group() | Union()) if (values := solved(gold)) is not None:
                return self.equal(values.members[1], answer)
            case _, Chain():
                return self._claimed(gold, answer)
            case Chain(), _:
                names = is_labelled(gold) or defines_function(gold)
                return self.equal(gold.members[-1], answer) if names else False
            case Text(), Text():
                return gold.normal == answer.normal
            case (Text(normal=first), Scalar(normal=second)) | (Scalar(normal=first), Text(normal=second)):
                return first.isalpha() and first.casefold() == second.casefold()  # `Tom` reads as a product
            case Group(), Group():
                return self._groups(gold, answer)
            case Group(), Matrix():
                return self._vector(answer, gold, lambda entry, item: self.equal(item, entry))
            case Matrix(), Group():
                return self._vector(gold, answer, self.equal)
            case Matrix(), Matrix():
                if len(gold.rows) != len(answer.rows):
                    return False
                return _all(self._in_order(g, a) for g, a in zip(gold.rows, answer.rows, strict=True))
            case (Union(), (Union() | Group())) | (Group(), Union()):
                return self._unions(merged(gold), merged(answer))
            case _, Group(items=(item,)) if answer.opener in ("", "\\{"):
                return self.equal(gold, item)
            case Group(items=(item,)), _ if gold.opener in ("", "\\{"):
                return self.equal(item, answer)
        if isinstance(answer, Group) and answer.opener == "" and isinstance(gold, Scalar | Text | Numeral):
            self.note = "a list of guesses"
        return False

    def _named(self, gold: dict[Scalar, Value], answer: Value) -> Truth:
        """By name, or in order where the answer is a tuple without names."""
        named = named_values(answer)
        if named is not None:
            return named.keys() == gold.keys() and _all(self.equal(gold[name], named[name]) for name in gold)
        match answer:
            case Chain() if is_labelled(answer):
                return self._named(gold, answer.members[-1])
            case Group() if answer.opener in _ORDERED:
                return self._in_order(tuple(gold.values()), answer.items)
            case Matrix():
                return self.equal(Group("(", tuple(gold.values()), ")"), answer)
        return False

    def _unions(self, gold: Value, answer: Value) -> Truth:
        if isinstance(gold, Union) and isinstance(answer, Union):
            return self._matching(gold.parts, answer.parts)
        if isinstance(gold, Group) and isinstance(answer, Group):
            return self._groups(gold, answer)
        return False

    def ask(self, relation: str, gold: str, answer: str) -> Truth:
        """What is known about a `Question`; one that is not yet answered becomes open."""
        question = Question(relation, gold, answer)
        result = self.known.get(question)
        if result is None:
            self.open.append(question)
        return result

    def _scalars(self, gold: Scalar, answer: Scalar) -> Truth:
        gold, answer = _as_meant(gold, answer)
        factor = self._factor(gold, answer)
        if factor is None:
            self.note = "different units"
            return False
        if answer.words:
            self.warn("words beside the number were left out")
        if gold.normal == answer.normal:
            return True
        if answer.tree is None and gold.tree is not None:
            self.note = "not evaluated" if is_unevaluated(answer) else "not a readable expression"
            return False
        if is_unevaluated(answer) and not is_unevaluated(gold):
            self.note = "not evaluated"
            return False
        if infinite(gold) or infinite(answer):
            self.stages.add("rational")
            return infinite(gold) == infinite(answer)
        turned = _in_radians(gold, answer) if factor == 1 and "degree" in (gold.unit, answer.unit) else None
        if turned is not None:
            self.warn("degrees were turned into radians")
            gold, answer = turned
        gold, answer = self._amount(gold), self._amount(answer)
        if factor != 1:
            self.warn("units were converted")
            answer = _scaled(answer, factor)
        if gold.exact is not None and answer.exact is not None:
            self.stages.add("rational")
            if not self.policy.tolerance:
                return answer.exact == gold.exact
            return abs(answer.exact - gold.exact) <= self.policy.tolerance * abs(gold.exact)
        if gold.source == answer.source:
            return True
        if gold.tree is None or answer.tree is None:
            return self.ask("cas", gold.source, answer.source)
        decided = self._decided(gold.tree, answer.tree)
        return self.ask("equal", gold.source, answer.source) if decided is None else decided

    def _factor(self, gold: Scalar, answer: Scalar) -> Fraction | None:
        """What the answer is multiplied by to be in the reference's unit; None where the units do not agree."""
        if self.policy.units == "ignore":
            return Fraction(1)
        first, second = ("%" if s.percent and s.unit is None else s.unit for s in (gold, answer))
        if first is None or second is None:
            if first != second:
                stated = "the reference" if second is None else "the answer"
                unit = first or second
                self.warn(
                    f"only {stated} has a percent sign" if unit == "%" else f"only {stated} states a unit: {unit}"
                )
            return Fraction(1)
        if first == second or {first, second} == {"degree", "rad"}:
            return Fraction(1)
        return conversion(second, first) if self.policy.units == "convert" else None

    def _amount(self, scalar: Scalar) -> Scalar:
        """The number that a scalar with a per cent sign stands for."""
        return _scaled(scalar, Fraction(1, 100)) if scalar.percent and self.policy.percent_is_value else scalar

    def warn(self, what: str) -> None:
        """Keep a warning, once."""
        self.warnings[what] = None

    def _decided(self, gold: Tree, answer: Tree) -> Truth:
        """Whether two expressions are equal where exact algebra or bounds can tell, without a worker."""
        first, second = self._facts_of(gold), self._facts_of(answer)
        named = first.has_symbols or second.has_symbols
        tolerance = Fraction(0) if named else self.policy.tolerance
        if first.image is not None and second.image is not None:
            if first.image == second.image:
                self.stages.add("algebraic")
                return True
            if not tolerance and _independent(first, second):
                self.stages.add("algebraic")
                return False
        bits = far_bits_of(first.bits + second.bits) if named else 0
        for point in _SCREENED if named else _SCREENED[:1]:
            if disjoint(first.bounds_at(point, bits), second.bounds_at(point, bits), tolerance):
                self.stages.add("interval")
                return False
        return None

    def _facts_of(self, tree: Tree) -> _Facts:
        if id(tree) not in self._facts:
            self._facts[id(tree)] = _Facts(tree)
        return self._facts[id(tree)]

    def _groups(self, gold: Group, answer: Group) -> Truth:
        if gold.opener == answer.opener == "\\{":
            held = _all(_any(self.equal(g, a) for a in answer.items) for g in gold.items)
            return _all((held, _all(_any(self.equal(g, a) for g in gold.items) for a in answer.items)))
        if len(gold.items) != len(answer.items):
            return False
        brackets = {gold.opener, answer.opener}
        if brackets <= {"", "\\{"}:
            return self._matching(gold.items, answer.items)
        pair = len(gold.items) == 2
        shapes = {_shape(group) for group in (gold, answer) if group.opener}
        if "\\{" in brackets or (len(shapes) > 1 and (pair or shapes != {"()", "[]"})):
            return False
        if "" in brackets and pair and shapes != {"()"}:
            return False
        return self._in_order(gold.items, answer.items)

    def _in_order(self, gold: Sequence[Value], answer: Sequence[Value]) -> Truth:
        if len(gold) != len(answer):
            return False
        return _all(self.equal(g, a) for g, a in zip(gold, answer, strict=True))

    def _matching(self, gold: Sequence[Value], answer: Sequence[Value]) -> Truth:
        """Whether the items are the same in some order, each as often."""
        if len(gold) != len(answer):
            return False
        table = [[self.equal(g, a) for a in answer] for g in gold]
        if any(all(cell is False for cell in row) for row in table):
            return False
        if any(cell is None for row in table for cell in row):
            return None
        free = set(range(len(answer)))
        for row in table:
            found = next((at for at in free if row[at]), None)
            if found is None:
                return False
            free.remove(found)
        return True

    def _vector(self, matrix: Matrix, group: Group, equal: Callable[[Value, Value], Truth]) -> Truth:
        """A column or row against a tuple; a matrix against a list of lists."""
        if group.opener not in _ORDERED:
            return False
        if all(isinstance(item, Group) for item in group.items):
            rows = [item.items for item in group.items if isinstance(item, Group)]
        else:
            rows = [(item,) for item in group.items] if len(matrix.rows) > 1 else [group.items]
        if [len(row) for row in rows] != [len(row) for row in matrix.rows]:
            return False
        return _all(
            equal(entry, item)
            for entries, row in zip(matrix.rows, rows, strict=True)
            for entry, item in zip(entries, row, strict=True)
        )

    def _claimed(self, gold: Value, answer: Chain) -> Truth:
        """An answer such as `x = 5` or `2 + 3 = 5` for 5: every member but a name must be equal to it."""
        if not all(relation in ("=", "in") for relation in answer.relations):
            return False
        first, *others = answer.members
        if names_quantity(first, gold):
            members = others
        elif answer.relations == ("=",) and isinstance(others[0], Scalar) and others[0].is_symbol:
            members = [first] if names_quantity(others[0], gold) else [first, *others]  # `5 = x`
        else:
            members = [first, *others]
        return _all(self.equal(gold, member) for member in members)

    def _chains(self, gold: Chain, answer: Chain) -> Truth:
        if is_labelled(gold) and is_labelled(answer) and gold.members[0] == answer.members[0]:
            return _all(self.equal(gold.members[-1], member) for member in answer.members[1:])
        if gold.relations == answer.relations == ("=",) and same_function(gold, answer):
            return self.equal(gold.members[1], answer.members[1])
        if "in" in gold.relations + answer.relations:
            gold, answer = solved(gold) or gold, solved(answer) or answer
        first, second = _as_difference(gold), _as_difference(answer)
        if first is not None and second is not None:
            if first[0] != second[0]:
                return False
            proportional = self._proportional(first[2], second[2])
            if proportional is False or (proportional and first[0] == "="):
                self.stages.add("algebraic")
                return proportional
            return self.ask("proportional" if first[0] == "=" else "positive", first[1], second[1])
        return gold.relations == answer.relations and self._in_order(gold.members, answer.members)

    def _proportional(self, gold: Tree, answer: Tree) -> Truth:
        """Whether one is a constant multiple of the other, where exact algebra can tell."""
        pairs = [(image(gold, point), image(answer, point)) for point in range(3)]
        images = [(g, a) for g, a in pairs if g and a]
        if len(images) < len(pairs):
            return None
        (g0, a0), *others = images
        same = all(same_ratio(g0, a0, g, a) for g, a in others)
        return same if same or _independent(self._facts_of(gold), self._facts_of(answer)) else None


class _Facts:
    """What is known of one tree, found out once for all that it is compared with."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.image = image(tree)
        self.has_symbols = bool(symbols(tree))
        self.transcendental = transcendental(tree)
        self.bits = number_bits(tree)
        self._bounds: dict[tuple[int, int], Bounds | None] = {}

    def bounds_at(self, point: int, far_bits: int) -> Bounds | None:
        """Bounds of its value at a sample point."""
        key = (point, far_bits if point in FAR else 0)
        if key not in self._bounds:
            self._bounds[key] = bounds(self.tree, *key)
        return self._bounds[key]


def _independent(first: _Facts, second: _Facts) -> bool:
    """Whether different images prove the two different."""
    return len(first.transcendental | second.transcendental) < 2


def _as_difference(chain: Chain) -> tuple[str, str, Tree] | None:
    """The relation of two readable sides to zero, and left minus right side; `>` is turned to `<`."""
    chain = _as_inequality(chain)
    if len(chain.relations) != 1 or chain.relations[0] not in ("=", "<", ">", "le", "ge"):
        return None
    sides = [(m.source, m.tree) for m in chain.members if isinstance(m, Scalar) and m.tree is not None]
    if len(sides) != 2:
        return None
    relation = chain.relations[0]
    if relation in (">", "ge"):
        relation, sides = {">": "<", "ge": "le"}[relation], sides[::-1]
    (left, left_tree), (right, right_tree) = sides
    return relation, f"{left}-({right})", ("sum", left_tree, ("product", MINUS_ONE, right_tree))


def _as_inequality(chain: Chain) -> Chain:
    """Membership of a symbol in an interval with one end as an inequality, anything else as it is."""
    match chain:
        case Chain((name, Group(opener, (low, high), closer)), ("in",)) if infinite(low) and not infinite(high):
            return Chain((name, high), ("<" if closer == ")" else "le",))
        case Chain((name, Group(opener, (low, high), closer)), ("in",)) if infinite(high) and not infinite(low):
            return Chain((low, name), ("<" if opener == "(" else "le",))
    return chain


def _as_meant(gold: Scalar, answer: Scalar) -> tuple[Scalar, Scalar]:
    """With letters glued to a number, such as `2mg`, as symbols where the other side makes no unit of them."""
    if gold.product is not None and (answer.product is not None or answer.unit is None):
        return gold.product, answer.product or answer
    if answer.product is not None and gold.unit is None and gold.names:
        return gold, answer.product
    return gold, answer


def _scaled(scalar: Scalar, factor: Fraction) -> Scalar:
    return Scalar(
        scalar.normal,
        f"({scalar.source})*({factor.numerator}/{factor.denominator})",
        scalar.tree and ("product", scalar.tree, ("number", factor)),
        None if scalar.exact is None else scalar.exact * factor,
    )


def _in_radians(gold: Scalar, answer: Scalar) -> tuple[Scalar, Scalar] | None:
    """Both in radians, where one is in degrees and the other a multiple of pi."""
    if gold.unit == answer.unit:
        return None
    degrees, other = (gold, answer) if gold.unit == "degree" else (answer, gold)
    if degrees.tree is None or (other.unit != "rad" and not mentions(other.tree, ("constant", "pi"))):
        return None
    radians = Scalar(
        degrees.normal,
        f"({degrees.source})*\\pi/180",
        ("product", degrees.tree, ("quotient", ("constant", "pi"), ("number", Fraction(180)))),
    )
    return (radians, other) if degrees is gold else (other, radians)


def is_unevaluated(scalar: Scalar) -> bool:
    """Whether an integral, sum, product, limit or derivative is yet to be worked out in it."""
    return scalar.tree is None and UNEVALUATED.search(scalar.source) is not None


def _shape(group: Group) -> str:
    return "()" if group.opener == "langle" else group.opener + group.closer


def _all(values: Iterable[Truth]) -> Truth:
    """Kleene's conjunction. Every value is asked for unless one is False."""
    known = True
    for value in values:
        if value is False:
            return False
        known = known and value is not None
    return True if known else None


def _any(values: Iterable[Truth]) -> Truth:
    known = True
    for value in values:
        if value is True:
            return True
        known = known and value is not None
    return False if known else None

"""Whether an answer says the same as the reference: structure by structure, down to pairs of scalars.

Pairs of exact rationals are decided here. What only evaluation can decide becomes a `Question` for the guarded
workers: `Comparison.equal` then answers None (Kleene's strong three-valued logic), and is asked again once the
questions in `Comparison.open` have their answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from verifiers.math.expression import DERIVATIVE, TRIGONOMETRIC, VARIADIC, Tree, symbols
from verifiers.math.reading import UNEVALUATED, Chain, Group, Matrix, Scalar, Text, Union, Value


class Question(NamedTuple):
    """What a worker has to decide about two pieces of LaTeX."""

    relation: str
    """equal; proportional (equations, as left minus right side); positive (inequalities, likewise); cas."""
    gold: str
    answer: str


@dataclass(frozen=True, slots=True)
class Policy:
    """How scalars are compared."""

    tolerance: Fraction = Fraction(0)
    """Relative to the reference."""
    percent_is_value: bool = False
    match_units: bool = True


Truth = bool | None
"""True, False, or None as long as that is open."""


@dataclass(slots=True)
class Comparison:
    """One comparison of an answer with a reference."""

    policy: Policy
    known: Mapping[Question, bool] = field(default_factory=dict)
    open: list[Question] = field(default_factory=list)
    """Questions met that have no answer yet."""
    rational: bool = False
    """Whether exact rational numbers were compared."""
    note: str = ""
    """Why an answer was refused, where that is not a plain difference."""

    def equal(self, gold: Value, answer: Value) -> Truth:
        """Whether they are equal; None as long as that hangs on open questions."""
        match gold, answer:
            case Scalar(), Scalar():
                return self._scalars(gold, answer)
            case Chain(), Chain():
                return self._chains(gold, answer)
            case _, Chain():
                return self._claimed(gold, answer)
            case Chain(), _:
                return self.equal(gold.members[-1], answer) if is_labelled(gold) else False
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
            case Union(), Union():
                return self._matching(gold.parts, answer.parts)
            case _, Group(items=(item,)) if answer.opener in ("", "\\{"):
                return self.equal(gold, item)
            case Group(items=(item,)), _ if gold.opener in ("", "\\{"):
                return self.equal(item, answer)
        if isinstance(answer, Group) and answer.opener == "" and isinstance(gold, Scalar | Text):
            self.note = "a list of guesses"
        return False

    def ask(self, relation: str, gold: str, answer: str) -> Truth:
        """What is known about a `Question`; one that is not yet answered becomes open."""
        question = Question(relation, gold, answer)
        result = self.known.get(question)
        if result is None:
            self.open.append(question)
        return result

    def _scalars(self, gold: Scalar, answer: Scalar) -> Truth:
        units = {"%" if scalar.percent and scalar.unit is None else scalar.unit for scalar in (gold, answer)} - {None}
        if self.policy.match_units and len(units) > 1 and units != {"degree", "rad"}:
            self.note = "different units"
            return False
        if gold.normal == answer.normal:
            return True
        if _unevaluated(answer) and not _unevaluated(gold):
            self.note = "not evaluated"
            return False
        turned = _in_radians(gold, answer) if "degree" in units else None
        gold, answer = turned or (gold, answer)
        gold_exact, gold_source = self._amount(gold)
        answer_exact, answer_source = self._amount(answer)
        if gold_exact is not None and answer_exact is not None:
            self.rational = True
            return abs(answer_exact - gold_exact) <= self.policy.tolerance * abs(gold_exact)
        if gold_source == answer_source:
            return True
        readable = gold.tree is not None and answer.tree is not None
        return self.ask("equal" if readable else "cas", gold_source, answer_source)

    def _amount(self, scalar: Scalar) -> tuple[Fraction | None, str]:
        if scalar.percent and self.policy.percent_is_value:
            return scalar.exact and scalar.exact / 100, f"({scalar.source})/100"
        return scalar.exact, scalar.source

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
        if group.opener not in ("(", "langle", "["):
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
        first, second = _as_difference(gold), _as_difference(answer)
        if first is not None and second is not None:
            if first[0] != second[0]:
                return False
            return self.ask("proportional" if first[0] == "=" else "positive", first[1], second[1])
        return gold.relations == answer.relations and self._in_order(gold.members, answer.members)


def is_labelled(chain: Chain) -> bool:
    """Whether it gives a value a name: `x = 5`, `x in (1, 2)`, `(x, y) = (1, 2)`."""
    return all(relation in ("=", "in") for relation in chain.relations) and _is_name(chain.members[0])


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
        return "not" not in value.normal.split()
    return isinstance(value, Scalar) and value.is_symbol


def _as_difference(chain: Chain) -> tuple[str, str] | None:
    """The relation of two readable sides to zero, and left minus right side; `>` is turned to `<`."""
    if len(chain.relations) != 1 or chain.relations[0] not in ("=", "<", ">", "le", "ge"):
        return None
    sides = [m.source for m in chain.members if isinstance(m, Scalar) and m.tree is not None]
    if len(sides) != 2:
        return None
    relation = chain.relations[0]
    if relation in (">", "ge"):
        relation, sides = {">": "<", "ge": "le"}[relation], sides[::-1]
    return relation, f"{sides[0]}-({sides[1]})"


def _in_radians(gold: Scalar, answer: Scalar) -> tuple[Scalar, Scalar] | None:
    """Both in radians, where one is in degrees and the other a multiple of pi."""
    if gold.unit == answer.unit:
        return None
    degrees, other = (gold, answer) if gold.unit == "degree" else (answer, gold)
    if degrees.tree is None or (other.unit != "rad" and not _mentions_pi(other.tree)):
        return None
    radians = Scalar(
        degrees.normal,
        f"({degrees.source})*\\pi/180",
        ("product", degrees.tree, ("quotient", ("constant", "pi"), ("number", Fraction(180)))),
    )
    return (radians, other) if degrees is gold else (other, radians)


def _mentions_pi(tree: Tree | None) -> bool:
    if tree is None:
        return False
    return tree == ("constant", "pi") or any(_mentions_pi(part) for part in tree[1:] if isinstance(part, tuple))


def _unevaluated(scalar: Scalar) -> bool:
    if scalar.tree is not None:
        return False
    return DERIVATIVE.search(scalar.source) is not None or any(f"\\{name}" in scalar.source for name in UNEVALUATED)


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

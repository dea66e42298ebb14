"""What a written answer says, once read."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from verifiers.math.expression import MINUS_ONE, Tree, symbols

INFINITE: Tree = ("constant", "infinity")


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. `tree` is None where the grammar of `expression` does not read it: then only `source` is known."""

    normal: str
    source: str
    """LaTeX of the value without its unit, currency, per cent sign and other words."""
    tree: Tree | None = None
    exact: Fraction | None = None
    unit: str | None = None
    percent: bool = False
    words: str = ""
    """Words beside the number that are no unit of the table, and were dropped."""
    product: Scalar | None = None
    """What it says if the letters of its unit are symbols: `2mg`."""

    @property
    def names(self) -> frozenset[str]:
        """The symbols it depends on."""
        return frozenset() if self.tree is None else symbols(self.tree)

    @property
    def is_symbol(self) -> bool:
        """Whether it is a symbol and nothing else."""
        return self.tree is not None and self.tree[0] == "symbol"


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number written in a stated base, such as `52_8`: its digits, in upper case, are part of what it says."""

    digits: str
    base: int
    exact: Fraction

    @property
    def value(self) -> Scalar:
        """The number without its base."""
        written = f"{self.exact.numerator}/{self.exact.denominator}"
        return Scalar(written, written, ("number", self.exact), self.exact)


@dataclass(frozen=True, slots=True)
class Text:
    """Plain words, or what is only compared as written (a time of day, a sum in another base)."""

    normal: str


@dataclass(frozen=True, slots=True)
class Group:
    """Items between brackets; no brackets (`opener` empty) for a bare list. `(1,2)` is a pair or an interval."""

    opener: str
    items: tuple[Value, ...]
    closer: str


@dataclass(frozen=True, slots=True)
class Union:
    """Sets joined by a union sign."""

    parts: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of entries."""

    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """Members joined by relations: `x = 5`, `2 + 2 = 4`, `x in (1, 2)`, `a < b`."""

    members: tuple[Value, ...]
    relations: tuple[str, ...]


Value: TypeAlias = Scalar | Numeral | Text | Group | Union | Matrix | Chain

INFINITY = Scalar("\\infty", "\\infty", INFINITE)
MINUS_INFINITY = Scalar("-\\infty", "-\\infty", ("product", MINUS_ONE, INFINITE))
REALS = Group("(", (MINUS_INFINITY, INFINITY), ")")


def infinite(value: Value | None) -> int:
    """1 for infinity, -1 for its negative, 0 for everything else."""
    if not isinstance(value, Scalar):
        return 0
    return 1 if value.tree == INFINITE else -1 if value.tree == MINUS_INFINITY.tree else 0


def mentions(tree: Tree | None, part: Tree) -> bool:
    """Whether an expression has a part."""
    return tree is not None and (tree == part or any(mentions(t, part) for t in tree[1:] if isinstance(t, tuple)))


def is_bare(scalar: Scalar) -> bool:
    """Whether it is an expression of the grammar with nothing beside it."""
    return scalar.tree is not None and scalar.source == scalar.normal and not infinite(scalar)


def is_interval(value: Value | None) -> bool:
    """Whether it can be read as an interval."""
    return (
        isinstance(value, Group)
        and len(value.items) == 2
        and value.opener in ("(", "[")
        and value.closer
        in (
            ")",
            "]",
        )
    )


def named_values(value: Value) -> dict[Scalar, Value] | None:
    """The values by their names, of `w=16, d=3` and of `(w,d) = (16,3)`; None where they have no distinct names."""
    pairs: list[tuple[Value, Value]] = []
    match value:
        case Chain((Group() as names, Group() as values), ("=",)) if len(names.items) == len(values.items):
            pairs = list(zip(names.items, values.items, strict=True))
        case Group(items=items):
            for item in items:
                if not (isinstance(item, Chain) and item.relations == ("=",)):
                    return None
                pairs.append((item.members[0], item.members[1]))
    named = {name: said for name, said in pairs if isinstance(name, Scalar) and name.is_symbol}
    return named if len(named) == len(pairs) > 1 else None

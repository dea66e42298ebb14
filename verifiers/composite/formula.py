"""Formulas over the scores of parts: `clip(answer - 0.2 * repeats, 0, 1) * format`.

Numbers, names of parts, `+ - * / ^`, parentheses, and functions. Read once by precedence climbing into a tree of
closures; nothing is ever given to the interpreter. As in Python, `^` (there `**`) binds tighter than a sign before
it, and groups from the right: `-2 ^ 3 ^ 2` is `-(2 ^ (3 ^ 2))`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence

MAX_CHARS = 1000
MAX_DEPTH = 32
"""Parentheses, calls and signs within each other."""

Value = Callable[[Mapping[str, float]], float]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]{1,3})?|\.[0-9]+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign>[-+*/^(),]))"
)
Functions = Mapping[str, tuple[int, int, Callable[..., float]]]
"""By name, each with the least and the most arguments that it takes. May raise ValueError where it has no value."""
FUNCTIONS: Functions = {
    "min": (2, 16, min),
    "max": (2, 16, max),
    "abs": (1, 1, abs),
    "clip": (3, 3, lambda value, low, high: max(low, min(high, value))),
}


class FormulaError(ValueError):
    """The text is no formula; the message says where and what was expected."""


def parse(text: str, names: Collection[str], functions: Functions = FUNCTIONS) -> Value:
    """The formula's value as a function of the scores by name. Raises `FormulaError`.

    The function raises ArithmeticError where there is no value, also where a step on the way has none: `clip` would
    make a number of it.
    """
    if len(text) > MAX_CHARS:
        raise FormulaError(f"longer than {MAX_CHARS} characters")
    parser = _Parser(_tokens(text), names, functions)
    value = parser.sum()
    if parser.peek():
        raise FormulaError(f"{parser.peek()!r} was not expected at character {parser.position()}")
    return value


def _tokens(text: str) -> list[tuple[str, str, int]]:
    tokens = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at, end)
        if match is None or match.lastgroup is None:
            while text[at].isspace():
                at += 1
            raise FormulaError(f"{text[at]!r} at character {at} is no part of a formula")
        tokens.append((match.lastgroup, match.group(match.lastgroup), match.start(match.lastgroup)))
        at = match.end()
    return tokens


class _Parser:
    def __init__(self, tokens: Sequence[tuple[str, str, int]], names: Collection[str], functions: Functions) -> None:
        self._tokens = tokens
        self._names = names
        self._functions = functions
        self._at = 0
        self._depth = 0

    def peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def position(self) -> str:
        return str(self._tokens[self._at][2]) if self._at < len(self._tokens) else "the end"

    def sum(self) -> Value:
        terms = [self._product()]
        while (sign := self.peek()) in ("+", "-"):
            self._at += 1
            terms.append(self._product() if sign == "+" else _negated(self._product()))
        return terms[0] if len(terms) == 1 else lambda scores: _finite(sum(term(scores) for term in terms))

    def _product(self) -> Value:
        first = self._factor()
        others: list[tuple[str, Value]] = []
        while (sign := self.peek()) in ("*", "/"):
            self._at += 1
            others.append((sign, self._factor()))
        return _multiplied(first, others) if others else first

    def _factor(self) -> Value:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise FormulaError(f"nested deeper than {MAX_DEPTH}")
        try:
            if self.peek() == "-":
                self._at += 1
                return _negated(self._factor())
            base = self._atom()
            if self.peek() != "^":
                return base
            self._at += 1
            return _raised(base, self._factor())
        finally:
            self._depth -= 1

    def _atom(self) -> Value:
        if self._at == len(self._tokens):
            raise FormulaError("a number, a part or a parenthesis was expected at the end")
        kind, text, where = self._tokens[self._at]
        self._at += 1
        if text == "(":
            value = self.sum()
            self._expect(")")
            return value
        if kind == "number":
            return _constant(float(text))
        if text in self._functions:
            return self._call(text)
        if kind == "name":
            if text not in self._names:
                raise FormulaError(f"no part is named {text!r}; there are {', '.join(sorted(self._names))}")
            return _part(text)
        raise FormulaError(f"{text!r} was not expected at character {where}")

    def _call(self, name: str) -> Value:
        self._expect("(")
        arguments = [self.sum()]
        while self.peek() == ",":
            self._at += 1
            arguments.append(self.sum())
        self._expect(")")
        least, most, function = self._functions[name]
        if not least <= len(arguments) <= most:
            number = str(most) if least == most else f"{least} to {most}"
            raise FormulaError(f"{name} takes {number} argument{'s' if most > 1 else ''}")
        return lambda scores: _real(function, *(argument(scores) for argument in arguments))

    def _expect(self, sign: str) -> None:
        if self.peek() != sign:
            raise FormulaError(
                f"{sign!r} was expected at character {self.position()}".replace("character the", "the")
            )
        self._at += 1


def _constant(number: float) -> Value:
    if not math.isfinite(number):
        raise FormulaError("a number is too large")
    return lambda scores: number


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise OverflowError("a number is too large")
    return number


def _real(function: Callable[..., float], *arguments: float) -> float:
    """The function's value. Raises ArithmeticError where there is no real one, as of `sqrt(-1)`."""
    try:
        return _finite(float(function(*arguments)))
    except ValueError:
        raise ArithmeticError("a function has no value here") from None


def _raised(base: Value, exponent: Value) -> Value:
    return lambda scores: _real(math.pow, base(scores), exponent(scores))


def _part(name: str) -> Value:
    return lambda scores: scores[name]


def _negated(value: Value) -> Value:
    return lambda scores: -value(scores)


def _multiplied(first: Value, others: Sequence[tuple[str, Value]]) -> Value:
    def value(scores: Mapping[str, float]) -> float:
        result = first(scores)
        for sign, other in others:
            result = _finite(result * other(scores) if sign == "*" else result / other(scores))
        return result

    return value

"""Whether an argument is what the reference allows.

The rules of BFCL's checker (`ast_checker.py`), but for these: a value is compared to any depth, and true is not 1
inside a list; an empty text among the allowed values means that the argument may be left out, and is no value itself;
punctuation that BFCL strips from texts stays where it makes another number or formula (`1.5` and `15`, `-5` and `5`,
`x^2` and `x*2`), and a text of nothing else is compared as it is (`*` and `/`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from verifiers.tool_call.config import Strings
from verifiers.tool_call.tools import elements, member, types_of

SHORT = 8_192
"""Characters of a text whose normal form is kept: each text is compared with every one that may be meant."""
_OPERATOR_BETWEEN_DIGITS = re.compile(r"(?<=\d) *([./*^-]) *(?=\d)")
_GAP_BETWEEN_DIGITS = re.compile(r"(?<=\d)[ ,_]++(?=\d)")
_STRIPPED = re.compile(
    r"(?!(?<=\d)[ ./*-](?=\d)|(?<![\w)\]])-(?=\.?\d)|(?<=\d[eE])-(?=\d)|\A-|(?<!\w)\.(?=\d)"
    r"|/(?= ?\d)|(?:(?<=\d)|(?<=\d ))/)[ ,./\-_*]"
)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Several allowed values. Each is what JSON gives, with more of these inside."""

    values: tuple[Any, ...]
    optional: bool = False
    """Whether the argument, or the member, may be left out."""


@dataclass(frozen=True, slots=True)
class Rules:
    """When two values are equal."""

    strings: Strings
    typed: bool
    """Whether 1 is not 1.0."""


def fits(value: Any, expected: Any, rules: Rules, schema: Any) -> bool:
    """Whether a value is among those expected. `schema` is the value's own, where the tools are known."""
    if isinstance(expected, AnyOf):
        return any(fits(value, one, rules, schema) for one in expected.values)
    if isinstance(expected, dict):
        return isinstance(value, dict) and misfit(value, expected, rules, schema) is None
    if isinstance(expected, list):
        if not isinstance(value, list) or len(value) != len(expected):
            return False
        inner = elements(schema, len(value))
        return all(fits(one, other, rules, each) for one, other, each in zip(value, expected, inner, strict=True))
    if isinstance(expected, bool) or expected is None:
        return value is expected
    if isinstance(expected, str):
        return isinstance(value, str) and (
            value == expected or (rules.strings == "bfcl" and normal(value) == normal(expected) != "")
        )
    return _same_number(value, expected, rules, schema)


def misfit(value: dict[str, Any], expected: dict[str, Any], rules: Rules, schema: Any) -> str | None:
    """The first name whose value does not fit, is missing, or is not expected; None where all is well."""
    for name in value:
        if name not in expected:
            return name
    for name, allowed in expected.items():
        if name not in value:
            if not (isinstance(allowed, AnyOf) and allowed.optional):
                return name
        elif not fits(value[name], allowed, rules, member(schema, name)):
            return name
    return None


def _same_number(value: Any, expected: float, rules: Rules, schema: Any) -> bool:
    """An int is a float, and a float is an int only where the tool takes any number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != expected:
        return False
    if type(value) is type(expected):
        return True
    return not rules.typed and (isinstance(value, int) or "number" in types_of(schema, None))


def normal(text: str) -> str:
    """A text without what BFCL takes for matters of style; what belongs to a number or a formula stays."""
    return _normal_short(text) if len(text) <= SHORT else _normal(text)


def _normal(text: str) -> str:
    text = text.replace("**", "^")
    text = _OPERATOR_BETWEEN_DIGITS.sub(r"\1", text)
    text = _GAP_BETWEEN_DIGITS.sub(" ", text)
    return _STRIPPED.sub("", text).lower().replace("'", '"')


_normal_short = lru_cache(maxsize=256)(_normal)

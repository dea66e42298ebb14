"""The reference of an item: what is accepted, and what it is once read."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, TypeAdapter

from verifiers.base import BadItemError, parse_reference
from verifiers.math.names import is_labelled
from verifiers.math.reading import Reading, read
from verifiers.math.sets import solved
from verifiers.math.values import Chain, Group, Matrix, Numeral, Scalar, Text, Union, Value, is_interval, named_values

MAX_CHARS = 131_072
"""Characters of a reference."""
_CACHED_CHARS = 1_000

AnswerType = Literal[
    "auto",
    "integer",
    "number",
    "expression",
    "equation",
    "tuple",
    "set",
    "multiset",
    "interval",
    "matrix",
    "choice",
]
ANSWER_TYPES: tuple[AnswerType, ...] = get_args(AnswerType)

_Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Answer = StrictStr | StrictInt | _Finite


class Reference(BaseModel):
    """A reference with a declared type of answer."""

    model_config = ConfigDict(extra="forbid")
    answer: _Answer = Field(description="The right answer: LaTeX, plain text or a number.", examples=["\\frac{1}{2}"])
    type: AnswerType = Field("auto", description="What kind of answer it is; `auto` reads it from how it is written.")


REFERENCE: TypeAdapter[Any] = TypeAdapter(_Answer | Reference)
_DECLARED: TypeAdapter[Reference] = TypeAdapter(Reference)

Digits = tuple[bool, str, int]
"""A decimal number: whether negative, its significant digits, and the power of ten that they are multiplied by."""
_LITERAL = re.compile(
    r"([+-]?)(?:([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.([0-9]*))?|\.([0-9]+))(?:[eE]([+-]?[0-9]{1,6}))?"
)
_CHOICE = re.compile(r"\(?([A-Za-z])\)?")
_CAPITAL_CHOICE = re.compile(r"\(?[A-J]\)?")
_CHOICE_AND_MORE = re.compile(r"(?:\(([A-Za-z])\)|([A-Za-z])[).:])\s*(\S.*)", re.DOTALL)
_SAID_RIGHT = re.compile(r"is (?:the )?(?:correct|right)(?: (?:answer|option|choice))?|is the answer")
_OTHER_CHOICE = re.compile(r"\b[A-J]\b|\([a-j]\)|\b(?:or|not|wrong)\b")
_CHOICE_CHARS = 200
_CHOICE_WORDS = re.compile(r"\\(?:text|mathrm|mathbf|textbf|textit|mbox)\s*\{([^{}]*)\}|[*$_`]|\\[()\[\]]|\\[ ,;!]")
_LIST_TYPES = ("tuple", "set", "multiset")


@dataclass(frozen=True, slots=True)
class Gold:
    """A reference, read once and kept for the items that share it."""

    text: str
    type: AnswerType
    reading: Reading
    value: Value | None
    """What it says, in the form that its type asks for. None where reading it would cost too much."""
    literal: Digits | None
    letter: str | None
    """The choice, in upper case, if it is one."""


def gold_of(reference: Any) -> Gold:
    """Read an item's reference. Raises `BadItemError`, which says what is wrong with it."""
    declared: AnswerType = "auto"
    if isinstance(reference, dict):
        parsed = parse_reference(_DECLARED, reference)
        reference, declared = parsed.answer, parsed.type
    match reference:
        case str():
            text = reference
        case int() if not isinstance(reference, bool):
            text = _int_text(reference)
        case float() if math.isfinite(reference):
            text = repr(reference)
        case _:
            raise BadItemError(
                'reference: send the answer as a string, a finite number, or {"answer": ..., "type": ...}'
            )
    return _cached(text, declared) if len(text) <= _CACHED_CHARS else _gold(text, declared)


def literal(text: str) -> Digits | None:
    """The parts of a decimal number as written, the same for all spellings of a value; None for anything else."""
    match = _LITERAL.fullmatch(text)
    if match is None:
        return None
    sign, whole, decimals, only_decimals, exponent = match.groups()
    decimals = only_decimals or decimals or ""
    digits = ((whole or "").replace(",", "") + decimals).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return False, "", 0
    power = int(exponent or 0) - len(decimals) + len(digits) - len(significant)
    return sign == "-", significant, power


def choice(text: str) -> str | None:
    """The letter of a choice such as `C`, `(c)`, `\\text{(C)}` or `C. 15`; None where it is not one choice."""
    if len(text) > _CHOICE_CHARS:
        return None
    plain = _bare(text)
    for word in ("option", "choice"):
        if plain[: len(word)].lower() == word:
            plain = plain[len(word) :].strip()
            letter, _, said = plain.partition(" ")
            plain = letter if _SAID_RIGHT.fullmatch(said) else plain
    if match := _CHOICE.fullmatch(plain):
        return match.group(1).upper()
    match = _CHOICE_AND_MORE.fullmatch(plain)
    if match is None or _OTHER_CHOICE.search(match.group(3)):
        return None
    return (match.group(1) or match.group(2)).upper()


def _bare(text: str) -> str:
    """Without fonts, emphasis and the delimiters of maths."""
    return _CHOICE_WORDS.sub(lambda m: m.group(1) or "", text).strip().rstrip(".")


def as_declared(value: Value | None, declared: AnswerType) -> Value | None:
    """The value in the form that a declared type gives it, or None where it has no such form."""
    if value is None or declared in ("auto", "choice"):
        return value
    if declared == "equation":
        return value if isinstance(value, Chain) and "=" in value.relations else None
    if declared == "tuple" and (named := named_values(value)) is not None:
        return Group("(", tuple(Chain((name, said), ("=",)) for name, said in named.items()), ")")
    if isinstance(value, Chain) and declared == "interval":
        value = solved(value) or value
    if isinstance(value, Chain) and is_labelled(value) and declared not in ("integer", "number", "expression"):
        value = value.members[-1]
    match declared, value:
        case (
            ("integer" | "number" | "expression"),
            (Scalar() | Numeral() | Chain() | Group(items=(Scalar() | Numeral(),))),
        ):
            return value
        case "tuple", Group():
            return Group("(", value.items, ")")
        case "tuple", Matrix():
            return value
        case "set", Group():
            return Group("\\{", value.items, "\\}")
        case "multiset", Group():
            return Group("", value.items, "")
        case "set", Scalar() | Numeral() | Text():
            return Group("\\{", (value,), "\\}")
        case "multiset", Scalar() | Numeral() | Text():
            return Group("", (value,), "")
        case "interval", Group() if is_interval(value):
            return value
        case "interval", Union():
            return value
        case "matrix", Matrix():
            return value
        case "matrix", Group() if all(isinstance(item, Group) for item in value.items):
            return value
    return None


def read_as(text: str, declared: AnswerType) -> Reading:
    """Read an answer; where a list is declared, every comma separates."""
    return read(text, grouping=declared not in _LIST_TYPES)


def _int_text(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # more digits than sys.get_int_max_str_digits()
        raise BadItemError("reference: send a number of so many digits as a string") from None


def _gold(text: str, declared: AnswerType) -> Gold:
    text = text.strip()
    if len(text) > MAX_CHARS:
        raise BadItemError(f"reference: longer than {MAX_CHARS} characters")
    reading = read_as(text, declared)
    if not reading.normal.strip("{}") or reading.value == Text(""):
        raise BadItemError("reference: the answer is empty")
    if text.lower() in ("nan", "none", "null"):
        raise BadItemError(f"reference: {text!r} is no answer")
    if text.count("{") != text.count("}"):
        raise BadItemError("reference: its braces are not balanced")
    if reading.valueless:
        raise BadItemError(f"reference: it has no value: {reading.valueless}")
    if isinstance(reading.value, Chain) and "=" in reading.value.relations and Text("") in reading.value.members:
        raise BadItemError("reference: a side of its equation is empty")
    letter = choice(text)
    if declared == "choice":
        if letter is None:
            raise BadItemError("reference: a choice is one letter")
        return Gold(text, declared, reading, Text(letter), None, letter)
    value = as_declared(reading.value, declared)
    if reading.value is not None and (value is None or not _fits(value, declared)):
        raise BadItemError(f"reference: its answer is not of the type {declared!r}")
    if declared != "auto" or not _CAPITAL_CHOICE.fullmatch(_bare(text)):
        letter = None
    number = None if declared in _LIST_TYPES and "," in text else literal(text)
    return Gold(text, declared, reading, value, number, letter)


def _fits(value: Value, declared: AnswerType) -> bool:
    if declared not in ("integer", "number", "expression"):
        return True
    if isinstance(value, Group):
        return False
    last = value.members[-1] if isinstance(value, Chain) and is_labelled(value) else value
    if isinstance(last, Numeral):
        return declared != "integer" or last.exact.denominator == 1
    if not isinstance(last, Scalar):
        return False
    match declared:
        case "integer":
            return last.exact is not None and last.exact.denominator == 1
        case "number":
            return not last.names
        case _:
            return True


_cached = lru_cache(maxsize=4096)(_gold)

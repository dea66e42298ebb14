"""Numbers written in a stated base: `52_8`, `(52)_8`, `1A_{16}`, `52_{\\text{eight}}`, `52 (base 8)`."""

from __future__ import annotations

import re
from fractions import Fraction

from verifiers.math.expression import MAX_DIGITS, CostlyError
from verifiers.math.values import Numeral

_WORDS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "sixteen": 16, "binary": 2, "ternary": 3, "octal": 8, "decimal": 10, "hex": 16, "hexadecimal": 16,
}  # fmt: skip
_DIGITS = r"(?P<digits>[0-9A-Za-z]+(?:\.[0-9A-Za-z]+)?)"
_NUMERAL = re.compile(
    rf"(?P<sign>-?)(?:{_DIGITS}|\({_DIGITS.replace('digits', 'inner')}\)|\{{{_DIGITS.replace('digits', 'braced')}\}}"
    r"|\\text\{(?P<said>[A-Za-z]+)\})"
    r"(?:_(?P<index>[0-9]+|\{[^{}]{0,20}(?:\{[^{}]{0,20}\}[^{}]{0,20})?\})"
    r"|\(?(?:\\text\{\(?)?(?:in)?base\}?(?P<base>[0-9]{1,2}|[a-z]{3,11})(?:\\text\{\)\}|\))?)"
)
_INDEX = re.compile(r"[{(]*(?:\\text\{)?\(?(?:base)?[})]*(?P<base>[0-9]{1,2}|[a-z]{3,11})[)}]*")


def read_numeral(normal: str) -> Numeral | None:
    """The number that a normal form writes in a stated base from 2 to 36, or None where it writes something else.

    A single letter with an index is a symbol, and so is what the base has no digits for. Raises `CostlyError`.
    """
    if "_" not in normal and "base" not in normal:
        return None
    match = _NUMERAL.fullmatch(normal.replace(" ", ""))
    if match is None:
        return None
    base = _base(match["base"] or match["index"])
    digits = (match["digits"] or match["inner"] or match["braced"] or match["said"]).upper()
    if base is None or (len(digits) == 1 and digits.isalpha()):
        return None
    if len(digits) > MAX_DIGITS:
        raise CostlyError("a number has too many digits")
    whole, _, decimals = digits.partition(".")
    try:
        value = Fraction(int(whole + decimals, base), base ** len(decimals))
    except ValueError:  # not digits of this base
        return None
    written = (whole.lstrip("0") or "0") + (f".{decimals}" if decimals else "")
    return Numeral(match["sign"] + written, base, -value if match["sign"] else value)


def _base(written: str) -> int | None:
    match = _INDEX.fullmatch(written)
    if match is None:
        return None
    said = match["base"]
    base = int(said) if said.isdecimal() else _WORDS.get(said)
    return base if base is not None and 2 <= base <= 36 else None

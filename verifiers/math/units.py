"""Units, counting words and the other words that stand around a number."""

from __future__ import annotations

import re

from verifiers.math.tokens import words

_SPELLINGS = {
    "m": "m meter metre", "cm": "cm centimeter centimetre", "mm": "mm millimeter millimetre",
    "km": "km kilometer kilometre", "in": "in inch inche", "ft": "ft foot feet", "yd": "yd yard", "mi": "mile mi",
    "g": "g gram gm", "kg": "kg kilogram kilo", "mg": "mg milligram", "lb": "lb pound", "oz": "oz ounce",
    "ton": "ton tonne",
    "l": "l liter litre", "ml": "ml milliliter millilitre", "gal": "gal gallon", "qt": "quart", "pt": "pint",
    "s": "s sec second", "min": "min minute", "h": "h hr hour", "day": "day", "week": "week", "month": "month",
    "year": "year yr", "degree": "degree deg", "rad": "radian rad", "dollar": "dollar usd buck", "cent": "cent",
    "euro": "euro", "ac": "acre", "ha": "hectare", "mph": "mph", "km/h": "kph kmh",
    "J": "J joule", "kJ": "kJ kilojoule", "W": "W watt", "kW": "kW kilowatt", "N": "N newton", "kN": "kN kilonewton",
    "Pa": "Pa pascal", "kPa": "kPa kilopascal", "V": "V volt", "Hz": "Hz hertz", "kHz": "kHz kilohertz",
}  # fmt: skip
_UNITS = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings.split()}
_SCALES = {
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
}
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "squared": 2, "cubed": 3}
_QUALIFIERS = words(
    "not no or nor and than least most between over under below above except either neither "
    "plus minus times divided if unless maybe probably half twice undefined impossible from to more less fewer up "
    "cannot never hardly but any anything almost nearly negative opposite double triple "
    "factorial repeating recurring wrong incorrect rather instead "
    "tenths hundredths thousandths millionths halves thirds fifths"
)
"""Words beside a number that make it something else than that number."""
_DENIALS = words(
    "not no nor neither either or except but any anything than unless maybe probably "
    "cannot never hardly almost nearly negative wrong incorrect rather instead"
)
"""Words beside a formula in a sentence that make it no answer."""
_NOT = re.compile(r"\bat (?:least|most)\b|\b(?:can|won|isn|aren|wasn|doesn|didn|shouldn|couldn|wouldn)['’ ]t\b")
_PART_OF = re.compile(
    r"\b(?:root|multiple|divisor|reciprocal|inverse|logarithm|third|quarter|fifth|tenth) of\b"
    r"|\b(?:root|log|mod)$|\bsuch as\b"
)
_EQUAL_TO = re.compile(r"\b(?:equal|equals|amounts|comes|simplifies|evaluates|reduces|adds up|sums up) to\b")
_PARTS = re.compile(r"[A-Za-z]+|[^\sA-Za-z^{}]")


def scale_of(word: str) -> int | None:
    """The factor of a counting word (`million`, `dozen`), else None."""
    return _SCALES.get(_singular(word.lower()))


def is_unit(word: str) -> bool:
    """Whether a word written without a gap or a text command may stand for a unit: never a single letter."""
    return len(word) > 1 and (word in _UNITS or _singular(word.lower()) in _UNITS or word.lower() in _POWERS)


def qualifies(said: str) -> bool:
    """Whether words beside a number change what it says: `at least`, `or`, `not`, `the square root of`, ..."""
    said = _EQUAL_TO.sub(" ", said.lower())
    if said.startswith(("squared", "cubed")):
        return True
    if _PART_OF.search(said) or _NOT.search(said):
        return True
    return any(word in _QUALIFIERS for word in re.findall("[a-z]+", said))


def denies(said: str) -> bool:
    """Whether words beside a formula in a sentence say that it is not the answer, or not the only one."""
    said = said.lower()
    return bool(_NOT.search(said)) or any(word in _DENIALS for word in re.findall("[a-z]+", said))


def canonical_unit(said: str) -> str | None:
    """One spelling for a unit (`square centimeters`, `cm^2`), or None where it is no unit of the table."""
    parts: list[str] = []
    power = 1
    for part in _PARTS.findall(said):
        word = part.lower()
        if word in ("per", "/"):
            parts.append("/")
        elif word in _POWERS and word not in ("squared", "cubed"):
            power = _POWERS[word]
        elif word in ("2", "3", "squared", "cubed"):
            if not parts or parts[-1] == "/":
                return None
            parts[-1] += str(_POWERS.get(word, word))
        else:
            unit = _UNITS.get(part) or _UNITS.get(_singular(word))
            if unit is None:
                return None
            parts.append(unit if power == 1 else f"{unit}{power}")
            power = 1
    unit = "".join(parts)
    return {"mi/h": "mph"}.get(unit, unit) or None


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and len(word) > 2 and word != "hertz" else word

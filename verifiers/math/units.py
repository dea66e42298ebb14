"""Units, counting words and the other words that stand around a number."""

from __future__ import annotations

import re
from fractions import Fraction

from verifiers.math.tokens import words

_SPELLINGS = {
    "m": "m meter metre", "cm": "cm centimeter centimetre", "mm": "mm millimeter millimetre",
    "km": "km kilometer kilometre", "in": "in inch inche", "ft": "ft foot feet", "yd": "yd yard", "mi": "mile mi",
    "g": "g gram gm", "kg": "kg kilogram kilo", "mg": "mg milligram", "lb": "lb pound", "oz": "oz ounce",
    "ton": "ton", "tonne": "tonne",
    "l": "l L liter litre", "ml": "ml mL milliliter millilitre", "cl": "cl cL centiliter centilitre",
    "dl": "dl dL deciliter decilitre", "gal": "gal gallon", "qt": "quart qt", "pt": "pint",
    "s": "s sec second", "min": "min minute", "h": "h hr hour", "day": "day", "week": "week", "month": "month",
    "year": "year yr", "degree": "degree deg", "rad": "radian rad", "dollar": "dollar usd buck", "cent": "cent",
    "euro": "euro", "K": "kelvin", "ac": "acre", "ha": "hectare", "mph": "mph", "km/h": "kph kmh",
    "J": "J joule", "kJ": "kJ kilojoule", "W": "W watt", "kW": "kW kilowatt", "N": "N newton", "kN": "kN kilonewton",
    "Pa": "Pa pascal", "kPa": "kPa kilopascal", "V": "V volt", "Hz": "Hz hertz", "kHz": "kHz kilohertz",
    "dm": "dm decimeter decimetre", "um": "um micrometer micrometre micron", "nm": "nm nanometer nanometre",
    "ms": "ms millisecond", "MJ": "MJ megajoule", "cal": "calorie cal", "kcal": "kcal kilocalorie", "Wh": "Wh",
    "kWh": "kWh", "MW": "MW megawatt", "hp": "horsepower", "bar": "bar", "atm": "atm atmosphere",
    "turn": "turn revolution", "knot": "knot", "sterling": "sterling gbp quid", "yen": "yen jpy",
    "rupee": "rupee inr", "yuan": "yuan renminbi rmb", "ruble": "ruble rouble", "franc": "franc", "peso": "peso",
    "parsec": "parsec", "light": "light", "lightyear": "lightyear", "nautical": "nautical",
}  # fmt: skip
_IN_TEXT_ONLY = words("nm ms dm cl cL dl dL hp qt um mL")
"""Units that letters without a text command, such as `2nm`, are not taken for."""
_PLAIN = words("cm mm km kg ml ft lb oz yd hr yr")
_UNITS = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings.split()}
_SCALES = {
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "quadrillion": 10**15,
    "quintillion": 10**18,
    "lakh": 10**5,
    "crore": 10**7,
    "mn": 10**6,
    "bn": 10**9,
    "tn": 10**12,
    "dozen": 12,
}
_COMPOUND = {
    "mi/h": "mph", "kW*h": "kWh", "W*h": "Wh", "lb*sterling": "sterling", "light*year": "lightyear",
}  # fmt: skip
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "squared": 2, "cubed": 3}
_QUALIFIERS = words(
    "not no or nor and than least most between over under below above except either neither "
    "plus minus times divided if unless maybe probably half twice undefined impossible from to more less fewer up "
    "cannot never hardly but any anything almost nearly negative opposite double triple "
    "factorial repeating recurring exceeds exceed wrong incorrect false too rather instead perhaps possibly "
    "might could halves thirds"
)
"""Words beside a number that make it something else than that number."""
_DENIALS = words(
    "not no nor neither either or except but any anything than unless maybe probably "
    "cannot never hardly almost nearly negative wrong incorrect false rather instead perhaps possibly might could"
)
"""Words beside a formula in a sentence that make it no answer."""
_NOT = re.compile(r"\bat (?:least|most)\b|\b(?:can|won|isn|aren|wasn|doesn|didn|shouldn|couldn|wouldn)['’ ]t\b")
_PART_OF = re.compile(
    r"\b(?:root|multiple|divisor|reciprocal|inverse|logarithm|third|quarter|fifth|tenth) of\b"
    r"|\b(?:root|log|mod)$|\bsuch as\b|\be\.? ?g\.|\bfor (?:example|instance)\b|\betc\b|\bth (?:power|root)\b"
    r"|\bpoint (?:zero|oh|one|two|three|four|five|six|seven|eight|nine)\b"
    r"|\b(?:fif|six|seven|eigh|nin|ten|eleven|twelf|[a-z]+teen|[a-z]+tie|hundred|thousand|[a-z]+illion)ths\b"
    r"|(?<!by a )\b(?:factor|multiple|divisor|power|log|logarithm|sine|cosine|tangent|negation|complement|square|cube"
    r"|conjugate|derivative|integral|function|fraction|part|percentage|reciprocal|sin|cos|tan|ln)s? of$"
)
_OPERATES = re.compile(
    r"\b(?:half|twice|double|triple|thrice|times|plus|minus|over|exceeds?|divides?|divided by|multiplied by|than"
    r"|above|below|under|(?:half|double|triple|factorial|inverse) of)$"
)
_OPERATES_AFTER = re.compile(
    r"(?:factorial|squared|cubed|times|plus|minus|divided|multiplied|over|more|less|fewer)\b"
)
_EQUAL_TO = re.compile(r"\b(?:equal|equals|amounts|comes|simplifies|evaluates|reduces|adds up|sums up) to\b")
_PARTS = re.compile(r"[A-Za-z]+|[^\sA-Za-z^{}]")


def may_be_product(word: str) -> bool:
    """Whether two letters glued to a number, such as `2mg`, may be symbols as well as a unit."""
    return len(word) == 2 and word not in _PLAIN


def scale_of(word: str) -> int | None:
    """The factor of a counting word (`million`, `dozen`), else None."""
    return _SCALES.get(_singular(word.lower()))


def is_unit(word: str) -> bool:
    """Whether a word written without a gap or a text command may stand for a unit: never a single letter."""
    if len(word) < 2 or word in _IN_TEXT_ONLY:
        return False
    return word in _UNITS or _singular(word.lower()) in _UNITS or word.lower() in _POWERS


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


def operates(before: str, after: str) -> bool:
    """Whether the words right beside a formula in a sentence calculate with it: `the square of ...`, `... times`."""
    return _PART_OF.search(before) is not None or bool(_OPERATES.search(before) or _OPERATES_AFTER.match(after))


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
            unit = _UNITS.get(part) or (None if _case_counts(part) else _UNITS.get(_singular(word)))
            if unit is None:
                return None
            if parts and parts[-1] != "/":
                parts.append("*")
            parts.append(unit if power == 1 else f"{unit}{power}")
            power = 1
    unit = "".join(parts)
    return _COMPOUND.get(unit, unit) or None


Dimension = tuple[tuple[str, int], ...]
"""Base quantities and their powers, in alphabetical order."""

_FACTORS: dict[str, tuple[Fraction, Dimension]] = {}


def _define(dimension: dict[str, int], **factors: str) -> None:
    """Say how many of the dimension's base units each unit is."""
    for unit, factor in factors.items():
        _FACTORS[unit] = Fraction(factor), tuple(sorted(dimension.items()))


_ENERGY = {"length": 2, "mass": 1, "time": -2}
_define(
    {"length": 1}, m="1", dm="1/10", cm="1/100", mm="1/1000", um="1/1000000", nm="1/1000000000", km="1000",
    ft="0.3048", yd="0.9144", mi="1609.344", **{"in": "0.0254"},
)  # fmt: skip
_define({"length": 2}, ha="10000", ac="4046.8564224")
_define(
    {"length": 3}, l="1/1000", ml="1/1000000", cl="1/100000", dl="1/10000",
    gal="0.003785411784", qt="0.000946352946", pt="0.000473176473",
)  # fmt: skip
_define({"mass": 1}, kg="1", g="1/1000", mg="1/1000000", tonne="1000", lb="0.45359237", oz="0.028349523125")
_define({"time": 1}, s="1", ms="1/1000", min="60", h="3600", day="86400", week="604800")
_define({"months": 1}, month="1", year="12")
_define({"angle": 1}, degree="1", turn="360")
_define({"length": 1, "time": -1}, mph="0.44704", knot="1852/3600")
_define({"time": -1}, Hz="1", kHz="1000")
_define({"length": 1, "mass": 1, "time": -2}, N="1", kN="1000")
_define(_ENERGY, J="1", kJ="1000", MJ="1000000", cal="4.184", kcal="4184", Wh="3600", kWh="3600000")
_define({"length": 2, "mass": 1, "time": -3}, W="1", kW="1000", MW="1000000")
_define({"length": -1, "mass": 1, "time": -2}, Pa="1", kPa="1000", bar="100000", atm="101325")

_ATOM = re.compile(r"([A-Za-zμ]+)([23]?)|(/)")


def conversion(unit: str, into: str) -> Fraction | None:
    """How many of one unit is one of another: 1/100 for `cm` into `m`; None where they measure different things.

    Exact by definition (SI, the international yard and pound of 1959, US gallons). Currencies, temperatures, the ton
    (of 2,000 pounds or of 1,000 kg) and radians (a degree is no rational number of them) are not converted.
    """
    first, second = _measured(unit), _measured(into)
    if first is None or second is None or first[1] != second[1]:
        return None
    return first[0] / second[0]


def _measured(unit: str) -> tuple[Fraction, Dimension] | None:
    """The factor and dimension of a canonical unit such as `km/h` or `cm2`."""
    factor, powers, sign = Fraction(1), dict[str, int](), 1
    for name, power, slash in _ATOM.findall(unit):
        if slash:
            sign = -1
            continue
        known = _FACTORS.get(name)
        if known is None:
            return None
        times = sign * int(power or 1)
        factor *= known[0] ** times
        for base, exponent in known[1]:
            powers[base] = powers.get(base, 0) + exponent * times
    return factor, tuple(sorted((base, power) for base, power in powers.items() if power))


def _case_counts(symbol: str) -> bool:
    """Whether a unit in capitals is another one, or none: `G` is no gram, `Mg` no milligram."""
    return len(symbol) == 1 or (len(symbol) == 2 and symbol[0] == "M")


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and len(word) > 2 and word != "hertz" else word

"""Units, bases, per cent and rules of form: what each setting accepts, and the warnings it gives."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from tests.verifiers.math.support import judged, judged_answer
from verifiers.math.bases import read_numeral
from verifiers.math.units import canonical_unit, conversion

CONVERTED = [
    ("1 \\text{ m}", "100 \\text{ cm}"),
    ("1 \\text{ m}", "100 cm"),
    ("2 \\text{ hours}", "120 \\text{ minutes}"),
    ("1 \\text{ m}^2", "10000 \\text{ cm}^2"),
    ("1 \\text{ liter}", "1000 \\text{ cm}^3"),
    ("36 \\text{ km/h}", "10 \\text{ m/s}"),
    ("60 \\text{ mph}", "88 \\text{ feet per second}"),
    ("1 \\text{ foot}", "12 \\text{ inches}"),
    ("1 \\text{ lb}", "16 \\text{ oz}"),
    ("1 \\text{ kWh}", "3.6 \\text{ MJ}"),
    ("1 \\text{ year}", "12 \\text{ months}"),
    ("1 \\text{ revolution}", "360^\\circ"),
    ("180^\\circ", "\\pi \\text{ radians}"),
    ("\\sqrt{2} \\text{ m}", "100\\sqrt{2} \\text{ cm}"),
    ("2 \\text{ bar}", "200 \\text{ kPa}"),
    ("1 \\text{ tonne}", "1000 \\text{ kg}"),
]
NOT_CONVERTED = [
    ("1 \\text{ dollar}", "100 \\text{ cents}"),
    ("1 \\text{ euro}", "1 \\text{ dollar}"),
    ("20^\\circ\\text{C}", "68^\\circ\\text{F}"),
    ("0^\\circ\\text{C}", "273.15 \\text{ kelvin}"),
    ("1 \\text{ ton}", "1000 \\text{ kg}"),
    ("1 \\text{ m}", "1 \\text{ s}"),
    ("1 \\text{ m}", "1 \\text{ m}^2"),
    ("1 \\text{ month}", "30 \\text{ days}"),
    ("5\\%", "5 \\text{ km}"),
]


@pytest.mark.parametrize(("reference", "answer"), CONVERTED)
async def test_units_are_converted_exactly_if_asked(reference: str, answer: str) -> None:
    assert (await judged_answer(reference, answer, units="convert")).score == 1.0
    assert (await judged_answer(answer, reference, units="convert")).score == 1.0


@pytest.mark.parametrize(("reference", "answer"), NOT_CONVERTED)
async def test_what_is_never_converted(reference: str, answer: str) -> None:
    verdict = await judged_answer(reference, answer, units="convert")
    assert (verdict.score, verdict.detail["reason"]) == (0.0, "different units")
    assert (await judged_answer(reference, reference, units="convert")).score == 1.0


async def test_without_conversion_another_unit_is_another_answer() -> None:
    assert (await judged_answer("1 \\text{ m}", "100 \\text{ cm}")).detail["reason"] == "different units"
    assert (await judged_answer("100 \\text{ km}", "100 \\text{ cm}", units="convert")).score == 0.0
    assert (await judged_answer("100 \\text{ m}", "100 \\text{ cm}", units="ignore")).score == 1.0


@pytest.mark.parametrize(
    ("unit", "into", "factor"),
    [
        ("km", "m", Fraction(1000)),
        ("ft", "in", Fraction(12)),
        ("mi", "ft", Fraction(5280)),
        ("gal", "qt", Fraction(4)),
        ("km/h", "m/s", Fraction(5, 18)),
        ("N*m", "J", Fraction(1)),
        ("ac", "ft2", Fraction(43560)),
        ("dollar", "cent", None),
        ("C", "K", None),
        ("m", "m2", None),
        ("foo", "m", None),
    ],
)
def test_factors_are_exact(unit: str, into: str, factor: Fraction | None) -> None:
    assert conversion(unit, into) == factor


@pytest.mark.parametrize(
    ("said", "unit"),
    [
        ("square centimeters", "cm2"),
        ("km per hour", "km/h"),
        ("newton meters", "N*m"),
        ("m in", "m*in"),
        ("apples", None),
        ("", None),
    ],
)
def test_canonical_units(said: str, unit: str | None) -> None:
    assert canonical_unit(said) == unit


@pytest.mark.parametrize(
    ("bases", "reference", "answer", "accepted"),
    [
        ("written", "52_8", "52_{8}", True),
        ("written", "52_8", "052_8", True),
        ("written", "52_8", "42", False),
        ("written", "52_8", "101010_2", False),
        ("written", "42", "52_8", False),
        ("value", "52_8", "42", True),
        ("value", "42", "52_8", True),
        ("value", "52_8", "101010_2", True),
        ("value", "52_8", "2A_{16}", True),
        ("value", "0.5", "0.1_2", True),
        ("value", "52_8", "52", False),
        ("value", "52_8", "52_7", False),
        ("value", "(42, 1)", "(52_8, 1)", True),
    ],
)
async def test_bases(bases: str, reference: str, answer: str, accepted: bool) -> None:
    assert (await judged_answer(reference, answer, bases=bases)).score == float(accepted)


@pytest.mark.parametrize(
    "written",
    [
        "x_8",
        "x_{12}",
        "52_4",
        "52_1",
        "52_{37}",
        "52_n",
        "A_{16}",
        "10",
        "base8",
        "",
        "_",
        "5_{",
        "1.2.3_8",
        "52_{\\x}",
    ],
)
def test_what_is_no_numeral(written: str) -> None:
    assert read_numeral(written) is None


@pytest.mark.parametrize(
    ("form", "reference", "answer", "accepted"),
    [
        ("evaluated", "5", "2+3", False),
        ("evaluated", "120", "5!", False),
        ("evaluated", "10", "\\binom{5}{2}", False),
        ("evaluated", "1024", "2^{10}", False),
        ("evaluated", "2", "\\sqrt{4}", False),
        ("evaluated", "5", "x = 2+3", False),
        ("evaluated", "3", "\\log_2 8", False),
        ("evaluated", "2", "\\sqrt2\\sqrt2", False),
        ("evaluated", "6", "6x^0", False),
        ("evaluated", "0", "x = \\sin 0", False),
        ("evaluated", "5", "\\frac{10}{2}", False),
        ("evaluated", "(5,1)", "(2+3,1)", False),
        ("evaluated", "2\\pi+5", "2\\pi+2+3", True),
        ("evaluated", "5", "x = 2+3 = 5", True),
        ("evaluated", "1/2", "2/4", True),
        ("evaluated", "1/2", "0.5", True),
        ("evaluated", "1500", "1.5 \\cdot 10^3", True),
        ("evaluated", "2\\sqrt3", "\\sqrt{12}", True),
        ("evaluated", "2^{10}", "2^{10}", True),
        ("evaluated", "3x+2", "2+3x", True),
        ("lowest_terms", "1/2", "\\frac{2}{4}", False),
        ("lowest_terms", "1/2", "2/4", False),
        ("lowest_terms", "-1/2", "-\\frac24", False),
        ("lowest_terms", "1/2", "x = \\frac{2}{4}", False),
        ("lowest_terms", "3/2", "1\\frac{2}{4}", False),
        ("lowest_terms", "3/2", "1 2/4", False),
        ("lowest_terms", "5", "\\frac{5}{1}", False),
        ("lowest_terms", "1/2", "\\frac{-1}{-2}", False),
        ("lowest_terms", "\\frac{\\sqrt3}{2}", "\\frac{2\\sqrt3}{4}", False),
        ("lowest_terms", "\\frac{x+1}{2}", "\\frac{2x+2}{4}", False),
        ("lowest_terms", "(1/2, 3)", "(2/4, 3)", False),
        ("lowest_terms", "5", "2+3", False),
        ("lowest_terms", "1/2", "\\dfrac{1}{2}", True),
        ("lowest_terms", "1/2", "0.5", True),
        ("lowest_terms", "3/2", "1\\frac12", True),
        ("lowest_terms", "\\frac{\\sqrt3}{2}", "\\frac12\\sqrt3", True),
        ("lowest_terms", "2/4", "2/4", True),
        ("any", "1/2", "2/4", True),
        ("any", "5", "2+3", True),
    ],
)
async def test_rules_of_form(form: str, reference: str, answer: str, accepted: bool) -> None:
    verdict = await judged_answer(reference, answer, form=form)
    assert verdict.score == float(accepted), verdict
    if not accepted:
        assert verdict.outcome == "rejected"
        assert verdict.detail["stage"] == "form"
        assert verdict.detail["reason"] in ("not evaluated", "not in lowest terms")


@pytest.mark.parametrize(
    ("reference", "completion", "config", "warnings"),
    [
        ("42", "\\boxed{42}", {}, None),
        ("42", "So 3+39 = 42", {}, ["the answer stood in a last line that does not say it is one"]),
        ("5", "\\boxed{5.0 \\text{ cm}}", {}, ["only the answer states a unit: cm"]),
        ("5 \\text{ cm}", "\\boxed{5.0}", {}, ["only the reference states a unit: cm"]),
        ("9", "\\boxed{9\\%}", {}, ["only the answer has a percent sign"]),
        ("12", "\\boxed{12 \\text{ apples}}", {}, ["words beside the number were left out"]),
        (
            "90^\\circ",
            "\\boxed{\\pi/2}",
            {},
            ["only the reference states a unit: degree", "degrees were turned into radians"],
        ),
        ("1 \\text{ m}", "\\boxed{100 \\text{ cm}}", {"units": "convert"}, ["units were converted"]),
        ("12", "The answer is a total of **12**, said Tom.", {}, ["the answer was picked out of a sentence"]),
    ],
)
async def test_warnings(reference: str, completion: str, config: dict[str, Any], warnings: list[str] | None) -> None:
    verdict = await judged(reference, completion, **config)
    assert verdict.score == 1.0
    assert verdict.detail.get("warnings") == warnings

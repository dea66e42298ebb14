"""MATH-500's own answers: by rule, other ways to write each, and other answers that look much like it.

A rule only writes what is right by construction: it changes the wording, the spelling of a number, or one digit,
sign, coordinate or end of an interval. 99.5 % must be judged right both ways; what is not is listed.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from fractions import Fraction

import pytest

from tests.conftest import DATA
from tests.verifiers.support import configured, score_all
from verifiers.base import Item

pytestmark = pytest.mark.data

FEWEST = 5
"""Reformulations of each answer, beside those of its wording."""
SHARE = 0.995


def answers() -> list[str]:
    with gzip.open(DATA / "math" / "math500.jsonl.gz", "rt") as file:
        return [json.loads(line)["answer"] for line in file]


def boxed(answer: str) -> str:
    return f"Hence the result is $\\boxed{{{answer}}}$."


def wordings(answer: str) -> Iterator[str]:
    """Completions around the answer as it is written."""
    yield boxed(answer)
    yield f"\\[\\boxed{{ {answer} }}\\]"
    yield f"The answer is ${answer}$."
    yield f"**Answer:** ${answer}$"
    yield f"<answer>${answer}$</answer>"
    yield f"<think>\\boxed{{17}} is wrong</think>The final answer is \\fbox{{$\\displaystyle {answer}$}}.<|im_end|>"
    yield f"After all steps.\n\n#### {answer}"


def spellings(answer: str) -> Iterator[str]:
    """The same answer spelled in another way, in a box."""
    yield re.sub(r"(?<!\\)(?<!\\!) ", " \\\\; ", answer)
    yield answer.replace("\\dfrac", "\\frac").replace("\\frac", "\\tfrac")
    yield answer.replace("\\dfrac", "\\frac").replace("\\frac", "\\dfrac")
    yield (
        answer.replace("-", "−")
        .replace("\\infty", "∞")
        .replace("\\cup", "∪")
        .replace("^\\circ", "°")
        .replace("\\pi", "π ")
    )
    yield (
        re.sub(r"\((?!\\text)", r"\\left(", answer)
        .replace(")", "\\right)")
        .replace("\\left\\left", "\\left")
        .replace("\\right\\right", "\\right")
        if balanced(answer)
        else answer.replace("\\left", "").replace("\\right", "")
    )
    yield f"\\mathbf{{{answer}}}" if "\\" not in answer else f"{{{answer}}}"
    yield from numbers(answer)


def balanced(answer: str) -> bool:
    """Whether every round bracket has its partner, and no word is inside."""
    return answer.count("(") == answer.count(")") and "\\text" not in answer


def numbers(answer: str) -> Iterator[str]:
    """Spellings of a rational number, and of the numbers inside another answer."""
    value = rational(answer)
    if mixed := re.fullmatch(r"(\d+) ?(\\frac.*)", answer):
        yield f"{mixed[1]}+{mixed[2]}"
        return
    if value is None and "frac" in answer:
        yield re.sub(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}", r"(\1/\2)", answer)
        return
    if value is None:
        yield re.sub(r"(?<![\d.{,_^\\A-Za-z!])(\d+)(?![\d.}_^{,/:])", r"\1.0", answer)
        return
    p, q, sign = abs(value.numerator), value.denominator, "-" if value < 0 else ""
    yield f"{sign}\\frac{{{p * 7}}}{{{q * 7}}}"
    yield f"{value.numerator}/{q}"
    yield f"x = {sign}\\dfrac{{{p}}}{{{q}}}"
    yield f"{sign}{p * 100}\\cdot 10^{{-2}}" if q == 1 else f"{sign}{p}\\div {q}"
    if 10**6 % q == 0:
        digits = f"{p * 10**6 // q:07d}"
        yield f"{sign}{digits[:-6]}.{digits[-6:]}"
    if q > 1 and p > q:
        yield f"{sign}{p // q}\\frac{{{p % q}}}{{{q}}}"
        yield f"{sign}{p // q} {p % q}/{q}"
    if q == 1:
        yield f"{value.numerator:,}"
        yield f"{sign}{p} \\text{{ units}}"


def rational(answer: str) -> Fraction | None:
    """The value of an integer, decimal or plain fraction."""
    if re.fullmatch(r"-?(\d+|\d*\.\d+)", answer):
        return Fraction(answer)
    if match := re.fullmatch(r"(-?)\\d?t?frac\{(\d+)\}\{(\d+)\}", answer):
        return Fraction(int(match[1] + match[2]), int(match[3]))
    return None


def neighbours(answer: str) -> Iterator[str]:
    """Other answers: a flipped sign, the next last and first digit, swapped coordinates, other ends of intervals."""
    digits = list(re.finditer(r"\d", answer))
    for digit in {d.start(): d for d in digits[-1:] + digits[:1]}.values():
        yield answer[: digit.start()] + str((int(digit.group()) + 1) % 10) + answer[digit.end() :]
    if answer.startswith("-"):
        yield answer[1:]
    elif re.match(r"[\d.]|\\[dt]?frac|\\sqrt", answer) and answer != "0" and "+" not in answer and "_" not in answer:
        yield f"-{answer}"
    for at in [m.start() for m in re.finditer(r"(?<=[\w) ])[-+]", answer)][:1]:
        yield answer[:at] + ("+" if answer[at] == "-" else "-") + answer[at + 1 :]
    if match := re.fullmatch(r"(?:\\left)?([(\[])([^,]+),(.+?)(?:\\right)?([)\]])", answer):
        opener, first, rest, closer = match.groups()
        if "," not in rest:
            yield f"{opener}{rest},{first}{closer}"
            yield f"{'[' if opener == '(' else '('}{first},{rest}{closer}"
            yield f"{opener}{first},{rest}{']' if closer == ')' else ')'}"
        else:
            second, last = rest.split(",", 1)
            yield f"{opener}{second},{first},{last}{closer}"
    if value := rational(answer):
        yield f"{value.denominator}/{value.numerator}" if abs(value) != 1 else "2"
        yield f"\\{{{answer}, {value + 1}\\}}"
        yield f"{answer} \\text{{ or }} {value + 1}"
        yield f"{answer}k"


async def judged(pairs: list[tuple[str, str]]) -> list[float | None]:
    items = [Item(reference=reference, completion=completion) for reference, completion in pairs]
    return [verdict.score for verdict in await score_all(configured("math"), items, seconds=300)]


async def test_each_gold_accepts_its_reformulations() -> None:
    golds = answers()
    pairs = []
    for gold in golds:
        spelled = [boxed(written) for written in dict.fromkeys(spellings(gold))]
        completions = list(dict.fromkeys([*wordings(gold), *spelled]))
        assert len(completions) >= FEWEST + 2, gold
        pairs += [(gold, completion) for completion in completions]
    scores = await judged(pairs)
    failures = [pair for pair, score in zip(pairs, scores, strict=True) if score != 1.0]
    assert len(pairs) > 5_000
    assert 1 - len(failures) / len(pairs) >= SHARE, failures
    print(f"\n{len(pairs)} reformulations, {len(failures)} refused: {failures}")  # noqa: T201


async def test_each_gold_refuses_its_neighbours() -> None:
    pairs = [(gold, boxed(other)) for gold in answers() for other in dict.fromkeys(neighbours(gold))]
    scores = await judged(pairs)
    failures = [pair for pair, score in zip(pairs, scores, strict=True) if score != 0.0]
    assert len(pairs) > 2_000
    assert 1 - len(failures) / len(pairs) >= SHARE, failures
    print(f"\n{len(pairs)} neighbours, {len(failures)} accepted: {failures}")  # noqa: T201

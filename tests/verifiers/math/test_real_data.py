"""Agreement with labels of real completions, and MATH-500's own answers in many forms."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

import pytest

from tests.conftest import DATA
from tests.verifiers.support import InProcessGuard, configured, score_all
from verifiers.base import Item, Verdict

pytestmark = pytest.mark.data


def rows(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / "math" / f"{name}.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


def workers_share(verdicts: list[Verdict]) -> float:
    """The share that needed a worker."""
    return sum(v.detail.get("stage") in ("numeric", "cas", "guard") for v in verdicts) / len(verdicts)


async def test_gsm8k_solutions() -> None:
    data = rows("gsm8k_solutions_labelled")
    items = [
        Item(completion=row["solution"], reference=row["ground_truth"].rsplit("A:", 1)[1].strip()) for row in data
    ]
    verdicts = await score_all(configured("math"), items)
    assert len(verdicts) == 5276
    assert all(verdict.score is not None for verdict in verdicts)
    agree = sum((v.score == 1.0) == row["is_correct"] for v, row in zip(verdicts, data, strict=True))
    assert agree >= 5275
    assert workers_share(verdicts) < 0.01


async def test_qwen_completions_of_math_problems() -> None:
    """The one disagreement is the label's fault: `10000` for the reference `10{,}000` is labelled wrong."""
    pairs = [
        (Item(completion=completion, reference=row["gt"]), label)
        for row in rows("math_qwen25_100x8_labelled")
        for completion, label in zip(row["completions"], row["correct"], strict=True)
    ]
    verdicts = await score_all(configured("math"), [item for item, _ in pairs])
    assert all(verdict.score is not None for verdict in verdicts)
    disagree = [(item, v) for (item, label), v in zip(pairs, verdicts, strict=True) if (v.score == 1.0) != label]
    assert [(item.reference, v.detail["answer"]) for item, v in disagree] == [("10{,}000", "10000")]
    assert workers_share(verdicts) < 0.01


async def test_math500_answers_accept_themselves_in_many_forms() -> None:
    items = [
        Item(completion=written, reference=row["answer"])
        for row in rows("math500")
        for written in reformulations(row["answer"])
    ]
    verdicts = await score_all(configured("math"), items)
    refused = [(item, v) for item, v in zip(items, verdicts, strict=True) if v.score != 1.0]
    assert len(items) > 5000
    assert not refused


async def test_math500_answers_reject_their_neighbours() -> None:
    items = [
        Item(completion=f"\\boxed{{{other}}}", reference=row["answer"])
        for row in rows("math500")
        for other in neighbours(row["answer"])
    ]
    verdicts = await score_all(configured("math"), items, InProcessGuard())
    accepted = [(item, v) for item, v in zip(items, verdicts, strict=True) if v.score != 0.0]
    assert len(items) > 1000
    assert not accepted


def reformulations(answer: str) -> list[str]:
    """Completions that give the same answer in other words, spacing and spelling."""
    spaced = re.sub(r"(?<!\\!) ", " \\\\, ", answer)
    unicode = answer.replace("-", "−").replace("\\infty", "∞").replace("\\cup", "∪").replace("^\\circ", "°")
    written = [
        answer,
        f"${answer}$",
        f"The answer is \\boxed{{ {answer} }}.",
        f"**Answer:** ${answer}$",
        f"The final answer is: ${answer}$.",
        f"<think>\\boxed{{17}}</think>\n\\[\n\\boxed{{{answer}}}\n\\]",
        f"So we get \\fbox{{$\\displaystyle {answer}$}}.",
        f"\\boxed{{{answer.replace('frac', 'dfrac').replace('ddfrac', 'dfrac')}}}",
        f"\\boxed{{{spaced}}}",
        f"\\boxed{{{unicode}}}",
    ]
    if fraction := re.fullmatch(r"(-?)\\d?frac\{(\d+)\}\{(\d+)\}", answer):
        sign, top, bottom = fraction[1], int(fraction[2]), int(fraction[3])
        written += [f"\\boxed{{{sign}{top}/{bottom}}}", f"\\boxed{{{sign}\\frac{{{3 * top}}}{{{3 * bottom}}}}}"]
        if 10**9 % bottom == 0:
            written.append(f"It is {sign}{top / bottom:.9f}.")
    if re.fullmatch(r"-?\d+", answer):
        written += [
            f"\\boxed{{{answer}.0}}",
            f"\\boxed{{{int(answer):,}}}",
            f"\\boxed{{x = {answer}}}",
            f"#### {answer}",
        ]
        written += [
            f"The answer is {answer}.",
            f"\\boxed{{{answer} \\text{{ units}}}}",
            f"\\boxed{{\\text{{{answer}}}}}",
        ]
    return written


def neighbours(answer: str) -> list[str]:
    """Other answers: another first or last digit, another sign, swapped coordinates, another end of the interval."""
    others = []
    digits = list(re.finditer(r"\d", answer))
    for digit in {d.start(): d for d in digits[:1] + digits[-1:]}.values():
        others.append(answer[: digit.start()] + str((int(digit.group()) + 1) % 10) + answer[digit.end() :])
    if answer.startswith("-"):
        others.append(answer[1:])
    elif re.fullmatch(r"\d+|\\d?frac.*|[\d.]+\D*|\\sqrt.*", answer) and answer != "0":
        others.append(f"-{answer}")
    if pair := re.fullmatch(r"\(([^,]+),([^,]+)\)", answer):
        others += [f"({pair[2]},{pair[1]})", f"[{pair[1]},{pair[2]})", f"({pair[1]},{pair[2]}]"]
    return others

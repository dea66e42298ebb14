"""The kind as a whole: configuration, outcomes, faults, order, details."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.verifiers.math.support import judged, judged_answer
from tests.verifiers.support import FaultyGuard, InProcessGuard, NoGuard, configured, score, score_all
from verifiers.base import Context, GuardFault, GuardLimits, GuardResult, Item
from verifiers.math import Math
from verifiers.math.config import MathConfig
from verifiers.math.gold import ANSWER_TYPES


@pytest.mark.parametrize(
    ("reference", "completion", "outcome"),
    [
        ("42", "The answer is 42.", "correct"),
        ("42", "**Answer: 42**", "correct"),
        ("42", "Final Answer: $42$", "correct"),
        ("1,234", "so\n#### 1234", "correct"),
        ("18", "so\nA: 18", "correct"),
        ("18", "The answer is $18 per day.", "correct"),
        ("42", "So she has 42 apples.", "correct"),
        ("42", "So 3+39 = 42", "correct"),
        ("\\frac12", "Thus, $x = 1/2$.", "correct"),
        ("3/4", "The answer is 3/4 of the cake.", "correct"),
        ("5", "The answer is 5, which is prime.", "correct"),
        ("5", "5 is the answer", "correct"),
        ("5", "Therefore, x = 5.", "correct"),
        ("5", "So, **x = 5**.", "correct"),
        ("3", "It takes a total of **3 bolts**.", "correct"),
        ("7", "The smallest such n is **n = 7**.", "correct"),
        ("3/4", "So the answer is 3/4 of a mile.", "correct"),
        ("1/2", "The probability is ½.", "correct"),
        ("5", "The answer is equal to 5.", "correct"),
        ("5", "The answer isn't 5.", "unparseable"),
        ("5", "The answer cannot be 5.", "incorrect"),
        ("5", "The answer can't be 5.", "incorrect"),
        ("60", "So the speed is 60 km/h.", "correct"),
        ("5", "The least value is $5$.", "correct"),
        ("5", "It is at least $5$.", "unparseable"),
        ("5", "\\boxed{\\text{Distance from A to B} = 5}", "correct"),
        ("20", "So Tom paid $20 in total.", "correct"),
        ("-3", "The temperature is -3 degrees.", "correct"),
        ("20", "The distance from A to B is $20$.", "correct"),
        ("5", "Hence $x=5$ and we are done.", "correct"),
        ("5", "The answer is not $5$.", "incorrect"),
        ("5", "It is not **5**", "unparseable"),
        ("8", "To find the answer: add 3 and 5.\nThe answer is 8.", "correct"),
        ("8", "The answer is obtained by adding 3 and 5. The answer is 8.", "correct"),
        ("C", "The answer is (C) 15.", "correct"),
        ("Evelyn", "The answer is Evelyn.", "correct"),
        ("\\text{Evelyn}", "The fastest runner is $\\text{Evelyn}$.", "correct"),
        ("x=5", "\\[\nx = 5\n\\]", "correct"),
        ("2", "\\boxed{\\text{The answer is } 2}", "correct"),
        ("12", "<think>\\boxed{13}</think> The answer is 12", "correct"),
        ("12", "hm \\boxed{13}</think>\\boxed{12}", "correct"),
        ("12", "<think>\\boxed{12}</think>", "unparseable"),
        ("12", "<think>\\boxed{12}", "unparseable"),
        ("12", "</think>12<think>", "unparseable"),
        ("12", "", "unparseable"),
        ("12", "\\boxed{12} wait \\boxed{1", "unparseable"),
        ("42", "I do not know.", "unparseable"),
        ("42", "I have 41, you have 42", "unparseable"),
        ("8", "The answer is 7. The answer is 8.", "rejected"),
        ("42", "The answer is 42 or 43.", "rejected"),
        ("5", "the answer is 3 or 4 or 5", "rejected"),
        ("4", "\\boxed{1,2,3} or \\boxed{4}", "rejected"),
        ("4", "\\boxed{3} \\boxed{4}", "rejected"),
        ("3,4", "\\boxed{3} or \\boxed{5}", "rejected"),
        ("12", "The answer is twelve", "incorrect"),
        ("7", "The answer is not 7.", "incorrect"),
        # several answers that are all right, or the items of a list
        ("4", "\\boxed{4} = \\boxed{4.0}", "correct"),
        ("\\sqrt2", "\\boxed{\\sqrt2} = \\boxed{2^{1/2}}", "correct"),
        ("3,4", "\\boxed{3} and \\boxed{4}", "correct"),
        ("\\{\\sqrt2,4\\}", "\\boxed{4} and \\boxed{2^{1/2}}", "correct"),
    ],
)
async def test_outcomes(reference: str, completion: str, outcome: str) -> None:
    verdict = await judged(reference, completion)
    assert verdict.outcome == outcome, verdict
    assert verdict.score == float(outcome == "correct")


async def test_thinking_that_the_prompt_opens() -> None:
    assert (await judged("12", "\\boxed{12}", prompt="Q?\n<think>\n")).outcome == "unparseable"
    assert (await judged("12", "hm</think>\\boxed{12}", prompt="Q?\n<think>\n")).outcome == "correct"


@pytest.mark.parametrize(
    ("config", "reference", "completion", "passes"),
    [
        ({"answer": "boxed"}, "5", "\\boxed{5}", True),
        ({"answer": "boxed"}, "5", "The answer is 5.", False),
        ({"answer": "whole"}, "x+1", "1 + x", True),
        ({"answer": "whole"}, "5", "<think>6</think>5", True),
        ({"answer": "whole"}, "5", "It is 4. The answer is 5.", False),
        ({"several": "last"}, "4", "\\boxed{3} so \\boxed{4}", True),
        ({"several": "last"}, "3", "\\boxed{3} so \\boxed{4}", False),
        ({"tolerance": 0.01}, "100", "\\boxed{101}", True),
        ({"tolerance": 0.01}, "100", "\\boxed{102}", False),
        ({"tolerance": 0.01}, "0.00001", "\\boxed{0.00002}", False),
        ({"tolerance": 0.01}, "0", "\\boxed{0.000001}", False),
        ({"tolerance": 0.01}, "\\pi", "\\boxed{3.14}", True),
        ({"tolerance": 0.01}, "(100, \\pi)", "\\boxed{(100.5, 3.14)}", True),
        ({"percent": "value"}, "0.09", "\\boxed{9\\%}", True),
        ({"percent": "value"}, "9", "\\boxed{9\\%}", False),
        ({"percent": "value"}, "\\frac{\\pi}{100}", "\\boxed{\\pi\\%}", True),
        ({"units": "ignore"}, "100 \\text{ km}", "\\boxed{100 \\text{ cm}}", True),
        ({"units": "match"}, "100 \\text{ km}", "\\boxed{100 \\text{ kilometres}}", True),
    ],
)
async def test_every_option(config: dict[str, Any], reference: str, completion: str, passes: bool) -> None:
    verdict = await judged(reference, completion, **config)
    assert verdict.score == float(passes), verdict


@pytest.mark.parametrize(
    "config",
    [
        {"answer": "first"},
        {"several": "any"},
        {"tolerance": -1},
        {"tolerance": 1},
        {"tolerance": float("nan")},
        {"x": 1},
    ],
)
def test_a_configuration_that_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MathConfig.model_validate(config)


@pytest.mark.parametrize(
    ("reference", "answer", "outcome", "stage", "reason"),
    [
        ("42", "42", "correct", "string", None),
        ("\\frac{1}{2}", "\\dfrac{1}{2}", "correct", "string", None),
        ("1/2", "0.5", "correct", "rational", None),
        ("42", "41", "incorrect", "rational", None),
        ("(1,2)", "1", "incorrect", "form", None),
        ("1", "1,2", "rejected", "form", "a list of guesses"),
        ("5 \\text{ m}", "5 \\text{ cm}", "incorrect", "form", "different units"),
        ("\\frac13", "\\int_0^1 x^2 dx", "rejected", "form", "not evaluated"),
        ("\\sqrt2", "2^{1/2}", "correct", "algebraic", None),
        ("\\sqrt2", "\\sqrt3", "incorrect", "algebraic", None),
        ("\\ln 4", "\\ln 5", "incorrect", "interval", None),
        ("\\ln 4", "2\\ln 2", "correct", "numeric", None),
        ("\\ln 4", "2\\ln 2+10^{-30}", "incorrect", "numeric", None),
        ("5", "\\frac{2}{0}", "incorrect", "form", None),
        ("5", "\\operatorname{f}(5)", "incorrect", "form", "not a readable expression"),
        ("\\int_0^1 x\\,dx", "\\frac12", "correct", "cas", None),
        ("5", "9^{9^{9^9}}", "rejected", "cost_guard", "an exponent is too large"),
    ],
)
async def test_stages(reference: str, answer: str, outcome: str, stage: str, reason: str | None) -> None:
    verdict = await judged_answer(reference, answer)
    assert (verdict.outcome, verdict.detail["stage"], verdict.detail.get("reason")) == (outcome, stage, reason)


async def test_detail_has_the_answer_its_span_and_both_normal_forms() -> None:
    completion = "<think>x</think>Hence \\boxed{ \\dfrac{1}{2} }."
    verdict = await judged("\\frac12", completion)
    assert verdict.detail == {"stage": "rational", "answer": "\\dfrac{1}{2}", "gold": "\\frac12"}
    start, end = verdict.full["span"]
    assert completion[start:end] == "\\dfrac{1}{2}"
    assert verdict.full["answer_normal"] == "\\frac{1}{2}"
    assert verdict.full["gold_normal"] == "\\frac12"


async def test_quoted_text_is_cut() -> None:
    verdict = await judged_answer("7", "1" * 40_000)
    assert len(verdict.detail["answer"]) == 200
    assert len(verdict.full["answer_normal"]) == 1000


@pytest.mark.parametrize(
    ("fault", "outcome", "scored"),
    [
        (GuardFault.WALL, "unscored", None),
        (GuardFault.DEADLINE, "unscored", None),
        (GuardFault.UNAVAILABLE, "unscored", None),
        (GuardFault.RAISED, "unscored", None),
        (GuardFault.CPU, "unscored", None),  # the reference breaks the limit by itself
    ],
)
async def test_faults_of_ours_have_no_score(fault: GuardFault, outcome: str, scored: float | None) -> None:
    verdict = await score("math", guard=FaultyGuard(fault), reference="\\ln 4", completion="\\boxed{2\\ln 2}")
    assert (verdict.outcome, verdict.score) == (outcome, scored)


class AnswerBreaks(InProcessGuard):
    """A worker that only a reference compared with itself survives."""

    def __init__(self, fault: GuardFault) -> None:
        super().__init__()
        self.fault = fault

    async def run(
        self, function: str, payloads: Sequence[Any], *, limits: GuardLimits, deadline: float
    ) -> list[GuardResult]:
        results = await super().run(function, payloads, limits=limits, deadline=deadline)
        return [
            result
            if all(gold == answer for _, gold, answer in payload["questions"])
            else GuardResult(fault=self.fault)
            for payload, result in zip(payloads, results, strict=True)
        ]


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [(GuardFault.CPU, "timeout"), (GuardFault.MEMORY, "memory_exceeded"), (GuardFault.CRASHED, "crashed")],
)
async def test_faults_of_the_candidate_score_nothing(fault: GuardFault, outcome: str) -> None:
    guard = AnswerBreaks(fault)
    items = [Item(reference="\\ln 4", completion=f"\\boxed{{{x}}}") for x in ("2\\ln 2", "\\ln 4", "1")]
    broken, same, _ = await score_all(configured("math"), items, guard)
    assert (broken.outcome, broken.score) == (outcome, 0.0)
    assert same.score == 1.0


async def test_equal_questions_are_asked_once_and_neighbours_share_a_reference() -> None:
    guard = InProcessGuard()
    pairs = [
        ("\\ln 4", "2\\ln 2"),
        ("\\ln 9", "2\\ln 3"),
        ("\\ln 4", "\\ln(2\\cdot 2)"),
        ("\\ln 4", "2\\ln 2"),
    ]
    items = [Item(reference=reference, completion=f"\\boxed{{{answer}}}") for reference, answer in pairs]
    verdicts = await score_all(configured("math"), items, guard)
    assert [v.score for v in verdicts] == [1.0, 1.0, 1.0, 1.0]
    golds = [payload["questions"][0][1] for payload in guard.payloads]
    assert len(golds) == 3
    assert golds == sorted(golds)


async def test_most_pairs_of_numbers_need_no_worker() -> None:
    for answer in ("1/2", "\\frac{3}{6}", "0.50", "50 \\cdot 10^{-2}", "7", "(1,2)", "\\text{half}"):
        await score("math", guard=NoGuard(), reference="\\frac12", completion=f"\\boxed{{{answer}}}")


async def test_past_the_deadline_nothing_is_scored() -> None:
    items = [Item(reference="1", completion="\\boxed{1}")] * 3
    verdicts = await configured("math").verify(items, Context(time.monotonic() - 1, NoGuard()))
    assert [v.error.type if v.error else None for v in verdicts] == ["deadline_exceeded"] * 3


async def test_too_many_pairs_are_refused() -> None:
    gammas = ", ".join(f"(1/2+{n})!" for n in range(2, 34))
    verdict = await judged_answer(gammas, gammas.replace("(1", "1\\cdot(1"))
    assert (verdict.outcome, verdict.detail["stage"]) == ("rejected", "cost_guard")


async def test_the_loop_is_given_way_to() -> None:
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(tick())
    items = [Item(reference="\\frac12", completion=f"\\boxed{{{'1+' * 40}1}}")] * 200
    await score_all(configured("math"), items, NoGuard())
    other.cancel()
    assert turns > 5


ANSWERS = st.sampled_from(
    ["1", "0.5", "\\sqrt2", "(1,2)", "\\boxed{2}", "9^{9^9}", "\\int x dx", "x", "", "1 or 2", "\x00\ud800"]
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(ANSWERS, ANSWERS), max_size=12), st.randoms())
async def test_order_changes_no_verdict(pairs: list[tuple[str, str]], random: Any) -> None:
    items = [Item(reference=reference, completion=f"\\boxed{{{answer}}}") for reference, answer in pairs]
    order = list(range(len(items)))
    random.shuffle(order)
    straight = await score_all(configured("math"), items)
    assert await score_all(configured("math"), [items[i] for i in order]) == [straight[i] for i in order]


def test_the_docstring_explains_every_answer_type_stage_and_policy() -> None:
    page = Math.__doc__ or ""
    for name in ANSWER_TYPES:
        assert re.search(rf"^ *\| `{name}` \|", page, re.MULTILINE), name
    for stage in (
        "extract", "string", "rational", "algebraic", "interval", "form", "numeric", "cas", "cost_guard", "guard",
    ):  # fmt: skip
        assert re.search(rf"^ *\| `{stage}` \|", page, re.MULTILINE), stage

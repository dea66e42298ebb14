"""Hostile completions against real guarded workers: an outcome for each, and no harm to the next one."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from app.guarded.pool import GuardedPool
from tests.verifiers.support import configured
from verifiers.base import Context, Item
from verifiers.math import Math

ONES = "1" * 40_000
HOSTILE = [
    ("5", "\\boxed{(10^{10})!}", "rejected"),
    ("5", "\\boxed{\\binom{10^9}{5\\cdot10^8}}", "rejected"),
    ("5", "\\boxed{9^{9^{9^9}}}", "rejected"),
    ("5", "\\boxed{9^9^9^9}", "rejected"),
    ("5", "\\boxed{1e999999999}", "rejected"),
    ("\\pi", "\\boxed{" + ONES + "}", "rejected"),
    ("5", "\\boxed{" + ONES + "}", "incorrect"),
    (ONES, "\\boxed{" + ONES + "}", "correct"),
    (ONES, "\\boxed{" + ONES[1:] + "}", "incorrect"),
    ("5", "\\boxed{" + "{" * 10_000 + "5" + "}" * 10_000 + "}", "unparseable"),
    ("5", "\\boxed{" + "{" * 400 + "5" + "}" * 400 + "}", "rejected"),
    ("5", "\\boxed{" + "(" * 400 + "5" + ")" * 400 + "}", "rejected"),
    ("5", "\\boxed{" * (32 * 2**20 // 7), "unparseable"),
    ("5", "\\boxed{5}" * 2**20, "correct"),
    ("5", "The answer is " * 2**20, "rejected"),
    ("5", "\\boxed{" + "1," * 10_000 + "}", "rejected"),
    ("\\pi", "\\boxed{" + "\\sin(" * 7 + "x" + ")" * 7 + "}", "incorrect"),
    ("\\pi", "\\boxed{e^{e^{e^{e^{9}}}}}", "rejected"),
    ("\\sum_{k=1}^{n} k", "\\boxed{\\sum_{k=1}^{n} \\frac{k^{99}}{k^{55}+1}}", "timeout"),
    ("\\int_0^1 x\\,dx", "\\boxed{\\operatorname{zeros}(99999,99999)}", "incorrect"),
    ("\\int_0^1 x\\,dx", "\\boxed{\\operatorname{eye}(9999999)}", None),
    ("\\sum_{k=1}^{n} k", "\\boxed{\\lfloor 10^{300}\\pi \\rfloor}", "incorrect"),
    ("5", "\\boxed{" + "½" * 990 + "}", "rejected"),
    ("\\frac{3^{999}x}{7}=y", "\\boxed{\\frac{3^{1900}x}{7}=\\frac{3^{1900}y}{7}}", "incorrect"),
    ("5", "<answer>" * 2**20, "unparseable"),
    ("5", "<answer>5</answer>" * 2**18, "correct"),
    ("5", "\\boxed{5}" + "</s>" * 2**14, "correct"),
    ("5", "5" + "</s>" * 10, "correct"),
    ("(2,\\infty)", "\\boxed{" + "\\{x|" * 8 + "x>2" + "\\}" * 8 + "}", "incorrect"),
    ("(2,\\infty)", "\\boxed{" + "\\{x|" * 200 + "}", "rejected"),
    ("5", "\\boxed{" + "1" * 900 + "_{8}}", "incorrect"),
    ("\\ln x", "\\boxed{\\binom{x^9}{x^8}}", "incorrect"),
    ("\\ln x", "\\boxed{\\ln x" + "+x/7" * 230 + "}", "incorrect"),
    ("\\ln x", "\\boxed{x^{x^{x^x}}}", "incorrect"),
    ("5", "\x00\ud800\\boxed{5}\udfff", "correct"),
    ("5", "\\boxed{5\ud800}", "incorrect"),
    ("5", "\\boxed{\x00}", "incorrect"),
]


@pytest.fixture
async def pool() -> AsyncIterator[GuardedPool]:
    """One worker, so that whatever it suffers the next item would feel."""
    pool = GuardedPool(1, Math.guarded)
    await pool.start()
    yield pool
    await pool.close()


async def test_every_hostile_completion_has_an_outcome_and_harms_no_other(pool: GuardedPool) -> None:
    known = Item(reference="\\frac{\\sqrt2}{2}", completion="\\boxed{\\frac{1}{\\sqrt2}}")
    items = []
    for reference, completion, _ in HOSTILE:
        items += [Item(reference=reference, completion=completion), known]
    verdicts = await configured("math").verify(items, Context(time.monotonic() + 120, pool))
    for (reference, completion, expected), verdict in zip(HOSTILE, verdicts[::2], strict=True):
        assert verdict.score is not None, (reference, completion[:60], verdict)
        assert expected is None or verdict.outcome == expected, (reference, completion[:60], verdict)
        assert verdict.score == float(verdict.outcome == "correct")
    assert all(verdict.score == 1.0 for verdict in verdicts[1::2])


async def test_a_reference_that_takes_for_ever_is_the_callers_fault(pool: GuardedPool) -> None:
    item = Item(reference="\\sum_{k=1}^{n} \\frac{k^{99}}{k^{55}+1}", completion="\\boxed{n}")
    [verdict] = await configured("math").verify([item], Context(time.monotonic() + 60, pool))
    assert verdict.error is not None
    assert verdict.error.type == "bad_item"


async def test_at_the_deadline_what_is_unfinished_is_unscored(pool: GuardedPool) -> None:
    slow = Item(reference="\\sum_{k=1}^{n} k", completion="\\boxed{\\sum_{k=1}^{n} \\frac{k^{99}}{k^{55}+1}}")
    quick = Item(reference="5", completion="\\boxed{5}")
    first, second = await configured("math").verify([slow, quick], Context(time.monotonic() + 0.5, pool))
    assert first.error is not None
    assert first.error.type == "deadline_exceeded"
    assert second.score == 1.0

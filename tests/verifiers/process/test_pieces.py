"""Steps as another verifier reads them: with something in each, and no half of a thinking part."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifiers.judge.scripted import Scripted, code, judge, prompt
from tests.verifiers.served import judged_by
from verifiers.base import Context, Item, Message, Verdict
from verifiers.chat import ChatRequest
from verifiers.judge.emptiness import says_nothing
from verifiers.process.pieces import piece, usage_of, with_content

RESPONSE = re.compile(r"<<<RESPONSE [0-9a-f]{8}\n(.*?)\nRESPONSE [0-9a-f]{8}>>>", re.DOTALL)


class OfJudge:
    """A judge of single steps that accepts every one; keeps what it was shown."""

    sandboxed = False

    def __init__(self) -> None:
        self.shown: list[str] = []
        self._judge = judge(mode="principles", principles=["It is right."], output="marker")

    def _accepts(self, request: ChatRequest) -> str:
        found = RESPONSE.search(prompt(request))
        assert found is not None
        self.shown.append(found[1])
        return f"VERDICT-{code(request)}-c1: yes"

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        return await self._judge.verify(items, Context(ctx.deadline, ctx.guard, backends=Scripted(self._accepts)))


async def judged(config: dict[str, Any], item: Item) -> tuple[Verdict, list[str]]:
    """The verdict, and the steps that the judge was shown."""
    of_judge: Any = OfJudge()
    named = {"step-judge@1": of_judge}
    [verdict] = await judged_by(None, "process", {"scorer": "step-judge@1", **config}, [item], named=named)
    return verdict, of_judge.shown


async def test_a_heading_is_no_step_that_a_judge_rejects() -> None:
    text = "**Solution:**\n\nLet's solve this step by step.\n\n6 * 7 = 42\n\nAnswer:\n\nIt is 42.\n\n---"
    item = Item(prompt="6*7?", completion=text)
    verdict, shown = await judged({}, item)
    assert verdict.score == 1.0
    assert [text[step.start : step.end] for step in verdict.steps or ()] == [
        "**Solution:**\n\nLet's solve this step by step.\n\n6 * 7 = 42",
        "Answer:\n\nIt is 42.\n\n---",
    ]
    assert len(shown) == 2
    assert verdict.detail["usage"] == {"calls": 2, "prompt_tokens": 200, "completion_tokens": 20, "cost": 1.0}
    verdict, shown = await judged({}, Item(prompt="6*7?", completion="Solution:\n\nAnswer:"))
    assert (verdict.score, shown) == (0.0, []), "what says nothing at all never reaches the judge"


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize("shows", ["step", "prefix"])
async def test_steps_of_a_thinking_part_are_read(opened: bool, shows: str) -> None:
    thought = "It is 6 times 7.\n\nSo 42.</think>\n\nIt is 42."
    item = Item(prompt="6*7?\n<think>\n", completion=thought)
    if not opened:
        item = Item(prompt="6*7?", completion=f"<think>{thought}")
    verdict, shown = await judged({"shows": shows}, item)
    assert verdict.score == 1.0
    assert len(verdict.steps or ()) == len(shown) == 3
    assert "think" not in "".join(shown)


async def test_the_final_section_is_read_where_the_prompt_opened_the_thinking() -> None:
    messages = [Message(role="user", content="6*7?"), Message(role="assistant", content="<think>")]
    item = Item(prompt=messages, completion="Hm.</think>6 * 7 = 42\n\nIt is 42.")
    verdict, shown = await judged({"section": "final"}, item)
    assert (verdict.score, shown) == (1.0, ["6 * 7 = 42", "It is 42."])


def test_a_prompt_that_opens_nothing_stays_as_it_is() -> None:
    messages = [Message(role="user", content="What is <think> for?")]
    for asked in (None, "", "What is <think> for?", messages, []):
        item = Item(prompt=asked, completion="x")
        assert piece(item, "x", None).prompt == item.prompt


@given(st.lists(st.sampled_from(["Solution:", "x = 1", ":", "42", "**"]), min_size=1, max_size=8))
def test_steps_stay_in_order_and_lose_nothing(parts: list[str]) -> None:
    text = "\n\n".join(parts)
    steps = [(found.start(), found.end()) for found in re.finditer(r"[^\n]+", text)]
    merged = with_content(text, steps)
    assert (merged[0][0], merged[-1][1]) == (0, len(text))
    assert all(one[1] <= other[0] for one, other in pairwise(merged))
    assert {start for start, _ in merged} <= {start for start, _ in steps}
    assert {end for _, end in merged} <= {end for _, end in steps}
    if len(merged) > 1:
        assert not any(says_nothing(text[start:end]) for start, end in merged)
    assert len(merged) == max(1, sum(not says_nothing(part) for part in parts))


def test_no_steps_are_none() -> None:
    assert with_content("", []) == []
    assert usage_of([]) == {}

"""Real programs with known verdicts: HumanEval, completions of it by a real model, and MBPP."""

from __future__ import annotations

import gzip
import json
import re
from functools import cache
from typing import Any

import pytest

from sandbox.base import Sandbox
from tests.conftest import DATA
from tests.verifiers.support import configured, score_all
from verifiers.base import Item, Verdict

pytestmark = pytest.mark.data

Row = dict[str, Any]


@cache
def rows(name: str) -> list[Row]:
    with gzip.open(DATA / "code" / f"{name}.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def reference(problem: Row) -> Row:
    return {"type": "script", "entry_point": problem["entry_point"], "code": problem["test"]}


async def judged(sandbox: Sandbox, items: list[Item], **config: Any) -> list[Verdict]:
    return await score_all(configured("code", config), items, sandbox=sandbox, seconds=600)


async def test_every_reference_solution_of_humaneval_passes(sandbox: Sandbox) -> None:
    problems = rows("humaneval")
    continued = [
        Item(prompt=each["prompt"], completion=each["canonical_solution"], reference=reference(each))
        for each in problems
    ]
    chat = [
        Item(
            prompt=f"Complete this function.\n\n```python\n{each['prompt']}```",
            completion=f"Here it is.\n\n```python\n{each['prompt']}{each['canonical_solution']}```\nIt is linear.",
            reference=reference(each),
        )
        for each in problems
    ]
    for verdicts in (await judged(sandbox, continued, prefix="prompt"), await judged(sandbox, chat)):
        failed = {each["task_id"]: v for each, v in zip(problems, verdicts, strict=True) if v.score != 1.0}
        assert failed == {}
        assert len(verdicts) == 164


async def test_labelled_completions_of_humaneval(sandbox: Sandbox) -> None:
    problems = {each["task_id"]: each for each in rows("humaneval")}
    labelled = rows("humaneval_codegen16b_labelled")
    items = [
        Item(
            prompt=problems[each["task_id"]]["prompt"],
            completion=each["completion"],
            reference=reference(problems[each["task_id"]]),
        )
        for each in labelled
    ]
    verdicts = await judged(sandbox, items, prefix="prompt", limits={"cpu_s": 2.0})
    assert len(verdicts) == 984
    disagree = [
        (each["task_id"], each["base_tests"], verdict)
        for each, verdict in zip(labelled, verdicts, strict=True)
        if verdict.score != (each["base_tests"] == "passed")
    ]
    assert disagree == []
    timeouts = [
        verdict.outcome == "timeout"
        for each, verdict in zip(labelled, verdicts, strict=True)
        if each["base_tests"] == "timeout"
    ]
    assert all(timeouts)


async def test_every_reference_solution_of_mbpp_passes(sandbox: Sandbox) -> None:
    problems = rows("mbpp")
    # one adds up the divisors of every number below 9,999: five seconds on a slow processor
    verdicts = await judged(sandbox, [mbpp_item(each) for each in problems], limits={"cpu_s": 20.0})
    failed = {
        each["task_id"]: verdict for each, verdict in zip(problems, verdicts, strict=True) if verdict.score != 1.0
    }
    assert failed == {}
    assert len(verdicts) == 974


def mbpp_item(problem: Row) -> Item:
    """Its asserts, with the function that all of them name as entry point: one is called `sum`."""
    names = re.findall(r"^def\s+(\w+)", problem["code"], re.MULTILINE)
    common = [name for name in names if all(re.search(rf"\b{name}\b", test) for test in problem["test_list"])]
    tests = {"type": "asserts", "asserts": problem["test_list"], "setup": problem["test_setup_code"]}
    if common:
        tests["entry_point"] = common[-1]
    return Item(prompt=problem["text"], completion=problem["code"], reference=tests)


async def test_solutions_of_other_problems_do_not_pass(sandbox: Sandbox) -> None:
    """Each problem of MBPP answered with the solution of the next, under the right name."""
    problems = rows("mbpp")[:200]
    items = []
    for each, other in zip(problems, problems[1:] + problems[:1], strict=True):
        item, wrong = mbpp_item(each), mbpp_item(other)
        name, given = item.reference.get("entry_point"), wrong.reference.get("entry_point")
        if name and given and name != given:
            items.append(item.model_copy(update={"completion": re.sub(rf"\b{given}\b", name, other["code"])}))
    verdicts = await judged(sandbox, items, limits={"cpu_s": 1.0})
    passed = [item.text[:200] for item, verdict in zip(items, verdicts, strict=True) if verdict.score != 0.0]
    assert passed == []
    assert len(items) > 150

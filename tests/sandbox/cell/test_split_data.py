"""The split on real data: reference solutions pass their tests, and real completions get their known verdicts."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import DATA
from tests.sandbox.cell.split_driver import Driver, rows

pytestmark = [
    pytest.mark.data,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # escapes in the programs that are parsed here
    pytest.mark.filterwarnings("ignore::SyntaxWarning"),
]

CODE = DATA / "code"


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    running = Driver()
    yield running
    running.close()


def prelude(prompt: str, entry_point: str) -> str:
    """Imports and helpers of a prompt that ends within the entry point."""
    tree = ast.parse(prompt + "\n    pass\n")
    tree.body = [node for node in tree.body if getattr(node, "name", "") != entry_point]
    return ast.unparse(tree)


def check(problem: dict[str, Any]) -> dict[str, Any]:
    return {
        "tests": ["check(candidate)"],
        "setup": problem["test"],
        "prelude": prelude(problem["prompt"], problem["entry_point"]),
        "names": [problem["entry_point"]],
        "aliases": {"candidate": problem["entry_point"]},
    }


def test_humaneval_solutions_pass(driver: Driver) -> None:
    cpu = []
    for problem in rows(CODE / "humaneval.jsonl.gz"):
        result = driver.run(problem["prompt"] + problem["canonical_solution"], **check(problem))
        assert result.passed, (problem["task_id"], result.reports)
        cpu.append(result.cpu_s)
    assert sorted(cpu)[len(cpu) // 2] < 0.01, "the oracle of a typical problem takes a few milliseconds"


def defined(code: str) -> set[str]:
    return {node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)}


def called(test: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("field", ["test_list", "challenge_test_list"])
def test_mbpp_solutions_pass(driver: Driver, field: str) -> None:
    failures = []
    for problem in rows(CODE / "mbpp.jsonl.gz"):
        if not problem[field]:
            continue
        names = defined(problem["code"]) & called(problem[field][0])
        result = driver.run(
            problem["code"],
            problem[field],
            setup=problem["test_setup_code"],
            names=sorted(names),
            wall_s=60,
            cpu_s=20,
        )
        if not result.passed:
            failures.append((problem["task_id"], result.reports))
    assert not failures


DISAGREEMENTS: dict[tuple[str, int], str] = {}
"""Completions whose label differs from our verdict, by task and number within the file, with the reason."""


def test_real_completions_get_their_verdicts(driver: Driver) -> None:
    problems = {problem["task_id"]: problem for problem in rows(CODE / "humaneval.jsonl.gz")}
    different = {}
    for index, row in enumerate(rows(CODE / "humaneval_codegen16b_labelled.jsonl.gz")):
        problem = problems[row["task_id"]]
        result = driver.run(problem["prompt"] + row["completion"], **check(problem), wall_s=4, cpu_s=1, memory_mb=512)
        assert not {"unsplittable", "broken_test", "protocol"} & set(result.statuses), (row, result.reports)
        if result.passed != (row["base_tests"] == "passed"):
            different[row["task_id"], index] = (row["base_tests"], row["base_error"], result.reports)
    assert set(different) <= set(DISAGREEMENTS), different

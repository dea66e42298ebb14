"""Python graders in every sandbox that works here."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from sandbox.base import Sandbox
from tests.verifiers.grader.support import check, context, grade, multi
from tests.verifiers.support import Parts, assert_sound, configured
from verifiers.base import ConfigError, Context, ErrorType, Item, Verdict
from verifiers.grader.config import MAX_SOURCE, GraderConfig


def python(source: str) -> dict[str, Any]:
    return {"type": "python", "name": "p", "source": source, "image_tag": "2025-05-08"}


async def run(
    sandbox: Sandbox | None, grader: dict[str, Any], *completions: Any, reference: Any = None
) -> list[Verdict]:
    ctx = Context(time.monotonic() + 60, context().guard, sandbox)
    items = [Item(completion=completion, reference=reference) for completion in completions]
    found = await configured("grader", {"grader": grader}).verify(items, replace(ctx, score=Parts(ctx)))
    for verdict in found:
        assert_sound(verdict)
    return found


async def test_a_function_sees_the_sample_and_the_item(sandbox: Sandbox) -> None:
    source = """
def grade(sample, item) -> float:
    assert sorted(sample) == ["choices", "output_json", "output_text", "output_tools"]
    assert sample["choices"][0]["message"]["content"] == sample["output_text"]
    parsed = sample["output_json"]
    return parsed["x"] / item["n"] if isinstance(parsed, dict) else float(sample["output_text"] == item["answer"])
"""
    found = await run(sandbox, python(source), '{"x": 3}', "Paris", "Rome", reference={"n": 4, "answer": "Paris"})
    assert [(verdict.score, str(verdict.outcome)) for verdict in found] == [
        (0.75, "partial"), (1.0, "correct"), (0.0, "incorrect"),
    ]  # fmt: skip


async def test_a_function_sees_the_calls_of_tools(sandbox: Sandbox) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    source = (
        "def grade(sample, item):\n    return float(sample['output_tools'][0]['function']['name'] == item['name'])"
    )
    [verdict] = await run(sandbox, python(source), [message], reference={"name": "add"})
    assert verdict.score == 1.0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def grade(sample, item):\n    return item['none']", "grade raised KeyError: 'none' (line 2)"),
        ("def grade(sample, item):\n    return 'high'", "grade gave a value of type str, not a number"),
        ("def grade(sample, item):\n    return None", "grade gave nothing (None), not a number"),
        ("def grade(sample, item):\n    return float('nan')", "grade gave a number that is not finite"),
        ("def grade(sample):\n    return 1", "grade raised TypeError: grade() takes 1 positional argument but 2"),
        ("import nothing_of_that_name\ndef grade(sample, item):\n    return 1", "the code cannot be loaded"),
        ("grade = 1", "grade raised TypeError"),
    ],
)
async def test_a_fault_of_the_function_is_no_score(sandbox: Sandbox, source: str, message: str) -> None:
    [verdict] = await run(sandbox, python(source), "x", reference={})
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.retryable) == (ErrorType.VERIFIER_FAULT, False)
    assert message in verdict.error.message
    assert verdict.detail == {"stage": "python", "fault": "python_grader_runtime_error"}


async def test_without_a_sandbox_there_is_no_score() -> None:
    [verdict] = await run(None, python("def grade(sample, item):\n    return 1"), "x")
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.SANDBOX_UNAVAILABLE
    assert verdict.detail["fault"] == "python_grader_server_error"


async def test_a_function_in_a_formula(sandbox: Sandbox) -> None:
    grader = multi("0.5 * code + 0.5 * exact", code=python("def grade(sample, item):\n    return 0.5"), exact=check())
    [verdict] = await run(sandbox, grader, "a", reference={"answer": "a"})
    assert (verdict.score, verdict.components) == (0.75, {"code": 0.5, "exact": 1.0})


async def test_what_a_sample_holds_never_runs(sandbox: Sandbox) -> None:
    source = "def grade(sample, item):\n    return float(sample['output_text'] == item['answer'])"
    attack = '{{item.answer}}\');import os;os._exit(0)#\n"""\x00'
    found = await run(sandbox, python(source), attack, "a", reference={"answer": "a"})
    assert [verdict.score for verdict in found] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def grade(sample, item:\n    pass", "code is not Python: line 1"),
        ("def score(sample, item):\n    return 1", "source defines no function grade(sample, item)"),
        ("", "source defines no function grade(sample, item)"),
        ("x = 1 \\", "code is not Python"),
        ("'''", "code is not Python"),
        ("def grade(s, i): return 1\x00", "code is not Python"),
    ],
)
def test_what_is_no_grader_is_refused(source: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured("grader", {"grader": python(source)})
    assert message in str(caught.value)
    assert caught.value.pointer == "/grader/source"


def test_the_longest_source_is_taken() -> None:
    source = "def grade(sample, item):\n    return 1\n"
    configured("grader", {"grader": python(source + "#" * (MAX_SOURCE - len(source)))})
    with pytest.raises(ValueError, match="at most"):
        configured("grader", {"grader": python(source + "#" * (MAX_SOURCE + 1 - len(source)))})


def test_a_grader_may_be_imported_or_assigned() -> None:
    for source in (
        "from math import sqrt as grade",
        r"def grade(s, i): return '\d'",
        "grade = lambda s, i: 1",
        "if True:\n    def grade(s, i): return 1",
    ):
        configured("grader", {"grader": python(source)})


async def test_packages_that_the_source_imports_are_asked_for() -> None:
    offers = SimpleNamespace(packages={"numpy": "2", "scikit-learn": "1", "pandas": "2", "ast-grep-py": "1"})
    asked: list[Any] = []

    class Noting:
        async def cost(self, verifier: Any) -> Any:
            raise AssertionError(verifier)

        async def __call__(self, verifier: Any, items: Any) -> list[Verdict]:
            asked.append(verifier.config["packages"])
            return [Verdict.binary(True, "python")] * len(items)

    source = (
        "import numpy.linalg, os\nfrom sklearn.svm import SVC\nimport ast_grep_py\ndef grade(s, i):\n    return 1"
    )
    ctx = replace(context(), score=Noting(), sandbox=offers)
    verifier = configured("grader", {"grader": python(source)})
    assert [verdict.score for verdict in await verifier.verify([Item(completion="x")], ctx)] == [1.0]
    assert asked == [["ast-grep-py", "numpy", "scikit-learn"]]


def test_a_grader_needs_the_kind_python() -> None:
    grader = multi("a + b", a=python("def grade(s, i): return 1"), b=check())
    [(place, part)] = GraderConfig.model_validate({"grader": grader}).needs().verifiers.items()
    assert (place, getattr(part, "kind", None)) == ("/grader/graders/a/source", "python")


async def test_grade_is_called_without_a_network_or_files_of_ours(sandbox: Sandbox) -> None:
    source = """
import socket

def grade(sample, item):
    try:
        socket.create_connection(("127.0.0.1", 5432), timeout=1)
    except OSError:
        return 0.5
    return 1
"""
    [verdict] = await run(sandbox, python(source), "x")
    assert verdict.score == 0.5
    assert (await grade(check(), "a", {"answer": "a"})).score == 1.0

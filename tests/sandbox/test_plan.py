"""What a cell is told of a job, and what is refused before a cell hears of it."""

from __future__ import annotations

import json
import mmap
from typing import Any

import pytest

from sandbox.base import Calls, Job, Limits, NotOfferedError, Program, Split, Stdio
from sandbox.cell import wire
from sandbox.languages import LANGUAGES
from sandbox.plan import Plan, make_plan

SECRET = "assert f(1) == 918273"


def blobs(part: bytes) -> list[bytes]:
    with mmap.mmap(-1, max(len(part), 1)) as memory:
        memory[: len(part)] = part
        found = wire.Part(memory)
        return [found[index] for index in range(len(found))]


def parsed(frame: bytes) -> tuple[tuple[int, ...], dict[str, Any], bytes, bytes]:
    head = wire.HEADER.unpack_from(frame)
    start = wire.HEADER.size
    plan = json.loads(frame[start : start + head[2]])
    start += head[2]
    return head, plan, frame[start : start + head[3]], frame[start + head[3] :]


def test_a_program_on_inputs() -> None:
    program = Program(b"source\0\xff", files={"a": b"1", "b/c": b""})
    plan = make_plan(Job(program, Stdio([b"in", b""], ["out"]), Limits(memory_mb=77)))
    head, told, part, tests = parsed(plan.frame(5, 1))
    assert head[:2] == (wire.JOB, 5)
    assert (told["mode"], told["count"], told["first"], told["files"], told["fetch"]) == ("stdio", 2, 1, 2, ["out"])
    assert told["limits"]["memory_mb"] == 77
    assert (told["compile"], told["run"], told["compile_limits"]) == (None, None, None)
    assert blobs(part) == [b"source\0\xff", b'["a", "b/c"]', b"1", b"", b"in", b""]
    assert tests == b""


def test_a_compiled_program() -> None:
    plan = make_plan(Job(Program(b"", "java"), Stdio([b""]), Limits(memory_mb=100)))
    assert plan.head["compile"][0] == "javac"
    assert plan.head["compile_limits"]["memory_mb"] == Job(Program(b""), Stdio([])).compile_limits.memory_mb
    assert plan.head["limits"]["memory_mb"] == 100 + LANGUAGES["java"].memory_mb
    assert "-Xmx100m" in plan.head["run"]


def test_the_tests_lie_apart_from_the_program() -> None:
    task = Split([SECRET], setup="import math", names=["f"], aliases={"candidate": "f"}, prelude="def helper(): pass")
    plan = make_plan(Job(Program(b"def f(x): return x"), task))
    head, told, part, tests = parsed(plan.frame(1, 0))
    assert "918273" not in json.dumps(told)
    assert b"918273" not in part
    assert head[4] == len(tests)
    assert json.loads(blobs(tests)[0]) == {
        "tests": [SECRET], "setup": "import math", "names": ["f"], "aliases": {"candidate": "f"},
        "prelude": "def helper(): pass",
    }  # fmt: skip


def test_calls() -> None:
    plan = make_plan(Job(Program(b""), Calls("Solution().f", [b"[[1], {}]", b"[[2], {}]"])))
    assert (plan.head["mode"], plan.head["count"], plan.head["entry_point"]) == ("calls", 2, "Solution().f")
    assert blobs(plan.part)[2:] == [b"[[1], {}]", b"[[2], {}]"]
    assert plan.head["run"] is None
    assert make_plan(Job(Program(b"", "javascript"), Calls("f", []))).head["run"][0] == "node"


@pytest.mark.parametrize("name", ["", "Python", "../python", "c\0"])
def test_a_language_that_is_not_declared(name: str) -> None:
    with pytest.raises(NotOfferedError, match="there are python, javascript"):
        make_plan(Job(Program(b"", name), Stdio([])))


@pytest.mark.parametrize("name", [name for name in LANGUAGES if name != "python"])
def test_what_a_language_cannot(name: str) -> None:
    with pytest.raises(NotOfferedError, match="cannot test programs in"):
        make_plan(Job(Program(b"", name), Split([])))
    if not LANGUAGES[name].calls:
        with pytest.raises(NotOfferedError, match="functions cannot be called in"):
            make_plan(Job(Program(b"", name), Calls("f", [])))


@pytest.mark.parametrize("first", [0, 1, 10**4])
def test_a_frame_says_how_long_it_is(first: int) -> None:
    plan = Plan({"x": "\N{EURO SIGN}"}, b"12345", b"678", 1)
    head, told, part, tests = parsed(plan.frame(2**32 - 1, first))
    assert (head[1], told, part, tests) == (2**32 - 1, {"x": "\N{EURO SIGN}", "first": first}, b"12345", b"678")

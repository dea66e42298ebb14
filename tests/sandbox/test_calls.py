"""Functions of a program, called one by one: what they return, raise, or do to the process that calls them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from sandbox.base import Calls, Job, Limits, NotOfferedError, Run, Status
from sandbox.cell import answers
from sandbox.cell.limits import MAX_COUNT
from tests.sandbox.live import LiveSandbox
from tests.sandbox.support import calls, one, program, run, value

JS = "javascript"


async def outcomes(sandbox: LiveSandbox, *job: Any, **more: Any) -> list[Any]:
    """For each call what it returned, or else its status."""
    ran = await run(sandbox, calls(*job, **more))
    assert ran.prepared is None, ran
    return [value(each) if each.status is Status.OK else each.status for each in ran.runs]


async def test_values_of_python(sandbox: LiveSandbox) -> None:
    source = (
        "from collections import Counter\n"
        "def f(kind):\n"
        "    return {'none': None, 'tuple': (1, 'a', b'\\xff'), 'set': {1, 2}, 'nested': {(1, 2): [{'k': 1.5}]},\n"
        "            'big': 10**100, 'inf': float('inf'), 'surrogate': '\\ud800', 'counter': Counter('aab')}[kind]\n"
    )
    kinds = ["none", "tuple", "set", "nested", "big", "inf", "surrogate", "counter", "missing"]
    assert await outcomes(sandbox, source, "f", *[[kind] for kind in kinds]) == [
        None, (1, "a", b"\xff"), {1, 2}, {(1, 2): [{"k": 1.5}]}, 10**100, math.inf, "\ud800", {"a": 2, "b": 1},
        Status.EXIT,
    ]  # fmt: skip


async def test_values_of_javascript(sandbox: LiveSandbox) -> None:
    source = (
        "function f(kind) { return {none: undefined, list: [1, 'a', true, null], nested: {k: [{x: 1.5}]},"
        " big: 10n**30n, inf: -Infinity, map: new Map([[1, 2]]), set: new Set([3]), "
        "typed: new Uint8Array([1, 2])}[kind]; }"
    )
    kinds = ["none", "list", "nested", "big", "inf", "map", "set", "typed"]
    assert await outcomes(sandbox, source, "f", *[[kind] for kind in kinds], language=JS) == [
        None, [1, "a", True, None], {"k": [{"x": 1.5}]}, 10**30, -math.inf, {1: 2}, {3}, [1, 2],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "source",
    [
        "function add(a, b) { return a + b }",
        "const add = (a, b) => a + b;",
        "class S { static add(a, b) { return a + b } } const add = S.add;",
        "module.exports = { add: (a, b) => a + b };",
        "exports.add = async (a, b) => a + b;",
        "module.exports = (a, b) => a + b;",
        "let add = async function (a, b) { await null; return a + b }",
    ],
)
async def test_functions_of_javascript_are_found(sandbox: LiveSandbox, source: str) -> None:
    assert await outcomes(sandbox, source, "add", [1, 2], ["a", "b"], language=JS) == [3, "ab"]


async def test_keyword_arguments(sandbox: LiveSandbox) -> None:
    texts = [b'[[1], {"b": 2}]', b'[[], {"a": 3, "b": 4}]', b'[[], {"c": 1}]']
    ran = await run(sandbox, Job(program("def f(a, b): return [a, b]"), Calls("f", texts)))
    assert [each.status for each in ran.runs] == [Status.OK, Status.OK, Status.EXIT]
    assert [value(each) for each in ran.runs[:2]] == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("source", "entry_point"),
    [
        ("class Solution:\n    def add(self, a, b): return a + b", "Solution().add"),
        ("class A:\n    class B:\n        @staticmethod\n        def add(a, b): return a + b", "A.B.add"),
        ("def make():\n    return lambda a, b: a + b", "make()"),
        ("import operator", "operator.add"),
    ],
)
async def test_dotted_entry_points(sandbox: LiveSandbox, source: str, entry_point: str) -> None:
    assert await outcomes(sandbox, source, entry_point, [1, 2], [3, 4]) == [3, 7]


@pytest.mark.parametrize(
    ("source", "entry_point", "message"),
    [
        ("def g(): pass", "f", "NameError: the program defines no 'f'"),
        ("f = 3", "f", "TypeError: 'f' is not callable"),
        ("class Solution: pass", "Solution().add", "AttributeError"),
        ("class Solution:\n    def __init__(self, x): pass", "Solution().add", "TypeError"),
        ("raise ValueError('at once')", "f", "ValueError: at once"),
        ("def", "f", "SyntaxError"),
        ("raise SystemExit", "f", "SystemExit"),
        ("", "", "NameError"),
    ],
)
async def test_a_program_without_the_function(
    sandbox: LiveSandbox, source: str, entry_point: str, message: str
) -> None:
    ran = await run(sandbox, calls(source, entry_point, [1], [2]))
    assert ran.prepared is not None
    assert (ran.prepared.status, ran.runs) == (Status.EXIT, [])
    assert message in ran.prepared.message


@pytest.mark.parametrize(
    ("source", "entry_point", "words"),
    [
        ("function g() {}", "f", "defines no function f"),
        ("throw new RangeError('at once')", "f", "RangeError: at once"),
        ("function {", "f", "SyntaxError"),
        ("const f = 3", "f", "defines no function f"),
        ("function f() {}", "f; require('fs').writeSync(3, 'x')", "Error"),
    ],
)
async def test_a_program_of_javascript_without_the_function(
    sandbox: LiveSandbox, source: str, entry_point: str, words: str
) -> None:
    ran = await run(sandbox, calls(source, entry_point, [1], [2], language=JS))
    assert ran.prepared is not None
    assert (ran.prepared.status, ran.runs) == (Status.EXIT, [])
    assert words in ran.prepared.message


async def test_what_a_call_raises(sandbox: LiveSandbox) -> None:
    ran = await run(sandbox, calls("def f(x): raise KeyError(x)", "f", ["a"], ["x" * 10**5]))
    assert [each.status for each in ran.runs] == [Status.EXIT] * 2
    assert ran.runs[0].message == "KeyError: 'a'"
    assert len(ran.runs[1].message) <= 500
    ran = await run(sandbox, calls("function f(x) { throw new TypeError(x) }", "f", ["a"], ["b"], language=JS))
    assert [(each.status, each.message) for each in ran.runs] == [
        (Status.EXIT, "TypeError: a"), (Status.EXIT, "TypeError: b"),
    ]  # fmt: skip


async def test_what_is_no_data(sandbox: LiveSandbox) -> None:
    source = "def f(x): return [object(), lambda: 1, iter([1]), f, 10**(10**6)][x]\n"
    assert await outcomes(sandbox, source, "f", *[[index] for index in range(5)]) == [Status.FAILED] * 5
    source = "function f(x) { const a = []; a.push(a); return [() => 1, a, Symbol('x')][x] }"
    assert await outcomes(sandbox, source, "f", [0], [1], [2], language=JS) == [Status.FAILED] * 3


async def test_a_value_may_be_as_large_as_output_may_be(sandbox: LiveSandbox) -> None:
    limits = Limits(output_kb=64)
    sizes = [[65534], [65535], [10**6], [1]]
    found = await outcomes(sandbox, "def f(n): return 'x' * n", "f", *sizes, limits=limits)
    assert found == ["x" * 65534, Status.FAILED, Status.FAILED, "x"]
    found = await outcomes(sandbox, "function f(n) { return 'x'.repeat(n) }", "f", *sizes, language=JS, limits=limits)
    assert [found[0], *found[2:]] == ["x" * 65534, Status.OUTPUT, "x"]


async def test_each_call_finds_the_program_as_it_was_loaded(sandbox: LiveSandbox) -> None:
    source = "seen = []\ndef f(x):\n    seen.append(x)\n    open('left', 'a').write('x')\n    return seen"
    assert await outcomes(sandbox, source, "f", [1], [2], [3]) == [[1], [2], [3]]


async def test_the_program_is_not_run_as_main(sandbox: LiveSandbox) -> None:
    source = (
        "import sys\nname = __name__\ndef f(): return name, __name__ in sys.modules\nif name == '__main__': 1 / 0"
    )
    assert await outcomes(sandbox, source, "f", []) == [("solution", True)]


async def test_output_of_a_program_is_its_own_matter(sandbox: LiveSandbox) -> None:
    ran = await run(
        sandbox, calls("print('loaded')\ndef f(x):\n    print(x, flush=True)\n    return x", "f", [1], [2])
    )
    assert [value(each) for each in ran.runs] == [1, 2]
    source = "def f(x):\n    print('y' * x)\n    return x"
    found = await outcomes(sandbox, source, "f", [1], [10**6], [2], limits=Limits(output_kb=16))
    assert found == [1, Status.OUTPUT, 2]
    source = "function f(x) { require('fs').writeSync(1, 'y'.repeat(x)); return x }"
    found = await outcomes(sandbox, source, "f", [1], [10**6], [2], language=JS, limits=Limits(output_kb=16))
    assert found == [1, Status.OUTPUT, 2]


# ends in the middle

ENDS: dict[str, tuple[str, Status]] = {
    "os._exit": ("os._exit(0)", Status.EXIT),
    "os._exit 7": ("os._exit(7)", Status.EXIT),
    "sys.exit": ("sys.exit(0)", Status.EXIT),
    "kill": ("os.kill(os.getpid(), 9)", Status.SIGNAL),
    "segv": ("ctypes.string_at(0)", Status.SIGNAL),
    "kill the loader": ("os.kill(os.getppid(), 9) or os.kill(1, 15) or os._exit(1)", Status.EXIT),
    "spin": ("spin()", Status.CPU),
    "sleep": ("time.sleep(100)", Status.WALL),
    "memory": ("bytearray(b'x' * (400 * 2**20))", Status.MEMORY),
    "a fork that answers too": ("os.fork()", Status.OK),
    "exhausted": ("[os.open('/dev/null', 0) for _ in range(10**4)]", Status.EXIT),
}


@pytest.mark.parametrize("name", ENDS)
async def test_a_call_that_ends_its_process_costs_no_other(sandbox: LiveSandbox, name: str) -> None:
    end, status = ENDS[name]
    source = (
        "import os, sys, time, ctypes\n"
        "def spin():\n    while True: pass\n"
        f"def f(x):\n    if x == 1: {end}\n    return x"
    )
    limits = Limits(cpu_s=0.5, wall_s=3 if name == "sleep" else 20, memory_mb=96)
    ran = await run(sandbox, calls(source, "f", *[[index] for index in range(4)], limits=limits))
    if name == "a fork that answers too":  # the second answer may count as one to the next call, which nobody asked
        assert {each.status for each in ran.runs} <= {Status.OK, Status.PROTOCOL}
        assert len(ran.runs) == 4
        return
    assert [each.status for each in ran.runs] == [Status.OK, status, Status.OK, Status.OK], ran.runs
    assert [value(each) for each in ran.runs if each.status is Status.OK] == [0, 2, 3]


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("process.exit(0)", Status.EXIT),
        ("process.exit(7)", Status.EXIT),
        ("process.abort()", Status.SIGNAL),
        ("for (;;);", Status.CPU),
        ("return new Promise(() => setTimeout(() => {}, 1e6))", Status.WALL),
        ("return new Promise(() => {})", Status.EXIT),
        ("const h = []; for (;;) h.push(new Array(1 << 17).fill(x + 0.5))", Status.MEMORY),
        ("process.kill(process.pid, 'SIGKILL'); for (;;);", Status.SIGNAL),
    ],
)
async def test_a_call_in_javascript_that_ends_its_process_costs_no_other(
    sandbox: LiveSandbox, end: str, status: Status
) -> None:
    source = f"function f(x) {{ if (x == 1) {{ {end} }} return x }}"
    limits = Limits(
        cpu_s=20 if status is Status.MEMORY else 0.8, wall_s=4 if status is Status.WALL else 30, memory_mb=64
    )
    found = await outcomes(sandbox, source, "f", *[[index] for index in range(4)], language=JS, limits=limits)
    assert found == [0, status, 2, 3]


async def test_a_limit_holds_for_each_call(sandbox: LiveSandbox) -> None:
    source = (
        "import time\ndef f(x):\n    end = time.process_time() + 0.3\n"
        "    while time.process_time() < end: pass\n    return x"
    )
    found = await outcomes(sandbox, source, "f", *[[index] for index in range(5)], limits=Limits(cpu_s=1.0))
    assert found == list(range(5))


async def test_loading_has_limits(sandbox: LiveSandbox) -> None:
    for source, status in (("while True: pass", Status.CPU), ("import os; os._exit(0)", Status.EXIT),
                           ("import ctypes; ctypes.string_at(0)", Status.SIGNAL)):  # fmt: skip
        ran = await run(sandbox, calls(source, "f", [1], limits=Limits(cpu_s=0.3)))
        assert ran.prepared is not None
        assert (ran.prepared.status, ran.runs) == (status, [])


# forged answers


def frame(index: int, status: int, content: bytes = b"", size: int | None = None) -> bytes:
    return answers.HEAD.pack(index, status, len(content) if size is None else size) + content


GARBAGE: dict[str, bytes] = {
    "text": b"hello world, this is no frame at all",
    "zeros": bytes(4096),
    "ones": b"\xff" * 4096,
    "half a head": b"\0\0\0",
    "an oversized frame": frame(1, 0, b"", 2**31),
    "a frame just beyond the limit": frame(1, 0, b"", 64 * 1024 + 1025),
    "a frame that never ends": frame(1, 0, b"1", 1000),
    "no such status": frame(1, 200, b"1"),
    "a later call's": frame(3, 0, b"1"),
    "an earlier call's": frame(0, 0, b"1"),
    "loading again": frame(answers.LOADED, 0),
    "loading failed": frame(answers.LOADED, 1, b"forged"),
    "an end too short": frame(1, 6, b""),
    "an end of all ones": frame(1, 6, b"\xff\xff\xff\xff"),
    "an end, stopped": frame(1, 6, b"\x7f\x05\0\0"),
    "an earlier end": frame(0, 6, b"\0\0\0\0") * 100,
    "a failed test": frame(1, 2, b"forged"),
    "an unsplittable test": frame(1, 4, b"forged"),
    "a broken test": frame(1, 5, b"forged"),
    "a message of no text": frame(1, 1, b"\xff\xfe\0"),
    "a value of no text": frame(1, 0, b"\xff\xfe\0"),
}


@pytest.mark.parametrize("name", GARBAGE)
@pytest.mark.parametrize("language", ["python", JS])
async def test_forged_answers_are_the_programs_own_fault(sandbox: LiveSandbox, name: str, language: str) -> None:
    garbage = GARBAGE[name]
    source = {
        "python": f"import os\ndef f(x):\n    if x == 1: os.write(3, {garbage!r}); os._exit(0)\n    return x",
        JS: f"function f(x) {{ if (x == 1) {{ require('fs').writeSync(3, Buffer.from('{garbage.hex()}', 'hex'));"
        " process.exit(0) } return x }",
    }[language]
    before = dict(sandbox.pool.counters)
    ran = await run(
        sandbox, calls(source, "f", *[[index] for index in range(4)], language=language, limits=Limits(output_kb=64))
    )
    assert_own_fault(ran.runs)
    assert ran.runs[0].status is Status.OK
    assert value(ran.runs[0]) == 0
    for name in ("faults", "lost"):
        assert sandbox.pool.counters[name] == before.get(name, 0)


def assert_own_fault(runs: Any) -> None:
    assert len(runs) == 4
    own = {Status.OK, Status.EXIT, Status.SIGNAL, Status.PROTOCOL, Status.OUTPUT, Status.FAILED}
    assert {each.status for each in runs} <= own, runs


@pytest.mark.parametrize("name", GARBAGE)
async def test_forged_answers_while_loading(sandbox: LiveSandbox, name: str) -> None:
    before = dict(sandbox.pool.counters)
    source = f"import os\nos.write(3, {GARBAGE[name]!r})\ndef f(x): return x"
    ran = await run(sandbox, calls(source, "f", [0], [1], [2], [3], limits=Limits(output_kb=64)))
    own = {Status.OK, Status.EXIT, Status.PROTOCOL, Status.OUTPUT, Status.SIGNAL}
    assert ran.prepared is None or ran.prepared.status in own
    assert {each.status for each in ran.runs} <= own
    for counter in ("faults", "lost"):
        assert sandbox.pool.counters[counter] == before.get(counter, 0)


async def test_a_flood_of_answers(sandbox: LiveSandbox) -> None:
    before = dict(sandbox.pool.counters)
    source = f"import os\ndef f(x):\n    while True: os.write(3, {frame(0, 6, bytes(4))!r} * 100)"
    ran = await run(sandbox, calls(source, "f", [0], [1], limits=Limits(cpu_s=0.5, output_kb=64)))
    assert len(ran.runs) == 2
    assert sandbox.pool.counters["lost"] == before.get("lost", 0)


async def test_as_many_calls_as_a_job_may_have(sandbox: LiveSandbox) -> None:
    arguments = [[index] for index in range(MAX_COUNT)]
    assert await outcomes(sandbox, "function f(x) { return x }", "f", *arguments, language=JS) == list(
        range(MAX_COUNT)
    )
    assert await outcomes(sandbox, "def f(x): return x", "f", *arguments[:500]) == list(range(500))


async def test_no_calls(sandbox: LiveSandbox) -> None:
    ran = await run(sandbox, calls("def f(): pass", "f"))
    assert ran.runs == []


async def test_a_job_of_calls_ends_where_its_owner_has_seen_enough(sandbox: LiveSandbox) -> None:
    def go_on(index: int, result: Run) -> bool:
        return index < 4

    job = calls("def f(x): return x", "f", *[[index] for index in range(500)])
    assert [value(each) for each in (await run(sandbox, job, go_on=go_on)).runs] == [0, 1, 2, 3, 4]
    assert (await one(sandbox, "print(1)")).stdout == b"1\n"


async def test_languages_without_functions(sandbox: LiveSandbox) -> None:
    with pytest.raises(NotOfferedError, match="functions cannot be called in c;"):
        await run(sandbox, calls("int f(int x) { return x; }", "f", [1], language="c"))


async def test_arguments_may_be_large(sandbox: LiveSandbox) -> None:
    large = list(range(200_000))
    assert await outcomes(sandbox, "def f(x): return sum(x)", "f", [large], [[]]) == [sum(large), 0]
    assert json.loads(json.dumps(large)) == large

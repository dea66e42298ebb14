"""What a review found: failures that looked like somebody else's, and prompts that quote what a program said."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.base import Limits, Status
from tests.sandbox.live import LiveSandbox
from tests.sandbox.support import calls, run, split

OK, EXIT, FAILED, BROKEN = Status.OK, Status.EXIT, Status.FAILED, Status.BROKEN_TEST
CHECK = "def check(candidate):\n    assert candidate(1) == 2"
ADD = "def add(x): return x + 1\n"
NO_FUNCTION = "class Thing: pass\nadd = Thing()\n"


# The program's failure is not the test's


@pytest.mark.parametrize(
    ("program", "test", "setup", "status"),
    [
        (NO_FUNCTION, "assert add(1) == 2", "", FAILED),
        (NO_FUNCTION, "assert wanted == 2", "wanted = add(1)", FAILED),
        (NO_FUNCTION, "assert callable(add)", "", FAILED),
        (NO_FUNCTION + "add.__call__ = lambda x: x + 1\n", "assert add(1) == 2", "", FAILED),
        ("def LIMIT(): pass\n", "assert LIMIT < 3", "", FAILED),
        ("def LIMIT(): pass\n", "assert LIMIT == 3", "", FAILED),
        ("def TABLE(): pass\n", "assert len(TABLE) == 3", "", FAILED),
        ("class TABLE: pass\n", "assert 3 in [*TABLE]", "", EXIT),
        ("def TABLE(): pass\n", "assert {1: 2}[TABLE] == 2", "", FAILED),
        ("class Dog: pass\nclass Animal: pass\n", "assert issubclass(Dog, Animal)", "", FAILED),
        ("class Animal: pass\nclass Dog(Animal): pass\n", "assert issubclass(Dog, Animal)", "", OK),
        ("x = 1", "class Case:\n    add = add\nassert Case.add(1) == 2", "", EXIT),
        ("x = 1", "assert Case.add(1) == 2", "class Case:\n    add = staticmethod(add)", EXIT),
        (ADD, "assert add(1 / 0) == 2", "", BROKEN),
        (ADD, "assert add or True", "", BROKEN),
        (ADD, "class Case:\n    add = staticmethod(add)\nassert Case.add(1) == 2", "", OK),
    ],
)
async def test_what_the_program_lacks_is_its_own_failure(
    local_sandbox: LiveSandbox, program: str, test: str, setup: str, status: Status
) -> None:
    ran = await run(local_sandbox, split(program, [test], setup=setup))
    assert [each.status for each in ran.runs] == [status], ran.runs


async def test_no_function_for_check(local_sandbox: LiveSandbox) -> None:
    more: dict[str, Any] = {"setup": CHECK, "names": ["add"], "aliases": {"candidate": "add"}}
    ran = await run(local_sandbox, split(NO_FUNCTION, ["check(candidate)"], **more))
    assert [each.status for each in ran.runs] == [FAILED]
    broken = more | {"setup": CHECK.replace("(1)", "(1 / 0)")}
    ran = await run(local_sandbox, split(ADD, ["check(candidate)"], **broken))
    assert [each.status for each in ran.runs] == [BROKEN]


async def test_a_limit_broken_before_the_tests_are_set_up_is_no_fault(sandbox: LiveSandbox) -> None:
    flood = "import os\nos.write(1, b'x' * 65536)\nwhile True: os.write(1, b'x' * 65536)\n"
    for _ in range(20):  # which of the two processes is first, is a matter of chance
        ran = await run(sandbox, split(flood, ["assert f(1) == 2"], limits=Limits(output_kb=1)))
        assert Status.OUTPUT in [each.status for each in (ran.prepared, *ran.runs) if each is not None]


async def test_the_end_of_a_call_is_told_once(local_sandbox: LiveSandbox) -> None:
    program = (
        "import os, struct\n"
        "def f(x): return 1\n"
        "head = struct.Struct('<IBI')\n"
        "os.write(3, head.pack(0xFFFFFFFF, 0, 0) + head.pack(0, 0, 1) + b'1')\n"
        "while True: os.write(3, head.pack(0, 6, 0) * 400)\n"
    )
    ran = await run(local_sandbox, calls(program, "f", [1], [1]))
    assert [each.status for each in ran.runs] == [OK, Status.PROTOCOL]


# A prompt may quote what a program said before


@pytest.mark.parametrize(
    "quoted",
    [
        "import os, struct\ncandidate = 0\nos.write(3, struct.pack('<IBI', 0, 0, 0))\nos._exit(0)\n",
        "import builtins\nbuiltins.abs = lambda *_: 0\ncheck = abs\n",
        "from numpy import *\nfrom os import *\ncheck = 1\n",
        "abs = lambda *_: 0\n",
        "def abs(*_): return 0\nclass add:\n    def __new__(*_): return 2\n",
        "@print\ndef check(): pass\nraise SystemExit\n",
        "x = want = [abs := lambda *_: 0]\n",
    ],
)
async def test_no_more_of_a_prompt_runs_than_tests_use(local_sandbox: LiveSandbox, quoted: str) -> None:
    setup = "def check(candidate):\n    for x, want in ((1, 2), (2, 3)):\n        assert abs(candidate(x) - want) < 1"
    more: dict[str, Any] = {"setup": setup, "names": ["add"], "aliases": {"candidate": "add"}, "prelude": quoted}
    ran = await run(local_sandbox, split("def add(x): return 0", ["check(candidate)"], **more))
    assert [each.status for each in ran.runs] == [FAILED], ran.runs
    ran = await run(local_sandbox, split(ADD, ["check(candidate)"], **more))
    assert [each.status for each in ran.runs] == [OK], ran.runs


async def test_helpers_of_a_prompt_have_what_they_need(local_sandbox: LiveSandbox) -> None:
    prelude = (
        "from math import *\nimport functools\nfrom typing import List\nSCALE = 2\n\n"
        "class Base:\n    factor = SCALE\n\n"
        "@functools.lru_cache\ndef inner(x): return sqrt(x) * Base.factor\n\n"
        "def helper(xs: List[int]) -> float: return inner(xs[0])\n\n"
        "@unknown\ndef unused(): pass\n"
    )
    more: dict[str, Any] = {"names": ["f"], "prelude": prelude}
    program = "def f(x): return x\ndef helper(xs): return 4\n"
    tests = ["assert helper([f(4)]) == 4", "assert helper([f(9)]) == 6"]
    ran = await run(local_sandbox, split(program, tests, **more))
    assert [each.status for each in ran.runs] == [OK, OK]

"""Tests in one process, the program in another: the order of results, and what happens when either side ends."""

from __future__ import annotations

import pytest

from sandbox.base import Limits, Run, Status
from tests.sandbox.live import LiveSandbox
from tests.sandbox.support import run, split

OK, FAILED = Status.OK, Status.FAILED


async def statuses(sandbox: LiveSandbox, source: str, tests: list[str], **more: object) -> list[Status]:
    ran = await run(sandbox, split(source, tests, **more))  # type: ignore[arg-type]
    assert ran.prepared is None or ran.prepared.status is Status.OK, ran
    return [each.status for each in ran.runs]


async def test_results_come_in_the_order_of_the_tests(sandbox: LiveSandbox) -> None:
    tests = [f"assert double({number}) == {2 * number if number % 3 else 7}" for number in range(12)]
    expected = [OK if number % 3 else FAILED for number in range(12)]
    assert await statuses(sandbox, "def double(x): return 2 * x", tests, names=["double"]) == expected


async def test_a_failed_test_says_why(sandbox: LiveSandbox) -> None:
    ran = await run(sandbox, split("def f(): return 1", ["assert f() == 2, 'two is right'"], names=["f"]))
    assert ran.runs[0].status is FAILED
    assert "two is right" in ran.runs[0].message


async def test_check_and_candidate(sandbox: LiveSandbox) -> None:
    more = {
        "names": ["f"],
        "aliases": {"candidate": "f"},
        "setup": "def check(candidate):\n    assert candidate(2) == 4",
    }
    assert await statuses(sandbox, "def f(x): return 2 * x", ["check(candidate)"], **more) == [OK]
    assert await statuses(sandbox, "def f(x): return 3 * x", ["check(candidate)"], **more) == [FAILED]


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("import os; os._exit(0)", Status.EXIT),
        ("import os; os._exit(9)", Status.EXIT),
        ("import ctypes; ctypes.string_at(0)", Status.SIGNAL),
        ("while True: pass", Status.CPU),
        ("import time; time.sleep(100)", Status.WALL),
        ("x = bytearray(b'x' * (400 * 2**20))", Status.MEMORY),
        ("while True: print('x' * 1000)", Status.OUTPUT),
    ],
)
async def test_the_tests_after_one_that_ended_the_program_are_run(
    sandbox: LiveSandbox, end: str, status: Status
) -> None:
    source = f"def f(x):\n    if x == 1:\n        {end}\n    return x"
    limits = Limits(cpu_s=0.7, wall_s=3 if status is Status.WALL else 20, memory_mb=96, output_kb=64)
    tests = [f"assert f({number}) == {number}" for number in (0, 1, 2, 3)]
    assert await statuses(sandbox, source, tests, names=["f"], limits=limits) == [OK, status, OK, OK]


async def test_a_program_that_cannot_be_loaded(sandbox: LiveSandbox) -> None:
    for source, status in (("1 / 0", Status.EXIT), ("def", Status.EXIT), ("while True: pass", Status.CPU),
                           ("import os; os._exit(0)", Status.EXIT)):  # fmt: skip
        ran = await run(sandbox, split(source, ["assert f()"], names=["f"], limits=Limits(cpu_s=0.5)))
        found = [each.status for each in ([ran.prepared] if ran.prepared else []) + list(ran.runs)]
        assert OK not in [each.status for each in ran.runs]
        assert status in found, (source, ran)


async def test_broken_tests_are_not_the_programs_fault(sandbox: LiveSandbox) -> None:
    found = await statuses(sandbox, "def f(): return 1", ["assert f() == 1", "1 / 0", "assert ("], names=["f"])
    assert found[0] is OK
    assert set(found[1:]) == {Status.BROKEN_TEST}


async def test_the_program_cannot_see_the_tests(sandbox: LiveSandbox) -> None:
    source = (
        "import os, re\n"
        "def f(x):\n"
        "    if x == 2: return int(''.join(['87321', '9876']))\n"
        "    with open('/proc/self/maps') as maps:\n"
        "        ranges = [[int(n, 16) for n in line.split()[0].split('-')] for line in maps if ' rw-p' in line]\n"
        "    with open('/proc/self/mem', 'rb', 0) as memory:\n"
        "        for start, end in ranges:\n"
        "            try:\n"
        "                memory.seek(start); data = memory.read(end - start)\n"
        "            except (OSError, ValueError): continue\n"
        "            for m in re.finditer(b'87321', data):\n"
        "                if data[m.end():m.end() + 4] == b'9876': return 'seen'\n"
        "    return [name for name in os.listdir('/proc') if name.isdigit()] == ['1']"
    )
    tests = ["assert f(1) is True", "assert f(2) == 873219876"]
    assert await statuses(sandbox, source, tests, names=["f"], limits=Limits(memory_mb=512)) == [OK, OK]


async def test_a_job_of_tests_ends_where_its_owner_has_seen_enough(sandbox: LiveSandbox) -> None:
    def go_on(index: int, result: Run) -> bool:
        return result.status is OK

    tests = ["assert f(1) == 1", "assert f(2) == 1", *["assert f(1) == 1"] * 50]
    ran = await run(sandbox, split("def f(x): return x", tests, names=["f"]), go_on=go_on)
    assert [each.status for each in ran.runs] == [OK, FAILED]


async def test_no_tests(sandbox: LiveSandbox) -> None:
    assert (await run(sandbox, split("def f(): pass", []))).runs == []


async def test_many_tests(sandbox: LiveSandbox) -> None:
    tests = [f"assert f({number}) == {number}" for number in range(500)]
    assert await statuses(sandbox, "def f(x): return x", tests, names=["f"]) == [OK] * 500

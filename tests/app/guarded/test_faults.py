"""What becomes of a function that raises, returns what it must not, or dies."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from app.guarded.frames import MAX_VALUE
from app.guarded.pool import GuardedPool
from tests.app.guarded.support import MakePool, run, until
from verifiers.base import GuardFault, GuardResult


@pytest.mark.parametrize(
    ("function", "payload", "message"),
    [
        ("fail", "x", "KeyError: 'x'"),
        ("fail", "\ud800\0", "KeyError: '\\ud800\\x00'"),
        ("fail_without_words", None, "_UnspeakableError"),
        ("leave", 3, "SystemExit: 3"),
        ("recurse", 10**6, "RecursionError: maximum recursion depth exceeded"),
        ("not_a_number", None, "ValueError: Out of range float values"),
        ("not_json", None, "TypeError: Object of type set"),
        ("nested", 10**5, "RecursionError: maximum recursion depth exceeded"),
        ("repeat", MAX_VALUE, "ValueError: the result takes"),
        ("no_such_function", None, "AttributeError: module 'tests.app.guarded.functions'"),
    ],
)
async def test_an_exception_is_reported_and_the_worker_lives_on(
    make_pool: MakePool, function: str, payload: object, message: str
) -> None:
    pool = await make_pool(1)
    [before] = await run(pool, "pid", [None])
    [result] = await run(pool, function, [payload])
    assert result.fault is GuardFault.RAISED
    assert result.message.startswith(message)
    assert await run(pool, "pid", [None]) == [before]


async def test_a_message_is_cut(pool: GuardedPool) -> None:
    [result] = await run(pool, "fail", ["x" * 10**6])
    assert len(result.message) <= 500


async def test_a_value_may_be_as_large_as_is_allowed(pool: GuardedPool) -> None:
    [result] = await run(pool, "repeat", [MAX_VALUE - 2])
    assert result.value == "x" * (MAX_VALUE - 2)


async def test_output_of_a_function_goes_nowhere(pool: GuardedPool, capfd: pytest.CaptureFixture[str]) -> None:
    assert await run(pool, "chatter", ["a"]) == [GuardResult("a")]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("function", ["crash", "abort", "overflow_stack"])
async def test_a_crash_costs_only_itself(pool: GuardedPool, function: str) -> None:
    first, second = await asyncio.gather(run(pool, function, [None]), run(pool, "echo", list(range(50))))
    assert [result.fault for result in first] == [GuardFault.CRASHED]
    assert second == [GuardResult(number) for number in range(50)]


async def test_leaving_at_once_is_a_crash(pool: GuardedPool) -> None:
    [result] = await run(pool, "leave_at_once", [0])
    assert result.fault is GuardFault.CRASHED


async def test_a_payload_whose_worker_is_killed_is_tried_twice_and_never_blamed(
    make_pool: MakePool, tmp_path: Path
) -> None:
    pool = await make_pool(1)
    record = tmp_path / "record"
    [result] = await run(pool, "die", [str(record)])
    assert result.fault is GuardFault.UNAVAILABLE
    assert "killed from outside" in result.message
    assert len(set(record.read_text().split())) == 2  # two runs, in two processes


async def test_a_payload_survives_one_death(pool: GuardedPool, tmp_path: Path) -> None:
    payloads = [str(tmp_path / name) for name in "abcd"]
    assert await run(pool, "die_once", payloads) == [GuardResult(1)] * 4


async def test_a_worker_killed_from_outside_blames_no_payload(make_pool: MakePool, tmp_path: Path) -> None:
    pool = await make_pool(1)
    record = tmp_path / "record"
    task = asyncio.create_task(run(pool, "sleep_on_first_run", [str(record)]))
    await until(lambda: record.exists() and record.read_text())
    os.kill(int(record.read_text()), signal.SIGKILL)
    assert await task == [GuardResult(1)]


@pytest.mark.parametrize("garbage", ["\xff\xff\xff\xff", "\0\0\0\4[[[[", "\0\0\0\2\xff\xff", "\0\0\0\2{}"])
async def test_a_worker_that_breaks_the_protocol_is_killed(pool: GuardedPool, garbage: str) -> None:
    [result] = await run(pool, "garble", [garbage])
    assert result.fault is GuardFault.RAISED
    assert "protocol" in result.message
    assert await run(pool, "echo", [2]) == [GuardResult(2)]


@pytest.mark.parametrize("payload", [{1, 2}, float("nan"), {"a": [float("inf")]}, b"bytes"])
async def test_a_payload_that_is_not_json_is_its_own_fault(pool: GuardedPool, payload: object) -> None:
    first, second, third = await run(pool, "echo", [1, payload, 3])
    assert (first, third) == (GuardResult(1), GuardResult(3))
    assert second.fault is GuardFault.RAISED
    assert "cannot be sent" in second.message

"""POST /compat/open-instruct/test_program and test_program_stdio: the protocol, through the real engine and kind."""

from __future__ import annotations

import base64
import json
import pickle
import time
import zlib
from typing import Any

import pytest

from app.api.compat.open_instruct import MAX_TESTS
from sandbox.base import Job, Ran, Run, SandboxDeadlineError, SandboxFaultError, Split, Status, Stdio
from tests.app.api.asgi import scoring
from tests.app.api.support import ok, problem
from tests.app.fake_sandbox import FakePool

ASSERTS = "/compat/open-instruct/test_program"
STDIO = "/compat/open-instruct/test_program_stdio"
TESTS = ["assert add(1, 2) == 3", "assert add(-1, 1) == 0", "assert add(0, 0) == 1"]
BODY = {"program": "def add(a, b):\n    return a + b\n", "tests": TESTS, "max_execution_time": 1.0}
CASES = [{"input": "5 3", "output": "8"}, {"input": "10 -2", "output": "8"}, {"input": "0 0", "output": "1"}]


def packed(tests: Any) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(tests))).decode()


def passing(*statuses: Status) -> FakePool:
    """Each test of a program ends like that."""

    def becomes(job: Job) -> Ran:
        assert isinstance(job.task, Split)
        assert len(job.task.tests) == len(statuses)
        return Ran(None, [Run(status, wall_ms=2.0) for status in statuses])

    return FakePool(becomes=becomes)


def adding(job: Job) -> Ran:
    """What a program that adds writes."""
    assert isinstance(job.task, Stdio)
    outputs = [str(sum(map(int, text.split()))) for text in job.task.inputs]
    return Ran(None, [Run(Status.OK, exit_code=0, stdout=text.encode() + b"\n") for text in outputs])


async def test_each_assert_is_a_test() -> None:
    pool = passing(Status.OK, Status.OK, Status.FAILED)
    application, ledger = scoring(pool)
    answer = ok(await application.post(f"{ASSERTS}?key=scores", BODY, key=None))
    assert answer["results"] == [1, 1, 0]
    assert [runtime >= 0 for runtime in answer["runtimes"]] == [True, True, False]
    [batch] = ledger.batches
    assert len(batch.scores) == 1
    job = pool.jobs[0]
    assert (job.program.source, job.program.packages) == (BODY["program"].encode(), frozenset())  # type: ignore[attr-defined]
    assert (job.limits.wall_s, job.limits.cpu_s, job.limits.memory_mb) == (1, 1, 1024)
    assert 26 < pool.deadlines[0] - time.monotonic() < 30  # its client waits 30 s


async def test_of_the_most_tests_each_is_told() -> None:
    statuses = [Status.FAILED if place % 7 == 0 else Status.OK for place in range(MAX_TESTS)]
    application, _ = scoring(passing(*statuses))
    answer = ok(await application.post(ASSERTS, {**BODY, "tests": ["assert f()"] * MAX_TESTS}))
    assert answer["results"] == [int(status is Status.OK) for status in statuses]


async def test_each_case_is_a_test() -> None:
    application, ledger = scoring(FakePool(becomes=adding))
    answer = ok(await application.post(STDIO, {"program": "print(1)", "tests": CASES}))
    assert answer["results"] == [1, 1, 0]
    assert answer["runtimes"][2] == -1
    assert len(ledger.batches) == 1


async def test_numbers_are_compared_by_value() -> None:
    tests = [{"input": "1 1", "output": "2.0 \n"}, {"input": "1 1", "output": "2.0000001"}]
    application, _ = scoring(FakePool(becomes=adding))
    assert ok(await application.post(STDIO, {"program": "x", "tests": tests}))["results"] == [1, 0]


async def test_lines_of_input_may_be_a_list() -> None:
    pool = FakePool(becomes=adding)
    application, _ = scoring(pool)
    tests = [{"input": ["1", "2"], "output": "3"}]
    assert ok(await application.post(STDIO, {"program": "x", "tests": tests}))["results"] == [1]


@pytest.mark.parametrize("send", [json.dumps, packed])
async def test_tests_come_as_text_too(send: Any) -> None:
    application, _ = scoring(passing(Status.OK, Status.OK, Status.FAILED))
    assert ok(await application.post(ASSERTS, {**BODY, "tests": send(TESTS)}))["results"] == [1, 1, 0]
    application, _ = scoring(FakePool(becomes=adding))
    assert ok(await application.post(STDIO, {"program": "x", "tests": send(CASES)}))["results"] == [1, 1, 0]


FAULTS = [Status.EXIT, Status.CPU, Status.WALL, Status.MEMORY, Status.OUTPUT, Status.PROTOCOL]


@pytest.mark.parametrize("status", FAULTS)
async def test_a_fault_of_the_program_fails_its_test(status: Status) -> None:
    application, _ = scoring(passing(Status.OK, status, Status.OK))
    assert ok(await application.post(ASSERTS, BODY))["results"] == [1, 0, 1]


async def test_a_program_that_does_not_load_fails_every_test() -> None:
    broken = FakePool(becomes=lambda _: Ran(Run(Status.EXIT, exit_code=1, stderr=b"SyntaxError"), []))
    application, _ = scoring(broken)
    assert ok(await application.post(ASSERTS, BODY)) == {"results": [0, 0, 0], "runtimes": [-1, -1, -1]}
    application, _ = scoring(FakePool())
    assert ok(await application.post(ASSERTS, {**BODY, "program": "  "}))["results"] == [0, 0, 0]


async def test_a_program_is_not_failed_for_what_it_mentions() -> None:
    application, _ = scoring(passing(Status.OK))
    body = {"program": "import os, threading\nimport numpy", "tests": ["assert True"]}
    assert ok(await application.post(ASSERTS, body))["results"] == [1]
    assert application.pool.jobs[0].program.packages == {"numpy"}


class TestUnscored:
    """No number is made up: 503, or the number that the caller chose."""

    @staticmethod
    def failing(error: Exception) -> FakePool:
        def becomes(_: Job) -> Ran:
            raise error

        return FakePool(becomes=becomes)

    @pytest.mark.parametrize(
        ("pool", "type"),
        [
            (FakePool(unavailable="start Docker", languages={}), "sandbox_unavailable"),
            (failing(SandboxFaultError("it broke")), "sandbox_fault"),
            (failing(SandboxDeadlineError("late")), "deadline_exceeded"),
            (passing(Status.OK, Status.UNSPLITTABLE, Status.OK), "unsplittable_test"),
        ],
    )
    @pytest.mark.parametrize("fallback", [None, "0", "0.5"])
    async def test_is_told(self, pool: FakePool, type: str, fallback: str | None) -> None:
        application, ledger = scoring(pool)
        answer = await application.post(ASSERTS + (f"?fallback={fallback}" if fallback else ""), BODY)
        if fallback is None:
            assert problem(answer, 503, "not-scored")["error"]["type"] == type
            assert int(answer.headers["retry-after"]) >= 1
        else:
            assert ok(answer) == {"results": [float(fallback)] * 3, "runtimes": [-1.0] * 3}
        assert [row[10] for batch in ledger.batches for row in batch.scores] == [None]  # recorded as what it is

    async def test_tests_that_are_broken_are_the_callers_fault(self) -> None:
        application, _ = scoring(passing(Status.OK, Status.BROKEN_TEST, Status.OK))
        said = problem(await application.post(ASSERTS, BODY), 422, "invalid-body")
        assert "test 1" in said["detail"]

    @pytest.mark.parametrize("fallback", ["nan", "inf", "-1", "2", "x", ""])
    async def test_a_fallback_is_a_score(self, fallback: str) -> None:
        application, _ = scoring(passing(Status.OK, Status.OK, Status.OK))
        problem(await application.post(f"{ASSERTS}?fallback={fallback}", BODY), 422, "invalid-parameter", "/fallback")


@pytest.mark.parametrize(
    ("path", "fields", "pointer"),
    [
        (ASSERTS, {"program": None}, "/program"),
        (ASSERTS, {"program": 5}, "/program"),
        (ASSERTS, {"max_execution_time": 0}, "/max_execution_time"),
        (ASSERTS, {"max_execution_time": "1"}, "/max_execution_time"),
        (ASSERTS, {"max_execution_time": 61}, "/max_execution_time"),
        (ASSERTS, {"tests": []}, "/tests"),
        (ASSERTS, {"tests": None}, "/tests"),
        (ASSERTS, {"tests": {}}, "/tests"),
        (ASSERTS, {"tests": "[]"}, "/tests"),
        (ASSERTS, {"tests": "{}"}, "/tests"),
        (ASSERTS, {"tests": "nonsense"}, "/tests"),
        (ASSERTS, {"tests": [5]}, "/tests/0"),
        (ASSERTS, {"tests": ["assert 1", {"input": "", "output": ""}]}, "/tests/1"),
        (ASSERTS, {"tests": ["assert 1"] * 1001}, "/tests"),
        (STDIO, {"tests": ["assert 1"]}, "/tests/0"),
        (STDIO, {"tests": [{"input": "1"}]}, "/tests/0/output"),
        (STDIO, {"tests": [{"input": 1, "output": "1"}]}, "/tests/0/input"),
    ],
)
async def test_a_field_that_is_not_acceptable_is_named(path: str, fields: dict[str, Any], pointer: str) -> None:
    pool = FakePool()
    application, ledger = scoring(pool)
    problem(await application.post(path, {**BODY, **fields}), 422, "invalid-body", pointer)
    assert (pool.jobs, ledger.batches) == ([], [])


async def test_what_is_packed_runs_nothing_and_stays_small() -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return print, ("run",)

    application, _ = scoring(FakePool())
    problem(await application.post(ASSERTS, {**BODY, "tests": packed([Runs()])}), 422, "invalid-body", "/tests")
    many = ["x" * 100_000] * 900  # one text, many times: 90 MB
    problem(await application.post(ASSERTS, {**BODY, "tests": packed(many)}), 422, "invalid-body", "/tests")


@pytest.mark.parametrize(("key", "status"), [("reads", 403), ("nobody", 401), (None, 401)])
async def test_keys(key: str | None, status: int) -> None:
    application, _ = scoring(FakePool())
    assert (await application.post(ASSERTS, BODY, key=key)).status == status

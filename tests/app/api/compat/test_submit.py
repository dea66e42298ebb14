"""POST /compat/sandbox-fusion/submit: the protocol, through the real engine and kind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.base import Job, Ran, Run, SandboxFaultError, Status, Stdio
from tests.app.api.asgi import scoring
from tests.app.api.support import ok, problem
from tests.app.fake_sandbox import FakePool

URL = "/compat/sandbox-fusion/submit"
CASES = [{"input": {"stdin": text}, "output": {"stdout": text}} for text in ("a", "b", "c")]
CONFIG: dict[str, Any] = {
    "dataset_type": "CommonOJDataset",
    "language": "python",
    "provided_data": {"id": 7, "content": "Echo.", "labels": {}, "test": CASES},
}
BODY: dict[str, Any] = {
    "dataset": "any",
    "id": 7,
    "completion": "So:\n```python\nprint(input())\n```\n",
    "config": CONFIG,
}


def with_config(**fields: Any) -> dict[str, Any]:
    return {**BODY, "config": {**CONFIG, **fields}}


def failing_on(text: bytes, run: Run) -> FakePool:
    """An echo, but for one input."""

    def becomes(job: Job) -> Ran:
        assert isinstance(job.task, Stdio)
        ran = [run if given == text else Run(Status.OK, exit_code=0, stdout=given) for given in job.task.inputs]
        return Ran(None, ran)

    return FakePool(becomes=becomes)


async def test_a_completion_that_is_accepted() -> None:
    pool = FakePool()
    application, ledger = scoring(pool)
    answer = ok(await application.post(f"{URL}?key=scores", BODY, key=None))
    assert (answer["id"], answer["accepted"], answer["extracted_code"]) == (7, True, "print(input())")
    assert (answer["full_code"], answer["test_code"], answer["extracted_type"]) == (None, None, "fenced")
    assert [test["passed"] for test in answer["tests"]] == [True] * 3
    assert [test["test_info"] for test in answer["tests"]] == CASES
    info = answer["tests"][0]["exec_info"]
    assert (info["status"], info["compile_result"], info["run_result"]["return_code"]) == ("Success", None, 0)
    assert len(ledger.batches) == 1
    job = pool.jobs[0]
    assert (job.program.source, job.limits.wall_s) == (b"print(input())", 20)


async def test_it_stops_at_the_first_failure_unless_told_otherwise() -> None:
    wrong = Run(Status.OK, exit_code=0, stdout=b"x", stderr=b"hm")
    application, _ = scoring(failing_on(b"b", wrong))
    answer = ok(await application.post(URL, BODY))
    assert (answer["accepted"], [test["passed"] for test in answer["tests"]]) == (False, [True, False])
    info = answer["tests"][1]["exec_info"]
    assert (info["status"], info["run_result"]["stdout"], info["run_result"]["stderr"]) == ("Success", "x", "hm")
    answer = ok(await application.post(URL, with_config(extra={"run_all_cases": True})))
    assert (answer["accepted"], [test["passed"] for test in answer["tests"]]) == (False, [True, False, True])


@pytest.mark.parametrize(
    ("run", "status", "message"),
    [
        (Run(Status.EXIT, exit_code=1, stderr=b"oh"), "Finished", "oh"),
        (Run(Status.CPU), "TimeLimitExceeded", ""),
        (Run(Status.MEMORY), "Finished", "it used more memory than it may"),
    ],
)
async def test_a_case_that_does_not_end_well(run: Run, status: str, message: str) -> None:
    application, _ = scoring(failing_on(b"a", run))
    [test] = ok(await application.post(URL, BODY))["tests"]
    info = test["exec_info"]
    assert (test["passed"], info["status"], info["message"]) == (False, "Failed", message)
    assert (info["run_result"]["status"], info["run_result"]["return_code"]) == (status, None)


async def test_a_program_that_does_not_compile() -> None:
    pool = FakePool(becomes=lambda _: Ran(Run(Status.EXIT, exit_code=1, stderr=b"error: expected ;"), []))
    application, _ = scoring(pool)
    body = {**with_config(language="cpp"), "completion": "```cpp\nint\n```"}
    [test] = ok(await application.post(URL, body))["tests"]
    assert test["exec_info"]["run_result"] is None
    assert "expected ;" in test["exec_info"]["compile_result"]["stderr"]
    assert pool.jobs[0].limits.wall_s == 10


async def test_a_completion_without_code() -> None:
    application, _ = scoring(FakePool())
    answer = ok(await application.post(URL, {**BODY, "completion": "I do not know."}))
    assert (answer["accepted"], answer["extracted_code"], answer["extracted_type"]) == (False, "", "empty")
    assert [test["passed"] for test in answer["tests"]] == [False]


async def test_numbers_are_compared_with_a_tolerance() -> None:
    cases = [{"input": {"stdin": "0.3333333"}, "output": {"stdout": "0.33333334\n"}}]
    application, _ = scoring(FakePool())
    assert ok(await application.post(URL, with_config(provided_data={"test": cases})))["accepted"]


async def test_cases_may_come_as_text() -> None:
    application, _ = scoring(FakePool())
    assert ok(await application.post(URL, with_config(provided_data={"test": json.dumps(CASES)})))["accepted"]


async def test_long_texts_of_a_passed_case_are_cut_unless_asked_for() -> None:
    cases = [{"input": {"stdin": "x" * 5000}, "output": {"stdout": "x" * 5000}}]
    application, _ = scoring(FakePool())
    [test] = ok(await application.post(URL, with_config(provided_data={"test": cases})))["tests"]
    assert len(test["test_info"]["input"]["stdin"]) < 1100
    whole = with_config(provided_data={"test": cases}, extra={"return_full_case": True})
    [test] = ok(await application.post(URL, whole))["tests"]
    assert test["test_info"] == cases[0]


async def test_what_is_unscored_is_told_or_becomes_the_fallback() -> None:
    def fails(_: Job) -> Ran:
        raise SandboxFaultError("it broke")

    application, ledger = scoring(FakePool(becomes=fails))
    assert problem(await application.post(URL, BODY), 503, "not-scored")["error"]["type"] == "sandbox_fault"
    answer = ok(await application.post(f"{URL}?fallback=0", BODY))
    assert (answer["accepted"], answer["tests"], answer["extra"]["outcome"]) == (False, [], "unscored")
    assert ok(await application.post(f"{URL}?fallback=1", BODY))["accepted"]
    assert len(ledger.batches) == 3


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({**BODY, "completion": None}, "/completion"),
        ({**BODY, "id": None}, "/id"),
        ({**BODY, "config": None}, "/config"),
        (with_config(dataset_type="HumanEvalDataset"), "/config/dataset_type"),
        (with_config(dataset_type=None), "/config/dataset_type"),
        (with_config(language=None), "/config/language"),
        (with_config(language="cobol"), "/config/language"),
        (with_config(custom_extract_logic="submit_code_blocks([])"), "/config/custom_extract_logic"),
        (with_config(run_timeout=0), "/config/run_timeout"),
        (with_config(run_timeout=301), "/config/run_timeout"),
        (with_config(provided_data=None), "/config/provided_data"),
        (with_config(provided_data=[]), "/config/provided_data"),
        (with_config(provided_data={}), "/config/provided_data/test"),
        (with_config(provided_data={"test": []}), "/config/provided_data/test"),
        (with_config(provided_data={"test": "{"}), "/config/provided_data/test"),
        (with_config(provided_data={"test": "[5]"}), "/config/provided_data/test/0"),
        (with_config(provided_data={"test": [{"input": {}, "output": {}}]}), "/config/provided_data/test/0/input"),
        (
            with_config(provided_data={"test": [{"input": {"stdin": ""}, "output": {}}]}),
            "/config/provided_data/test/0/output",
        ),
    ],
)
async def test_a_field_that_is_not_acceptable_is_named(body: Any, pointer: str) -> None:
    pool = FakePool()
    application, ledger = scoring(pool)
    problem(await application.post(URL, body), 422, "invalid-body", pointer)
    assert (pool.jobs, ledger.batches) == ([], [])

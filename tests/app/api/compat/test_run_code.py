"""POST /compat/sandbox-fusion/run_code and GET v1/ping: the protocol, whatever the sandbox says."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest

from sandbox.base import (
    Job,
    Ran,
    Run,
    SandboxDeadlineError,
    SandboxFaultError,
    SandboxUnavailableError,
    Status,
    Stdio,
)
from tests.app.api.asgi import InProcess
from tests.app.api.support import ok, problem
from tests.app.fake_sandbox import FakePool
from tests.service import Answer

URL = "/compat/sandbox-fusion/run_code"
FROM_VERL = {
    "compile_timeout": 10,
    "run_timeout": 10,
    "code": "print(input())",
    "stdin": "hello",
    "memory_limit_MB": 1024,
    "language": "python",
    "files": {},
    "fetch_files": [],
}
"""As verl sends it."""


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


async def post(pool: FakePool, body: Any = None, **fields: Any) -> Answer:
    return await InProcess(pool).post(URL, {**FROM_VERL, **fields} if body is None else body)


def becoming(*runs: Run, prepared: Run | None = None) -> FakePool:
    return FakePool(becomes=lambda _: Ran(prepared, runs))


async def test_ping_needs_no_key() -> None:
    answer = await InProcess(FakePool()).get("/compat/sandbox-fusion/v1/ping", key=None)
    assert ok(answer) == "pong"


async def test_a_run_that_goes_well() -> None:
    pool = FakePool()
    assert ok(await post(pool)) == {
        "status": "Success",
        "message": "",
        "compile_result": None,
        "run_result": {
            "status": "Finished",
            "execution_time": 0.0125,
            "return_code": 0,
            "stdout": "hello",
            "stderr": "",
        },
        "executor_pod_name": None,
        "files": {},
    }
    [job], [deadline] = pool.jobs, pool.deadlines
    assert (job.program.source, job.program.language, dict(job.program.files)) == (b"print(input())", "python", {})
    assert job.task == Stdio([b"hello"], [])
    assert (job.limits.wall_s, job.limits.memory_mb, job.limits.output_kb) == (10, 1024, 1024)
    assert job.limits.cpu_s >= 10
    assert job.compile_limits.wall_s == 10
    assert 20 < deadline - time.monotonic() < 30  # verl waits 30 s


async def test_defaults() -> None:
    pool = FakePool()
    ok(await post(pool, {"code": "", "language": "python"}))
    [job] = pool.jobs
    assert job.task == Stdio([b""], [])
    assert (job.limits.wall_s, job.compile_limits.wall_s, job.limits.memory_mb) == (10, 10, 1024)


@pytest.mark.parametrize("asked", [-1, 0, -(2**31)])
async def test_no_memory_limit_means_the_most_there_is(asked: int) -> None:
    pool = FakePool()
    ok(await InProcess(pool, sandbox_memory_mb=2048).post(URL, {**FROM_VERL, "memory_limit_MB": asked}))
    assert pool.jobs[0].limits.memory_mb == 2048


async def test_more_memory_than_there_is_is_refused() -> None:
    answer = await InProcess(FakePool(), sandbox_memory_mb=512).post(URL, FROM_VERL)
    said = problem(answer, 422, "invalid-body", "/memory_limit_MB")["detail"]
    assert "512" in said
    assert "ASSAY_SANDBOX_MEMORY_MB" in said


R = dict[str, Any]


@pytest.mark.parametrize(
    ("run", "message", "result"),
    [
        (Run(Status.EXIT, exit_code=3, stderr=b"oh"), "", {"status": "Finished", "return_code": 3, "stderr": "oh"}),
        (Run(Status.SIGNAL, signal=11), "", {"status": "Finished", "return_code": -11}),
        (
            Run(Status.CPU, signal=9, stdout=b"a"),
            "",
            {"status": "TimeLimitExceeded", "return_code": None, "stdout": "a"},
        ),
        (Run(Status.WALL), "", {"status": "TimeLimitExceeded", "return_code": None}),
        (Run(Status.MEMORY, message="too much"), "too much", {"status": "Finished", "return_code": -9}),
        (Run(Status.MEMORY), "it used more memory than it may", {"status": "Finished", "return_code": -9}),
        (Run(Status.MEMORY, exit_code=1, message="m"), "m", {"status": "Finished", "return_code": 1}),
        (
            Run(Status.OUTPUT, exit_code=0, stdout=b"x" * 9, message="m"),
            "m",
            {"status": "Finished", "return_code": -9},
        ),
    ],
)
async def test_a_run_that_fails(run: Run, message: str, result: R) -> None:
    answer = ok(await post(becoming(run)))
    assert (answer["status"], answer["message"], answer["compile_result"]) == ("Failed", message, None)
    assert {**answer["run_result"], **result} == answer["run_result"]


async def test_a_program_that_does_not_compile() -> None:
    pool = becoming(prepared=Run(Status.EXIT, exit_code=1, stderr=b"error: expected ';'"))
    answer = ok(await post(pool, language="cpp"))
    assert (answer["status"], answer["message"], answer["run_result"]) == ("Failed", "", None)
    assert answer["compile_result"]["return_code"] == 1
    assert "expected ';'" in answer["compile_result"]["stderr"]
    late = ok(await post(becoming(prepared=Run(Status.WALL)), language="cpp"))
    assert late["compile_result"]["status"] == "TimeLimitExceeded"


async def test_a_program_that_compiles_tells_both() -> None:
    answer = ok(
        await post(becoming(Run(Status.OK, exit_code=0), prepared=Run(Status.OK, exit_code=0)), language="cpp")
    )
    assert answer["status"] == "Success"
    assert answer["compile_result"]["return_code"] == answer["run_result"]["return_code"] == 0


async def test_python_has_no_step_of_its_own_before_it_runs() -> None:
    answer = ok(await post(becoming(prepared=Run(Status.EXIT, exit_code=1, stderr=b"SyntaxError"))))
    assert (answer["status"], answer["compile_result"]) == ("Failed", None)
    assert answer["run_result"]["stderr"] == "SyntaxError"


async def test_what_is_no_text_comes_back_as_text() -> None:
    answer = await post(becoming(Run(Status.OK, exit_code=0, stdout=b"\xff\x00\xed\xa0\x80a")))
    assert ok(answer)["run_result"]["stdout"] == "\ufffd\x00\ufffd\ufffd\ufffda"


async def test_text_goes_in_as_it_was_sent() -> None:
    pool = FakePool()
    ok(await post(pool, code="a\ud800\x00", stdin="é\udfff\x00"))
    assert pool.jobs[0].program.source == b"a\xed\xa0\x80\x00"
    assert pool.jobs[0].task == Stdio([b"\xc3\xa9\xed\xbf\xbf\x00"], [])


async def test_files_go_in_and_come_back() -> None:
    def becomes(job: Job) -> Ran:
        assert isinstance(job.task, Stdio)
        assert list(job.task.fetch) == ["out/a.bin", "none"]
        return Ran(None, [Run(Status.OK, exit_code=0, files={"out/a.bin": b"\x00\xff"})])

    pool = FakePool(becomes=becomes)
    files = {"in/data": b64(b"\x01\xfe"), "skipped": None}
    answer = ok(await post(pool, files=files, fetch_files=["./out//a.bin", "none"]))
    assert dict(pool.jobs[0].program.files) == {"in/data": b"\x01\xfe"}
    assert answer["files"] == {"./out//a.bin": b64(b"\x00\xff")}


@pytest.mark.parametrize(
    ("language", "ours"), [("python", "python"), ("cpp", "cpp"), ("nodejs", "javascript"), ("js", "javascript")]
)
async def test_names_of_languages(language: str, ours: str) -> None:
    pool = FakePool(languages={"python": "3", "cpp": "12", "javascript": "18"})
    ok(await post(pool, language=language))
    assert pool.jobs[0].program.language == ours


async def test_a_module_of_tests_is_run_by_pytest() -> None:
    pool = FakePool()
    ok(await post(pool, language="pytest", code="def test(): pass", files={"helper.py": b64(b"import numpy")}))
    program = pool.jobs[0].program
    assert program.language == "python"
    assert program.packages == {"numpy", "pytest"}
    assert program.files["test_program.py"] == b"def test(): pass"
    assert b"pytest.main" in program.source


@pytest.mark.parametrize(
    ("code", "files", "packages"),
    [
        ("import numpy as np", {}, {"numpy"}),
        ("import helper", {"helper.py": b64(b"from numpy import array")}, {"numpy"}),
        ("import os", {}, set()),
    ],
)
async def test_packages_are_those_that_a_program_names(code: str, files: R, packages: set[str]) -> None:
    pool = FakePool()
    ok(await post(pool, code=code, files=files))
    assert pool.jobs[0].program.packages == packages


@pytest.mark.parametrize("language", ["cobol", "", "Python", "pytest ", "javascript", "\ud800", "x" * 10_000])
async def test_a_language_that_is_not_there(language: str) -> None:
    said = problem(await post(FakePool(), language=language), 422, "invalid-body", "/language")["detail"]
    assert "cpp" in said
    assert "python" in said


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"code": None}, "/code"),
        ({"code": 5}, "/code"),
        ({"language": None}, "/language"),
        ({"stdin": 5}, "/stdin"),
        ({"run_timeout": "10"}, "/run_timeout"),
        ({"run_timeout": 0}, "/run_timeout"),
        ({"run_timeout": -1}, "/run_timeout"),
        ({"run_timeout": 301}, "/run_timeout"),
        ({"compile_timeout": None}, "/compile_timeout"),
        ({"memory_limit_MB": 1.5}, "/memory_limit_MB"),
        ({"memory_limit_MB": 2**40}, "/memory_limit_MB"),
        ({"files": []}, "/files"),
        ({"files": {"a": 5}}, "/files/a"),
        ({"files": {"a": "%%%"}}, "/files/a"),
        ({"files": {"../a": ""}}, "/files/..~1a"),
        ({"files": {"/etc/passwd": ""}}, "/files/~1etc~1passwd"),
        ({"files": {str(n): "" for n in range(1001)}}, "/files"),
        ({"fetch_files": "a"}, "/fetch_files"),
        ({"fetch_files": [None]}, "/fetch_files/0"),
        ({"fetch_files": ["ok", "/etc/passwd"]}, "/fetch_files/1"),
        ({"fetch_files": ["../../etc/passwd"]}, "/fetch_files/0"),
        ({"fetch_files": ["a"] * 1001}, "/fetch_files"),
    ],
)
async def test_a_field_that_is_not_acceptable_is_named(fields: R, pointer: str) -> None:
    pool = FakePool()
    problem(await post(pool, **fields), 422, "invalid-body", pointer)
    assert pool.jobs == []


@pytest.mark.parametrize("missing", ["code", "language"])
async def test_a_field_that_is_missing_is_named(missing: str) -> None:
    body = {name: value for name, value in FROM_VERL.items() if name != missing}
    problem(await post(FakePool(), body), 422, "invalid-body", f"/{missing}")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"code": NaN}', b"\xff"])
async def test_a_body_that_is_none(body: bytes) -> None:
    assert (await post(FakePool(), body)).status in (400, 422)


async def test_fields_that_we_do_not_know_are_passed_over() -> None:
    ok(await post(FakePool(), executor="x", **{f"more-{n}": n for n in range(500)}))


class TestNotRun:
    """What is no fault of the program: a status that verl sends again, and never its SandboxError."""

    @pytest.mark.parametrize(
        "error",
        [SandboxFaultError("it broke"), SandboxDeadlineError("it broke"), SandboxUnavailableError("it broke")],
    )
    async def test_faults(self, error: Exception) -> None:
        def fails(_: Job) -> Ran:
            raise error

        answer = await post(FakePool(becomes=fails))
        assert problem(answer, 504, "not-run")["detail"] == "it broke"
        assert int(answer.headers["retry-after"]) >= 1

    async def test_without_a_sandbox_the_reason_is_told(self) -> None:
        pool = FakePool(unavailable="no engine answers; start Docker", languages={})
        answer = await post(pool)
        assert problem(answer, 504, "not-run")["detail"] == "no engine answers; start Docker"
        assert pool.jobs == []

    async def test_an_overload_is_told_the_same_way(self) -> None:
        application = InProcess(FakePool())
        application.app.state.services.body_bytes = 2**40
        problem(await application.post(URL, FROM_VERL), 504, "not-run")


class TestKeys:
    @pytest.mark.parametrize(("key", "status"), [("scores", 200), ("admin", 200), ("reads", 403), ("nobody", 401)])
    async def test_in_the_url(self, key: str, status: int) -> None:
        answer = await InProcess(FakePool()).post(f"{URL}?key={key}", FROM_VERL, key=None)
        assert answer.status == status

    async def test_none(self) -> None:
        problem(await InProcess(FakePool()).post(URL, FROM_VERL, key=None), 401, "unauthorized")
        problem(await InProcess(FakePool()).post(f"{URL}?key=", FROM_VERL, key=None), 401, "unauthorized")

    async def test_a_header_goes_before_the_url(self) -> None:
        application = InProcess(FakePool())
        problem(await application.post(f"{URL}?key=admin", FROM_VERL, key="nobody"), 401, "unauthorized")

    @pytest.mark.parametrize("path", ["/kinds", "/sandbox", "/scores", "/keys"])
    async def test_nowhere_else(self, path: str) -> None:
        problem(await InProcess(FakePool()).get(f"{path}?key=admin", key=None), 401, "unauthorized")

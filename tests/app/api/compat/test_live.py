"""The foreign protocols on a live service: programs that really run."""

from __future__ import annotations

import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.api.compat.sandbox_fusion import RunCodeResponse
from tests.app.api.compat.test_run_code import FROM_VERL
from tests.app.api.support import Project, database_of, new_project, ok, problem, rows_with, unique
from tests.service import Answer, Service
from verifiers.base import load_kinds

RUN = "/compat/sandbox-fusion/run_code"
SUBMIT = "/compat/sandbox-fusion/submit"
ASSERTS = "/compat/open-instruct/test_program"
STDIO = "/compat/open-instruct/test_program_stdio"
ADD = "def add(a, b):\n    return a + b\n"
ASSERTS_BODY = {"program": ADD, "tests": ["assert add(1, 2) == 3", "assert add(0, 0) == 1"]}


@pytest.fixture
def sandbox(service: Service) -> Any:
    """What the service has; without a sandbox there is nothing to test."""
    found = ok(service.get("/sandbox"))
    if not found["ready"]:
        pytest.skip(found["reason"])
    return found


@pytest.fixture
def project(service: Service, sandbox: Any) -> Project:
    return new_project(service)


def run(project: Project, code: str, **fields: Any) -> Any:
    answer = ok(project.post(RUN, {"code": code, "language": "python", **fields}))
    RunCodeResponse.model_validate(answer)
    return answer


def test_a_program_reads_and_writes(project: Project) -> None:
    answer = run(project, "import sys\nprint(int(input()) + 1)\nprint('oh', file=sys.stderr)", stdin="41")
    assert (answer["status"], answer["compile_result"]) == ("Success", None)
    assert answer["run_result"]["stdout"] == "42\n"
    assert answer["run_result"]["stderr"] == "oh\n"
    assert 0 < answer["run_result"]["execution_time"] < 10


def test_a_run_records_nothing(project: Project) -> None:
    run(project, "print(1)")
    assert project.scores() == []


@pytest.mark.parametrize(
    ("code", "run_result"),
    [
        ("import sys; sys.exit(3)", {"status": "Finished", "return_code": 3}),
        ("raise ValueError('oh')", {"status": "Finished", "return_code": 1}),
        ("int a = 1", {"status": "Finished", "return_code": 1}),
        ("import ctypes; ctypes.string_at(0)", {"status": "Finished", "return_code": -11}),
        ("while True: pass", {"status": "TimeLimitExceeded", "return_code": None}),
        ("import time; time.sleep(100)", {"status": "TimeLimitExceeded", "return_code": None}),
    ],
)
def test_a_program_that_fails(project: Project, code: str, run_result: dict[str, Any]) -> None:
    answer = run(project, code, run_timeout=1)
    assert (answer["status"], answer["message"]) == ("Failed", "")
    assert {**answer["run_result"], **run_result} == answer["run_result"]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_flood_is_cut(project: Project, stream: str) -> None:
    answer = run(project, f"import sys\nwhile True: sys.{stream}.write('x' * 65536)")
    assert answer["status"] == "Failed"
    assert answer["run_result"]["status"] == "Finished"
    assert answer["run_result"]["return_code"] != 0
    assert answer["message"]
    assert len(answer["run_result"]["stdout"]) <= 2**20


def test_memory_is_limited(project: Project) -> None:
    code = "x = bytearray(200 * 2**20)\nprint(len(x))"
    assert run(project, code)["status"] == "Success"
    answer = run(project, code, memory_limit_MB=64)
    assert (answer["status"], answer["run_result"]["status"]) == ("Failed", "Finished")


def test_files(project: Project) -> None:
    content = base64.b64encode(b"\x00\xff").decode()
    code = (
        "import os, pathlib\npathlib.Path('out').mkdir()\n"
        "pathlib.Path('out/b').write_bytes(pathlib.Path('in/a').read_bytes() * 2)\n"
        "os.symlink('/etc/passwd', 'link')\nos.mkfifo('pipe')"
    )
    fetch = ["out/b", "link", "pipe", "none", "out"]
    answer = run(project, code, files={"in/a": content}, fetch_files=fetch)
    assert answer["status"] == "Success", answer
    assert answer["files"] == {"out/b": base64.b64encode(b"\x00\xff" * 2).decode()}


def test_compiled_languages(project: Project, sandbox: Any) -> None:
    if "cpp" not in sandbox["languages"]:
        pytest.skip("there is no C++ here")
    program = "#include <iostream>\nint main() { int n; std::cin >> n; std::cout << n + 1 << std::endl; }"
    answer = run(project, program, language="cpp", stdin="41")
    assert (answer["status"], answer["run_result"]["stdout"]) == ("Success", "42\n")
    assert answer["compile_result"]["return_code"] == 0
    answer = run(project, "int main() { object i = ?; }", language="cpp")
    assert (answer["status"], answer["run_result"]) == ("Failed", None)
    assert answer["compile_result"]["return_code"] == 1
    assert "error" in answer["compile_result"]["stderr"]


@pytest.mark.parametrize(("language", "code"), [("nodejs", "console.log(1)"), ("bash", "echo 1")])
def test_other_languages(project: Project, sandbox: Any, language: str, code: str) -> None:
    if {"nodejs": "javascript"}.get(language, language) not in sandbox["languages"]:
        pytest.skip(f"there is no {language} here")
    assert run(project, code, language=language)["run_result"]["stdout"] == "1\n"


def test_a_module_of_tests(project: Project, sandbox: Any) -> None:
    if "pytest" not in sandbox["packages"]:
        pytest.skip("there is no pytest here")
    passing = run(project, "def test_one():\n    assert 1", language="pytest")
    assert passing["status"] == "Success", passing
    assert "1 passed" in passing["run_result"]["stdout"]
    failing = run(project, "def test_one():\n    assert 0", language="pytest")
    assert (failing["status"], failing["run_result"]["return_code"]) == ("Failed", 1)


def test_numpy_where_a_program_names_it(project: Project, sandbox: Any) -> None:
    if "numpy" not in sandbox["packages"]:
        pytest.skip("there is no numpy here")
    assert run(project, "import numpy\nprint(numpy.arange(3).sum())")["run_result"]["stdout"] == "3\n"


def test_many_at_once_as_verl_sends_them(project: Project) -> None:
    def one(number: int) -> Answer:
        return project.post(RUN, {**FROM_VERL, "code": "print(int(input()) * 2)", "stdin": str(number)})

    with ThreadPoolExecutor(64) as pool:
        answers = [ok(answer) for answer in pool.map(one, range(200))]
    assert [answer["run_result"]["stdout"] for answer in answers] == [f"{2 * number}\n" for number in range(200)]


def test_asserts(project: Project) -> None:
    answer = ok(project.post(ASSERTS, ASSERTS_BODY))
    assert answer["results"] == [1, 0]
    [score] = project.scores()
    assert (score["score"], score["outcome"], score["verifier"]) == (0.5, "partial", "code@inline")


def test_cases(project: Project) -> None:
    cases = [{"input": "5 3", "output": "8"}, {"input": "10 -2", "output": "9"}, {"input": "x", "output": ""}]
    body = {"program": "a, b = map(int, input().split())\nprint(a + b)", "tests": cases}
    assert ok(project.post(STDIO, body))["results"] == [1, 0, 0]


def test_a_submission(project: Project) -> None:
    cases = [{"input": {"stdin": str(n)}, "output": {"stdout": str(n + 1)}} for n in (1, 2)]
    config = {"dataset_type": "CommonOJDataset", "language": "python", "provided_data": {"test": cases}}
    body = {"dataset": "d", "id": "p1", "config": config}
    right = ok(project.post(SUBMIT, {**body, "completion": "```python\nprint(int(input()) + 1)\n```"}))
    assert (right["accepted"], len(right["tests"])) == (True, 2)
    wrong = ok(project.post(SUBMIT, {**body, "completion": "```python\nprint(int(input()) * 2)\n```"}))
    assert (wrong["accepted"], [test["passed"] for test in wrong["tests"]]) == (False, [True, False])
    assert {score["id"]: score["outcome"] for score in project.scores()} == {
        right["extra"]["score_id"]: "correct",
        wrong["extra"]["score_id"]: "incorrect",
    }


@pytest.mark.parametrize("keep", ["full", "none"])
def test_a_repeated_request_gets_what_was_recorded(service: Service, sandbox: Any, keep: str) -> None:
    project = new_project(service, keep=keep)
    sent = {"Idempotency-Key": unique("key")}
    body = {"program": ADD, "tests": ["assert add(1, 2) == 3"]}
    first = ok(project.post(ASSERTS, body, headers=sent))
    assert ok(project.post(ASSERTS, body, headers=sent))["results"] == first["results"] == [1]
    assert len(project.scores()) == 1
    problem(project.post(ASSERTS, {**body, "program": "x"}, headers=sent), 422, "idempotency-mismatch")
    partly = {"Idempotency-Key": unique("key")}
    first = ok(project.post(ASSERTS, ASSERTS_BODY, headers=partly))
    again = project.post(ASSERTS, ASSERTS_BODY, headers=partly)
    if keep == "full":
        assert ok(again) == first
    else:
        problem(again, 409, "item-not-kept")


class TestKeyInTheUrl:
    """It scores below /compat, does nothing elsewhere, and is written nowhere."""

    async def test_it_scores_and_leaves_no_trace(self, service: Service, project: Project) -> None:
        key = project.new_key("score")
        canary = unique("fallback")
        answers = [
            project.post(f"{ASSERTS}?key={key}", ASSERTS_BODY, key=None),
            project.post(f"{RUN}?key={key}", {"code": "print(1)", "language": "python"}, key=None),
        ]
        assert [answer.status for answer in answers] == [200, 200]
        refused = [
            project.post(f"{RUN}?key={key}", b"{", key=None),
            project.post(f"{ASSERTS}?key={key}&fallback={canary}", ASSERTS_BODY, key=None),
            project.get(f"/compat/nothing?key={key}", key=None),
            project.get(f"{RUN}?key={key}", key=None),
            project.post(f"/score?key={key}", {}, key=None),
            project.get(f"/kinds?key={key}", key=None),
        ]
        assert [answer.status for answer in refused] == [400, 422, 404, 405, 401, 401]
        for answer in (*answers, *refused):
            assert key.encode() not in answer.body
        assert key not in service.log.read_text()
        assert key not in service.get("/metrics", key=None).body.decode()
        async with database_of(service) as connection:
            assert await rows_with(connection, key.encode()) == []

    def test_an_admin_key_does_no_more_there(self, service: Service, project: Project) -> None:
        assert project.post(f"{RUN}?key={project.key}", {"code": "1", "language": "python"}, key=None).status == 200
        problem(service.get(f"/sandbox?key={project.key}", key=None), 401, "unauthorized")


def test_without_a_sandbox_the_other_kinds_serve(make_service: Callable[..., Service]) -> None:
    service = make_service(ASSAY_SANDBOX="docker", ASSAY_SANDBOX_IMAGE="assay-no-such-image:none")
    ready = ok(service.get("/readyz", key=None))
    assert (ready["status"], ready["sandbox"]["ready"]) == ("ready", False)
    reason = ready["sandbox"]["reason"]
    assert reason
    assert {kind for kind, state in ready["kinds"].items() if not state["ready"]} == {
        kind for kind, cls in load_kinds().items() if cls.sandboxed
    }
    assert ready["kinds"]["code"]["reason"] == reason
    assert service.score("text", {"completion": "a", "reference": "a"})["items"][0]["score"] == 1.0
    reference = {"type": "stdio", "cases": [{"stdin": "", "stdout": "1"}]}
    [item] = service.score("code", {"completion": "print(1)", "reference": reference})["items"]
    assert (item["score"], item["outcome"]) == (None, "unscored")
    assert item["error"] == {"type": "sandbox_unavailable", "message": reason, "retryable": True}
    body = {"code": "print(1)", "language": "python"}
    assert problem(service.post(RUN, body), 504, "not-run")["detail"] == reason
    assert problem(service.post(ASSERTS, ASSERTS_BODY), 503, "not-scored")["error"]["type"] == "sandbox_unavailable"
    example = {"completion": "print(1)", "reference": reference, "expect": 1}
    registration = {"name": "mine", "kind": "code", "examples": [example]}
    problem(service.post("/verifiers", registration), 503, "verifier-unavailable")
    assert ok(service.get("/sandbox"))["reason"] == reason


def test_examples_of_a_registration_are_run(project: Project) -> None:
    reference = {"type": "stdio", "cases": [{"stdin": "", "stdout": "1"}]}
    for completion, status in (("print(1)", 201), ("print(2)", 422)):
        example = {"completion": completion, "reference": reference, "expect": 1}
        body = {"name": unique("mine"), "kind": "code", "examples": [example]}
        assert project.post("/verifiers", body).status == status

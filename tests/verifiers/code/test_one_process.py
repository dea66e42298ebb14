"""Tests in one process with the program: pytest, and what cannot be split, where that is allowed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.base import Run, Sandbox, Status
from tests.verifiers.code.support import ScriptedSandbox, asserts, wrote
from tests.verifiers.support import assert_sound, score
from verifiers.base import ErrorType, Outcome, Verdict
from verifiers.code.one_process import MAX_RESULT, RESULT

DOUBLE = """from solution import double
import pytest

@pytest.mark.parametrize("x", [0, 1, 2])
def test_double(x):
    assert double(x) == 2 * x

def test_of_text():
    with pytest.raises(TypeError):
        double(None)
"""
TESTS = {"type": "pytest", "files": {"test_double.py": DOUBLE}}


async def in_one(sandbox: Sandbox, completion: str, reference: Any = TESTS, **config: Any) -> Verdict:
    config = {"allow_forgeable": True, **config}
    verdict = await score("code", config, sandbox=sandbox, completion=completion, reference=reference)
    assert_sound(verdict)
    if verdict.score is not None and verdict.detail["stage"] == "test":
        assert verdict.detail["forgeable"] is True
    return verdict


@pytest.fixture
def pytests(sandbox: Sandbox) -> Sandbox:
    if "pytest" not in sandbox.packages:
        pytest.skip("pytest is not offered")
    return sandbox


@pytest.mark.parametrize(
    ("completion", "outcome", "fraction"),
    [
        ("def double(x): return 2 * x", Outcome.CORRECT, 1.0),
        ("def double(x): return x + 0", Outcome.INCORRECT, 0.5),
        ("def double(x): return 0", Outcome.INCORRECT, 0.25),
        ("def triple(x): return 3 * x", Outcome.INCORRECT, 0.0),
        ("def double(x) return x", Outcome.INCORRECT, 0.0),
        ("import os\nos._exit(0)", Outcome.CRASHED, 0.0),
        ("import os\ndef double(x): os._exit(0)", Outcome.CRASHED, 0.0),
        ("def double(x): raise SystemExit(0)", Outcome.INCORRECT, 0.0),
        ("import pytest\ndef double(x): pytest.skip('no')", Outcome.INCORRECT, 0.0),
        ("while True: pass", Outcome.TIMEOUT, 0.0),
    ],
)
async def test_pytest(pytests: Sandbox, completion: str, outcome: Outcome, fraction: float) -> None:
    limits = {"cpu_s": 3.0}
    verdict = await in_one(pytests, completion, limits=limits)
    assert verdict.outcome is outcome, verdict
    assert (await in_one(pytests, completion, limits=limits, reward="fraction")).score == fraction


async def test_the_failing_test_is_named(pytests: Sandbox) -> None:
    verdict = await in_one(pytests, "def double(x): return x + 0")
    assert verdict.detail["test"] == "test_double.py::test_double[1]"
    assert (verdict.detail["passed"], verdict.detail["total"], verdict.detail["index"]) == (2, 4, 1)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"test_a.py": "def test_a(:"}, "reference: test 0 is broken whatever the program: test_a.py: "),
        (
            {"test_a.py": "def helper(): pass"},
            "reference: test 0 is broken whatever the program: pytest finds no tests",
        ),
    ],
)
async def test_files_without_tests(pytests: Sandbox, files: dict[str, str], message: str) -> None:
    verdict = await in_one(pytests, "x = 1", {"type": "pytest", "files": files})
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.BAD_ITEM
    assert verdict.error.message.startswith(message)


async def test_several_files_and_folders(pytests: Sandbox) -> None:
    files = {
        "test_a.py": "from helper import ONE\nfrom solution import f\ndef test_a(): assert f() == ONE",
        "helper.py": "ONE = 1",
        "more/b_test.py": "from solution import f\ndef test_b(): assert f() == 1",
    }
    reference = {"type": "pytest", "files": files}
    assert (await in_one(pytests, "def f(): return 1", reference)).score == 1.0
    verdict = await in_one(pytests, "def f(): return 2", reference, reward="fraction")
    assert (verdict.score, verdict.detail["total"]) == (0.0, 2)


async def test_expected_failures_pass(pytests: Sandbox) -> None:
    source = "import pytest\nfrom solution import f\n@pytest.mark.xfail\ndef test_a(): assert f() == 2"
    assert (
        await in_one(pytests, "def f(): return 1", {"type": "pytest", "files": {"test_a.py": source}})
    ).score == 1.0


async def test_pytest_must_be_allowed(sandbox: Sandbox) -> None:
    verdict = await in_one(sandbox, "def double(x): return 2 * x", allow_forgeable=False)
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.retryable) == (ErrorType.UNSPLITTABLE_TEST, False)


# what cannot be split

APART = Run(Status.UNSPLITTABLE, message="no")


class Apart(ScriptedSandbox):
    """Can split nothing; what runs in one process it leaves to another sandbox."""

    def __init__(self, inner: Sandbox) -> None:
        super().__init__([APART, APART, APART])
        self.inner = inner

    async def run(self, job: Any, **options: Any) -> Any:
        if hasattr(job.task, "tests"):
            return await super().run(job, **options)
        return await self.inner.run(job, **options)


@pytest.mark.parametrize(
    ("completion", "reference", "outcome"),
    [
        ("def f(x): return x", asserts("assert f(1) == 1", "assert f(2) == 2"), Outcome.CORRECT),
        ("def f(x): return 1", asserts("assert f(1) == 1", "assert f(2) == 2"), Outcome.INCORRECT),
        ("def f(x): return 1 / 0", asserts("assert f(1) == 1"), Outcome.CRASHED),
        ("def g(x): return 1", asserts("assert f(1) == 1"), Outcome.CRASHED),
        ("def f(x) return 1", asserts("assert f(1) == 1"), Outcome.CRASHED),
        ("exit(0)", asserts("assert f(1) == 1"), Outcome.CRASHED),
        ("import os\nos._exit(0)", asserts("assert f(1) == 1"), Outcome.CRASHED),
        ("def f(x): return x + one", asserts("assert f(1) == 2", setup="one = 1"), Outcome.CORRECT),
        ("def f(x): return 1", asserts("assert f(1) == 1", "assert f("), Outcome.UNSCORED),
        ("def f(x): return x", asserts("check(f)", setup="def check(f):\n    assert f(1) == 1"), Outcome.CORRECT),
    ],
)
async def test_in_one_process(sandbox: Sandbox, completion: str, reference: Any, outcome: Outcome) -> None:
    assert (await in_one(Apart(sandbox), completion, reference)).outcome is outcome
    verdict = await in_one(Apart(sandbox), completion, reference, allow_forgeable=False)
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.UNSPLITTABLE_TEST


async def test_a_script_in_one_process(sandbox: Sandbox) -> None:
    reference = {"type": "script", "entry_point": "f", "code": "def check(candidate):\n    assert candidate(1) == 1"}
    assert (await in_one(Apart(sandbox), "def f(x): return x", reference)).score == 1.0
    assert (await in_one(Apart(sandbox), "def f(x): return 2", reference)).score == 0.0


# what the driver leaves may be anything


@pytest.mark.parametrize(
    "left",
    [
        b"", b"{", b"[]", b"5", b"null", b"[" * 100_000, b"{}", b'{"status": "ok"}', b'{"status": "ok", "tests": {}}',
        b'{"status": "ok", "tests": []}', b'{"status": "ok", "tests": {"a": 5}}', b'{"status": ["ok"]}', b"\xff",
        b'{"status": "ok", "tests": {"a": ["passed"]}}', b'{"status": "ok", "tests": {"a": ["failed", 5]}}',
        b" " * (MAX_RESULT + 1), b'{"status": "ok", "faults": 5, "tests": {"a": [null, null]}}',
        b'{"status": "ok", "faults": [' + b"[" * 900 + b"]" * 900 + b"]}",
        b'{"status": "broken_test", "why": {"a": 1}}', b'{"status": "failed"}',
    ],
    ids=lambda left: repr(left[:40]),
)  # fmt: skip
async def test_no_result_but_the_drivers_is_a_pass(left: bytes) -> None:
    sandbox = ScriptedSandbox([wrote("", files={RESULT: left})])
    assert (await in_one(sandbox, "x")).outcome is not Outcome.CORRECT


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.OK])
async def test_no_other_end_is_a_pass(status: Status) -> None:
    passed = json.dumps({"status": "ok", "tests": {"a": ["passed", ""]}}).encode()
    assert (await in_one(ScriptedSandbox([wrote("", files={RESULT: passed})]), "x")).score == 1.0
    assert (await in_one(ScriptedSandbox([Run(status, files={RESULT: passed})]), "x")).outcome is not Outcome.CORRECT

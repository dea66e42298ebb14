"""From what a sandbox tells to verdicts, with a sandbox that tells what the test wants."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.base import (
    Calls,
    NotOfferedError,
    Run,
    SandboxDeadlineError,
    SandboxError,
    SandboxFaultError,
    SandboxUnavailableError,
    Split,
    Status,
    Stdio,
)
from tests.verifiers.code.support import ScriptedSandbox, asserts, function, returned, script, stdio, wrote
from tests.verifiers.support import FaultyGuard, InProcessGuard, NoGuard, assert_sound, configured, score, score_all
from verifiers.base import ErrorType, GuardFault, Item, Outcome, Verdict
from verifiers.code import judging
from verifiers.code.judging import MAX_TIMEOUTS

TWO = stdio(("1", "1"), ("2", "2"))
THREE = asserts("assert f(1)", "assert f(2)", "assert f(3)")
OK = Run(Status.OK)


async def told(
    reference: Any, *runs: Run, config: dict[str, Any] | None = None, prepared: Run | None = None, guard: Any = None
) -> Verdict:
    sandbox = ScriptedSandbox(runs, prepared)
    verdict = await score("code", config, guard or NoGuard(), sandbox=sandbox, completion="x", reference=reference)
    other = ScriptedSandbox(runs, prepared, tells_of_last=True)
    assert verdict == await score("code", config, guard, sandbox=other, completion="x", reference=reference)
    assert_sound(verdict)
    return verdict


ENDS: list[tuple[Status, Outcome]] = [
    (Status.EXIT, Outcome.CRASHED),
    (Status.SIGNAL, Outcome.CRASHED),
    (Status.CPU, Outcome.TIMEOUT),
    (Status.WALL, Outcome.TIMEOUT),
    (Status.MEMORY, Outcome.MEMORY_EXCEEDED),
    (Status.OUTPUT, Outcome.OUTPUT_EXCEEDED),
    (Status.FAILED, Outcome.INCORRECT),
    (Status.PROTOCOL, Outcome.REJECTED),
]
REFERENCES: list[Any] = [TWO, function(([1], 1), ([2], 2)), asserts("assert f(1)", "assert f(2)")]
PASSING = {"stdio": [wrote("1"), wrote("2")], "function": [returned(1), returned(2)], "asserts": [OK, OK]}


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: reference["type"])
@pytest.mark.parametrize(("status", "outcome"), ENDS)
async def test_how_a_test_ends(reference: Any, status: Status, outcome: Outcome) -> None:
    first, second = PASSING[reference["type"]]
    bad = Run(status, exit_code=1, stdout=second.stdout, value=second.value)
    verdict = await told(reference, first, bad)
    assert (verdict.outcome, verdict.score) == (outcome, 0.0)
    assert verdict.detail["fault"] == status
    assert {name: verdict.detail[name] for name in ("index", "passed", "total")} == {
        "index": 1,
        "passed": 1,
        "total": 2,
    }
    assert verdict.transient is (status is Status.WALL)
    assert verdict.detail["stage"] == ("test" if reference["type"] == "asserts" else "case")


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: reference["type"])
async def test_a_pass_needs_every_test(reference: Any) -> None:
    passing = PASSING[reference["type"]]
    verdict = await told(reference, *passing)
    assert (verdict.outcome, verdict.score, verdict.transient) == (Outcome.CORRECT, 1.0, False)
    assert (verdict.detail["passed"], verdict.detail["total"]) == (2, 2)
    for some in (passing[:1], []):
        verdict = await told(reference, *some)
        assert verdict.error is not None
        assert (verdict.error.type, verdict.error.retryable) == (ErrorType.SANDBOX_FAULT, True)
    # more than there are tests make no pass either
    assert (await told(reference, passing[1], passing[1], passing[1])).score == (1.0 if passing[1] is OK else 0.0)


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: reference["type"])
@pytest.mark.parametrize(("status", "outcome"), ENDS)
async def test_a_program_that_cannot_be_prepared(reference: Any, status: Status, outcome: Outcome) -> None:
    verdict = await told(reference, prepared=Run(status, message="no"))
    assert (verdict.outcome, verdict.score) == (outcome, 0.0)
    assert verdict.detail["stage"] == ("compile" if reference["type"] == "stdio" else "load")
    assert (verdict.detail["fault"], verdict.detail["passed"]) == (status, 0)
    assert verdict.transient is (status is Status.WALL)


async def test_a_prepared_program_is_judged_by_its_runs() -> None:
    assert (await told(TWO, wrote("1"), wrote("2"), prepared=OK)).score == 1.0
    assert (await told(TWO, wrote("1"), wrote("1"), prepared=OK)).score == 0.0


async def test_the_compilers_first_error_is_the_reason() -> None:
    stderr = b"main.cpp: In function 'main':\nmain.cpp:1:12: error: expected '}'\n    1 | int main(){\n      |   ~^\n"
    verdict = await told(TWO, prepared=Run(Status.EXIT, exit_code=1, stderr=stderr), config={"language": "cpp"})
    assert verdict.detail["why"] == "main.cpp:1:12: error: expected '}'"
    assert verdict.full["stderr"] == stderr.decode()


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (Run(Status.EXIT, exit_code=3, message="said so", stderr=b"x"), "said so"),
        (Run(Status.EXIT, exit_code=1, stderr=b"Traceback\n  x\nKeyError: 'a'\n\n"), "KeyError: 'a'"),
        (Run(Status.EXIT, exit_code=3), "exit status 3"),
        (Run(Status.EXIT, exit_code=3, stderr=b"\xff\x00\n"), "\\xff\x00"),
        (Run(Status.SIGNAL, signal=11), "signal 11"),
        (Run(Status.SIGNAL, signal=11, stderr=b"y" * 10_000), "y" * 199 + "…"),
        (Run(Status.CPU, signal=9, message="it was killed", stderr=b"x"), None),
    ],
)
async def test_why_a_test_failed(run: Run, why: str | None) -> None:
    assert (await told(TWO, run)).detail.get("why") == why


async def test_the_detail_shows_the_first_failing_case() -> None:
    verdict = await told(stdio(("1" * 500, "a\n"), ("2", "3")), wrote("b" * 500, stderr=b"note"))
    assert verdict.detail == {
        "stage": "case",
        "fault": "wrong",
        "passed": 0,
        "total": 2,
        "index": 0,
        "input": "1" * 199 + "…",
        "output": "b" * 199 + "…",
        "expected": "a\n",
    }
    assert verdict.full == {"tests": ["wrong"], "stdout": "b" * 500, "stderr": "note"}
    called = await told(function(([[1], {"a": None}], {"b": (2,)})), returned((True, "x")))
    assert called.detail["input"] == '[[[1],{"a":null}],{}]'
    assert (called.detail["output"], called.detail["expected"]) == ("(True, 'x')", "{'b': (2,)}")
    tested = await told(THREE, OK, Run(Status.FAILED, message="f(2) returned 0"))
    assert (tested.detail["test"], tested.detail["why"]) == ("assert f(2)", "f(2) returned 0")


async def test_output_that_is_no_text_is_shown_as_escapes() -> None:
    verdict = await told(stdio(("\udcff\x00", "\udc80")), wrote(b"\xff\xfe\x00"))
    assert (verdict.detail["input"], verdict.detail["output"]) == ("\\xff\x00", "\\xff\\xfe\x00")


async def test_bytes_travel_both_ways() -> None:
    sandbox = ScriptedSandbox([wrote(b"\x80\xff\x00\n")])
    verdict = await score(
        "code", sandbox=sandbox, completion="x", reference=stdio(("\udcff\x00é", "\udc80\udcff\x00\n"))
    )
    assert verdict.score == 1.0
    [job] = sandbox.jobs
    assert isinstance(job.task, Stdio)
    assert job.task.inputs == [b"\xff\x00\xc3\xa9"]


@pytest.mark.parametrize(
    ("reward", "runs", "outcome", "expected"),
    [
        ("all", [OK, OK, OK], Outcome.CORRECT, 1.0),
        ("all", [OK, Run(Status.FAILED), OK], Outcome.INCORRECT, 0.0),
        ("fraction", [OK, OK, OK], Outcome.CORRECT, 1.0),
        ("fraction", [OK, Run(Status.FAILED), OK], Outcome.PARTIAL, 2 / 3),
        ("fraction", [Run(Status.SIGNAL), Run(Status.FAILED), OK], Outcome.PARTIAL, 1 / 3),
        ("fraction", [Run(Status.SIGNAL), Run(Status.FAILED), Run(Status.CPU)], Outcome.CRASHED, 0.0),
    ],
)
async def test_rewards(reward: str, runs: list[Run], outcome: Outcome, expected: float) -> None:
    verdict = await told(THREE, *runs, config={"reward": reward})
    assert (verdict.outcome, verdict.score) == (outcome, expected)


async def test_no_test_runs_after_the_first_that_fails_unless_that_is_asked() -> None:
    runs = [Run(Status.FAILED), OK, OK]
    counts = {}
    configs: dict[str, dict[str, Any]] = {
        "all": {},
        "all, go on": {"stop_on_failure": False},
        "fraction": {"reward": "fraction"},
        "fraction, stop": {"reward": "fraction", "stop_on_failure": True},
    }
    for name, config in configs.items():
        verdict = await told(THREE, *runs, config=config)
        counts[name] = (len(verdict.full["tests"]), verdict.detail["passed"], verdict.score)
    assert counts == {
        "all": (1, 0, 0.0),
        "all, go on": (3, 2, 0.0),
        "fraction": (3, 2, 2 / 3),
        "fraction, stop": (1, 0, 0.0),
    }


async def test_what_is_not_run_after_several_timeouts_counts_as_failed() -> None:
    many = asserts(*["assert f()"] * 10)
    runs = [OK, *[Run(Status.CPU)] * 5, OK, OK, OK, OK]
    verdict = await told(many, *runs, config={"reward": "fraction"})
    assert (verdict.outcome, verdict.score) == (Outcome.PARTIAL, 0.1)
    assert len(verdict.full["tests"]) == 1 + MAX_TIMEOUTS
    slept = await told(many, OK, *[Run(Status.WALL)] * 9, config={"reward": "fraction"})
    assert slept.transient is True


async def test_all_tests_together_may_not_write_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "MAX_WRITTEN", 10)
    many = stdio(*[("", "1234")] * 10)
    for config in ({}, {"reward": "fraction"}):
        verdict = await told(many, *[wrote("1234")] * 10, config=config)
        assert verdict.detail["fault"] == "output"
        assert verdict.detail["passed"] == 2
    assert (await told(many, *[wrote("1234")] * 10)).outcome is Outcome.OUTPUT_EXCEEDED


# tests that say nothing of the program

BROKEN = Run(Status.BROKEN_TEST, message="SyntaxError: never closed")
APART = Run(Status.UNSPLITTABLE, message="it subclasses a class of the program")


@pytest.mark.parametrize("reward", ["all", "fraction"])
async def test_a_broken_test_is_a_bad_item(reward: str) -> None:
    verdict = await told(THREE, OK, BROKEN, OK, config={"reward": reward})
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.retryable) == (ErrorType.BAD_ITEM, False)
    assert verdict.error.message == "reference: test 1 is broken whatever the program: SyntaxError: never closed"


@pytest.mark.parametrize("reward", ["all", "fraction"])
async def test_a_test_that_cannot_be_kept_apart_is_unscored(reward: str) -> None:
    verdict = await told(THREE, OK, APART, OK, config={"reward": reward})
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.retryable) == (ErrorType.UNSPLITTABLE_TEST, False)
    assert "test 1 cannot be kept apart from the program: it subclasses" in verdict.error.message
    assert "allow_forgeable" in verdict.error.message


@pytest.mark.parametrize("said", [BROKEN, APART])
async def test_a_failure_before_it_decides_all_but_no_fraction(said: Run) -> None:
    runs = [Run(Status.FAILED), said, OK]
    assert (await told(THREE, *runs)).outcome is Outcome.INCORRECT
    assert (await told(THREE, *runs, config={"stop_on_failure": False})).outcome is Outcome.INCORRECT
    assert (await told(THREE, *runs, config={"reward": "fraction"})).outcome is Outcome.UNSCORED


async def test_tests_that_are_broken_before_they_begin() -> None:
    for run, error in ((BROKEN, ErrorType.BAD_ITEM), (APART, ErrorType.UNSPLITTABLE_TEST)):
        verdict = await told(THREE, prepared=run)
        assert verdict.error is not None
        assert verdict.error.type is error


# the sandbox's faults


@pytest.mark.parametrize(
    ("error", "type", "message"),
    [
        (SandboxUnavailableError("no namespaces"), ErrorType.SANDBOX_UNAVAILABLE, "no namespaces"),
        (NotOfferedError("no 'go'; python"), ErrorType.SANDBOX_UNAVAILABLE, "no 'go'; python"),
        (SandboxFaultError("died twice"), ErrorType.SANDBOX_FAULT, "died twice"),
        (SandboxDeadlineError("late"), ErrorType.DEADLINE_EXCEEDED, "the deadline passed"),
    ],
)
async def test_faults_of_the_sandbox_are_unscored(error: SandboxError, type: ErrorType, message: str) -> None:
    verdict = await score("code", sandbox=ScriptedSandbox(error=error), completion="x", reference=TWO)
    assert verdict.error is not None
    lasting = isinstance(error, NotOfferedError)
    assert (verdict.error.type, verdict.error.retryable, verdict.score) == (type, not lasting, None)
    assert verdict.error.message.startswith(message)


async def test_without_a_sandbox_what_would_run_is_unscored() -> None:
    verdict = await score("code", completion="x", reference=TWO)
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.retryable) == (ErrorType.SANDBOX_UNAVAILABLE, True)
    assert (await score("code", completion="", reference=TWO)).outcome is Outcome.UNPARSEABLE


async def test_a_fault_of_one_item_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaks(ScriptedSandbox):
        async def run(self, job: Any, **options: Any) -> Any:
            if job.program.source == b"break":
                raise ZeroDivisionError("secret")
            return await super().run(job, **options)

    items = [Item(completion=text, reference=TWO) for text in ("a", "break", "b")]
    verdicts = await score_all(configured("code"), items, sandbox=Breaks([wrote("1"), wrote("2")]))
    assert [verdict.score for verdict in verdicts] == [1.0, None, 1.0]
    assert verdicts[1].error is not None
    assert verdicts[1].error.type is ErrorType.VERIFIER_FAULT
    assert verdicts[1].error.message.startswith("ZeroDivisionError in test_judging.py:")


async def test_past_the_deadline_nothing_begins() -> None:
    sandbox = ScriptedSandbox([wrote("1"), wrote("2")])
    items = [Item(completion="x", reference=TWO)] * 3
    verdicts = await score_all(configured("code"), items, sandbox=sandbox, seconds=-1)
    assert all(verdict.error and verdict.error.type is ErrorType.DEADLINE_EXCEEDED for verdict in verdicts)
    assert sandbox.jobs == []


async def test_many_items_keep_their_order() -> None:
    class Echoes(ScriptedSandbox):
        async def run(self, job: Any, **options: Any) -> Any:
            self.runs = [wrote(job.program.source)]
            return await super().run(job, **options)

    items = [Item(completion=f"{i % 7}", reference=stdio(("", f"{i % 5}"))) for i in range(1_000)]
    verdicts = await score_all(configured("code"), items, sandbox=Echoes())
    assert [verdict.score for verdict in verdicts] == [float(i % 7 == i % 5) for i in range(1_000)]


# what is sent


async def test_a_job_holds_what_the_configuration_says() -> None:
    sandbox = ScriptedSandbox([wrote("1"), wrote("2")])
    config = {
        "limits": {"cpu_s": 1, "memory_mb": 64},
        "files": {"a/b.txt": "é"},
        "packages": ["numpy"],
    }
    await score("code", config, sandbox=sandbox, completion="```python\nx\n```", reference=TWO)
    [job] = sandbox.jobs
    assert (job.program.source, job.program.language) == (b"x\n", "python")
    assert job.program.files == {"a/b.txt": "é".encode()}
    assert job.program.packages == {"numpy"}
    assert (job.limits.cpu_s, job.limits.wall_s, job.limits.memory_mb) == (1.0, 4.0, 64)
    assert job.task == Stdio([b"1", b"2"])


async def test_expected_values_are_not_sent() -> None:
    sandbox = ScriptedSandbox([returned("secret")])
    reference = {
        "type": "function",
        "entry_point": "f",
        "cases": [{"args": ["é"], "kwargs": {"k": 1.5}, "expected": "secret"}],
    }
    assert (await score("code", sandbox=sandbox, completion="x", reference=reference)).score == 1.0
    [job] = sandbox.jobs
    assert job.task == Calls("f", [b'[["\\u00e9"],{"k":1.5}]'])
    assert "secret" not in repr(job)


async def test_a_script_is_sent_as_tests_of_its_entry_point() -> None:
    sandbox = ScriptedSandbox([OK])
    reference = script("assert candidate() == 1")
    config = {"prefix": "prompt"}
    await score("code", config, sandbox=sandbox, prompt="def f():\n", completion="    return 1", reference=reference)
    [job] = sandbox.jobs
    assert job.program.source == b"def f():\n    return 1"
    assert job.task == Split(["check(candidate)"], reference["code"], ["f"], {"candidate": "f"}, "")


# large comparisons

LONG = " ".join(["1"] * 60_000)


@pytest.mark.parametrize("compare", ["tokens", "lines", "float"])
async def test_large_output_is_compared_by_a_worker(compare: str) -> None:
    for text, expected in (("2" + LONG[1:], 0.0), (LONG.replace(" ", "  "), 1.0 if compare != "lines" else 0.0)):
        guard = InProcessGuard()
        verdict = await told(stdio(("", LONG), compare=compare), wrote(text), guard=guard)
        assert verdict.score == expected
        assert guard.payloads
    assert (await told(stdio(("", LONG), compare=compare), wrote(LONG + "\n"))).score == 1.0  # without any


async def test_a_large_value_is_compared_by_a_worker() -> None:
    for value, expected in ((list(range(10_000)), 1.0), (list(range(1, 10_001)), 0.0)):
        guard = InProcessGuard()
        verdict = await told(function(([], list(range(10_000)))), returned(value), guard=guard)
        assert verdict.score == expected
        assert guard.payloads
    broken = Run(Status.OK, value=b"[" * 10_000)
    assert (await told(function(([], [])), broken, guard=InProcessGuard())).outcome is Outcome.REJECTED


async def test_what_a_worker_decides_counts_in_order() -> None:
    tests = stdio(("", LONG), ("", "1"), ("", LONG))
    wrong = await told(tests, wrote("x"), wrote("2"), wrote("x"), guard=InProcessGuard())
    assert (wrong.detail["index"], wrong.detail["passed"], wrong.full["tests"]) == (0, 0, ["wrong"])
    later = await told(tests, wrote(LONG), wrote("1"), wrote("x"), guard=InProcessGuard())
    assert (later.detail["index"], later.detail["passed"]) == (2, 2)
    fraction = await told(
        tests, wrote("x"), wrote("1"), wrote("x"), guard=InProcessGuard(), config={"reward": "fraction"}
    )
    assert fraction.score == 1 / 3


@pytest.mark.parametrize(
    ("fault", "outcome"), [(GuardFault.UNAVAILABLE, Outcome.UNSCORED), (GuardFault.CPU, Outcome.TIMEOUT)]
)
async def test_a_worker_that_says_nothing(fault: GuardFault, outcome: Outcome) -> None:
    assert (await told(stdio(("", LONG)), wrote("x"), guard=FaultyGuard(fault))).outcome is outcome


# properties

RUNS = st.builds(
    Run,
    st.sampled_from(list(Status)),
    exit_code=st.none() | st.integers(0, 255),
    signal=st.none() | st.integers(1, 64),
    stdout=st.binary(max_size=8) | st.just(b"1"),
    stderr=st.binary(max_size=8),
    value=st.binary(max_size=8) | st.just(b"1"),
    message=st.text(max_size=8),
)


@given(
    reference=st.sampled_from([stdio(*[("", "1")] * 3), function(*[([], 1)] * 3), THREE]),
    runs=st.lists(RUNS, max_size=3),
    prepared=st.none() | RUNS,
    reward=st.sampled_from(["all", "fraction"]),
    stop=st.none() | st.booleans(),
)
async def test_whatever_the_sandbox_tells_only_passes_pass(
    reference: Any, runs: list[Run], prepared: Run | None, reward: str, stop: bool | None
) -> None:
    verdict = await told(reference, *runs, prepared=prepared, config={"reward": reward, "stop_on_failure": stop})
    good = [run for run in runs if run.status is Status.OK]
    if verdict.score:
        assert prepared is None or prepared.status is Status.OK
        assert verdict.score <= len(good) / 3
    if verdict.score == 1.0:
        assert verdict.outcome is Outcome.CORRECT
        assert len(good) == 3

"""Tests in one process with the program they test, where the configuration allows what a program can then forge.

The sandbox runs a program of ours, a driver, that loads the completion and the tests, and leaves a file that says
what became of them. A run without that file is no pass.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from sandbox.base import Job, Program, Run, Status, Stdio
from verifiers.base import ErrorType, Outcome, clip
from verifiers.code.marks import PASSED, Mark, of_status
from verifiers.code.python_tests import PythonTests
from verifiers.code.suite import Settings, Suite

SOLUTION = "solution.py"
"""The file of the completion."""
RESULT = ".assay-result.json"
PLAN = ".assay-tests.json"
MAX_RESULT = 1_000_000
"""Bytes of a result that is read."""

_ASSERTS = f"""
import json, sys

def describe(error):
    return f"{{type(error).__name__}}: {{error}}"[:300]

def told(status, why=""):
    with open({RESULT!r}, "w") as file:
        json.dump({{"status": status, "why": why}}, file)

with open({PLAN!r}, encoding="utf-8") as file:
    plan = json.load(file)
with open({SOLUTION!r}, "rb") as file:
    program = file.read()
index = int(sys.stdin.readline())
names = {{"__name__": "solution"}}
try:
    exec(compile(program, {SOLUTION!r}, "exec"), names)
except BaseException as error:
    told("exit", describe(error))
    sys.exit(1)
for alias, name in plan["aliases"].items():
    if name in names:
        names[alias] = names[name]
try:
    setup, test = compile(plan["setup"], "setup", "exec"), compile(plan["tests"][index], "test", "exec")
except (SyntaxError, ValueError) as error:
    told("broken_test", describe(error))
    sys.exit(1)
try:
    exec(setup, names)
    exec(test, names)
except AssertionError as error:
    told("failed", describe(error))
    sys.exit(1)
except BaseException as error:
    told("exit", describe(error))
    sys.exit(1)
told("ok")
"""

_PYTEST = f"""
import json, sys
sys.dont_write_bytecode = True
sys.path.insert(0, "")
import pytest

with open({PLAN!r}, encoding="utf-8") as file:
    paths = json.load(file)["tests"]
tests, faults = {{}}, []

class Reports:
    def pytest_collection_modifyitems(self, items):
        for item in items:
            tests[item.nodeid] = ["not run", ""]

    def pytest_collectreport(self, report):
        if report.failed:
            faults.append(str(report.longrepr)[-200:])

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.passed and tests.get(report.nodeid, [""])[0] == "not run":
            tests[report.nodeid] = ["passed", ""]
        elif not report.passed:
            expected = hasattr(report, "wasxfail") and report.skipped
            reason = getattr(getattr(report.longrepr, "reprcrash", None), "message", None) or str(report.longrepr)
            tests[report.nodeid] = ["passed" if expected else "skipped" if report.skipped else "failed", reason[:300]]

status, why = "ok", ""
for path in paths:
    try:
        with open(path, "rb") as file:
            compile(file.read(), path, "exec")
    except (SyntaxError, ValueError) as error:
        status, why = "broken_test", f"{{path}}: {{error}}"[:300]
if status == "ok":
    code = pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir=.", "-c", "/dev/null", *paths], [Reports()])
with open({RESULT!r}, "w") as file:
    json.dump({{"status": status, "why": why, "tests": tests, "faults": faults}}, file)
"""


class _DriverSuite(Suite):
    """Runs a driver in place of the completion."""

    stage: ClassVar[str] = "test"
    loading: ClassVar[str] = "load"
    forgeable: ClassVar[bool] = True
    driver: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    """Packages that the driver imports."""

    def plan(self) -> dict[str, Any]:
        """What the driver reads."""
        raise NotImplementedError

    def files(self) -> Mapping[str, bytes]:
        """Files of the tests."""
        return {}

    def job(self, source: bytes, settings: Settings) -> Job:
        """See `Suite.job`."""
        files = {**settings.files, **self.files(), SOLUTION: source, PLAN: json.dumps(self.plan()).encode()}
        program = Program(self.driver.encode(), settings.language, files, settings.packages | self.needs)
        return Job(program, self.task(), settings.limits)

    def result(self, run: Run) -> dict[str, Any]:
        """What the driver left, as far as it is what a driver leaves."""
        data = run.files.get(RESULT, b"")
        if not data or len(data) > MAX_RESULT:
            return {}
        try:
            result = json.loads(data)
        except (ValueError, RecursionError):
            return {}
        return result if isinstance(result, dict) else {}


class OneProcessSuite(_DriverSuite):
    """Asserts, or a script, in one process with the program: a fresh one for each test."""

    driver: ClassVar[str] = _ASSERTS

    def __init__(self, tests: PythonTests) -> None:
        super().__init__(len(tests.tests))
        self._tests = tests

    def plan(self) -> dict[str, Any]:
        """See `_DriverSuite.plan`."""
        tests = self._tests
        return {"tests": list(tests.tests), "setup": tests.setup, "aliases": dict(tests.aliases)}

    def task(self) -> Stdio:
        """See `Suite.task`."""
        return Stdio([b"%d\n" % index for index in range(self.total)], [RESULT])

    def mark(self, index: int, run: Run) -> Mark | None:
        """See `Suite.mark`."""
        if run.status not in (Status.OK, Status.EXIT):
            return of_status(run)
        result = self.result(run)
        match result.get("status"):
            case "ok" if run.status is Status.OK:
                return PASSED
            case "failed":
                return Mark(Outcome.INCORRECT, "failed", _text(result.get("why")))
            case "exit":
                return Mark(Outcome.CRASHED, "exit", _text(result.get("why")))
            case "broken_test":
                return Mark(Outcome.UNSCORED, "broken_test", _text(result.get("why")), ErrorType.BAD_ITEM)
            case _:
                return Mark(Outcome.CRASHED, "exit", "the process ended before the test did")

    def shown(self, index: int, run: Run) -> dict[str, str]:
        """See `Suite.shown`."""
        return {"test": clip(self._tests.tests[index])}


class PytestSuite(_DriverSuite):
    """Files of tests for pytest, all in one process, which imports the program as `solution`."""

    driver: ClassVar[str] = _PYTEST
    needs: ClassVar[frozenset[str]] = frozenset(("pytest",))

    def __init__(self, files: Mapping[str, bytes], paths: Sequence[str]) -> None:
        super().__init__(1)
        self._files = files
        self._paths = paths
        self._names: list[str] = []

    def plan(self) -> dict[str, Any]:
        """See `_DriverSuite.plan`."""
        return {"tests": list(self._paths)}

    def files(self) -> Mapping[str, bytes]:
        """See `_DriverSuite.files`."""
        return self._files

    def task(self) -> Stdio:
        """See `Suite.task`."""
        return Stdio([b""], [RESULT])

    def mark(self, index: int, run: Run) -> Mark | None:
        """See `Suite.mark`."""
        if run.status not in (Status.OK, Status.EXIT):
            return of_status(run)
        result = self.result(run)
        if result.get("status") == "broken_test":
            return Mark(Outcome.UNSCORED, "broken_test", _text(result.get("why")), ErrorType.BAD_ITEM)
        if not result:
            return Mark(Outcome.CRASHED, "exit", "the process ended before the tests did")
        faults = result.get("faults")
        if isinstance(faults, list) and faults:
            return Mark(Outcome.INCORRECT, "failed", _text(faults[0]))
        return PASSED if run.status is Status.OK else of_status(run)

    def marks(self, marks: Sequence[Mark], runs: Sequence[Run]) -> list[Mark]:
        """One mark for each test that pytest found. Where it found none, the item's tests are at fault."""
        if not marks or not marks[0].passed:
            return list(marks)
        tests = self.result(runs[0]).get("tests")
        if not isinstance(tests, dict) or not tests:
            return [Mark(Outcome.UNSCORED, "broken_test", "pytest finds no tests", ErrorType.BAD_ITEM)]
        self._names = [str(name) for name in tests]
        self.total = len(tests)
        return [_pytest_mark(entry) for entry in tests.values()]

    def shown(self, index: int, run: Run) -> dict[str, str]:
        """See `Suite.shown`."""
        return {"test": clip(self._names[index])} if self._names else {}


def _text(said: Any) -> str:
    """What a driver says, where it is text."""
    return clip(said) if isinstance(said, str) else ""


def _pytest_mark(entry: Any) -> Mark:
    match entry:
        case ["passed", _]:
            return PASSED
        case [str(word), str(why)]:
            return Mark(Outcome.INCORRECT, "failed", clip(f"{word}: {why}" if why else word))
        case _:
            return Mark(Outcome.INCORRECT, "failed")

"""open-instruct's code API: POST test_program (asserts) and POST test_program_stdio, for its `code_api_url`.

Written from its released code. Its own server runs the tests in the program's process; here they are verdicts of the
kind `code`, recorded like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app import wire
from app.api.compat.access import may_score
from app.api.compat.foreign import Foreign, as_bytes, refused
from app.api.compat.packages import named_packages
from app.api.compat.packed import PackedError, unpacked
from app.api.compat.scoring import Fallback, limits, scored, tests_of, unscored
from app.api.deps import Body, Received, json_response, services, takes
from app.errors import Problem
from app.services import Services
from app.store.projects import Project
from app.tasks import Inline
from verifiers.base import Item, explain, pointer

router = APIRouter(prefix="/compat/open-instruct", tags=["compat"])

MAX_TESTS = 1000
"""Of so many tests a verdict says what became of each."""
MAX_TIME_S = 60.0
"""Most seconds of one test."""
LEAST_PATIENCE_S, MOST_PATIENCE_S, TIMES = 30.0, 300.0, 10
"""Its client waits ten times `max_execution_time` for an answer, within these bounds."""
MARGIN_S = 2.0
"""How much earlier than its client gives up the answer is sent."""
FAILED_RUNTIME = -1.0
"""The runtime of a test that did not pass."""


class TestProgramRequest(Foreign):
    """A program and its tests."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"program": "def add(a, b):\n    return a + b", "tests": ["assert add(1, 2) == 3"]}]
        }
    )
    program: str = Field(description="Python.")
    tests: Any = Field(
        description="A list of statements such as `assert f(1) == 2`, for test_program_stdio of `{input, output}`; "
        "or that list as JSON text, or packed as open-instruct does."
    )
    max_execution_time: float = Field(1.0, ge=0.05, le=MAX_TIME_S, description="Seconds that one test may take.")


class TestProgramResponse(BaseModel):
    """What became of each test, in order."""

    results: list[int | float] = Field(description="1 where the test passes, else 0; or `fallback`.")
    runtimes: list[float] = Field(description="Seconds; -1 where the test does not pass.")


class StdioTest(Foreign):
    """What the program reads, and what it must write."""

    input: str | list[str]
    output: str


STATEMENTS = TypeAdapter(list[str])
STDIO_TESTS = TypeAdapter(list[StdioTest])


@router.post("/test_program", response_model=TestProgramResponse, operation_id="open_instruct_test_program")
@takes(TestProgramRequest)
async def test_program(request: Request, fallback: Fallback = None) -> Response:
    """Run each statement after the program; each is a test that passes if it raises nothing."""
    who = await may_score(request)
    async with Received(request, TestProgramRequest) as body:
        asserts = await _tests(body.value.tests, STATEMENTS)
        reference = {"type": "asserts", "asserts": asserts}
        return await _answered(services(request), who.project, body, reference, len(asserts), fallback)


@router.post("/test_program_stdio", response_model=TestProgramResponse, operation_id="open_instruct_test_stdio")
@takes(TestProgramRequest)
async def test_program_stdio(request: Request, fallback: Fallback = None) -> Response:
    """Run the program on each input and compare what it writes, numbers by value."""
    who = await may_score(request)
    async with Received(request, TestProgramRequest) as body:
        tests = await _tests(body.value.tests, STDIO_TESTS)
        cases = [{"stdin": _joined(test.input), "stdout": test.output} for test in tests]
        reference = {"type": "stdio", "cases": cases, "compare": "float"}
        return await _answered(services(request), who.project, body, reference, len(cases), fallback)


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "\n".join(text)


async def _tests(sent: Any, form: TypeAdapter[list[Any]]) -> list[Any]:
    """The tests in the form that the path takes. Raises `Problem` (422)."""
    tests = await _listed(sent) if isinstance(sent, str) else sent
    if not isinstance(tests, list):
        raise refused("/tests", "must be a list of tests")
    if not 0 < len(tests) <= MAX_TESTS:
        raise refused("/tests", f"there are {len(tests)}; send 1 to {MAX_TESTS:,}")
    try:
        found = form.validate_python(tests, strict=True)
    except ValidationError as error:
        location, message = explain(error, tests)
        raise refused("/tests" + pointer(location), message) from None
    if sum(map(_size, found)) > wire.MAX_BODY:  # what is packed may name one text many times
        raise refused("/tests", f"they hold more than {wire.MAX_BODY // 2**20} MiB")
    return found


async def _listed(text: str) -> Any:
    try:
        return wire.decode(as_bytes(text))
    except Problem:
        pass
    try:
        return await unpacked(text)
    except PackedError as error:
        raise refused("/tests", str(error)) from None


def _size(test: str | StdioTest) -> int:
    return len(test) if isinstance(test, str) else len(_joined(test.input)) + len(test.output)


async def _answered(
    state: Services,
    project: Project,
    body: Body[TestProgramRequest],
    reference: dict[str, Any],
    count: int,
    fallback: float | None,
) -> Response:
    """The answer of a program whose tests are `count`. Raises `Problem` where it is unscored and has no fallback."""
    asked = body.value
    item = Item(completion=asked.program, reference=reference)
    config = {
        "language": "python",
        "fence": "whole",
        "reward": "fraction",
        "stop_on_failure": False,
        "limits": limits(state.settings, asked.max_execution_time),
        "packages": sorted(named_packages(state.sandbox.packages, [as_bytes(asked.program)])),
        "float_tolerance": 0.0,
    }
    patience = max(LEAST_PATIENCE_S, min(MOST_PATIENCE_S, TIMES * asked.max_execution_time))
    result = await scored(state, project, body, Inline("code", config), item, patience - MARGIN_S)
    if result.score is None:
        if fallback is None:
            raise unscored(result)
        return _response([fallback] * count, [FAILED_RUNTIME] * count)
    tests = tests_of(result, count)
    runtimes = [test.seconds if test.passed else FAILED_RUNTIME for test in tests]
    return _response([int(test.passed) for test in tests], runtimes)


def _response(results: Sequence[float], runtimes: Sequence[float]) -> Response:
    return json_response(wire.encode({"results": list(results), "runtimes": list(runtimes)}))

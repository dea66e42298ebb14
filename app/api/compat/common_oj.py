"""SandboxFusion's POST submit, for its dataset type CommonOJDataset: a completion against cases of input and output.

Written from its released code. The program is found as it finds it; the verdict is one of the kind `code`, recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app import wire
from app.api.compat.access import may_score
from app.api.compat.fences import code_of
from app.api.compat.foreign import Foreign, as_bytes, refused
from app.api.compat.packages import named_packages
from app.api.compat.sandbox_fusion import INTERPRETED, MAX_TIMEOUT_S, OURS, SLACK_S, TOLD, RunCodeResponse, theirs
from app.api.compat.scoring import (
    NOT_TOLD,
    Fallback,
    TestMark,
    detail_of,
    limits,
    scored,
    tests_of,
    unscored,
)
from app.api.deps import Received, json_response, services, takes
from app.errors import Problem
from app.results import Result
from app.tasks import Inline
from sandbox.base import Sandbox
from verifiers.base import Item, clip, explain, pointer
from verifiers.code.config import Language

router = APIRouter(prefix="/compat/sandbox-fusion", tags=["compat"])

DATASET_TYPE = "CommonOJDataset"
MAX_CASES = 10_000
COMPILE_S, RUN_S, RUN_INTERPRETED_S = 10.0, 10.0, 20.0
"""Its own time-outs where the request has none."""
PATIENCE_S = 300.0
"""When the answer is sent at the latest; its own servers wait 320 s for a run."""
TOLERANCE = 1e-5
"""Its largest difference of numbers."""
LANGUAGES: tuple[Language, ...] = get_args(Language)
NOT_RUN = frozenset({"compile", "load", "extract"})
"""Stages of a verdict before any case."""
SHOWN = 1000
"""Characters of a case's texts that the answer repeats, unless it asks for all of them."""


class OJCase(Foreign):
    """What the program reads, and what it must write."""

    input: dict[str, str] = Field(examples=[{"stdin": "1\n"}])
    output: dict[str, str] = Field(examples=[{"stdout": "2\n"}])


CASES = TypeAdapter(list[OJCase])


class OJProblem(Foreign):
    """The row of a data set that holds the cases."""

    test: list[OJCase] | str = Field(description="The cases, or JSON text of them.")


class OJConfig(Foreign):
    """How the completion is judged."""

    dataset_type: str | None = Field(None, description=f"Must be `{DATASET_TYPE}`.")
    language: str | None = Field(None, description="`python`, `cpp`, `nodejs`, ...")
    compile_timeout: float | None = Field(None, gt=0, le=MAX_TIMEOUT_S)
    run_timeout: float | None = Field(None, ge=0.05, le=MAX_TIMEOUT_S)
    custom_extract_logic: str | None = Field(None, description="Must be null: no code of a request is run as ours.")
    provided_data: OJProblem | None = Field(None, description="The problem; there are no data sets here.")
    extra: dict[str, Any] = Field(
        default_factory=dict, description="`run_all_cases`: go on after one that fails; `return_full_case`."
    )


class SubmitRequest(Foreign):
    """A completion to judge."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "dataset": "any",
                    "id": 1,
                    "completion": "```python\nprint(int(input()) + 1)\n```",
                    "config": {
                        "dataset_type": DATASET_TYPE,
                        "language": "python",
                        "provided_data": {"test": [{"input": {"stdin": "41"}, "output": {"stdout": "42"}}]},
                    },
                }
            ]
        }
    )
    dataset: str
    id: int | str
    completion: str
    config: OJConfig


class EvalTestCase(BaseModel):
    """What became of one case."""

    passed: bool
    exec_info: RunCodeResponse
    test_info: dict[str, Any] | None


class EvalResult(BaseModel):
    """What became of the completion."""

    id: int | str
    accepted: bool
    extracted_code: str
    full_code: str | None
    test_code: str | None
    tests: list[EvalTestCase] = Field(description="Up to the first that fails, unless all were asked for.")
    extracted_type: Literal["fenced", "incomplete_fenced", "heuristic", "empty"] | None
    extra: dict[str, Any] | None = Field(description="`score_id` of the recorded verdict, and its outcome.")


@router.post("/submit", response_model=EvalResult, operation_id="sandbox_fusion_submit")
@takes(SubmitRequest)
async def submit(request: Request, fallback: Fallback = None) -> Response:
    """Judge a completion by cases of input and output, as SandboxFusion's CommonOJDataset does."""
    state = services(request)
    who = await may_score(request)
    async with Received(request, SubmitRequest) as body:
        asked = body.value
        language, cases = _language(asked.config), _cases(asked.config)
        code, found = code_of(asked.completion, asked.config.language or "")
        item = Item(
            id=clip(str(asked.id)),
            completion=code,
            reference={"type": "stdio", "cases": [_case(case) for case in cases], "compare": "float"},
            metadata={"dataset": asked.dataset, "completion": asked.completion},
        )
        run_s = asked.config.run_timeout or (RUN_INTERPRETED_S if language in INTERPRETED else RUN_S)
        config = {
            "language": language,
            "fence": "whole",
            "stop_on_failure": asked.config.extra.get("run_all_cases") is not True,
            "limits": limits(state.settings, run_s),
            "packages": _packages(state.sandbox, language, code),
            "float_tolerance": TOLERANCE,
        }
        patience = min(PATIENCE_S, (asked.config.compile_timeout or COMPILE_S) + run_s * len(cases) + SLACK_S)
        result = await scored(state, who.project, body, Inline("code", config), item, patience)
        if result.score is None and fallback is None:
            raise unscored(result)
        answer = {
            "id": asked.id,
            "accepted": (fallback if result.score is None else result.score) == 1,
            "extracted_code": code,
            "full_code": None,
            "test_code": None,
            "tests": [] if result.score is None else _tests(result, cases, asked.config),
            "extracted_type": found,
            "extra": {"score_id": str(result.score_id), "outcome": result.outcome},
        }
        return json_response(wire.encode(answer))


def _language(config: OJConfig) -> str:
    """The kind's name of the language. Raises `Problem` (422) on what cannot be judged here."""
    if config.dataset_type != DATASET_TYPE:
        raise refused("/config/dataset_type", f"must be {DATASET_TYPE!r}: only that is judged here")
    if config.custom_extract_logic is not None:
        raise refused("/config/custom_extract_logic", "must be null: it would be run by the service")
    language = OURS.get(config.language or "", config.language)
    if language not in LANGUAGES:
        raise refused("/config/language", f"is none of {', '.join(theirs(LANGUAGES))}")
    return language


def _cases(config: OJConfig) -> list[OJCase]:
    """The problem's cases. Raises `Problem` (422)."""
    where = "/config/provided_data"
    if config.provided_data is None:
        raise refused(where, "send the problem with its cases: there are no data sets here")
    cases = config.provided_data.test
    if isinstance(cases, str):
        try:
            decoded = wire.decode(as_bytes(cases))
        except Problem as problem:
            raise refused(f"{where}/test", problem.detail) from None
        try:
            cases = CASES.validate_python(decoded)
        except ValidationError as error:
            location, message = explain(error, decoded)
            raise refused(f"{where}/test{pointer(location)}", message) from None
    if not 0 < len(cases) <= MAX_CASES:
        raise refused(f"{where}/test", f"there are {len(cases)} cases; send 1 to {MAX_CASES:,}")
    for place, case in enumerate(cases):
        for member, texts, name in (("input", case.input, "stdin"), ("output", case.output, "stdout")):
            if name not in texts:
                raise refused(f"{where}/test/{place}/{member}", f"{name!r} is missing")
    return cases


def _case(case: OJCase) -> dict[str, str]:
    return {"stdin": case.input["stdin"], "stdout": case.output["stdout"]}


def _packages(sandbox: Sandbox, language: str, code: str) -> list[str]:
    return sorted(named_packages(sandbox.packages, [as_bytes(code)])) if language == "python" else []


def _tests(result: Result, cases: Sequence[OJCase], config: OJConfig) -> list[dict[str, Any]]:
    """The cases that were run, in the protocol's words; one that says why where none could be."""
    detail = detail_of(result)
    if detail.get("stage") in NOT_RUN:
        return [_test(cases[0], TestMark(detail.get("fault", NOT_TOLD)), detail, config, compiling=True)]
    marks = tests_of(result, len(cases))
    told = [(case, mark) for case, mark in zip(cases, marks, strict=True) if mark.fault != NOT_TOLD]
    first = detail.get("index")
    return [_test(case, mark, detail if place == first else {}, config) for place, (case, mark) in enumerate(told)]


def _test(
    case: OJCase, mark: TestMark, detail: dict[str, Any], config: OJConfig, *, compiling: bool = False
) -> dict[str, Any]:
    out_of_time = mark.fault in ("cpu", "wall")
    ran_well = mark.fault in ("", "wrong")
    command = {
        "status": "TimeLimitExceeded" if out_of_time else "Finished",
        "execution_time": mark.seconds or None,
        "return_code": 0 if ran_well else None,
        "stdout": detail.get("stdout"),
        "stderr": detail.get("stderr"),
    }
    whole = not mark.passed or config.extra.get("return_full_case") is True
    return {
        "passed": mark.passed,
        "exec_info": {
            "status": "Success" if ran_well else "Failed",
            "message": "" if ran_well or out_of_time else detail.get("why") or TOLD.get(mark.fault, ""),
            "compile_result": command if compiling else None,
            "run_result": None if compiling else command,
            "executor_pod_name": None,
            "files": {},
        },
        "test_info": {
            "input": _shown(case.input, whole=whole),
            "output": _shown(case.output, whole=whole),
        },
    }


def _shown(texts: dict[str, str], *, whole: bool) -> dict[str, str]:
    return texts if whole else {name: _cut(text) for name, text in texts.items()}


def _cut(text: str) -> str:
    half = SHOWN // 2
    return text if len(text) <= SHOWN else f"{text[:half]}...{text[-half:]}"

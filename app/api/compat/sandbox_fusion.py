"""SandboxFusion's protocol, as verl, ROLL and its own client speak it: POST run_code, POST submit, GET v1/ping.

Written from its released code. Where it would answer 200 with the status SandboxError, which verl counts as a wrong
solution, this answers 504, the one status that verl sends again.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app import wire
from app.api.compat.access import may_score
from app.api.compat.files import MAX_FILES, decoded, relative
from app.api.compat.foreign import Foreign, as_bytes, at_most, refused
from app.api.compat.packages import named_packages
from app.api.deps import Received, json_response, services, takes, unrecorded
from app.errors import Problem
from sandbox.base import (
    Job,
    Limits,
    NotOfferedError,
    Program,
    Ran,
    Run,
    Sandbox,
    SandboxError,
    Status,
    Stdio,
)

router = APIRouter(prefix="/compat/sandbox-fusion", tags=["compat"])

MAX_TIMEOUT_S = 300.0
"""Most seconds of a compilation, and of a run."""
SLACK_S = 5.0
"""What a run may wait for a cell, on top of its limits; less than verl waits for an answer on top of them."""
OUTPUT_KB = 1024
"""What SandboxFusion reads of an output."""
OURS = {"nodejs": "javascript", "js": "javascript", "ts": "typescript"}
"""Its names of languages, where ours differ."""
INTERPRETED = frozenset({"python", "javascript", "typescript", "bash"})
"""Languages whose programs it runs without a step of their own before."""
PYTEST = "pytest"
"""Its language whose programs are test modules."""
RUN_PYTEST = b"import sys\nimport pytest\nsys.exit(pytest.main(['-p', 'no:cacheprovider', 'test_program.py']))\n"


class RunCodeRequest(Foreign):
    """A program to run, once."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"code": "print(int(input()) + 1)", "language": "python", "stdin": "41"}]}
    )
    code: str = Field(description="The program.")
    language: str = Field(description="`python`, `cpp`, `nodejs`, ...; GET /sandbox lists what there is.")
    stdin: str | None = Field(None, description="What it reads; nothing if null.")
    compile_timeout: float = Field(10, gt=0, le=MAX_TIMEOUT_S, description="Seconds that compiling may take.")
    run_timeout: float = Field(10, gt=0, le=MAX_TIMEOUT_S, description="Seconds that running may take.")
    memory_limit_mb: int = Field(
        -1, alias="memory_limit_MB", le=2**31, description="MiB; the most that a run may have if 0 or less."
    )
    files: Annotated[dict[str, str | None], BeforeValidator(at_most(MAX_FILES, "files"))] = Field(
        default_factory=dict, description="Files beside the program: base64 by relative path."
    )
    fetch_files: Annotated[list[str], BeforeValidator(at_most(MAX_FILES, "files"))] = Field(
        default_factory=list, description="Files to bring back, by relative path."
    )


class CommandResult(BaseModel):
    """How compiling or running ended."""

    status: Literal["Finished", "Error", "TimeLimitExceeded"]
    execution_time: float | None = Field(description="Seconds.")
    return_code: int | None = Field(description="Negative: the signal that ended it. Null where time ran out.")
    stdout: str | None
    stderr: str | None


class RunCodeResponse(BaseModel):
    """What became of the program."""

    status: Literal["Success", "Failed", "SandboxError"] = Field(description="Success: all ended with return code 0.")
    message: str = Field(description="Which bound the program broke, where it was not time.")
    compile_result: CommandResult | None
    run_result: CommandResult | None
    executor_pod_name: str | None
    files: dict[str, str] = Field(description="Those of `fetch_files` that exist: base64 by path.")


@router.get("/v1/ping", response_model=str, operation_id="sandbox_fusion_ping")
async def ping() -> Response:
    """Answers "pong"; needs no key."""
    return json_response('"pong"')


@router.post("/run_code", response_model=RunCodeResponse, operation_id="sandbox_fusion_run_code")
@takes(RunCodeRequest)
@unrecorded
async def run_code(request: Request) -> Response:
    """Run a program once in a sandbox. Nothing is scored, and nothing recorded."""
    state = services(request)
    try:
        await may_score(request)
        async with Received(request, RunCodeRequest) as body:
            asked = body.value
            deadline = time.monotonic() + asked.compile_timeout + asked.run_timeout + SLACK_S
            fetch = {relative(f"/fetch_files/{place}", name): name for place, name in enumerate(asked.fetch_files)}
            ran = await ran_by(state.sandbox, asked, list(fetch), state.settings.sandbox_memory_mb, deadline)
            answer = described(ran, asked.language)
            answer["files"] = {fetch[path]: content for path, content in answer["files"].items()}
            return json_response(wire.encode(answer))
    except Problem as problem:
        if problem.status == 503:
            raise Problem("not-run", problem.detail) from None
        raise


async def ran_by(
    sandbox: Sandbox, asked: RunCodeRequest, fetch: Sequence[str], memory_mb: int, deadline: float
) -> Ran:
    """What becomes of the program. Raises `Problem`: 422 for one that cannot be run, 504 where it was not run."""
    if sandbox.unavailable:
        raise Problem("not-run", sandbox.unavailable)
    if asked.memory_limit_mb > memory_mb:
        raise refused("/memory_limit_MB", f"a run gets at most {memory_mb} MiB here (ASSAY_SANDBOX_MEMORY_MB)")
    job = Job(
        program_of(sandbox, asked.code, asked.language, decoded("files", asked.files)),
        Stdio([as_bytes(asked.stdin or "")], fetch),
        limits_of(asked.run_timeout, asked.memory_limit_mb if asked.memory_limit_mb > 0 else memory_mb),
        replace(limits_of(asked.compile_timeout, memory_mb), processes=64, disk_mb=256),
    )
    try:
        return await sandbox.run(job, deadline=deadline)
    except NotOfferedError as error:
        if job.program.language in sandbox.languages:
            raise Problem("invalid-body", str(error)) from None
        raise refused("/language", f"is none of {', '.join(theirs(sandbox.languages))}") from None
    except SandboxError as error:
        raise Problem("not-run", str(error)) from None


def theirs(languages: Collection[str]) -> list[str]:
    """Languages by the protocol's names."""
    names = {ours: theirs for theirs, ours in reversed(OURS.items())}
    return sorted(names.get(language, language) for language in languages)


def limits_of(timeout: float, memory_mb: int) -> Limits:
    """The bounds of one run of at most so many seconds, which the protocol counts by the clock."""
    return Limits(cpu_s=timeout, wall_s=timeout, memory_mb=memory_mb, output_kb=OUTPUT_KB)


def program_of(sandbox: Sandbox, code: str, language: str, beside: Mapping[str, bytes]) -> Program:
    """The program, with the packages that it names."""
    source, ours = as_bytes(code), OURS.get(language, language)
    if language == PYTEST and PYTEST in sandbox.packages:
        beside = {**beside, "test_program.py": source}
        packages = frozenset({PYTEST}) | named_packages(sandbox.packages, beside.values())
        return Program(RUN_PYTEST, "python", beside, packages)
    packages = named_packages(sandbox.packages, [source, *beside.values()]) if ours == "python" else frozenset()
    return Program(source, ours, beside, packages)


def described(ran: Ran, language: str) -> dict[str, Any]:
    """What became of a program, in the protocol's words."""
    prepared, run = ran.prepared, ran.runs[0] if ran.runs else None
    if prepared is not None and OURS.get(language, language) in INTERPRETED:
        # to SandboxFusion this is part of the run
        prepared, run = None, run or prepared
    broken = next((part for part in (prepared, run) if part is not None and part.status is not Status.OK), None)
    return {
        "status": "Success" if broken is None else "Failed",
        "message": "" if broken is None or broken.status not in TOLD else broken.message or TOLD[broken.status],
        "compile_result": None if prepared is None else result_of(prepared),
        "run_result": None if run is None else result_of(run),
        "executor_pod_name": None,
        "files": {} if run is None else {path: base64.b64encode(run.files[path]).decode() for path in run.files},
    }


TOLD: dict[str, str] = {Status.MEMORY: "it used more memory than it may", Status.OUTPUT: "it wrote more than it may"}
"""Ends that no field of the protocol tells from an ordinary crash."""
KILLED = -9
"""The return code of what was ended from outside."""


def result_of(run: Run) -> dict[str, Any]:
    """How one command ended. A bound other than time shows as the signal that ended it."""
    out_of_time = run.status in (Status.CPU, Status.WALL)
    if out_of_time:
        code = None
    elif run.signal is not None:
        code = -run.signal
    elif run.exit_code is not None and (run.exit_code != 0 or run.status is Status.OK):
        code = run.exit_code
    else:
        code = 0 if run.status is Status.OK else KILLED
    return {
        "status": "TimeLimitExceeded" if out_of_time else "Finished",
        "execution_time": run.wall_ms / 1000,
        "return_code": code,
        "stdout": run.stdout.decode("utf-8", "replace"),
        "stderr": run.stderr.decode("utf-8", "replace"),
    }

"""Items judged by one loading of a user's code: what the sandbox is asked, and what its answers mean."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sandbox.base import Calls, Job, Limits, Program, Run, Sandbox, Status
from sandbox.cell.values import ValuesError, decode
from verifiers.base import ErrorType, Item, Verdict, clip
from verifiers.in_sandbox import how_it_ended
from verifiers.own_result import OwnResultError, verdict_of
from verifiers.python import runner

STAGE = "python"
MAX_RESULT_KB = 64
"""A result is read on the event loop, in a few milliseconds at most."""

_RUNNER = Path(runner.__file__).read_text()
_encoder = json.JSONEncoder(ensure_ascii=True, allow_nan=False, check_circular=False, separators=(",", ":"))


@dataclass(frozen=True)
class Judge:
    """A user's function and its bounds."""

    code: str
    entry_point: str
    limits: Limits
    packages: frozenset[str]

    @cached_property
    def program(self) -> Program:
        """What the sandbox loads."""
        source = f"{_RUNNER}\n\njudge = prepared({self.entry_point!r})\n"
        return Program(source.encode(), "python", {f"{runner.MODULE}.py": self.code.encode()}, self.packages)

    def job(self, calls: Sequence[bytes]) -> Job:
        """Load it, and judge these items."""
        limits = replace(self.limits, output_kb=min(self.limits.output_kb, MAX_RESULT_KB))
        return Job(self.program, Calls("judge", calls), limits)


def arguments(item: Item) -> bytes:
    """An item as the runner takes it."""
    given = {
        "completion": item.text,
        "reference": item.reference,
        "prompt": item.prompt_text,
        "metadata": item.metadata,
        "messages": _messages(item),
    }
    return _encoder.encode([[], given]).encode()


def _messages(item: Item) -> list[dict[str, Any]] | None:
    """Prompt and completion as chat messages; None where both are text, of which the runner makes them."""
    if isinstance(item.completion, str) and (item.prompt is None or isinstance(item.prompt, str)):
        return None
    messages: list[dict[str, Any]] = []
    for role, part in (("user", item.prompt), ("assistant", item.completion)):
        if isinstance(part, str):
            messages.append({"role": role, "content": part})
        else:
            messages += [message.model_dump(exclude_unset=True) for message in part or ()]
    return messages


class Batch:
    """Some items of a request, and the verdicts of the first of them, as far as they have come."""

    def __init__(self, judge: Judge, calls: Sequence[bytes]) -> None:
        self.verdicts: list[Verdict] = []
        self._judge = judge
        self._calls = calls
        self._of_job = 0

    async def run(self, sandbox: Sandbox, deadline: float) -> None:
        """Judge every item. Raises `SandboxError`; what has come until then stays.

        Idle time adds up over a job (a sleep in each call, say), and it may be used up by the items before: such an
        item is tried again as the first of a job of its own.
        """
        while len(self.verdicts) < len(self._calls):
            start = len(self.verdicts)
            self._of_job = 0
            ran = await sandbox.run(self._judge.job(self._calls[start:]), deadline=deadline, go_on=self._take)
            if ran.prepared is not None and ran.prepared.status is not Status.OK:
                reason = how_it_ended(ran.prepared, self._judge.limits)
                fault = _fault(f"the code cannot be loaded: {reason}")
                self.verdicts += [fault] * (len(self._calls) - start)
                return
            for index in range(self._of_job, len(ran.runs)):
                self._take(index, ran.runs[index])
            if len(self.verdicts) == start:
                fault = Verdict.unscored(ErrorType.SANDBOX_FAULT, "the sandbox told of no item", retryable=True)
                self.verdicts += [fault] * (len(self._calls) - start)

    def _take(self, index: int, run: Run) -> bool:
        """A job's result; returns whether the job is to go on. May be asked of the last one or not."""
        if index != self._of_job:
            return False
        own_time = run.wall_ms >= self._judge.limits.wall_s * 1000
        if run.status is Status.WALL and index > 0 and not own_time:
            return False
        self.verdicts.append(self._verdict(run))
        self._of_job += 1
        return True

    def _verdict(self, run: Run) -> Verdict:
        name = self._judge.entry_point
        if run.status is Status.FAILED:
            return _fault(f"{name} returned what is no result: {how_it_ended(run, self._judge.limits)}")
        if run.status is not Status.OK:
            return _fault(f"{name}: {how_it_ended(run, self._judge.limits)}")
        try:
            told = decode(run.value, limit_bytes=MAX_RESULT_KB * 1024)
        except ValuesError as error:
            return _fault(f"{name} returned what is no result: {error}")
        if not isinstance(told, dict):
            return _fault(f"{name} was not called by the runner")
        printed = told.get("printed")
        full = {"printed": printed} if isinstance(printed, str) and printed else {}
        if isinstance(raised := told.get("raised"), str):
            verdict = _fault(f"{name} raised {raised}")
        else:
            try:
                verdict = verdict_of(told.get("value"), STAGE)
            except OwnResultError as error:
                verdict = _fault(f"{name} {error}")
        return replace(verdict, full={**verdict.full, **full})


def _fault(message: str) -> Verdict:
    """The verifier's own fault, which another try does not mend."""
    verdict = Verdict.unscored(ErrorType.VERIFIER_FAULT, clip(message, 500), retryable=False)
    return replace(verdict, detail={"stage": STAGE})

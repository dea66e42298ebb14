"""What one test says of the program."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.base import Run, Status
from verifiers.base import ErrorType, Outcome, clip

_HEAD = 8_000
"""Bytes of a compiler's output in which an error is sought."""
_TAIL = 2_000
"""Bytes at the end of standard error in which its last line is sought."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Passed, or why not."""

    outcome: Outcome
    fault: str = ""
    """One word of a closed list: a status of the sandbox, or `wrong`."""
    why: str = ""
    error: ErrorType | None = None
    """With the outcome `unscored`: whose fault it is that the test says nothing."""

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.CORRECT


PASSED = Mark(Outcome.CORRECT)
WRONG = Mark(Outcome.INCORRECT, "wrong")

_OUTCOMES = {
    Status.EXIT: Outcome.CRASHED,
    Status.SIGNAL: Outcome.CRASHED,
    Status.CPU: Outcome.TIMEOUT,
    Status.WALL: Outcome.TIMEOUT,
    Status.MEMORY: Outcome.MEMORY_EXCEEDED,
    Status.OUTPUT: Outcome.OUTPUT_EXCEEDED,
    Status.FAILED: Outcome.INCORRECT,
    Status.PROTOCOL: Outcome.REJECTED,
    Status.UNSPLITTABLE: Outcome.UNSCORED,
    Status.BROKEN_TEST: Outcome.UNSCORED,
}
_SAY_ALL = (Status.CPU, Status.WALL, Status.MEMORY, Status.OUTPUT)
_ERRORS = {Status.UNSPLITTABLE: ErrorType.UNSPLITTABLE_TEST, Status.BROKEN_TEST: ErrorType.BAD_ITEM}


def of_status(run: Run) -> Mark | None:
    """The mark of a run that did not end well; None for one that did."""
    if run.status is Status.OK:
        return None
    return Mark(_OUTCOMES[run.status], str(run.status), why(run), _ERRORS.get(run.status))


def why(run: Run) -> str:
    """In a few words why a run did not end well, where its status does not say it all."""
    if run.status in _SAY_ALL:
        return ""
    return clip(run.message) or clip(last_line(run.stderr)) or _bare(run)


def why_not_compiled(run: Run) -> str:
    """The same of a compilation: what the compiler calls an error."""
    if run.status is not Status.EXIT or run.message:
        return why(run)
    lines = text_of(run.stderr[:_HEAD] or run.stdout[:_HEAD]).splitlines()
    return clip(next((line.strip() for line in lines if "error" in line.lower()), "")) or why(run)


def last_line(stderr: bytes) -> str:
    """The last line that says anything."""
    return text_of(stderr[-_TAIL:]).strip().rpartition("\n")[2].strip()


def text_of(data: bytes) -> str:
    """Bytes as text to show; what is not UTF-8 is written as escapes."""
    return data.decode("utf-8", "backslashreplace")


def _bare(run: Run) -> str:
    return f"signal {run.signal}" if run.status is Status.SIGNAL else f"exit status {run.exit_code}"

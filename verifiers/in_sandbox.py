"""What kinds that run code in the sandbox share: the limits that a configuration may set, and faults as verdicts."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from sandbox.base import Limits, NotOfferedError, Run, SandboxDeadlineError, SandboxError, SandboxFaultError, Status
from verifiers.base import ErrorType, KindConfig, Verdict, clip, past_deadline

WALL_PER_CPU = 4.0
"""Wall-clock seconds for each second of CPU time, unless they are configured."""
MAX_PACKAGES = 32
_MAX_MESSAGE = 500

_DEFAULT = Limits()
_PACKAGE = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?$"


def _each_once(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("names a package twice")
    return names


Packages = Annotated[
    list[Annotated[str, Field(pattern=_PACKAGE)]], Field(max_length=MAX_PACKAGES), AfterValidator(_each_once)
]
"""Names of Python packages that the sandbox offers beyond the standard library."""


class LimitsConfig(KindConfig):
    """Bounds of one case, call or test."""

    cpu_s: float = Field(
        _DEFAULT.cpu_s, ge=0.05, le=300.0, description="Seconds of CPU time of everything that a case starts."
    )
    wall_s: float | None = Field(
        None,
        ge=0.05,
        le=600.0,
        description=f"Seconds of wall-clock time, not counting those spent waiting for a processor. "
        f"null: {WALL_PER_CPU:.0f} times cpu_s.",
    )
    memory_mb: int = Field(_DEFAULT.memory_mb, ge=16, le=16_384, description="MiB of memory.")
    processes: int = Field(_DEFAULT.processes, ge=1, le=400, description="Processes and threads at once.")
    output_kb: int = Field(
        _DEFAULT.output_kb,
        ge=1,
        le=8_192,
        description="KiB of standard output, of standard error, and of what a call returns, each.",
    )
    disk_mb: int = Field(_DEFAULT.disk_mb, ge=1, le=1_024, description="MiB of files.")

    @model_validator(mode="after")
    def _wall_above_cpu(self) -> Self:
        if self.wall_s is not None and self.wall_s < self.cpu_s:
            raise ValueError("wall_s must be at least cpu_s, or a busy host could change a verdict")
        return self

    def limits(self) -> Limits:
        """The same, as the sandbox takes them."""
        return Limits(
            cpu_s=self.cpu_s,
            wall_s=WALL_PER_CPU * self.cpu_s if self.wall_s is None else self.wall_s,
            memory_mb=self.memory_mb,
            processes=self.processes,
            output_kb=self.output_kb,
            disk_mb=self.disk_mb,
        )


def sandbox_error(error: SandboxError) -> Verdict:
    """The verdict where a job has no result: never the candidate's fault.

    Worth another try, but where the sandbox has no such language, package or amount of memory at all.
    """
    if isinstance(error, SandboxDeadlineError):
        return past_deadline()
    fault = isinstance(error, SandboxFaultError)
    type = ErrorType.SANDBOX_FAULT if fault else ErrorType.SANDBOX_UNAVAILABLE
    lasting = isinstance(error, NotOfferedError)
    return Verdict.unscored(type, clip(str(error), _MAX_MESSAGE), retryable=not lasting)


def no_sandbox() -> Verdict:
    """The verdict in a process that has no sandbox."""
    return Verdict.unscored(ErrorType.SANDBOX_UNAVAILABLE, "this process has no sandbox", retryable=True)


def how_it_ended(run: Run, limits: Limits) -> str:
    """In a few words, for a person, why a run did not end well."""
    match run.status:
        case Status.CPU:
            return f"took more than {limits.cpu_s:g} s of processor time"
        case Status.WALL:
            return f"took more than {limits.wall_s:g} s"
        case Status.MEMORY:
            return f"used more than {limits.memory_mb} MiB of memory"
        case Status.OUTPUT:
            return f"wrote more than {limits.output_kb} KiB"
        case Status.SIGNAL:
            return f"died of signal {run.signal}"
        case _:
            said = clip(" ".join(run.message.split()), _MAX_MESSAGE)
            return said or f"ended with exit status {run.exit_code}"

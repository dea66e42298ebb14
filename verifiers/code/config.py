"""The configuration of the kind `code`: how a program is found, run and judged."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from sandbox.base import Limits
from verifiers.base import KindConfig

Language = Literal["python", "javascript", "typescript", "c", "cpp", "java", "go", "rust", "bash"]
WALL_PER_CPU = 4.0
"""Wall-clock seconds for each second of CPU time, unless they are configured."""
MAX_PACKAGES = 32
MAX_TOLERANCE = 0.1

_DEFAULT = Limits()
_PACKAGE = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?$"


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


class CodeConfig(KindConfig):
    """The language, where the program is found, how it may run and what it is compared by."""

    language: Language = Field("python", description="The language of the program.")
    limits: LimitsConfig = Field(
        default_factory=LimitsConfig, description="Bounds of each case, call or test; compiling has its own."
    )
    fence: Literal["last", "first", "whole"] = Field(
        "last",
        description="Which code block of the completion is the program: the last or the first one that is marked "
        "with the language, else of those that are not marked. Without any block the whole text is. "
        "whole: always the whole text.",
    )
    prefix: Literal["none", "prompt"] = Field(
        "none", description="prompt: the completion continues the prompt; the program is both, as they are."
    )
    reward: Literal["all", "fraction"] = Field(
        "all", description="all: 1 where every test passes, else 0; fraction: the share of tests that pass."
    )
    stop_on_failure: bool | None = Field(
        None, description="Run no test after the first that fails. null: true for reward all, false for fraction."
    )
    files: dict[str, str] = Field(
        default_factory=dict,
        description="Text files in the program's working folder, by relative path.",
        examples=[{"data/words.txt": "apple\nbanana\n"}],
    )
    packages: Annotated[list[Annotated[str, Field(pattern=_PACKAGE)]], Field(max_length=MAX_PACKAGES)] = Field(
        default_factory=list,
        description="Python packages that the program may import beyond the standard library; "
        "GET /sandbox lists what there is.",
        examples=[["numpy"]],
    )
    int_equals_float: bool = Field(
        True, description="With function tests: whether 1 equals 1.0, as in Python, or a number has a type."
    )
    tuple_equals_list: bool = Field(
        True,
        description="With function tests: whether a tuple equals a list; JSON, where results are written, has none.",
    )
    value_tolerance: float = Field(
        1e-9,
        ge=0.0,
        le=MAX_TOLERANCE,
        description="With function tests: largest difference of a float from the expected number, relative to it; "
        "absolute where zero is expected. 0 compares exactly.",
    )
    float_tolerance: float = Field(
        1e-6,
        ge=0.0,
        le=MAX_TOLERANCE,
        description="With stdio tests and compare float: largest difference of two numbers, absolute or relative.",
    )
    allow_forgeable: bool = Field(
        False,
        description="Whether tests that cannot be kept apart from the program, and pytest, may run in one process "
        "with it. A program can forge such a pass; the verdict says `forgeable`.",
    )

    @field_validator("packages")
    @classmethod
    def _each_once(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names):
            raise ValueError("names a package twice")
        return names

    @property
    def stops(self) -> bool:
        """Whether no test runs after the first that fails."""
        return self.reward == "all" if self.stop_on_failure is None else self.stop_on_failure

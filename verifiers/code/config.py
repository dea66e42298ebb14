"""The configuration of the kind `code`: how a program is found, run and judged."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from verifiers.base import KindConfig
from verifiers.in_sandbox import LimitsConfig, Packages

Language = Literal["python", "javascript", "typescript", "c", "cpp", "java", "go", "rust", "bash"]
MAX_TOLERANCE = 0.1


class CodeConfig(KindConfig):
    """The language, where the program is found, how it may run and what it is compared by."""

    language: Language = Field(
        "python", description="The language of the program. `GET /sandbox` lists those that this host has."
    )
    limits: LimitsConfig = Field(
        default_factory=LimitsConfig,
        description="Bounds of each case, call or test. Idle time of all tests of an item counts together.",
    )
    fence: Literal["last", "first", "whole"] = Field(
        "last",
        description="Which code block of the completion is the program: the `last` or `first` one that is marked "
        "with the language, else of those not marked at all; blocks of other languages are passed over. Without any "
        "block the whole text is the program. `whole`: always the whole text.",
    )
    prefix: Literal["none", "prompt"] = Field(
        "none",
        description="`prompt`: the completion continues the prompt, as a base model's does; the program is both "
        "together, nothing stripped, and `fence` is not read.",
    )
    reward: Literal["all", "fraction"] = Field(
        "all", description="`all`: 1 where every test passes, else 0; `fraction`: the share of tests that pass."
    )
    stop_on_failure: bool | None = Field(
        None, description="Run no test after the first that fails. null: true for `all`, false for `fraction`."
    )
    files: dict[str, str] = Field(
        default_factory=dict,
        description="Text files in the program's working folder, by relative path; 256 files and 16 MiB in all.",
        examples=[{"data/words.txt": "apple\nbanana\n"}],
    )
    packages: Packages = Field(
        default_factory=list,
        description="Python packages that the program may import beyond the standard library; "
        "`GET /sandbox` lists what there is.",
        examples=[["numpy"]],
    )
    int_equals_float: bool = Field(
        True,
        description="With `function`: whether 1 equals 1.0, as in Python, or a number has a type. JavaScript has one "
        "type of number: leave it true.",
    )
    tuple_equals_list: bool = Field(
        True,
        description="With `function`: whether a tuple equals a list; JSON, where results are written, has none.",
    )
    value_tolerance: float = Field(
        1e-9,
        ge=0.0,
        le=MAX_TOLERANCE,
        description="With `function`: largest difference of a float from the expected number, relative to it; "
        "absolute where zero is expected. 0 compares exactly.",
    )
    float_tolerance: float = Field(
        1e-6,
        ge=0.0,
        le=MAX_TOLERANCE,
        description="With `stdio` and compare `float`: largest difference of two numbers, absolute, or relative to "
        "the expected one.",
    )
    allow_forgeable: bool = Field(
        False,
        description="Whether tests that cannot be kept apart from the program, and pytest, may run in one process "
        "with it. A program can forge such a pass; the verdict says `forgeable`.",
    )

    @property
    def stops(self) -> bool:
        """Whether no test runs after the first that fails."""
        return self.reward == "all" if self.stop_on_failure is None else self.stop_on_failure

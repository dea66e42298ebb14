"""The configuration of the kind `math`."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from pydantic import Field

from verifiers.base import KindConfig
from verifiers.math.compare import Policy, UnitPolicy
from verifiers.math.forms import Form


class MathConfig(KindConfig):
    """How answers are found and compared."""

    answer: Literal["final", "boxed", "whole"] = Field(
        "final",
        description="Where the answer is sought after any thinking part: `final` takes `<answer>` tags, else boxes, "
        "else claims such as `The answer is 42`, else the last line where only one value is in it; `boxed` takes "
        "boxes only; `whole` takes everything as the answer.",
    )
    several: Literal["reject", "last"] = Field(
        "reject",
        description="What becomes of a completion that gives several answers: `reject` accepts it only if every one "
        "of them is right, or together they are the items of a reference that is a list; `last` looks at the last.",
    )
    tolerance: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Largest accepted difference of two numbers, relative to the reference. 0 compares exactly: "
        "0.333 is not 1/3.",
    )
    percent: Literal["sign", "value"] = Field(
        "sign",
        description="What `9%` stands for: with `sign` the number 9 (and never 0.09), with `value` the number 0.09.",
    )
    units: UnitPolicy = Field(
        "match",
        description="With `match`, an answer in another unit than the reference's is wrong; `convert` converts "
        "lengths, areas, volumes, masses, times, angles, speeds, energies, powers, forces and pressures exactly, "
        "never currencies or temperatures; `ignore` never compares units. A unit that only one side states is no "
        "difference, and a warning.",
    )
    bases: Literal["written", "value"] = Field(
        "written",
        description="What a number with a stated base is: with `written`, `52_8` is only `52_8`, as who asks for a "
        "base asks for those digits; with `value` it is 42.",
    )
    form: Form = Field(
        "any",
        description="How the answer must be written: `evaluated` refuses arithmetic that is yet to be "
        "done (`2+3`, `5!`); `lowest_terms` refuses that and fractions that can be reduced (`2/4`). What is written "
        "like the reference is never refused.",
    )


def policy_of(config: MathConfig) -> Policy:
    """How scalars are compared under a configuration."""
    return Policy(Fraction(str(config.tolerance)), config.percent == "value", config.units, config.bases == "value")

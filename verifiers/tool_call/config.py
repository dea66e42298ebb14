"""The configuration of the kind `tool_call`: the tools, how calls are compared, and the dry run."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from verifiers.base import KindConfig
from verifiers.in_sandbox import LimitsConfig
from verifiers.thinking import Section

MAX_CODE = 200_000
"""Characters of the code, or of the SQL, of a dry run."""
MAX_STATE = 500_000
"""Characters of a state as JSON."""
MAX_POINTERS = 100

Match = Literal["schema", "name", "arguments", "exact"]
"""How much of a call must be right; each level holds those before it."""
Strings = Literal["exact", "bfcl"]
Pointer = Annotated[str, Field(pattern=r"^(/.*)?$", max_length=500)]


def unfit_state(state: Any) -> str | None:
    """Why a state cannot be where a replay starts; None where it can."""
    try:
        size = len(json.dumps(state, allow_nan=False))
    except (ValueError, RecursionError):
        return "cannot be written as JSON"
    return f"must have at most {MAX_STATE} characters as JSON" if size > MAX_STATE else None


class DryRunConfig(KindConfig):
    """Python that implements the tools, and the state that the calls are replayed over."""

    code: str = Field(
        min_length=1,
        max_length=MAX_CODE,
        description="Python that defines a function for each tool, with the tool's name (`_` for a character that "
        "Python's names cannot have). It is called with the state, then with the call's arguments by name. "
        "`raise ToolError(why)` refuses a call.",
        examples=["def book(state, room, nights):\n    state['bookings'].append([room, nights])"],
    )
    state: Any = Field(
        default_factory=dict,
        description="JSON that every item starts from, a copy each; the functions change it in place.",
        examples=[{"bookings": []}],
    )
    database: str | None = Field(
        None,
        max_length=MAX_CODE,
        description="SQL that builds an SQLite database, which is then the state: functions get its "
        "`sqlite3.Connection`, and a final state is `{table: [{column: value}]}`, the rows in any order.",
    )
    compare: Annotated[list[Pointer], Field(min_length=1, max_length=MAX_POINTERS)] | None = Field(
        None,
        description="JSON pointers of the parts of the final state that must be as expected. null: all of it.",
        examples=[["/bookings"]],
    )
    limits: LimitsConfig = Field(default_factory=LimitsConfig, description="Bounds of one item's replay.")

    @field_validator("state")
    @classmethod
    def _small(cls, state: Any) -> Any:
        if (why := unfit_state(state)) is not None:
            raise ValueError(why)
        return state

    @model_validator(mode="after")
    def _one_state(self) -> Self:
        if self.database is not None and self.state != {}:
            raise ValueError("give a state or a database, not both")
        return self


class ToolCallConfig(KindConfig):
    """The tools, what of a call is compared and how, and what the score counts."""

    tools: Annotated[list[dict[str, Any]], Field(min_length=1)] | None = Field(
        None,
        description="Definitions of the tools as OpenAI takes them, with or without the wrapper `{type, function}`. "
        "A reference's own `tools` take their place. null: only the references' own.",
        examples=[
            [
                {
                    "type": "function",
                    "function": {
                        "name": "get_weather",
                        "parameters": {
                            "type": "object",
                            "properties": {"city": {"type": "string"}},
                            "required": ["city"],
                        },
                    },
                }
            ]
        ],
    )
    match: Match = Field(
        "arguments",
        description="schema: every call names a known tool and its arguments fit the tool's schema; name: also the "
        "expected tools are called, and no others; arguments: also the arguments are among those allowed; exact: "
        "also strings are equal to the last character, and 1 is not 1.0.",
    )
    order: Literal["any", "given"] = Field(
        "any", description="any: the expected calls may come in any order; given: in the reference's."
    )
    parallel: bool = Field(True, description="Whether one message may hold several calls; false rejects it.")
    strings: Strings | None = Field(
        None,
        description="How strings are compared at level arguments. exact: character by character; bfcl: without case, "
        "spaces and `,./-_*`, but for those that make another number or formula. null: bfcl for a reference in "
        "BFCL's form, else exact.",
    )
    underscore_for_dot: bool = Field(
        False,
        description="Whether `math_hypot` calls the tool `math.hypot`, as with APIs that allow no dots in names.",
    )
    reward: Literal["all", "fraction"] = Field(
        "all",
        description="all: 1 where everything is right, else 0; fraction: the number of right calls, divided by the "
        "expected or the made ones, whichever are more. With a dry run and expected calls, the mean of that and of "
        "the state.",
    )
    section: Section = Field(
        "final", description="final: what follows the thinking part, if there is one; whole: the whole completion."
    )
    dry_run: DryRunConfig | None = Field(
        None, description="Replays the calls in the sandbox; the final state must be the reference's `state`."
    )

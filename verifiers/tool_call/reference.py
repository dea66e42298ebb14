"""What is expected of an item: its calls, its tools, and the state that they leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from verifiers.base import BadItemError, Strict, parse_reference
from verifiers.json_schema.text import MAX_DIGITS
from verifiers.json_schema.validator import MAX_DEPTH
from verifiers.tool_call.calls import MAX_CALLS, CallError, arguments_of
from verifiers.tool_call.compare import AnyOf

MAX_VALUES = 20_000
"""JSON values in all expected calls."""


class Reference(Strict):
    """The calls that are right, and what goes with them."""

    calls: Annotated[list[dict[str, Any]], Field(max_length=MAX_CALLS)] | None = Field(
        None,
        description="The expected calls, each `{name, arguments}`; none of them: nothing may be called. null: any "
        "that the tools allow (match schema), or that lead to the state (dry run).",
    )
    form: Literal["calls", "bfcl"] = Field(
        "calls", description="bfcl: `calls` is a `ground_truth` of BFCL, `[{name: {argument: [allowed, ...]}}]`."
    )
    tools: Annotated[list[dict[str, Any]], Field(min_length=1)] | None = Field(
        None, description="Definitions of this item's tools, in place of the configuration's."
    )
    state: Any = Field(None, description="With a dry run: the state that the calls must leave.")
    initial_state: Any = Field(None, description="With a dry run: what this item starts from, in place of `state`.")


REFERENCE: TypeAdapter[Reference | None] = TypeAdapter(Reference | None)


@dataclass(frozen=True, slots=True)
class Expected:
    """One expected call. Arguments are JSON values with `AnyOf` in them."""

    name: str
    arguments: dict[str, Any]


def read_reference(value: Any) -> tuple[Reference, list[Expected] | None]:
    """A reference, and the calls it expects; None where it does not say. Raises `BadItemError`."""
    reference: Reference = parse_reference(REFERENCE, value) or Reference()
    if reference.calls is None:
        return reference, None
    reader = _Reader()
    read = reader.bfcl_call if reference.form == "bfcl" else reader.call
    return reference, [read(call, f"reference/calls/{index}") for index, call in enumerate(reference.calls)]


class _Reader:
    """Reads expected calls; counts their values, all together."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def call(self, written: dict[str, Any], at: str) -> Expected:
        """`{"name", "arguments"}`, or an entry of OpenAI's `tool_calls`."""
        if isinstance(written.get("function"), dict):
            written, at = written["function"], f"{at}/function"
        if unknown := sorted(written.keys() - {"name", "arguments", "id", "type"}):
            raise BadItemError(f"{at}: has the unknown field {unknown[0][:100]!r}; send name and arguments")
        arguments = written.get("arguments", {})
        if isinstance(arguments, str):
            try:
                arguments = arguments_of(arguments)
            except CallError as error:
                raise BadItemError(f"{at}/arguments: {error}") from None
        if not isinstance(arguments, dict):
            raise BadItemError(f"{at}/arguments: must be an object, or its JSON text")
        return Expected(
            _name(written.get("name"), at),
            {name: self._allowed(value, f"{at}/arguments", 1) for name, value in arguments.items()},
        )

    def bfcl_call(self, written: dict[str, Any], at: str) -> Expected:
        """`{name: {argument: [allowed, ...]}}`."""
        if len(written) != 1:
            raise BadItemError(f"{at}: must have one field, the tool's name")
        [(name, arguments)] = written.items()
        if not isinstance(arguments, dict):
            raise BadItemError(f"{at}: must hold an object of arguments")
        return Expected(_name(name, at), self._bfcl_members(arguments, at, 1))

    def _allowed(self, value: Any, at: str, depth: int) -> Any:
        """A value, or `{"any_of": [...]}` in its place."""
        if isinstance(value, dict) and "any_of" in value and value.keys() <= {"any_of", "optional"}:
            values, optional = value["any_of"], value.get("optional", False)
            if not isinstance(values, list) or not values:
                raise BadItemError(f"{at}: any_of must be a list of allowed values, one at least")
            if not isinstance(optional, bool):
                raise BadItemError(f"{at}: optional must be true or false")
            return AnyOf(tuple(self._inside(one, at, depth + 1) for one in values), optional)
        return self._inside(value, at, depth)

    def _inside(self, value: Any, at: str, depth: int) -> Any:
        """A value as it is; what it holds may be `any_of` again."""
        self._count(value, at, depth)
        if isinstance(value, dict):
            return {name: self._allowed(inner, at, depth + 1) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._allowed(inner, at, depth + 1) for inner in value]
        return value

    def _bfcl_members(self, members: dict[str, Any], at: str, depth: int) -> dict[str, Any]:
        read = {}
        for name, allowed in members.items():
            if not isinstance(allowed, list) or not allowed:
                raise BadItemError(f"{at}: each argument must have a list of allowed values, one at least")
            values = tuple(self._bfcl_value(one, at, depth + 1) for one in allowed if one != "")
            read[name] = AnyOf(values, "" in allowed)
        return read

    def _bfcl_value(self, value: Any, at: str, depth: int) -> Any:
        """A value; where it holds an object, the members of that have lists of allowed values too."""
        self._count(value, at, depth)
        if isinstance(value, dict):
            return self._bfcl_members(value, at, depth + 1)
        if isinstance(value, list):
            return [self._bfcl_value(inner, at, depth + 1) for inner in value]
        return value

    def _count(self, value: Any, at: str, depth: int) -> None:
        """Bounds, and the values that no completion can hold, as they are not read: see `json_schema.text`."""
        self._left -= 1
        if isinstance(value, int) and abs(value) >= 10**MAX_DIGITS:
            raise BadItemError(f"{at}: an integer has more than {MAX_DIGITS} digits")
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise BadItemError(f"{at}: a string holds a lone surrogate") from None
        if depth > MAX_DEPTH:
            raise BadItemError(f"{at}: nests deeper than {MAX_DEPTH} levels")
        if self._left < 0:
            raise BadItemError(f"reference/calls: hold more than {MAX_VALUES} values")


def _name(name: Any, at: str) -> str:
    if not isinstance(name, str) or not name:
        raise BadItemError(f"{at}/name: must be the name of a tool")
    return name

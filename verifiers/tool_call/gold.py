"""Whether an expected call can be made at all. A reference that nothing can satisfy is the caller's fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from verifiers.tool_call.calls import Call
from verifiers.tool_call.compare import AnyOf
from verifiers.tool_call.reference import Expected
from verifiers.tool_call.tools import Tools

MAX_TRIES = 100
"""Calls that are tried before an expected one is taken for possible."""

_LEFT_OUT: Any = object()


def impossible(expected: Expected, tools: Tools, *, by_arguments: bool) -> str | None:
    """Why no call can be both the expected one and valid; None where one is found, or the search is given up.

    `by_arguments`: whether the expected arguments count, and not the name alone.
    """
    tool = tools.find(expected.name)
    if tool is None:
        return "no tool has this name"
    if not by_arguments:
        return None
    choices = {name: _choices(allowed) for name, allowed in expected.arguments.items()}
    for _ in range(MAX_TRIES):
        arguments = {name: one[0] for name, one in choices.items() if one[0] is not _LEFT_OUT}
        failure = tool.failure(arguments)
        if failure is None:
            return None
        name = failure.path[1:].split("/", 1)[0].replace("~1", "/").replace("~0", "~")
        if len(choices.get(name, ())) < 2:
            return f"{failure.path or 'arguments'}: {failure.message}"
        choices[name] = choices[name][1:]
    return None


def first_call(expected: Expected) -> Call:
    """A call that is the expected one, made of the first of the values allowed."""
    return Call(expected.name, first(expected.arguments))


def tries(calls: Sequence[Any]) -> int:
    """The most calls that `impossible` may try for one of a reference's expected calls as they are written."""
    most = 1
    for call in calls:
        members = call.get("arguments", call) if isinstance(call, dict) else None
        for arguments in (members, *members.values()) if isinstance(members, dict) else ():
            if isinstance(arguments, dict):
                most = max(most, 1 + sum(map(_alternatives, arguments.values())))
    return min(most, MAX_TRIES)


def _alternatives(written: Any) -> int:
    allowed = written.get("any_of", ()) if isinstance(written, dict) else written
    return len(allowed) if isinstance(allowed, list) else 0


def _choices(allowed: Any) -> list[Any]:
    if not isinstance(allowed, AnyOf):
        return [first(allowed)]
    return [first(one) for one in allowed.values] + [_LEFT_OUT] * allowed.optional


def first(allowed: Any) -> Any:
    """A value that fits, made of the first of those allowed; what may be left out is there, where there is any."""
    if isinstance(allowed, AnyOf):
        return first(allowed.values[0]) if allowed.values else _LEFT_OUT
    if isinstance(allowed, dict):
        members = {name: first(inner) for name, inner in allowed.items()}
        return {name: value for name, value in members.items() if value is not _LEFT_OUT}
    if isinstance(allowed, list):
        return [value for inner in allowed if (value := first(inner)) is not _LEFT_OUT]
    return allowed

"""A call of a tool, and what is wrong with one that cannot be read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from verifiers.json_schema.text import NotJSONError, read

MAX_CALLS = 64
"""Calls of one completion."""

_ARGUMENTS = ("arguments", "parameters")
_KNOWN = frozenset((*_ARGUMENTS, "name", "id", "type"))


class CallError(ValueError):
    """What the completion says is no call, or not one alone: the candidate's fault. Says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """The name as it was written, and the arguments as JSON values."""

    name: str
    arguments: dict[str, Any]


def arguments_of(value: Any) -> dict[str, Any]:
    """Arguments given as JSON text, or as the object itself, which is then held to the same rules.

    An empty text, which some servers send for no arguments, is read as chat templates read it.
    """
    if value == "":
        return {}
    try:
        text = value if isinstance(value, str) else json.dumps(value)
    except (ValueError, RecursionError):
        raise CallError("the arguments cannot be written as JSON") from None
    arguments = json_of(text)
    if not isinstance(arguments, dict):
        raise CallError("the arguments are no JSON object")
    return arguments


def json_of(text: str) -> Any:
    """A JSON value by the strict rules of `verifiers.json_schema.text`. Raises `CallError`."""
    try:
        return read(text, "whole")
    except NotJSONError as error:
        raise CallError(f"not JSON: {error}") from None


def looks_like_call(value: Any) -> bool:
    """Whether a JSON value means to be a call, right or wrong."""
    return isinstance(value, dict) and "name" in value and any(key in value for key in _ARGUMENTS)


def call_of(value: Any) -> Call:
    """The call that a JSON object writes: a name, and arguments (or parameters), which are an object too."""
    if not isinstance(value, dict):
        raise CallError("a call is no JSON object")
    if unknown := sorted(value.keys() - _KNOWN):
        raise CallError(f"a call has the field {unknown[0]!r}, which is none of a call's")
    if value.get("type", "function") != "function":
        raise CallError("a call's type is not 'function'")
    given = [key for key in _ARGUMENTS if key in value]
    if len(given) != 1:
        raise CallError("a call needs arguments, once")
    name, arguments = value.get("name"), value[given[0]]
    if not isinstance(name, str) or not name:
        raise CallError("a call's name is no string")
    if not isinstance(arguments, dict):
        raise CallError("the arguments are no JSON object")
    return Call(name, arguments)

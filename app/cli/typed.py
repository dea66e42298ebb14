"""Values typed at the command line, read as a kind's JSON Schemas say."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Any

from app import wire
from app.cli.faults import MISUSED, CommandError
from app.errors import Problem
from app.kind_pages.schema import Node, Tables

_NONE = object()
"""Stands for a text that is no value of a type."""


def config_with(config: dict[str, Any], assignments: Iterable[str], schema: Node) -> dict[str, Any]:
    """The configuration with every `field=value` in it. Raises `CommandError` naming the field, and what it takes."""
    tables = Tables(schema)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise _misused(f"--set {assignment}: write it as FIELD=VALUE")
        _assign(config, tables, path, text)
    return config


def reference_from(text: str, schema: Node) -> Any:
    """A reference as it was typed: text, or JSON where the kind takes what that JSON is.

    Where a kind takes text, only lists and objects are read as JSON: `1/2`, `42` and `true` are texts.
    """
    tables = Tables(schema)
    members = tables.alternatives(tables.root)
    takes_text = any(not member or member.get("type") == "string" for member in members)
    try:
        value = wire.decode(text.encode("utf-8", "surrogatepass"))
    except Problem as problem:
        if takes_text:
            return text
        raise _misused(f"--reference: this kind takes {tables.values(schema)}, as JSON: {problem.detail}") from None
    if takes_text and any(members) and not (isinstance(value, dict | list) and _takes(members, value)):
        return text
    return value


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint at what may have been meant, and all that there is."""
    near = difflib.get_close_matches(name, known, 1)
    return (f"did you mean {near[0]}? " if near else "") + f"there are: {', '.join(known)}"


def _takes(members: Sequence[Node], value: Any) -> bool:
    wanted = "object" if isinstance(value, dict) else "array"
    return any(member.get("type") == wanted for member in members)


def _assign(config: dict[str, Any], tables: Tables, path: str, text: str) -> None:
    place, node, left = config, tables.root, path.split(".")
    while True:
        name, node, left = _step(tables, node, left, path)
        if not left:
            break
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise _misused(f"--set {path}: {name} is no object in the configuration")
    value = _typed(text, node, tables)
    if value is _NONE:
        raise _misused(f"--set {path}={text}: must be {tables.values(node).replace('`', '')}")
    place[name] = value


def _step(tables: Tables, node: Node, left: list[str], path: str) -> tuple[str, Node, list[str]]:
    """The field that the path leads to next, what it takes, and what of the path is left."""
    members = tables.alternatives(node)
    fields = {name: field for member in tables.objects(node) for name, field in member["properties"].items()}
    if left[0] in fields:
        return left[0], fields[left[0]], left[1:]
    for member in members:
        inner = member.get("additionalProperties")
        if "properties" in member or not (inner or not member):
            continue
        if isinstance(inner, dict) and inner and not tables.objects(inner):
            return ".".join(left), inner, []  # a map of plain values, whose names may hold dots
        return left[0], inner if isinstance(inner, dict) else {}, left[1:]
    at = path.removesuffix(".".join(left)).rstrip(".")
    if not fields:
        raise _misused(f"--set {path}: {at} has no fields; it is {tables.values(node).replace('`', '')}")
    where = f"{at} has no field" if at else "no field"
    raise _misused(f"--set {path}: {where} {left[0]}; {nearest(left[0], sorted(fields))}")


_SPECIFIC = ("null", "boolean", "integer", "number", "array", "object")
"""Types in the order in which a text is tried; whatever is left may be a string."""


def _typed(text: str, node: Node, tables: Tables) -> Any:
    members = tables.alternatives(node)
    ranked = sorted(members, key=lambda member: [*_SPECIFIC, member.get("type")].index(member.get("type")))
    return next((value for member in ranked if (value := _read(text, member)) is not _NONE), _NONE)


def _read(text: str, node: Node) -> Any:
    """The value of one type that a text is, or `_NONE`."""
    if "enum" in node or "const" in node:
        allowed = node.get("enum") or [node["const"]]
        return next((value for value in (text, _json(text)) if value in allowed), _NONE)
    match node.get("type"):
        case "null":
            return None if text == "null" else _NONE
        case "boolean":
            return {"true": True, "false": False}.get(text, _NONE)
        case "integer":
            return _number(text, int)
        case "number":
            whole = _number(text, int)
            return _number(text, float) if whole is _NONE else whole
        case "string":
            return text
        case "array":
            return value if isinstance(value := _json(text), list) else _NONE
        case "object":
            return value if isinstance(value := _json(text), dict) else _NONE
    return text if (value := _json(text)) is _NONE else value


def _number(text: str, kind: type[int] | type[float]) -> Any:
    try:
        value = kind(text)
    except ValueError:
        return _NONE
    return value if math.isfinite(value) else _NONE


def _json(text: str) -> Any:
    try:
        return wire.decode(text.encode("utf-8", "surrogatepass"))
    except Problem:
        return _NONE


def _misused(message: str) -> CommandError:
    return CommandError(message, MISUSED)

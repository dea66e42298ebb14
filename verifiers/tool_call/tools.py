"""Definitions of tools: their names, and their parameters as compiled JSON Schemas.

Taken as OpenAI's chat completions write them (`{"type": "function", "function": {...}}`), as its responses do (the
same, flat), and bare, as BFCL does. Types that are no JSON Schema but stand in BFCL and in training sets made like it
(`dict`, `float`, `tuple`, `any`, and Python's own names) mean the type of JSON that Python would give them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from verifiers.json_schema.validator import MAX_DEPTH, Failure, Schema, SchemaError, compile_schema, size

MAX_TOOLS = 128
MAX_NAME = 200
"""Characters of a tool's name."""

_TYPES = {
    "dict": "object",
    "float": "number",
    "double": "number",
    "tuple": "array",
    "list": "array",
    "str": "string",
    "int": "integer",
    "bool": "boolean",
}
_TYPES_OF_VALUES: tuple[tuple[type, str], ...] = (
    *((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"), (dict, "object")),
)
MAX_TYPE_DEPTH = 3
"""Alternatives and references that lead to a value's type."""
MAX_ALTERNATIVES = 16
_SCHEMAS_BY_NAME = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_SCHEMAS = (
    *("items", "prefixItems", "additionalItems", "contains", "additionalProperties", "propertyNames"),
    *("unevaluatedItems", "unevaluatedProperties", "not", "if", "then", "else", "allOf", "anyOf", "oneOf"),
)
_OPEN = (
    *("additionalProperties", "unevaluatedProperties", "patternProperties", "$ref", "$dynamicRef"),
    *("allOf", "anyOf", "oneOf", "if", "dependentSchemas"),
)
"""Keywords that may say which names an object may have beyond its `properties`."""


class ToolsError(ValueError):
    """Definitions that cannot be used; `pointer` says where in the list the fault is."""

    def __init__(self, message: str, pointer: str = "") -> None:
        super().__init__(message)
        self.pointer = pointer


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool."""

    name: str
    parameters: Mapping[str, Any]
    """Its JSON Schema, in JSON Schema's own types."""
    schema: Schema

    def failure(self, arguments: dict[str, Any]) -> Failure | None:
        """Why arguments do not fit the tool's schema; None where they do."""
        if self.schema.validator.is_valid(arguments):
            return None
        return self.schema.failure(arguments, json.dumps(arguments))


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of an item, by every name that a call may use for them."""

    by_name: Mapping[str, Tool]
    mentions: frozenset[str] = field(default_factory=frozenset)
    """Names by which a text may try to call them, right or wrong, in lower case."""

    def find(self, name: str) -> Tool | None:
        """The tool that a call's name means."""
        return self.by_name.get(name)

    @property
    def cost(self) -> float:
        """Upper bound on the checks that one value of a call takes; see `Schema.cost`."""
        return max((tool.schema.cost for tool in self.by_name.values()), default=1.0)

    @property
    def patterns(self) -> int:
        """The most regular expressions in one tool's schema."""
        return max((tool.schema.patterns for tool in self.by_name.values()), default=0)


def read_tools(definitions: Sequence[Any], *, underscore_for_dot: bool) -> Tools:
    """Check and compile definitions; equal ones are compiled once. Raises `ToolsError`."""
    if len(definitions) > MAX_TOOLS:
        raise ToolsError(f"has {len(definitions)} tools, {MAX_TOOLS} are allowed")
    try:
        source = json.dumps(definitions)
    except RecursionError:
        raise ToolsError(f"nests deeper than {MAX_DEPTH} levels") from None
    except ValueError:
        raise ToolsError("cannot be written as JSON") from None
    return _read(source, underscore_for_dot)


@lru_cache(maxsize=64)
def _read(source: str, underscore_for_dot: bool) -> Tools:
    definitions = json.loads(source)
    try:
        size(definitions)
    except SchemaError as error:
        raise ToolsError(str(error).replace("the schema", "the list of tools", 1)) from None
    by_name: dict[str, Tool] = {}
    for index, definition in enumerate(definitions):
        tool = _tool(definition, f"/{index}")
        if tool.name in by_name:
            raise ToolsError(f"two tools are named {tool.name!r}", f"/{index}")
        by_name[tool.name] = tool
    names = list(by_name)
    if underscore_for_dot:
        for name in names:
            other = name.replace(".", "_")
            if by_name.setdefault(other, by_name[name]) is not by_name[name]:
                raise ToolsError(f"with underscore_for_dot, two tools can be called {other!r}")
    mentions = frozenset(form.lower() for name in names for form in (name, name.replace(".", "_")))
    return Tools(by_name, mentions)


def _tool(definition: Any, pointer: str) -> Tool:
    if not isinstance(definition, dict):
        raise ToolsError("must be an object: a tool's definition", pointer)
    if definition.get("type", "function") != "function":
        raise ToolsError("must be 'function'", f"{pointer}/type")
    if "function" in definition:
        definition, pointer = definition["function"], f"{pointer}/function"
        if not isinstance(definition, dict):
            raise ToolsError("must be an object with name and parameters", pointer)
    name = definition.get("name")
    if not isinstance(name, str) or not name or len(name) > MAX_NAME:
        raise ToolsError(f"must be a string of 1 to {MAX_NAME} characters", f"{pointer}/name")
    parameters = _parameters(definition.get("parameters"), f"{pointer}/parameters")
    try:
        return Tool(name, parameters, compile_schema(parameters))
    except SchemaError as error:
        raise ToolsError(str(error), f"{pointer}/parameters{error.pointer}") from None


def _parameters(written: Any, pointer: str) -> dict[str, Any]:
    """The parameters' schema: one of an object that has no other names than those declared."""
    if written is None or written == {}:
        return {"type": "object", "additionalProperties": False}
    if not isinstance(written, dict):
        raise ToolsError("must be a JSON Schema of an object", pointer)
    schema: dict[str, Any] = _in_json_types(written)
    if "type" not in schema and "properties" not in schema and not any(keyword in schema for keyword in _OPEN):
        raise ToolsError("is no JSON Schema of an object: give it type and properties", pointer)
    if schema.setdefault("type", "object") != "object":
        raise ToolsError("must be 'object'", f"{pointer}/type")
    if not any(keyword in schema for keyword in _OPEN):
        schema["additionalProperties"] = False  # a function has no arguments but its own
    return schema


def _in_json_types(schema: Any, depth: int = 0) -> Any:
    """A schema with the types of JSON Schema. What is no schema, such as a default, stays as it is."""
    if depth > MAX_DEPTH:
        raise ToolsError(f"nests deeper than {MAX_DEPTH} levels")
    if isinstance(schema, list):
        return [_in_json_types(member, depth + 1) for member in schema]
    if not isinstance(schema, dict):
        return schema
    changed = dict(schema)
    for keyword in _SCHEMAS_BY_NAME:
        if isinstance(schema.get(keyword), dict):
            changed[keyword] = {name: _in_json_types(inner, depth + 1) for name, inner in schema[keyword].items()}
    for keyword in _SCHEMAS:
        if keyword in schema:
            changed[keyword] = _in_json_types(schema[keyword], depth + 1)
    named = schema.get("type")
    if isinstance(named, str):
        changed["type"] = _TYPES.get(named, named)
    elif isinstance(named, list):
        changed["type"] = [_TYPES.get(one, one) if isinstance(one, str) else one for one in named]
    if changed.get("type") == "any":
        del changed["type"]
    return changed


def types_of(schema: Any, root: Any, depth: int = 0) -> frozenset[str]:
    """The types that a schema names for its value, also by alternatives and by references into `root`.

    None where one of them names none.
    """
    if not isinstance(schema, Mapping) or depth > MAX_TYPE_DEPTH:
        return frozenset()
    named = schema.get("type")
    if isinstance(named, str):
        return frozenset((named,))
    if isinstance(named, list):
        return frozenset(one for one in named if isinstance(one, str))
    if isinstance(schema.get("$ref"), str):
        return types_of(_target(schema["$ref"], root), root, depth + 1)
    for keyword in ("anyOf", "oneOf", "allOf"):
        alternatives = schema.get(keyword)
        if isinstance(alternatives, list) and 0 < len(alternatives) <= MAX_ALTERNATIVES:
            each = [types_of(one, root, depth + 1) for one in alternatives]
            return frozenset().union(*each) if all(each) else frozenset()
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    return frozenset(_type_of(one) for one in values) if isinstance(values, list) else frozenset()


def _type_of(value: Any) -> str:
    """The type of a JSON value, by JSON Schema's name."""
    if value is None:
        return "null"
    return next(name for type_, name in _TYPES_OF_VALUES if isinstance(value, type_))


def _target(reference: str, root: Any) -> Any:
    """What a reference into the schema itself names; None for any other."""
    node = root
    for part in reference[1:].split("/")[1:] if reference.startswith("#/") else [""]:
        node = node.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(node, Mapping) else None
    return node


def member(schema: Any, name: str) -> Any:
    """The schema of an object's member, as far as `properties` says it."""
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return properties.get(name) if isinstance(properties, Mapping) else None


def elements(schema: Any, count: int) -> Iterator[Any]:
    """The schemas of an array's elements, as far as `prefixItems` and `items` say them."""
    first = schema.get("prefixItems") if isinstance(schema, Mapping) else None
    others = schema.get("items") if isinstance(schema, Mapping) else None
    if isinstance(others, list):
        first, others = others, None
    first = first if isinstance(first, list) else []
    for index in range(count):
        yield first[index] if index < len(first) else others

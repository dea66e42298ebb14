"""A JSON Schema for people: a row for each field, whatever it is nested in, and its values in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, NoDefault

from app import wire

Node = dict[str, Any]
MAX_VALUES = 12
"""Values of an enumeration that are shown; of a longer one, the first and how many there are."""


class WithFactories(GenerateJsonSchema):
    """Pydantic's JSON Schema, in which a default that a function makes is a default like any other."""

    def get_default_value(self, schema: Any) -> Any:
        """See `GenerateJsonSchema`."""
        factory = schema.get("default_factory")
        if factory is not None and not schema.get("default_factory_takes_data"):
            return factory()
        return schema.get("default", NoDefault)


@dataclass(frozen=True, slots=True)
class Row:
    """One field: where it stands (`limits.cpu_s`, `cases[].stdin`, `files.*`), its values, default and meaning."""

    field: str
    values: str
    default: str
    meaning: str


class Tables:
    """Reads one JSON Schema, as pydantic makes it."""

    def __init__(self, schema: Node) -> None:
        self.root = schema
        self._definitions: dict[str, Node] = schema.get("$defs", {})

    def alternatives(self, node: Node) -> list[Node]:
        """The members of a union, or the node itself; definitions are looked up."""
        members = node.get("anyOf") or node.get("oneOf")
        if members is None:
            return [self._resolved(node)]
        return [found for member in members for found in self.alternatives(member)]

    def objects(self, node: Node) -> list[Node]:
        """Those of the alternatives that are objects of declared fields."""
        return [member for member in self.alternatives(node) if "properties" in member]

    def rows(self, node: Node) -> list[Row]:
        """A row for every field of an object, and for the fields of objects inside it."""
        return list(self._rows(node, "", None, ()))

    def values(self, node: Node) -> str:
        """What a node accepts, in words."""
        described = dict.fromkeys(map(self._one, self.alternatives(node)))
        return " or ".join(described)

    def _resolved(self, node: Node) -> Node:
        reference = node.get("$ref")
        return self._definitions[reference.rpartition("/")[2]] if reference else node

    def _rows(self, node: Node, path: str, defaults: Any, within: Sequence[str]) -> Iterator[Row]:
        required = node.get("required", ())
        for name, field in node["properties"].items():
            here = f"{path}{name}"
            given = defaults[name] if isinstance(defaults, dict) and name in defaults else field.get("default", ...)
            flat = self._is_flat(field)
            shown = "required" if name in required else "" if flat or given is ... else f"`{_bare(given)}`"
            yield Row(here, self.values(field), shown, field.get("description", ""))
            for suffix, inner in self._inside(field):
                title = inner.get("title", "")
                if title not in within:
                    yield from self._rows(inner, f"{here}{suffix}.", given if flat else None, (*within, title))

    def _is_flat(self, field: Node) -> bool:
        """Whether a field is an object of declared fields and nothing else, so that its fields say everything."""
        members = self.alternatives(field)
        return len(members) == 1 and "properties" in members[0]

    def _inside(self, field: Node) -> Iterator[tuple[str, Node]]:
        """The objects of declared fields that a field holds, and how they are reached from it."""
        for member in self.alternatives(field):
            if "properties" in member:
                yield "", member
            elif isinstance(items := member.get("items"), dict):
                yield from ((f"[]{suffix}", inner) for suffix, inner in self._inside(items))
            elif isinstance(values := member.get("additionalProperties"), dict):
                yield from ((f".*{suffix}", inner) for suffix, inner in self._inside(values))

    def _one(self, node: Node) -> str:
        if "const" in node:
            return f"`{wire_text(node['const'])}`"
        if "enum" in node:
            shown = ", ".join(f"`{_bare(value)}`" for value in node["enum"][:MAX_VALUES])
            return shown if len(node["enum"]) <= MAX_VALUES else f"{shown}, ... ({len(node['enum'])} in all)"
        match node.get("type"):
            case "null":
                return "null"
            case "boolean":
                return "boolean"
            case "integer" | "number" as kind:
                return _bounded(kind, node)
            case "string":
                size = _between(node.get("minLength"), node.get("maxLength"), "characters")
                pattern = f"matching `{node['pattern']}`" if "pattern" in node else ""
                return _within("string", size, pattern)
            case "array":
                items = f"list of {self._plural(node.get('items'))}"
                return _within(items, _between(node.get("minItems"), node.get("maxItems"), ""))
            case "object":
                return self._object(node)
        return "any JSON"

    def _object(self, node: Node) -> str:
        if "properties" in node:
            return "object"
        values = node.get("additionalProperties")
        described = f"object of {self._plural(values)}" if isinstance(values, dict) and values else "object"
        return _within(described, _between(node.get("minProperties"), node.get("maxProperties"), "fields"))

    def _plural(self, node: Any) -> str:
        """What a list or an object is of: names of types in the plural."""
        if not isinstance(node, dict) or not node:
            return "any values"
        words = dict.fromkeys(self._noun(member) for member in self.alternatives(node))
        return " or ".join(words)

    def _noun(self, node: Node) -> str:
        if "enum" in node or "const" in node:
            return self._one(node)
        kind = node.get("type")
        if kind == "array":
            return f"lists of {self._plural(node.get('items'))}"
        return {"integer": "integers", "number": "numbers", "string": "strings", "boolean": "booleans"}.get(
            str(kind), "null" if kind == "null" else "objects" if kind == "object" else "any values"
        )


def wire_text(value: Any) -> str:
    """A value as compact JSON with its letters as they are."""
    return json.dumps(value, ensure_ascii=False) if _is_text(value) else wire.encode(value)


def _is_text(value: Any) -> bool:
    """Whether a value holds no lone surrogate, so that a file may hold it."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _bare(value: Any) -> str:
    """A word as it is, and anything else as JSON."""
    return value if isinstance(value, str) and value else wire_text(value)


def _bounded(kind: str, node: Node) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    above, below = node.get("exclusiveMinimum"), node.get("exclusiveMaximum")
    if low is not None and high is not None:
        return _within(kind, f"{_number(low)} to {_number(high)}")
    bounds = [
        f"above {_number(above)}" if above is not None else "",
        f"{_number(low)} or more" if low is not None else "",
        f"below {_number(below)}" if below is not None else "",
        f"at most {_number(high)}" if high is not None else "",
    ]
    return _within(kind, *bounds)


def _within(described: str, *bounds: str) -> str:
    """A type with its bounds, as far as there are any."""
    stated = ", ".join(filter(None, bounds))
    return f"{described} ({stated})" if stated else described


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 10**15 else f"{value:g}"


def _between(low: int | None, high: int | None, unit: str) -> str:
    if low is not None and high is not None:
        text = f"{low:,} to {high:,}"
    elif low:
        text = f"{low:,} or more"
    elif high is not None:
        text = f"at most {high:,}"
    else:
        return ""
    return f"{text} {unit}".strip()

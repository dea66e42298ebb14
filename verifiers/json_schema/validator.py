"""JSON Schemas as compiled validators, offline, with an estimate of what validating may cost.

A schema may come from a caller, so its size, its references and its patterns are bounded before it is compiled.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jsonschema_rs

from verifiers.base import pointer
from verifiers.json_schema.text import values_at_most

MAX_VALUES = 5_000
"""JSON values in a schema: some 10 ms to compile."""
MAX_CHARS = 200_000
"""Characters in all strings and names of a schema."""
MAX_DEPTH = 64
"""Levels of nesting in a schema."""
MAX_PATTERNS = 50
"""Regular expressions in a schema. Compiling one takes a millisecond at the worst."""
MAX_REFERENCES = 128
"""Levels of a schema with every reference inside it followed, as far as none leads back to itself."""
MAX_PATTERN_BYTES = 262_144
"""Bytes of one compiled regular expression."""
BACKTRACK_STEPS = 2**31
"""Steps of a pattern with look-around: a guarded worker's CPU limit comes first, because the engine takes a pattern
that used up its steps for one that does not match, which under `not` would accept."""
EXPLAINED_ERRORS = 1_000
"""Errors in one explanation: a value that fits no alternative is explained by every error in each, 4 us each."""
EXPLAINED_CHARS = 1_000_000
"""Characters that an explanation may copy: every error holds its value."""

_OPAQUE_KEYWORDS = ("$id", "id", "$anchor", "$dynamicRef", "$recursiveRef")
"""Keywords after which it is not known where a reference leads without resolving it."""
_ALTERNATIVES = ("anyOf", "oneOf")
_UNEVALUATED = ("unevaluatedItems", "unevaluatedProperties")
_LINEAR = jsonschema_rs.RegexOptions(size_limit=MAX_PATTERN_BYTES)
_BACKTRACKING = jsonschema_rs.FancyRegexOptions(size_limit=MAX_PATTERN_BYTES, backtrack_limit=BACKTRACK_STEPS)


class SchemaError(ValueError):
    """A schema that cannot be used; `pointer` says where in the schema the fault is, as far as is known."""

    def __init__(self, message: str, pointer: str = "") -> None:
        super().__init__(message)
        self.pointer = pointer


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a value is not valid: a message, and the JSON pointer of the value inside the instance."""

    message: str
    path: str


@dataclass(frozen=True, slots=True)
class Schema:
    """A compiled schema."""

    validator: jsonschema_rs.Validator
    cost: float
    """Upper bound on the checks that one value of an instance takes, about 40 ns each; infinite if unknown."""
    alternatives: float
    """The same for the costliest list of alternatives (anyOf, oneOf) in the schema; at least 1."""
    patterns: int
    """Regular expressions in the schema."""

    def failure(self, instance: Any, text: str) -> Failure | None:
        """None for a valid instance, else the first fault. `text` holds the instance as JSON."""
        if self.validator.is_valid(instance):
            return None
        errors = self.alternatives * values_at_most(text)
        if self.alternatives > 1 and (errors > EXPLAINED_ERRORS or self.alternatives * len(text) > EXPLAINED_CHARS):
            return Failure("the value is not valid under the schema", "")
        try:
            self.validator.validate(instance)
        except jsonschema_rs.ValidationError as error:
            return Failure(error.message, pointer(error.instance_path))
        raise AssertionError("validate and is_valid agree")


def compile_schema(schema: Any) -> Schema:
    """Check and compile a schema; equal ones are compiled once. Raises `SchemaError`."""
    if not isinstance(schema, dict | bool):
        raise SchemaError("a schema is an object, true or false")
    _, patterns = size(schema)
    return _compile(json.dumps(schema), patterns)


@lru_cache(maxsize=64)
def _compile(source: str, patterns: int) -> Schema:
    schema = json.loads(source)
    survey = _Cost(schema)
    cost = survey.of(schema, 0)
    try:
        validator = jsonschema_rs.validator_for(schema, offline=True, pattern_options=_LINEAR)
    except ValueError:
        cost = math.inf
        validator = _compile_backtracking(schema)
    return Schema(validator, cost, survey.alternatives, patterns)


def _compile_backtracking(schema: Any) -> jsonschema_rs.Validator:
    try:
        return jsonschema_rs.validator_for(schema, offline=True, pattern_options=_BACKTRACKING)
    except jsonschema_rs.ValidationError as error:
        raise SchemaError(error.message, pointer(error.instance_path)) from None
    except ValueError as error:
        raise SchemaError(str(error)) from None


def size(schema: Any) -> tuple[int, int]:
    """How many values and patterns a schema holds. Raises `SchemaError` where it is too large or too deep."""
    values = characters = patterns = 0
    stack = [(schema, 1)]
    while stack:
        value, depth = stack.pop()
        values += 1
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, dict | list):
            if depth > MAX_DEPTH:
                raise SchemaError(f"the schema nests deeper than {MAX_DEPTH} levels")
            if len(value) > MAX_VALUES:
                values += len(value)
            elif isinstance(value, dict):
                characters += sum(map(len, value))
                patterns += "pattern" in value
                named = value.get("patternProperties")
                patterns += len(named) if isinstance(named, dict) else 0
                stack += [(child, depth + 1) for child in value.values()]
            else:
                stack += [(child, depth + 1) for child in value]
        if values > MAX_VALUES or characters > MAX_CHARS:
            raise SchemaError(f"the schema holds more than {MAX_VALUES} values or {MAX_CHARS} characters")
    if patterns > MAX_PATTERNS:
        raise SchemaError(f"the schema holds {patterns} regular expressions, {MAX_PATTERNS} are allowed")
    return values, patterns


class _Cost:
    """Counts the values of a schema with every reference followed: a bound on the checks per instance value."""

    def __init__(self, schema: Any) -> None:
        self.alternatives = 1.0
        self._root = schema
        self._known: dict[int, float] = {}

    def of(self, node: Any, depth: int) -> float:
        """The cost of `node`; infinite where a reference leads back to itself or is not a plain local one."""
        if not isinstance(node, dict | list) or not node:
            return 1.0
        if depth > MAX_REFERENCES:
            raise SchemaError(f"the schema's references lead deeper than {MAX_REFERENCES} levels")
        known = self._known.get(id(node))
        if known is not None:
            return known
        self._known[id(node)] = math.inf  # found while still being counted: it leads back to itself
        if isinstance(node, list):
            cost = 1 + sum(self.of(child, depth + 1) for child in node)
        else:
            cost = 1 + sum(self.of(child, depth + 1) for child in node.values())
            if isinstance(node.get("$ref"), str):
                cost += self.of(self._target(node["$ref"]), depth + 1)
            for keyword in _ALTERNATIVES:
                if isinstance(node.get(keyword), list):
                    self.alternatives = max(self.alternatives, self.of(node[keyword], depth + 1))
            if any(keyword in node for keyword in _UNEVALUATED):
                cost *= 4  # they evaluate their neighbours again: measured, three times for every level
            if any(isinstance(node.get(keyword), str) for keyword in _OPAQUE_KEYWORDS):
                cost = math.inf
        self._known[id(node)] = cost
        return cost

    def _target(self, reference: str) -> Any:
        """What a local reference names, or something of infinite cost."""
        node = self._root
        if not reference.startswith("#"):
            return self._root
        for part in reference[1:].split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict) and part in node:
                node = node[part]
            else:
                return self._root
        return node

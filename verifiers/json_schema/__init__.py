"""`json_schema`: the completion holds JSON that a schema accepts, and if asked, that equals the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from verifiers.base import (
    BadItemError,
    ConfigError,
    Example,
    Item,
    KindConfig,
    Outcome,
    Verdict,
    clip,
    register,
)
from verifiers.direct import DirectKind
from verifiers.json_schema.text import NotJSONError, Source, read, values_at_most
from verifiers.json_schema.validator import Schema, SchemaError, compile_schema, size
from verifiers.thinking import Section, section

MAX_JSON_CHARS = 2_000_000
"""Characters of the section that holds the JSON."""
MAX_FIELDS = 200
"""Fields of a reference object; each becomes a component."""
INLINE_CHARS = {"whole": 32_768, "fenced": 32_768, "last_object": 4_096}
"""Characters that are read in a few milliseconds, by where the JSON is sought."""
INLINE_CHECKS = 50_000
"""Checks of a value against a part of a schema that take 2 ms."""
INLINE_PATTERN_CHARS = 20_000
"""Characters that patterns may read; they take a microsecond each at the worst."""
INLINE_COMPILED = (500, 5)
"""Values and patterns of a schema in a reference that is compiled in a millisecond or two."""


class JsonSchemaConfig(KindConfig):
    """The schema, where the JSON is sought, and whether it must equal the reference."""

    model_config = ConfigDict(serialize_by_alias=True)

    schema_: dict[str, Any] | bool | None = Field(
        None,
        alias="schema",
        description="A JSON Schema (draft 4 to 2020-12; true accepts any JSON). References lead nowhere outside it. "
        "null: each item's reference is its schema.",
        examples=[{"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}],
    )
    from_: Source = Field(
        "whole",
        alias="from",
        description="whole: the text is JSON; fenced: its last closed code fence, marked json or unmarked; "
        "last_object: the last JSON object in it.",
    )
    equal: Literal["no", "all", "fraction"] = Field(
        "no",
        description="all: the value must also equal the reference; fraction: the score is the share of the fields "
        "that are equal.",
    )
    section: Section = Field(
        "final", description="final: what follows the thinking part, if there is one; whole: the whole completion."
    )


@register
class JsonSchema(DirectKind[JsonSchemaConfig]):
    """Validate JSON in the completion against a schema, and compare it with a reference field by field."""

    kind: ClassVar[str] = "json_schema"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Literal["none", "memory"]] = "memory"
    Config: ClassVar[type[BaseModel]] = JsonSchemaConfig
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(Any)
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion='{"city": "Paris"}', reference={"required": ["city"]}), 1.0),
        Example(Item(completion='{"town": "Paris"}', reference={"required": ["city"]}), 0.0),
        Example(Item(completion="Paris", reference={"required": ["city"]}), 0.0),
        Example(
            Item(completion='Here: {"n": 1.0, "ok": true}', reference={"n": 1, "ok": 1}),
            0.5,
            {"schema": {"type": "object"}, "from": "last_object", "equal": "fraction"},
        ),
    )

    def __init__(self, config: JsonSchemaConfig) -> None:
        super().__init__(config)
        self._schema: Schema | None = None
        if config.schema_ is not None:
            try:
                self._schema = compile_schema(config.schema_)
            except SchemaError as error:
                raise ConfigError(clip(str(error)), "/schema" + error.pointer) from None
        elif config.equal != "no":
            raise ConfigError(
                "the reference cannot be both the schema and the expected value: give a schema (true accepts any)",
                "/equal",
            )

    def costly(self, item: Item) -> bool:
        """See `DirectKind.costly`."""
        text = item.text
        if len(text) > INLINE_CHARS[self.config.from_]:
            return True
        schema = self._schema
        if schema is None:
            try:
                values, patterns = size(item.reference)
                if values > INLINE_COMPILED[0] or patterns > INLINE_COMPILED[1]:
                    return True
                schema = compile_schema(item.reference)
            except SchemaError:
                return False
        checks = schema.cost * values_at_most(text)
        return checks > INLINE_CHECKS or schema.patterns * len(text) > INLINE_PATTERN_CHARS

    def verify_one(self, item: Item) -> Verdict:
        """See `DirectKind.verify_one`."""
        config = self.config
        schema = self._schema or self._from_reference(item)
        fields = self._fields(item.reference)
        text = section(item, config.section)
        if text is None:
            return _failed(Outcome.UNPARSEABLE, fields, stage="section")
        if len(text) > MAX_JSON_CHARS:
            return _failed(Outcome.OUTPUT_EXCEEDED, fields, stage="parse", limit=MAX_JSON_CHARS)
        try:
            value = read(text, config.from_)
        except NotJSONError as error:
            return _failed(Outcome.UNPARSEABLE, fields, stage="parse", message=clip(str(error)))
        failure = schema.failure(value, text)
        if failure is not None:
            return _failed(
                Outcome.INCORRECT, fields, stage="schema", path=clip(failure.path), message=clip(failure.message)
            )
        if config.equal == "no":
            return Verdict.binary(True, "schema")
        if isinstance(value, dict) and isinstance(item.reference, dict):
            return self._compared(value, item.reference)
        if equal(value, item.reference):
            return Verdict.binary(True, "equal")
        return _failed(Outcome.INCORRECT, fields, stage="equal")

    def _from_reference(self, item: Item) -> Schema:
        try:
            return compile_schema(item.reference)
        except SchemaError as error:
            raise BadItemError(f"reference{error.pointer}: {clip(str(error))}") from None

    def _fields(self, reference: Any) -> dict[str, float]:
        """A component of 0 for every field that is compared. Raises `BadItemError`."""
        if self.config.equal == "no":
            return {}
        if reference is None:
            raise BadItemError("reference: send the JSON value to compare with")
        if not isinstance(reference, dict):
            return {}
        if len(reference) > MAX_FIELDS:
            raise BadItemError(f"reference: has {len(reference)} fields, {MAX_FIELDS} are compared at most")
        return {clip(name): 0.0 for name in reference}

    def _compared(self, value: dict[str, Any], reference: dict[str, Any]) -> Verdict:
        matches = {name: name in value and equal(value[name], reference[name]) for name in reference}
        components = {clip(name): float(match) for name, match in matches.items()}
        fields = len(reference.keys() | value.keys())
        share = sum(matches.values()) / fields if fields else 1.0
        if 0 < share < 1 and self.config.equal == "fraction":
            return Verdict(Outcome.PARTIAL, share, {"stage": "equal"}, components=components)
        return replace(Verdict.binary(share == 1, "equal"), components=components)


def _failed(outcome: Outcome, components: dict[str, float], **detail: Any) -> Verdict:
    return Verdict(outcome, 0.0, detail, components=components)


def equal(a: Any, b: Any) -> bool:
    """Whether two JSON values are equal: 1 and 1.0 are, true and 1 are not, and members have no order."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)

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
from verifiers.json_schema.equality import Rules, compared, equal, fields
from verifiers.json_schema.text import NotJSONError, Source, read, values_at_most
from verifiers.json_schema.validator import Schema, SchemaError, compile_schema, size
from verifiers.thinking import Section, section

MAX_JSON_CHARS = 2_000_000
"""Characters of the section that holds the JSON."""
MAX_FIELDS = 200
"""Fields of a reference object; each becomes a component."""
COMPARING = ("fields", "extra", "arrays", "int_equals_float", "tolerance", "strings")
"""Fields of the configuration that say how values are compared."""
INLINE_CHARS = {"whole": 32_768, "fenced": 16_384, "last_object": 4_096}
"""Characters that are read in a few milliseconds, by where the JSON is sought."""
INLINE_BRACES = 300
"""Braces from which `last_object` tries to read an object in a few milliseconds."""
INLINE_CHECKS = 50_000
"""Checks of a value against a part of a schema that take 2 ms."""
INLINE_PATTERN_CHARS = 20_000
"""Characters that patterns may read; they take a microsecond each at the worst."""
INLINE_COMPILED = (500, 5)
"""Values and patterns of a schema in a reference that is compiled in a millisecond or two."""
INLINE_COMPARED = 1_000
"""Values whose leaves are found, or that are compared without order or loosely, in two or three milliseconds."""


class JsonSchemaConfig(KindConfig):
    """The schema, where the JSON is sought, and whether and how it must equal the reference."""

    model_config = ConfigDict(serialize_by_alias=True)

    schema_: dict[str, Any] | bool | None = Field(
        None,
        alias="schema",
        description="A JSON Schema of draft 4, 6, 7, 2019-09 or 2020-12 (the default); `true` accepts any JSON. "
        "null: each item's reference is its schema.",
        examples=[{"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}],
    )
    from_: Source = Field(
        "whole",
        alias="from",
        description="`whole`: the text is JSON; `fenced`: its last closed code fence, marked json or not marked at "
        "all; `last_object`: the last JSON object that stands in it and in no other object.",
    )
    equal: Literal["no", "all", "fraction"] = Field(
        "no",
        description="`all`: the value must also equal the reference; `fraction`: the score is the share of the "
        "fields that are equal. The fields below say what equal means.",
    )
    fields: Literal["top", "leaves"] = Field(
        "top",
        description="What is compared one by one: the fields of the object (`top`), or every value inside it and "
        "inside objects in it, named by JSON pointers such as `/address/city` (`leaves`). An array is one value.",
    )
    extra: Literal["wrong", "ignore"] = Field(
        "wrong",
        description="Fields that the reference does not have: they count as wrong ones, or not at all. Inside arrays "
        "they are always wrong.",
    )
    arrays: Literal["ordered", "unordered"] = Field(
        "ordered",
        description="Whether the order of the elements of an array counts. How often each occurs always does.",
    )
    int_equals_float: bool = Field(True, description="Whether 1 equals 1.0.")
    tolerance: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Largest difference of two numbers, relative to the expected one. 0 compares exactly.",
    )
    strings: Literal["exact", "loose"] = Field(
        "exact", description="`loose`: letter case and the amount of white space do not count."
    )
    section: Section = Field(
        "final",
        description="`final`: what follows the thinking part, if there is one; `whole`: the whole completion.",
    )


@register
class JsonSchema(DirectKind[JsonSchemaConfig]):
    """Validate JSON in the completion against a schema, and if asked compare it with the reference field by field.

    For structured output and information extraction. Validation is offline: a `$ref` to a file or a host is refused
    when the verifier is registered. The meta-schemas of the drafts are built in. `format` is checked as the draft
    says: up to draft 7 it is, from 2019-09 on it is an annotation.

    JSON is read as I-JSON ([RFC 7493](https://www.rfc-editor.org/rfc/rfc7493)): NaN, infinities, numbers that
    overflow (1e999), names that occur twice in an object, and lone surrogates are refused.

    ## Configuration
    Equal is what JSON calls equal: `true` and 1 are not, and the order of members does not count. For an object each
    compared field of the reference is a component, 1 or 0. A value that is not valid scores 0, however much of it is
    equal.

    ## Reference
    The schema where none is configured; with `equal` the expected value, of at most 200 fields; otherwise not read.

    ## Outcomes
    `correct`, `incorrect` and, with `"equal": "fraction"`, `partial`. `unparseable` where there is no JSON in the
    place that was named, or no final section. `output_exceeded` for over 2,000,000 characters. `timeout` where
    validating used up a worker's CPU time. `detail` has the stage (`section`, `parse`, `schema`, `equal`), a message,
    and for a value that is not valid the JSON pointer `path` to the fault inside it.

    ## Limits
    A completion's JSON nests at most 64 deep and its integers have at most 1,000 digits. A schema holds at most 5,000
    values, 200,000 characters, 64 levels and 50 patterns; references may lead 128 levels deep, and may be recursive.
    Patterns are linear in the text; one with look-around runs in a worker process, and so does a schema whose
    references are recursive or multiply, or a large completion. A failed `anyOf` or `oneOf` with many alternatives is
    not explained. With `last_object`, a text so full of broken objects that the search would read it more than ten
    times is `unparseable`.
    """

    kind: ClassVar[str] = "json_schema"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Literal["none", "memory"]] = "memory"
    Config: ClassVar[type[BaseModel]] = JsonSchemaConfig
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(Any)
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion='{"city": "Paris"}'), 1.0, {"schema": {"type": "object", "required": ["city"]}}),
        Example(
            Item(completion='{"age": -1}', reference={"properties": {"age": {"type": "integer", "minimum": 0}}}), 0.0
        ),
        Example(
            Item(
                completion='Here it is: {"city": "Paris", "zip": "75001"}',
                reference={"city": "Paris", "zip": 75001},
            ),
            0.5,
            {"schema": True, "from": "last_object", "equal": "fraction"},
        ),
        Example(
            Item(
                completion='{"name": "ada  LOVELACE", "born": {"year": 1815, "city": "Rome"}, "topics": [2, 1]}',
                reference={"name": "Ada Lovelace", "born": {"year": 1815, "city": "Paris"}, "topics": [1, 2]},
            ),
            0.75,
            {"schema": True, "equal": "fraction", "fields": "leaves", "arrays": "unordered", "strings": "loose"},
        ),
        Example(
            Item(completion='{"pi": 3.1416, "source": "memory"}', reference={"pi": 3.14159}),
            1.0,
            {"schema": True, "equal": "all", "tolerance": 0.001, "extra": "ignore"},
        ),
        Example(Item(completion="```json\n[1, 2]\n```"), 1.0, {"schema": {"type": "array"}, "from": "fenced"}),
        Example(Item(completion='{"a": 1, "a": 2}'), 0.0, {"schema": True}),
        Example(Item(completion="Paris", reference={"required": ["city"]}), 0.0),
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
        self._rules = Rules(
            ordered=config.arrays == "ordered",
            int_equals_float=config.int_equals_float,
            tolerance=config.tolerance,
            loose_strings=config.strings == "loose",
            extra=config.extra == "ignore",
        )
        self._leaves = config.fields == "leaves"
        if config.equal == "no":
            for name in COMPARING:
                if getattr(config, name) != JsonSchemaConfig.model_fields[name].default:
                    raise ConfigError(
                        f"{name} says how values are compared: set equal to all or fraction", f"/{name}"
                    )
        if config.tolerance and config.arrays == "unordered":
            raise ConfigError("a tolerance goes with ordered arrays: elements must be told apart", "/tolerance")

    def costly(self, item: Item) -> bool:
        """See `DirectKind.costly`."""
        text = item.text
        if len(text) > INLINE_CHARS[self.config.from_]:
            return True
        if self.config.from_ == "last_object" and text.count("{") > INLINE_BRACES:
            return True
        if not self._rules.plain or self._leaves:
            try:
                if values_at_most(text) + size(item.reference)[0] > INLINE_COMPARED:
                    return True
            except SchemaError:  # the reference is larger than any schema
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
        unequal = self._unequal(item.reference)
        text = section(item, config.section)
        if text is None:
            return _failed(Outcome.UNPARSEABLE, unequal, stage="section")
        if len(text) > MAX_JSON_CHARS:
            return _failed(Outcome.OUTPUT_EXCEEDED, unequal, stage="parse", limit=MAX_JSON_CHARS)
        try:
            value = read(text, config.from_)
        except NotJSONError as error:
            return _failed(Outcome.UNPARSEABLE, unequal, stage="parse", message=clip(str(error)))
        failure = schema.failure(value, text)
        if failure is not None:
            return _failed(
                Outcome.INCORRECT, unequal, stage="schema", path=clip(failure.path), message=clip(failure.message)
            )
        if config.equal == "no":
            return Verdict.binary(True, "schema")
        if isinstance(value, dict) and isinstance(item.reference, dict):
            return self._compared(value, item.reference)
        if equal(value, item.reference, self._rules):
            return Verdict.binary(True, "equal")
        return _failed(Outcome.INCORRECT, unequal, stage="equal")

    def _from_reference(self, item: Item) -> Schema:
        try:
            return compile_schema(item.reference)
        except SchemaError as error:
            raise BadItemError(f"reference{error.pointer}: {clip(str(error))}") from None

    def _unequal(self, reference: Any) -> dict[str, float]:
        """A component of 0 for every field that is compared. Raises `BadItemError`."""
        if self.config.equal == "no":
            return {}
        if reference is None:
            raise BadItemError("reference: send the JSON value to compare with")
        if not isinstance(reference, dict):
            return {}
        names = fields(reference, leaves=self._leaves)
        if len(names) > MAX_FIELDS:
            raise BadItemError(f"reference: has {len(names)} fields, {MAX_FIELDS} are compared at most")
        return {clip(name): 0.0 for name in names}

    def _compared(self, value: dict[str, Any], reference: dict[str, Any]) -> Verdict:
        matches, total = compared(value, reference, self._rules, leaves=self._leaves)
        components = {clip(name): float(match) for name, match in matches.items()}
        share = sum(matches.values()) / total if total else 1.0
        if 0 < share < 1 and self.config.equal == "fraction":
            return Verdict(Outcome.PARTIAL, share, {"stage": "equal"}, components=components)
        return replace(Verdict.binary(share == 1, "equal"), components=components)


def _failed(outcome: Outcome, components: dict[str, float], **detail: Any) -> Verdict:
    return Verdict(outcome, 0.0, detail, components=components)

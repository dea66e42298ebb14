from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifiers.support import ANY_JSON, FaultyGuard, InProcessGuard, NoGuard, configured, score, score_all
from verifiers.base import ConfigError, ErrorType, GuardFault, Item, Outcome
from verifiers.json_schema import MAX_FIELDS, MAX_JSON_CHARS
from verifiers.json_schema.equality import Rules, equal
from verifiers.json_schema.validator import MAX_CHARS, MAX_DEPTH, MAX_PATTERNS, MAX_VALUES

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}
ANYTHING = {"schema": True, "equal": "all"}
SHARES = {"schema": True, "equal": "fraction"}


def nested(levels: int) -> Any:
    schema: Any = True
    for _ in range(levels):
        schema = {"not": schema}
    return schema


def chain(length: int) -> dict[str, Any]:
    """A schema whose references lead one into the next."""
    definitions: dict[str, Any] = {f"d{n}": {"not": {"$ref": f"#/$defs/d{n + 1}"}} for n in range(length)}
    return {"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{length}": True}}


def doubling(levels: int) -> dict[str, Any]:
    """A schema whose references multiply: 2 ** levels checks of one value."""
    definitions: dict[str, Any] = {"d0": {"type": "string"}}
    for level in range(1, levels + 1):
        definitions[f"d{level}"] = {"allOf": [{"$ref": f"#/$defs/d{level - 1}"}] * 2}
    return {"$defs": definitions, "$ref": f"#/$defs/d{levels}"}


@pytest.mark.parametrize(
    ("config", "completion", "expected"),
    [
        ({"schema": PERSON}, '{"name": "Ada", "age": 36}', 1.0),
        ({"schema": PERSON}, '{"name": "Ada", "age": -1}', 0.0),
        ({"schema": PERSON}, '{"name": "Ada", "year": 1815}', 0.0),
        ({"schema": PERSON}, '{"age": 36}', 0.0),
        ({"schema": PERSON}, '{"name": "Ada", "age": 36.0}', 1.0),
        ({"schema": PERSON}, '{"name": "Ada", "age": true}', 0.0),
        ({"schema": PERSON}, 'Here: {"name": "Ada"}', 0.0),
        ({"schema": PERSON, "from": "last_object"}, 'Here: {"name": "Ada"}', 1.0),
        ({"schema": PERSON, "from": "fenced"}, '```json\n{"name": "Ada"}\n```', 1.0),
        ({"schema": PERSON}, '<think>{}</think>{"name": "Ada"}', 1.0),
        ({"schema": PERSON, "from": "last_object"}, '<think>{"name": "Ada"}</think>no', 0.0),
        ({"schema": PERSON, "from": "last_object", "section": "whole"}, '<think>{"name": "Ada"}</think>no', 1.0),
        ({"schema": True}, "null", 1.0),
        ({"schema": False}, "null", 0.0),
        ({"schema": {"type": "integer"}}, "1" * 1000, 1.0),
        ({"schema": {"const": "\x00"}}, '"\\u0000"', 1.0),
        ({"schema": {"pattern": r"^\d+$"}}, '"12"', 1.0),
        ({"schema": {"pattern": "^(?!x-)"}}, '"x-1"', 0.0),
        ({"schema": {"pattern": "^(?!x-)"}}, '"y-1"', 1.0),
        ({"schema": {"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}}}, "null", 1.0),
        ({"schema": {"$ref": "https://json-schema.org/draft/2020-12/schema"}}, '{"type": 5}', 0.0),
        ({"schema": {"$schema": "http://json-schema.org/draft-07/schema#", "format": "date"}}, '"no"', 0.0),
        ({"schema": {"format": "date"}}, '"no"', 1.0),
    ],
)
async def test_scores(config: dict[str, Any], completion: str, expected: float) -> None:
    assert (await score("json_schema", config, completion=completion)).score == expected


async def test_the_reference_is_the_schema_where_none_is_configured() -> None:
    items = [
        Item(completion='{"name": "Ada"}', reference=PERSON),
        Item(completion="{}", reference=PERSON),
        Item(completion="[]", reference=True),
        Item(completion="[]", reference=False),
    ]
    assert [v.score for v in await score_all(configured("json_schema"), items)] == [1.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("config", "completion", "reference", "expected", "components"),
    [
        (ANYTHING, '{"a": 1, "b": [true]}', {"b": [True], "a": 1.0}, 1.0, {"a": 1.0, "b": 1.0}),
        (ANYTHING, '{"a": 1}', {"a": True}, 0.0, {"a": 0.0}),
        (ANYTHING, '{"a": 1, "c": 2}', {"a": 1}, 0.0, {"a": 1.0}),
        (ANYTHING, '{"a": [1, 2]}', {"a": [2, 1]}, 0.0, {"a": 0.0}),
        (ANYTHING, '{"a": null}', {"a": None, "b": None}, 0.0, {"a": 1.0, "b": 0.0}),
        (ANYTHING, "[1, 2.0]", [1.0, 2], 1.0, {}),
        (ANYTHING, "1", 1, 1.0, {}),
        (ANYTHING, "1", True, 0.0, {}),
        (ANYTHING, '"1"', 1, 0.0, {}),
        (ANYTHING, "[]", {}, 0.0, {}),
        (ANYTHING, "{}", {}, 1.0, {}),
        (SHARES, '{"a": 1, "b": 3}', {"a": 1, "b": 2}, 0.5, {"a": 1.0, "b": 0.0}),
        (SHARES, '{"a": 1, "x": 0, "y": 0, "z": 0}', {"a": 1}, 0.25, {"a": 1.0}),
        (SHARES, '{"x": 1}', {"a": 1}, 0.0, {"a": 0.0}),
        (SHARES, '{"a": 1}', {"a": 1}, 1.0, {"a": 1.0}),
        (SHARES, "[]", {"a": 1}, 0.0, {"a": 0.0}),
        (SHARES, "not json", {"a": 1}, 0.0, {"a": 0.0}),
        (SHARES, "<think>", {"a": 1}, 0.0, {"a": 0.0}),
        ({**SHARES, "schema": PERSON}, '{"age": 1}', {"age": 1}, 0.0, {"age": 0.0}),
    ],
)
async def test_equality_with_the_reference(
    config: dict[str, Any], completion: str, reference: Any, expected: float, components: dict[str, float]
) -> None:
    verdict = await score("json_schema", config, completion=completion, reference=reference)
    assert verdict.score == expected
    assert verdict.components == components
    assert (verdict.outcome == Outcome.PARTIAL) == (0 < expected < 1)


UNORDERED = {**ANYTHING, "arrays": "unordered"}
LEAVES = {**SHARES, "fields": "leaves"}
PERSON_FOUND = {"name": "Ada", "born": {"year": 1815, "city": "London"}, "tags": ["a", "b"]}


@pytest.mark.parametrize(
    ("config", "value", "reference", "expected"),
    [
        (UNORDERED, {"a": [1, 2, 2]}, {"a": [2, 1, 2]}, 1.0),
        (UNORDERED, {"a": [1, 2, 2]}, {"a": [1, 1, 2]}, 0.0),
        (UNORDERED, [{"x": [1, {"y": 2}]}, "z"], ["z", {"x": [{"y": 2.0}, 1.0]}], 1.0),
        (UNORDERED, [True, 1], [1, 1], 0.0),
        (UNORDERED, [None, "null"], ["null", None], 1.0),
        (UNORDERED, [[], {}], [{}, []], 1.0),
        (UNORDERED, [{}], [[]], 0.0),
        ({**UNORDERED, "int_equals_float": False}, [1, 2.0], [2.0, 1], 1.0),
        ({**UNORDERED, "int_equals_float": False}, [1, 2], [2.0, 1], 0.0),
        ({**UNORDERED, "strings": "loose"}, ["B", "a  b"], ["A b", "b"], 1.0),
        ({**UNORDERED, "extra": "ignore"}, {"a": [{"b": 1}], "c": 2}, {"a": [{"b": 1}]}, 1.0),
        ({**UNORDERED, "extra": "ignore"}, {"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}, 0.0),
        ({**ANYTHING, "int_equals_float": False}, {"a": 1.0}, {"a": 1}, 0.0),
        ({**ANYTHING, "tolerance": 0.01}, {"a": 100.9}, {"a": 100}, 1.0),
        ({**ANYTHING, "tolerance": 0.01}, {"a": 101.1}, {"a": 100}, 0.0),
        ({**ANYTHING, "tolerance": 0.01}, {"a": -100}, {"a": 100}, 0.0),
        ({**ANYTHING, "tolerance": 0.01}, {"a": 1e-9}, {"a": 0}, 0.0),
        ({**ANYTHING, "tolerance": 0.5}, {"a": True}, {"a": 1}, 0.0),
        ({**ANYTHING, "tolerance": 0.5}, [10**400], [1e300], 0.0),
        ({**ANYTHING, "tolerance": 0.5}, [10**400 + 1], [10**400], 1.0),
        ({**ANYTHING, "strings": "loose"}, {"a": " ADA\n Lovelace "}, {"a": "Ada Lovelace"}, 1.0),
        ({**ANYTHING, "strings": "loose"}, {"A": "x"}, {"a": "x"}, 0.0),
        ({**ANYTHING, "extra": "ignore"}, {"a": 1, "b": 2}, {"a": 1}, 1.0),
        ({**ANYTHING, "extra": "ignore"}, {"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, 1.0),
        ({**ANYTHING, "extra": "ignore"}, {"b": 2}, {"a": 1}, 0.0),
        ({**ANYTHING, "extra": "ignore"}, {"b": 2}, {}, 1.0),
        ({**SHARES, "extra": "ignore"}, {"a": 1, "b": 3, "x": 0}, {"a": 1, "b": 2}, 0.5),
        (LEAVES, PERSON_FOUND, PERSON_FOUND, 1.0),
        (LEAVES, {**PERSON_FOUND, "born": {"year": 1815, "city": "Rome"}}, PERSON_FOUND, 0.75),
        (LEAVES, {**PERSON_FOUND, "born": 1815}, PERSON_FOUND, 2 / 5),
        (LEAVES, {**PERSON_FOUND, "died": {"year": 1852}}, PERSON_FOUND, 4 / 5),
        ({**LEAVES, "extra": "ignore"}, {**PERSON_FOUND, "died": {"year": 1852}}, PERSON_FOUND, 1.0),
        (LEAVES, {"a": {}}, {"a": {}}, 1.0),
        (LEAVES, {"a": {}}, {"a": {"b": {}}}, 0.0),
        (LEAVES, {"a/b": 1}, {"a": {"b": 1}}, 0.0),
        ({**ANYTHING, "fields": "leaves"}, PERSON_FOUND, PERSON_FOUND, 1.0),
    ],
)
async def test_what_equal_means(config: dict[str, Any], value: Any, reference: Any, expected: float) -> None:
    verdict = await score("json_schema", config, completion=json.dumps(value), reference=reference)
    assert verdict.score == pytest.approx(expected, abs=1e-12)
    assert (verdict.outcome == Outcome.PARTIAL) == (0 < expected < 1)


async def test_leaves_are_named_by_their_pointers_whatever_the_completion() -> None:
    reference = {"a/b": {"c~": 1, "d": {}}, "e": [{"f": 1}]}
    for completion in ("", "{}", "[]", '{"e": [{"f": 1}]}'):
        verdict = await score("json_schema", LEAVES, completion=completion, reference=reference)
        assert verdict.components.keys() == {"/a~1b/c~0", "/a~1b/d", "/e"}
    assert verdict.components["/e"] == 1.0


@given(value=ANY_JSON, data=st.data())
async def test_the_order_of_elements_does_not_count_where_it_is_said_so(value: Any, data: st.DataObject) -> None:
    def shuffled(node: Any) -> Any:
        if isinstance(node, dict):
            return {name: shuffled(member) for name, member in node.items()}
        return data.draw(st.permutations([shuffled(element) for element in node])) if isinstance(node, list) else node

    other = shuffled(value)
    assert equal(other, value, Rules(ordered=False))
    assert equal([other, 1], [1, value], Rules(ordered=False))
    assert equal([other], [value, value], Rules(ordered=False)) is False


@given(a=ANY_JSON, b=ANY_JSON)
def test_looser_rules_accept_all_that_stricter_ones_do(a: Any, b: Any) -> None:
    strict = equal(a, b, Rules(int_equals_float=False))
    for rules in (Rules(), Rules(ordered=False), Rules(tolerance=0.1), Rules(loose_strings=True), Rules(extra=True)):
        assert equal(a, a, rules)
        assert equal(a, b, rules) >= strict


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fields", "leaves"),
        ("extra", "ignore"),
        ("arrays", "unordered"),
        ("int_equals_float", False),
        ("tolerance", 0.1),
        ("strings", "loose"),
    ],
)
def test_how_values_are_compared_needs_a_comparison(field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as raised:
        configured("json_schema", {"schema": True, field: value})
    assert str(raised.value) == f"{field} says how values are compared: set equal to all or fraction"
    assert raised.value.pointer == f"/{field}"


def test_a_tolerance_needs_an_order() -> None:
    with pytest.raises(ConfigError) as raised:
        configured("json_schema", {**UNORDERED, "tolerance": 0.1})
    assert str(raised.value) == "a tolerance goes with ordered arrays: elements must be told apart"
    assert raised.value.pointer == "/tolerance"


async def test_outcomes() -> None:
    valid = await score("json_schema", {"schema": PERSON}, completion='{"name": "Ada"}')
    assert (valid.outcome, valid.detail) == (Outcome.CORRECT, {"stage": "schema"})
    invalid = await score("json_schema", {"schema": {"items": PERSON}}, completion='[{"name": "Ada", "age": "x"}]')
    assert (invalid.outcome, invalid.detail) == (
        Outcome.INCORRECT,
        {"stage": "schema", "path": "/0/age", "message": '"x" is not of type "integer"'},
    )
    broken = await score("json_schema", {"schema": PERSON}, completion="{")
    assert (broken.outcome, broken.score) == (Outcome.UNPARSEABLE, 0.0)
    assert broken.detail["message"].startswith("Expecting property name")
    unfinished = await score("json_schema", {"schema": PERSON}, completion="<think>{}")
    assert (unfinished.outcome, unfinished.detail) == (Outcome.UNPARSEABLE, {"stage": "section"})
    long = await score("json_schema", {"schema": True}, completion=" " * MAX_JSON_CHARS + "1")
    assert (long.outcome, long.score) == (Outcome.OUTPUT_EXCEEDED, 0.0)


async def test_a_failure_is_explained_briefly() -> None:
    verdict = await score("json_schema", {"schema": {"type": "null"}}, completion=json.dumps({"a" * 5_000: "b"}))
    assert len(verdict.detail["message"]) <= 200
    alternatives = {"anyOf": [{"items": {"const": n}} for n in range(20)]}
    verdict = await score("json_schema", {"schema": alternatives}, completion=json.dumps(list("a" * 100)))
    assert verdict.detail == {"stage": "schema", "path": "", "message": "the value is not valid under the schema"}


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (None, "reference: a schema is an object, true or false"),
        ("{}", "reference: a schema is an object, true or false"),
        ([], "reference: a schema is an object, true or false"),
        ({"type": "strin"}, 'reference/type: "strin" is not valid under any of the schemas'),
        ({"properties": {"a/b": {"minimum": "0"}}}, 'reference/properties/a~1b/minimum: "0" is not of type "number"'),
        ({"pattern": "("}, 'reference/pattern: "(" is not a "regex"'),
        ({"$ref": "file:///etc/passwd"}, "reference: Resource 'file:///etc/passwd' is not present in a registry"),
        ({"items": {"$ref": "http://127.0.0.1:1/x"}}, "reference: Resource 'http://127.0.0.1:1/x' is not present"),
        ({"$ref": "other.json"}, "reference: Resource"),
        ({"$id": "file:///etc/", "$ref": "passwd"}, "reference: Resource 'file:///etc/passwd' is not present"),
        ({"$schema": "http://127.0.0.1:1/x"}, "reference: Unknown meta-schema: 'http://127.0.0.1:1/x'"),
        ({"$ref": "#/$defs/none"}, "reference: Pointer '/$defs/none' does not exist"),
        ({"const": "\ud800"}, "reference: Failed to get UTF-8 representation"),
        (nested(MAX_DEPTH + 1), f"reference: the schema nests deeper than {MAX_DEPTH} levels"),
        ({"enum": ["x"] * MAX_VALUES}, f"reference: the schema holds more than {MAX_VALUES} values"),
        (
            {"const": "x" * (MAX_CHARS + 1)},
            f"reference: the schema holds more than {MAX_VALUES} values or {MAX_CHARS}",
        ),
        (chain(100), "reference: the schema's references lead deeper than 128 levels"),
        (
            {"properties": {f"p{n}": {"pattern": "a"} for n in range(MAX_PATTERNS + 1)}},
            f"reference: the schema holds {MAX_PATTERNS + 1} regular expressions, {MAX_PATTERNS} are allowed",
        ),
    ],
)
async def test_bad_references(reference: Any, message: str) -> None:
    verdict = await score("json_schema", completion="{}", reference=reference)
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.retryable) == (ErrorType.BAD_ITEM, False)
    assert verdict.error.message.startswith(message)
    if isinstance(reference, dict):
        with pytest.raises(ConfigError) as raised:
            configured("json_schema", {"schema": reference})
        assert f"reference{raised.value.pointer.removeprefix('/schema')}: {raised.value}" == verdict.error.message


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (None, "reference: send the JSON value to compare with"),
        ({f"f{n}": n for n in range(MAX_FIELDS + 1)}, f"reference: has {MAX_FIELDS + 1} fields, {MAX_FIELDS} are"),
    ],
)
async def test_bad_expected_values(reference: Any, message: str) -> None:
    nested_verdict = await score("json_schema", LEAVES, completion="{}", reference=reference and {"in": reference})
    assert nested_verdict.error is not None
    assert nested_verdict.error.message.startswith(message)
    verdict = await score("json_schema", ANYTHING, completion="{}", reference=reference)
    assert verdict.error is not None
    assert verdict.error.message.startswith(message)


def test_equality_needs_a_schema() -> None:
    with pytest.raises(ConfigError, match="cannot be both the schema and the expected value") as raised:
        configured("json_schema", {"equal": "all"})
    assert raised.value.pointer == "/equal"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"schema": "{}"}, "valid dictionary"),
        ({"schema": [1]}, "valid dictionary"),
        ({"schema_": {}}, "Extra inputs"),
        ({"from_": "whole"}, "Extra inputs"),
        ({"from": "first_object"}, "'whole', 'fenced' or 'last_object'"),
        ({"equal": True}, "'no', 'all' or 'fraction'"),
        ({"fields": "all"}, "'top' or 'leaves'"),
        ({"extra": False}, "'wrong' or 'ignore'"),
        ({"arrays": "sorted"}, "'ordered' or 'unordered'"),
        ({"tolerance": 1}, "less than 1"),
        ({"tolerance": -0.1}, "greater than or equal to 0"),
        ({"tolerance": float("nan")}, "finite"),
        ({"strings": "fuzzy"}, "'exact' or 'loose'"),
    ],
)
def test_configurations_that_the_schema_refuses(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        configured("json_schema", config)


@pytest.mark.parametrize(
    ("config", "completion"),
    [
        ({"schema": doubling(30)}, '"a"'),
        ({"schema": {"$defs": {"t": {"items": {"$ref": "#/$defs/t"}}}, "$ref": "#/$defs/t"}}, "[]"),
        ({"schema": {"$dynamicRef": "#"}}, "[]"),
        ({"schema": {"$id": "http://x/y", "type": "array"}}, "[]"),
        ({"schema": {"pattern": "(?=a)"}}, '"a"'),
        ({"schema": {"pattern": "a"}}, '"' + "a" * 30_000 + '"'),
        ({"schema": {"anyOf": [{"const": n} for n in range(2_000)]}}, json.dumps(list(range(100)))),
        ({"schema": True}, " " * 70_000),
        ({"schema": True, "from": "last_object"}, "{" * 9_000),
        ({}, "{}"),
        ({"schema": True, "equal": "all", "arrays": "unordered"}, "[]"),
        ({"schema": True, "equal": "all", "fields": "leaves"}, "{}"),
        ({"schema": True, "equal": "all", "strings": "loose"}, "[]"),
    ],
)
async def test_what_may_be_slow_goes_to_a_worker(config: dict[str, Any], completion: str) -> None:
    reference = {"enum": list(range(1_000))}
    verdict = await score(
        "json_schema", config, FaultyGuard(GuardFault.CPU), completion=completion, reference=reference
    )
    assert verdict.outcome == Outcome.TIMEOUT


async def test_what_is_fast_or_refused_does_not() -> None:
    await score("json_schema", {"schema": PERSON}, NoGuard(), completion=json.dumps({"name": "x" * 30_000}))
    await score("json_schema", guard=NoGuard(), completion="{}", reference={"enum": list(range(400))})
    await score("json_schema", guard=NoGuard(), completion="{}", reference={"enum": list(range(10_000))})
    await score("json_schema", {"schema": doubling(10)}, NoGuard(), completion="1")


def test_repeated_evaluation_of_unevaluated_members_is_counted() -> None:
    schema: dict[str, Any] = {"properties": {"a": True}}
    for _ in range(12):
        schema = {"allOf": [schema], "unevaluatedProperties": False}
    verifier: Any = configured("json_schema", {"schema": schema})
    assert verifier.costly(Item(completion='{"a": 1}'))


async def test_a_schema_in_a_worker_judges_as_here() -> None:
    guard = InProcessGuard()
    recursive = {"$defs": {"t": {"items": {"$ref": "#/$defs/t"}, "type": "array"}}, "$ref": "#/$defs/t"}
    items = [Item(completion=text) for text in ("[[], [[]]]", "[[], [1]]", "[")]
    verdicts = await score_all(configured("json_schema", {"schema": recursive}), items, guard)
    assert len(guard.payloads) == 3
    assert [v.outcome for v in verdicts] == ["correct", "incorrect", "unparseable"]
    assert verdicts[1].detail["path"] == "/1/0"


@given(a=ANY_JSON, b=ANY_JSON)
def test_equality_agrees_with_json(a: Any, b: Any) -> None:
    def canonical(value: Any) -> str:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, list):
            return "[" + ",".join(map(canonical, value)) + "]"
        if isinstance(value, dict):
            return "{" + ",".join(f"{json.dumps(k)}:{canonical(value[k])}" for k in sorted(value)) + "}"
        return json.dumps(value)

    assert equal(a, a)
    assert equal(a, b) == equal(b, a) == (canonical(a) == canonical(b))


@given(value=st.dictionaries(st.text(), st.none() | st.integers() | st.text(), min_size=1))
async def test_gold_scores_one_and_empty_scores_zero(value: dict[str, Any]) -> None:
    for config in (ANYTHING, SHARES, UNORDERED, LEAVES):
        gold = await score(
            "json_schema", {**config, "section": "whole"}, completion=json.dumps(value), reference=value
        )
        assert (gold.outcome, gold.score) == (Outcome.CORRECT, 1.0)
        assert (await score("json_schema", config, completion="", reference=value)).score == 0.0

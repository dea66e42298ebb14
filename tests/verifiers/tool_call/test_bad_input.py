"""Configurations and references that cannot be used, each with its message."""

from __future__ import annotations

from typing import Any

import pytest

from tests.verifiers.support import score
from tests.verifiers.tool_call.support import HERMES, PARIS, TOOLS, WEATHER, refusal, tool
from verifiers.base import ErrorType

DEEP: Any = {"type": "string"}
for _ in range(80):
    DEEP = {"type": "array", "items": DEEP}
DRY = {"code": "def get_weather(state, city): pass"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"tools": []}, "/tools: List should have at least 1 item after validation, not 0"),
        ({"tools": "x"}, "/tools: Input should be a valid list"),
        ({"tools": [7]}, "/tools/0: Input should be a valid dictionary"),
        ({"tools": [{}]}, "/tools/0/name: must be a string of 1 to 200 characters"),
        ({"tools": [{"name": ""}]}, "/tools/0/name: must be a string of 1 to 200 characters"),
        ({"tools": [{"name": "f" * 201}]}, "/tools/0/name: must be a string of 1 to 200 characters"),
        ({"tools": [{"type": "web_search"}]}, "/tools/0/type: must be 'function'"),
        ({"tools": [{"function": []}]}, "/tools/0/function: must be an object with name and parameters"),
        ({"tools": [WEATHER, WEATHER]}, "/tools/1: two tools are named 'get_weather'"),
        ({"tools": [tool("a.b"), tool("a_b")], "underscore_for_dot": True}, "two tools can be called 'a_b'"),
        ({"tools": [{"name": "f", "parameters": []}]}, "/tools/0/parameters: must be a JSON Schema of an object"),
        ({"tools": [{"name": "f", "parameters": {"type": "array"}}]}, "/tools/0/parameters/type: must be 'object'"),
        (
            {"tools": [{"name": "f", "parameters": {"city": {"type": "str"}}}]},
            "/tools/0/parameters: is no JSON Schema of an object: give it type and properties",
        ),
        ({"tools": [tool("f", a="stringy")]}, '/tools/0/function/parameters/properties/a/type: "stringy" is not'),
        ({"tools": [tool("f", a={"required": True})]}, "/tools/0/function/parameters/properties/a/required: true is"),
        ({"tools": [tool("f", a={"$ref": "http://localhost/x"})]}, "/tools/0/function/parameters:"),
        ({"tools": [tool("f", a=DEEP)]}, "/tools: the list of tools nests deeper than 64 levels"),
        ({"tools": [tool("f", a={"enum": list(range(6000))})]}, "/tools: the list of tools holds more than 5000"),
        ({"tools": [tool(f"f{n}") for n in range(129)]}, "/tools: has 129 tools, 128 are allowed"),
        ({"match": "fuzzy"}, "/match: Input should be 'schema', 'name', 'arguments' or 'exact'"),
        ({"order": True}, "/order: Input should be 'any' or 'given'"),
        ({"parallel": 1}, "/parallel: Input should be a valid boolean"),
        ({"strings": "loose"}, "/strings: Input should be 'exact' or 'bfcl'"),
        ({"reward": "partial"}, "/reward: Input should be 'all' or 'fraction'"),
        ({"tool": []}, "/tool: Extra inputs are not permitted"),
        ({"dry_run": {}}, "/dry_run/code: Field required"),
        ({"dry_run": {"code": ""}}, "/dry_run/code: String should have at least 1 character"),
        ({"dry_run": DRY | {"state": {"a": "x" * 500_000}}}, "/dry_run/state: Value error, must have at most 500000"),
        ({"dry_run": DRY | {"state": 10**5000}}, "/dry_run/state: Value error, cannot be written as JSON"),
        ({"dry_run": DRY | {"state": {"a": 1}, "database": ""}}, "/dry_run: Value error, give a state or a database"),
        ({"dry_run": DRY | {"compare": []}}, "/dry_run/compare: List should have at least 1 item"),
        ({"dry_run": DRY | {"compare": ["a"]}}, "/dry_run/compare/0: String should match pattern"),
        ({"dry_run": DRY | {"limits": {"cpu_s": 0}}}, "/dry_run/limits/cpu_s: Input should be greater than"),
    ],
)
def test_configurations(config: dict[str, Any], message: str) -> None:
    assert message in refusal(config)


WRONG_VALUES: list[tuple[Any, str]] = [
    (None, "reference/calls: send the expected calls; an empty list where none is right"),
    ({}, "reference/calls: send the expected calls; an empty list where none is right"),
    (7, "reference: Input should be a valid dictionary"),
    ([], "reference: Input should be a valid dictionary"),
    ("get_weather", "reference: Input should be a valid dictionary"),
    ({"calls": {}}, "reference/calls: Input should be a valid list"),
    ({"calls": [7]}, "reference/calls/0: Input should be a valid dictionary"),
    ({"calls": [PARIS] * 65}, "reference/calls: List should have at most 64 items after validation, not 65"),
    ({"calls": [{}]}, "reference/calls/0/name: must be the name of a tool"),
    ({"calls": [{"name": 7}]}, "reference/calls/0/name: must be the name of a tool"),
    ({"calls": [{"get_weather": {}}]}, "reference/calls/0: has the unknown field 'get_weather'; send name and"),
    ({"calls": [PARIS | {"arguments": []}]}, "reference/calls/0/arguments: must be an object, or its JSON text"),
    ({"calls": [PARIS | {"arguments": "{"}]}, "reference/calls/0/arguments: not JSON: Expecting property name"),
    ({"calls": [PARIS | {"arguments": '{"a": NaN}'}]}, "reference/calls/0/arguments: not JSON: NaN is not JSON"),
    ({"calls": [PARIS | {"arguments": {"city": {"any_of": []}}}]}, "any_of must be a list of allowed values, one"),
    ({"calls": [PARIS | {"arguments": {"city": {"any_of": "x"}}}]}, "any_of must be a list of allowed values, one"),
    ({"calls": [PARIS | {"arguments": {"city": {"any_of": [1], "optional": 1}}}]}, "optional must be true or false"),
    ({"calls": [PARIS | {"arguments": {"city": list(range(20_001))}}]}, "reference/calls: hold more than 20000"),
    ({"calls": [PARIS | {"arguments": {"days": 10**1000}}]}, "an integer has more than 1000 digits"),
    ({"calls": [PARIS | {"arguments": {"city": "\ud800"}}]}, "a string holds a lone surrogate"),
    ({"calls": [{"get_weather": {"city": ["\ud800"]}}], "form": "bfcl"}, "a string holds a lone surrogate"),
    ({"calls": [], "tools": [{"name": "f", "description": 10**5000}]}, "reference/tools: cannot be written as JSON"),
    ({"calls": [PARIS], "form": "bfcl"}, "reference/calls/0: must have one field, the tool's name"),
    ({"calls": [{"get_weather": []}], "form": "bfcl"}, "reference/calls/0: must hold an object of arguments"),
    ({"calls": [{"get_weather": {"city": "x"}}], "form": "bfcl"}, "each argument must have a list of allowed values"),
    ({"calls": [{"get_weather": {"city": []}}], "form": "bfcl"}, "each argument must have a list of allowed values"),
    ({"calls": [], "form": "xlam"}, "reference/form: Input should be 'calls' or 'bfcl'"),
    ({"calls": [], "answer": 1}, "reference/answer: Extra inputs are not permitted"),
    ({"calls": [], "tools": []}, "reference/tools: List should have at least 1 item"),
    ({"calls": [], "tools": [{"name": "f", "parameters": {"type": "nope"}}]}, "reference/tools/0/parameters/type: "),
    ({"calls": [], "state": {}}, "reference/state: this verifier has no dry_run that would leave a state"),
    ({"calls": [], "initial_state": 1}, "reference/initial_state: this verifier has no dry_run"),
    ({"calls": [{"name": "nope"}]}, "reference/calls/0: no valid call is this one: no tool has this name"),
    ({"calls": [{"name": "get_weather"}]}, 'no valid call is this one: arguments: "city" is a required property'),
    ({"calls": [PARIS | {"arguments": {"city": 7}}]}, 'no valid call is this one: /city: 7 is not of type "string"'),
    (
        {"calls": [PARIS | {"arguments": {"city": {"any_of": [7, None]}}}]},
        'no valid call is this one: /city: null is not of type "string"',
    ),
]


@pytest.mark.parametrize(("reference", "message"), WRONG_VALUES)
async def test_references(reference: Any, message: str) -> None:
    for completion in (HERMES, "", "<tool_call>"):
        verdict = await score("tool_call", {"tools": TOOLS}, completion=completion, reference=reference)
        assert verdict.score is None
        assert verdict.error is not None
        assert verdict.error.type is ErrorType.BAD_ITEM
        assert message in verdict.error.message


@pytest.mark.parametrize(
    ("config", "reference", "message"),
    [
        ({"match": "schema"}, None, "reference/tools: send the tools, or give them in the verifier's configuration"),
        ({"dry_run": DRY}, None, "reference/state: send the state that the calls must leave"),
        ({"dry_run": DRY}, {"calls": []}, "reference/state: send the state that the calls must leave"),
        (
            {"dry_run": DRY | {"database": "create table t(a)"}},
            {"state": {}, "initial_state": {}},
            "reference/initial_state: the verifier's database is where every item starts",
        ),
        (
            {"dry_run": DRY},
            {"state": {}, "initial_state": "x" * 500_000},
            "reference/initial_state: must have at most 500000 characters as JSON",
        ),
    ],
)
async def test_references_that_a_configuration_cannot_use(config: Any, reference: Any, message: str) -> None:
    verdict = await score("tool_call", config, completion=HERMES, reference=reference)
    assert verdict.error is not None
    assert verdict.error.type is ErrorType.BAD_ITEM
    assert message in verdict.error.message


async def test_a_wrong_alternative_among_right_ones_is_no_fault() -> None:
    arguments = {"city": {"any_of": [7, "Paris"]}, "days": {"any_of": ["x"], "optional": True}}
    reference = {"calls": [{"name": "get_weather", "arguments": arguments}]}
    assert (await score("tool_call", {"tools": TOOLS}, completion=HERMES, reference=reference)).score == 1.0


async def test_arguments_that_do_not_count_need_not_be_possible() -> None:
    for match, passes in (("schema", True), ("name", True), ("arguments", False)):
        reference = {"calls": [{"name": "get_weather"}]}
        verdict = await score("tool_call", {"tools": TOOLS, "match": match}, completion=HERMES, reference=reference)
        assert verdict.score == (1.0 if passes else None)

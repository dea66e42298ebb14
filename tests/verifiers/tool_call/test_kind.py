"""Levels, order, shares, turns and thinking."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.verifiers.support import score
from tests.verifiers.tool_call.support import HERMES, PARIS, ROME, TOOLS, WEATHER, judged, tool
from tests.verifiers.tool_call.written import hermes, message, python
from verifiers.base import Outcome


def call(name: str = "get_weather", **arguments: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(name, arguments)]


@pytest.mark.parametrize(
    ("made", "stage", "shares"),
    [
        (call(city="Paris"), "exact", (1, 1, 1, 1)),
        (call(city="Rome"), "arguments", (1, 1, 0, 0)),
        (call("route", stops=[]), "name", (1, 0, 0, 0)),
        (call(city=7), "schema", (0, 0, 0, 0)),
        (call(), "schema", (0, 0, 0, 0)),
        (call(city="Paris", extra=1), "schema", (0, 0, 0, 0)),
        (call("Get_weather", city="Paris"), "schema", (0, 0, 0, 0)),
        (call("get_weathеr", city="Paris"), "schema", (0, 0, 0, 0)),
        (call(city="Paris") * 2, "name", (1, 0.5, 0.5, 0.5)),
        (call(city="Paris") + call("route", stops=[]), "name", (1, 0.5, 0.5, 0.5)),
        (call(city="Paris", days=1), "arguments", (1, 1, 0, 0)),
        ([], "silence", (0, 0, 0, 0)),
    ],
)
async def test_each_level_holds_those_before_it(made: Any, stage: str, shares: tuple[float, ...]) -> None:
    names = ("schema", "name", "arguments", "exact")
    for index, level in enumerate(names):
        verdict = await judged(hermes(made), match=level)
        counted = dict(zip(names[: index + 1], shares, strict=False))
        assert verdict.components == counted
        passed = all(share == 1 for share in counted.values())
        assert verdict.score == float(passed)
        assert verdict.outcome is (Outcome.CORRECT if passed else Outcome.INCORRECT)
        assert verdict.detail["stage"] == (level if passed else stage)


async def test_the_detail_names_the_call_and_the_argument() -> None:
    said = [
        ((await judged(hermes(made), order="given")).detail["message"])
        for made in (
            call(city=7),
            call("nope"),
            call(city="Rome"),
            call("route", stops=[]),
            call(city="Paris") * 3,
            [],
        )
    ]
    assert said == [
        'call 0 (get_weather): /city: 7 is not of type "string"',
        "call 0 (nope): no tool has this name",
        "call 0 (get_weather): the argument 'city'",
        "call 0: route is not expected",
        "3 calls, 1 are expected",
        "nothing is called",
    ]


BOTH = [PARIS, ROME]
PARIS_ROME, ROME_PARIS = call(city="Paris") + call(city="Rome"), call(city="Rome") + call(city="Paris")


@pytest.mark.parametrize(("order", "reward"), [("any", 1.0), ("given", 0.0)])
async def test_order(order: str, reward: float) -> None:
    for form in (hermes, message, python):
        assert (await judged(form(PARIS_ROME), BOTH, order=order)).score == 1.0
        assert (await judged(form(ROME_PARIS), BOTH, order=order)).score == reward


async def test_each_expected_call_takes_one_call() -> None:
    anywhere = {"name": "get_weather", "arguments": {"city": {"any_of": ["Paris", "Rome"]}}}
    assert (await judged(hermes(PARIS_ROME), [anywhere, PARIS])).score == 1.0
    assert (await judged(hermes(ROME_PARIS), [anywhere, PARIS])).score == 1.0
    assert (await judged(hermes(call(city="Paris") * 2), [PARIS, ROME])).score == 0.0
    assert (await judged(hermes(call(city="Paris") * 2), [PARIS, PARIS])).score == 1.0


@pytest.mark.parametrize(
    ("made", "order", "score"),
    [
        (PARIS_ROME, "any", 1.0),
        (call(city="Paris"), "any", 0.5),
        (PARIS_ROME + call(city="Oslo"), "any", 2 / 3),
        (PARIS_ROME * 5, "any", 0.2),
        (ROME_PARIS, "given", 0.5),
        (call(city="Oslo"), "any", 0.0),
        ([], "any", 0.0),
    ],
)
async def test_fraction(made: Any, order: str, score: float) -> None:
    verdict = await judged(hermes(made), BOTH, order=order, reward="fraction")
    assert verdict.score == pytest.approx(score)
    assert (verdict.outcome is Outcome.PARTIAL) == (0 < score < 1)
    assert verdict.components["arguments"] == pytest.approx(score)


async def test_several_calls_in_one_message_can_be_forbidden() -> None:
    verdict = await judged(hermes(PARIS_ROME), BOTH, parallel=False)
    assert (verdict.outcome, verdict.score, verdict.detail["stage"]) == (Outcome.REJECTED, 0.0, "parallel")
    turns = [*message(call(city="Paris")), {"role": "tool", "content": "sunny"}, *message(call(city="Rome"))]
    assert (await judged(turns, BOTH, parallel=False)).score == 1.0


async def test_turns_are_read_in_order_and_other_roles_passed_over() -> None:
    turns = [
        *message(call(city="Paris"), "Paris first."),
        {"role": "tool", "tool_call_id": "call_0", "content": hermes(call(city="Oslo"))},
        {"role": "user", "content": hermes(call(city="Oslo"))},
        {"role": "assistant", "content": f"<think>{HERMES}</think>" + hermes(call(city="Rome"))},
        {"role": "assistant", "content": "Sunny in Paris, rain in Rome."},
    ]
    assert (await judged(turns, BOTH, order="given")).score == 1.0
    assert (await judged(turns, [])).score == 0.0
    assert (await judged(turns, BOTH[::-1], order="given")).score == 0.0


SILENT = "None of these tools can do it."


@pytest.mark.parametrize("silent", ["", SILENT, message([], SILENT), message([]), f"<think>{HERMES}</think>{SILENT}"])
async def test_silence(silent: Any) -> None:
    verdict = await judged(silent, [], match="exact")
    assert (verdict.outcome, verdict.score, verdict.detail["stage"]) == (Outcome.CORRECT, 1.0, "silence")
    assert set(verdict.components.values()) == {1.0}
    assert (await judged(silent)).outcome is Outcome.INCORRECT
    assert (await judged(silent, None, match="schema")).score == 0.0


@pytest.mark.parametrize(
    ("spoken", "outcome"),
    [
        (hermes(call(city="Paris")), Outcome.INCORRECT),
        (message(call("nope")), Outcome.INCORRECT),
        ("<tool_call>", Outcome.UNPARSEABLE),
        ("<think>hm", Outcome.UNPARSEABLE),
        (f"<think>a</think>{HERMES}<think>b</think>{SILENT}", Outcome.UNPARSEABLE),
        (f"</think>{HERMES}</think>{SILENT}", Outcome.UNPARSEABLE),
        ([{"role": "assistant", "content": SILENT, "tool_calls": {}}], Outcome.UNPARSEABLE),
        ([{"role": "assistant", "content": SILENT, "tool_calls": [7]}], Outcome.UNPARSEABLE),
        ([{"role": "assistant", "content": SILENT, "tool_calls": [{"type": "custom"}]}], Outcome.UNPARSEABLE),
        ([{"role": "assistant", "function_call": {"name": "route", "arguments": "{"}}], Outcome.UNPARSEABLE),
        ([{"role": "assistant", "function_call": {"name": "route", "arguments": "{}"}}], Outcome.INCORRECT),
        ([{"role": "assistant", "content": [{"type": "tool_use", "name": "route", "input": {}}]}], Outcome.INCORRECT),
        ([{"role": "assistant", "content": [{"type": "text", "text": HERMES}]}], Outcome.INCORRECT),
        (message([], HERMES) + message([], SILENT), Outcome.INCORRECT),
    ],
)
async def test_what_is_not_silence(spoken: Any, outcome: Outcome) -> None:
    verdict = await judged(spoken, [])
    assert (verdict.outcome, verdict.score) == (outcome, 0.0)


@pytest.mark.parametrize(
    ("completion", "prompt", "outcome"),
    [
        (f"<think>maybe Rome</think>{HERMES}", None, Outcome.CORRECT),
        (f"maybe Rome</think>{HERMES}", None, Outcome.CORRECT),
        (f"{hermes(call(city='Rome'))}</think>{HERMES}", "...<think>\n", Outcome.CORRECT),
        (f"<think>{HERMES}", None, Outcome.UNPARSEABLE),
        (f"<think>{HERMES}</think>", None, Outcome.INCORRECT),
        (HERMES, "...<think>\n", Outcome.UNPARSEABLE),
        (f"{HERMES}<think>oh", None, Outcome.UNPARSEABLE),
        (f"<think>a</think>{hermes(call(city='Rome'))}<think>b</think>{HERMES}", None, Outcome.UNPARSEABLE),
        (f"<think>a</think>{HERMES}<think>b</think>{HERMES}", None, Outcome.UNPARSEABLE),
        (f"<think>a</think>First,<think>b</think>{HERMES}", None, Outcome.CORRECT),
    ],
)
async def test_thinking(completion: str, prompt: str | None, outcome: Outcome) -> None:
    verdict = await score(
        "tool_call", {"tools": TOOLS}, completion=completion, prompt=prompt, reference={"calls": [PARIS]}
    )
    assert verdict.outcome is outcome, verdict.detail
    as_message = [{"role": "assistant", "content": completion}]
    again = await score(
        "tool_call", {"tools": TOOLS}, completion=as_message, prompt=prompt, reference={"calls": [PARIS]}
    )
    assert again == verdict


async def test_the_whole_completion_can_be_read() -> None:
    assert (await judged(f"<think>a</think>{HERMES}", section="whole")).score == 1.0
    assert (await judged(f"<think>{HERMES}", section="whole")).score == 1.0
    assert (await judged(f"<think>{HERMES}</think>{HERMES}", section="whole")).score == 0.0


@pytest.mark.parametrize(
    "entry",
    [
        {"function": {"name": "get_weather", "arguments": {"city": "Paris"}}},
        {
            "id": "x",
            "type": "function",
            "index": 0,
            "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'},
        },
    ],
)
async def test_entries_of_tool_calls(entry: Any) -> None:
    assert (await judged([{"role": "assistant", "content": "I look.", "tool_calls": [entry]}])).score == 1.0


@pytest.mark.parametrize(
    "arguments",
    [
        *(" ", "null", "[]", "{", '{"city": "Paris"}}', '{"city": "Rome", "city": "Paris"}', '"{}"', None, 7, []),
        *('{"city": "Paris", "days": NaN}', '{"city": "Paris", "days": 1e999}', '{"city": "\\udc80"}'),
        *({"city": "\udc80"}, {"city": float("nan")}, {"a": 10**1001}, "[" * 10**5),
    ],
)
async def test_arguments_of_tool_calls_are_read_strictly(arguments: Any) -> None:
    entry = {"type": "function", "function": {"name": "get_weather", "arguments": arguments}}
    verdict = await judged([{"role": "assistant", "content": None, "tool_calls": [entry]}])
    assert (verdict.outcome, verdict.score) == (Outcome.UNPARSEABLE, 0.0)


async def test_fields_and_text_at_once_are_refused() -> None:
    for said in (HERMES, "get_weather(city='Paris')", "<tool_call>"):
        assert (await judged(message(call(city="Paris"), said))).outcome is Outcome.UNPARSEABLE


async def test_tags_inside_arguments_of_tool_calls_are_text() -> None:
    expected = {"name": "get_weather", "arguments": {"city": HERMES}}
    assert (await judged(message(call(city=HERMES)), [expected])).score == 1.0


async def test_the_tools_of_a_reference_come_first() -> None:
    other = {"tools": [tool("get_weather", town="string")], "calls": [{"name": "get_weather", "arguments": {}}]}
    assert (await judged(hermes(call()), None, reference=other)).score == 1.0
    assert (await judged(HERMES, None, reference=other)).detail["stage"] == "schema"


async def test_without_tools_every_call_is_valid() -> None:
    verdict = await judged(hermes(call("anything", a=1)), [{"name": "anything", "arguments": {"a": 1}}], tools=None)
    assert verdict.components == {"schema": 1.0, "name": 1.0, "arguments": 1.0}


async def test_match_schema_needs_a_call_and_no_reference() -> None:
    for calls in (None, [ROME]):
        assert (await judged(HERMES, calls, match="schema")).score == 1.0
        assert (await judged("Sunny.", calls, match="schema")).score == 0.0
    two = await judged(hermes(call(city="a") + call(city=1)), None, match="schema", reward="fraction")
    assert two.score == 0.5


@pytest.mark.parametrize(
    "definition",
    [
        WEATHER,
        WEATHER["function"],
        {"type": "function", "name": "get_weather", "parameters": WEATHER["function"]["parameters"], "strict": True},
        {"name": "get_weather", "parameters": {"type": "dict", "properties": {"city": {"type": "str"}}}},
        {"name": "get_weather", "parameters": {"properties": {"city": {"type": "any"}}}},
        {"name": "get_weather", "parameters": {"type": "object", "properties": {}, "additionalProperties": True}},
    ],
)
async def test_spellings_of_a_tool(definition: Any) -> None:
    assert (await judged(HERMES, tools=[definition])).score == 1.0


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("dict", {}, []),
        ("float", 1, "1"),
        ("tuple", [1], {}),
        ("any", {"a": []}, None),
        ("int", 1, 1.5),
        ("bool", False, 0),
        (["str", "null"], None, 1),
        ({"type": "list", "items": {"type": "float"}}, [1.5], ["x"]),
        ({"anyOf": [{"type": "int"}, {"type": "dict", "properties": {"type": {"type": "str"}}}]}, {"type": "a"}, "a"),
    ],
)
async def test_types_of_bfcl_and_python(kind: Any, good: Any, bad: Any) -> None:
    tools = [tool("f", ("a",), a=kind)]
    calls = [{"name": "f", "arguments": {"a": good}}]
    assert (await judged(hermes([("f", {"a": good})]), calls, tools=tools)).score == 1.0
    if bad is not None:
        assert (await judged(hermes([("f", {"a": bad})]), calls, tools=tools)).detail["stage"] == "schema"


async def test_names_without_dots() -> None:
    tools = [tool("math.hypot", x="number"), tool("other")]
    calls = [{"name": "math.hypot", "arguments": {"x": 1}}]
    for underscore, expected in ((True, 1.0), (False, 0.0)):
        made = message([("math_hypot", {"x": 1})])
        assert (await judged(made, calls, tools=tools, underscore_for_dot=underscore)).score == expected
    assert (
        await judged(message([("math.hypot", {"x": 1})]), calls, tools=tools, underscore_for_dot=True)
    ).score == 1.0


@pytest.mark.parametrize(
    ("strings", "form", "score"), [(None, "calls", 0), ("bfcl", "calls", 1), (None, "bfcl", 1), ("exact", "bfcl", 0)]
)
async def test_strings(strings: str | None, form: str, score: float) -> None:
    written = {"get_weather": {"city": ["PARIS!"]}} if form == "bfcl" else PARIS | {"arguments": {"city": "PARIS!"}}
    verdict = await judged(hermes(call(city="paris!")), [written], reference={"form": form}, strings=strings)
    assert verdict.score == score
    exact = await judged(
        hermes(call(city="paris!")), [written], reference={"form": form}, strings=strings, match="exact"
    )
    assert exact.score == 0.0


async def test_the_prompts_own_example_is_no_call() -> None:
    echo = '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
    for text in (echo, echo + HERMES, HERMES + echo):
        assert (await judged(text)).outcome is Outcome.UNPARSEABLE
        assert (await judged(text, [])).score == 0.0


async def test_a_list_of_guesses_is_no_answer() -> None:
    guesses = [(f"{name}", {"city": city}) for name in ("get_weather",) for city in ("Rome", "Paris", "Oslo")]
    for form in (hermes, message, python):
        assert (await judged(form(guesses))).score == 0.0
    said = json.dumps([{"name": n, "arguments": a} for n, a in guesses])
    assert (await judged(f"{HERMES} or {said}")).outcome is Outcome.UNPARSEABLE

"""Templates of graders: paths into an item and a sample, and nothing that a completion could bring along."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifiers.support import ANY_JSON, ANY_TEXT
from verifiers.base import ConfigError, Item, Message
from verifiers.grader.faults import ItemFaultError, SampleFaultError
from verifiers.grader.templates import MAX_RENDERED, MAX_STEPS, MAX_TEMPLATE, parse
from verifiers.grader.variables import MAX_JSON, Variables

CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
ROW = {
    "answer": "Paris",
    "n": 1.0,
    "none": None,
    "yes": True,
    "list": [1, {"two words": "x"}],
    "ünï-code_1": "u",
    "braces": "{{item.answer}}",
}


def variables(completion: Any = '{"a": {"b": [10, 20]}}', reference: Any = ROW) -> Variables:
    return Variables(Item(completion=completion, reference=reference))


def called() -> list[Message]:
    return [
        Message(role="user", content="?"),
        Message.model_validate({"role": "assistant", "content": None, "tool_calls": [CALL]}),
    ]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("", ""),
        ("no braces } here {", "no braces } here {"),
        ("{{item.answer}}", "Paris"),
        ("{{ item.answer }}!", "Paris!"),
        ("{{\n item.answer\t}}", "Paris"),
        ("a {{item.answer}} b {{item.answer}} c", "a Paris b Paris c"),
        ("{{{item.answer}}}", "{Paris}"),
        ('{"x": "{{item.answer}}"}', '{"x": "Paris"}'),
        ("{{item['answer']}}", "Paris"),
        ('{{item["answer"]}}', "Paris"),
        ("{{item.n}} {{item.none}} {{item.yes}}", "1.0 null true"),
        ("{{item.list}}", '[1, {"two words": "x"}]'),
        ("{{item.list[0]}}", "1"),
        ("{{item.list[1]['two words']}}", "x"),
        ("{{item.ünï-code_1}}", "u"),
        ("{{item.braces}}", "{{item.answer}}"),
        ("{{sample.output_json.a.b[1]}}", "20"),
        ("{{sample.output_json}}", '{"a": {"b": [10, 20]}}'),
        ("{{sample.output_text}}", '{"a": {"b": [10, 20]}}'),
        ("{{sample.choices[0].message.role}}", "assistant"),
        ("{{sample.output_tools}}", "[]"),
    ],
)
def test_what_a_template_makes(source: str, text: str) -> None:
    assert parse(source, "/input").text(variables()) == text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{", "a '{{' has no '}}'"),
        ("a\n{{item.answer", "line 2: a '{{' has no '}}'"),
        ("{{}}", "'' is no path"),
        ("{{item.answer}} {{ }}", "'' is no path"),
        ("{{answer}}", "'answer' is no path"),
        ("{{items.answer}}", "'items.answer' is no path"),
        ("{{item.}}", "'item.' is no path"),
        ("{{item..a}}", "is no path"),
        ("{{item.a | upper}}", "is no path"),
        ("{{item.a|upper}}", "is no path"),
        ("{{item.a.upper()[-1]}}", "is no path"),
        ("{{item[-1]}}", "is no path"),
        ("{{item['a]}}", "is no path"),
        ("{{item.a + item.b}}", "is no path"),
        ("{{ {{item.a}} }}", "is no path"),
        ("{{item.__class__.__mro__[1]}} {{1+1}}", "'1+1' is no path"),
        ("{{sample}}", "a sample has output_text, output_json, output_tools, choices"),
        ("{{sample.output_audio.data}}", "a sample has output_text, output_json, output_tools, choices"),
        ("{{sample[0]}}", "a sample has output_text, output_json, output_tools, choices"),
        ("{{sample._item}}", "a sample has output_text, output_json, output_tools, choices"),
        ("{{item" + ".a" * (MAX_STEPS + 1) + "}}", f"more than {MAX_STEPS} steps"),
        ("x" * (MAX_TEMPLATE + 1), "20,000 are allowed"),
        ("{" * MAX_TEMPLATE, "has no '}}'"),
        ("{{ " * (MAX_TEMPLATE // 3), "has no '}}'"),
    ],
)
def test_what_is_no_template_is_refused(source: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(source, "/grader/input")
    assert message in str(caught.value)
    assert caught.value.pointer == "/grader/input"
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "source",
    [
        "{{item.nothing}}",
        "{{item.answer.more}}",
        "{{item.answer[0]}}",
        "{{item.list.answer}}",
        "{{item.list[2]}}",
        "{{item[0]}}",
        "{{item.__class__}}",
        "{{item.list.append}}",
        "{{item.none.x}}",
    ],
)
def test_what_the_item_has_not_is_the_items_fault(source: str) -> None:
    with pytest.raises(ItemFaultError, match="the item has no item"):
        parse(source, "/input").text(variables())


@pytest.mark.parametrize(
    ("source", "completion", "message"),
    [
        ("{{sample.output_json}}", "not JSON", "the sample is not JSON"),
        ("{{sample.output_json.a}}", "", "the sample is not JSON"),
        ("{{sample.output_json.a}}", '{"a": NaN}', "the sample is not JSON"),
        ("{{sample.output_json.a}}", '{"a": 1, "a": 2}', "the sample is not JSON"),
        ("{{sample.output_json.a}}", "[" * 100_000, "the sample is not JSON"),
        ("{{sample.output_json.a}}", '{"b": 1}', "the sample has no sample.output_json.a"),
        ("{{sample.output_json.a}}", "[1]", "the sample has no sample.output_json.a"),
        ("{{sample.output_json.a}}", "1" * (MAX_JSON + 1), "are read as JSON"),
        (
            "{{sample.output_tools[0].function.name}}",
            "text",
            "the sample has no sample.output_tools[0].function.name",
        ),
        ("{{sample.output_text.a}}", "text", "the sample has no sample.output_text.a"),
        ("{{sample.choices[1]}}", "text", "the sample has no sample.choices[1]"),
    ],
)
def test_what_the_sample_has_not_is_the_candidates_fault(source: str, completion: str, message: str) -> None:
    with pytest.raises(SampleFaultError) as caught:
        parse(source, "/input").text(variables(completion))
    assert message in str(caught.value)


def test_calls_of_tools() -> None:
    found = variables(called())
    name = parse("{{sample.output_tools[0].function.name}}", "/input").text(found)
    arguments = parse("{{sample.output_tools[0].function.arguments}}", "/input").text(found)
    same = parse("{{sample.choices[0].message.tool_calls[0].function.name}}", "/input").text(found)
    assert (name, arguments, same) == ("add", '{"a": 1}', "add")
    assert json.loads(parse("{{sample.output_tools}}", "/input").text(found)) == [CALL]


@pytest.mark.parametrize(
    ("reference", "source", "text"),
    [
        ("Paris", "{{item.reference}}", "Paris"),
        (["Paris"], "{{item.reference[0]}}", "Paris"),
        (42, "{{item.reference}}", "42"),
        ({"reference": "Paris"}, "{{item.reference}}", "Paris"),
        ({"a": 1}, "{{item}}", '{"a": 1}'),
        (None, "{{item}}", "{}"),
    ],
)
def test_a_reference_that_is_no_object(reference: Any, source: str, text: str) -> None:
    assert parse(source, "/input").text(variables("x", reference)) == text


def test_a_template_makes_no_more_than_it_may() -> None:
    template = parse("{{sample.output_text}}" * 900, "/input")
    with pytest.raises(SampleFaultError, match="of the sample"):
        template.text(variables("x" * (MAX_RENDERED // 100)))
    template = parse("{{item.big}}" * 900, "/input")
    with pytest.raises(ItemFaultError, match="of the item"):
        template.text(variables("x", {"big": "x" * (MAX_RENDERED // 100)}))


@given(completion=ANY_TEXT | st.text("{}item.sample_output_text ", max_size=80), value=ANY_JSON)
def test_what_is_filled_in_is_never_read_as_a_template(completion: str, value: Any) -> None:
    found = variables(completion, {"answer": value, "other": "{{sample.output_text}}"})
    made = parse("<{{sample.output_text}}|{{item.answer}}|{{item.other}}>", "/input").text(found)
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    assert made == f"<{completion}|{written}|{{{{sample.output_text}}}}>"


@given(st.text("{}[].'\" itemsample01_output_text", max_size=60) | ANY_TEXT)
def test_any_text_is_a_template_or_refused(source: str) -> None:
    try:
        template = parse(source, "/input")
    except ConfigError:
        return
    if "{{" not in source:
        assert template.text(variables()) == source
    try:
        template.text(variables())
    except (ItemFaultError, SampleFaultError):
        return


@given(
    path=st.lists(st.text("abcé_-09", min_size=1, max_size=4) | st.integers(0, 3), max_size=5),
    value=st.text(max_size=20),
)
def test_a_path_leads_where_it_says(path: list[str | int], value: str) -> None:
    row: Any = value
    for step in reversed(path):
        row = {step: row} if isinstance(step, str) else [None] * step + [row]
    steps = "".join(f".{step}" if isinstance(step, str) else f"[{step}]" for step in path)
    assert parse(f"{{{{item.x{steps}}}}}", "/input").text(variables("y", {"x": row})) == value

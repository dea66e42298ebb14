"""Calls in texts: every form, and what is no call, or not one alone."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifiers.support import ANY_TEXT
from tests.verifiers.tool_call.support import HERMES, KNOWN, PARIS_TEXT, tool
from tests.verifiers.tool_call.written import FORMS
from verifiers.tool_call.attempts import is_attempt
from verifiers.tool_call.calls import MAX_CALLS, Call, CallError
from verifiers.tool_call.text import read_text
from verifiers.tool_call.tools import read_tools

PARIS = Call("get_weather", {"city": "Paris"})
STOPS = Call("route", {"stops": ["A, B", "C"], "speed": 1.5})
TEXT_FORMS = [name for name in FORMS if name not in ("message", "after_thinking")]
CALL = 'get_weather(city="Paris")'


@pytest.mark.parametrize("form", TEXT_FORMS)
@pytest.mark.parametrize("calls", [[PARIS], [STOPS], [PARIS, STOPS], [PARIS, PARIS]])
def test_a_form_is_read(form: str, calls: list[Call]) -> None:
    written = FORMS[form]([(call.name, call.arguments) for call in calls])
    assert read_text(written, KNOWN) == calls
    assert read_text(f"\n {written}\n", KNOWN) == calls
    assert read_text(f"{written}</s>\n", KNOWN) == calls


@pytest.mark.parametrize(
    "text",
    [
        f"I will look it up.\n{HERMES}",
        f"{HERMES}\nOne moment.",
        f"Let me call `get_weather` for Paris, as get_weather(city) says.\n{HERMES}",
        f"get_weather() it is. [TOOL_CALLS][{PARIS_TEXT}]",
        '[TOOL_CALLS]get_weather[CALL_ID]abc123[ARGS]{"city": "Paris"}',
        f"<|python_tag|>{CALL}",
        f"<|python_tag|>[{CALL}]",
        CALL,
        f"[{CALL},]",
        "get_weather(\n    city='Par' \"is\",\n)",
        r'get_weather(city="\x50ar\u0069s")',
        f"```\n{PARIS_TEXT}\n```",
        f"```tool_code\n{CALL}\n```",
        '{"type": "function", "name": "get_weather", "parameters": {"city": "Paris"}}',
        '{"id": "1", "name": "get_weather", "arguments": {"city": "Paris"}}',
        "<tool_call><function=get_weather><parameter=city>Paris</parameter></function></tool_call>",
        "<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>",
    ],
)
def test_the_same_call_in_other_words(text: str) -> None:
    assert read_text(text, KNOWN) == [PARIS]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        "None of my tools can do that.",
        "The tool get_weather does not apply; neither does `route()`, nor get_weather(city).",
        "[]",
        "{}",
        "42",
        '{"answer": 42}',
        '["Paris", "Rome"]',
        "f(x) = 3x^2 + g(2), and sin(0) is 0.",
        "<b>bold</b> <think/> <answer>7</answer>",
        "```python\nprint(6 * 7)\n```\nThat prints 42.",
        "The name: Paris. The arguments: none.",
    ],
)
def test_silence(text: str) -> None:
    assert read_text(text, KNOWN) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<tool_call>", "<tool_call> is never closed"),
        (HERMES.removesuffix("</tool_call>"), "<tool_call> is never closed"),
        ("</tool_call>", "something like a call"),
        (f"{HERMES}</tool_call>", "stand outside the blocks too"),
        ("<tool_call></tool_call>", "not JSON: Expecting value at line 1, column 1"),
        ("<tool_call>[]</tool_call>", "a call is no JSON object"),
        (f"<tool_call>[{PARIS_TEXT}]</tool_call>", "a call is no JSON object"),
        (f"<tool_call>{PARIS_TEXT}{PARIS_TEXT}</tool_call>", "not JSON: Extra data"),
        (f"<tool_call>{PARIS_TEXT}", "never closed"),
        (f"<tool_call><tool_call>{PARIS_TEXT}</tool_call>", "stands inside another"),
        ('<tool_call>{"name": "get_weather"}</tool_call>', "a call needs arguments, once"),
        ('<tool_call>{"arguments": {}}</tool_call>', "a call's name is no string"),
        ('<tool_call>{"name": "", "arguments": {}}</tool_call>', "a call's name is no string"),
        ('<tool_call>{"name": "f", "arguments": {}, "parameters": {}}</tool_call>', "a call needs arguments, once"),
        ('<tool_call>{"name": "f", "arguments": "{}"}</tool_call>', "the arguments are no JSON object"),
        ('<tool_call>{"name": "f", "arguments": null}</tool_call>', "the arguments are no JSON object"),
        ('<tool_call>{"name": "f", "arguments": {}, "why": 1}</tool_call>', "has the field 'why'"),
        ('<tool_call>{"name": "f", "name": "g", "arguments": {}}</tool_call>', "the same name twice"),
        ('<tool_call>{"name": "f", "arguments": {"a": 1, "a": 2}}</tool_call>', "the same name twice"),
        ('<tool_call>{"name": "f", "arguments": {"a": NaN}}</tool_call>', "NaN is not JSON"),
        ('<tool_call>{"name": "f", "arguments": {"a": 1e999}}</tool_call>', "a number is too large"),
        ('<tool_call>{"name": "f", "arguments": {"a": "\\ud800"}}</tool_call>', "a lone surrogate"),
        ('<tool_call>{"name": "f", "arguments": {"a": ' + "[" * 99 + "]" * 99 + "}}</tool_call>", "nested deeper"),
        ('<tool_call>{"name": "f", "arguments": {"a": ' + "[" * 10**5, "never closed"),
        ('{"name": "f", "arguments": {"a": 1, "a": 2}}', "in no form"),
        ('{"name": "get_weather", "arguments": {"city": "Paris"}', "in no form"),
        ("{'name': 'get_weather', 'arguments': {'city': 'Paris'}}", "in no form"),
        (f"Here it is: {PARIS_TEXT}", "in no form"),
        (f"{PARIS_TEXT}\nThat is the call.", "in no form"),
        (f"Sure!\n```json\n{PARIS_TEXT}\n```", "in no form"),
        (f"{PARIS_TEXT} {HERMES}", "stand outside the blocks too"),
        (f"{CALL}\n{HERMES}", "stand outside the blocks too"),
        (f"{HERMES}\n<function=route>{{}}</function>", "two forms at once"),
        (f"{HERMES}[TOOL_CALLS][{PARIS_TEXT}]", "two forms at once"),
        (f"[{PARIS_TEXT}, 7]", "a call is no JSON object"),
        (f"[{PARIS_TEXT}, [{PARIS_TEXT}]]", "a call is no JSON object"),
        ('[{"get_weather": {"city": "Paris"}}]', "in no form"),
        ('{"tool_calls": [{"function": ' + PARIS_TEXT + "}]}", "in no form"),
        ("[TOOL_CALLS]", "followed by no call"),
        ("[TOOL_CALLS] []", "a list of calls is empty"),
        ("[TOOL_CALLS] {}", "followed by no call"),
        (f"[TOOL_CALLS][{PARIS_TEXT}] done", "Extra data"),
        ("[TOOL_CALLS]get_weather", "followed by no call"),
        ("[/TOOL_CALLS]", "in no form"),
        ("<|python_tag|>", "followed by no call"),
        ("<|python_tag|>print(6 * 7)", "followed by no call"),
        ("<｜tool▁call▁begin｜>get_weather<｜tool▁call▁end｜>", "a block holds no call"),
        ("<｜tool▁calls▁begin｜><｜tool▁calls▁end｜>", "in no form"),
        ("<function=get_weather>", "never closed"),
        ("<function=get_weather></function><function>", "outside the blocks"),
        ("<function=get weather>{}</function>", "holds no name"),
        ("<function=get_weather>city: Paris</function>", "more than its parameters"),
        (
            "<function=get_weather><parameter=city>a</parameter><parameter=city>b</parameter></function>",
            "the parameter 'city' is given twice",
        ),
        ("<function=get_weather><parameter=days>soon</parameter></function>", "'soon' is no value"),
        ("<function=get_weather><parameter=city>\ud800</parameter></function>", "a lone surrogate"),
        (f"<TOOL_CALL>{PARIS_TEXT}</TOOL_CALL>", "in no form"),
        (f"< tool_call >{PARIS_TEXT}</ tool_call >", "in no form"),
        (f"<tool_calls>{PARIS_TEXT}</tool_calls>", "in no form"),
        (f"<|tool_call|>{PARIS_TEXT}<|/tool_call|>", "in no form"),
        ('<invoke name="get_weather"><parameter name="city">Paris</parameter></invoke>', "in no form"),
        ("<function_calls>", "in no form"),
        (f"functools[{PARIS_TEXT}]", "in no form"),
        ("<|channel|>commentary to=functions.get_weather<|message|>{}", "in no form"),
        ("Action: get_weather\nAction Input: Paris", "in no form"),
        ("<tool_call>get_weather\n<arg_key>city</arg_key></tool_call>", "not JSON"),
        ('get_weather("Paris")', "an argument has no name"),
        ("get_weather(city=city)", "'city' is no value"),
        ("get_weather(city=str(7))", "'str' is no value"),
        ("get_weather(city=f'{x}')", "no plain string"),
        ("get_weather(city=b'x')", "no plain string"),
        ("get_weather(city='a', city='b')", "the argument 'city' is given twice"),
        ("get_weather(**{'city': 'Paris'})", "** stands for arguments"),
        ("get_weather(city={1, 2})", "a set is no value"),
        ("get_weather(city={1: 2})", "a dict's key is no string"),
        ("get_weather(city={'a': 1, 'a': 2})", "the key 'a' is given twice"),
        (r"get_weather(city='\N{BULLET}')", "a character is given by its name"),
        (r"get_weather(city='\ud800')", "a lone surrogate"),
        (r"get_weather(city='\U00110000')", "a character that does not exist"),
        ("get_weather(days=1e999)", "a number is too large"),
        ("get_weather(days=007)", "does not read"),
        ("get_weather(days=" + "9" * 1001 + ")", "too long"),
        ("get_weather(days=-True)", "a sign stands before"),
        ("get_weather(days=" + "[" * 70 + "]" * 70 + ")", "nested deeper than 64 levels"),
        ("get_weather(days=" + "-" * 10**5 + "1)", "nested deeper than 64 levels"),
        ("get_weather(days=nan)", "'nan' is no value"),
        ("get_weather(city='Paris'", "in no form"),
        ("[get_weather(city='Paris')", "in no form"),
        ("[get_weather(city='Paris') route(stops=[])]", "in no form"),
        ("get_weather(city='Paris'); route(stops=[])", "in no form"),
        ("[unknown_tool(x", "in no form"),
        ('[(get_weather)(city="Paris")]', "in no form"),
        ('"get_weather"("Paris")', "in no form"),
        ('get_weather\n{"city": "Paris"}', "in no form"),
        ('get_weather[city="Paris"]', "in no form"),
        ("{name: 'get_weather', arguments: {city: 'Paris'}}", "in no form"),
        ("name: get_weather\narguments:\n  city: Paris", "in no form"),
        ("<get_weather><city>Paris</city></get_weather>", "in no form"),
        ("<tool>get_weather</tool>", "in no form"),
        ("<tool-call>", "in no form"),
        ("to=get_weather code", "in no form"),
        ('GET_WEATHER (city = "x"), please', "in no form"),
        ('```tool_call\n{"city": "Paris"}\n```', "in no form"),
        (f"&lt;tool_call&gt;{PARIS_TEXT}&lt;/tool_call&gt;", "in no form"),
        ("default_api.get_weather(city=x, days=2) then", "in no form"),
        ("unknown_tool('x')", "an argument has no name"),
        ("I would say search_web(query='x'), or so.", "in no form"),
        ("Then `get_weather(city='Paris')` gives it.", "in no form"),
        ("Then get_weather (days = 3) gives it.", "in no form"),
        ("\n".join([PARIS_TEXT] * (MAX_CALLS + 1)), f"more than {MAX_CALLS} calls"),
        (HERMES * (MAX_CALLS + 1), f"more than {MAX_CALLS} calls"),
        (f"[{','.join([CALL] * (MAX_CALLS + 1))}]", f"more than {MAX_CALLS} calls"),
        (f"[{','.join([PARIS_TEXT] * (MAX_CALLS + 1))}]", f"more than {MAX_CALLS} calls"),
    ],
)
def test_what_is_no_call_or_not_one_alone(text: str, why: str) -> None:
    with pytest.raises(CallError) as refused:
        read_text(text, KNOWN)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("form", "inside"),
    [
        ("hermes", "<tool_call>"),
        ("hermes", "</tool_call>"),
        ("hermes", HERMES),
        ("llama_function", "</function>"),
        ("llama_function", "<function=route>{}</function>"),
        ("mistral_args", "[TOOL_CALLS]"),
        ("mistral", HERMES),
        ("python_tag", HERMES),
        ("qwen_coder", "</parameter>"),
        ("qwen_coder", "</parameter><parameter=days>1</parameter>"),
        ("as_json", HERMES),
        ("as_json", "[TOOL_CALLS]"),
        ("python", HERMES),
        ("python", "<function=route>{}</function>"),
    ],
)
def test_strings_that_another_reader_would_take_apart_are_refused(form: str, inside: str) -> None:
    with pytest.raises(CallError):
        read_text(FORMS[form]([("get_weather", {"city": inside, "days": 2})]), KNOWN)


@pytest.mark.parametrize(
    ("types", "text", "value"),
    [
        ("string", "7", "7"),
        ("string", "\n x \n", "\n x \n"),
        ("integer", "7", 7),
        ("number", " 1.5 ", 1.5),
        ("boolean", "true", True),
        ("boolean", "True", True),
        ("array", '["a"]', ["a"]),
        ("array", "['a', None]", ["a", None]),
        ("object", '{"a": 1}', {"a": 1}),
        (["integer", "null"], "null", None),
        (["string", "null"], "null", None),
        ("integer", "7.0", 7.0),
    ],
)
def test_a_parameter_without_quotes_has_the_type_that_its_schema_says(types: Any, text: str, value: Any) -> None:
    tools = read_tools([tool("f", a={"type": types})], underscore_for_dot=False)
    [call] = read_text(f"<tool_call><function=f><parameter=a>\n{text}\n</parameter></function></tool_call>", tools)
    assert call.arguments == {"a": value}
    assert type(call.arguments["a"]) is type(value)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([*"<>[]{}(),:='\" \n", "tool_call", "name", "arguments", "get_weather", "</", "x", "1"]))
)
def test_any_text_is_calls_silence_or_refused(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        calls = read_text(text, KNOWN)
    except CallError:
        return
    if not calls:
        assert not is_attempt(text, KNOWN)


@settings(max_examples=200, deadline=None)
@given(ANY_TEXT)
def test_what_follows_a_call_never_makes_another_of_it(text: str) -> None:
    with contextlib.suppress(CallError):
        assert read_text(HERMES + text, KNOWN)[0] == PARIS

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifiers.support import ANY_TEXT
from verifiers.json_schema.text import MAX_DEPTH, MAX_DIGITS, NotJSONError, read

PLAIN_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(value=PLAIN_JSON, ascii_only=st.booleans(), indent=st.none() | st.integers(0, 3))
def test_what_json_writes_is_read_back(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert read(text, "whole") == value
    assert read(f"Here:\n```json\n{text}\n```\nDone.", "fenced") == value


@given(before=st.text(st.characters(exclude_characters='{"')), value=st.dictionaries(st.text(), PLAIN_JSON))
def test_the_last_object_is_found_after_any_prose(before: str, value: dict[str, Any]) -> None:
    assert read(before + json.dumps(value), "last_object") == value


@pytest.mark.parametrize("source", ["whole", "fenced", "last_object"])
@given(text=ANY_TEXT | st.text(st.sampled_from('{}[]",:\\ `~\njson10'), max_size=60))
def test_any_text_is_json_or_is_not(source: Any, text: str) -> None:
    try:
        value = read(text, source)
    except NotJSONError as error:
        assert str(error)
    else:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value at line 1, column 1"),
        ("plain words", "Expecting value at line 1, column 1"),
        ('{"a": 1', "Expecting ',' delimiter at line 1, column 8"),
        ('{"a": 1}\nx', "Extra data at line 2, column 1"),
        ("{'a': 1}", "Expecting property name"),
        ('"a\nb"', "Invalid control character"),
        ('"\x00"', "Invalid control character"),
        ("\ufeff1", "Expecting value"),
        ("NaN", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("1e999", "a number is too large"),
        ("-1E+400", "a number is too large"),
        ("1" * (MAX_DIGITS + 1), f"an integer has more than {MAX_DIGITS} digits"),
        ("1" * 5_000, f"an integer has more than {MAX_DIGITS} digits"),
        ('{"a": 1, "a": 2}', "an object has the same name twice"),
        ('{"a": 1, "\\u0061": 2}', "an object has the same name twice"),
        ('"\\ud800"', "a string holds a lone surrogate"),
        ('"\ud800"', "a string holds a lone surrogate"),
        ('{"\\udfff": 1}', "a string holds a lone surrogate"),
        ("[" * 65 + "]" * 65, f"nested deeper than {MAX_DEPTH} levels"),
        ("[" * 100_000, f"nested deeper than {MAX_DEPTH} levels"),
        ('{"a":' * 100_000, f"nested deeper than {MAX_DEPTH} levels"),
        ("[[]," * 100_000, f"nested deeper than {MAX_DEPTH} levels"),
    ],
)
def test_what_is_not_json(text: str, message: str) -> None:
    with pytest.raises(NotJSONError) as raised:
        read(text, "whole")
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[" * 64 + "]" * 64, MAX_DEPTH),
        ("[" + "[]," * 1000 + "[]]", 2),
        ('["' + "[" * 1000 + '"]', 1),
        ('["\\"' + "[" * 1000 + '\\""]', 1),
    ],
)
def test_depth_counts_nesting_and_not_brackets(text: str, value: int) -> None:
    found = read(text, "whole")
    depth = 0
    while isinstance(found, list):
        depth += 1
        found = found[-1] if found else None
    assert depth == value


def test_large_numbers_keep_every_digit() -> None:
    digits = "1" + "0" * (MAX_DIGITS - 1)
    assert read(digits, "whole") == 10 ** (MAX_DIGITS - 1)
    assert read('["\\ud83d\\ude00", "\\u0000"]', "whole") == ["😀", "\x00"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("```json\n1\n```", 1),
        ("```JSON\n1\n```", 1),
        ("```\n1\n```", 1),
        ("~~~ json\n1\n~~~", 1),
        ("````json\n1\n````", 1),
        ("   ```json\n1\n   ```", 1),
        ("```json\n1\n```\n```json\n2\n```", 2),
        ("```json\n1\n```\n```python\n2\n```", 1),
        ("```python\n```\n```json\n1\n```", 1),
        ("```json\n1\n```\n```json\n2", 1),
        ("```x``` is code\n```json\n1\n```", 1),
        ("```json\n[1,\n2]\n```` ", [1, 2]),
    ],
)
def test_fences(text: str, value: Any) -> None:
    assert read(text, "fenced") == value


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "```json\n1",
        "```python\n1\n```",
        "    ```json\n1\n    ```",
        "```json 1```",
        "````json\n1\n```",
        "```json\n1\n~~~",
    ],
)
def test_without_a_closed_fence(text: str) -> None:
    with pytest.raises(NotJSONError, match="no closed code fence"):
        read(text, "fenced")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('{"a": 1} and {"b": 2} done', {"b": 2}),
        ('{"a": {"b": 2}}', {"a": {"b": 2}}),
        ('so \\frac{1}{2} is {"a": 1}', {"a": 1}),
        ('{"a": 1} so \\frac{1}{2}', {"a": 1}),
        ('{"a": "}{"}', {"a": "}{"}),
        ('{"a": "\\"}"}', {"a": '"}'}),
        ('{not json {"a": 1}}', {"a": 1}),
        ('an open { and then {"a": 1}', {"a": 1}),
        ('he said "hi" {"a": 1}', {"a": 1}),
        ('{"a": [{"b": 1}', {"b": 1}),
        ("{}", {}),
    ],
)
def test_last_object(text: str, value: Any) -> None:
    assert read(text, "last_object") == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no braces", "there is no JSON object"),
        ("[1]", "there is no JSON object"),
        ("{a: 1}", "there is no JSON object"),
        ('{"a": 1} {"b": NaN}', "NaN is not JSON"),
        ('{"b": NaN, "c": {"a": 1}}', "NaN is not JSON"),
        ('{"a": 1} {"b": 1, "b": 1}', "an object has the same name twice"),
        ('{"a":' * 65 + "1" + "}" * 65, "nested deeper"),
        ('{"a":' * 100_000, "nested deeper"),
        ("{" + " " * 100 + ("{" + " " * 100) * 60, "too many broken objects"),
        ('{"a":"' * 50_000, "nested deeper"),
    ],
)
def test_without_a_last_object(text: str, message: str) -> None:
    with pytest.raises(NotJSONError, match=message):
        read(text, "last_object")


def test_a_refused_object_does_not_hide_a_later_one() -> None:
    assert read('{"b": NaN} {"a": 1}', "last_object") == {"a": 1}

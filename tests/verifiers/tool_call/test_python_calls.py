"""The reader of Python's syntax agrees with Python's own, and accepts less."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifiers.tool_call.calls import CallError
from verifiers.tool_call.python_calls import NotCallsError, python_calls, python_literal

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True), VALUES, max_size=4))
def test_reads_what_python_writes(arguments: dict[str, Any]) -> None:
    written = f"[a.b({', '.join(f'{key}={value!r}' for key, value in arguments.items())})]"
    [call] = python_calls(written)
    assert call.name == "a.b"
    assert call.arguments == arguments
    assert repr(call.arguments) == repr(arguments)


@settings(max_examples=500, deadline=None)
@given(st.text(st.sampled_from("'\"\\nxu0417{}N[](),:.-+_e rbf\n#=T"), max_size=24))
def test_reads_a_literal_as_python_does_or_not_at_all(text: str) -> None:
    try:
        value = python_literal(text)
    except (CallError, NotCallsError):
        return
    assert plain(ast.literal_eval(text.strip())) == value


def plain(value: Any) -> Any:
    """A tuple is an array."""
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return {key: plain(inner) for key, inner in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("(1, 2)", [1, 2]),
        ("(1,)", [1]),
        ("(1)", 1),
        ("()", []),
        ("- 1.5e3", -1500.0),
        ("+.5", 0.5),
        ("1_000", 1000),
        ("'''a\nb'''", "a\nb"),
        ('"""a"b"""', 'a"b'),
        ("''", ""),
        ("'''it''s'''", "it''s"),
        (r"r'\d'", r"\d"),
        (r"'\d\'\t\101'", "\\d'\tA"),
        ("'a' 'b'", "ab"),
        ("00", 0),
    ],
)
def test_literals(written: str, value: Any) -> None:
    read = python_literal(written)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "f",
        "f(x) = 2",
        "f(1) + 1",
        "[]",
        "[1, 2]",
        "f(a=1) f(b=2)",
        "0x10",
        "f(a=1j)",
        "١(a=1)",
        "f(a=1__0)",
        "f(a=٣)",
        "f(,)",
    ],
)
def test_what_is_not_in_this_form(text: str) -> None:
    with pytest.raises(NotCallsError):
        python_calls(text)

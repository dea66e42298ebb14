"""When an argument is among those allowed."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifiers.tool_call.compare import AnyOf, Rules, fits, normal
from verifiers.tool_call.matching import most_in_any_order, most_in_given_order
from verifiers.tool_call.reference import read_reference

EXACT = Rules("exact", typed=False)
BFCL = Rules("bfcl", typed=False)
TYPED = Rules("exact", typed=True)
INTEGER = {"type": "integer"}
NUMBER = {"type": "number"}


@pytest.mark.parametrize(
    ("value", "expected", "schema", "loose", "typed"),
    [
        (1, 1, INTEGER, True, True),
        (1.0, 1.0, NUMBER, True, True),
        (1, 1.0, NUMBER, True, False),
        (1.0, 1, NUMBER, True, False),
        (1.0, 1, {"type": ["null", "number"]}, True, False),
        (1.0, 1, INTEGER, False, False),
        (1.0, 1, None, False, False),
        (1, 1.5, NUMBER, False, False),
        (True, 1, INTEGER, False, False),
        (1, True, INTEGER, False, False),
        (True, True, None, True, True),
        (False, None, None, False, False),
        (None, None, None, True, True),
        (0, False, None, False, False),
        ("1", 1, None, False, False),
        (1, "1", None, False, False),
        (10**30, 10.0**30, NUMBER, False, False),
        (2**53 + 1, float(2**53), NUMBER, False, False),
        ([1.0], [1], {"type": "array", "items": NUMBER}, True, False),
        ([1.0], [1], {"type": "array", "items": INTEGER}, False, False),
        ([1.0, 2], [1, 2], {"prefixItems": [NUMBER]}, True, False),
        ([True], [1], None, False, False),
        ([1, 2], [2, 1], None, False, False),
        ([1], [1, 1], None, False, False),
        ({"a": 1.0}, {"a": 1}, {"properties": {"a": NUMBER}}, True, False),
        ({"a": 1}, {"a": 1, "b": 2}, None, False, False),
        ({"a": 1, "b": 2}, {"a": 1}, None, False, False),
        ([], {}, None, False, False),
        ("Paris", AnyOf(("Rome", "Paris")), None, True, True),
        ("Oslo", AnyOf(("Rome", "Paris")), None, False, False),
        ("", AnyOf((), optional=True), None, False, False),
        ({"b": 1}, {"a": AnyOf((1,), optional=True), "b": 1}, None, True, True),
        ([["x"]], [AnyOf((["y"], ["x"]))], None, True, True),
    ],
)
def test_values(value: Any, expected: Any, schema: Any, loose: bool, typed: bool) -> None:
    assert fits(value, expected, EXACT, schema) == loose
    assert fits(value, expected, BFCL, schema) == loose
    assert fits(value, expected, TYPED, schema) == typed


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("April 1, 2024", "April 1,2024"),
        ("April 1, 2024", "april 1 2024"),
        ("New York, NY", "new york ny"),
        ("x**2", "x^2"),
        ("3x^2 - 5", "3x^2-5"),
        ("it's", 'it"s'),
        ("COVID-19", "covid 19"),
        ("snake_case", "Snake Case"),
        ("10 - 20", "10-20"),
        ("room_1", "Room 1"),
        ("a/b", "a b"),
    ],
)
def test_texts_that_are_one_in_bfcl(one: str, other: str) -> None:
    assert fits(one, other, BFCL, None)
    assert fits(other, one, BFCL, None)
    assert not fits(one, other, EXACT, None)
    assert not fits(one, other, TYPED, None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.5", "15"),
        ("-5", "5"),
        ("between -5 and 5", "between 5 and 5"),
        ("1/2", "12"),
        ("2^3", "23"),
        ("2 ^ 3", "2 * 3"),
        ("2**3", "23"),
        ("1,2", "12"),
        ("10-20", "1020"),
        (".5", "5"),
        ("f(-1)", "f(1)"),
        ("Paris", "Pariss"),
        ("Раris", "Paris"),
        ("", "x"),
    ],
)
def test_texts_that_are_not(one: str, other: str) -> None:
    assert not fits(one, other, BFCL, None)
    assert not fits(other, one, BFCL, None)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("0123456789.,-/ ^*_abX'")))
def test_a_normal_text_keeps_every_digit(text: str) -> None:
    assert fits(text, text, BFCL, None)
    assert sum(map(str.isdigit, normal(text))) == sum(map(str.isdigit, text))


def allowed(arguments: dict[str, Any], form: str = "calls") -> Any:
    call = {"f": arguments} if form == "bfcl" else {"name": "f", "arguments": arguments}
    _, expected = read_reference({"calls": [call], "form": form})
    assert expected is not None
    return expected[0].arguments


def test_any_of_stands_in_place_of_any_value() -> None:
    read = allowed({"a": {"any_of": [1, 2]}, "b": {"c": [{"any_of": ["x"], "optional": True}]}})
    assert read == {"a": AnyOf((1, 2)), "b": {"c": [AnyOf(("x",), optional=True)]}}


def test_directly_inside_any_of_it_is_a_plain_value() -> None:
    assert allowed({"a": {"any_of": [{"any_of": [1]}]}}) == {"a": AnyOf(({"any_of": [1]},))}
    assert allowed({"a": {"any_of": [{"b": {"any_of": [1]}}]}}) == {"a": AnyOf(({"b": AnyOf((1,))},))}
    assert allowed({"a": {"any_of": [1], "else": 2}}) == {"a": {"any_of": [1], "else": 2}}


def test_arguments_may_be_json_text() -> None:
    assert allowed('{"a": 1}') == {"a": 1}  # type: ignore[arg-type]


def test_bfcl() -> None:
    read = allowed(
        {"a": [1, ""], "b": [""], "c": [{"w": [20], "h": ["", 1]}], "d": [[{"x": ["age"]}], [["p"], ["q"]]]}, "bfcl"
    )
    assert read == {
        "a": AnyOf((1,), optional=True),
        "b": AnyOf((), optional=True),
        "c": AnyOf(({"w": AnyOf((20,)), "h": AnyOf((1,), optional=True)},)),
        "d": AnyOf(([{"x": AnyOf(("age",))}], [["p"], ["q"]])),
    }


PAIRS = st.integers(1, 5).flatmap(
    lambda made: st.lists(st.lists(st.booleans(), min_size=made, max_size=made), min_size=1, max_size=5)
)


@settings(max_examples=200, deadline=None)
@given(PAIRS)
def test_matching_finds_the_most(right: list[list[bool]]) -> None:
    """Against every way to choose calls for the expected ones."""
    made = range(len(right[0]))
    best_any = best_given = 0
    for count in range(1, min(len(right), len(made)) + 1):
        for rows in itertools.combinations(range(len(right)), count):
            for chosen in itertools.permutations(made, count):
                if all(right[row][column] for row, column in zip(rows, chosen, strict=True)):
                    best_any = count
                    if list(chosen) == sorted(chosen):
                        best_given = count
    assert most_in_any_order(right) == best_any
    assert most_in_given_order(right) == best_given


def test_matching_is_quick_and_shallow() -> None:
    assert most_in_any_order([[True] * 64] * 64) == 64
    assert most_in_any_order([[j <= i for j in range(64)] for i in range(64)]) == 64
    assert most_in_any_order([[False] * 64] * 64) == 0
    assert most_in_given_order([]) == 0

from __future__ import annotations

import time
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.cell.values import encode
from tests.verifiers.code.support import PLENTY
from tests.verifiers.support import ANY_JSON
from verifiers.code.bulk import compare_value, value_payload
from verifiers.code.value import Rules, brief, brief_encoded, difference, same_value

LOOSE = Rules()
STRICT = Rules(int_equals_float=False, tuple_equals_list=False, tolerance=0.0)


@pytest.mark.parametrize(
    ("value", "expected", "loose", "strict"),
    [
        (1, 1, True, True),
        (1, 2, False, False),
        (1.0, 1, True, False),
        (1, 1.0, True, False),
        (0, 0.0, True, False),
        (-0.0, 0, True, False),
        (-0.0, 0.0, True, True),
        (True, 1, False, False),
        (1, True, False, False),
        (True, True, True, True),
        (False, None, False, False),
        (None, None, True, True),
        (0, None, False, False),
        ("", None, False, False),
        ("a", "a", True, True),
        ("1", 1, False, False),
        (1, "1", False, False),
        (b"a", "a", False, False),
        ([1, 2], [1, 2], True, True),
        ([1, 2], [2, 1], False, False),
        ([1, 2], [1], False, False),
        ((1, 2), [1, 2], True, False),
        ([(1,)], [[1]], True, False),
        ({1, 2}, [1, 2], False, False),
        (frozenset((1,)), [1], False, False),
        (range(2), [0, 1], False, False),
        ("ab", ["a", "b"], False, False),
        ({}, {}, True, True),
        ({}, [], False, False),
        ([], {}, False, False),
        ({"a": 1}, {"a": 1}, True, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True, True),
        ({"a": 1}, {"a": 2}, False, False),
        ({"a": 1}, {"a": 1, "b": 2}, False, False),
        ({"a": 1, "b": 2}, {"a": 1}, False, False),
        ({"a": [1.0]}, {"a": [1]}, True, False),
        ({1: "x"}, {"1": "x"}, True, True),
        ({-1: "x"}, {"-1": "x"}, True, True),
        ({1.5: "x"}, {"1.5": "x"}, True, True),
        ({True: "x"}, {"true": "x"}, True, True),
        ({True: "x"}, {"1": "x"}, False, False),
        ({None: "x"}, {"null": "x"}, True, True),
        ({(1, 2): "x"}, {"(1, 2)": "x"}, False, False),
        ({1: "x", "1": "x"}, {"1": "x"}, False, False),
        ({1: "x", "1": "x"}, {"1": "x", "2": "x"}, False, False),
        (0.1 + 0.2, 0.3, True, False),
        (0.3, 0.1 + 0.2, True, False),
        (2.9999999999999996, 3, True, False),
        (1e-10, 0, True, False),
        (1e-8, 0, False, False),
        (0.0, 6.6e-34, False, False),
        (6.7e-34, 6.6e-34, False, False),
        (1.00000001, 1.0, False, False),
        (1e308, -1e308, False, False),
        (float("nan"), 1, False, False),
        (float("nan"), 0, False, False),
        (float("inf"), 1e308, False, False),
        (float("-inf"), 0, False, False),
        (10**400, 10**400, True, True),
        (10**400, 1e308, False, False),
        (1e308, 10**400, False, False),
        (2**53 + 1, 2**53, False, False),
        (float(2**53), 2**53 + 1, True, False),
        (1 + 0j, 1, False, False),
        (Decimal("1"), 1, False, False),
        (Fraction(1, 2), 0.5, False, False),
        (int, "int", False, False),
        (..., None, False, False),
    ],
)
def test_values(value: Any, expected: Any, loose: bool, strict: bool) -> None:
    assert same_value(value, expected, LOOSE) == loose
    assert same_value(value, expected, STRICT) == strict
    assert same_value([{"a": value}], [{"a": expected}], LOOSE) == loose
    assert (difference(encode(value, limit_bytes=PLENTY), expected, LOOSE, PLENTY) is None) == loose


@given(value=ANY_JSON)
def test_every_json_value_is_itself(value: Any) -> None:
    assert same_value(value, value, STRICT)
    assert difference(encode(value, limit_bytes=PLENTY), value, STRICT, PLENTY) is None


@given(one=ANY_JSON, other=ANY_JSON, exact=st.booleans())
def test_comparing_exactly_is_symmetric(one: Any, other: Any, exact: bool) -> None:
    rules = STRICT if exact else Rules(tolerance=0.0)
    assert same_value(one, other, rules) == same_value(other, one, rules)


@given(members=st.dictionaries(st.text(), st.integers()), seed=st.randoms())
def test_members_have_no_order_and_elements_do(members: dict[str, int], seed: Any) -> None:
    shuffled = list(members.items())
    seed.shuffle(shuffled)
    assert same_value(dict(shuffled), members, STRICT)
    values = [value for _, value in shuffled]
    assert same_value(values, list(members.values()), STRICT) == (values == list(members.values()))


@given(value=ANY_JSON, expected=ANY_JSON)
def test_a_worker_says_the_same(value: Any, expected: Any) -> None:
    data = encode(value, limit_bytes=PLENTY)
    for rules in (LOOSE, STRICT):
        assert compare_value(value_payload(data, expected, rules, PLENTY)) == difference(
            data, expected, rules, PLENTY
        )


@pytest.mark.parametrize("data", [b"", b"{", b"nan", b"[" * 10_000, b'{"x": 1}', b"\xff", b'{"t": 5}', b"1e999"])
def test_what_is_no_value_is_said_to_be_none(data: bytes) -> None:
    found = difference(data, 1, LOOSE, PLENTY)
    assert found is not None
    assert found.startswith("not a value: ")


def test_a_value_that_is_too_long() -> None:
    assert (
        difference(encode("a" * 100, limit_bytes=PLENTY), "a" * 100, LOOSE, 50)
        == "not a value: 102 bytes, 50 are allowed"
    )


def test_depth_is_no_matter() -> None:
    one: Any = []
    other: Any = []
    for _ in range(100_000):
        one, other = [one], [other]
    assert same_value(one, other, LOOSE)
    assert not same_value(one, [other], LOOSE)


@pytest.mark.parametrize(
    "value",
    [
        [0] * 10**6,
        "a" * 10**6,
        [10**5_000],
        list(range(50)),
        {str(i): i for i in range(10**5)},
        {1: {2: {3: [(4,)]}}},
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_brief_text_of_any_value(value: Any) -> None:
    began = time.process_time()
    assert 0 < len(brief(value)) < 2_000
    assert time.process_time() - began < 0.1


def test_brief_texts() -> None:
    assert brief([1, (2,), {"a": None}]) == "[1, (2,), {'a': None}]"
    assert brief(10**5_000) == "<int, too large to show>"
    assert brief_encoded(b'{"t":[1]}') == "(1,)"
    assert brief_encoded(b"nonsense\xff") == "nonsense\\xff"
    assert brief_encoded(b"1" * 20_000) == "1" * 1_000

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.code.bulk import compare_output, output_payload
from verifiers.code.output import MAX_NUMBER, at_a_glance, same_output
from verifiers.code.reference import Compare

COMPARISONS: tuple[Compare, ...] = ("exact", "lines", "tokens", "float")
LIKELY = st.lists(st.sampled_from([b"1", b"1.0", b"2", b"a", b" ", b"\n", b"\r\n", b"\t", b"\x00", b"\xff"])).map(
    b"".join
)


def accepted(output: bytes, expected: bytes, tolerance: float = 1e-6) -> set[str]:
    return {compare for compare in COMPARISONS if same_output(output, expected, compare, tolerance)}


@pytest.mark.parametrize(
    ("output", "expected", "by"),
    [
        (b"", b"", {"exact", "lines", "tokens", "float"}),
        (b"a", b"a", {"exact", "lines", "tokens", "float"}),
        (b"a\n", b"a", {"lines", "tokens", "float"}),
        (b"a\r\n", b"a\n", {"lines", "tokens", "float"}),
        (b"a \nb\n\n", b"a\nb", {"lines", "tokens", "float"}),
        (b"a b", b"a\nb", {"tokens", "float"}),
        (b"a  b", b"a b", {"tokens", "float"}),
        (b" a", b"a", {"tokens", "float"}),
        (b"\na", b"a", {"tokens", "float"}),
        (b"\n", b"", {"lines", "tokens", "float"}),
        (b"1.0", b"1", {"float"}),
        (b"1e0", b"1", {"float"}),
        (b"+1", b"1", {"float"}),
        (b".5", b"0.5", {"float"}),
        (b"1.", b"1", {"float"}),
        (b"1.0000005", b"1", {"float"}),
        (b"1000000.5", b"1000000", {"float"}),
        (b"0.0000005", b"0", {"float"}),
        (b"1.00001", b"1", set()),
        (b"-1", b"1", set()),
        (b"nan", b"nan", {"exact", "lines", "tokens", "float"}),
        (b"nan", b"1", set()),
        (b"1", b"nan", set()),
        (b"inf", b"1e999", set()),
        (b"2e999", b"1e999", set()),
        (b"1_0", b"10", set()),
        (b"0x10", b"16", set()),
        (b"\xd9\xa1", b"1", set()),
        (b"a", b"a b", set()),
        (b"a b", b"a", set()),
        (b"a", b"", set()),
        (b"", b"a", set()),
        (b"ab", b"a", set()),
        (b"1 2 3 4 5 6 7 8 9", b"7", set()),
        (b"a\x00", b"a", set()),
        (b"\xff\xfe", b"\xff\xfe", {"exact", "lines", "tokens", "float"}),
        (b"\xff", b"\xfe", set()),
        (b"a\xc2\xa0b", b"a b", set()),
        (b"a\x0bb", b"a b", {"tokens", "float"}),
    ],
)
def test_comparisons(output: bytes, expected: bytes, by: set[str]) -> None:
    assert accepted(output, expected) == by


def test_a_tolerance_of_nothing() -> None:
    assert accepted(b"1.0", b"1", 0.0) == {"float"}
    assert accepted(b"1.0000000001", b"1", 0.0) == set()


def test_a_tolerance_is_relative_to_what_is_expected() -> None:
    assert accepted(b"110", b"100", 0.1) == {"float"}
    assert accepted(b"111", b"100", 0.1) == set()


@given(text=LIKELY)
def test_every_text_is_itself(text: bytes) -> None:
    assert accepted(text, text) == set(COMPARISONS)


@given(one=LIKELY, other=LIKELY)
def test_each_comparison_accepts_what_a_stricter_one_does(one: bytes, other: bytes) -> None:
    by = accepted(one, other)
    assert not ("exact" in by and "lines" not in by)
    assert not ("lines" in by and "tokens" not in by)
    assert not ("tokens" in by and "float" not in by)


@given(one=LIKELY, other=LIKELY)
def test_text_comparisons_are_symmetric(one: bytes, other: bytes) -> None:
    assert accepted(one, other) - {"float"} == accepted(other, one) - {"float"}


@given(
    tokens=st.lists(st.binary(min_size=1).filter(lambda token: len(token.split()) == 1 and token.strip() == token))
)
def test_tokens_are_what_stands_between_white_space(tokens: list[bytes]) -> None:
    assert same_output(b" \n".join(tokens) + b"\t", b"\n".join(tokens), "tokens", 0.0)
    if tokens:
        assert not same_output(b" ".join(tokens[:-1]), b" ".join(tokens), "tokens", 0.0)
        assert not same_output(b" ".join([*tokens, tokens[0]]), b" ".join(tokens), "tokens", 0.0)


@given(a=st.floats(allow_nan=False, allow_infinity=False), b=st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_compared_by_value(a: float, b: float) -> None:
    same = abs(a - b) <= 1e-6 * max(1.0, abs(b))
    assert same_output(repr(a).encode(), repr(b).encode(), "float", 1e-6) == same


@given(one=LIKELY, other=LIKELY, compare=st.sampled_from(COMPARISONS))
def test_a_worker_says_the_same(one: bytes, other: bytes, compare: Compare) -> None:
    same = same_output(one, other, compare, 1e-6)
    assert compare_output(output_payload(one, other, compare, 1e-6)) == same
    if at_a_glance(one, other, compare):
        assert same


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (b"1 " * 2**19, b"1"),
        (b"\n" * 2**20 + b"1", b"1"),
        (b" " * 2**20, b"1"),
        (b"1" * 2**20, b"1"),
        (b"1" * 2**20 + b"x", b"1"),
        (b"1e" + b"9" * 2**20, b"1"),
        (b"1" * MAX_NUMBER + b" ", b"1" * MAX_NUMBER + b".0"),
        (b"x", b"1" * MAX_NUMBER),
        (b"1 2" * 2**18, b"1\n" * 1_000),
    ],
    ids=lambda text: repr(text[:5]),
)
def test_a_flood_of_output_costs_nothing(output: bytes, expected: bytes) -> None:
    began = time.process_time()
    accepted(output, expected)
    assert time.process_time() - began < 0.1

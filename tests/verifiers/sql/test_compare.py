"""Comparing results: against a plain oracle, and case by case."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.cell.values import ValuesError, encode
from verifiers.sql.cells import Types
from verifiers.sql.compare import Rules, Table, read_result, rows_differ, tables_differ
from verifiers.sql.config import Columns

ORDERED = Rules("position", ordered=True, types=Types())
UNORDERED = Rules("position", ordered=False, types=Types())


def equal(found: list[list[Any]], expected: list[list[Any]], rules: Rules = UNORDERED, **more: Any) -> bool:
    width = len((found or expected or [[]])[0])
    names = [f"c{index}" for index in range(width)]
    return rows_differ(Table(names, found), Table(names, expected, **more), rules) is None


# --- an oracle: every assignment of rows is tried

NUMBERS = st.sampled_from([0, 1, 2, 1.0, 1 + 6e-10, 1 + 12e-10, 2.0, 0.0, -0.0, 5e-10, Decimal("1"), Decimal("1.5")])
TEXTS = st.sampled_from(["a", "b", "", "A"])
"""None that spells a number: whether that counts as one is a matter of the column, which the oracle knows not."""
COLUMNS = st.sampled_from([NUMBERS, TEXTS, NUMBERS | st.none(), st.sampled_from([b"a", b"", None])])


def oracle_cell(cell: Any, expected: Any) -> bool:
    if isinstance(cell, int | float | Decimal) and isinstance(expected, int | float | Decimal):
        if isinstance(cell, int) and isinstance(expected, int):
            return cell == expected
        allowed = 1e-9 if isinstance(cell, float) or isinstance(expected, float) else 0.0
        return abs(float(cell) - float(expected)) <= allowed * (abs(float(expected)) or 1.0)
    return type(cell) is type(expected) and bool(cell == expected)


def oracle_row(row: list[Any], expected: list[Any]) -> bool:
    return all(oracle_cell(cell, other) for cell, other in zip(row, expected, strict=True))


def oracle(found: list[list[Any]], expected: list[list[Any]], *, ordered: bool) -> bool:
    if len(found) != len(expected):
        return False
    orders = [found] if ordered else itertools.permutations(found)
    return any(all(map(oracle_row, order, expected)) for order in orders)


@st.composite
def two_tables(draw: st.DrawFn) -> tuple[list[list[Any]], list[list[Any]]]:
    row = st.tuples(*draw(st.lists(COLUMNS, min_size=1, max_size=3))).map(list)
    expected = draw(st.lists(row, max_size=4))
    found: list[list[Any]] = draw(st.one_of(st.permutations(expected), st.lists(row, max_size=4)))
    changed: bool = draw(st.booleans())
    if found and changed:
        found = [*found[1:], draw(row)]
    return list(found), expected


@settings(max_examples=400, deadline=None)
@given(two_tables(), st.booleans())
def test_rows_are_equal_where_the_oracle_says_so(
    tables: tuple[list[list[Any]], list[list[Any]]], ordered: bool
) -> None:
    found, expected = tables
    rules = ORDERED if ordered else UNORDERED
    assert equal(found, expected, rules) is oracle(found, expected, ordered=ordered)


@settings(max_examples=100, deadline=None)
@given(two_tables(), st.data())
def test_no_order_counts_where_none_is_asked_for(
    tables: tuple[list[list[Any]], list[list[Any]]], data: st.DataObject
) -> None:
    found, expected = tables
    shuffled = data.draw(st.permutations(found))
    assert equal(found, expected) is equal(shuffled, expected)
    assert equal(expected, data.draw(st.permutations(expected)))


@settings(max_examples=100, deadline=None)
@given(two_tables(), st.data())
def test_any_arrangement_of_columns(tables: tuple[list[list[Any]], list[list[Any]]], data: st.DataObject) -> None:
    _, expected = tables
    order = data.draw(st.permutations(range(len(expected[0]) if expected else 0)))
    found = [[row[index] for index in order] for row in expected]
    assert equal(found, expected, Rules("any", ordered=True, types=Types()))


# --- case by case


@pytest.mark.parametrize(
    ("found", "expected", "tolerant", "strict"),
    [
        (1, 1.0, True, False),
        (1, Decimal("1.00"), True, False),
        (1.5, Decimal("1.5"), True, True),
        (True, 1, True, False),
        (False, 0, True, False),
        (True, True, True, True),
        ("1", 1, True, False),
        (1, "1", True, False),
        ("1.50", Decimal("1.5"), True, False),
        ("1e3", 1000, True, False),
        ("one", 1, False, False),
        (" 1", 1, False, False),
        ("1_0", 10, False, False),
        ("١", 1, False, False),
        ("1", "1.0", False, False),
        ("a", "A", False, False),
        ("a", "a ", False, False),
        (None, None, True, True),
        (None, 0, False, False),
        (None, "", False, False),
        (math.nan, math.nan, True, True),
        (Decimal("NaN"), math.nan, True, True),
        (math.nan, None, False, False),
        (math.inf, math.inf, True, True),
        (math.inf, Decimal("Infinity"), True, True),
        (math.inf, -math.inf, False, False),
        (math.inf, 1e308, False, False),
        (b"a", "a", False, False),
        (b"1", 1, False, False),
        (b"a", b"a", True, True),
        (-0.0, 0, True, False),
        (0.1 + 0.2, 0.3, True, True),
        (0.3 + 1e-8, 0.3, False, False),
        (3e-8, 2e-8, False, False),
        (1e-20, 0.0, True, True),
        (2**53 + 1, 2**53, False, False),
        (10**400, 1.0, False, False),
        (Decimal("1e9999"), 1, False, False),
        (Decimal("1e9999"), Decimal("1e9999"), True, True),
        (Decimal("1234567890.12"), Decimal("1234567890.13"), False, False),
        (Decimal("1.3333333333333333"), Decimal("1.33333333333333333333"), True, True),
        (("date", "2024-01-02"), ("date", "2024-01-02"), True, True),
        (("date", "2024-01-02"), ("timestamp", "2024-01-02 00:00:00"), True, False),
        (("timestamptz", "2024-01-02 03:04:05+00"), ("timestamp", "2024-01-02 03:04:05"), True, False),
        (("date", "2024-01-02"), "2024-01-02", True, False),
        ("2024-01-02T00:00:00Z", ("date", "2024-01-02"), True, False),
        (("date", "2024-01-02"), "2024-01-03", False, False),
        (("date", "2024-01-02"), ("timestamp", "2024-01-02 00:00:01"), False, False),
        (("time", "10:00:00"), "10:00", True, False),
        (("time", "10:00:00"), ("date", "2024-01-02"), False, False),
        ("2024-01-02", "2024-01-02 00:00:00", False, False),
        (("uuid", "a"), "a", True, False),
        (("1007", "{1,2}"), ("1007", "{1,2}"), True, True),
    ],
)
def test_cells(found: Any, expected: Any, tolerant: bool, strict: bool) -> None:
    assert equal([[found]], [[expected]]) is tolerant
    assert equal([[found]], [[expected]], Rules("position", ordered=True, types=Types("strict"))) is strict


def test_text_counts_as_a_number_where_the_other_column_holds_nothing_else() -> None:
    assert equal([["1"], ["2"], [None]], [[1], [2], [None]])
    assert not equal([["1"], ["x"]], [[1], ["x"]])
    assert not equal([["1"], ["x"]], [[1], [2]])


@pytest.mark.parametrize(
    ("tolerance", "found", "expected", "same"),
    [
        (0.0, 0.1 + 0.2, 0.3, False),
        (0.0, 0.5, Decimal("0.5"), True),
        (0.01, 99.5, 100, True),
        (0.01, 98.5, 100, False),
        (0.01, Decimal("99.5"), Decimal(100), True),
        (0.01, 0.005, 0, True),
        (0.01, 99, 100, False),
    ],
)
def test_tolerance(tolerance: float, found: Any, expected: Any, same: bool) -> None:
    rules = Rules("position", ordered=False, types=Types(tolerance=tolerance))
    assert equal([[found]], [[expected]], rules) is same


def test_rows_count_as_often_as_they_are_there() -> None:
    assert not equal([[1], [1], [2]], [[1], [2], [2]])
    assert not equal([[1], [2]], [[1], [1], [2]])
    assert not equal([], [[1]])
    assert equal([], [])


def test_a_close_row_is_no_other_rows() -> None:
    """Each pairing that takes equal rows first would leave the last without one."""
    rules = Rules("position", ordered=False, types=Types(tolerance=0.1))
    assert equal([[1.0], [1.09]], [[0.95], [1.0]], rules)
    assert equal([["x", 1.0, 5.0], ["x", 1.09, 5.0]], [["x", 0.95, 5.0], ["x", 1.0, 5.0]], rules)
    assert not equal([[1.0], [1.2]], [[0.95], [1.0]], rules)
    crossed = [[1.0, 10.0], [1.05, 9.6]], [[1.04, 10.0], [1.0, 9.6]]
    assert equal(*crossed, rules)


def test_what_is_given_as_json_is_text_for_what_json_has_no_form_for() -> None:
    strict = Rules("position", ordered=False, types=Types("strict"))
    assert equal([[("date", "2024-01-02")]], [["2024-01-02"]], strict, given=True)
    assert not equal([[5]], [["5"]], strict, given=True)


@pytest.mark.parametrize(
    ("columns", "names", "why"),
    [
        ("name", ["B", "a"], None),
        ("name", ["a", "a"], "names of the columns"),
        ("name", ["a", "c"], "names of the columns"),
        ("any", ["x", "y"], None),
        ("position", ["b", "a"], "row"),
    ],
)
def test_columns_find_each_other(columns: Columns, names: list[str], why: str | None) -> None:
    found, expected = Table(names, [[1, "x"], [2, "y"]]), Table(["a", "b"], [["x", 1], ["y", 2]])
    fault = rows_differ(found, expected, Rules(columns, ordered=False, types=Types()))
    assert (fault is None) is (why is None)
    assert why is None or why in (fault or "")


def test_alike_columns_are_told_apart_by_their_rows() -> None:
    rules = Rules("any", ordered=False, types=Types())
    assert equal([[1, 2, 3], [2, 1, 3]], [[3, 1, 2], [3, 2, 1]], rules)
    assert not equal([[1, 1], [2, 2]], [[1, 2], [2, 1]], rules)


def test_arrangements_are_bounded() -> None:
    """Every column has the same cells, and no arrangement fits."""
    rows = [[(row * column) % 11 for column in range(1, 11)] for row in range(1, 11)]
    wrong = [list(row) for row in rows]
    wrong[0][0], wrong[1][0] = wrong[1][0], wrong[0][0]
    assert not equal(rows, wrong, Rules("any", ordered=False, types=Types()))


def test_contents_of_databases() -> None:
    one = {"t": Table(["a", "b"], [[1, 2]]), "u": Table(["a"], [])}
    assert tables_differ(one, one, Types()) is None
    assert tables_differ({**one, "t": Table(["B", "A"], [[2, 1]])}, one, Types()) is None
    assert tables_differ({**one, "v": Table([], [])}, one, Types()) == "there is a table v, which should not be"
    assert tables_differ({"t": one["t"]}, one, Types()) == "there is no table u"
    assert tables_differ({**one, "t": Table(["a", "c"], [[1, 2]])}, one, Types()) is not None
    assert tables_differ({**one, "u": Table(["a"], [[1]])}, one, Types()) == "table u: has 1 rows, not 0"
    assert tables_differ({**one, "u": Table(["b"], [])}, one, Types()) is not None
    with pytest.raises(ValuesError):
        tables_differ(None, one, Types())


@pytest.mark.parametrize(
    "value",
    [None, 5, [], [None], [[], None], [[["a"], [1]], None], [[["a"], [[1, 2]]], None], [[[1], [[1]]], None],
     [None, [["t"]]], [None, [["t", [["a"], []]], ["t", [["a"], []]]]], [None, [[1, [["a"], []]]]], [None, {}]],
)  # fmt: skip
def test_what_is_no_result_is_refused(value: Any) -> None:
    with pytest.raises(ValuesError):
        read_result(encode(value, limit_bytes=1000), 1000)


def test_a_cell_that_is_none_is_refused() -> None:
    cells: tuple[Any, ...] = ({}, [1], complex(1, 1), ("a", 1), ("a", "b", "c"), {1, 2})
    for cell in cells:
        with pytest.raises(ValuesError):
            equal([[cell]], [[1]])

"""Configurations and references that cannot be used, each with its message; what no honest model writes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sandbox.base import Sandbox
from tests.verifiers.conftest import SandboxFor
from tests.verifiers.sql.support import FOREVER, SHOP, judged, judged_all
from tests.verifiers.support import configured
from verifiers.base import ConfigError, Item, explain, pointer
from verifiers.sql.config import SqlConfig


@pytest.fixture
def box(sandbox_for: SandboxFor) -> Sandbox | None:
    return sandbox_for("sql")


@pytest.mark.parametrize(
    ("config", "place", "message"),
    [
        ({"dialect": "mysql"}, "/dialect", "Input should be 'sqlite' or 'postgresql'"),
        ({"dialect": None}, "/dialect", "Input should be 'sqlite' or 'postgresql'"),
        ({"setup": 5}, "/setup", "Input should be a valid string"),
        ({"setup": ["CREATE TABLE t (a)"]}, "/setup", "Input should be a valid string"),
        ({"compare": "rows,state"}, "/compare", "Input should be 'auto', 'rows', 'state' or 'both'"),
        ({"ordered": "yes"}, "/ordered", "Input should be a valid boolean, or 'auto'"),
        ({"ordered": 1}, "/ordered", "Input should be a valid boolean, or 'auto'"),
        ({"columns": "all"}, "/columns", "Input should be 'position', 'name' or 'any'"),
        ({"types": "loose"}, "/types", "Input should be 'strict' or 'tolerant'"),
        ({"tolerance": -0.1}, "/tolerance", "Input should be greater than or equal to 0"),
        ({"tolerance": 0.5}, "/tolerance", "Input should be less than or equal to 0.1"),
        ({"tolerance": float("nan")}, "/tolerance", "Input should be a finite number"),
        ({"tolerance": "0.1"}, "/tolerance", "Input should be a valid number"),
        ({"limits": {"cpu_s": 0}}, "/limits/cpu_s", "Input should be greater than or equal to 0.05"),
        ({"limits": {"rows": 0}}, "/limits/rows", "Input should be greater than or equal to 1"),
        ({"limits": {"rows": 1.5}}, "/limits/rows", "Input should be a valid integer"),
        ({"limits": {"result_kb": 10**6}}, "/limits/result_kb", "Input should be less than or equal to 8192"),
        ({"limits": {"memory_mb": 1}}, "/limits/memory_mb", "Input should be greater than or equal to 16"),
        ({"limits": {"wall_s": 1}}, "/limits/wall_s", "Extra inputs are not permitted"),
        ({"limits": None}, "/limits", "Input should be a valid dictionary"),
        ({"timeout": 1}, "/timeout", "Extra inputs are not permitted"),
    ],
)
def test_a_configuration_is_refused_with_its_place(config: Any, place: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SqlConfig.model_validate(config)
    location, said = explain(caught.value, config)
    assert (pointer(location), said) == (place, message)


@pytest.mark.parametrize("setup", ["SELECT '\0'", "SELECT '\ud800'"])
def test_a_setup_that_no_sql_can_hold(setup: str) -> None:
    with pytest.raises((ConfigError, ValidationError)) as caught:
        configured("sql", {"setup": setup})
    assert "setup" in str(getattr(caught.value, "pointer", caught.value))


NEEDS = "which needs query, statements or state instead"
NO_SQL = "holds NUL, or half of a surrogate pair, which no SQL can"
NOT_MADE = "setup: the fixture cannot be made: "
NO_GOLD = "reference: the gold statements cannot be used: "
NO_ROWS = "reference: the gold statements return no rows; set compare to state for what they leave behind"
FORM = "reference: must be an object with one of 'query', 'rows', 'statements' and 'state'"
CELL = (
    "Input should be a valid boolean, or a valid integer, or a valid number, or a valid string, or a valid dictionary"
)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (None, FORM),
        ("SELECT 1", FORM),
        (5, FORM),
        ([], FORM),
        ({}, FORM),
        ({"setup": "CREATE TABLE t (a)"}, FORM),
        ({"query": "SELECT 1", "rows": [[1]]}, FORM),
        ({"query": ""}, "reference/query: String should have at least 1 character"),
        ({"query": None}, "reference/query: Input should be a valid string"),
        ({"query": "SELECT 1", "ordered": True}, "reference/ordered: Extra inputs are not permitted"),
        ({"query": "SELECT '\0'"}, f"reference/query: {NO_SQL}"),
        ({"query": "SELECT 1", "setup": "\0"}, f"reference/setup: {NO_SQL}"),
        ({"rows": [1]}, "reference/rows/0: Input should be a valid list, or a valid dictionary"),
        ({"rows": [[[1]]]}, f"reference/rows/0/0: {CELL}"),
        ({"rows": [[1], [1, 2]]}, "reference/rows: rows that are lists must have the same length"),
        ({"rows": [[1], {"a": 1}]}, "reference/rows: rows must be all lists or all objects"),
        ({"rows": [{"b": 1}, {"a": 1}]}, "reference/rows: rows that are objects must have the same names"),
        ({"rows": [[1, 2]], "columns": ["a"]}, "reference: there must be as many columns as each row has cells"),
        ({"rows": [[{"hex": "0"}]]}, "reference/rows/0/0/hex: String should match pattern '^([0-9A-Fa-f]{2})*$'"),
        ({"statements": ["DELETE FROM t"]}, "reference/statements: Input should be a valid string"),
        ({"state": {}}, "reference/state: Dictionary should have at least 1 item after validation, not 0"),
        ({"state": [[1]]}, "reference/state: Input should be a valid dictionary"),
        ({"state": {"t": [], "T": []}}, "reference/state: names a table twice"),
    ],
)
async def test_a_reference_is_refused_with_its_place(reference: Any, message: str) -> None:
    verdict = await judged("SELECT 1", reference)
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.message, verdict.error.retryable) == ("bad_item", message, False)


@pytest.mark.parametrize(
    ("config", "reference", "message"),
    [
        ({"compare": "state"}, {"rows": [[1]]}, f"reference/rows: compare is state, {NEEDS}"),
        ({"compare": "both"}, {"rows": [[1]]}, f"reference/rows: compare is both, {NEEDS}"),
        (
            {"compare": "rows"},
            {"state": {"t": []}},
            "reference/state: compare is rows, which needs query or statements instead",
        ),
        (
            {"columns": "name"},
            {"rows": [[1]]},
            "reference/columns: columns are compared by name, so give them, or rows as objects",
        ),
    ],
)
async def test_a_reference_that_does_not_fit_the_configuration(
    config: dict[str, Any], reference: Any, message: str
) -> None:
    verdict = await judged("SELECT 1", reference, **config)
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.message) == ("bad_item", message)


@pytest.mark.parametrize(
    ("config", "reference", "message"),
    [
        ({"setup": "CREATE TABL"}, {"query": "SELECT 1"}, NOT_MADE + 'near "TABL": syntax error'),
        ({"setup": "CREATE TABL"}, {"rows": [[1]]}, NOT_MADE + 'near "TABL": syntax error'),
        (
            {},
            {"query": "SELECT 1", "setup": "ATTACH 'a' AS b"},
            NOT_MADE + "ATTACH, and whatever else opens a file is refused",
        ),
        ({}, {"query": "SELECT random()"}, NO_GOLD + "the function random is refused"),
        ({}, {"query": "SELECT * FROM t"}, NO_GOLD + "no such table: t"),
        ({"compare": "rows"}, {"query": "CREATE TABLE t (a)"}, NO_ROWS),
        ({"limits": {"rows": 1}}, {"query": "SELECT 1 UNION SELECT 2"}, NO_GOLD + "has more than 1 rows"),
        (
            {"limits": {"rows": 1}, "setup": "CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)"},
            {"state": {"t": []}},
            "setup: the fixture has more than 1 rows; raise limits",
        ),
        ({"limits": {"cpu_s": 0.1}}, {"query": FOREVER + "SELECT max(x) FROM c"}, NO_GOLD + "takes more than 0.1 s"),
    ],
)
async def test_a_fixture_or_gold_that_fails_is_no_candidates_fault(
    box: Sandbox | None, config: dict[str, Any], reference: Any, message: str
) -> None:
    for verdict in await judged_all(
        [Item(completion=sql, reference=reference) for sql in ("SELECT 1", "SELECT 2")], box, **config
    ):
        assert verdict.error is not None
        assert (verdict.error.type, verdict.error.message, verdict.error.retryable) == ("bad_item", message, False)


@pytest.mark.parametrize(
    ("completion", "outcome", "why"),
    [
        ("", "unparseable", "there is no SQL"),
        ("SELEC 1", "incorrect", 'near "SELEC": syntax error'),
        ("SELECT * FROM nowhere", "incorrect", "no such table: nowhere"),
        ("SELECT ?", "incorrect", "Incorrect number of bindings"),
        ("SELECT " + "(" * 20_000 + "1" + ")" * 20_000, "incorrect", ""),
        ("SELECT 1" + ", 1" * 5_000, "incorrect", "too many columns"),
        ("SELECT 1;" * 1_001, "rejected", "too many statements"),
        (";", "incorrect", None),
        ("-- nothing", "incorrect", None),
        ("I do not know.", "incorrect", 'near "I": syntax error'),
        ("SELECT '" + "\ud800" + "'", "unparseable", ""),
        ("SELECT '\0'", "unparseable", ""),
        ("SELECT CAST(x'ff00' AS TEXT), 1", "incorrect", None),
        ("SELECT 9e999", "incorrect", None),
        ("SELECT -9223372036854775808", "incorrect", None),
    ],
)
async def test_a_candidate_that_is_wrong(box: Sandbox | None, completion: str, outcome: str, why: str | None) -> None:
    verdict = await judged(completion, {"query": "SELECT count(*) FROM orders"}, sandbox=box, setup=SHOP)
    assert (verdict.outcome, verdict.score) == (outcome, 0.0)
    assert why is None or why in verdict.detail["error"]


async def test_one_items_fault_is_no_neighbours(box: Sandbox | None) -> None:
    gold = {"query": "SELECT count(*) FROM orders"}
    verdicts = await judged_all(
        [
            Item(completion="SELECT 6", reference=gold),
            Item(completion="SELECT 6", reference={"query": "SELECT nothing"}),
            Item(completion="SELECT 6", reference={"query": "SELECT 6", "setup": "CREATE"}),
            Item(completion="SELECT 6", reference=5),
            Item(completion=FOREVER + "SELECT x FROM c", reference=gold),
            Item(completion="DROP TABLE orders; SELECT 6", reference=gold),
            Item(completion="SELECT count(*) FROM orders", reference=gold),
        ],
        box,
        setup=SHOP,
    )
    assert [verdict.score for verdict in verdicts] == [1.0, None, None, None, 0.0, 1.0, 1.0]
    assert verdicts[4].outcome == "output_exceeded"


async def test_gold_scores_one_and_nothing_scores_zero_over_many_fixtures(box: Sandbox | None) -> None:
    items = []
    for number in range(40):
        setup = f"CREATE TABLE t (a, b); INSERT INTO t VALUES ({number}, 'x'), (NULL, {number}.5)"
        query = f"SELECT a + {number}, b FROM t"
        items += [
            Item(completion=query, reference={"query": query, "setup": setup}),
            Item(completion="", reference={"query": query, "setup": setup}),
            Item(completion=f"SELECT a + {number + 1}, b FROM t", reference={"query": query, "setup": setup}),
        ]
    verdicts = await judged_all(items, box)
    assert [verdict.score for verdict in verdicts] == [1.0, 0.0, 0.0] * 40

"""What is told of SQL by its tokens alone."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifiers.support import ANY_TEXT
from verifiers.sql.sqltext import changes_data, depends_on_moment, is_ordered, statements

SQL = st.lists(
    st.sampled_from(
        ["'", '"', "`", "[", "]", ";", "--", "\n", "/*", "*/", "$$", "$a$", "(", ")", "a", " ", "e'", "\\", "end",
         "create trigger", "order by", "1.5", "é"]
    ),
    max_size=40,
).map("".join)  # fmt: skip


@pytest.mark.parametrize(
    ("sql", "sqlite", "postgresql"),
    [
        ("", [], []),
        (" ;; -- nothing\n ; /* ; */", [], []),
        ("SELECT 1", ["SELECT 1"], ["SELECT 1"]),
        ("SELECT 1; SELECT 2;", ["SELECT 1", "SELECT 2"], ["SELECT 1", "SELECT 2"]),
        ("SELECT 'a;''b;'; x", ["SELECT 'a;''b;'", "x"], ["SELECT 'a;''b;'", "x"]),
        ('SELECT "a;" -- b;\n FROM t; x', ['SELECT "a;" -- b;\n FROM t', "x"], ['SELECT "a;" -- b;\n FROM t', "x"]),
        ("SELECT [a;b]; x", ["SELECT [a;b]", "x"], ["SELECT [a", "b]", "x"]),
        ("SELECT `a;b`; x", ["SELECT `a;b`", "x"], ["SELECT `a", "b`", "x"]),
        (r"SELECT E'a\';b'; x", [r"SELECT E'a\'", "b'; x"], [r"SELECT E'a\';b'", "x"]),
        (r"SELECT '\'; x", [r"SELECT '\'", "x"], [r"SELECT '\'", "x"]),
        ("DO $$ a; $$; x", ["DO $$ a", "$$", "x"], ["DO $$ a; $$", "x"]),
        ("DO $f$ a; $$; $f$; x", ["DO $f$ a", "$$", "$f$", "x"], ["DO $f$ a; $$; $f$", "x"]),
        ("/* /* ; */ ; */ x", ["*/ x"], ["x"]),
        ("SELECT 'open; x", ["SELECT 'open; x"], ["SELECT 'open; x"]),
    ],
)
def test_statements(sql: str, sqlite: list[str], postgresql: list[str]) -> None:
    assert statements(sql, "sqlite") == sqlite
    assert statements(sql, "postgresql") == postgresql


def test_a_triggers_body_is_one_statement() -> None:
    trigger = "CREATE TEMP TRIGGER a AFTER INSERT ON t BEGIN SELECT CASE WHEN 1 THEN 2 END; DELETE FROM t; END"
    assert statements(f"{trigger}; SELECT 1", "sqlite") == [trigger, "SELECT 1"]


@given(SQL.map(lambda sql: f"SELECT 1; {sql}"))
def test_what_sqlite_takes_for_complete_ends_a_statement(sql: str) -> None:
    """Whatever follows a statement, it is split off; sqlite3_complete reads the same syntax, and agrees."""
    first, *rest = statements(sql, "sqlite")
    assert first == "SELECT 1"
    whole = [part for part in rest[:-1] if not part.startswith("create trigger")]
    assert all(sqlite3.complete_statement(f"{part}\n;") for part in whole)


@given(ANY_TEXT | SQL)
def test_any_text_is_read(sql: str) -> None:
    for dialect in ("sqlite", "postgresql"):
        assert all(part and part in sql for part in statements(sql, dialect))
        is_ordered(sql, dialect)
        changes_data(sql, dialect)
        depends_on_moment(sql, dialect)


@pytest.mark.parametrize(
    ("sql", "ordered"),
    [
        ("SELECT a FROM t ORDER BY a", True),
        ("SELECT a FROM t order\nBy a LIMIT 3;", True),
        ("((SELECT a FROM t ORDER BY a))", True),
        ("SELECT 1; SELECT a FROM t ORDER BY a", True),
        ("SELECT a FROM t UNION SELECT b FROM u ORDER BY 1", True),
        ("WITH x AS (SELECT 1) SELECT * FROM x ORDER BY 1", True),
        ("SELECT a FROM t ORDER BY a; SELECT 1", False),
        ("SELECT a FROM t", False),
        ("SELECT * FROM (SELECT a FROM t ORDER BY a) x", False),
        ("(SELECT 1 ORDER BY 1) UNION (SELECT 2 ORDER BY 1)", False),
        ("SELECT rank() OVER (ORDER BY a) FROM t", False),
        ("WITH x AS (SELECT 1 ORDER BY 1) SELECT * FROM x", False),
        ("SELECT 'ORDER BY' -- ORDER BY a", False),
        ('SELECT "order" by FROM t', False),
        ("", False),
    ],
)
def test_whether_rows_are_ordered(sql: str, ordered: bool) -> None:
    assert is_ordered(sql, "sqlite") is is_ordered(sql, "postgresql") is ordered


@pytest.mark.parametrize(
    ("sql", "changes"),
    [
        ("INSERT INTO t VALUES (1)", True),
        ("REPLACE INTO t VALUES (1)", True),
        ("-- first\n(DELETE FROM t)", True),
        ("SELECT 1; DROP TABLE t", True),
        ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", True),
        ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", True),
        ("SELECT replace(a, 'b', 'c') FROM t", False),
        ("WITH x AS (SELECT replace(a, 'b', 'c') FROM t) SELECT * FROM x", False),
        ("SELECT * FROM t FOR UPDATE", False),
        ("SELECT 'DELETE FROM t'", False),
        ("SELECT deleted FROM updates", False),
        ("", False),
    ],
)
def test_whether_data_change(sql: str, changes: bool) -> None:
    assert changes_data(sql, "sqlite") is changes_data(sql, "postgresql") is changes


@pytest.mark.parametrize(
    ("sql", "depends"),
    [
        ("SELECT now()", True),
        ("SELECT CURRENT_DATE", True),
        ("SELECT date('now', '-1 day')", True),
        ("SELECT date()", True),
        ("SELECT strftime('%Y')", True),
        ("SELECT 'today'::date", True),
        ("SELECT date(placed) FROM orders", False),
        ("SELECT strftime('%Y', placed) FROM orders", False),
        ("SELECT known FROM snow", False),
        ("SELECT 1", False),
    ],
)
def test_whether_the_time_counts(sql: str, depends: bool) -> None:
    assert depends_on_moment(sql, "sqlite") is depends

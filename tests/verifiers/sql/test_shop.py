"""Questions as text-to-SQL sets ask them: each gold with other right ways to write it, and subtly wrong ones.

The same text is valid in both dialects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from sandbox.base import Sandbox
from tests.app.scratch.live import LiveDatabases
from tests.verifiers.sql.support import SHOP, judged, judged_all
from verifiers.base import Item, Verdict


@dataclass(frozen=True)
class Question:
    """A gold query, candidates that answer the same question, and some that do not."""

    gold: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]


QUESTIONS = {
    "customers with a paid order": Question(
        "SELECT DISTINCT c.name FROM customers c JOIN orders o ON o.customer = c.id WHERE o.paid = 1",
        (
            "SELECT name FROM customers WHERE id IN (SELECT customer FROM orders WHERE paid = 1)",
            "SELECT c.name FROM customers c WHERE EXISTS (SELECT 1 FROM orders WHERE customer = c.id AND paid = 1)",
            "SELECT name FROM customers JOIN orders ON customer = customers.id WHERE paid = 1 GROUP BY name",
        ),
        (
            "SELECT c.name FROM customers c JOIN orders o ON o.customer = c.id WHERE o.paid = 1",  # Ada twice
            "SELECT DISTINCT c.name FROM customers c LEFT JOIN orders o ON o.customer = c.id WHERE o.paid = 0",
            "SELECT name FROM customers",
        ),
    ),
    "spending by customer, most first": Question(
        "SELECT c.name, SUM(l.quantity * p.price) FROM customers c JOIN orders o ON o.customer = c.id "
        "JOIN lines l ON l.order_id = o.id JOIN products p ON p.id = l.product GROUP BY c.name ORDER BY 2 DESC",
        (
            "WITH spent AS (SELECT order_id, SUM(quantity * price) AS total FROM lines "
            "JOIN products ON id = product GROUP BY order_id) SELECT name, SUM(total) AS s FROM customers c "
            "JOIN orders o ON o.customer = c.id JOIN spent ON spent.order_id = o.id GROUP BY name ORDER BY s DESC",
        ),
        (
            # the order is the other way round
            "SELECT c.name, SUM(l.quantity * p.price) FROM customers c JOIN orders o ON o.customer = c.id "
            "JOIN lines l ON l.order_id = o.id JOIN products p ON p.id = l.product GROUP BY c.name ORDER BY 2",
            # equal lines counted once
            "SELECT name, SUM(x) FROM (SELECT DISTINCT c.name, o.id, l.quantity * p.price AS x FROM customers c "
            "JOIN orders o ON o.customer = c.id JOIN lines l ON l.order_id = o.id JOIN products p "
            "ON p.id = l.product) t GROUP BY name ORDER BY 2 DESC",
        ),
    ),
    "orders per customer, those without included": Question(
        "SELECT c.name, COUNT(o.id) FROM customers c LEFT JOIN orders o ON o.customer = c.id GROUP BY c.id, c.name",
        ("SELECT name, (SELECT COUNT(*) FROM orders WHERE customer = customers.id) FROM customers",),
        (
            "SELECT c.name, COUNT(*) FROM customers c LEFT JOIN orders o ON o.customer = c.id GROUP BY c.id, c.name",
            "SELECT c.name, COUNT(o.id) FROM customers c JOIN orders o ON o.customer = c.id GROUP BY c.id, c.name",
        ),
    ),
    "customers who never ordered": Question(
        "SELECT name FROM customers c WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.customer = c.id)",
        (
            "SELECT c.name FROM customers c LEFT JOIN orders o ON o.customer = c.id WHERE o.id IS NULL",
            "SELECT name FROM customers WHERE id NOT IN (SELECT customer FROM orders WHERE customer IS NOT NULL)",
        ),
        ("SELECT name FROM customers WHERE id NOT IN (SELECT customer FROM orders)",),  # a NULL among them: no rows
    ),
    "the city of each customer": Question(
        "SELECT name, city FROM customers",
        ("SELECT c.name, c.city FROM customers AS c ORDER BY born",),
        (
            "SELECT name, COALESCE(city, '') FROM customers",
            "SELECT city, name FROM customers",
            "SELECT name, city FROM customers WHERE city IS NOT NULL",
            "SELECT name, city, born FROM customers",
        ),
    ),
    "rank by price within the category": Question(
        "SELECT name, RANK() OVER (PARTITION BY category ORDER BY price DESC) FROM products "
        "WHERE category IS NOT NULL",
        (
            "SELECT p.name, 1 + (SELECT COUNT(*) FROM products q WHERE q.category = p.category "
            "AND q.price > p.price) FROM products p WHERE p.category IS NOT NULL",
        ),
        (
            "SELECT name, RANK() OVER (ORDER BY price DESC) FROM products WHERE category IS NOT NULL",
            "SELECT name, RANK() OVER (PARTITION BY category ORDER BY price) FROM products "
            "WHERE category IS NOT NULL",
        ),
    ),
    "everybody below the top": Question(
        "WITH RECURSIVE below(id, depth) AS (SELECT id, 0 FROM staff WHERE boss IS NULL UNION ALL "
        "SELECT s.id, depth + 1 FROM staff s JOIN below b ON s.boss = b.id) "
        "SELECT name, depth FROM below JOIN staff ON staff.id = below.id WHERE depth > 0",
        (
            "SELECT name, 1 FROM staff WHERE boss = 1 UNION ALL SELECT name, 2 FROM staff "
            "WHERE boss IN (SELECT id FROM staff WHERE boss = 1)",
        ),
        ("SELECT name, 1 FROM staff WHERE boss IS NOT NULL", "SELECT name, 1 FROM staff WHERE boss = 1"),
    ),
    "orders of February 2024": Question(
        "SELECT id, placed FROM orders WHERE placed >= '2024-02-01' AND placed < '2024-03-01'",
        ("SELECT id, placed FROM orders WHERE placed BETWEEN '2024-02-01' AND '2024-02-29'",),
        (
            "SELECT id, placed FROM orders WHERE placed >= '2024-02-01'",
            "SELECT id, placed FROM orders WHERE placed BETWEEN '2024-02-12' AND '2024-02-29'",
        ),
    ),
    "average price of a category": Question(
        "SELECT category, AVG(price) FROM products GROUP BY category HAVING COUNT(*) > 1",
        ("SELECT category, SUM(price) / COUNT(*) FROM products WHERE category IS NOT NULL GROUP BY category",),
        (
            "SELECT category, ROUND(AVG(price), 0) FROM products GROUP BY category HAVING COUNT(*) > 1",
            "SELECT category, AVG(price) FROM products GROUP BY category",
        ),
    ),
    "names of customers and staff": Question(
        "SELECT name FROM customers UNION ALL SELECT name FROM customers",
        ("SELECT a.name FROM customers a, (SELECT 1 AS n UNION ALL SELECT 2) b",),
        ("SELECT name FROM customers UNION SELECT name FROM customers", "SELECT name FROM customers"),
    ),
    "the two dearest products": Question(
        "SELECT name FROM products ORDER BY price DESC LIMIT 2",
        ("SELECT name FROM products WHERE price > 30 ORDER BY price DESC",),
        (
            "SELECT name FROM products WHERE price > 30 ORDER BY price",
            "SELECT name FROM products ORDER BY price DESC LIMIT 3",
            "SELECT 'chair' UNION ALL SELECT 'pen'",
        ),
    ),
    "price bands": Question(
        "SELECT CASE WHEN price < 10 THEN 'low' WHEN price < 50 THEN 'mid' ELSE 'high' END AS band, COUNT(*) "
        "FROM products GROUP BY 1",
        ("SELECT 'low', 1 UNION ALL SELECT 'mid', 3 UNION ALL SELECT 'high', 1",),
        (
            "SELECT CASE WHEN price < 12 THEN 'low' WHEN price <= 39 THEN 'mid' ELSE 'high' END, COUNT(*) "
            "FROM products GROUP BY 1",
        ),
    ),
}

CHANGES = {
    "pay": (
        "UPDATE orders SET paid = 1 WHERE paid = 0",
        ("UPDATE orders SET paid = 1", "UPDATE orders SET paid = 1 WHERE id = 3; SELECT 5"),
        ("UPDATE orders SET paid = 1 WHERE id = 4", "SELECT * FROM orders", "UPDATE orders SET paid = 0"),
    ),
    "forget": (
        "DELETE FROM lines WHERE order_id = 4; DELETE FROM orders WHERE id = 4",
        ("DELETE FROM lines WHERE order_id IN (4); DELETE FROM orders WHERE customer = 3",),
        (
            "DELETE FROM orders WHERE id = 4",
            "DELETE FROM lines WHERE order_id = 4; DELETE FROM orders WHERE id >= 4",
            "BEGIN; DELETE FROM lines WHERE order_id = 4; DELETE FROM orders WHERE id = 4; ROLLBACK",
            "BEGIN; DELETE FROM lines WHERE order_id = 4; DELETE FROM orders WHERE id = 4",
        ),
    ),
    "archive": (
        "CREATE TABLE old (id INTEGER, placed DATE); INSERT INTO old SELECT id, placed FROM orders "
        "WHERE placed < '2024-01-01'",
        ("CREATE TABLE old AS SELECT placed, id FROM orders WHERE placed < '2024-01-01'",),
        (
            "CREATE VIEW old AS SELECT id, placed FROM orders WHERE placed < '2024-01-01'",
            "CREATE TEMPORARY TABLE old AS SELECT id, placed FROM orders WHERE placed < '2024-01-01'",
            "CREATE TABLE old (id INTEGER, placed DATE)",
            "CREATE TABLE old AS SELECT id AS number, placed FROM orders WHERE placed < '2024-01-01'",
        ),
    ),
}


async def all_judged(
    gold: str, candidates: tuple[str, ...], sandbox: Sandbox | None, databases: LiveDatabases | None
) -> list[Verdict]:
    items = [Item(completion=f"```sql\n{sql}\n```", reference={"query": gold}) for sql in candidates]
    return await judged_all(items, sandbox, databases, setup=SHOP)


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
async def test_right_and_wrong_queries(question: Question, dialect: str, request: pytest.FixtureRequest) -> None:
    where = backend(dialect, request)
    verdicts = await all_judged(question.gold, (question.gold, *question.right), *where)
    assert [verdict.score for verdict in verdicts] == [1.0] * len(verdicts), verdicts
    verdicts = await all_judged(question.gold, question.wrong, *where)
    assert [verdict.score for verdict in verdicts] == [0.0] * len(verdicts), verdicts
    assert {verdict.outcome for verdict in verdicts} == {"incorrect"}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
async def test_what_is_left_behind(
    change: tuple[str, tuple[str, ...], tuple[str, ...]], dialect: str, request: pytest.FixtureRequest
) -> None:
    gold, right, wrong = change
    where = backend(dialect, request)
    verdicts = await all_judged(gold, (gold, *right), *where)
    assert [verdict.score for verdict in verdicts] == [1.0] * len(verdicts), verdicts
    assert {verdict.detail["stage"] for verdict in verdicts} == {"state"}
    verdicts = await all_judged(gold, wrong, *where)
    assert [verdict.score for verdict in verdicts] == [0.0] * len(verdicts), verdicts


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
async def test_given_rows_and_state(dialect: str, request: pytest.FixtureRequest) -> None:
    sandbox, databases = backend(dialect, request)

    async def scores(reference: object, *completions: str, **config: Any) -> list[float | None]:
        return [
            (await judged(sql, reference, sandbox=sandbox, databases=databases, setup=SHOP, **config)).score
            for sql in completions
        ]

    rows = {"rows": [[1, "1985-12-10", 1.5, None], [5, None, 1.5, None]]}
    query = "SELECT id, born, 1.5, NULL FROM customers WHERE id IN (1, 5)"
    assert await scores(rows, query, query.replace("1.5", "1"), query.replace("5)", "4)")) == [1.0, 0.0, 0.0]
    assert await scores(rows, query, query.replace("1.5", "'1.5'"), types="strict") == [1.0, 0.0]
    named = {"rows": [{"name": "pen", "price": 1.5}]}
    swapped = "SELECT price, name FROM products WHERE id = 1"
    assert await scores(named, swapped, columns="name") == [1.0]
    assert await scores(named, swapped) == [0.0]
    assert await scores(named, swapped, columns="any") == [1.0]
    state = {"state": {"staff": [{"boss": None, "name": "Top", "id": 1}]}}
    assert await scores(
        state,
        "DELETE FROM staff WHERE id > 1",
        "DELETE FROM staff WHERE boss > 0",
        "DELETE FROM staff",
        "DELETE FROM staff WHERE id > 1; DELETE FROM lines",
        "SELECT 1",
    ) == [1.0, 1.0, 0.0, 0.0, 0.0]
    extra = {"query": "SELECT count(*) FROM notes", "setup": "CREATE TABLE notes (n INTEGER)"}
    assert await scores(extra, "SELECT 0", "SELECT count(*) FROM notes", "SELECT 1") == [1.0, 1.0, 0.0]
    both = {"statements": "DELETE FROM lines WHERE order_id = 1; SELECT count(*) FROM lines"}
    assert await scores(
        both, "DELETE FROM lines WHERE order_id = 1; SELECT 6", "DELETE FROM lines WHERE order_id = 1", compare="both"
    ) == [1.0, 0.0]


def backend(dialect: str, request: pytest.FixtureRequest) -> tuple[Sandbox | None, LiveDatabases | None]:
    """Where a dialect runs."""
    if dialect == "sqlite":
        return request.getfixturevalue("sandbox_for")("sql"), None
    return None, request.getfixturevalue("databases")

"""Scoring SQL in either dialect, and a shop to ask questions of."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sandbox.base import Sandbox
from tests.verifiers.support import InProcessGuard, assert_sound, configured
from verifiers.base import Context, Guard, Item, Verdict
from verifiers.databases import Databases

SHOP = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, city TEXT, born DATE);
CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT, price NUMERIC(8, 2), category TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers (id), placed DATE, paid INTEGER);
CREATE TABLE lines (order_id INTEGER, product INTEGER, quantity INTEGER);
CREATE TABLE staff (id INTEGER PRIMARY KEY, name TEXT, boss INTEGER);
INSERT INTO customers VALUES (1, 'Ada', 'London', '1985-12-10'), (2, 'Alan', 'London', '1992-06-23'),
  (3, 'Grace', 'Arlington', '1990-12-09'), (4, 'Edsger', NULL, '1990-05-11'), (5, 'Barbara', 'Boston', NULL);
INSERT INTO products VALUES (1, 'pen', 1.50, 'paper'), (2, 'book', 12.00, 'paper'), (3, 'lamp', 39.90, 'home'),
  (4, 'chair', 89.00, 'home'), (5, 'gift card', 25.00, NULL);
INSERT INTO orders VALUES (1, 1, '2024-01-05', 1), (2, 1, '2024-02-11', 1), (3, 2, '2024-02-11', 0),
  (4, 3, '2024-03-02', 1), (5, NULL, '2024-03-09', 1), (6, 2, '2023-12-31', 1);
INSERT INTO lines VALUES (1, 1, 10), (1, 2, 1), (2, 3, 1), (3, 4, 2), (4, 2, 2), (4, 2, 2), (5, 5, 1), (6, 1, 4);
INSERT INTO staff VALUES (1, 'Top', NULL), (2, 'Mid', 1), (3, 'Low', 2), (4, 'Also low', 2), (5, 'Side', 1);
"""


FOREVER = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "


async def judged(
    completion: str,
    reference: Any,
    *,
    sandbox: Sandbox | None = None,
    databases: Databases | None = None,
    guard: Guard | None = None,
    **config: Any,
) -> Verdict:
    """The verdict on one completion; PostgreSQL where databases are given."""
    [verdict] = await judged_all(
        [Item(completion=completion, reference=reference)], sandbox, databases, guard, **config
    )
    return verdict


async def judged_all(
    items: Sequence[Item],
    sandbox: Sandbox | None = None,
    databases: Databases | None = None,
    guard: Guard | None = None,
    seconds: float = 60,
    **config: Any,
) -> list[Verdict]:
    """The verdicts on several items."""
    if databases is not None:
        config.setdefault("dialect", "postgresql")
    ctx = Context(time.monotonic() + seconds, guard or InProcessGuard(), sandbox, databases=databases)
    verdicts = await configured("sql", config).verify(items, ctx)
    assert len(verdicts) == len(items)
    for verdict in verdicts:
        assert_sound(verdict)
    return verdicts

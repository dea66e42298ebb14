"""The kind `sql`: whether SQL returns the right rows, or leaves the right contents behind."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, TypeAdapter

from verifiers.base import (
    BadItemError,
    ConfigError,
    Context,
    Example,
    GivingWay,
    Item,
    Verdict,
    clip,
    past_deadline,
    register,
)
from verifiers.sql.config import SqlConfig
from verifiers.sql.expected import Asked, Kept, asked
from verifiers.sql.extract import candidate
from verifiers.sql.fixture import Fixture
from verifiers.sql.reference import REFERENCE, is_large, is_sendable, read_reference
from verifiers.sql.sqltext import makes_moments

AT_ONCE = 64
"""Fixtures of one batch that are worked on at a time."""

_SHOP = (
    "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, city TEXT);\n"
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, total REAL, paid INTEGER);\n"
    "INSERT INTO customers VALUES (1, 'Ada', 'London'), (2, 'Alan', 'London'), (3, 'Grace', NULL);\n"
    "INSERT INTO orders VALUES (1, 1, 20.0, 1), (2, 1, 5.5, 0), (3, 2, 12.0, 1);"
)
_WITH_SHOP = {"setup": _SHOP}
_TOTALS = {
    "query": "SELECT c.name, sum(o.total) FROM customers c JOIN orders o ON o.customer = c.id "
    "GROUP BY c.name ORDER BY 2 DESC"
}


@register
class Sql:
    """Run the SQL in the completion on a fixture, and compare the rows it returns or the contents it leaves behind.

    **Where the SQL is found.** In the last code block marked `sql` (`sqlite`, `postgresql`, `postgres`, `psql`,
    `plpgsql`), else in the last code block, else the whole text; in each case after any thinking part. It may be
    several statements: the rows are those of the last one that returns any.

    **What it runs on.** A database of its own, made by `setup` and then by the reference's `setup`, if it has one.
    With `dialect: sqlite` that is a database in memory, in the sandbox. With `dialect: postgresql` it is a throw-away
    database on a PostgreSQL that holds nothing else, of a role that owns it and can do nothing else; see
    [the settings](../settings.md). The gold query runs on a copy of its own, once for each distinct pair of fixture
    and query, so nothing that a candidate does can reach it. The kind as a whole needs the sandbox.

    **The reference** is one of

    - `{"query": "SELECT ..."}`: the rows must be those that this gold query returns. Where it is a statement that
      changes data (INSERT, UPDATE, DELETE, CREATE and so on), all tables must end up as it leaves them.
    - `{"rows": [[1, "a"], [2, null]]}`: the rows themselves, as lists or as objects by the names of columns. Dates,
      times and other types are text; bytes are `{"hex": "00ff"}`.
    - `{"statements": "UPDATE ..."}`: all tables must end up as these statements leave them.
    - `{"state": {"orders": [{"id": 1, "paid": 1}]}}`: these tables must hold these rows, and all others what the
      fixture gave them.

    **How rows are compared.** As many columns, as many rows, each row as often as it is expected: `1, 1, 2` is not
    `1, 2`. NULL equals NULL only, NaN equals NaN, bytes are never text, 0 equals -0. The order counts where the gold
    query orders its rows (`ordered`). An empty result is a result: choose fixtures on which the right query returns
    rows, and right statements change some. `types`, `columns` and `tolerance` say the rest.

    **How contents are compared.** Tables by name, their columns by name, their rows without order; temporary tables,
    views, indexes and what was not committed do not count. `compare: both` asks for the right rows as well.

    **Verdict stages.** `extract`: there is no SQL. `run`: it did not run to its end; `fault` says how. SQL that the
    database refuses as wrong scores 0 as `incorrect`; what it may not do, such as ATTACH, COPY to a file, reading
    files, `pg_sleep`, `random`, is `rejected`; `timeout`, `memory_exceeded` and `output_exceeded` (too many rows) are
    its own doing too. `rows`, `state`: it was compared, and `why` says what differs. A fixture or a gold query that
    fails, or that breaks a limit, is `bad_item`: a fault of the item, and never the candidate's.

    **Time.** Verdicts on SQL that asks for the time (`now`, `CURRENT_DATE`) are not cached. Where fixture or gold ask
    for it, as a column with `DEFAULT CURRENT_TIMESTAMP` does, and a candidate differs, the gold is run again: if it
    then differs from itself, the item is `bad_item`. Give such columns fixed values, in the gold statements too.

    **Limits.** 100,000 characters of SQL; `limits` for time, rows and memory.
    """

    kind: ClassVar[str] = "sql"
    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    cache: ClassVar[Literal["none", "memory"]] = "memory"
    Config: ClassVar[type[BaseModel]] = SqlConfig
    reference: ClassVar[TypeAdapter[Any]] = REFERENCE
    examples: ClassVar[Sequence[Example]] = (
        Example(Item(completion="```sql\nSELECT 6 * 7\n```", reference={"rows": [[42]]}), 1.0),
        Example(Item(completion="SELECT 6 + 7", reference={"query": "SELECT 42"}), 0.0),
        Example(
            Item(
                completion="Totals by customer, largest first:\n```sql\n"
                "WITH sums AS (SELECT customer, sum(total) AS spent FROM orders GROUP BY customer)\n"
                "SELECT name, spent FROM sums JOIN customers ON customers.id = customer ORDER BY spent DESC;\n```",
                reference=_TOTALS,
            ),
            1.0,
            _WITH_SHOP,
        ),
        Example(
            Item(
                completion="```sql\nSELECT name, sum(total) FROM customers, orders GROUP BY 1 ORDER BY 2 DESC\n```",
                reference=_TOTALS,
            ),
            0.0,
            _WITH_SHOP,
        ),
        Example(
            Item(
                completion="```sql\nDELETE FROM orders WHERE paid = 0;\n```",
                reference={"statements": "DELETE FROM orders WHERE NOT paid"},
            ),
            1.0,
            _WITH_SHOP,
        ),
        Example(
            Item(
                completion="```sql\nUPDATE customers SET city = 'Paris';\n```",
                reference={
                    "state": {
                        "customers": [
                            {"id": 1, "name": "Ada", "city": "London"},
                            {"id": 2, "name": "Alan", "city": "London"},
                            {"id": 3, "name": "Grace", "city": "Paris"},
                        ]
                    }
                },
            ),
            0.0,
            _WITH_SHOP,
        ),
    )
    guarded: ClassVar[Sequence[str]] = ("verifiers.sql.judging",)
    sandboxed: ClassVar[bool] = True

    def __init__(self, config: SqlConfig) -> None:
        if not is_sendable(config.setup):
            raise ConfigError("holds NUL, or half of a surrogate pair, which no SQL can", "/setup")
        self._config = config
        self._of_moment = makes_moments(config.setup)
        self._kept = Kept()

    async def verify(self, items: Sequence[Item], ctx: Context) -> list[Verdict]:
        """One verdict per item, in order. Items of one fixture are run together, each on a copy of its own."""
        verdicts: list[Verdict | None] = [None] * len(items)
        asks: dict[int, Asked] = {}
        candidates: dict[int, str] = {}
        by_setup: defaultdict[str, list[int]] = defaultdict(list)
        turn = GivingWay()
        for index, item in enumerate(items):
            if await turn.over() > ctx.deadline:
                verdicts[index] = past_deadline()
                continue
            try:
                asks[index] = ask = await self._asked(item.reference)
            except BadItemError as error:
                verdicts[index] = Verdict.bad_item(clip(str(error), 500))
                continue
            found = candidate(item)
            if isinstance(found, Verdict):
                verdicts[index] = found
            else:
                candidates[index] = found
                by_setup[ask.setup].append(index)
        room = asyncio.Semaphore(AT_ONCE)

        async def work(setup: str, indices: list[int]) -> None:
            async with room:
                fixture = Fixture(setup, self._config, self._kept, ctx)
                found = await fixture.verdicts([(asks[index], candidates[index]) for index in indices])
                for index, verdict in zip(indices, found, strict=True):
                    verdicts[index] = verdict

        await asyncio.gather(*(work(setup, indices) for setup, indices in by_setup.items()))
        return [verdict or past_deadline() for verdict in verdicts]

    async def _asked(self, reference: Any) -> Asked:
        def read() -> Asked:
            return asked(read_reference(reference), self._config, of_moment=self._of_moment)

        return await asyncio.to_thread(read) if is_large(reference) else read()

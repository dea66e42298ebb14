"""SQLite in the sandbox, in each of its backends: what candidates may not do, and what bounds them."""

from __future__ import annotations

import time

import pytest

from sandbox.base import Sandbox
from tests.verifiers.sql.support import FOREVER, SHOP, judged, judged_all
from verifiers.base import Item, Outcome

DOUBLING = "WITH RECURSIVE c(x) AS (SELECT printf('%.1000c', 'x') UNION ALL SELECT x || x FROM c) "
REFUSED = {
    "another file": "ATTACH DATABASE '/tmp/x.db' AS x",
    "the file of the cell": "ATTACH DATABASE 'setup.sql' AS x",
    "a copy to a file": "VACUUM INTO '/tmp/x.db'",
    "detaching": "DETACH DATABASE main",
    "an extension": "SELECT load_extension('/lib/x.so')",
    "a file by the shell's functions": "SELECT writefile('/tmp/x', 'y')",
    "a virtual table": "CREATE VIRTUAL TABLE f USING fts5(x)",
    "a writable schema": "PRAGMA writable_schema = ON",
    "another limit of memory": "PRAGMA hard_heap_limit = 0",
    "more threads": "PRAGMA threads = 8",
    "trust in the schema": "PRAGMA trusted_schema = ON",
    "a folder for files": "PRAGMA temp_store_directory = '/tmp'",
    "chance": "SELECT random()",
    "chance in a view": "CREATE VIEW v AS SELECT abs(random()) AS r; SELECT r FROM v",
    "the tokenizer's pointer": "SELECT fts3_tokenizer('simple')",
    "a pragma as a table": "SELECT * FROM pragma_writable_schema",
}


@pytest.mark.parametrize("sql", REFUSED.values(), ids=REFUSED)
async def test_it_is_refused(sandbox: Sandbox, sql: str) -> None:
    verdict = await judged(sql, {"rows": [[1]]}, sandbox=sandbox)
    assert verdict.score == 0.0
    known = "no such" in verdict.detail["error"]  # not every SQLite has every function
    assert verdict.outcome == (Outcome.INCORRECT if known else Outcome.REJECTED), verdict.detail
    assert known or verdict.detail["error"].endswith("is refused")


@pytest.mark.parametrize(
    ("sql", "outcome"),
    [
        (FOREVER + "SELECT count(*) FROM c", "timeout"),
        (FOREVER + "SELECT x FROM c", "output_exceeded"),
        ("SELECT count(*) FROM big a, big b, big c, big d", "timeout"),
        ("SELECT a.x FROM big a, big b", "output_exceeded"),
        ("SELECT group_concat(a.x) FROM big a, big b, big c", "timeout"),
        (DOUBLING + "SELECT length(x) FROM c", "memory_exceeded"),
        ("SELECT printf('%.*c', 3000000, 'x')", "output_exceeded"),
        ("SELECT zeroblob(3000000)", "output_exceeded"),
        ("SELECT zeroblob(2000000000)", "incorrect"),
        ("CREATE TABLE t (a); " + FOREVER + "INSERT INTO t SELECT randomblob(1000) FROM c", "rejected"),
        ("CREATE TABLE t (a); " + FOREVER + "INSERT INTO t SELECT zeroblob(100000) FROM c", "memory_exceeded"),
        ("SELECT like(printf('%.*c', 40000, '%') || 'b', printf('%.*c', 40000, 'a'))", "timeout"),
    ],
)  # fmt: skip
async def test_it_is_bounded(sandbox: Sandbox, sql: str, outcome: str) -> None:
    setup = "CREATE TABLE big (x); WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 1000) " \
            "INSERT INTO big SELECT x FROM c"  # fmt: skip
    limits = {"cpu_s": 0.5, "rows": 2_000, "memory_mb": 32, "result_kb": 1_024}
    began = time.monotonic()
    found = await judged_all(
        [Item(completion=text, reference={"rows": [[1]]}) for text in (sql, "SELECT 1")],
        sandbox,
        setup=setup,
        limits=limits,
    )
    assert [found[0].score, found[1].score] == [0.0, 1.0]
    assert found[0].outcome in (outcome, "incorrect" if outcome == "timeout" and "like(" in sql else outcome)
    assert time.monotonic() - began < 40


async def test_candidates_cannot_see_each_other_or_the_gold(sandbox: Sandbox) -> None:
    spoils = "CREATE TABLE gold AS SELECT 1; DROP TABLE orders; UPDATE staff SET name = 'x'"
    items = [
        Item(
            completion=sql, reference={"query": "SELECT (SELECT count(*) FROM orders), (SELECT min(name) FROM staff)"}
        )
        for sql in (spoils, "SELECT 6, 'Also low'", spoils, "SELECT count(*), min(name) FROM staff, sqlite_schema")
    ]
    verdicts = await judged_all(items, sandbox, setup=SHOP)
    assert [verdict.score for verdict in verdicts] == [0.0, 1.0, 0.0, 0.0]
    names = "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1)"
    [found] = await judged_all(
        [Item(completion=names, reference={"rows": [["customers,lines,orders,products,staff"]]})], sandbox, setup=SHOP
    )
    assert found.score == 1.0, "nothing but the fixture is there"


async def test_values_come_out_as_they_are(sandbox: Sandbox) -> None:
    sql = "SELECT NULL, 1, -9223372036854775808, 1.5, 9e999, 'é' || char(0) || char(128512), x'00ff', ''"
    row = [None, 1, -(2**63), 1.5, "inf", "é\0😀", {"hex": "00ff"}, ""]
    verdict = await judged(sql, {"rows": [row]}, sandbox=sandbox, types="strict")
    assert verdict.score == 0.0, "text is no number"
    for wrong, right in ((sql.replace("9e999", "'inf'"), 1.0), (sql.replace("9e999, 'é'", "'inf', 'e'"), 0.0)):
        assert (await judged(wrong, {"rows": [row]}, sandbox=sandbox, types="strict")).score == right
    verdict = await judged(sql, {"query": sql}, sandbox=sandbox, types="strict")
    assert verdict.score == 1.0


async def test_dumps_are_fixtures(sandbox: Sandbox) -> None:
    setup = (
        "PRAGMA foreign_keys=OFF; PRAGMA journal_mode=WAL;\nBEGIN TRANSACTION;\nCREATE TABLE \"t;\" (a, b TEXT);\r\n"
        "INSERT INTO \"t;\" VALUES(1,'x;y''z\r\n');\nCREATE TRIGGER g AFTER INSERT ON \"t;\" "
        "BEGIN SELECT 1; END;\nCOMMIT;"
    )  # fmt: skip
    verdict = await judged('SELECT b FROM "t;"', {"rows": [["x;y'z\r\n"]]}, sandbox=sandbox, setup=setup)
    assert verdict.score == 1.0, verdict.detail


async def test_a_trigger_is_one_statement_of_a_candidate(sandbox: Sandbox) -> None:
    sql = (
        "CREATE TRIGGER g AFTER INSERT ON t BEGIN UPDATE t SET a = a + 1; END; INSERT INTO t VALUES (1); "
        "SELECT a FROM t"
    )
    verdict = await judged(sql, {"rows": [[2]]}, sandbox=sandbox, setup="CREATE TABLE t (a)")
    assert verdict.score == 1.0, verdict.detail

"""Where the SQL of a completion is found."""

from __future__ import annotations

import pytest

from verifiers.base import Item, Message, Verdict
from verifiers.sql.extract import MAX_CHARS, candidate


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("SELECT 1", "SELECT 1"),
        ("  SELECT 1;\n", "SELECT 1;"),
        ("Here:\n```sql\nSELECT 1\n```\nDone.", "SELECT 1"),
        ("```sql\nSELECT 1\n```\n```sql\nSELECT 2\n```", "SELECT 2"),
        ("```sql\nSELECT 1\n```\n```\n3 rows\n```", "SELECT 1"),
        ("```SQLite\nSELECT 1\n```\n```python\nprint()\n```", "SELECT 1"),
        ("```postgresql\nSELECT 1\n```", "SELECT 1"),
        ("```\nSELECT 1\n```\n```\nSELECT 2\n```", "SELECT 2"),
        ("~~~sql\nSELECT 1\n~~~", "SELECT 1"),
        ("```sql\nSELECT 1", "SELECT 1"),
        ("<think>\n```sql\nSELECT 1\n```\n</think>\n```sql\nSELECT 2\n```", "SELECT 2"),
        ("<think>```sql\nSELECT 1\n```</think>SELECT 2", "SELECT 2"),
        ("SELECT '```'", "SELECT '```'"),
        ("SELECT 'é'", "SELECT 'é'"),
    ],
)
def test_where_it_is_found(text: str, sql: str) -> None:
    assert candidate(Item(completion=text)) == sql
    assert candidate(Item(completion=[Message(role="assistant", content=text)])) == sql


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("", "unparseable"),
        ("   \n", "unparseable"),
        ("```sql\n```", "unparseable"),
        ("<think>SELECT 1", "unparseable"),
        ("</think>", "unparseable"),
        ("SELECT '\0'", "unparseable"),
        ("SELECT '\ud800'", "unparseable"),
        ("SELECT 1" + " " * MAX_CHARS + ";", "output_exceeded"),
        ("x" * 1_000_001, "output_exceeded"),
        ("```\n" * 10_001, "rejected"),
    ],
)
def test_where_there_is_none(text: str, outcome: str) -> None:
    verdict = candidate(Item(completion=text))
    assert isinstance(verdict, Verdict)
    assert (verdict.outcome, verdict.score, verdict.detail["stage"]) == (outcome, 0.0, "extract")

"""Hostile items against real guarded workers: an outcome for each, and the next item unharmed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from app.guarded.pool import GuardedPool
from tests.verifiers.support import assert_sound, configured, score_all
from verifiers import direct
from verifiers.base import GuardLimits, Item, load_kinds
from verifiers.json_schema import MAX_JSON_CHARS

pytestmark = pytest.mark.asyncio(loop_scope="module")

CATASTROPHIC = r"^(a|aa)+\1{2}[bc]$"
EXPONENTIAL = {
    "$defs": {
        "d0": {"type": "string"},
        **{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2} for n in range(1, 40)},
    },
    "$ref": "#/$defs/d39",
}
LONG = 4_000_000


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pool() -> AsyncIterator[GuardedPool]:
    modules = {module for kind in load_kinds().values() for module in kind.guarded if ".math" not in module}
    pool = GuardedPool(1, sorted(modules))
    await pool.start()
    yield pool
    await pool.close()


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "LIMITS", GuardLimits(cpu_s=0.5))


@pytest.mark.parametrize(
    ("kind", "config", "completion", "reference", "outcome"),
    [
        ("text", {"unicode": "NFC"}, "e" + "\u0301" * 100_000 + "\u0323" * 100_000, "e", "timeout"),
        ("text", {"unicode": "NFKC", "ignore_case": True}, "\ufdfa" * 20_000, "e", "incorrect"),
        ("text", {}, "\ud800\x00" * (LONG // 2), "\ud800\x00", "incorrect"),
        ("text", {"mode": "contains"}, "ab" * (LONG // 2), "b" * 40_000, "incorrect"),
        ("text", {"mode": "levenshtein"}, "ab" * LONG, "ba", "output_exceeded"),
        ("text", {"mode": "contains", "whole_words": True}, "a" * 100_000, "a" * 200, "incorrect"),
        ("regex", {"pattern": CATASTROPHIC}, "a" * 1_000, None, "timeout"),
        ("regex", {"pattern": CATASTROPHIC, "negate": True}, "a" * 1_000, None, "timeout"),
        ("regex", {}, "a" * 1_000, CATASTROPHIC, "timeout"),
        ("text", {"tag": "a"}, "<a>" * (LONG // 3), "e", "unparseable"),
        ("text", {"tag": "a"}, "<a></a>" * (LONG // 400), "e", "incorrect"),
        ("text", {"tag": "a"}, "".join(f"<a>{n}</a>" for n in range(LONG // 400)), "e", "rejected"),
        ("text", {"mode": "chrf"}, "ab" * LONG, "ba", "output_exceeded"),
        ("text", {"mode": "chrf"}, "ab" * 40_000, ["ba" * 10_000], "scored"),
        ("text", {"mode": "bleu"}, "a " * 200_000, ["a " * 10_000] * 2, "scored"),
        ("text", {"mode": "gleu"}, "\ud800 " * 200_000, ["a b"] * 1_000, "scored"),
        ("regex", {"pattern": "(a).*b|(a)", "group": 1, "several": "last"}, "a" * 200_000, "a", "timeout"),
        ("regex", {"pattern": "(a).*b|(a)", "group": 1}, "a" * 5_000 + "b", "a", "correct"),
        ("regex", {"pattern": CATASTROPHIC, "group": 1}, "a" * 1_000, "a", "timeout"),
        ("regex", {"pattern": "a*", "min_count": 10_000}, "é" * LONG, None, "timeout"),
        ("regex", {"pattern": "a", "min_count": 10_000}, "a" * LONG, None, "correct"),
        ("regex", {"pattern": "(a+)+$"}, "a" * 2**20 + "!", None, "incorrect"),
        ("regex", {"pattern": r"(?:[01]*1[01]{12}){2}2$"}, "01" * 2**18, None, "incorrect"),
        ("regex", {"pattern": "^.*$", "flags": "s"}, "\ud800" * (LONG // 10), None, "correct"),
        ("json_schema", {"schema": EXPONENTIAL}, '"a"', None, "timeout"),
        ("json_schema", {"schema": {"not": {"pattern": CATASTROPHIC}}}, '"' + "a" * 100 + '"', None, "timeout"),
        ("json_schema", {"schema": True}, "[" * MAX_JSON_CHARS, None, "unparseable"),
        ("json_schema", {"schema": True}, '"' + "\\u0000" * 300_000 + '"', None, "correct"),
        ("json_schema", {"schema": True}, "9" * MAX_JSON_CHARS, None, "unparseable"),
        ("json_schema", {"schema": True}, '"' + "\\" * (MAX_JSON_CHARS - 1), None, "unparseable"),
        ("json_schema", {"schema": True}, "[" * 65 + '\\"' * 900_000, None, "unparseable"),
        ("json_schema", {"schema": True, "from": "last_object"}, "{" * 60 + '\\"' * 900_000, None, "unparseable"),
        ("json_schema", {"schema": True}, "1" * (MAX_JSON_CHARS + 1), None, "output_exceeded"),
        ("json_schema", {"schema": True, "from": "last_object"}, "{ " * 500_000, None, "unparseable"),
        ("json_schema", {"schema": True, "from": "last_object"}, '{"a": x} ' * 20_000 + "{}", None, "correct"),
        ("json_schema", {"schema": True, "from": "fenced"}, "```\n" * 100_000, None, "unparseable"),
        (
            "json_schema",
            {"schema": True, "equal": "all", "arrays": "unordered"},
            json.dumps([n * (2**61 - 1) for n in range(60_000)]),
            list(range(60_000)),
            "timeout",
        ),
        (
            "json_schema",
            {"schema": True, "equal": "all", "arrays": "unordered"},
            "[" * 60 + "]" * 60,
            [[[1]]],
            "incorrect",
        ),
        (
            "json_schema",
            {"schema": True, "equal": "fraction", "fields": "leaves"},
            json.dumps({str(n): {"a": n} for n in range(10_000)}),
            {"1": {"a": 1}},
            "partial",
        ),
        ("json_schema", {"schema": True, "equal": "all", "tolerance": 0.1}, "9" * 1_000, 1e308, "incorrect"),
        ("format", {}, "<think>" * (LONG // 7), None, "incorrect"),
        ("format", {"sections": [{"name": "a", "max": None}]}, "<a>e</a>" * (LONG // 80), None, "correct"),
        ("format", {"sections": [{"name": "a", "max": None}], "lines": True}, "<a>e</a>" * 10_000, None, "incorrect"),
        ("format", {"reward": "markers"}, "</think>" * (LONG // 8), None, "incorrect"),
        ("length", {"unit": "words", "max": None}, "a " * 1_000_000, None, "scored"),
        ("repetition", {}, "a " * 100_000, None, "scored"),
        ("repetition", {}, "a" * LONG, None, "output_exceeded"),
        ("repetition", {"ignore_case": True}, "\u0130" * 900_000, None, "scored"),
    ],
)
async def test_a_hostile_item_gets_an_outcome_and_harms_no_neighbour(
    pool: GuardedPool, kind: str, config: dict[str, Any], completion: str, reference: Any, outcome: str
) -> None:
    verifier = configured(kind, config)
    hostile = Item(completion=completion, reference=reference)
    tame = Item(completion="e", reference=reference)
    before, verdict, after = await score_all(verifier, [tame, hostile, tame], pool)
    assert verdict.outcome == outcome
    assert verdict.score is not None
    assert before == after
    for each in (before, verdict):
        assert_sound(each)
    assert before.score is not None

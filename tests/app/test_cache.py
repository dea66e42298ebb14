"""Verdicts kept in memory."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cache import VerdictCache
from verifiers.base import ErrorType, Outcome, Step, Verdict, past_deadline

GOOD = Verdict.binary(True, "exact")


def key(number: int) -> bytes:
    return number.to_bytes(24, "big")


def test_what_is_put_is_got() -> None:
    cache = VerdictCache(1)
    assert cache.get(key(1)) is None
    cache.put(key(1), GOOD)
    assert cache.get(key(1)) is GOOD
    assert cache.get(key(2)) is None


def test_the_newest_verdict_of_a_key_counts() -> None:
    cache = VerdictCache(1)
    cache.put(key(1), GOOD)
    other = Verdict.binary(False, "exact")
    cache.put(key(1), other)
    assert cache.get(key(1)) is other
    assert len(cache) == 1


@pytest.mark.parametrize(
    "verdict",
    [
        past_deadline(),
        Verdict.bad_item("no reference"),
        *(Verdict.unscored(type, "x", retryable=True) for type in ErrorType),
        Verdict(Outcome.PENDING, None),
        Verdict(Outcome.TIMEOUT, 0.0, transient=True),
        Verdict(Outcome.CORRECT, 1.0, {"quoted": "x" * 10**6}),
    ],
    ids=lambda verdict: f"{verdict.outcome}-{verdict.error.type if verdict.error else ''}",
)
def test_what_depends_on_the_moment_is_not_kept(verdict: Verdict) -> None:
    cache = VerdictCache(4)
    cache.put(key(1), verdict)
    assert cache.get(key(1)) is None
    assert len(cache) == 0


def test_the_least_recently_used_goes_first() -> None:
    cache = VerdictCache(1)
    cache.put(key(0), GOOD)
    number = 0
    while len(cache) == number + 1:
        number += 1
        cache.put(key(number), GOOD)
        cache.get(key(0))
    assert number > 100
    assert cache.get(key(0)) is GOOD
    assert cache.get(key(1)) is None
    assert cache.get(key(number)) is GOOD


def test_no_memory_keeps_nothing() -> None:
    cache = VerdictCache(0)
    cache.put(key(1), GOOD)
    assert len(cache) == 0


DETAILS: dict[str, Any] = {
    "small": {"stage": "rational"},
    "quoted": {"stage": "cas", "found": "x" * 200, "expected": "y" * 200},
    "wide": {"stage": "cas", "found": "𝔵" * 200},
    "numbers": {"stage": "parts", "positions": list(range(1000, 1100))},
    "nested": {"stage": "parts", "faults": [{"at": i, "why": "missing"} for i in range(20)]},
}


@pytest.mark.parametrize("name", DETAILS)
def test_the_memory_taken_stays_within_what_was_given(name: str) -> None:
    def fresh(number: int) -> Verdict:
        detail = {part: _copied(value) for part, value in DETAILS[name].items()}
        return Verdict(Outcome.CORRECT, float(number), detail, steps=(Step(1.0, 0, 1),))

    cache = VerdictCache(2)
    tracemalloc.start()
    try:
        for number in range(6000):
            cache.put(key(number), fresh(number))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(cache) < 6000
    assert taken < 1.5 * 2 * 2**20  # sizes are estimates


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_copied(part) for part in value]
    return value + 0 if isinstance(value, int) else (value + " ")[:-1]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 60_000)), max_size=120))
def test_a_cache_holds_the_latest_of_what_fits(puts: list[tuple[int, int]]) -> None:
    cache = VerdictCache(1)
    latest: dict[int, Verdict] = {}
    for number, size in puts:
        latest[number] = Verdict(Outcome.CORRECT, 1.0, {"found": "x" * size})
        cache.put(key(number), latest[number])
        assert cache.get(key(number)) is latest[number]
    for number, verdict in latest.items():
        assert cache.get(key(number)) in (None, verdict)
    if sum(2000 + len(v.detail["found"]) for v in latest.values()) < 2**20:
        assert len(cache) == len(latest)

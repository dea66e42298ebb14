"""Requests and tokens per minute."""

from __future__ import annotations

import asyncio
import time

import pytest

from app.backends.rates import Bucket, Rates, TooLateError


def test_a_bucket_holds_a_minute_and_fills_evenly() -> None:
    bucket = Bucket(600)
    assert [bucket.take(1) for _ in range(600)] == [0.0] * 600
    waits = [bucket.take(1) for _ in range(10)]
    assert waits == pytest.approx([0.1 * n for n in range(1, 11)], abs=0.05)


def test_what_no_bucket_holds_comes_when_it_is_full() -> None:
    bucket = Bucket(600)
    assert bucket.take(10_000) == 0.0
    assert bucket.take(10_000) == pytest.approx(60.0, abs=0.1)


def test_less_than_one_a_minute_is_slow_and_not_free() -> None:
    bucket = Bucket(0.5)
    assert bucket.take(1) == 0.0
    assert bucket.take(1) == pytest.approx(120.0, abs=0.1)


async def admitted(rates: Rates, tokens: int = 0, seconds: float = 5.0) -> float:
    started = time.monotonic()
    await rates.admit(tokens, started + seconds)
    return time.monotonic() - started


async def test_a_request_waits_for_its_turn() -> None:
    rates = Rates(requests=600, tokens=None, workers=2)
    for _ in range(300):
        assert await admitted(rates) < 0.1
    assert 0.1 < await admitted(rates) < 1.0
    waited = sorted(await asyncio.gather(*(admitted(rates) for _ in range(4))))
    assert waited[-1] == pytest.approx(0.8, abs=0.3)


async def test_what_comes_too_late_is_told_at_once_and_takes_nothing() -> None:
    rates = Rates(requests=60, tokens=6_000, workers=1)
    assert await admitted(rates, 6_000) < 0.1
    started = time.monotonic()
    for _ in range(500):
        with pytest.raises(TooLateError):
            await rates.admit(1_000, started + 5)
    assert time.monotonic() - started < 1.0
    assert await admitted(rates, 100) < 2.0


async def test_who_stops_waiting_gives_back_what_it_took() -> None:
    rates = Rates(requests=None, tokens=6_000, workers=1)
    await admitted(rates, 6_000)
    waiting = [asyncio.create_task(admitted(rates, 3_000, 600)) for _ in range(5)]
    await asyncio.sleep(0.05)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await admitted(rates, 100) < 2.0


async def test_what_was_used_counts_in_the_end() -> None:
    rates = Rates(requests=None, tokens=6_000, workers=1)
    await admitted(rates, 6_000)
    rates.settle(6_000, 500)
    assert await admitted(rates, 5_000) < 0.1
    rates.settle(5_000, 5_300)
    with pytest.raises(TooLateError):
        await rates.admit(500, time.monotonic() + 1)
    rates.settle(10**9, 0)  # no more than was taken comes back
    assert await admitted(rates, 6_000, 5) < 5


async def test_without_limits_nobody_waits() -> None:
    rates = Rates(None, None, 1)
    assert not rates.count_tokens
    for _ in range(1_000):
        await rates.admit(10**9, time.monotonic())

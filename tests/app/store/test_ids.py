"""Ids that sort by time."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store import ids
from app.store.ids import first_uuid7_at, time_of, uuid7, uuid7s

moments = st.integers(0, 253_402_300_799_999_999).map(
    lambda us: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
)
"""Every moment that an id of this service can hold."""


@given(st.integers(1, 5000))
def test_ids_of_one_call_are_version_7_and_ascend(count: int) -> None:
    made = uuid7s(count)
    assert len(made) == count
    assert all(id.version == 7 and id.variant == RFC_4122 for id in made)
    assert all(earlier < later for earlier, later in pairwise(made))


@given(st.lists(st.integers(1, 200), min_size=2, max_size=20))
def test_ids_ascend_from_call_to_call(counts: list[int]) -> None:
    made = [id for count in counts for id in uuid7s(count)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_ids_ascend_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = uuid7()
    an_hour_ago = time.time_ns() - 3600 * 10**9
    monkeypatch.setattr("app.store.ids.time.time_ns", lambda: an_hour_ago)
    assert uuid7() > before


def test_ids_made_in_one_instant_differ_in_more_than_their_count(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two processes count alike in the same microsecond: only the random bits keep their ids apart.
    moment = time.time_ns()
    monkeypatch.setattr("app.store.ids.time.time_ns", lambda: moment)
    made = []
    for _ in range(1000):
        monkeypatch.setattr(ids, "_last", 0)
        made += uuid7s(1)
    assert len(set(made)) == 1000


def test_ids_of_many_threads_are_unique() -> None:
    made: list[UUID] = []

    def make() -> None:
        for _ in range(200):
            made.extend(uuid7s(3))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == len(made) == 2400


def test_an_id_tells_when_it_was_made() -> None:
    before = datetime.now(UTC)
    made = time_of(uuid7())
    after = datetime.now(UTC)
    # An id may be ahead of the clock by what this process made within the same millisecond.
    assert before - timedelta(milliseconds=1) <= made <= after + timedelta(seconds=2)


@given(moments)
def test_time_survives_the_way_into_an_id_and_out(moment: datetime) -> None:
    assert time_of(first_uuid7_at(moment)) == moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@given(moments, moments)
def test_bounds_order_as_their_moments(one: datetime, other: datetime) -> None:
    earlier, later = sorted((one, other))
    assert first_uuid7_at(earlier) <= first_uuid7_at(later)


def test_the_bound_of_a_moment_is_below_every_id_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2100, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(ids, "_last", 0)  # put back afterwards, or all later ids were of that year
    monkeypatch.setattr("app.store.ids.time.time_ns", lambda: int(moment.timestamp()) * 10**9)
    made = uuid7()
    assert time_of(made) == moment
    assert first_uuid7_at(moment) <= made < first_uuid7_at(moment + timedelta(milliseconds=1))


def test_moments_that_no_id_can_hold_are_bounds_too() -> None:
    assert first_uuid7_at(datetime(1900, 1, 1, tzinfo=UTC)) == UUID(int=0)
    assert first_uuid7_at(datetime.max.replace(tzinfo=UTC)) > uuid7()

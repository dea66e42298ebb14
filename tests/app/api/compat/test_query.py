"""The query of reward endpoints."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from app.api.compat.openrlhf import OpenRLHFQuery
from app.api.compat.query import RewardQuery, query_of
from app.errors import Problem


def request(query: bytes) -> Request:
    return Request({"type": "http", "query_string": query})


def test_nothing_is_asked_by_default() -> None:
    assert query_of(request(b""), RewardQuery) == RewardQuery(fallback=None, deadline_s=None, run=None)


def test_what_is_not_known_is_passed_over() -> None:
    assert query_of(request(b"key=k&x=1&fallback=0.5"), RewardQuery).fallback == 0.5


def test_of_a_parameter_sent_twice_the_last_counts_unless_it_is_a_list() -> None:
    query = query_of(request(b"fallback=1&fallback=0&eos=a&eos=%3Cb%3E"), OpenRLHFQuery)
    assert (query.fallback, query.eos) == (0.0, ("a", "<b>"))


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        (b"fallback=", "/fallback"),
        (b"fallback=nan", "/fallback"),
        (b"fallback=-1e7", "/fallback"),
        (b"deadline_s=601", "/deadline_s"),
        (b"run=", "/run"),
        (b"run=a%0Ab", "/run"),
        (b"run=" + b"x" * 201, "/run"),
        (b"fallback=%ff", "/fallback"),
    ],
)
def test_what_is_not_acceptable_is_named(query: bytes, pointer: str) -> None:
    with pytest.raises(Problem) as caught:
        query_of(request(query), RewardQuery)
    assert (caught.value.name, caught.value.pointer) == ("invalid-parameter", pointer)

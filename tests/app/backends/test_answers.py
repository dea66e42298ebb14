"""Answers that are kept."""

from __future__ import annotations

import pytest

from app.backends.answers import ENTRY_BYTES, Answers
from verifiers.chat import ChatAnswer, Token


def key(n: int) -> bytes:
    return n.to_bytes(32, "big")


def test_the_least_recently_used_goes_first() -> None:
    kept = Answers(3 * (ENTRY_BYTES + 4))
    for n in range(3):
        kept.put(key(n), ChatAnswer(str(n), "stop"))
    assert kept.get(key(0)) == ChatAnswer("0", "stop")
    kept.put(key(3), ChatAnswer("3", "stop"))
    assert [kept.get(key(n)) is not None for n in range(4)] == [True, False, True, True]
    kept.put(key(3), ChatAnswer("4", "stop"))
    assert len(kept) == 3


def test_they_are_bounded_by_what_they_take() -> None:
    kept = Answers(1_000_000)
    token = Token("a", -1.0, (("a", -1.0),) * 20)
    for n in range(5_000):
        kept.put(key(n), ChatAnswer("x" * (n % 3_000), "stop", tokens=(token,) * (n % 4)))
    assert 50 < len(kept) < 1_000_000 // ENTRY_BYTES
    kept.put(key(0), ChatAnswer("x" * 100_000, "stop"))
    assert kept.get(key(0)) is None


@pytest.mark.parametrize(
    "answer",
    [
        ChatAnswer("", "stop"),
        ChatAnswer("x", "length"),
        ChatAnswer("x", "content_filter"),
        ChatAnswer("x", None),
        ChatAnswer("x", "stop", refusal="no"),
    ],
)
def test_what_is_no_answer_is_not_kept(answer: ChatAnswer) -> None:
    kept = Answers()
    kept.put(key(1), answer)
    assert len(kept) == 0

"""The runner's own functions, called here: what a user's function is given, and what is told of it."""

# ruff: noqa: T201 - what is printed is looked at

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from verifiers.python import runner

GIVEN = {"completion": "c", "reference": 5, "prompt": "p", "metadata": {"m": 1}, "messages": None}
CHAT = [{"role": "user", "content": "p"}, {"role": "assistant", "content": "c"}]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """What is told of a call of a function."""
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, getattr(sys, stream))

    def call(function: Callable[..., Any], **given: Any) -> dict[str, Any]:
        return runner.judged(function, *runner.wanted(function, "verify"), GIVEN | given)

    return call


def all_by_name(completion: Any, reference: Any, prompt: Any, metadata: Any, messages: Any) -> Any:
    return [completion, reference, prompt, metadata, messages]


def some(metadata: Any, completion: Any) -> Any:
    return [completion, metadata]


def by_position(reference: Any, /, completion: Any, *, prompt: Any = None) -> Any:
    return [reference, completion, prompt]


def everything(completion: Any, **rest: Any) -> Any:
    return [completion, rest]


def nothing() -> Any:
    return []


def with_defaults(completion: Any, threshold: float = 0.5, *more: Any) -> Any:
    return [completion, threshold, more]


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (all_by_name, ["c", 5, "p", {"m": 1}, CHAT]),
        (some, ["c", {"m": 1}]),
        (by_position, [5, "c", "p"]),
        (everything, ["c", {"reference": 5, "prompt": "p", "metadata": {"m": 1}, "messages": CHAT}]),
        (nothing, []),
        (with_defaults, ["c", 0.5, ()]),
    ],
)
def test_a_function_gets_what_it_names(told: Callable[..., Any], function: Any, value: Any) -> None:
    assert told(function) == {"value": value, "printed": ""}


def test_messages(told: Callable[..., Any]) -> None:
    assert told(lambda messages: messages, prompt="")["value"] == CHAT[1:]
    assert told(lambda messages: messages, messages=[{"role": "x"}])["value"] == [{"role": "x"}]


def test_what_a_function_cannot_ask_for() -> None:
    def verify(response: str) -> int:
        return len(response)

    with pytest.raises(TypeError, match="verify asks for 'response'; it may ask for completion, reference, prompt"):
        runner.wanted(verify, "verify")


def test_what_is_printed_is_kept_up_to_a_limit(told: Callable[..., Any]) -> None:
    def verify() -> int:
        print("out ä \ud800")
        print("err", file=sys.stderr)
        sys.stdout.flush()
        return 1

    assert told(verify)["printed"] == "out ä \\ud800\nerr\n"

    def flood() -> int:
        for _ in range(1000):
            print("x" * 1000)
        sys.stdout.buffer.write(b"\xff")
        return 1

    printed = told(flood)["printed"]
    assert len(printed) == runner.SHOWN

    def closes() -> int:
        print("before")
        sys.stdout.close()
        return 1

    assert told(closes) == {"value": 1, "printed": "before\n"}


def test_whatever_is_raised_is_told(told: Callable[..., Any]) -> None:
    def unreadable() -> None:
        class Odd(Exception):  # noqa: N818
            def __str__(self) -> str:
                raise RuntimeError

        raise Odd

    def leaves() -> None:
        sys.exit(3)

    def large() -> None:
        raise ValueError("x" * 10**6)

    assert told(unreadable)["raised"] == "Odd"
    assert told(leaves)["raised"] == "SystemExit: 3"
    assert len(told(large)["raised"]) < runner.SHOWN + 20

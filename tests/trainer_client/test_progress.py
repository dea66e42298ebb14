"""The display shows steps and news, live on a terminal and line by line elsewhere."""

from __future__ import annotations

import io
from itertools import count

import pytest

from trainer_client.progress import Display


class Terminal(io.StringIO):
    """Text that takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


def test_without_a_terminal_each_step_is_a_plain_line() -> None:
    out = io.StringIO()
    seconds = count()
    with Display("sort-7", 20, out=out, clock=lambda: next(seconds)) as display:
        display.step(1, {"loss": 0.51234, "reward/mean": None, "time/step": 2.0, "unknown": 1.0})
        display.say("the service is away [bold]")
        display.step(2, {"reward/mean": 0.25})
    assert out.getvalue().splitlines() == [
        "1/20  1.0 s  loss 0.5123",
        "the service is away [bold]",
        "2/20  2.0 s  reward/mean 0.25",
    ]


def test_on_a_terminal_first_and_latest_values_stand_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    with Display("sort-7", 20, out=out) as display:
        display.step(1, {"loss": 0.75, "reward/mean": 0.125})
        display.step(2, {"loss": 0.5})
        display.say("news")
    picture = out.getvalue()
    for shown in ("sort-7", "2/20", "0.75", "0.5", "0.125", "news"):
        assert shown in picture


def test_a_text_cannot_move_the_cursor() -> None:
    out = io.StringIO()
    with Display("r\x1b[2J", 1, out=out) as display:
        display.say("a\x1b]0;b\x07\u202e")
    assert "\x1b" not in out.getvalue()
    assert "\u202e" not in out.getvalue()

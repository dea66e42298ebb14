"""The display shows steps and news, live on a terminal and line by line elsewhere."""

from __future__ import annotations

import io
import re
from itertools import count

import pytest

from trainer_client.progress import LOADING, Display


class Terminal(io.StringIO):
    """Text that takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """One of 40 columns."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    return Terminal()


def test_without_a_terminal_each_step_is_a_plain_line() -> None:
    out = io.StringIO()
    seconds = count()
    with Display("sort-7", 20, out=out, clock=lambda: next(seconds)) as display:
        display.step(1, {"loss": 0.51234, "reward/mean": None, "time/step": 2.0, "unknown": 1.0})
        display.step(2, {"reward/mean": 0.25})
    assert out.getvalue().splitlines() == [
        f"sort-7: 20 steps; {LOADING}",
        "1/20  1.0 s  loss 0.5123",
        "2/20  2.0 s  reward/mean 0.25",
    ]


def test_a_run_that_learns_from_preferences_shows_their_margin(terminal: Terminal) -> None:
    values = {"loss": 0.5, "preference/margin": 0.125, "preference/accuracy": 0.75}
    for out, shown in ((io.StringIO(), ["0.125"]), (terminal, ["0.125", "0.75"])):
        with Display("sort-7", 20, out=out) as display:
            display.step(1, values)
        assert all(f" {value}" in out.getvalue() for value in shown)


def test_a_terminal_that_cannot_move_its_cursor_gets_the_lines(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with Display("sort-7", 20, out=terminal) as display:
        display.step(1, {"loss": 0.5})
        assert "loss 0.5" in terminal.getvalue()


def test_on_a_terminal_first_and_latest_values_stand_side_by_side(terminal: Terminal) -> None:
    with Display("sort-7", 20, out=terminal) as display:
        assert LOADING[:20] in terminal.getvalue()
        display.step(1, {"loss": 0.75, "reward/mean": 0.125})
        display.step(2, {"loss": 0.5})
    lines = _last_picture(terminal)
    assert lines[0].startswith("sort-7 ")
    assert " 2/20 " in lines[0]
    assert [line.split() for line in lines[1:]] == [
        ["first", "now"], ["loss", "0.75", "0.5"], ["reward/mean", "0.125", "0.125"]
    ]  # fmt: skip


def test_no_name_is_cut_off_on_a_narrow_terminal(terminal: Terminal) -> None:
    with Display("sort-7", 20, out=terminal) as display:
        display.step(1, {"loss": -0.00012345, "groups/degenerate_share": 0.25, "reward/unscored_share": 0.0})
    shown = "".join(line.split()[0] for line in _last_picture(terminal)[2:])
    for name in ("groups/degenerate_share", "reward/unscored_share"):
        assert name in shown.replace("0.25", "").replace("0", "")


def test_a_run_that_goes_on_shows_what_it_began_with(terminal: Terminal) -> None:
    with Display("sort-7", 1000, first={"loss": 2.5}, out=terminal) as display:
        display.step(901, {"loss": 0.75})
    assert ["loss", "2.5", "0.75"] in [line.split() for line in _last_picture(terminal)]


def test_a_text_cannot_move_the_cursor() -> None:
    out = io.StringIO()
    with Display("r\x1b[2J\u202e", 1, out=out) as display:
        display.step(1, {"loss": 1.0})
    assert "\x1b" not in out.getvalue()
    assert "\u202e" not in out.getvalue()


def _last_picture(terminal: Terminal) -> list[str]:
    """The lines that the live display left behind, without colours."""
    last = terminal.getvalue().split("\x1b[2K")[-1]
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last).splitlines() if line.strip()]

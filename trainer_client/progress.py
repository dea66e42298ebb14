"""What a person sees of a run: a live table on a terminal, a line a step where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

SHOWN = (
    "loss", "reward/mean", "heldout/score", "preference/margin", "preference/accuracy", "reward/unscored_share",
    "groups/degenerate_share", "rollout/tokens_mean", "rollout/truncated_share", "entropy", "kl", "heldout/kl",
    "grad_norm", "time/step", "time/reward_wait",
)  # fmt: skip
"""The metrics of the live display, of those that a run has; the record has all of them."""
IN_A_LINE = (
    "loss", "reward/mean", "heldout/score", "preference/margin", "rollout/tokens_mean", "kl", "entropy", "grad_norm",
)  # fmt: skip
"""Those of a plain line."""
LOADING = "loading the model, and evaluating it where that is asked for"
"""What is done before there is a step to show, which may take minutes."""


class Display(AbstractContextManager["Display"]):
    """Shows the steps of a run as they end. What is written to stderr meanwhile stands above the table."""

    def __init__(
        self,
        run: str,
        steps: int,
        *,
        first: Mapping[str, float] | None = None,
        out: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`steps` is how many the run has; `first` what it began with, where it goes on; `out`: stderr by default."""
        self._console = Console(file=out or sys.stderr, highlight=False)
        self._steps = steps
        self._clock = clock
        self._began = clock()
        self._run = _plain(run)
        self._first = dict(first or {})
        self._last: dict[str, float] = {}
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), console=self._console,
        )  # fmt: skip
        self._task = self._bar.add_task(self._run, total=steps)
        self._live = (
            Live(get_renderable=self._picture, console=self._console, refresh_per_second=4)
            if self._console.is_terminal and not self._console.is_dumb_terminal
            else None
        )

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start(refresh=True)
        else:
            self._write(f"{self._run}: {self._steps} steps; {LOADING}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.refresh()
            self._live.stop()

    def step(self, step: int, values: Mapping[str, float | None]) -> None:
        """A step has ended with these values."""
        shown = {name: value for name in SHOWN if (value := values.get(name)) is not None}
        for name, value in shown.items():
            self._first.setdefault(name, value)
        self._last |= shown
        self._bar.update(self._task, completed=step)
        if self._live is None:
            figures = [f"{name} {shown[name]:.4g}" for name in IN_A_LINE if name in shown]
            self._write("  ".join([f"{step}/{self._steps}", f"{self._clock() - self._began:.1f} s", *figures]))

    def _write(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)

    def _picture(self) -> Group:
        if not self._last:
            return Group(self._bar, Text(LOADING))
        table = Table(box=None, pad_edge=False)
        table.add_column("", overflow="fold")
        for title in ("first", "now"):
            table.add_column(title, justify="right", no_wrap=True)
        for name in SHOWN:
            if name in self._last:
                table.add_row(name, f"{self._first[name]:.4g}", f"{self._last[name]:.4g}")
        return Group(self._bar, table)


def _plain(text: str) -> str:
    """`text` without what could move a terminal's cursor or be taken for markup."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)

"""`assay score`: a file of completions, scored by a running service."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app import wire
from app.cli.faults import FAILED, MISUSED, CommandError
from app.cli.output import cell, console, note
from app.cli.session import Json, Key, Url, talk
from app.readers import Choice, Format, InputError, Source

if TYPE_CHECKING:
    from app.cli.stream import Request, Run
    from app.http_client import Client, ServiceError

INTERRUPTED = 130
"""128 and the number of SIGINT, as shells have it."""
SHOWN_FAULTS = 20
"""Malformed rows that are named one by one; all are counted."""


def score(
    file: Annotated[
        Path,
        typer.Argument(help="JSON lines, plain or gzip; - is stdin."),
    ],
    verifier: Annotated[
        str | None, typer.Option("--verifier", "-v", help="For rows that name none: a name, or name@version.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write one JSON line for each item, in order.")] = None,
    row_format: Annotated[
        Format | None, typer.Option("--format", help="What the rows are; told for each row by default.")
    ] = None,
    completion_field: Annotated[str | None, typer.Option(help="The field that holds the completion.")] = None,
    gold: Annotated[bool, typer.Option("--gold", help="Score the data set's own answers.")] = False,
    run: Annotated[str | None, typer.Option(help="The training run to record the scores under.")] = None,
    step: Annotated[int | None, typer.Option(help="The run's step.")] = None,
    detail: Annotated[
        Literal["none", "brief", "full"], typer.Option(help="How much the verdicts in --out tell.")
    ] = "brief",
    on_error: Annotated[
        Literal["null", "zero", "fail"],
        typer.Option(help="What an item that cannot be scored gets: null, 0, or the end of the command."),
    ] = "null",
    as_json: Json = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Score a file of completions and show a summary.

    Exit code 0 means that every row was sent and answered; 1 that some row was not.
    """
    if gold and completion_field is not None:
        raise CommandError("--gold and --completion-field exclude each other", MISUSED)
    from app.cli.stream import Request

    request = Request(verifier, on_error, detail, run, step)
    scoring = _Scoring(Source(file), Choice(row_format, completion_field, gold), request, out)
    started = time.monotonic()
    try:
        talk(url, key, scoring.work)
    except KeyboardInterrupt:
        raise CommandError(scoring.stopped("interrupted"), INTERRUPTED) from None
    except InputError as error:
        raise CommandError(scoring.stopped(str(error))) from error
    except CommandError as error:
        raise CommandError(scoring.stopped(str(error)), error.code) from error
    if scoring.run is None:
        raise AssertionError("work sets it")
    summary = scoring.run.tally.summary(time.monotonic() - started)
    if as_json:
        typer.echo(wire.encode(summary))
    else:
        _show(summary)
        for kind, reason in scoring.run.tally.reasons.items():
            note(f"{kind}, for example: {reason}")
    if summary["malformed"]:
        raise CommandError(f"{summary['malformed']} malformed rows were not scored", FAILED)


class _Scoring:
    """One call of the command: what is read, where results go, and what is known at every moment."""

    def __init__(self, source: Source, choice: Choice, request: Request, out: Path | None) -> None:
        self._source = source
        self._choice = choice
        self._request = request
        self._out = out
        self.run: Run | None = None

    async def work(self, client: Client) -> None:
        """Raises `ServiceError`, `InputError` or `CommandError`."""
        from app.cli.outfile import whole_file
        from app.cli.stream import Run

        await client.call("GET", "/healthz")  # a service that is not there is said at once, not after many tries
        with ExitStack() as stack:
            write = stack.enter_context(whole_file(self._out)).write if self._out else lambda _: None
            following = stack.enter_context(_Following())
            self.run = following.run = Run(client, self._request, write, following)
            await self.run.score(self._source, self._choice)

    def stopped(self, why: str) -> str:
        """What to say when the command ends before the file does."""
        if self.run is None:
            return why
        tally = self.run.tally
        lines = [why]
        if answered := tally.count - tally.malformed:
            lines.append(f"{answered} items were answered and recorded, {tally.scored} of them scored")
        if self.run.in_flight:
            lines.append(f"{self.run.in_flight} more items were sent; they may be recorded too")
        if self._out is not None:
            lines.append(f"{self._out} was not written")
        return "\n".join(lines)


class _Following:
    """Shows the progress on a terminal, and tells of rows and batches with faults."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        terminal = Console(stderr=True)
        self._bar = Progress(
            TextColumn("scoring"),
            BarColumn(),
            TextColumn("{task.fields[items]} items, {task.fields[rate]}/s"),
            TimeRemainingColumn(),
            console=terminal,
            transient=True,
            disable=not (terminal.is_terminal and console().is_terminal),
        )
        self._task = self._bar.add_task("", total=None, items=0, rate=0)
        self._started = time.monotonic()
        self._faults = 0
        self._waiting = False
        self.run: Run | None = None

    def __enter__(self) -> _Following:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self._faults > SHOWN_FAULTS:
            note(f"... and {self._faults - SHOWN_FAULTS} more malformed rows")

    def fault(self, line: int, message: str) -> None:
        """See `Listener`."""
        self._faults += 1
        if self._faults <= SHOWN_FAULTS:
            note(f"line {line}: {message}")

    def retry(self, error: ServiceError) -> None:
        """See `Listener`; says it once for each time that the service is away."""
        if not self._waiting:
            note(f"{error}; trying again")
        self._waiting = True

    def progress(self, position: int, size: int | None) -> None:
        """See `Listener`."""
        self._waiting = False
        items = self.run.tally.count if self.run else 0
        rate = round(items / max(time.monotonic() - self._started, 0.001))
        self._bar.update(self._task, completed=position, total=size, items=items, rate=rate)


def _show(summary: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("items", str(summary["count"]))
    table.add_row("scored", str(summary["scored"]))
    table.add_row("unscored", str(summary["unscored"]))
    table.add_row("mean score", _number(summary["mean"]))
    for title, counts in (("outcome", summary["outcomes"]), ("error", summary["errors"])):
        for name, count in counts.items():
            table.add_row(cell(f"{title} {name}"), str(count))
    if groups := summary["groups"]:
        table.add_row("groups", str(groups["count"]))
        table.add_row("mean of the groups", _number(groups["mean"]))
        table.add_row("groups with equal scores", f"{groups['equal']:.1%}")
    table.add_row("seconds", str(summary["seconds"]))
    table.add_row("items per second", _number(summary["items_per_s"]))
    console().print(table)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"

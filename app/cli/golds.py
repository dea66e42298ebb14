"""`assay verifiers check`: whether every reference of a file accepts its own answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app import wire
from app.cli.faults import FAILED, CommandError
from app.cli.output import console, note, printable
from app.cli.session import Json, Key, Url, talk
from app.readers import Choice, InputError, Row, Source

if TYPE_CHECKING:
    from app.http_client import Client

BATCH = 512
SHOWN = 20
"""Faults that are named one by one; all are counted."""
DEADLINE_MS = 600_000


def check(
    verifier: Annotated[str, typer.Argument(help="A name (its latest version), or name@version.")],
    file: Annotated[
        Path,
        typer.Argument(
            help="JSON lines with a `reference` each, GSM8K, MATH or HumanEval; plain or gzip; - is stdin."
        ),
    ],
    as_json: Json = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Check that each reference of a file accepts its own answer, before you train against it.

    Exit code 0 means that all do; 1 that some do not, or could not be told.
    """
    counts = {"count": 0, "ok": 0, "failed": 0, "unknown": 0, "malformed": 0}
    source = Source(file)

    async def work(client: Client) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        terminal = console()
        bar = Progress(
            TextColumn("checking"), BarColumn(), TextColumn("{task.fields[count]} references"),
            transient=True, disable=not terminal.is_terminal,
        )  # fmt: skip
        with bar:
            task = bar.add_task("", total=None, count=0)
            for rows in _batches(source):
                await _check(client, verifier, rows, counts, as_json=as_json)
                bar.update(task, completed=source.position, total=source.size, count=counts["count"])

    try:
        talk(url, key, work)
    except InputError as error:
        raise CommandError(str(error)) from error
    if as_json:
        typer.echo(wire.encode(counts))
    else:
        told = ", ".join(f"{counts[name]} {name}" for name in ("ok", "failed", "unknown", "malformed"))
        typer.echo(f"{counts['count']} references: {told}")
    wrong = counts["count"] - counts["ok"]
    if wrong:
        raise CommandError(f"{wrong} references do not accept their own answer, or could not be checked", FAILED)


def _batches(source: Source) -> Iterator[list[Row]]:
    rows: list[Row] = []
    for row in source.rows(Choice(gold=True, references=True)):
        rows.append(row)
        if len(rows) == BATCH:
            yield rows
            rows = []
    if rows:
        yield rows


async def _check(client: Client, verifier: str, rows: list[Row], counts: dict[str, int], *, as_json: bool) -> None:
    places: list[int] = []
    golds: list[dict[str, Any]] = []
    for row in rows:
        if row.fault is not None:
            _tell(row.line, row.fault, counts, "malformed", as_json=as_json)
        for item in row.items:
            places.append(row.line)
            golds.append({name: item[name] for name in ("id", "reference", "completion", "prompt") if name in item})
    if not golds:
        return
    body = wire.encode({"verifier": verifier, "golds": golds, "deadline_ms": DEADLINE_MS})
    answer = (await client.call("POST", "/golds", body=body)).value
    for line, result in zip(places, answer["items"], strict=True):
        if result["ok"]:
            counts["count"] += 1
            counts["ok"] += 1
        else:
            kind = "unknown" if result["ok"] is None else "failed"
            _tell(line, result["reason"], counts, kind, as_json=as_json)


def _tell(line: int, reason: str, counts: dict[str, int], kind: str, *, as_json: bool) -> None:
    counts["count"] += 1
    counts[kind] += 1
    if as_json:
        typer.echo(wire.encode({"line": line, kind: reason}))
    elif counts["count"] - counts["ok"] <= SHOWN:
        note(f"line {line}: {printable(reason)}")

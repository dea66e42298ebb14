"""How commands show things: tables for people, JSON for programs."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from app import wire

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

PIPED_WIDTH = 200
"""Columns of a table that no terminal shows."""

# a caller's text must not move the cursor, colour the screen or turn the line around
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object) -> str:
    """`text` with every character escaped that could do more to a terminal than be shown."""
    return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], str(text))


def console() -> Console:
    """The terminal, or what stdout is instead."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)


def cell(value: object) -> Text:
    """A table's cell; nothing for None."""
    from rich.text import Text

    return Text("" if value is None else printable(value))


def show_list(items: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, as_json: bool) -> None:
    """Items as JSON lines, or as a table whose `columns` name a title and the member it shows."""
    if as_json:
        for item in items:
            typer.echo(wire.encode(item))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title, member in columns.items():
        # an id that is cut is of no use
        table.add_column(title, overflow="fold" if member == "id" else "ellipsis", no_wrap=member != "id")
    for item in items:
        table.add_row(*(cell(_short(member, item[member])) for member in columns.values()))
    console().print(table)


def _short(member: str, value: object) -> object:
    if member.endswith("_at") and isinstance(value, str):
        return value[:19]  # to the second
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return " ".join(map(str, value))
    return value


def show_one(value: Mapping[str, Any]) -> None:
    """One thing with all its members, as indented JSON."""
    import json

    typer.echo(json.dumps(value, indent=2))


def note(message: str) -> None:
    """A line for the person, on stderr, so that stdout holds nothing but what was asked for."""
    typer.echo("\n".join(printable(line) for line in message.split("\n")), err=True)

"""The `assay` command. Commands import what they need when they run, so that every one starts fast."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from app.cli import backends, doctor, keys, projects, sandbox, score, scores, serve, signals, verifiers
from app.cli.faults import CommandError
from app.cli.output import note

cli = typer.Typer(
    name="assay",
    help="A reward service for reinforcement learning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(version("assay"))
        except PackageNotFoundError:
            raise CommandError("a source tree that is not installed; 'make run' installs it") from None
        raise typer.Exit


@cli.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


cli.command("serve")(serve.serve)
cli.command("score")(score.score)
cli.add_typer(verifiers.commands, name="verifiers")
cli.add_typer(backends.commands, name="backends")
cli.add_typer(keys.commands, name="keys")
cli.add_typer(projects.commands, name="projects")
cli.add_typer(projects.own_commands, name="project")
cli.command("scores")(scores.scores)
cli.add_typer(signals.commands, name="signals")
cli.add_typer(sandbox.commands, name="sandbox")
cli.command("doctor")(doctor.doctor)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; always ends in SystemExit with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        cli(arguments, prog_name="assay")
    except CommandError as error:
        note(str(error))
        sys.exit(error.code)

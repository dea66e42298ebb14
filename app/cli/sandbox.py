"""`assay sandbox`: build the image of the Docker backend, and show where the service runs code."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.faults import CommandError
from app.cli.output import cell, console, note, show_one
from app.cli.session import Json, Key, Url, talk

if TYPE_CHECKING:
    from app.http_client import Answer, Client

commands = typer.Typer(no_args_is_help=True, help="Where code runs: build its Docker image, show what it offers.")


class Flavour(StrEnum):
    """What an image has in it."""

    PYTHON = "python"
    FULL = "full"


@commands.command("build")
def build(
    full: Annotated[
        bool, typer.Option("--full/--python", help="All languages, or Python alone, which is much smaller.")
    ] = True,
    base: Annotated[str | None, typer.Option(help="Image to build on, instead of a plain Debian.")] = None,
) -> None:
    """Build the image that the Docker backend runs code in. Its name is printed alone on stdout."""
    from sandbox.base import SandboxUnavailableError
    from sandbox.image import build as build_image

    flavour = Flavour.FULL if full else Flavour.PYTHON
    try:
        name = build_image(flavour, base, note)
    except SandboxUnavailableError as error:
        raise CommandError(str(error)) from None
    typer.echo(name)


@commands.command("show")
def show(as_json: Json = False, url: Url = None, key: Key = None) -> None:
    """Show where the service runs code: backend, languages, packages, limits."""

    async def work(client: Client) -> Answer:
        return await client.call("GET", "/sandbox")

    found = talk(url, key, work).value
    if as_json:
        show_one(found)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in _rows(found):
        table.add_row(cell(name), cell(value))
    console().print(table)


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What GET /sandbox says, a line each."""
    rows = [("backend", f"{found['backend'] or 'none'} ({found['chosen']})")]
    if not found["ready"]:
        rows.append(("not ready", found["reason"]))
    rows.append(("cells", str(found["cells"])))
    rows += [(member, _versions(found[member])) for member in ("languages", "packages")]
    for member, limits in found["limits"].items():
        shown = ", ".join(f"{name} {most:g}" for name, most in limits.items()) if isinstance(limits, dict) else limits
        rows.append((f"limits, {member}", str(shown)))
    rows += [(f"isolation, {name}", str(fact)) for name, fact in found["isolation"].items()]
    return rows


def _versions(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items()) or "none"

"""`assay verifiers`: register, try, list and show verifiers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from app import wire
from app.cli.faults import MISUSED, CommandError
from app.cli.golds import check
from app.cli.output import show_list, show_one
from app.cli.session import Json, Key, Url, talk
from app.cli.trying import read_config, try_
from app.errors import Problem

if TYPE_CHECKING:
    from app.http_client import Answer, Client

commands = typer.Typer(no_args_is_help=True, help="Register, try, list and show verifiers.")

COLUMNS = {
    "name": "name",
    "version": "version",
    "kind": "kind",
    "created": "created_at",
    "description": "description",
}


@commands.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Yours; a kind's own name is taken.")],
    kind: Annotated[str, typer.Option(help="What sort of verifier, as GET /kinds lists them.")],
    config: Annotated[str, typer.Option(help="The configuration: JSON, or a file with it.")] = "{}",
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    examples: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="JSON lines {completion, reference, prompt, expect}."),
    ] = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Register a verifier, or a new version of one. Its examples must score as they say."""
    asked = {
        "name": name,
        "kind": kind,
        "config": read_config(config),
        "description": description,
        "examples": [] if examples is None else _examples(examples),
    }
    body = wire.encode(asked)

    async def work(client: Client) -> Answer:
        return await client.call("POST", "/verifiers", body=body)

    answer = talk(url, key, work)
    made = f"{answer.value['name']}@{answer.value['version']}"
    typer.echo(f"{made} is registered" if answer.status == 201 else f"{made} has this configuration already")


def _json(text: bytes, where: str) -> Any:
    try:
        return wire.decode(text)
    except Problem as problem:
        raise CommandError(f"{where}: {problem.detail}", MISUSED) from None


def _examples(path: Path) -> list[Any]:
    lines = path.read_bytes().split(b"\n")
    return [_json(line, f"--examples, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


@commands.command("list")
def list_(as_json: Json = False, url: Url = None, key: Key = None) -> None:
    """List the latest version of each verifier, the built-in ones included."""

    async def work(client: Client) -> list[Any]:
        return [item async for item in client.pages("/verifiers")]

    show_list(talk(url, key, work), COLUMNS, as_json=as_json)


@commands.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A name (its latest version), or name@version.")],
    url: Url = None,
    key: Key = None,
) -> None:
    """Show a version with its configuration."""

    async def work(client: Client) -> Answer:
        return await client.call("GET", f"/verifiers/{quote(name, safe='@')}")

    show_one(talk(url, key, work).value)


commands.command("try")(try_)
commands.command("check")(check)

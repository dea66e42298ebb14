"""`assay keys`: make, list and revoke API keys of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from app import wire
from app.cli.output import note, show_list
from app.cli.session import Json, Key, Url, talk

if TYPE_CHECKING:
    from app.http_client import Answer, Client

commands = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys. Needs a key with the scope admin.")

COLUMNS = {
    "id": "id",
    "name": "name",
    "ends in": "hint",
    "scopes": "scopes",
    "created": "created_at",
    "revoked": "revoked_at",
}


@commands.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="score, register, read or admin; several times for several.")
    ] = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Make a key. It is printed this once, alone on stdout; without --scope it can score and read."""
    body = wire.encode({"name": name} | ({"scopes": scope} if scope else {}))

    async def work(client: Client) -> Answer:
        return await client.call("POST", "/keys", body=body)

    show_new_key(talk(url, key, work).value)


def show_new_key(made: dict[str, Any]) -> None:
    """The secret on stdout, so that a script can keep it, and the rest on stderr."""
    note(f"key {made['id']} ({', '.join(made['scopes'])}), shown this once:")
    typer.echo(made["key"])


@commands.command("list")
def list_(as_json: Json = False, url: Url = None, key: Key = None) -> None:
    """List the project's keys, revoked ones included."""

    async def work(client: Client) -> list[Any]:
        return [item async for item in client.pages("/keys")]

    show_list(talk(url, key, work), COLUMNS, as_json=as_json)


@commands.command("revoke")
def revoke(
    id: Annotated[str, typer.Argument(help="The key's id, as 'assay keys list' shows it.")],
    url: Url = None,
    key: Key = None,
) -> None:
    """Revoke a key. It stops working within a second."""

    async def work(client: Client) -> Answer:
        return await client.call("DELETE", f"/keys/{quote(id, safe='')}")

    revoked = talk(url, key, work).value
    note(f"key {revoked['id']} ({revoked['name']}) is revoked")

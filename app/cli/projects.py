"""`assay projects` and `assay project`: the operator's projects, and the policy of the key's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app import wire
from app.cli.faults import MISUSED, CommandError
from app.cli.keys import show_new_key
from app.cli.output import note, show_list, show_one
from app.cli.session import Json, Key, Url, talk

if TYPE_CHECKING:
    from app.http_client import Answer, Client

commands = typer.Typer(no_args_is_help=True, help="Make and list projects. Needs an admin key of the first project.")
own_commands = typer.Typer(no_args_is_help=True, help="Show or change the policy of the key's project.")

COLUMNS = {
    "id": "id",
    "name": "name",
    "keep": "keep",
    "retention days": "retention_days",
    "created": "created_at",
}
NEVER = "never"

Keep = Annotated[str | None, typer.Option(help="What is kept of a completion: full, hash or none.")]
Retention = Annotated[
    str | None, typer.Option("--retention-days", help=f"Days until what was kept is removed, or '{NEVER}'.")
]


def _policy(keep: str | None, retention: str | None) -> dict[str, Any]:
    policy: dict[str, Any] = {} if keep is None else {"keep": keep}
    if retention is not None:
        if retention != NEVER and not retention.isdecimal():
            raise CommandError(f"--retention-days is a number of days, or '{NEVER}'", MISUSED)
        policy["retention_days"] = None if retention == NEVER else int(retention)
    return policy


@commands.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Letters, digits, '.', '_' and '-'.")],
    keep: Keep = None,
    retention: Retention = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Make a project. Its first admin key is printed this once, alone on stdout."""
    body = wire.encode({"name": name, **_policy(keep, retention)})

    async def work(client: Client) -> Answer:
        return await client.call("POST", "/projects", body=body)

    made = talk(url, key, work).value
    note(f"project {made['name']} is made; it keeps {made['keep']} completions")
    show_new_key(made["key"])


@commands.command("list")
def list_(as_json: Json = False, url: Url = None, key: Key = None) -> None:
    """List every project."""

    async def work(client: Client) -> list[Any]:
        return [item async for item in client.pages("/projects")]

    show_list(talk(url, key, work), COLUMNS, as_json=as_json)


@own_commands.command("show")
def show(url: Url = None, key: Key = None) -> None:
    """Show the key's project and its policy."""

    async def work(client: Client) -> Answer:
        return await client.call("GET", "/project")

    show_one(talk(url, key, work).value)


@own_commands.command("change")
def change(keep: Keep = None, retention: Retention = None, url: Url = None, key: Key = None) -> None:
    """Change what the project keeps of completions, and for how long."""
    policy = _policy(keep, retention)
    if not policy:
        raise CommandError("give --keep, --retention-days, or both", MISUSED)

    async def work(client: Client) -> Answer:
        return await client.call("PATCH", "/project", body=wire.encode(policy))

    show_one(talk(url, key, work).value)

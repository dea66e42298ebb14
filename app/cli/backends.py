"""`assay backends`: add, list, test and remove the servers that verifiers may ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from app import wire
from app.cli.faults import MISUSED, CommandError
from app.cli.output import note, show_list
from app.cli.session import Json, Key, Url, talk

if TYPE_CHECKING:
    from app.http_client import Answer, Client

commands = typer.Typer(
    no_args_is_help=True,
    help="Add, list, test and remove servers that verifiers may ask. Needs an admin key of the first project.",
)

COLUMNS = {
    "name": "name",
    "type": "type",
    "model": "model",
    "url": "url",
    "private": "allow_private",
    "created": "created_at",
}
VALUE_HELP = "env:ASSAY_BACKEND_... for a variable of the service, or the value itself"


@commands.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What verifiers call it.")],
    at: Annotated[
        str | None,
        typer.Argument(
            metavar="ADDRESS",
            help="Its URL; of a chat model the base URL, as in https://api.openai.com/v1. A local model has none.",
        ),
    ] = None,
    type: Annotated[str, typer.Option(help="verifier, chat (embeds texts too), reward or local.")] = "verifier",
    model: Annotated[
        str | None, typer.Option(help="The model's name at that server; local: its folder, or owner/name at the hub.")
    ] = None,
    api: Annotated[
        str | None, typer.Option(help="reward: what it speaks: classify, score, pooling, sglang or tei.")
    ] = None,
    steps: Annotated[bool, typer.Option("--steps", help="local: a process reward model.")] = False,
    rpm: Annotated[int | None, typer.Option(help="Requests a minute at most.")] = None,
    tpm: Annotated[int | None, typer.Option(help="chat: tokens a minute at most.")] = None,
    price_in: Annotated[float | None, typer.Option(help="chat: price of a million prompt tokens.")] = None,
    price_out: Annotated[float | None, typer.Option(help="chat: price of a million tokens of answers.")] = None,
    bearer: Annotated[str | None, typer.Option(help=f"Sent as a bearer token: {VALUE_HELP}.")] = None,
    header: Annotated[
        list[str] | None, typer.Option(help=f"NAME=VALUE, several times for several; VALUE is {VALUE_HELP}.")
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="It may be on this machine or a private network.")
    ] = False,
    limits: Annotated[
        str, typer.Option(help="JSON: concurrency, connect_s, timeout_s, retries, answer_kb; the rest as it is.")
    ] = "{}",
    chat: Annotated[str, typer.Option(help="chat, JSON: json_schema, logprobs, each auto, yes or no.")] = "{}",
    reward: Annotated[str, typer.Option(help="reward, JSON: separator, turn.")] = "{}",
    local: Annotated[
        str, typer.Option(help="local, JSON: device, threads, max_tokens, batch_tokens, latency_ms, separator.")
    ] = "{}",
    url: Url = None,
    key: Key = None,
) -> None:
    """Add a backend. Its keys are shown to nobody from then on."""
    rates = {"requests_per_minute": rpm, "tokens_per_minute": tpm}
    prices = {"price_in": price_in, "price_out": price_out}
    named = {"model": model}
    wanted: dict[str, Any] = {
        "name": name,
        "type": type,
        "headers": dict(_header(text) for text in header or ()),
        "allow_private": allow_private,
        "limits": _json("--limits", limits, rates),
    }
    if at is not None:
        wanted["url"] = at
    options = {
        "chat": _json("--chat", chat, prices | (named if type not in ("reward", "local") else {})),
        "reward": _json("--reward", reward, {"api": api} | (named if type == "reward" else {})),
        "local": _json("--local", local, ({"steps": True} if steps else {}) | (named if type == "local" else {})),
    }
    wanted |= {name: found for name, found in options.items() if found}
    if bearer is not None:
        wanted["key"] = bearer
    body = wire.encode(wanted)

    async def work(client: Client) -> Answer:
        return await client.call("POST", "/backends", body=body)

    made = talk(url, key, work).value
    note(f"backend {made['name']} is added; 'assay backends test {made['name']}' asks it")


def _header(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise CommandError("--header looks like NAME=VALUE", MISUSED)
    return name, value


def _json(option: str, text: str, more: dict[str, Any]) -> Any:
    """The object of an option, with those of `more` that are given."""
    from app.errors import Problem

    try:
        value = wire.decode(text.encode("utf-8", "surrogateescape"))
    except Problem as problem:
        raise CommandError(f"{option}: {problem.detail}", MISUSED) from None
    if not isinstance(value, dict):
        raise CommandError(f"{option} is a JSON object", MISUSED)
    return value | {name: given for name, given in more.items() if given is not None}


@commands.command("list")
def list_(as_json: Json = False, url: Url = None, key: Key = None) -> None:
    """List the backends, without their keys."""

    async def work(client: Client) -> list[Any]:
        return [item async for item in client.pages("/backends")]

    items = talk(url, key, work)
    if not as_json:
        items = [
            item | {"model": (item["chat"] or item["reward"] or item["local"] or {}).get("model")} for item in items
        ]
    show_list(items, COLUMNS, as_json=as_json)


@commands.command("test")
def test(name: Annotated[str, typer.Argument(help="The backend's name.")], url: Url = None, key: Key = None) -> None:
    """Ask a backend about a made-up item, or a chat model a question, and say what came of it."""

    async def work(client: Client) -> Answer:
        return await client.call("POST", f"/backends/{quote(name, safe='')}/test")

    said = talk(url, key, work).value
    if not said["ok"]:
        raise CommandError(said["message"])
    typer.echo(f"{said['message']}, in {said['ms']:.0f} ms")


@commands.command("remove")
def remove(
    name: Annotated[str, typer.Argument(help="The backend's name.")], url: Url = None, key: Key = None
) -> None:
    """Remove a backend and its keys. Verifiers that ask it are unscored, until there is another of the name."""

    async def work(client: Client) -> Answer:
        return await client.call("DELETE", f"/backends/{quote(name, safe='')}")

    note(f"backend {talk(url, key, work).value['name']} is removed")

"""`assay signals`: tell of outcomes that came later, and list the verdicts that are settled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app import wire
from app.cli.faults import FAILED, MISUSED, CommandError
from app.cli.output import note, show_list
from app.cli.session import Json, Key, Url, talk
from app.errors import Problem

if TYPE_CHECKING:
    from app.http_client import Answer, Client

commands = typer.Typer(
    no_args_is_help=True, help="Settle pending verdicts of the kind outcome, and list settled ones."
)

COLUMNS = {
    "settled": "settled_at",
    "score id": "score_id",
    "item": "item_id",
    "group": "group",
    "step": "step",
    "outcome": "outcome",
    "score": "score",
    "by": "source",
}


@commands.command("send")
def send(
    score_id: Annotated[str | None, typer.Option(help="The score_id of a pending verdict.")] = None,
    item_key: Annotated[str | None, typer.Option(help="Instead: the key in the items' reference.")] = None,
    score: Annotated[float | None, typer.Option(help="What the item scores.")] = None,
    event: Annotated[str | None, typer.Option(help="Instead: one of the verifier's events.")] = None,
    detail: Annotated[str | None, typer.Option(help="A JSON object that becomes part of the verdict.")] = None,
    as_json: Json = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Tell what happened to an item. Exit code 1 where the signal does not count."""
    if (score_id is None) == (item_key is None):
        raise CommandError("give either --score-id or --item-key", MISUSED)
    if (score is None) == (event is None):
        raise CommandError("give either --score or --event", MISUSED)
    if score is not None and not math.isfinite(score):
        raise CommandError("--score: a finite number", MISUSED)
    named = {"score_id": score_id} if item_key is None else {"key": item_key}
    told = {"score": score} if event is None else {"event": event}
    body = wire.encode({"signals": [{**named, **told, "detail": None if detail is None else _object(detail)}]})

    async def work(client: Client) -> Answer:
        return await client.call("POST", "/signals", body=body)

    [taken] = talk(url, key, work).value["items"]
    if as_json:
        typer.echo(wire.encode(taken))
    else:
        typer.echo(_sentence(taken))
    if taken["result"] not in ("settled", "repeated", "kept"):
        raise CommandError(f"the signal does not count: {taken['message']}", FAILED)


def _object(text: str) -> Any:
    try:
        return wire.decode(text.encode("utf-8", "surrogateescape"))
    except Problem as problem:
        raise CommandError(f"--detail: {problem.detail}", MISUSED) from None


def _sentence(taken: dict[str, Any]) -> str:
    score = "no score" if taken["score"] is None else f"score {taken['score']:g}"
    match taken["result"]:
        case "settled":
            return f"settled: {taken['settled']} item{'s' * (taken['settled'] != 1)}, {score}"
        case "kept":
            return "kept: no item has this key yet"
        case "repeated" | "conflict" if taken["score_id"] is not None:
            return f"{taken['result']}: {taken['score_id']} has {score}"
        case result:
            return str(result)


@commands.command("list")
def list_(
    run: Annotated[str | None, typer.Option(help="The training run.")] = None,
    verifier: Annotated[str | None, typer.Option(help="A name, name@version, or outcome@inline.")] = None,
    cursor: Annotated[
        str | None, typer.Option(help="Only what was settled after this one of an earlier list.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most verdicts shown.")] = 1000,
    as_json: Json = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """List settled verdicts in the order of settling. The cursor to go on from is told on stderr."""
    given = {"run": run, "verifier": verifier}
    filters = {name: value for name, value in given.items() if value is not None}

    async def work(client: Client) -> list[Any]:
        return [item async for item in client.pages("/signals", limit, cursor, **filters)]

    items = talk(url, key, work)
    show_list(items, COLUMNS, as_json=as_json)
    if items:
        note(f"later ones: --cursor {items[-1]['cursor']}")

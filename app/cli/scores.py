"""`assay scores`: the record of verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.output import show_list
from app.cli.session import Json, Key, Url, talk

if TYPE_CHECKING:
    from app.http_client import Client

COLUMNS = {
    "created": "created_at",
    "id": "id",
    "verifier": "verifier",
    "outcome": "outcome",
    "score": "score",
    "run": "run",
    "step": "step",
    "item": "item_id",
}


def scores(
    verifier: Annotated[str | None, typer.Option(help="A name, or name@version.")] = None,
    run: Annotated[str | None, typer.Option(help="The training run.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Such as correct, incorrect or unscored.")] = None,
    since: Annotated[str | None, typer.Option(help="A date or time (ISO 8601, UTC), inclusive.")] = None,
    until: Annotated[str | None, typer.Option(help="A date or time, exclusive.")] = None,
    min_score: Annotated[float | None, typer.Option(help="Scores from this one on.")] = None,
    max_score: Annotated[float | None, typer.Option(help="Scores up to this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most scores shown.")] = 50,
    as_json: Json = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """List recorded verdicts, newest first."""
    given = {
        "verifier": verifier,
        "run": run,
        "outcome": outcome,
        "since": since,
        "until": until,
        "min_score": min_score,
        "max_score": max_score,
    }
    filters = {name: str(value) for name, value in given.items() if value is not None}

    async def work(client: Client) -> list[Any]:
        return [item async for item in client.pages("/scores", limit, **filters)]

    show_list(talk(url, key, work), COLUMNS, as_json=as_json)

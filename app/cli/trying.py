"""`assay verifiers try`: one completion scored from the terminal, or a kind's own examples."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

import typer

from app import wire
from app.cli.faults import FAILED, MISUSED, CommandError
from app.cli.output import cell, console, note
from app.cli.session import Key, Url, talk
from app.errors import Problem

if TYPE_CHECKING:
    from app.http_client import Client

SHOWN_CHARS = 60
"""Characters of a completion, a reference or a configuration in the table of examples."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command was told."""

    kind: str | None
    name: str | None
    config: dict[str, Any]
    assignments: Sequence[str]
    item: dict[str, Any] | None
    """None: the examples are asked for."""
    reference: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class _Example:
    verifier: Any
    item: Mapping[str, Any]
    score: float | None
    """As declared; None where none was."""


def try_(
    kind: Annotated[str | None, typer.Argument(help="The kind, as GET /kinds lists them.")] = None,
    name: Annotated[
        str | None, typer.Option("--verifier", "-v", help="A registered verifier instead: a name, or name@version.")
    ] = None,
    completion: Annotated[
        str | None, typer.Option("--completion", "-c", help="What the model wrote: text, @FILE, or - for stdin.")
    ] = None,
    messages: Annotated[
        str | None, typer.Option(help="The completion as chat messages instead: JSON, @FILE, or - for stdin.")
    ] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help="The prompt: text, or @FILE.")] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", "-r", help="What it is compared with: text or JSON, or @FILE.")
    ] = None,
    tokens: Annotated[int | None, typer.Option(help="The completion's length in tokens.")] = None,
    metadata: Annotated[str | None, typer.Option(help="The item's metadata: JSON, or @FILE.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="A field of the configuration, as FIELD=VALUE; limits.cpu_s=2 for one inside."),
    ] = None,
    config: Annotated[str | None, typer.Option(help="The configuration: JSON, or a file with it.")] = None,
    detail: Annotated[Literal["brief", "full"], typer.Option(help="How much the verdict tells.")] = "brief",
    as_json: Annotated[bool, typer.Option("--json", help="The service's result as JSON.")] = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Score one completion, or with nothing but a KIND or --verifier, its own examples.

    Exit code 0 means a score, 1 that an item could not be scored, 2 that the command was misused. What is scored is
    recorded, as everything that the service scores.
    """
    if (kind is None) == (name is None):
        raise CommandError("name a KIND, or a registered verifier with --verifier", MISUSED)
    if name is not None and (assignments or config is not None):
        raise CommandError("--verifier has its configuration; give --set and --config with a KIND instead", MISUSED)
    asked = _Asked(
        kind=kind,
        name=name,
        config={} if config is None else read_config(config),
        assignments=assignments or (),
        item=_item(completion, messages, prompt, reference, tokens, metadata, bool(assignments or config)),
        reference=None if reference is None else _text(reference, "--reference").removesuffix("\n"),
        detail=detail,
    )
    if asked.item is None:
        examples, results = talk(url, key, lambda client: _score_examples(client, asked))
        _show_examples(examples, results, as_json=as_json)
    else:
        result = talk(url, key, lambda client: _score_one(client, asked))
        if as_json:
            typer.echo(wire.encode(result))
        else:
            _show(result)
        if result["outcome"] == "unscored":
            raise typer.Exit(FAILED)


def read_config(config: str) -> dict[str, Any]:
    """A configuration as `--config` gives it: JSON, or the name of a file with it (after an @, or without)."""
    if config.lstrip().startswith("{"):
        content = config.encode("utf-8", "surrogateescape")
    else:
        content = _content(config.removeprefix("@"), "--config")
    value = _decoded(content, "--config")
    if not isinstance(value, dict):
        raise CommandError("--config: a configuration is a JSON object", MISUSED)
    return value


def _item(
    completion: str | None,
    messages: str | None,
    prompt: str | None,
    reference: str | None,
    tokens: int | None,
    metadata: str | None,
    configured: bool,
) -> dict[str, Any] | None:
    """The item without its reference; None where nothing was said of one."""
    if completion is not None and messages is not None:
        raise CommandError("--completion and --messages exclude each other", MISUSED)
    given = (completion, messages, prompt, reference, tokens, metadata)
    if all(part is None for part in given) and not configured:
        return None
    if messages is not None:
        item = {"completion": _decoded(_text(messages, "--messages").encode("utf-8", "surrogatepass"), "--messages")}
    else:
        item = {"completion": _text("-" if completion is None else completion, "--completion")}
    if prompt is not None:
        item["prompt"] = _text(prompt, "--prompt")
    if tokens is not None:
        item["tokens"] = tokens
    if metadata is not None:
        text = _text(metadata, "--metadata")
        item["metadata"] = _decoded(text.encode("utf-8", "surrogatepass"), "--metadata")
    return item


def _text(given: str, option: str) -> str:
    """What an option says: itself, the content of the file after an @, or stdin for a lone -."""
    if given == "-":
        if sys.stdin.isatty():
            note(f"reading {option} from the terminal; Ctrl-D on a line of its own ends it")
        content = sys.stdin.buffer.read()
    elif given.startswith("@"):
        content = _content(given[1:], option)
    else:
        content = given.encode("utf-8", "surrogateescape")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise CommandError(f"{option}: is not UTF-8 from byte {error.start} on", MISUSED) from None


def _content(path: str, option: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) else error
        raise CommandError(f"{option}: {path} cannot be read: {why}", MISUSED) from None


def _decoded(content: bytes, option: str) -> Any:
    try:
        return wire.decode(content)
    except Problem as problem:
        raise CommandError(f"{option}: {problem.detail}", MISUSED) from None


async def _kind(client: Client, kind: str) -> dict[str, Any]:
    """What the service says of a kind."""
    from app.cli.typed import nearest

    kinds = {known["kind"]: known for known in (await client.call("GET", "/kinds")).value["items"]}
    if kind not in kinds:
        hint = nearest(kind, sorted(kinds))
        raise CommandError(f"no kind {kind}; {hint} (a registered verifier goes after --verifier)", MISUSED)
    found: dict[str, Any] = kinds[kind]
    return found


async def _registered(client: Client, name: str) -> dict[str, Any]:
    """A registered version, by name or name@version."""
    from app.http_client import RefusedError

    try:
        found: dict[str, Any] = (await client.call("GET", f"/verifiers/{quote(name, safe='@')}")).value
    except RefusedError as error:
        raise CommandError(str(error), MISUSED if error.status == 404 else FAILED) from None
    return found


async def _score_one(client: Client, asked: _Asked) -> dict[str, Any]:
    from app.cli.typed import config_with, reference_from

    verifier: Any = asked.name
    name = asked.kind
    if asked.name is not None:
        name = (await _registered(client, asked.name))["kind"]
    kind = await _kind(client, str(name))
    if asked.name is None:
        config = config_with(asked.config, asked.assignments, kind["config_schema"])
        verifier = {"kind": name, "config": config}
    item = dict(asked.item or {})
    if asked.reference is not None:
        item["reference"] = reference_from(asked.reference, kind["reference_schema"])
    [result] = await _scored(client, [_Example(verifier, item, None)], asked.detail)
    return result


async def _score_examples(client: Client, asked: _Asked) -> tuple[list[_Example], list[dict[str, Any]]]:
    if asked.name is not None:
        version = await _registered(client, asked.name)
        examples = [
            _Example(asked.name, {name: value for name, value in example.items() if name != "expect"}, None)
            for example in version["examples"]
        ]
    else:
        kind = await _kind(client, str(asked.kind))
        examples = [
            _Example({"kind": asked.kind, "config": example["config"]}, example["item"], example["score"])
            for example in kind["examples"]
        ]
    if not examples:
        raise CommandError(
            f"{asked.kind} has no examples, since it cannot do without a configuration: give --completion and --set"
            if asked.name is None
            else f"{asked.name} was registered without examples: give a --completion",
            MISUSED,
        )
    return examples, await _scored(client, examples, asked.detail)


async def _scored(client: Client, examples: Sequence[_Example], detail: str) -> list[dict[str, Any]]:
    from app.http_client import RefusedError

    items = [{**example.item, "verifier": example.verifier} for example in examples]
    body = wire.encode({"items": items, "options": {"detail": detail}})
    if len(examples) == 1:  # a configuration that cannot work is the request's fault, not the item's
        body = wire.encode(
            {"verifier": examples[0].verifier, "items": [examples[0].item], "options": {"detail": detail}}
        )
    try:
        results: list[dict[str, Any]] = (await client.call("POST", "/score", body=body)).value["items"]
    except RefusedError as error:
        raise CommandError(str(error), MISUSED if error.status in (400, 422) else FAILED) from None
    return results


def _show(result: Mapping[str, Any]) -> None:
    """A verdict, a line for each thing that it says."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("score", "none" if result["score"] is None else f"{result['score']:g}")
    for name in ("outcome", "verifier"):
        table.add_row(name, cell(result[name]))
    for name, value in result["detail"].items():
        table.add_row(cell(name), cell(value if isinstance(value, str) else wire.encode(value)))
    for name, value in result["components"].items():
        table.add_row(cell(f"component {name}"), f"{value:g}")
    for step in result["steps"] or ():
        table.add_row(f"step {step['start']}-{step['end']}", f"{step['score']:g}")
    if error := result["error"]:
        table.add_row("error", cell(error["type"]))
        table.add_row("why", cell(error["message"]))
        table.add_row("what to do", _what_to_do(error))
    console().print(table)


def _what_to_do(error: Mapping[str, Any]) -> str:
    if error["retryable"]:
        return "not the completion's fault, and not lasting: try again; 'assay doctor' looks for the cause"
    if error["type"] == "bad_item":
        return "not the completion's fault: change what is named above; docs/kinds/ says what the kind takes"
    return "not the completion's fault; docs/verdicts.md explains the error"


def _show_examples(examples: Sequence[_Example], results: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for result in results:
            typer.echo(wire.encode(result))
    else:
        _show_table(examples, results)
    for number, (example, result) in enumerate(zip(examples, results, strict=True), 1):
        if result["outcome"] == "unscored":
            note(f"example {number}: {result['error']['type']}: {result['error']['message']}")
        elif example.score is not None and example.score != result["score"]:
            note(f"example {number} scored {result['score']} instead of {example.score}")
    if any(result["outcome"] == "unscored" for result in results):
        raise typer.Exit(FAILED)


def _show_table(examples: Sequence[_Example], results: Sequence[Mapping[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("score", "outcome"):  # never cut, whatever else there is
        table.add_column(
            title, no_wrap=True, min_width=max(map(len, (title, *(_text_of(r[title]) for r in results))))
        )
    for title in ("completion", "reference", "config"):
        table.add_column(title, no_wrap=True, overflow="ellipsis")
    for example, result in zip(examples, results, strict=True):
        config = example.verifier["config"] if isinstance(example.verifier, dict) else None
        values = (example.item["completion"], example.item.get("reference"), config or None)
        table.add_row(
            _text_of(result["score"]),
            cell(result["outcome"]),
            *(cell(_text_of(value)[:SHOWN_CHARS]) for value in values),
        )
    console().print(table)


def _text_of(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else value if isinstance(value, str) else wire.encode(value)

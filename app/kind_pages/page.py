"""One kind's page, and the list of all kinds, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.kind_pages.docstring import prose, summary
from app.kind_pages.schema import Node, Row, Tables, WithFactories, wire_text
from verifiers.base import Verifier
from verifiers.direct import DirectKind

MADE = "<!-- Made by `make docs` from the kind's own declaration in verifiers/: change it there. -->"
WIDTH = 116
"""Characters of a line of JSON, as far as values can be parted."""


def page(kind: type[Verifier], outcomes: Sequence[str]) -> str:
    """The kind's page. `outcomes` are what its examples come to, in their order."""
    before, sections = prose(kind)
    parts = [f"# `{kind.kind}`", MADE, summary(kind), before, _facts(kind)]
    parts += ["## Configuration", sections.pop("Configuration", ""), _configuration(kind)]
    parts += ["## Reference", sections.pop("Reference", ""), _reference(kind)]
    if kind.examples:
        parts += ["## Examples", sections.pop("Examples", ""), _examples(kind, outcomes)]
    for title, text in sections.items():
        parts += [f"## {title}", text]
    return "\n\n".join(filter(None, parts)) + "\n"


def index(kinds: Mapping[str, type[Verifier]]) -> str:
    """The list of all kinds, each with a link to its page."""
    lines = ["| kind | what it does | reference |", "|---|---|---|"]
    lines += [
        f"| [`{name}`]({name}.md) | {_cell(summary(kind))} | {_cell(_reference_in_short(kind))} |"
        for name, kind in sorted(kinds.items())
    ]
    intro = (
        "A kind that can do without configuration is registered under its own name, with the defaults of its page. "
        "With another configuration it is registered by `POST /verifiers`, or sent along as "
        '`"verifier": {"kind": "text", "config": {...}}`. `assay verifiers try KIND` scores from the terminal.'
    )
    return "\n\n".join(["# Kinds of verifier", MADE, intro, "\n".join(lines)]) + "\n"


def expectation(outcome: str, score: float | None) -> dict[str, Any]:
    """What an example on a page says of its verdict."""
    return {"outcome": outcome, "score": score}


def _facts(kind: type[Verifier]) -> str:
    same = "The same item always gets the same verdict" if kind.deterministic else "Verdicts may differ over time"
    kept = "; verdicts are cached" if kind.cache != "none" else "; nothing is cached"
    return " ".join(filter(None, (f"{same}{kept}.", _where(kind), f"Revision {kind.revision}.")))


def _where(kind: type[Verifier]) -> str:
    if kind.sandboxed:
        return "Code runs in the [sandbox](../sandbox.md); without one every item is `unscored`."
    if issubclass(kind, DirectKind) or kind.guarded:
        return (
            "An item takes microseconds in the service itself; what could take longer goes to a worker process of "
            "bounded time and memory."
        )
    return ""


def _configuration(kind: type[Verifier]) -> str:
    tables = Tables(kind.Config.model_json_schema(schema_generator=WithFactories))
    rows = tables.rows(tables.root)
    return _table(rows) if rows else "Nothing to configure."


def _reference(kind: type[Verifier]) -> str:
    tables = Tables(kind.reference.json_schema(schema_generator=WithFactories))
    objects = tables.objects(tables.root)
    if not objects:
        return "" if "Reference" in prose(kind)[1] else f"{_sentence(_reference_in_short(kind))}."
    parts = [f"{_sentence(_reference_in_short(kind))}."]
    for node in objects:
        parts += [_heading(node, alone=len(objects) == 1), _table(tables.rows(node))]
    return "\n\n".join(filter(None, parts))


def _heading(node: Node, *, alone: bool) -> str:
    """What tells one sort of object from the others, and what its class says of it."""
    told = [
        f"`{name}: {wire_text(field['const'])}`" for name, field in node["properties"].items() if "const" in field
    ]
    said = " ".join(node.get("description", "").split())
    if alone or not told:
        return said
    return f"**{', '.join(told)}** {said}"


def _reference_in_short(kind: type[Verifier]) -> str:
    """What a reference may be, or the first sentence of what the docstring says of it."""
    tables = Tables(kind.reference.json_schema(schema_generator=WithFactories))
    said = prose(kind)[1].get("Reference", "")
    if said and not any(tables.alternatives(tables.root)):
        return " ".join(said.split()).split(". ")[0].rstrip(".")
    forms = [
        value
        for node in tables.objects(tables.root)
        for name, field in node["properties"].items()
        if name == "type" and (value := field.get("const"))
    ]
    return f"object of type {', '.join(f'`{form}`' for form in forms)}" if forms else tables.values(tables.root)


def _examples(kind: type[Verifier], outcomes: Sequence[str]) -> str:
    """Each example as JSON; an item and a configuration may be copied from it as they are."""
    said = (
        f"`assay verifiers try {kind.kind}` scores them. `POST /score` takes kind and configuration as `verifier`, "
        "and the item as one of `items`."
    )
    blocks = [
        laid_out(
            {
                "kind": kind.kind,
                "config": example.config,
                "item": example.item.model_dump(mode="json", exclude_unset=True),
                "expect": expectation(outcome, example.score),
            }
        )
        for example, outcome in zip(kind.examples, outcomes, strict=True)
    ]
    return "\n".join([said, "", *(f"```json\n{block}\n```" for block in blocks)])


def laid_out(value: Any, column: int = 0, indent: int = 0) -> str:
    """JSON on one line where it fits, else with a line for each member."""
    flat = wire_text(value)
    if column + len(flat) <= WIDTH or not isinstance(value, dict | list) or not value:
        return flat
    space = "\n" + " " * (indent + 1)
    if isinstance(value, list):
        return f"[{f',{space}'.join(laid_out(member, indent + 1, indent + 1) for member in value)}]"
    members = []
    for name, member in value.items():
        key = wire_text(name) + ": "
        members.append(key + laid_out(member, indent + 1 + len(key), indent + 1))
    return f"{{{f',{space}'.join(members)}}}"


def _table(rows: Sequence[Row]) -> str:
    lines = ["| field | values | default | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{row.field}` | {_cell(row.values)} | {_cell(row.default)} | {_cell(row.meaning)} |" for row in rows
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text inside a table: on one line, and no tags but in code."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    return "`".join(part.replace("<", "&lt;") if number % 2 == 0 else part for number, part in enumerate(parts))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]

"""Pages on kinds: every field of a configuration and of a reference has a row, whatever it is nested in."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal, cast

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from app.kind_pages import __main__ as command
from app.kind_pages.docstring import prose, summary
from app.kind_pages.page import WIDTH, index, laid_out, page
from app.kind_pages.schema import Row, Tables, WithFactories
from verifiers.base import KINDS, Example, Item, KindConfig, Strict, Verifier, load_kinds

load_kinds()


class Limits(KindConfig):
    """Bounds."""

    cpu_s: float = Field(5.0, ge=0.1, le=300, description="Seconds.")
    wall_s: float | None = Field(None, gt=0, lt=600, description="More seconds.")


class Tree(KindConfig):
    """May hold itself."""

    name: str = Field(min_length=1, max_length=8, description="Whose.")
    children: list[Tree] = Field(default_factory=list, description="Inside it.")


class Config(KindConfig):
    """Something of every form."""

    from_: Literal["whole", "fenced"] = Field("whole", alias="from", description="Where | which.")
    limits: Limits = Field(default=Limits(cpu_s=2), description="What <b>bounds</b> it.")
    files: dict[str, str] = Field(default_factory=lambda: {"a": "b"}, description="Texts.")
    parts: dict[str, Limits] = Field(default_factory=dict, description="By name.")
    sections: list[str | Tree] = Field(["think"], min_length=1, max_length=16, description="In order.")
    level: Literal["a", 1] | None = Field(None, description="One of few.")
    on: bool = Field(True, description="Yes.")
    count: int = Field(3, ge=1, description="`<tag>` or more.")
    anything: Any = Field(None, description="What you like.")


class Calls(Strict):
    """Calls to make."""

    type: Literal["calls"]
    calls: list[Limits]


class Rows(Strict):
    """Rows to find."""

    type: Literal["rows"]
    rows: list[list[int]] = Field(description="Each a list.")


class Declared:
    """Does one thing
    on two lines.

    Before the first heading.

    ## Limits
    At the end.

    ## Reference
    What you compare with. And more.
    """

    kind: ClassVar[str] = "made"
    revision: ClassVar[int] = 7
    deterministic: ClassVar[bool] = False
    cache: ClassVar[Any] = "none"
    Config: ClassVar[type[BaseModel]] = Config
    reference: ClassVar[TypeAdapter[Any]] = TypeAdapter(Annotated[Calls | Rows, Field(discriminator="type")])
    examples: ClassVar[Any] = (Example(Item(completion="a" * 100, prompt="b"), 0.5, {"from": "fenced"}),)
    guarded: ClassVar[Any] = ()
    sandboxed: ClassVar[bool] = False


MADE = cast(type[Verifier], Declared)


def rows(model: type[BaseModel]) -> dict[str, Row]:
    tables = Tables(model.model_json_schema(schema_generator=WithFactories))
    return {row.field: row for row in tables.rows(tables.root)}


def test_every_field_has_its_values_default_and_meaning() -> None:
    found = {name: (row.values, row.default, row.meaning) for name, row in rows(Config).items()}
    assert found == {
        "from": ("`whole`, `fenced`", "`whole`", "Where | which."),
        "limits": ("object", "", "What <b>bounds</b> it."),
        "limits.cpu_s": ("number (0.1 to 300)", "`2.0`", "Seconds."),
        "limits.wall_s": ("number (above 0, below 600) or null", "`null`", "More seconds."),
        "files": ("object of strings", '`{"a": "b"}`', "Texts."),
        "parts": ("object of objects", "`{}`", "By name."),
        "parts.*.cpu_s": ("number (0.1 to 300)", "`5.0`", "Seconds."),
        "parts.*.wall_s": ("number (above 0, below 600) or null", "`null`", "More seconds."),
        "sections": ("list of strings or objects (1 to 16)", '`["think"]`', "In order."),
        "sections[].name": ("string (1 to 8 characters)", "required", "Whose."),
        "sections[].children": ("list of objects", "`[]`", "Inside it."),
        "level": ("`a`, `1` or null", "`null`", "One of few."),
        "on": ("boolean", "`true`", "Yes."),
        "count": ("integer (1 or more)", "`3`", "`<tag>` or more."),
        "anything": ("any JSON", "`null`", "What you like."),
    }


def test_page() -> None:
    text = page(MADE, ["partial"])
    head, configuration, reference, examples, limits = text.split("\n## ")
    assert head.startswith("# `made`\n")
    assert "Does one thing on two lines.\n\nBefore the first heading." in head
    assert "Verdicts may differ over time; nothing is cached. Revision 7." in head
    assert "| `from` | `whole`, `fenced` | `whole` | Where \\| which. |" in configuration
    assert "What &lt;b>bounds&lt;/b> it." in configuration
    assert "`<tag>` or more." in configuration
    assert reference.startswith("Reference\n\nWhat you compare with. And more.\n\nObject of type `calls`, `rows`.")
    assert '**`type: "calls"`** Calls to make.' in reference
    assert "| `calls[].cpu_s` | number (0.1 to 300) |" in reference
    assert "| `rows` | list of lists of integers | required | Each a list. |" in reference
    block = json.loads(examples.split("```json\n")[1].split("```")[0])
    assert block == {
        "kind": "made",
        "config": {"from": "fenced"},
        "item": {"completion": "a" * 100, "prompt": "b"},
        "expect": {"outcome": "partial", "score": 0.5},
    }
    assert limits == "Limits\n\nAt the end.\n"


def test_index() -> None:
    assert (
        "| [`made`](made.md) | Does one thing on two lines. | object of type `calls`, `rows` |"
        in index({"made": MADE}).splitlines()
    )


def test_docstring() -> None:
    assert summary(MADE) == "Does one thing on two lines."
    assert prose(MADE) == (
        "Before the first heading.",
        {"Limits": "At the end.", "Reference": "What you compare with. And more."},
    )


@pytest.mark.parametrize(
    "value", [{}, [], {"a": "x" * 200}, {"a": [{"b": ["y" * 80, {"c": "é\ud800" * 40}]}] * 3, "d": None}, ["\n" * 70]]
)
def test_json_that_is_laid_out_is_the_same_json(value: Any) -> None:
    text = laid_out(value)
    assert json.loads(text) == value
    text.encode()
    assert len(text) <= WIDTH or "\n" in text or "x" * 200 in text or "\\n" * 70 in text


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_kind_is_described(kind: str) -> None:
    """What a reader of the page needs, of every kind: one sentence, and a meaning for every field."""
    said = summary(KINDS[kind])
    assert said.endswith(".")
    assert len(said) < 200
    for schema in (KINDS[kind].Config.model_json_schema(), KINDS[kind].reference.json_schema()):
        tables = Tables(schema)
        for node in tables.objects(tables.root):
            for row in tables.rows(node):
                assert row.meaning or "const" in row.values or row.values.startswith('`"'), row


async def test_an_example_that_does_not_score_as_declared_stops_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = (*KINDS["format"].examples, Example(Item(completion=""), 1.0))
    monkeypatch.setattr(KINDS["format"], "examples", wrong)
    with pytest.raises(RuntimeError, match=f"format: example {len(wrong) - 1} scores 0.0, not 1.0"):
        await command.outcomes(["format"])


def test_an_unknown_kind_stops_the_command() -> None:
    with pytest.raises(SystemExit, match="no kind formt: there are "):
        command.main(["formt"])

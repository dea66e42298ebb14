"""The pages on kinds: every example is scored, and every field of the configuration is explained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.verifiers.conftest import SandboxFor
from tests.verifiers.support import score
from verifiers.base import load_kinds

KINDS = load_kinds()
PAGES = sorted((Path(__file__).parents[2] / "docs" / "kinds").glob("*.md"))
BLOCK = re.compile(r"^```json\n(\{\"kind\".*?)^```$", re.DOTALL | re.MULTILINE)
EXAMPLES: list[tuple[str, dict[str, Any]]] = [
    (page.stem, json.loads(block)) for page in PAGES for block in BLOCK.findall(page.read_text())
]


@pytest.mark.parametrize(("page", "example"), EXAMPLES, ids=lambda value: value if isinstance(value, str) else "")
async def test_example_scores_as_the_page_says(page: str, example: dict[str, Any], sandbox_for: SandboxFor) -> None:
    assert example.keys() == {"kind", "config", "item", "expect"}
    assert example["kind"] == page
    verdict = await score(example["kind"], example["config"], sandbox=sandbox_for(page), **example["item"])
    assert {"outcome": verdict.outcome, "score": verdict.score} == example["expect"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_explains_every_field(page: Path) -> None:
    text = page.read_text()
    gives_defaults = "| field | default | meaning |" in text
    for name, default in fields(KINDS[page.stem].Config):
        row = re.search(rf"^\| `{re.escape(name)}` \| (.*?) \|", text, re.MULTILINE)
        assert row, name
        if gives_defaults:
            assert row[1].strip("`") in (json.dumps(default), str(default)), name


def fields(config: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    """The name and default of every field; of a field that is an object, those of its own fields."""
    for name, field in config.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            yield from ((f"{name}.{inner}", value) for inner, value in fields(type(default)))
        else:
            yield field.alias or name, default


@pytest.mark.parametrize("page", sorted({page for page, _ in EXAMPLES}))
def test_examples_show_a_pass_and_something_else(page: str) -> None:
    scores = [example["expect"]["score"] for name, example in EXAMPLES if name == page]
    assert 1.0 in scores or 0.0 in scores
    assert len(set(scores)) > 1

"""The pages on kinds: made from what the kinds declare, and every example on them scores as it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from app.kind_pages.page import index, page
from tests.verifiers.conftest import SandboxFor
from tests.verifiers.support import score
from verifiers.base import load_kinds

KINDS = load_kinds()
FOLDER = Path(__file__).parents[2] / "docs" / "kinds"
PAGES = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.md")) if path.stem != "README"}
BLOCK = re.compile(r"^```json\n(\{\"kind\".*?)^```$", re.DOTALL | re.MULTILINE)
EXAMPLES: list[tuple[str, dict[str, Any]]] = [
    (kind, json.loads(block)) for kind, text in PAGES.items() for block in BLOCK.findall(text)
]


@pytest.mark.parametrize(("kind", "example"), EXAMPLES, ids=lambda value: value if isinstance(value, str) else "")
async def test_example_scores_as_the_page_says(kind: str, example: dict[str, Any], sandbox_for: SandboxFor) -> None:
    assert example.keys() == {"kind", "config", "item", "expect"}
    assert example["kind"] == kind
    verdict = await score(kind, example["config"], sandbox=sandbox_for(kind), **example["item"])
    assert {"outcome": verdict.outcome, "score": verdict.score} == example["expect"]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_page_is_what_the_kind_declares(kind: str) -> None:
    """The outcomes are taken from the page itself: that they are right is the test above."""
    outcomes = [example["expect"]["outcome"] for name, example in EXAMPLES if name == kind]
    assert len(outcomes) == len(KINDS[kind].examples), "run make docs"
    assert PAGES[kind] == page(KINDS[kind], outcomes), "run make docs"


def test_the_list_of_kinds_is_whole() -> None:
    assert (FOLDER / "README.md").read_text() == index(KINDS), "run make docs"
    assert PAGES.keys() == KINDS.keys(), "run make docs, and remove pages of kinds that are no more"

"""`python -m app.kind_pages [KIND ...]`: write the pages of these kinds, or of all, and the list of all.

Every example is scored; where one does not score as its kind declares, or cannot be scored here, no page is written.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from app.guarded.pool import GuardedPool
from app.kind_pages.page import index, page
from app.selfcheck import proving
from app.services import opened_sandbox
from app.settings import Settings
from verifiers.base import KINDS, load_kinds

FOLDER = Path(__file__).parents[2] / "docs" / "kinds"
SCORING_S = 120.0


async def outcomes(chosen: Sequence[str]) -> dict[str, list[str]]:
    """What the examples of each kind come to. Raises RuntimeError where one scores otherwise than declared."""
    guard = GuardedPool(1, sorted({module for kind in chosen for module in KINDS[kind].guarded}))
    sandbox = opened_sandbox(Settings(), cells=1)
    try:
        await asyncio.gather(guard.start(), sandbox.start())
        found: dict[str, list[str]] = {}
        for kind in chosen:
            cls = KINDS[kind]
            found[kind] = []
            for number, example in enumerate(cls.examples):
                verifier = cls(cls.Config.model_validate(example.config))
                [verdict] = await verifier.verify([example.item], proving(guard, sandbox, SCORING_S))
                if verdict.score != example.score:
                    why = verdict.error.message if verdict.error else verdict.detail
                    raise RuntimeError(f"{kind}: example {number} scores {verdict.score}, not {example.score}: {why}")
                found[kind].append(verdict.outcome)
        return found
    finally:
        await asyncio.gather(guard.close(), sandbox.close())


def main(asked: Sequence[str]) -> None:
    """Write the pages."""
    load_kinds()
    if unknown := set(asked) - set(KINDS):
        sys.exit(f"no kind {', '.join(sorted(unknown))}: there are {', '.join(sorted(KINDS))}")
    try:
        found = asyncio.run(outcomes(asked or sorted(KINDS)))
    except RuntimeError as error:
        sys.exit(str(error))
    for kind, came_to in found.items():
        (FOLDER / f"{kind}.md").write_text(page(KINDS[kind], came_to))
    (FOLDER / "README.md").write_text(index(KINDS))


if __name__ == "__main__":
    main(sys.argv[1:])

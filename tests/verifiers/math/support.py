"""One item of the kind `math`, judged in this process."""

from __future__ import annotations

from typing import Any

from tests.verifiers.support import score
from verifiers.base import Verdict


async def judged(reference: Any, completion: str, prompt: str | None = None, **config: Any) -> Verdict:
    """The verdict on a completion."""
    return await score("math", config, reference=reference, completion=completion, prompt=prompt)


async def judged_answer(reference: Any, answer: str, **config: Any) -> Verdict:
    """The verdict on a completion that boxes the answer."""
    return await judged(reference, f"Therefore it is $\\boxed{{{answer}}}$.", **config)

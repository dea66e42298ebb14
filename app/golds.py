"""Whether references can be used: each must accept its own answer, before anything is trained against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from verifiers.base import BadItemError, Completion, Item, Prompt, Verdict, Verifier
from verifiers.lent import HasGold


@dataclass(frozen=True, slots=True)
class Gold:
    """A reference, and the completion that it must accept: None where the kind is to write it."""

    reference: Any
    completion: Completion | None = None
    prompt: Prompt | None = None


def items_of(verifier: Verifier, golds: Sequence[Gold]) -> list[Item | str]:
    """The item that proves each reference, or why there is none."""
    return [_item(verifier, gold) for gold in golds]


def _item(verifier: Verifier, gold: Gold) -> Item | str:
    completion = gold.completion
    if completion is None:
        if not isinstance(verifier, HasGold):
            return (
                f"the kind {verifier.kind} cannot write the completion that a reference must accept; send it as "
                "'completion'"
            )
        try:
            completion = verifier.gold(gold.reference)
        except BadItemError as error:
            return str(error)
    return Item(prompt=gold.prompt, completion=completion, reference=gold.reference)


def fault_of(verdict: Verdict) -> str:
    """Why a reference does not accept its own answer; empty where it does."""
    if verdict.error is not None:
        return verdict.error.message
    if verdict.score is not None and verdict.score >= 1.0:
        return ""
    said = verdict.detail.get("reason") or verdict.detail.get("stage", "")
    return f"its own answer scores {verdict.score} ({verdict.outcome}{f', {said}' if said else ''})"

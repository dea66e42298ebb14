"""What another verifier is asked about one step: an item of its own, which is read as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from verifiers.base import Item, Prompt, Verdict
from verifiers.judge.emptiness import says_nothing
from verifiers.process.splitting import Span
from verifiers.thinking import CLOSE, OPEN, prompt_tail


def with_content(text: str, steps: Sequence[Span]) -> list[Span]:
    """The steps, of which one that says nothing is one with the next, and at the end with the last before it.

    A heading such as "Solution:" is no step: a verifier rejects it, and the least of all scores would be its.
    """
    found: list[Span] = []
    begin: int | None = None
    for start, end in steps:
        begin = start if begin is None else begin
        if says_nothing(text[start:end]):
            continue
        found.append((begin, end))
        begin = None
    if begin is not None:
        end = steps[-1][1]
        found = [*found[:-1], (found[-1][0], end)] if found else [(begin, end)]
    return found


def piece(item: Item, text: str, reference: Any) -> Item:
    """The item whose completion is a step or a prefix.

    It holds no thinking part, opened here or in the prompt: half of one would hide the step from verifiers that read
    what follows the thinking.
    """
    if "think>" in text:
        text = text.replace(OPEN, "").replace(CLOSE, "")
    return item.model_copy(
        update={
            "prompt": _without_opening(item),
            "completion": text,
            "reference": reference,
            "tokens": None,  # of the whole
        }
    )


def _without_opening(item: Item) -> Prompt | None:
    """The prompt without a thinking part that it opens at its end."""
    prompt = item.prompt
    if prompt is None or not prompt_tail(item).endswith(OPEN):
        return prompt
    text = item.prompt_text.rstrip().removesuffix(OPEN)
    if isinstance(prompt, str):
        return text
    return [*prompt[:-1], prompt[-1].model_copy(update={"content": text})]


def usage_of(parts: Iterable[Verdict]) -> dict[str, Any]:
    """What backends took for the parts (calls, tokens, cost); empty where none says so."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part.detail.get("usage", {}))
    return dict(total)

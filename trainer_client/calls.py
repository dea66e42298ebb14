"""What a call may say, shared by both clients, and how it becomes the body of a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict

from trainer_client.encoding import UnsendableError, encoded_object, item_id
from trainer_client.results import Verdict, bad_item

Verifier: TypeAlias = str | Mapping[str, Any] | None
"""`name` (its latest version), `name@version`, `{"kind": ..., "config": ...}`; None where each item names its own."""
Text: TypeAlias = str | Sequence[Mapping[str, Any]]
"""Text, or chat messages."""


class CallOptions(TypedDict, total=False):
    """Options of every call."""

    run: str | None
    """The training run this belongs to."""
    step: int | None
    """The run's step."""
    cache: bool
    """Whether a verdict may be reused; true if not given."""
    idempotency_key: str | None
    """Makes the same call, made again within 24 hours, get the recorded answer; without it, every call is its own."""
    deadline_s: float | None
    """Seconds until the call ends, retries included; the client's own if not given."""


class ScoreOptions(CallOptions, total=False):
    """Options of a scoring call."""

    detail: Literal["none", "brief", "full"]
    """How much the verdicts tell; `brief` if not given."""
    on_error: Literal["null", "fail"]
    """What an unscored item is: a verdict whose score is None (`null`, if not given), or `ItemsUnscoredError`."""


class ItemFields(TypedDict, total=False):
    """The fields of an item beside its completion; docs/verdicts.md has their meaning."""

    id: str | None
    prompt: Text | None
    reference: Any
    group: str | None
    tokens: int | None
    finish_reason: str | None
    metadata: Mapping[str, Any]


class OneItem(ItemFields, ScoreOptions, total=False):
    """An item's fields, and options."""


MAX_CHARS = 8 * 2**20
"""Of a request's entries, unless one alone has more; the service takes 32 MiB."""
ITEM_NAMES = frozenset({"completion", *ItemFields.__optional_keys__})


def items_of(
    items: Sequence[Mapping[str, Any]] | None,
    completions: Sequence[Text] | None,
    prompts: Sequence[Text] | None,
    references: Sequence[Any] | None,
) -> Sequence[Mapping[str, Any]]:
    """Items as they are, or made of columns. Raises TypeError or ValueError on what is neither."""
    if (items is None) == (completions is None):
        raise TypeError("pass either items or completions")
    if items is not None:
        if prompts is not None or references is not None:
            raise TypeError("prompts and references go with completions; items have their own")
        return items
    columns: dict[str, Sequence[Any]] = {}
    for field, column in (("completion", completions), ("prompt", prompts), ("reference", references)):
        if isinstance(column, str):
            raise TypeError(f"{field}s must be a sequence with one entry for each item, not a string")
        if column is not None:
            columns[field] = column
    lengths = {field: len(column) for field, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns differ in length: {lengths}")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def sendable(items: Sequence[Mapping[str, Any]]) -> list[str | Verdict]:
    """Each item as JSON text; one that JSON has no form for is its own `bad_item`, and its neighbours are sent."""
    return [one_sendable(item) for item in items]


def one_sendable(item: Mapping[str, Any]) -> str | Verdict:
    """An item as JSON text, or its verdict `bad_item`."""
    try:
        return encoded_object(item, ITEM_NAMES)
    except UnsendableError as error:
        return bad_item(item_id(item), str(error))


def slices(texts: Sequence[str], weights: Sequence[int], most: int, most_weight: int) -> Iterator[slice]:
    """Slices of up to `most` texts, `most_weight` and `MAX_CHARS` in all; one alone that has more is its own."""
    start = weight = size = 0
    for at, (text, own) in enumerate(zip(texts, weights, strict=True)):
        if at > start and (at - start == most or weight + own > most_weight or size + len(text) > MAX_CHARS):
            yield slice(start, at)
            start, weight, size = at, 0, 0
        weight += own
        size += len(text)
    if start < len(texts):
        yield slice(start, len(texts))

"""What the engine is asked: items, what verifies them, and how."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from app.registry import Resolved
from app.results import Detail
from verifiers.base import Item, Verdict


@dataclass(frozen=True, slots=True, eq=False)
class Inline:
    """A verifier sent with the request instead of a name."""

    kind: str
    config: object


Reference = str | Inline | UUID
"""A name, a configuration, or the id of a version."""


@dataclass(frozen=True, slots=True)
class Task:
    """One item and what is to verify it; or, for an item that cannot be read, why (`fault`)."""

    item: Item | None
    verifier: Reference | None = None
    """None: the batch's verifier."""
    fault: str | None = None
    item_id: str | None = None
    """The id of an unreadable item, where that much could be read."""
    score_id: UUID | None = None
    """The id that its recorded verdict is to have; None: one of its own."""
    json: bytes | None = None
    """`rows.item_json` of the item, where that is known already."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a batch is scored. `run` and `step` say which training step it belongs to."""

    deadline_s: float = 30.0
    cache: bool = True
    detail: Detail = "brief"
    run: str | None = None
    step: int | None = None


@dataclass(slots=True)
class Slot:
    """Where one item's verdict ends up. After `Engine.verify` it has one."""

    verdict: Verdict | None = None
    resolved: Resolved | None = None
    ms: float = 0.0
    cached: bool = False
    json: bytes | None = None
    """`rows.item_json` of the item, where that is known already."""

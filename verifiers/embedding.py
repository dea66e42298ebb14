"""What a kind asks of a model that embeds texts, and what comes back. How it travels is the backends' affair."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Embedding:
    """A text as a vector."""

    vector: array[float]
    """Doubles, finite, one or more, of whatever length the model gives."""
    prompt_tokens: int = 0
    cost: float | None = None
    """In the currency of the backend's prices; None where it has none."""


@runtime_checkable
class Embeds(Protocol):
    """Backends (`verifiers.lent.Backends`) of which some embed texts."""

    async def embedding(self, name: str, text: str, *, deadline: float) -> Embedding:
        """The embedding of a text that holds no lone surrogates.

        Returns or raises by `deadline` (`time.monotonic()` seconds). Raises `BackendError`; of type
        `context_overflow` where the text has too many tokens.
        """
        ...

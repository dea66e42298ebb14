"""The key-value cache of a batch: given room to grow, expanded from prompts to their groups, and thinned out."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import DynamicLayer


class RoomyLayer(DynamicLayer):  # type: ignore[misc]  # transformers has no types
    """A layer that writes new keys and values into room it already has.

    The plain layer copies all that it holds at every token, which for long prompts costs more than the model does.
    Values are overwritten in place, so it is for sampling, never for a forward pass that needs gradients.
    """

    def __init__(self, keys: Tensor, values: Tensor, room: int) -> None:
        """`keys` and `values` are `[B, heads, L, size]`; `room` more positions will be written."""
        super().__init__()
        self.lazy_initialization(keys, values)
        self._length = keys.shape[-2]
        self._room = room
        self._keys = _with_room(keys, room)
        self._values = _with_room(values, room)
        self._show()

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Add positions, and return all there are."""
        end = self._length + key_states.shape[-2]
        self._keys[..., self._length : end, :] = key_states
        self._values[..., self._length : end, :] = value_states
        self._room -= end - self._length
        self._length = end
        self._show()
        return self.keys, self.values

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Keep these rows."""
        self._keys = self._keys[beam_idx]
        self._values = self._values[beam_idx]
        self._show()

    def _show(self) -> None:
        self.keys = self._keys[..., : self._length, :]
        self.values = self._values[..., : self._length, :]


def expand(cache: Any, rows: Tensor, room: int) -> Any:
    """The cache of prompts as that of a batch whose row `i` continues prompt `rows[i]`, with room for more tokens.

    A layer of another sort than full attention (sliding windows, recurrent states) keeps its own ways.
    """
    select(cache, rows)
    cache.layers = [
        RoomyLayer(layer.keys, layer.values, room) if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


def select(cache: Any, rows: Tensor) -> Any:
    """The cache with these rows only. Of its methods this one selects the rows of recurrent states too."""
    cache.reorder_cache(rows)
    return cache


def _with_room(held: Tensor, room: int) -> Tensor:
    grown = held.new_empty(*held.shape[:-2], held.shape[-2] + room, held.shape[-1])
    grown[..., : held.shape[-2], :] = held
    return grown

"""Verdicts kept in memory, bounded by the memory they take."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from verifiers.base import Verdict

ENTRY_BYTES = 600
"""What a verdict with its key and its place in the table takes, without what its detail holds (by tracemalloc)."""
MAX_ENTRY_BYTES = 65_536
"""A larger verdict is not kept."""


class VerdictCache:
    """Least recently used verdicts go first. Keys already hold project, version, revision and item."""

    def __init__(self, megabytes: int) -> None:
        self._room = megabytes * 2**20
        self._entries: OrderedDict[bytes, tuple[Verdict, int]] = OrderedDict()

    def get(self, key: bytes) -> Verdict | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: bytes, verdict: Verdict) -> None:
        """Keep a verdict. Transient ones, ones without a score and ones too large to be worth it are not kept."""
        if verdict.transient or verdict.score is None:
            return
        size = (
            ENTRY_BYTES + _size([verdict.detail, verdict.full, verdict.components]) + 200 * len(verdict.steps or ())
        )
        if size > MAX_ENTRY_BYTES:
            return
        old = self._entries.pop(key, None)
        if old is not None:
            self._room += old[1]
        self._entries[key] = (verdict, size)
        self._room -= size
        while self._room < 0:
            _, (_, freed) = self._entries.popitem(last=False)
            self._room += freed

    def __len__(self) -> int:
        return len(self._entries)


def _size(value: Any) -> int:
    """About the bytes that a plain value takes (sys.getsizeof of CPython 3.11, rounded up)."""
    if isinstance(value, str):
        return 80 + len(value) * (1 if value.isascii() else 4)
    if isinstance(value, dict):
        size = 240
        for key, inner in value.items():  # not sum(...), which takes twice as long
            size += 40 + _size(key) + _size(inner)
        return size
    if isinstance(value, list | tuple):
        size = 90
        for inner in value:
            size += 12 + _size(inner)
        return size
    return 32

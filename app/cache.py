"""Verdicts kept in memory, bounded by the memory they take."""

from __future__ import annotations

from collections import OrderedDict

from verifiers.base import Verdict

ENTRY_BYTES = 1200
"""What a small verdict with its key and its place in the table takes (measured with tracemalloc)."""


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
        """Keep a verdict. Transient ones and ones too large to be worth it are not kept."""
        size = ENTRY_BYTES + len(repr(verdict.detail)) + len(repr(verdict.full)) + 100 * len(verdict.steps or ())
        if verdict.transient or verdict.error is not None or size > 65536:
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

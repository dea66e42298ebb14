"""Answers of chat models kept in memory, bounded by the memory they take."""

from __future__ import annotations

from collections import OrderedDict

from verifiers.chat import ChatAnswer

ROOM = 16 * 2**20
"""Bytes of all answers that one API process keeps."""
ENTRY_BYTES = 500
"""What an answer with its key takes without its texts."""
MAX_ENTRY_BYTES = 65_536
"""A larger one is not kept."""


class Answers:
    """Least recently used answers go first."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._entries: OrderedDict[bytes, tuple[ChatAnswer, int]] = OrderedDict()

    def get(self, key: bytes) -> ChatAnswer | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: bytes, answer: ChatAnswer) -> None:
        """Keep an answer, unless it is none: empty, cut off, filtered or refused."""
        size = ENTRY_BYTES + _size(answer)
        if answer.finish_reason != "stop" or not answer.text or answer.refusal or size > MAX_ENTRY_BYTES:
            return
        old = self._entries.pop(key, None)
        self._entries[key] = (answer, size)
        self._room += (0 if old is None else old[1]) - size
        while self._room < 0:
            _, (_, freed) = self._entries.popitem(last=False)
            self._room += freed

    def remove(self, key: bytes) -> None:
        """Forget an answer, if it is kept."""
        old = self._entries.pop(key, None)
        if old is not None:
            self._room += old[1]

    def __len__(self) -> int:
        return len(self._entries)


def _size(answer: ChatAnswer) -> int:
    """About the bytes that an answer's texts and tokens take in CPython."""
    texts = 4 * len(answer.text)
    return texts + sum(
        200 + 4 * len(token.text) + sum(180 + 4 * len(text) for text, _ in token.top) for token in answer.tokens
    )

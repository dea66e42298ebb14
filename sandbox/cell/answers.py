"""What a launched process reports to the zygote while it lives: a frame for each call or test, one for loading."""

from __future__ import annotations

import os
import struct

HEAD = struct.Struct("<IBI")
"""Index of the call or test, status, and the bytes that follow: a value, or a message where the status has one."""
LOADED = 0xFFFFFFFF
"""The index of the frame that tells how loading went."""
ENDED = "ended"
STATUSES = ("ok", "exit", "failed", "protocol", "unsplittable", "broken_test", ENDED)
"""Statuses by number in a frame. `ended`: a call's process is gone, with this wait status, maybe with no answer."""
OF_CALLS = frozenset({"ok", "exit", "failed", "protocol", ENDED})
"""Those that a program's own process may report; the others judge tests, which it never runs."""


def send(descriptor: int, index: int, status: str, content: bytes = b"") -> None:
    """Write one frame."""
    data = memoryview(HEAD.pack(index, STATUSES.index(status), len(content)) + content)
    while data:
        data = data[os.write(descriptor, data) :]

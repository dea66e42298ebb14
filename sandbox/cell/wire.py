"""The frames between the service and a cell.

To the cell: a job (its plan as JSON, the program's part, the tests' part), or a stop. From it: `hello`, one result for
each run, `done`, or `fault`. The zygote reads a plan but neither part: they lie in memory of their own, which goes away
with the job, so that nothing of one job is left in what the next one is forked from.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from typing import Any

JOB, STOP = 1, 2
HEADER = struct.Struct("<BIIII")
"""To the cell: type, job, and the bytes of the plan, of the program's part and of the tests' part."""
ANSWER = struct.Struct("<III")
"""From the cell: job, bytes of the JSON head, bytes of what follows it."""
_COUNT = struct.Struct("<I")


class Ended(Exception):  # noqa: N818 - not an error: the service has gone
    """The other side closed the channel."""


def read_exactly(descriptor: int, view: memoryview) -> None:
    """Fill `view`. Raises `Ended`."""
    while view:
        count = os.readv(descriptor, [view])
        if not count:
            raise Ended
        view = view[count:]


def read_memory(descriptor: int, size: int) -> mmap.mmap:
    """Read so many bytes into memory that is returned to the kernel when it is closed."""
    memory = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with memoryview(memory) as whole, whole[:size] as view:
        read_exactly(descriptor, view)
    return memory


def write(descriptor: int, job: int, head: dict[str, Any], *parts: memoryview | bytes) -> None:
    """Send an answer. Raises `Ended`."""
    encoded = json.dumps(head, separators=(",", ":")).encode()
    frame = [ANSWER.pack(job, len(encoded), sum(len(part) for part in parts)) + encoded, *parts]
    views = [memoryview(part) for part in frame if len(part)]
    try:
        while views:
            count = os.writev(descriptor, views)
            while views and count >= len(views[0]):
                count -= len(views.pop(0))
            if views:
                views[0] = views[0][count:]
    except (BrokenPipeError, ConnectionError):
        raise Ended from None


def pack(blobs: list[bytes]) -> bytes:
    """Several byte strings as one part."""
    return b"".join([_COUNT.pack(len(blobs)), *(_COUNT.pack(len(blob)) for blob in blobs), *blobs])


class Part:
    """The byte strings of a part, by index."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        [count] = _COUNT.unpack_from(memory, 0)
        sizes = struct.unpack_from(f"<{count}I", memory, _COUNT.size)
        self._bounds = []
        start = _COUNT.size * (1 + count)
        for size in sizes:
            self._bounds.append((start, start + size))
            start += size

    def __getitem__(self, index: int) -> bytes:
        start, stop = self._bounds[index]
        return self._memory[start:stop]

    def __len__(self) -> int:
        return len(self._bounds)

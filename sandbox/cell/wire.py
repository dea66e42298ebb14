"""The frames between the service and a cell.

To the cell: a job (its plan as JSON, the program's part, the tests' part), or a stop. From it: `hello`, one result
for each run, `done`, or `fault`. The zygote reads a plan but neither part: they lie in memory of their own, which
goes away with the job, so that nothing of one job is left in what the next one is forked from.
"""

from __future__ import annotations

import mmap
import os
import struct

JOB, STOP = 1, 2
HEADER = struct.Struct("<BIIII")
"""To the cell: type, job, and the bytes of the plan, of the program's part and of the tests' part."""
ANSWER = struct.Struct("<BIII")
"""From the cell: type, job, bytes of the head, bytes of what follows it."""
HELLO, REFUSED, RUN, DONE, FAULT = range(5)
"""Types of an answer. The head of a `RUN` is `RUN_HEAD`, of the others JSON text, or nothing."""
RUN_HEAD = struct.Struct("<iBhhdd5I")
"""Index, status, exit code and signal (-1: none), processor and wall-clock milliseconds, and the bytes of standard
output, standard error, value, message, and the names (JSON) of the files that follow with their sizes."""
STATUSES = (
    "ok", "exit", "signal", "cpu", "wall", "memory", "output", "failed", "protocol", "unsplittable", "broken_test",
)  # fmt: skip
"""Of a run, by number."""
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


def write(descriptor: int, kind: int, job: int, head: bytes = b"", *parts: memoryview | bytes) -> None:
    """Send an answer. Raises `Ended`."""
    size = 0
    views: list[memoryview | bytes] = []
    for part in parts:
        if len(part):
            size += len(part)
            views.append(part)
    views.insert(0, ANSWER.pack(kind, job, len(head), size) + head)
    try:
        while True:
            written = os.writev(descriptor, views[:_MOST_PARTS])
            while views and written >= len(views[0]):
                written -= len(views.pop(0))
            if not views:
                return
            views[0] = memoryview(views[0])[written:]  # it did not take all at once
    except OSError:  # whatever it is: half an answer may be out, and nothing can follow it
        raise Ended from None


_MOST_PARTS = 512
"""Less than writev(2) takes at once."""


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

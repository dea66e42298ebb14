"""The wire between the service and a guarded worker: a 4-byte big-endian length, then so many bytes of ASCII JSON.

ASCII carries NUL and lone surrogates unharmed. A request is `[function, memory_mb, payload]`; an answer is
`[tag, value, cpu_ns, memory_bytes]`, where the tag is `OK`, `RAISED` or `MEMORY`, the value is the function's or a
message, and the last two are the worker's CPU clock and its anonymous memory when it had answered.
"""

from __future__ import annotations

import json
import struct
from typing import Any

MAX_REQUEST = 128 * 2**20
"""Bytes of a request: a body of 32 MiB grows to at most three times its size as ASCII JSON."""
MAX_VALUE = 256 * 2**10
"""Bytes of a function's value as JSON; decoding so many takes the service a few milliseconds."""
MAX_ANSWER = MAX_VALUE + 100
"""Bytes of an answer."""

OK, RAISED, MEMORY = "ok", "raised", "memory"

_LENGTH = struct.Struct(">I")
_encoder = json.JSONEncoder(ensure_ascii=True, allow_nan=False, check_circular=False, separators=(",", ":"))


class FrameError(ValueError):
    """A frame that is too long."""


def encode(value: Any) -> str:
    """`value` as ASCII JSON. Raises ValueError on NaN and infinity, TypeError on what JSON has not."""
    return _encoder.encode(value)


def header(length: int) -> bytes:
    """What comes before a body of `length` bytes."""
    return _LENGTH.pack(length)


class FrameBuffer:
    """Cuts a stream of bytes into the bodies of its frames."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytearray]:
        """The bodies that `data` completes. Raises `FrameError` as soon as one says that it is too long."""
        buffer = self._buffer
        buffer += data
        bodies = []
        start = 0
        while len(buffer) - start >= _LENGTH.size:
            length = _LENGTH.unpack_from(buffer, start)[0]
            if length > self._limit:
                raise FrameError(f"a frame of {length} bytes, {self._limit} are allowed")
            stop = start + _LENGTH.size + length
            if len(buffer) < stop:
                break
            bodies.append(buffer[start + _LENGTH.size : stop])
            start = stop
        del buffer[:start]
        return bodies

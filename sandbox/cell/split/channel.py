"""Frames on the socket between oracle and candidate: a 4-byte big-endian length, then so many bytes of ASCII JSON.

    ["q", number, operation, arguments, capture, news]      a question
    ["a", number, ok, value, writes, output, news]          its answer, `value` an exception where `ok` is false

Questions nest: the one who is asked may ask back (a callback) before it answers, and then waits for that answer
first. `arguments` is an array of trees of `..values`. `writes`, where it is not null, has the contents of every
mutable object of the arguments, in the order of `refs`, after the call changed any. `capture` asks for what the call
prints, which comes back as `output`. `news` describes classes that the values refer to. Nothing else is ever sent.
"""

from __future__ import annotations

import os
import struct
from typing import Any

from .. import values

MAX_FRAME = 16 * 2**20
MAX_TEXT = 2**20
"""Characters of captured output in one frame."""
_LENGTH = struct.Struct(">I")


class ClosedError(Exception):
    """The other end is closed."""


class MalformedError(Exception):
    """What came is no frame."""


class Channel:
    """One end of the socket."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, frame: list[Any]) -> None:
        """Send one frame. Raises `ClosedError`, and `ValuesError` for one that is too large."""
        body = values.dump(frame, MAX_FRAME)
        view = memoryview(_LENGTH.pack(len(body)) + body)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise ClosedError(str(error)) from None

    def receive(self) -> list[Any]:
        """The next frame: an array whose parts are not checked. Raises `ClosedError`, `MalformedError`."""
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        if length > MAX_FRAME:
            raise MalformedError(f"a frame of {length} bytes")
        try:
            frame = values.load(self._read(length), MAX_FRAME)
        except values.ValuesError as error:
            raise MalformedError(str(error)) from None
        if type(frame) is not list or not frame:
            raise MalformedError("a frame that is no array")
        return frame

    def _read(self, size: int) -> bytes:
        try:
            data = os.read(self._descriptor, size)
            if len(data) == size:
                return data
            parts = bytearray(data)
            while data and len(parts) < size:
                data = os.read(self._descriptor, min(size - len(parts), 2**18))
                parts += data
        except OSError as error:
            raise ClosedError(str(error)) from None
        if len(parts) < size:
            raise ClosedError("the end of the channel")
        return bytes(parts)

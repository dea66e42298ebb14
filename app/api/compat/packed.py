"""Tests as open-instruct packs them: base64 of a zlib stream of a pickle. Read here as plain data: nothing is loaded.

A pickle is a program for a small stack machine. This runs the part of it that plain data takes (text, numbers, lists,
tuples, dictionaries) and refuses the rest, which could name a class or call a function.
"""

from __future__ import annotations

import binascii
import pickletools
import zlib
from typing import Any

from app.wire import MAX_BODY
from verifiers.base import GivingWay

MAX_STEPS = 500_000
"""Instructions of a pickle; 10,000 cases take about 100,000."""

_TEXTS = ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE")
_NUMBERS = ("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
_VALUES = frozenset(_TEXTS + _NUMBERS)
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_SKIPPED = frozenset({"PROTO", "FRAME"})
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class PackedError(ValueError):
    """The text is no packed plain data; says why."""


class _Mark:
    """Where on the stack a list, a tuple or a dictionary begins."""


async def unpacked(text: str) -> Any:
    """The value that the text packs, giving way to others while it is read. Raises `PackedError`."""
    try:
        packed = binascii.a2b_base64(text, strict_mode=True)
        stream = zlib.decompressobj()
        pickled = stream.decompress(packed, MAX_BODY)
    except (ValueError, zlib.error):
        raise PackedError("is neither a list, nor JSON, nor base64 of a zlib stream") from None
    if stream.unconsumed_tail:
        raise PackedError(f"unpacks to more than {MAX_BODY // 2**20} MiB")
    machine, turn = _Machine(), GivingWay()
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(pickled)):
            if step > MAX_STEPS:
                raise PackedError(f"takes more than {MAX_STEPS:,} steps to read")
            machine.do(opcode.name, argument)
            await turn.over()
    except PackedError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
        raise PackedError("holds a damaged pickle") from None
    return machine.value


class _Machine:
    """The stack, and what was remembered by number."""

    def __init__(self) -> None:
        self.value: Any = None
        self._stack: list[Any] = []
        self._memory: dict[int, Any] = {}

    def do(self, name: str, argument: Any) -> None:
        """One instruction. Raises `PackedError` on one that plain data does not take."""
        stack = self._stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append([] if name == "EMPTY_LIST" else {})
        elif name in _TUPLES:
            count = _TUPLES[name]
            stack.append([self._popped() for _ in range(count)][::-1])
        elif name == "MARK":
            stack.append(_Mark)
        elif name in ("LIST", "TUPLE"):
            stack.append(self._since_mark())
        elif name == "DICT":
            stack.append(_pairs(self._since_mark()))
        elif name in ("APPEND", "APPENDS"):
            values = [self._popped()] if name == "APPEND" else self._since_mark()
            stack[-1].extend(values)
        elif name in ("SETITEM", "SETITEMS"):
            values = [self._popped(), self._popped()][::-1] if name == "SETITEM" else self._since_mark()
            stack[-1].update(_pairs(values))
        elif name == "MEMOIZE":
            self._memory[len(self._memory)] = stack[-1]
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memory[argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memory[argument])
        elif name == "STOP":
            self.value = self._popped()
        elif name not in _SKIPPED:
            raise PackedError("holds more than plain data")

    def _popped(self) -> Any:
        value = self._stack.pop()
        if value is _Mark:
            raise PackedError("holds a damaged pickle")
        return value

    def _since_mark(self) -> list[Any]:
        values: list[Any] = []
        while (value := self._stack.pop()) is not _Mark:
            values.append(value)
        return values[::-1]


def _pairs(values: list[Any]) -> dict[Any, Any]:
    return dict(zip(values[::2], values[1::2], strict=True))

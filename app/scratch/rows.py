"""Rows as PostgreSQL writes them, turned into plain cells."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sandbox.cell.values import encode

_INTEGERS = frozenset((20, 21, 23, 26))
_FLOATS = frozenset((700, 701))
_BOOLEAN, _NUMERIC, _BYTES = 16, 1700, 17
_TEXTS = frozenset((18, 19, 25, 705, 1042, 1043))
_NAMES = {
    114: "json", 650: "cidr", 790: "money", 829: "macaddr", 869: "inet", 1082: "date", 1083: "time",
    1114: "timestamp", 1184: "timestamptz", 1186: "interval", 1266: "timetz", 2950: "uuid", 3802: "jsonb",
}  # fmt: skip
"""Types by their number in pg_type.dat; others go by their number, which copies of a fixture share."""
_MAX_CELL = 16 * 2**20


class Header:
    """The columns of a result (RowDescription)."""

    def __init__(self, body: bytes) -> None:
        self.names: list[str] = []
        self._types: list[int] = []
        position = 2
        for _ in range(struct.unpack("!H", body[:2])[0]):
            end = body.index(b"\0", position)
            self.names.append(body[position:end].decode("utf-8", "replace"))
            self._types.append(struct.unpack("!I", body[end + 7 : end + 11])[0])
            position = end + 19

    def row(self, body: bytes) -> list[Any]:
        """The cells of a row (DataRow)."""
        cells: list[Any] = []
        position = 2
        for kind in self._types:
            (size,) = struct.unpack_from("!i", body, position)
            position += 4
            if size < 0:
                cells.append(None)
                continue
            cells.append(_cell(kind, body[position : position + size]))
            position += size
        return cells


def _cell(kind: int, content: bytes) -> Any:
    text = content.decode("utf-8", "replace")
    try:
        if kind in _INTEGERS:
            return int(text)
        if kind in _TEXTS:
            return text
        if kind in _FLOATS:
            return float(text)
        if kind == _NUMERIC:
            return Decimal(text)
        if kind == _BOOLEAN:
            return text == "t"
        if kind == _BYTES and text.startswith("\\x"):
            return bytes.fromhex(text[2:])
    except (ValueError, ArithmeticError):  # as a setting of the session's own may write it
        return text
    return _NAMES.get(kind, str(kind)), text


def encoded_row(cells: Sequence[Any]) -> bytes:
    """One row, as a member of an encoded list. Raises `ValuesError`."""
    return encode(list(cells), limit_bytes=_MAX_CELL)


def encoded_table(names: Sequence[str], rows: Sequence[bytes]) -> bytes:
    """A table of rows that are encoded already: in the codec, an array is a list."""
    return b"[" + encode(list(names), limit_bytes=_MAX_CELL) + b",[" + b",".join(rows) + b"]]"

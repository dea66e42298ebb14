"""Whether the state that a dry run leaves is the expected one. Nothing here runs in the sandbox."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from verifiers.code.value import Rules, same_value
from verifiers.tool_call.replay import read_answer

INLINE_BYTES = 8_192
"""Bytes of a final state, and characters of the expected one, that are compared in a millisecond or two."""

_RULES = Rules()
_MISSING: Any = object()


def compared(answer: str, expected: Any, compare: Sequence[str] | None, *, rows: bool, limit: int) -> dict[str, Any]:
    """What a replay's answer (ASCII) comes to: `same`, where it differs, and why calls failed; or a `fault`."""
    read = read_answer(answer.encode("latin-1"), limit)
    if isinstance(read, str):
        return {"fault": read}
    state, results = read
    differs = difference(state, expected, compare, rows=rows)
    return {"same": differs is None, "differs": differs, "failed": [one for one in results if one is not None]}


def compared_payload(payload: dict[str, Any]) -> dict[str, Any]:
    """In a guarded worker: `compared`, whose arguments the payload holds by name."""
    return compared(**payload)


def difference(state: Any, expected: Any, compare: Sequence[str] | None, *, rows: bool) -> str | None:
    """The first part that is not as expected, by its JSON pointer; None where all are.

    `rows`: both are tables, `{table: [{column: value}]}`, whose rows have no order.
    """
    for pointer in compare or [""]:
        left, right = _at(state, pointer), _at(expected, pointer)
        if left is _MISSING and right is _MISSING:
            continue
        if left is _MISSING or right is _MISSING or not _same(left, right, rows):
            return pointer or _first_difference(state, expected, rows)
    return None


def holds(state: Any, pointer: str) -> bool:
    """Whether a JSON pointer leads to something in a state."""
    return _at(state, pointer) is not _MISSING


def _same(state: Any, expected: Any, rows: bool) -> bool:
    if rows and isinstance(state, dict) and isinstance(expected, dict):
        return state.keys() == expected.keys() and all(_same(state[name], expected[name], rows) for name in state)
    if rows and isinstance(state, list) and isinstance(expected, list):
        return _same_rows(state, expected)
    return same_value(state, expected, _RULES)


def _same_rows(state: list[Any], expected: list[Any]) -> bool:
    try:
        return Counter(map(_canonical, state)) == Counter(map(_canonical, expected))
    except TypeError:  # bytes, which JSON cannot expect
        return False


def _canonical(row: Any) -> str:
    """A row as text that is the same for equal rows: 1 is 1.0, as it is for SQL, and true is 1, as SQLite has it."""
    if isinstance(row, dict):
        row = {name: _as_number(value) for name, value in row.items()}
    return json.dumps(row, sort_keys=True)


def _as_number(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _first_difference(state: Any, expected: Any, rows: bool) -> str:
    if isinstance(state, dict) and isinstance(expected, dict):
        for name in [*expected, *state]:
            if name not in state or name not in expected or not _same(state[name], expected[name], rows):
                return "/" + str(name).replace("~", "~0").replace("/", "~1")
    return ""


def _number_of(name: str) -> int | None:
    """The number whose name in JSON this is, as Python's dicts may have numbers for keys; else None."""
    return int(name) if len(name) < 20 and re.fullmatch(r"-?[1-9][0-9]*|0", name) else None


def _at(value: Any, pointer: str) -> Any:
    """What a JSON pointer (RFC 6901) leads to."""
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, dict) and (number := _number_of(part)) is not None and number in value:
            value = value[number]
        elif (
            isinstance(value, list)
            and part.isascii()
            and part.isdecimal()
            and len(part) < 9
            and int(part) < len(value)
        ):
            value = value[int(part)]
        else:
            return _MISSING
    return value

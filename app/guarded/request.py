"""Encodes payloads for guarded workers without ever holding up the event loop, however large they are."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from app.guarded.frames import MAX_REQUEST, FrameError, encode, header

T = TypeVar("T")

_SMALL = 2**16
"""Characters, at most, that are encoded without giving way to other tasks."""
_BATCH = 256
"""Members of a large object or array that are encoded together, if they are small."""
_GIVE_WAY_S = 0.002


async def request(function: str, memory_mb: int, payload: Any) -> list[bytes]:
    """The frame of one request, in pieces; gives way to other tasks every few milliseconds.

    Raises ValueError, TypeError or RecursionError for a payload that is not plain JSON, `FrameError` for one that is
    too long.
    """
    head = f"[{encode(function)},{memory_mb},".encode()
    if _is_small(payload):
        body = head + encode(payload).encode() + b"]"
        return [header(len(body)) + body]
    pieces = [b"", head]
    give_way = time.monotonic() + _GIVE_WAY_S
    for piece in _pieces(payload):
        pieces.append(piece.encode())
        if time.monotonic() > give_way:
            await asyncio.sleep(0)
            give_way = time.monotonic() + _GIVE_WAY_S
    pieces.append(b"]")
    length = sum(map(len, pieces))
    if length > MAX_REQUEST:
        raise FrameError(f"a payload of {length} bytes as JSON, {MAX_REQUEST} are allowed")
    pieces[0] = header(length)
    return pieces


def _is_small(value: Any) -> bool:
    """Whether `value` is encoded in well under a millisecond; looks at no more of it than needed to tell."""
    budget = _SMALL
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            budget -= len(item)
        elif isinstance(item, dict):
            budget -= 8 * len(item)
            if budget >= 0:
                stack += item
                stack += item.values()
        elif isinstance(item, list | tuple):
            budget -= 8 * len(item)
            if budget >= 0:
                stack += item
        if budget < 0:
            return False
    return True


def _pieces(value: Any) -> Iterator[str]:
    """The JSON of `value` in pieces that each take well under a millisecond."""
    if _is_small(value):
        yield encode(value)
    elif isinstance(value, str):
        yield '"'
        for start in range(0, len(value), _SMALL):
            yield encode(value[start : start + _SMALL])[1:-1]
        yield '"'
    elif isinstance(value, dict):
        yield from _batches("{}", value.items(), dict, _member)
    else:
        yield from _batches("[]", value, list, _pieces)


def _batches(
    brackets: str, items: Iterable[T], collect: Callable[[Iterable[T]], Any], single: Callable[[T], Iterator[str]]
) -> Iterator[str]:
    """The JSON of an object or an array: many members at once where that takes little time, else one by one."""
    rest = iter(items)
    separator = brackets[0]
    while batch := list(itertools.islice(rest, _BATCH)):
        together = collect(batch)
        if _is_small(together):
            yield separator + encode(together)[1:-1]
            separator = ","
            continue
        for item in batch:
            yield separator
            yield from single(item)
            separator = ","
    yield brackets[1]


def _member(member: tuple[Any, Any]) -> Iterator[str]:
    key, value = member
    if not isinstance(key, str):
        raise TypeError(f"keys must be str, not {type(key).__name__}")
    yield from _pieces(key)
    yield ":"
    yield from _pieces(value)

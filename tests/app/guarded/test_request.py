"""Requests carry any JSON value unharmed, in pieces where it is large, without holding up the event loop."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.guarded import request as request_module
from app.guarded.frames import MAX_REQUEST, FrameBuffer, FrameError
from app.guarded.request import request

TEXT = st.text(st.characters(exclude_categories=[]))
"""Lone surrogates and NUL included."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)


async def decoded(payload: Any) -> Any:
    [body] = FrameBuffer(MAX_REQUEST).feed(b"".join(await request("m:f", 7, payload)))
    function, memory_mb, value = json.loads(body.decode("ascii"))
    assert (function, memory_mb) == ("m:f", 7)
    return value


@given(JSON, st.integers(1, 40), st.integers(1, 4))
async def test_any_value_arrives_as_the_standard_library_would_send_it(value: Any, small: int, batch: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request_module, "_SMALL", small)
        patch.setattr(request_module, "_BATCH", batch)
        assert await decoded(value) == json.loads(json.dumps(value))


async def test_a_large_payload_lets_other_tasks_run() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    text = "\u20ac" * 8_000_000
    pieces = await request("m:f", 7, {"completion": text, "many": [[number] for number in range(300_000)]})
    task.cancel()
    assert turns > 3
    assert max(map(len, pieces)) < 10 * 2**16


async def test_a_payload_that_is_too_long_is_refused() -> None:
    with pytest.raises(FrameError, match="are allowed"):
        await request("m:f", 7, ["\0" * (MAX_REQUEST // 6)])


@pytest.mark.parametrize("payload", [{1, 2}, b"x", float("nan"), {"a": "x" * 100_000, 1: 2}, ["x" * 100_000, {3}]])
async def test_a_payload_that_is_not_json_is_refused(payload: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        await request("m:f", 7, payload)
